//! What the settings mean: the checked [`Config`], built once at start from everything that was said.
//!
//! `httpmq.toml` as shipped is compiled in. It is the list of the keys, their defaults and their documentation; the file
//! of the operator, the environment and the flags are layers over it, and [`load()`] is the one function that looks at
//! them. Nothing after it parses a setting or knows a default.

mod auth;
mod changes;
mod check;
mod env;
mod error;
mod layer;
mod load;
mod print;
mod value;

use std::collections::BTreeMap;
use std::path::PathBuf;

pub use changes::Change;
pub use env::variables;
pub use error::ConfigError;
pub use load::{Loaded, SHIPPED, load};

use crate::{access, ring};

/// Every setting, checked and in its own type. [`Config::default`] is what the shipped `httpmq.toml` says.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The HTTP listener.
    pub http: Http,
    /// Publish and subscribe.
    pub pubsub: Pubsub,
    /// What makes the listeners speak TLS; `None`: they do not.
    pub tls: Option<Tls>,
    /// Where and how messages are kept.
    pub store: Store,
    /// The settings of a queue that [`Config::queues`] does not name.
    pub queue_defaults: ring::Settings,
    /// The settings of single queues, complete: what a queue leaves out came from the defaults.
    pub queues: BTreeMap<String, ring::Settings>,
    /// Who may do what.
    pub auth: Auth,
    /// What is refused, so that one client cannot take the memory of all.
    pub limits: Limits,
    /// What is logged.
    pub log: Log,
}

impl Default for Config {
    fn default() -> Self {
        // The shipped file is part of the program and cannot change: a test that runs this line is enough.
        #[allow(clippy::expect_used)]
        load::shipped().and_then(|said| check::config(&said)).expect("the shipped httpmq.toml is right")
    }
}

/// The HTTP listener.
#[derive(Debug, Clone, PartialEq)]
pub struct Http {
    /// Address or host name to listen on.
    pub host: String,
    /// Port; 0 lets the system pick one.
    pub port: u16,
    /// How long a client may take for the head of a request.
    pub header_timeout_s: u64,
    /// How long a connection may stay open without a request.
    pub idle_timeout_s: u64,
    /// How long a client may take for the body of a request.
    pub body_timeout_s: u64,
    /// How long a client may take to accept an answer.
    pub write_timeout_s: u64,
    /// How long open requests may take to finish once the daemon was asked to stop.
    pub drain_timeout_s: u64,
    /// How many queues have a name in the metrics.
    pub metrics_queues: usize,
}

/// Publish and subscribe: a TCP listener, and WebSockets on the HTTP listener.
#[derive(Debug, Clone, PartialEq)]
pub struct Pubsub {
    /// Whether there is any.
    pub enabled: bool,
    /// Address or host name to listen on.
    pub host: String,
    /// Port; 0 lets the system pick one.
    pub port: u16,
    /// What may wait to be sent to one subscriber; past it, the subscriber is dropped.
    pub subscriber_buffer_bytes: usize,
    /// How long a subscriber may take nothing of what is sent to it.
    pub write_timeout_s: u64,
    /// Origins whose pages may open a WebSocket, beside those that this server's own host names.
    pub allowed_origins: Vec<String>,
}

/// What makes the listeners speak TLS.
#[derive(Debug, Clone, PartialEq)]
pub struct Tls {
    /// The file with the certificate and the chain behind it.
    pub certificate: PathBuf,
    /// The file with its private key.
    pub key: PathBuf,
}

/// Where and how messages are kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Store {
    /// What writes to the disk.
    pub engine: Engine,
    /// The directory that holds everything the daemon writes; relative to where the daemon was started.
    pub data_dir: PathBuf,
    /// When an answer may be given.
    pub sync: Sync,
    /// With [`Sync::Interval`]: at most this long between two syncs.
    pub sync_interval_ms: u64,
    /// How long a commit or a sync may take before the daemon gives its engine up.
    pub commit_timeout_s: u64,
    /// Memory for the engine's own cache.
    pub engine_cache_bytes: u64,
    /// What the log takes on the disk in which commits are before the engine has them, and in memory at most.
    pub log_bytes: u64,
    /// Memory for the newest messages of all queues, which are then got without reading the disk.
    pub tail_cache_bytes: usize,
    /// Puts are refused when the disk has less free space than this.
    pub disk_reserve_bytes: u64,
}

/// What writes to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// The embedded database sled.
    Sled,
    /// The embedded database fjall.
    Fjall,
    /// Nothing: messages are gone when the daemon stops.
    Memory,
}

impl Engine {
    /// Those that keep files in the data directory.
    pub const ON_DISK: [Engine; 2] = [Engine::Sled, Engine::Fjall];

    /// The one of [`Engine::ON_DISK`] with this name.
    pub fn on_disk(name: &str) -> Option<Engine> {
        Engine::ON_DISK.into_iter().find(|engine| engine.name() == name)
    }

    /// As a setting, in the data directory, and to people.
    pub fn name(self) -> &'static str {
        match self {
            Engine::Sled => "sled",
            Engine::Fjall => "fjall",
            Engine::Memory => "memory",
        }
    }
}

/// What an answer that says OK promises about the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sync {
    /// The message survives a power cut.
    Always,
    /// The message survives a kill, and a power cut after [`Store::sync_interval_ms`].
    Interval,
    /// The message survives a kill; the system decides when it survives a power cut.
    Never,
}

impl Sync {
    /// As a setting, and to people.
    pub fn name(self) -> &'static str {
        match self {
            Sync::Always => "always",
            Sync::Interval => "interval",
            Sync::Never => "never",
        }
    }
}

/// Who may do what.
#[derive(Debug, Clone, PartialEq)]
pub struct Auth {
    /// Whether a listener that other machines reach may do without tokens.
    pub allow_open: bool,
    /// Names by which this server is reached, beside those that only lead to this machine.
    pub allowed_hosts: Vec<String>,
    /// The tokens; none: everybody may do everything.
    pub tokens: Vec<access::Token>,
}

/// What is refused.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// The longest message.
    pub max_message_bytes: usize,
    /// The longest queue name, in bytes of UTF-8.
    pub max_name_bytes: usize,
    /// How many queues there may be.
    pub max_queues: usize,
    /// How many connections each listener has open at a time.
    pub max_connections: usize,
    /// The longest head of a request.
    pub max_header_bytes: usize,
}

/// What is logged, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct Log {
    /// The least important level that is written.
    pub level: log::LevelFilter,
    /// How a line looks.
    pub format: LogFormat,
    /// Whether there is a line for each request.
    pub requests: bool,
}

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line, for programs.
    Json,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // A failed test may panic.
mod tests {
    use super::*;
    use value::Value;

    /// The defaults a second time, by hand: a slip of the pen in `httpmq.toml` must not become a default.
    #[test]
    fn the_shipped_file_says_the_defaults() {
        let (kib, mib) = (1 << 10, 1 << 20);
        let expected = Config {
            http: Http {
                host: "127.0.0.1".into(),
                port: 8200,
                header_timeout_s: 10,
                idle_timeout_s: 75,
                body_timeout_s: 30,
                write_timeout_s: 30,
                drain_timeout_s: 5,
                metrics_queues: 100,
            },
            pubsub: Pubsub {
                enabled: true,
                host: "127.0.0.1".into(),
                port: 6747,
                subscriber_buffer_bytes: 8 << 20,
                write_timeout_s: 10,
                allowed_origins: Vec::new(),
            },
            tls: None,
            store: Store {
                engine: Engine::Sled,
                data_dir: "httpmq-data".into(),
                sync: Sync::Always,
                sync_interval_ms: 1000,
                commit_timeout_s: 30,
                engine_cache_bytes: 16 * mib,
                log_bytes: 16 * mib,
                tail_cache_bytes: 16 << 20,
                disk_reserve_bytes: 64 * mib,
            },
            queue_defaults: ring::Settings { max_len: 1_000_000, history: 10, overflow: ring::Overflow::Reject },
            queues: BTreeMap::new(),
            auth: Auth { allow_open: false, allowed_hosts: Vec::new(), tokens: Vec::new() },
            limits: Limits {
                max_message_bytes: 1 << 20,
                max_name_bytes: 255,
                max_queues: 10_000,
                max_connections: 10_000,
                max_header_bytes: 16 * kib,
            },
            log: Log { level: log::LevelFilter::Info, format: LogFormat::Text, requests: false },
        };
        assert_eq!(Config::default(), expected);
    }

    /// No key that nothing reads, and none that is read without being checked or that could be missing.
    #[test]
    fn every_shipped_key_is_read_and_checked() {
        let shipped = load::shipped().unwrap();
        for (section, keys) in &shipped.sections {
            for key in keys.keys() {
                let mut wrong = shipped.clone();
                wrong.sections.get_mut(section).unwrap().get_mut(key).unwrap().value = Value::Other("a date");
                let refused = check::config(&wrong).unwrap_err();
                assert!(
                    refused.message.starts_with(&format!("`{key}` must be ")),
                    "{section}.{key}: {}",
                    refused.message
                );

                let mut missing = shipped.clone();
                missing.sections.get_mut(section).unwrap().remove(key);
                let refused = check::config(&missing).unwrap_err();
                assert!(refused.message.contains("no default"), "{section}.{key}: {}", refused.message);
            }
        }
    }

    /// The file is the documentation: each key and section has its line of why right above it, and the example works.
    #[test]
    fn every_shipped_key_is_explained() {
        let lines: Vec<&str> = SHIPPED.lines().collect();
        for pair in lines.windows(2) {
            let explained = pair[1].is_empty() || pair[1].starts_with('#') || pair[0].starts_with("# ");
            assert!(explained, "no explanation above {:?}", pair[1]);
        }
        let example: String = lines
            .iter()
            .filter_map(|line| line.strip_prefix('#'))
            .filter(|line| !line.starts_with(' '))
            .map(|line| format!("{line}\n"))
            .collect();
        let mut said = load::shipped().unwrap();
        said.overlay(
            layer::Layer::from_toml(&example, Some(&said), value::Origin::File).map_err(|w| w.message).unwrap(),
        );
        let config = check::config(&said).unwrap();
        assert_eq!(
            config.queues["thumbnails"],
            ring::Settings { max_len: 50_000, history: 100, overflow: ring::Overflow::DropOldest }
        );
        let worker = &config.auth.tokens[0];
        assert_eq!((worker.name.as_str(), worker.requests_per_s), ("worker", 0));
        assert!(worker.may(access::Right::Write, "mail.in").is_ok());
    }
}
