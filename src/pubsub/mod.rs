//! The CoreMQ door: live publish and subscribe by JSON frames over TCP and by text messages over WebSocket.
//!
//! In reading order: [`tcp`] (a listener's connections), [`websocket`] (one connection that the HTTP door has passed on) with its
//! [`pulse`], [`run`] (publishes that come together), [`session`] (what a connection asks for), [`entry`] (whether it may), [`hub`] and [`channel`] (who gets what), [`outbox`] (what one connection still
//! has to be sent), [`writer`] (which sends it), [`gather`] (how long that waits for more), [`linger`] (how it ends); [`client`] is the other end of the wire. The rules of
//! the protocol are pure functions over bytes and text, without sockets, clock or locks:
//!
//! - [`frame`]: bytes ↔ frames, `+LEN QUEUE JSON`; "need more" is a value.
//! - [`websocket_frame`]: text → frames of WebSocket; [`websocket_progress`]: how far those are that come in.
//! - [`object`]: a frame's JSON as the top-level members of one object, in their exact text.
//! - [`command`]: what such an object asks for.
//! - [`message`]: a published object → the body in the ring, and any body → the object that subscribers get.
//! - [`response`]: the server's answers.
//! - [`ascii`]: JSON text as pure ASCII, which everything that leaves by this door is.

mod tcp;
mod websocket;
mod pulse;
mod run;
mod session;
mod entry;
mod hub;
mod channel;
mod outbox;
mod writer;
mod gather;
mod linger;
mod websocket_frame;
mod websocket_progress;

pub mod ascii;
pub mod client;
pub mod command;
pub mod frame;
pub mod message;
pub mod object;
pub mod response;

#[cfg(test)]
mod arbitrary;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

pub use self::{entry::Visitor, hub::Hub, tcp::serve, websocket::serve as serve_websocket};
use crate::{
    broker::Broker,
    config::{Config, Sync},
    guard::Guard,
    metrics::{Listener, ListenerReport, LiveReport},
    store::Store,
    tls,
};

/// What the live side is opened with.
#[derive(Debug)]
pub struct Door<S> {
    broker: Arc<Broker<S>>,
    hub: Arc<Hub>,
    guard: Arc<Guard>,
    max_message_bytes: usize,
    max_name_bytes: usize,
    max_connections: usize,
    max_subscriptions: usize,
    subscriber_buffer_bytes: usize,
    write_timeout: Duration,
    frame_timeout: Duration,
    /// How long a connection may take to show its token.
    token_timeout: Duration,
    /// What the TCP listener speaks, and how long a client may take for the handshake.
    tls: Option<Arc<tls::Server>>,
    handshake_timeout: Duration,
    drain: Duration,
    sync: Sync,
    opened: Instant,
    /// What this listener counts; refused requests of WebSockets too, whose connections are those of HTTP.
    counted: Arc<Listener>,
}

impl<S: Store> Door<S> {
    /// A door to a broker, whose store reports to this hub.
    pub fn new(
        broker: Arc<Broker<S>>,
        hub: Arc<Hub>,
        guard: Arc<Guard>,
        tls: Option<Arc<tls::Server>>,
        config: &Config,
    ) -> Door<S> {
        Door {
            broker,
            hub,
            guard,
            max_message_bytes: config.limits.max_message_bytes,
            max_name_bytes: config.limits.max_name_bytes,
            max_connections: config.limits.max_connections,
            max_subscriptions: config.limits.max_queues,
            subscriber_buffer_bytes: config.pubsub.subscriber_buffer_bytes,
            write_timeout: Duration::from_secs(config.pubsub.write_timeout_s),
            // A frame carries what a body carries.
            frame_timeout: Duration::from_secs(config.http.body_timeout_s),
            // A token is what a head is over HTTP: what has to come before anything is done.
            token_timeout: Duration::from_secs(config.http.header_timeout_s),
            tls,
            handshake_timeout: Duration::from_secs(config.http.header_timeout_s),
            drain: Duration::from_secs(config.http.drain_timeout_s),
            sync: config.store.sync,
            opened: Instant::now(),
            counted: Listener::new("coremq"),
        }
    }

    /// What the listener has counted.
    pub fn listener(&self) -> ListenerReport {
        self.counted.report()
    }

    /// Who is subscribed, in numbers.
    pub fn report(&self) -> LiveReport {
        self.hub.report()
    }

    /// How many connections are subscribed to a queue.
    pub fn subscribers(&self, queue: &str) -> usize {
        self.hub.subscribers(queue)
    }

    fn status(&self) -> String {
        let sync = match self.sync {
            Sync::Always => "always",
            Sync::Interval => "interval",
            Sync::Never => "never",
        };
        response::Status {
            master: &rustix::system::uname().nodename().to_string_lossy(),
            connections: self.hub.connections(),
            dropped: self.hub.dropped(),
            queues: self.broker.queue_count(),
            sync,
            uptime_s: self.opened.elapsed().as_secs(),
        }
        .answer()
    }
}
