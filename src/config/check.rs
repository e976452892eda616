//! From what was said to what it means: every value gets its type and its range here, and nowhere else.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use super::auth::auth;
use super::layer::{Layer, Section};
use super::value::{Origin, Value, Wrong, bytes, show_bytes};
use super::{Config, Engine, Http, Limits, Log, LogFormat, Pubsub, Store, Sync, Tls};
use crate::ring;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const TIB: u64 = 1 << 40;
/// Less would be full after every few messages; more takes seconds to be read at a start.
const LOG_BYTES: std::ops::RangeInclusive<u64> = 256 * KIB..=1024 * MIB;
const HOUR_S: u64 = 3600;
const DAY_S: u64 = 24 * HOUR_S;

/// Makes the checked settings out of layers that together say everything.
pub(crate) fn config(said: &Layer) -> Result<Config, Wrong> {
    let limits = limits(&Keys::of(said, "limits"))?;
    Ok(Config {
        http: http(&Keys::of(said, "http"))?,
        pubsub: pubsub(&Keys::of(said, "pubsub"))?,
        tls: tls(&Keys::of(said, "tls"))?,
        store: store(&Keys::of(said, "store"))?,
        queue_defaults: queue(&Keys::of(said, "queue_defaults"))?,
        queues: queues(said, limits.max_name_bytes)?,
        auth: auth(said)?,
        limits,
        log: log(&Keys::of(said, "log"))?,
    })
}

fn http(keys: &Keys<'_>) -> Result<Http, Wrong> {
    Ok(Http {
        host: keys.host("host")?,
        port: keys.number("port", 0..=65_535)?,
        header_timeout_s: keys.number("header_timeout_s", 1..=HOUR_S)?,
        idle_timeout_s: keys.number("idle_timeout_s", 1..=DAY_S)?,
        body_timeout_s: keys.number("body_timeout_s", 1..=HOUR_S)?,
        write_timeout_s: keys.number("write_timeout_s", 1..=HOUR_S)?,
        drain_timeout_s: keys.number("drain_timeout_s", 0..=HOUR_S)?,
        metrics_queues: keys.number("metrics_queues", 0..=1_000_000)?,
    })
}

fn pubsub(keys: &Keys<'_>) -> Result<Pubsub, Wrong> {
    Ok(Pubsub {
        enabled: keys.flag("enabled")?,
        host: keys.host("host")?,
        port: keys.number("port", 0..=65_535)?,
        // A buffer too small for the answers to a few requests would end every connection.
        subscriber_buffer_bytes: keys.bytes("subscriber_buffer_bytes", 16 * KIB..=4096 * MIB)?,
        write_timeout_s: keys.number("write_timeout_s", 1..=HOUR_S)?,
        allowed_origins: keys.origins("allowed_origins")?,
    })
}

/// One of them alone is `None` as well: [`together`] has the last word.
fn tls(keys: &Keys<'_>) -> Result<Option<Tls>, Wrong> {
    let (certificate, key) = (keys.path_or_none("certificate")?, keys.path_or_none("key")?);
    Ok(certificate.zip(key).map(|(certificate, key)| Tls { certificate, key }))
}

/// What is wrong with settings that are right one by one. To be asked when all layers are there: one may say what another needs.
pub(crate) fn together(said: &Layer) -> Result<(), Wrong> {
    let pair =
        ["certificate", "key"].map(|key| said.get("tls", key).filter(|said| said.value != Value::Text(String::new())));
    let (alone, missing) = match pair {
        [Some(alone), None] => (alone, "key"),
        [None, Some(alone)] => (alone, "certificate"),
        _ => return Ok(()),
    };
    let message = format!("TLS needs both `certificate` and `key` in [tls]; `{missing}` is not set");
    Err(Wrong { origin: alone.origin.clone(), message })
}

fn store(keys: &Keys<'_>) -> Result<Store, Wrong> {
    Ok(Store {
        engine: keys
            .choice("engine", &[Engine::Sled, Engine::Fjall, Engine::Memory].map(|engine| (engine.name(), engine)))?,
        data_dir: keys.path("data_dir")?,
        sync: keys.choice("sync", &[("always", Sync::Always), ("interval", Sync::Interval), ("never", Sync::Never)])?,
        // Longer than a minute is no interval that an operator can mean: "never" says it better.
        sync_interval_ms: keys.number("sync_interval_ms", 1..=60_000)?,
        commit_timeout_s: keys.number("commit_timeout_s", 1..=HOUR_S)?,
        engine_cache_bytes: keys.bytes("engine_cache_bytes", MIB..=TIB)?,
        log_bytes: keys.bytes("log_bytes", LOG_BYTES)?,
        tail_cache_bytes: keys.bytes("tail_cache_bytes", 0..=TIB)?,
        disk_reserve_bytes: keys.bytes("disk_reserve_bytes", 0..=TIB)?,
    })
}

fn queue(keys: &Keys<'_>) -> Result<ring::Settings, Wrong> {
    Ok(ring::Settings {
        max_len: keys.number("max_len", ring::MAX_LEN)?,
        history: keys.number("history", ring::HISTORY)?,
        overflow: keys.choice("overflow", &ring::Overflow::ALL.map(|overflow| (overflow.name(), overflow)))?,
    })
}

/// What a queue leaves out it gets from the defaults as they are now, with the environment in them.
fn queues(said: &Layer, max_name_bytes: usize) -> Result<BTreeMap<String, ring::Settings>, Wrong> {
    let mut queues = BTreeMap::new();
    for (name, (origin, own)) in &said.queues {
        if name.is_empty() || name.len() > max_name_bytes || name.chars().any(char::is_control) {
            let message = format!("a queue name must have 1 to {max_name_bytes} bytes and no control characters");
            return Err(Wrong { origin: origin.clone(), message });
        }
        let mut keys = Keys::of(said, "queue_defaults");
        keys.own = Some(own);
        queues.insert(name.clone(), queue(&keys)?);
    }
    Ok(queues)
}

fn limits(keys: &Keys<'_>) -> Result<Limits, Wrong> {
    Ok(Limits {
        // A message is held in memory as a whole, several times on its way through. Written as ASCII for subscribers it can grow to
        // three times its bytes, and a frame of the live side has a length of eight digits.
        max_message_bytes: keys.bytes("max_message_bytes", 64..=32 * MIB)?,
        max_name_bytes: keys.number("max_name_bytes", 1..=255)?,
        max_queues: keys.number("max_queues", 1..=1_000_000)?,
        max_connections: keys.number("max_connections", 1..=1_000_000)?,
        // hyper refuses (by a panic) a read buffer below 8 KiB.
        max_header_bytes: keys.bytes("max_header_bytes", 8 * KIB..=MIB)?,
    })
}

fn log(keys: &Keys<'_>) -> Result<Log, Wrong> {
    use log::LevelFilter::{Debug, Error, Info, Off, Trace, Warn};
    let levels = [("off", Off), ("error", Error), ("warn", Warn), ("info", Info), ("debug", Debug), ("trace", Trace)];
    Ok(Log {
        level: keys.choice("level", &levels)?,
        format: keys.choice("format", &[("text", LogFormat::Text), ("json", LogFormat::Json)])?,
        requests: keys.flag("requests")?,
    })
}

/// The keys of a section; those of a queue in front of the section's when it is about a queue.
pub(super) struct Keys<'a> {
    pub(super) own: Option<&'a Section>,
    pub(super) section: Option<&'a Section>,
}

impl<'a> Keys<'a> {
    pub(super) fn of(said: &'a Layer, section: &str) -> Self {
        Self { own: None, section: said.sections.get(section) }
    }

    pub(super) fn number<T: TryFrom<u64>>(&self, key: &str, range: RangeInclusive<u64>) -> Result<T, Wrong> {
        let allowed = || format!("a whole number from {} to {}", range.start(), range.end());
        self.read(key, allowed, |value| match value {
            Value::Integer(number) => within(u64::try_from(*number).ok()?, &range),
            _ => None,
        })
    }

    fn bytes<T: TryFrom<u64>>(&self, key: &str, range: RangeInclusive<u64>) -> Result<T, Wrong> {
        let allowed = || format!("a size from {}, in bytes or as \"64 KiB\", \"8 MiB\", \"1 GiB\"", show_bytes(&range));
        self.read(key, allowed, |value| within(bytes(value)?, &range))
    }

    pub(super) fn flag(&self, key: &str) -> Result<bool, Wrong> {
        self.read(
            key,
            || "true or false".into(),
            |value| match value {
                Value::Bool(flag) => Some(*flag),
                _ => None,
            },
        )
    }

    fn choice<T: Copy>(&self, key: &str, choices: &[(&str, T)]) -> Result<T, Wrong> {
        let allowed = || format!("one of {}", choices.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", "));
        self.read(key, allowed, |value| match value {
            Value::Text(text) => choices.iter().find(|(name, _)| name == text).map(|(_, choice)| *choice),
            _ => None,
        })
    }

    fn host(&self, key: &str) -> Result<String, Wrong> {
        self.read(
            key,
            || "an address or a host name in quotes".into(),
            |value| match value {
                Value::Text(text)
                    if !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c.is_control()) =>
                {
                    Some(text.clone())
                }
                _ => None,
            },
        )
    }

    fn path(&self, key: &str) -> Result<PathBuf, Wrong> {
        self.read(
            key,
            || "a path in quotes".into(),
            |value| match value {
                Value::Text(text) if !text.is_empty() && !text.contains('\0') => Some(PathBuf::from(text)),
                _ => None,
            },
        )
    }

    /// Nothing is meant by an empty text.
    fn path_or_none(&self, key: &str) -> Result<Option<PathBuf>, Wrong> {
        self.read(
            key,
            || "a path in quotes, or \"\" for none".into(),
            |value| match value {
                Value::Text(text) if !text.contains('\0') => Some((!text.is_empty()).then(|| PathBuf::from(text))),
                _ => None,
            },
        )
    }

    fn origins(&self, key: &str) -> Result<Vec<String>, Wrong> {
        let allowed = || "a list of origins, each as \"https://example.org\" (no path, no slash at the end)".into();
        self.read(key, allowed, |value| match value {
            Value::Texts(origins) if origins.iter().all(|origin| is_origin(origin)) => Some(origins.clone()),
            _ => None,
        })
    }

    /// Reads one key; what `read` does not take is refused with what is `allowed`.
    pub(super) fn read<T>(
        &self,
        key: &str,
        allowed: impl Fn() -> String,
        read: impl Fn(&Value) -> Option<T>,
    ) -> Result<T, Wrong> {
        let said = self.own.and_then(|own| own.get(key)).or_else(|| self.section?.get(key));
        let said = said.ok_or_else(|| Wrong {
            origin: Origin::Shipped,
            message: format!("`{key}` has no default; this is a mistake in httpmq"),
        })?;
        read(&said.value).ok_or_else(|| Wrong {
            origin: said.origin.clone(),
            message: format!("`{key}` must be {}, not {}", allowed(), shortened(&said.value)),
        })
    }
}

fn within<T: TryFrom<u64>>(number: u64, range: &RangeInclusive<u64>) -> Option<T> {
    range.contains(&number).then(|| T::try_from(number).ok()).flatten()
}

/// As a browser writes it; `null` is that of a page from a file.
fn is_origin(text: &str) -> bool {
    let wrong = |c: char| c == '/' || c.is_whitespace() || c.is_control();
    text == "null" || text.split_once("://").is_some_and(|(_, host)| !host.is_empty() && !host.contains(wrong))
}

/// A value for a message: enough to know it again.
fn shortened(value: &Value) -> String {
    const LONGEST: usize = 60;
    match value {
        Value::Text(text) if text.chars().count() > LONGEST => {
            Value::Text(text.chars().take(LONGEST).chain("…".chars()).collect()).to_string()
        }
        other => other.to_string(),
    }
}
