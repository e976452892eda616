//! One request: from its head to its answer.

use std::sync::Arc;

use bytes::Bytes;
use hyper::{
    HeaderMap, Request, Uri,
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

/// A request whose head was looked at. Of the head only what is needed further on is kept: a connection has room for all of this.
#[derive(Debug)]
pub(super) enum Begun {
    /// Nothing is to be waited for.
    Answered(Answer),
    /// What can be looked at and changed beside the operations.
    Shown(Box<Request<Incoming>>),
    Operation(Asked),
}

/// An operation that may be asked for, of some queue at least.
#[derive(Debug)]
pub(super) struct Asked {
    target: Target,
    /// Its query may say what the operation is about, and so may the body.
    uri: Uri,
    order: Option<Order>,
    pass: Pass,
    body: Incoming,
}

impl<S: Store> Service<S> {
    /// Looks at the head of a request of the connection that has this slot.
    pub(super) fn begin(&self, request: Request<Incoming>, slot: &Arc<Slot>) -> Begun {
        if let Err(denial) = self.gate.name(request.headers()) {
            return Begun::Answered(answer::unread(denied(request.uri().path(), &denial), request.body()));
        }
        if let Some(sockets) = &self.sockets
            && Sockets::<S>::is_path(request.uri().path())
        {
            return Begun::Answered(sockets.open(request, slot, &self.gate));
        }
        if route::v1::is_path(request.uri().path()) {
            return Begun::Shown(Box::new(request));
        }
        let target = match route::target(request.method().as_str(), request.uri().path()) {
            Ok(target) => target,
            Err(refusal) => return Begun::Answered(off_the_queues(&request, &refusal)),
        };
        match self.admit(target, request.headers(), slot.client()) {
            Ok((pass, order)) => {
                let (head, body) = request.into_parts();
                Begun::Operation(Asked { target, uri: head.uri, order, pass, body })
            }
            Err(answer) => Begun::Answered(answer::unread(*answer, request.body())),
        }
    }

    /// Answers a request of the connection that has this slot.
    pub(super) async fn answer(&self, begun: Begun, slot: &Slot) -> Answer {
        match begun {
            Begun::Answered(answer) => answer,
            // In a box: what puts and gets keep in each connection must not be as large as all that can be shown.
            Begun::Shown(request) => Box::pin(self.show(*request, slot)).await,
            Begun::Operation(asked) => self.operate(asked).await,
        }
    }

    async fn operate(&self, asked: Asked) -> Answer {
        let Asked { target, uri, order, pass, body } = asked;
        let turn = match order {
            None => None,
            Some(order) => match Box::pin(self.broker.turn(order)).await {
                Ok(turn) => Some(turn),
                Err(error) => return answer::unread(answer::order_error(error), &body),
            },
        };
        let body = match self.bodies.read(body).await {
            Ok(body) => body,
            Err(error) => return answer::body_error(error),
        };
        match route::operation(target, uri.query().unwrap_or_default(), &body.bytes, self.limits) {
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

    /// Whether somebody may ask for this of some queue at least, and in which order: of which queue, often only the body says.
    fn admit(&self, target: Target, headers: &HeaderMap, client: Client) -> Result<(Pass, Option<Order>), Box<Answer>> {
        let refused = |text: &'static str| Box::new(answer::refusal(&Refusal::BadRequest(text.into())));
        let denied = |denial| Box::new(answer::denied(&denial));
        if !is_plain(headers) {
            return Err(refused("the only Transfer-Encoding here is chunked"));
        }
        if target.changes() {
            self.gate.page(headers).map_err(denied)?;
        }
        let pass = self.gate.enter(headers, client, Need::Right(target.right())).map_err(denied)?;
        let order = match headers.get(PUT_ORDER).filter(|_| target == Target::Put) {
            None => None,
            Some(order) => {
                let order = order.to_str().ok().and_then(Order::parse);
                Some(order.ok_or_else(|| refused("Put-Order is not STREAM/N"))?)
            }
        };
        Ok((pass, order))
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
