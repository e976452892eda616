//! One request: from its head to its answer.

use hyper::{
    HeaderMap, Request,
    body::Incoming,
    header::{HeaderName, TRANSFER_ENCODING},
};

use super::{
    answer::{self, Answer},
    body::BodyReader,
};
use crate::{
    broker::{Broker, Order},
    message::Source,
    route::{self, Limits, Operation, Refusal},
    store::{Store, StoreError},
};

/// The header that orders puts over several connections, see [`crate::broker::Order`].
const PUT_ORDER: HeaderName = HeaderName::from_static("put-order");

/// What every request of a listener is served with.
#[derive(Debug)]
pub(super) struct Service<S> {
    pub(super) broker: Broker<S>,
    pub(super) bodies: BodyReader,
    pub(super) limits: Limits,
}

impl<S: Store> Service<S> {
    pub(super) async fn serve(&self, request: Request<Incoming>) -> Answer {
        let (head, body) = request.into_parts();
        let target = match route::target(head.method.as_str(), head.uri.path()) {
            Ok(target) => target,
            Err(refusal) => return answer::unread(answer::refusal(&refusal), &body),
        };
        if !is_plain(&head.headers) {
            let refusal = Refusal::BadRequest("the only Transfer-Encoding here is chunked".into());
            return answer::unread(answer::refusal(&refusal), &body);
        }
        let body = match self.bodies.read(&head.headers, body).await {
            Ok(body) => body,
            Err(error) => return answer::body_error(error),
        };
        let order = match head.headers.get(PUT_ORDER).map(|order| order.to_str().ok().and_then(Order::parse)) {
            None => None,
            Some(Some(order)) => Some(order),
            Some(None) => return answer::refusal(&Refusal::BadRequest("Put-Order is not STREAM/N".into())),
        };
        let query = head.uri.query().unwrap_or_default();
        match route::operation(target, query, &body.bytes, self.limits) {
            Ok(operation) => self.run(operation, &body.bytes, order).await.unwrap_or_else(|error| failed(&error)),
            Err(refusal) => answer::refusal(&refusal),
        }
    }

    async fn run(
        &self,
        operation: Operation<'_>,
        body: &bytes::Bytes,
        order: Option<Order>,
    ) -> Result<Answer, StoreError> {
        Ok(match operation {
            Operation::Put { queue, data } => {
                let data = body.slice_ref(data.as_bytes());
                match self.broker.put(&queue, data, Source::Http, order).await? {
                    Ok(outcome) => answer::put(outcome),
                    Err(error) => answer::order_error(error),
                }
            }
            Operation::Get { queue } => answer::get(&self.broker.get(&queue).await?),
            Operation::Status { queue } => answer::status(&queue, self.broker.status(&queue).await?.as_ref()),
            Operation::View { queue, position } => answer::view(position, &self.broker.view(&queue, position).await?),
            Operation::Reset { queue } => answer::reset(self.broker.reset(&queue).await?),
        })
    }
}

/// Whether the body is as it was sent. hyper takes off one `chunked`, and passes on what any other coding made of the body.
fn is_plain(headers: &HeaderMap) -> bool {
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
