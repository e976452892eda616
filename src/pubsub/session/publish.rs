//! Publishes to one queue: from their order among those of the connection to their answers.

use std::sync::Arc;

use bytes::Bytes;
use tokio::task::coop;
use uuid::{Uuid, Version};

use super::{
    super::{
        Door,
        outbox::{Outbox, Place, repeated},
        response,
        run::Run,
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
    /// Whether publishes that come together may be done together: each needs no turn of its own.
    pub(in crate::pubsub) fn takes_runs(&self) -> bool {
        self.entry.is_unpaced()
    }

    /// Does what publishes that came together ask for, as [`Session::request`] does for each.
    pub(in crate::pubsub) async fn publish_run(&mut self, run: Run) -> bool {
        let Run { queue, bodies } = run;
        self.counts.requests += bodies.len() as u64;
        // Where many come together, others have their turns as often as if each came alone.
        for _ in &bodies[1..] {
            coop::consume_budget().await;
        }
        if let Err(denial) = self.entry.may_publish_any() {
            return bodies.iter().all(|_| self.deny(&denial));
        }
        self.publish(&queue, bodies).await;
        true
    }

    /// Publishes messages of these bodies, in their order.
    pub(super) async fn publish(&mut self, queue: &str, bodies: Vec<Bytes>) {
        self.counts.published += bodies.len() as u64;
        self.door.hub.has_room(queue).await;
        if is_connection_queue(&self.door, queue).await {
            self.outbox.push([repeated(&self.sent, bodies.len())]);
            if let Some(channel) = self.door.hub.channel(queue) {
                channel.push(&self.messages(bodies));
            }
            return;
        }
        // Behind the queues of connections: whoever was told such a name may answer there.
        if let Err(denial) = self.entry.may_publish(queue) {
            for _ in &bodies {
                self.deny(&denial);
            }
            return;
        }
        // A frame's name may be as long as any can be; the setting is about queues that are kept.
        let max_name_bytes = self.door.max_name_bytes;
        if queue.len() > max_name_bytes {
            let reason = format!("bad queue name: it is longer than {max_name_bytes} bytes");
            return bodies.iter().for_each(|_| self.error(Reason::Parameter, &reason));
        }
        self.door.broker.room().await;
        self.stage(queue, &self.messages(bodies));
        while self.puts.len() > MAX_PUTS {
            self.put_done().await;
        }
    }

    /// Messages of this connection, of now.
    fn messages(&self, bodies: Vec<Bytes>) -> Vec<Message> {
        let (time_ms, source) = (broker::now_ms(), Source::Connection(*self.outbox.id.as_bytes()));
        bodies.into_iter().map(|body| Message { time_ms, source, content: Content::Json, body }).collect()
    }

    /// Gives each message its place in the order, and its answer, now or when it is on disk.
    fn stage(&mut self, queue: &str, mut messages: &[Message]) {
        while let [first, others @ ..] = messages {
            let mut place = None;
            let staged = |kind, count| place = Some(answer_place(&self.outbox, kind, &self.sent, count));
            let staged = self.door.broker.publish(queue, first, others, staged);
            // Without a place the first was refused.
            let done = staged.as_ref().map_or(1, |staged| staged.stored.max(1));
            match place {
                Some(AnswerPlace::Given) => {}
                Some(AnswerPlace::Kept(place)) => {
                    self.puts.push(Box::pin(answer_later(self.door.clone(), staged, place)));
                }
                None => self.answer(&put_answer(&self.door, staged.map(|staged| staged.put))),
            }
            messages = &messages[done..];
        }
    }
}

/// Waits until messages are on disk, and says so in the place that was kept for that, as many times.
async fn answer_later<S: Store>(door: Arc<Door<S>>, staged: Result<Staged<S::Commit>, StoreError>, place: Place) {
    let outcome = match staged {
        Ok(staged) => staged.done().await,
        Err(error) => Err(error),
    };
    let answer = answer(&place.outbox, &put_answer(&door, outcome));
    place.fill(&answer);
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

/// Where the answers to publishes go. A topic promises nothing, so its answers are there at once; those of a work queue have their
/// place, and come when the messages are on disk. Either way they are in front of the messages themselves.
enum AnswerPlace {
    Given,
    Kept(Place),
}

fn answer_place(outbox: &Arc<Outbox>, kind: Kind, sent: &Bytes, count: usize) -> AnswerPlace {
    match kind {
        Kind::Topic => {
            outbox.push([repeated(sent, count)]);
            AnswerPlace::Given
        }
        Kind::Work => AnswerPlace::Kept(outbox.keep_place(count)),
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
