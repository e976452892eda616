//! One request: from its head to its answer.

use std::sync::Arc;

use bytes::Bytes;
use hyper::{
    HeaderMap, Request,
    body::Incoming,
    header::{HeaderName, HeaderValue, TRANSFER_ENCODING},
};

use super::{
    answer::{self, Answer},
    body::BodyReader,
    gate::Gate,
    log_line, page, problem,
    serve::Slot,
    show::Shown,
    websocket::Sockets,
};
use crate::{
    access::{Denial, Need},
    broker::{Broker, Order, Turn},
    guard::{Client, Pass},
    message::Source,
    route::{self, Limits, Operation, Refusal, Target},
    store::{Store, StoreError},
};

/// The header that orders puts over several connections, see [`crate::broker::Order`].
const PUT_ORDER: HeaderName = HeaderName::from_static("put-order");

/// What every request of a listener is served with.
#[derive(Debug)]
pub(super) struct Service<S> {
    pub(super) broker: Arc<Broker<S>>,
    pub(super) bodies: BodyReader,
    pub(super) limits: Limits,
    /// What serves: program, version, engine and sync mode.
    pub(super) server: HeaderValue,
    /// What can be looked at beside the operations.
    pub(super) shown: Shown<S>,
    pub(super) gate: Gate,
    /// `None`: publish and subscribe is off.
    pub(super) sockets: Option<Sockets<S>>,
}

impl<S: Store> Service<S> {
    /// Answers a request of the connection that has this slot.
    pub(super) async fn serve(&self, request: Request<Incoming>, slot: &Arc<Slot>) -> Answer {
        if let Err(denial) = self.gate.name(request.headers()) {
            return answer::unread(denied(request.uri().path(), &denial), request.body());
        }
        if let Some(sockets) = &self.sockets
            && Sockets::<S>::is_path(request.uri().path())
        {
            return sockets.open(request, slot, &self.gate);
        }
        if route::v1::is_path(request.uri().path()) {
            return self.show(request, slot).await;
        }
        let target = match route::target(request.method().as_str(), request.uri().path()) {
            Ok(target) => target,
            Err(refusal) => return off_the_queues(&request, &refusal),
        };
        let (head, body) = request.into_parts();
        if !is_plain(&head.headers) {
            let refusal = Refusal::BadRequest("the only Transfer-Encoding here is chunked".into());
            return answer::unread(answer::refusal(&refusal), &body);
        }
        let pass = match self.admit(target, &head.headers, slot.client()) {
            Ok(pass) => pass,
            Err(denial) => return answer::unread(answer::denied(&denial), &body),
        };
        let turn = match self.turn(target, &head.headers).await {
            Ok(turn) => turn,
            Err(answer) => return answer::unread(answer, &body),
        };
        let body = match self.bodies.read(body).await {
            Ok(body) => body,
            Err(error) => return answer::body_error(error),
        };
        let query = head.uri.query().unwrap_or_default();
        match route::operation(target, query, &body.bytes, self.limits) {
            Ok(operation) => {
                let asked = log_line::asked(operation.queue(), body.bytes.len());
                let answer = match pass.may(target.right(), operation.queue()) {
                    Ok(()) => self.run(operation, &body.bytes, turn).await.unwrap_or_else(|error| failed(&error)),
                    Err(denial) => answer::denied(&denial),
                };
                log_line::with(asked, answer)
            }
            Err(refusal) => answer::refusal(&refusal),
        }
    }

    /// Whether somebody may ask for this of some queue at least: of which one, often only the body says.
    fn admit(&self, target: Target, headers: &HeaderMap, client: Client) -> Result<Pass, Denial> {
        if target.changes() {
            self.gate.page(headers)?;
        }
        self.gate.enter(headers, client, Need::Right(target.right()))
    }

    /// Waits for the turn of an ordered put.
    async fn turn(&self, target: Target, headers: &HeaderMap) -> Result<Option<Turn>, Answer> {
        let Some(order) = headers.get(PUT_ORDER).filter(|_| target == Target::Put) else { return Ok(None) };
        let Some(order) = order.to_str().ok().and_then(Order::parse) else {
            return Err(answer::refusal(&Refusal::BadRequest("Put-Order is not STREAM/N".into())));
        };
        self.broker.turn(order).await.map(Some).map_err(answer::order_error)
    }

    async fn run(&self, operation: Operation<'_>, body: &Bytes, turn: Option<Turn>) -> Result<Answer, StoreError> {
        Ok(match operation {
            Operation::Put { queue, data } => {
                let data = body.slice_ref(data.as_bytes());
                answer::put(self.broker.put(&queue, data, Source::Http, turn).await?)
            }
            Operation::Get { queue } => answer::get(&self.broker.get(&queue).await?),
            Operation::Status { queue } => {
                answer::status(&queue, self.broker.status(&queue).await?.as_ref(), &self.server)
            }
            Operation::View { queue, position } => answer::view(position, &self.broker.view(&queue, position).await?),
            Operation::Reset { queue } => answer::reset(self.broker.reset(&queue).await?),
        })
    }
}

/// In the form that is usual at that path.
fn denied(path: &str, denial: &Denial) -> Answer {
    if route::v1::is_path(path) { problem::denied(denial) } else { answer::denied(denial) }
}

/// Answers what is no operation on a queue. The page is looked for here, so that no operation waits for it.
fn off_the_queues(request: &Request<Incoming>, refusal: &Refusal) -> Answer {
    match page::find(request.uri().path()) {
        Some(file) => page::answer(file, request),
        None => answer::unread(answer::refusal(refusal), request.body()),
    }
}

/// Whether the body is as it was sent. hyper takes off one `chunked`, and passes on what any other coding made of the body.
pub(super) fn is_plain(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let first = codings.next().is_none_or(|coding| coding.as_bytes().eq_ignore_ascii_case(b"chunked"));
    first && codings.next().is_none()
}

fn failed(error: &StoreError) -> Answer {
    match error {
        // Said once, by whoever ends the process.
        StoreError::Failed(_) => {}
        StoreError::Unreadable { .. } => log::error!("{error}"),
    }
    answer::store_error(error)
}
