//! What a connection asks for, done. The same for TCP frames and WebSocket messages; it knows no sockets.

mod publish;

use std::{
    collections::HashSet,
    future::Future,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, atomic::Ordering},
};

use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, StreamExt};
use serde_json::{Map, Value};
use tokio::{
    task::{JoinError, JoinHandle, coop},
    time::{Instant, sleep_until},
};
use uuid::Uuid;

use super::{
    Door,
    channel::sender_of,
    command::{self, Command},
    entry::{Entry, Visitor},
    frame,
    message::{self, Form, Stamp},
    object::ObjectError,
    outbox::{End, Outbox},
    response, websocket_frame,
};
use crate::{
    access::Denial,
    guard,
    logging::{self, REQUESTS},
    message::Message,
    metrics::Reason,
    store::Store,
};

/// How many publishes of one connection may wait for the disk, each alone or with those of its run; then it is read no further.
const MAX_PUTS: usize = 1024;
/// The longest message of a connection that has shown no token.
const MAX_STRANGER_BYTES: usize = 4 << 10;

/// One connection's requests.
pub(super) struct Session<S> {
    door: Arc<Door<S>>,
    pub(super) outbox: Arc<Outbox>,
    subscriptions: HashSet<String>,
    entry: Entry,
    /// The answer to a publish that went well, which is given more often than any other.
    sent: Bytes,
    /// Publishes, or runs of them, that have their place in the order and wait for the disk.
    puts: FuturesUnordered<Pin<Box<dyn Future<Output = ()> + Send>>>,
    peer: SocketAddr,
    counts: Counts,
}

/// What a connection did, for the log.
struct Counts {
    began: Instant,
    requests: u64,
    published: u64,
}

impl<S: Store> Session<S> {
    /// Begins: the connection gets its id and the welcome.
    pub(super) fn new(door: Arc<Door<S>>, form: Form, visitor: Visitor) -> Session<S> {
        let outbox = Arc::new(Outbox::new(Uuid::new_v4(), form, door.subscriber_buffer_bytes));
        outbox.push([answer(&outbox, response::WELCOME)]);
        door.hub.connect(&outbox);
        let sent = answer(&outbox, response::SENT);
        let peer = visitor.peer;
        if logging::wants_requests() {
            log::info!(target: REQUESTS, connection = &*outbox.name, form = form.name(), peer:% = peer; "connected");
        }
        let counts = Counts { began: Instant::now(), requests: 0, published: 0 };
        let entry = Entry::new(door.guard.clone(), visitor);
        Session {
            door,
            outbox,
            subscriptions: HashSet::new(),
            entry,
            sent,
            puts: FuturesUnordered::new(),
            peer,
            counts,
        }
    }

    /// Does what a message to `queue` asks for. Its answer goes to the outbox, in the order of the requests. `false`: the connection is
    /// to end with it.
    pub(super) async fn request(&mut self, queue: &str, command: Command<'_>) -> bool {
        self.counts.requests += 1;
        if let Command::Auth(secret) = &command {
            return match self.entry.enter(secret) {
                Ok(()) => {
                    self.answer(response::AUTHENTICATED);
                    true
                }
                Err(denial) => self.deny(&denial),
            };
        }
        if let Err(denial) = self.entry.may(&command, &self.outbox.name) {
            return self.deny(&denial);
        }
        self.pace().await;
        self.run(queue, command).await;
        true
    }

    async fn run(&mut self, queue: &str, command: Command<'_>) {
        match command {
            // Done already.
            Command::Auth(_) => {}
            Command::Subscribe(names) => self.subscribe(names).await,
            Command::Unsubscribe(names) => self.unsubscribe(names).await,
            Command::Options(options) => self.set_options(&options).await,
            Command::GetHistory(names) => self.history(&names).await,
            Command::Status => self.answer(&self.door.status()),
            Command::Publish(object) => {
                let body = message::body(&object, self.outbox.form);
                // The list of an object's members can take many times its text, and a publish may have to wait.
                drop(object);
                let max_message_bytes = self.door.max_message_bytes;
                if body.len() > max_message_bytes {
                    return self.error(Reason::TooLong, &ObjectError::OverLimit { limit_bytes: max_message_bytes });
                }
                self.publish(queue, vec![Bytes::copy_from_slice(body.as_bytes())]).await;
            }
        }
    }

    /// Says that a request may not be made; `false`: the connection is to end with that.
    pub(super) fn deny(&mut self, denial: &Denial) -> bool {
        self.error(guard::reason(denial), denial);
        !self.entry.ends_with(denial)
    }

    /// Completes with the reason when the connection has to end because of its token, see [`Entry::expelled`].
    pub(super) fn expelled(&self) -> impl Future<Output = Denial> + Send + use<S> {
        self.entry.expelled(self.door.token_timeout)
    }

    /// The longest message that is read: of a stranger only what a token can take, so that strangers take no memory.
    pub(super) fn max_message_bytes(&self) -> usize {
        if self.entry.is_in() {
            self.door.max_message_bytes
        } else {
            MAX_STRANGER_BYTES.min(self.door.max_message_bytes)
        }
    }

    /// Waits for the turn of the next request, where the token has a rate. The client is read no further meanwhile, so nothing that it
    /// sends is lost.
    async fn pace(&mut self) {
        let Some(wait) = self.entry.turn() else { return };
        let due = Instant::now() + wait;
        loop {
            tokio::select! {
                () = sleep_until(due) => return,
                () = self.put_done(), if self.has_puts() => {}
            }
        }
    }

    /// Says what is wrong with a request, and counts that.
    pub(super) fn error(&self, kind: Reason, reason: &impl std::fmt::Display) {
        self.door.counted.refused(kind);
        self.answer(&response::error(reason));
    }

    /// Says that something did not become whole in time: `for_memory`, because others had the memory for it.
    pub(super) fn late(&self, for_memory: bool, what: &str) {
        match for_memory {
            true => {
                self.error(Reason::TooMany, &format!("HTTPMQ_BUSY: others have the memory for a {what} of this length"))
            }
            false => self.error(Reason::TooSlow, &format!("the rest of a {what} did not come in time")),
        }
    }

    /// Waits for what is on its way to the connection when the server stops; gives the last thing to be said to it.
    pub(super) async fn bye(&mut self) -> Bytes {
        let own = self.outbox.name.clone();
        self.settle(self.subscriptions.iter().cloned().chain([own]).collect::<Vec<_>>()).await;
        answer(&self.outbox, response::BYE)
    }

    /// To be waited for before each request: the client must have taken enough of what it was sent. Who sends requests and reads no
    /// answers is not read from, and ends when its writer has waited long enough. `false`: it is at its end.
    pub(super) async fn may_ask(&mut self) -> bool {
        // Also what was read already is a lot to do: the writer has its turn in between.
        coop::consume_budget().await;
        let outbox = self.outbox.clone();
        while !outbox.has_room() {
            if outbox.has_ended() {
                return false;
            }
            tokio::select! {
                () = outbox.drained() => {}
                // Behind an answer that waits for the disk all others wait.
                () = self.put_done(), if self.has_puts() => {}
            }
        }
        true
    }

    /// Whether any publish waits for the disk.
    pub(super) fn has_puts(&self) -> bool {
        !self.puts.is_empty()
    }

    /// Waits until one more publish is done; at once when there is none. Cancel safe.
    pub(super) async fn put_done(&mut self) {
        self.puts.next().await;
    }

    async fn subscribe(&mut self, names: Vec<String>) {
        let new: HashSet<_> = names.iter().filter(|name| !self.subscriptions.contains(*name)).collect();
        if self.subscriptions.len() + new.len() > self.door.max_subscriptions {
            return self.error(
                Reason::TooMany,
                &format!("a connection can have {} subscriptions", self.door.max_subscriptions),
            );
        }
        self.settle(names.iter().cloned()).await;
        // In front of the first message: many clients take the next frame for the answer.
        let place = self.outbox.keep_place(1);
        let before = self.subscriptions.len();
        for name in names {
            self.door.hub.subscribe(&name, &self.outbox);
            self.subscriptions.insert(name);
        }
        self.door.hub.note_subscriptions(before, self.subscriptions.len());
        place.fill(&answer(&self.outbox, response::SUBSCRIBED));
    }

    /// A connection stays subscribed to its own id, as long as it is there. The answer is behind the last message.
    async fn unsubscribe(&mut self, names: Vec<String>) {
        self.settle(names.iter().cloned()).await;
        for name in names {
            let before = self.subscriptions.len();
            let was_subscribed = self.subscriptions.remove(&name);
            self.door.hub.note_subscriptions(before, self.subscriptions.len());
            if was_subscribed && name != self.outbox.name {
                let channel = self.door.hub.channel(&name);
                self.door.hub.unsubscribe(&name, self.outbox.id);
                if let Some(channel) = channel {
                    channel.delivered().await;
                }
            }
        }
        self.answer(response::UNSUBSCRIBED);
    }

    async fn set_options(&mut self, options: &Map<String, Value>) {
        if let Some(echo) = command::echo(options) {
            self.settle(self.subscriptions.iter().cloned().collect::<Vec<_>>()).await;
            self.outbox.echo.store(echo, Ordering::Relaxed);
        }
        self.answer(response::OPTIONS_SET);
    }

    /// Waits until what was published by now, to these queues or by this connection to any, has gone where it goes: what a connection
    /// asks for later has no effect on what it asked for before.
    async fn settle(&mut self, queues: impl IntoIterator<Item = String>) {
        while self.has_puts() {
            self.put_done().await;
        }
        for queue in queues {
            if let Some(channel) = self.door.hub.channel(&queue) {
                channel.delivered().await;
            }
        }
    }

    /// One queue's history is cut to what a connection can have waiting, the newest messages first; several must fit whole.
    async fn history(&mut self, names: &[String]) {
        let limit_bytes = self.door.subscriber_buffer_bytes / 2;
        let mut history = response::History::default();
        for name in names {
            let messages = match self.door.broker.history(name, limit_bytes / 2).await {
                Ok(messages) => messages,
                Err(error) => return self.error(Reason::StorageFailed, &error),
            };
            let room_bytes = limit_bytes.saturating_sub(history.answer_bytes());
            let newest = newest_within(&messages, response::History::message_bytes(room_bytes));
            if newest.len() < messages.len() && (names.len() > 1 || newest.is_empty()) {
                return self.error(Reason::TooLong, &"the history is too long for one answer");
            }
            history.push(name, newest);
        }
        self.answer(&history.answer());
    }

    fn answer(&self, text: &str) {
        self.outbox.push([answer(&self.outbox, text)]);
    }
}

/// Ends a connection. `ended` is how its writer ended, if it did; otherwise the publishes under way are answered, all is sent, and
/// `last` behind it.
pub(super) async fn finish<S: Store>(
    mut session: Session<S>,
    ended: Option<Result<End, JoinError>>,
    writer: JoinHandle<End>,
    last: Bytes,
) -> End {
    let ended = match ended {
        Some(ended) => ended,
        None => {
            while session.has_puts() {
                session.put_done().await;
            }
            session.outbox.finish(last);
            writer.await
        }
    };
    // A writer that panicked has ended the process.
    let end = ended.unwrap_or(End::Gone);
    if end == End::TooSlow {
        session.door.hub.note_dropped();
        log::warn!("dropped the subscriber {}: it did not take what it was sent", session.outbox.name);
    }
    end
}

impl<S> Drop for Session<S> {
    fn drop(&mut self) {
        self.door.hub.disconnect(&self.outbox, &self.subscriptions);
        self.door.hub.note_subscriptions(self.subscriptions.len(), 0);
        if logging::wants_requests() {
            let Counts { began, requests, published } = self.counts;
            log::info!(
                target: REQUESTS,
                connection = &*self.outbox.name,
                form = self.outbox.form.name(),
                requests,
                published,
                subscriptions = self.subscriptions.len(),
                bytes_out = self.outbox.taken(),
                us = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX),
                peer:% = self.peer;
                "disconnected"
            );
        }
    }
}

/// An answer as it is sent: to the connection's own id.
fn answer(outbox: &Outbox, text: &str) -> Bytes {
    match outbox.form {
        // Answers are far below the length that a frame has no number for.
        Form::Frame => frame::encode(&outbox.name, text).unwrap_or_default(),
        Form::WebSocket => websocket_frame::text(&message::answer_for_websocket(&outbox.name, text)),
    }
}

/// The last messages as subscribers got them, oldest first, as many as fit.
fn newest_within(messages: &[Message], max_bytes: usize) -> Vec<String> {
    let mut left_bytes = max_bytes;
    let fits = |text: &String| {
        let rest = left_bytes.checked_sub(text.len() + 1);
        left_bytes = rest.unwrap_or_default();
        rest.is_some()
    };
    let mut newest: Vec<_> = messages.iter().rev().filter_map(stamped).take_while(fits).collect();
    newest.reverse();
    newest
}

fn stamped(message: &Message) -> Option<String> {
    let body = std::str::from_utf8(&message.body).ok()?;
    Some(message::for_frame(body, Stamp { sender: &sender_of(message.source), sent_ms: message.time_ms }))
}
