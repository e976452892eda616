//! One publish: from its order among those of the connection to its answer.

use std::sync::Arc;

use bytes::Bytes;
use uuid::{Uuid, Version};

use super::{
    super::{
        Door,
        object::ObjectError,
        outbox::{Outbox, Place},
        response,
    },
    MAX_PUTS, Session, answer,
};
use crate::{
    broker,
    message::{Content, Message, Source},
    metrics::Reason,
    ring::Kind,
    store::{Put, Staged, Store, StoreError},
};

impl<S: Store> Session<S> {
    pub(super) async fn publish(&mut self, queue: &str, body: &str) {
        if body.len() > self.door.max_message_bytes {
            return self.error(Reason::TooLong, &ObjectError::OverLimit { limit_bytes: self.door.max_message_bytes });
        }
        self.counts.published += 1;
        let body = Bytes::copy_from_slice(body.as_bytes());
        self.door.hub.has_room(queue).await;
        let id = *self.outbox.id.as_bytes();
        if is_connection_queue(&self.door, queue).await {
            self.answer(response::SENT);
            let message =
                Message { time_ms: broker::now_ms(), source: Source::Connection(id), content: Content::Json, body };
            if let Some(channel) = self.door.hub.channel(queue) {
                channel.push(message);
            }
            return;
        }
        // Behind the queues of connections: whoever was told such a name may answer there.
        if let Err(denial) = self.entry.may_publish(queue) {
            self.deny(&denial);
            return;
        }
        // A frame's name may be as long as any can be; the setting is about queues that are kept.
        let max_name_bytes = self.door.max_name_bytes;
        if queue.len() > max_name_bytes {
            return self.error(Reason::Parameter, &format!("bad queue name: it is longer than {max_name_bytes} bytes"));
        }
        self.door.broker.room().await;
        let mut place = None;
        let staged = |kind| place = Some(answer_place(&self.outbox, kind, &self.sent));
        let staged = self.door.broker.publish(queue, body, id, staged);
        match place {
            Some(AnswerPlace::Given) => {}
            Some(AnswerPlace::Kept(place)) => self.puts.push(Box::pin(answer_later(self.door.clone(), staged, place))),
            None => self.answer(&put_answer(&self.door, staged.map(|staged| staged.put))),
        }
        while self.puts.len() > MAX_PUTS {
            self.put_done().await;
        }
    }
}

/// Waits until a message is on disk, and says so in the place that was kept for that.
async fn answer_later<S: Store>(door: Arc<Door<S>>, staged: Result<Staged<S::Commit>, StoreError>, place: Place) {
    let outcome = match staged {
        Ok(staged) => staged.done().await,
        Err(error) => Err(error),
    };
    let answer = answer(&place.outbox, &put_answer(&door, outcome));
    place.fill(answer);
}

/// Queues named by a connection's id live in memory only. An id whose connection is gone stays one, unless somebody has made
/// a real queue of that name by HTTP: answers to clients that left must not pile up as queues.
async fn is_connection_queue<S: Store>(door: &Door<S>, queue: &str) -> bool {
    if queue.len() != uuid::fmt::Hyphenated::LENGTH {
        return false;
    }
    if door.hub.is_connected(queue) {
        return true;
    }
    let is_id = Uuid::try_parse(queue).is_ok_and(|id| id.get_version() == Some(Version::Random));
    is_id && matches!(door.broker.status(queue).await, Ok(None))
}

/// Where the answer to a publish goes. A topic promises nothing, so its answer is there at once; that of a work queue has its
/// place, and comes when the message is on disk. Either way it is in front of the message itself.
enum AnswerPlace {
    Given,
    Kept(Place),
}

fn answer_place(outbox: &Arc<Outbox>, kind: Kind, sent: &Bytes) -> AnswerPlace {
    match kind {
        Kind::Topic => {
            outbox.push([sent.clone()]);
            AnswerPlace::Given
        }
        Kind::Work => AnswerPlace::Kept(outbox.keep_place()),
    }
}

/// What the publisher is told; a refusal is counted.
fn put_answer<S>(door: &Door<S>, outcome: Result<Put, StoreError>) -> String {
    if let Some(reason) = why_refused(&outcome) {
        door.counted.refused(reason);
    }
    match outcome {
        Ok(Put::Stored { .. }) => response::SENT.to_owned(),
        Ok(Put::Full) => response::error(&"HTTPMQ_FULL"),
        Ok(Put::TooManyQueues) => response::error(&"HTTPMQ_TOO_MANY_QUEUES"),
        Ok(Put::StorageFull) => response::error(&"HTTPMQ_STORAGE_FULL"),
        Err(error) => response::error(&error),
    }
}

fn why_refused(outcome: &Result<Put, StoreError>) -> Option<Reason> {
    match outcome {
        Ok(Put::Stored { .. }) => None,
        Ok(Put::Full) => Some(Reason::QueueFull),
        Ok(Put::TooManyQueues) => Some(Reason::TooManyQueues),
        Ok(Put::StorageFull) => Some(Reason::StorageFull),
        Err(_) => Some(Reason::StorageFailed),
    }
}
