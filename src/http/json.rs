//! The answers below `/v1`, as JSON. `openapi.yaml` says what each field means, and `tests/openapi.rs` that it
//! says so of each.

use std::{borrow::Cow, time::Duration};

use serde::Serialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::{
    message::{Message, Source},
    metrics::{LiveReport, Process},
    ring::{Kind, Overflow, Own},
    store::{Peek, QueueReport, StoreReport, Traffic},
};

#[derive(Serialize)]
pub(super) struct QueuesJson<'a> {
    pub(super) queues: Vec<QueueJson<'a>>,
    pub(super) matched: usize,
    pub(super) next: Option<&'a str>,
}

#[derive(Serialize)]
pub(super) struct QueueJson<'a> {
    name: &'a str,
    kind: Kind,
    unread: u64,
    max_len: u64,
    history: u64,
    overflow: Overflow,
    own: Own,
    kept: u64,
    put_pos: u64,
    get_pos: Option<u64>,
    #[serde(flatten)]
    traffic: TrafficJson,
    subscribers: usize,
    oldest_unread_age_s: Option<f64>,
}

impl<'a> QueueJson<'a> {
    pub(super) fn new(report: &'a QueueReport, subscribers: usize, now_ms: u64) -> QueueJson<'a> {
        let QueueReport { id: _, name, status, history, overflow, own, kept, traffic, oldest_unread_ms } = report;
        let age = oldest_unread_ms.map(|then| Duration::from_millis(now_ms.saturating_sub(then)));
        QueueJson {
            name,
            kind: status.kind,
            unread: status.unread,
            max_len: status.max_len,
            history: *history,
            overflow: *overflow,
            own: *own,
            kept: *kept,
            put_pos: status.put_pos,
            get_pos: status.get_pos,
            traffic: TrafficJson::new(traffic),
            subscribers,
            oldest_unread_age_s: age.map(|age| age.as_secs_f64()),
        }
    }
}

/// What went through a queue, or through all of them.
#[derive(Serialize)]
struct TrafficJson {
    puts: u64,
    gets: u64,
    put_bytes: u64,
    get_bytes: u64,
    dropped: u64,
    puts_per_s: f64,
    gets_per_s: f64,
}

impl TrafficJson {
    fn new(traffic: &Traffic) -> TrafficJson {
        TrafficJson {
            puts: traffic.puts,
            gets: traffic.gets,
            put_bytes: traffic.put_bytes,
            get_bytes: traffic.got_bytes,
            dropped: traffic.dropped,
            puts_per_s: rounded(traffic.puts_per_s),
            gets_per_s: rounded(traffic.gets_per_s),
        }
    }
}

#[derive(Serialize)]
pub(super) struct PurgedJson {
    pub(super) purged: u64,
}

#[derive(Serialize)]
pub(super) struct DeletedJson {
    pub(super) unread: u64,
}

/// The text of what is only numbers and names.
pub(super) fn text(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

#[derive(Serialize)]
pub(super) struct StatsJson<'a> {
    version: &'static str,
    started_ms: u64,
    uptime_s: f64,
    engine: &'static str,
    sync: &'static str,
    ready: bool,
    trouble: Option<String>,
    store_bytes: Option<u64>,
    free_bytes: Option<u64>,
    reserve_bytes: u64,
    memory_bytes: Option<u64>,
    queues: usize,
    unread: u64,
    #[serde(flatten)]
    traffic: TrafficJson,
    commits: u64,
    subscribers: usize,
    subscriptions: usize,
    dropped_subscribers: u64,
    connections: &'a ConnectionsJson,
}

#[derive(Serialize)]
pub(super) struct ConnectionsJson {
    pub(super) http: u64,
    pub(super) coremq: u64,
}

impl<'a> StatsJson<'a> {
    pub(super) fn new(
        store: &StoreReport,
        live: LiveReport,
        connections: &'a ConnectionsJson,
        trouble: Option<String>,
        started_ms: u64,
        uptime_s: f64,
    ) -> StatsJson<'a> {
        StatsJson {
            version: env!("CARGO_PKG_VERSION"),
            started_ms,
            uptime_s: rounded(uptime_s),
            engine: store.engine,
            sync: store.sync,
            ready: trouble.is_none(),
            trouble,
            store_bytes: store.stored_bytes,
            free_bytes: store.free_bytes,
            reserve_bytes: store.reserve_bytes,
            memory_bytes: Process::now().resident_bytes,
            queues: store.queues,
            unread: store.unread,
            traffic: TrafficJson::new(&store.traffic),
            commits: store.commits.seconds.count(),
            subscribers: live.subscribers,
            subscriptions: live.subscriptions,
            dropped_subscribers: live.dropped,
            connections,
        }
    }
}

/// The messages of a queue. Their text goes out as it came in.
pub(super) fn messages(name: &str, peek: &Peek) -> Vec<u8> {
    let messages = peek.messages.iter().map(|peeked| MessageJson {
        sequence: peeked.sequence,
        position: peeked.position,
        read: peeked.is_read,
        time_ms: peeked.message.time_ms,
        source: source(&peeked.message),
        data: data(&peeked.message),
    });
    let Peek { epoch, first, next_get, next_put, next, .. } = *peek;
    let all = MessagesJson { name, epoch, first, next_get, next_put, next, messages: messages.collect() };
    // Names, numbers, and texts that are JSON already.
    serde_json::to_vec(&all).unwrap_or_default()
}

#[derive(Serialize)]
struct MessagesJson<'a> {
    name: &'a str,
    epoch: u32,
    first: u64,
    next_get: u64,
    next_put: u64,
    next: Option<u64>,
    messages: Vec<MessageJson<'a>>,
}

#[derive(Serialize)]
struct MessageJson<'a> {
    sequence: u64,
    position: u64,
    read: bool,
    time_ms: u64,
    source: Cow<'static, str>,
    data: Cow<'a, RawValue>,
}

fn source(message: &Message) -> Cow<'static, str> {
    match message.source {
        Source::Http => "http".into(),
        Source::Connection(id) => Uuid::from_bytes(id).to_string().into(),
    }
}

/// What is no JSON, which only an import can bring in, is shown as a string.
fn data(message: &Message) -> Cow<'_, RawValue> {
    match serde_json::from_slice::<&RawValue>(&message.body) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => {
            let text = serde_json::Value::from(String::from_utf8_lossy(&message.body)).to_string();
            Cow::Owned(RawValue::from_string(text).unwrap_or_else(|_| RawValue::NULL.to_owned()))
        }
    }
}

/// Three digits are enough for a rate, and a float has many more.
fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}
