//! What the settings mean: the checked [`Config`], built once at start from everything that was said.
//!
//! `httpmq.toml` as shipped is compiled in. It is the list of the keys, their defaults and their documentation; the file
//! of the operator, the environment and the flags are layers over it, and [`load`] is the one function that looks at
//! them. Nothing after it parses a setting or knows a default.

mod check;
mod env;
mod error;
mod layer;
mod value;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub use env::variables;
pub use error::ConfigError;

use crate::args::Args;
use crate::ring;
use layer::Layer;

/// Every setting, checked and in its own type. [`Config::default`] is what the shipped `httpmq.toml` says.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The HTTP listener.
    pub http: Http,
    /// The TCP publish and subscribe listener.
    pub pubsub: Pubsub,
    /// Where and how messages are kept.
    pub store: Store,
    /// The settings of a queue that [`Config::queues`] does not name.
    pub queue_defaults: ring::Settings,
    /// The settings of single queues, complete: what a queue leaves out came from the defaults.
    pub queues: BTreeMap<String, ring::Settings>,
    /// What is refused, so that one client cannot take the memory of all.
    pub limits: Limits,
    /// What is logged.
    pub log: Log,
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
}

/// The TCP publish and subscribe listener.
#[derive(Debug, Clone, PartialEq)]
pub struct Pubsub {
    /// Whether there is one.
    pub enabled: bool,
    /// Address or host name to listen on.
    pub host: String,
    /// Port; 0 lets the system pick one.
    pub port: u16,
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
    /// Memory for the engine's own cache.
    pub engine_cache_bytes: u64,
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
    /// Nothing: messages are gone when the daemon stops.
    Memory,
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
}

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line, for programs.
    Json,
}
