//! What changes queues beside the five operations: making, setting, deleting and emptying them.
//!
//! Each is a method that no page of another origin can send without being allowed to first.

use std::borrow::Cow;

use bytes::Bytes;
use hyper::{Request, StatusCode, body::Incoming};

use super::{
    answer::{self, Answer},
    json::{self, DeletedJson, PurgedJson},
    problem,
    service::{Service, is_plain},
    show::json_of,
};
use crate::{
    broker::now_ms,
    route::{Refusal, settings, v1::Change},
    store::{Created, Store, StoreError},
};

impl<S: Store> Service<S> {
    /// Does a change. All that change anything by `/v1` come through here.
    pub(super) async fn change(&self, change: Change, request: Request<Incoming>) -> Answer {
        let changed = match change {
            Change::Create { queue } => self.create(&queue, request).await,
            Change::Set { queue } => self.set(&queue, request).await,
            // A body means nothing to these and is not read.
            Change::Delete { queue } => self.delete(&queue).await.map(|done| answer::unread(done, request.body())),
            Change::Purge { queue } => self.purge(&queue).await.map(|done| answer::unread(done, request.body())),
        };
        changed.unwrap_or_else(|error| problem::store_error(&error))
    }

    async fn create(&self, queue: &str, request: Request<Incoming>) -> Result<Answer, StoreError> {
        let body = match self.body(request).await {
            Ok(body) => body,
            Err(answer) => return Ok(answer),
        };
        let (kind, own) = match settings::create(&body) {
            Ok(asked) => asked,
            Err(refusal) => return Ok(problem::refusal(&refusal)),
        };
        Ok(match self.broker.create(queue, kind, own).await? {
            Created::Made => answer::with_status(StatusCode::CREATED, self.shown(queue).await?),
            Created::Same => self.shown(queue).await?,
            Created::Differs { kind, own } => problem::queue_exists(kind, &json::text(&own)),
            Created::TooManyQueues => problem::too_many_queues(),
            Created::StorageFull => problem::storage_full(),
        })
    }

    async fn set(&self, queue: &str, request: Request<Incoming>) -> Result<Answer, StoreError> {
        let body = match self.body(request).await {
            Ok(body) => body,
            Err(answer) => return Ok(answer),
        };
        let change = match settings::set(&body) {
            Ok(change) => change,
            Err(refusal) => return Ok(problem::refusal(&refusal)),
        };
        match self.broker.set(queue, change).await? {
            true => self.shown(queue).await,
            false => Ok(problem::unknown_queue()),
        }
    }

    async fn delete(&self, queue: &str) -> Result<Answer, StoreError> {
        Ok(match self.broker.delete(queue).await? {
            Some(unread) => json_of(&DeletedJson { unread }),
            None => problem::unknown_queue(),
        })
    }

    async fn purge(&self, queue: &str) -> Result<Answer, StoreError> {
        Ok(match self.broker.purge(queue).await? {
            Some(purged) => json_of(&PurgedJson { purged }),
            None => problem::unknown_queue(),
        })
    }

    /// The queue as it is now; it may have been deleted since.
    async fn shown(&self, queue: &str) -> Result<Answer, StoreError> {
        Ok(match self.broker.report(queue).await? {
            Some(report) => json_of(&self.queue_json(&report, now_ms())),
            None => problem::unknown_queue(),
        })
    }

    /// The whole body of a request; otherwise the answer that says what is wrong with it.
    async fn body(&self, request: Request<Incoming>) -> Result<Bytes, Answer> {
        let (head, body) = request.into_parts();
        if !is_plain(&head.headers) {
            let refusal = Refusal::BadRequest(Cow::Borrowed("the only Transfer-Encoding here is chunked"));
            return Err(answer::unread(problem::refusal(&refusal), &body));
        }
        // What is made of it is small and made at once: its share of the memory need not be held any longer.
        self.bodies.read(body).await.map(|body| body.bytes).map_err(problem::body_error)
    }
}
