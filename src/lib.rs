//! httpmq: a durable message queue for anyone with curl.
//!
//! The modules stand in reading order, which is the way of a put from the socket to the disk. Each names only modules below it
//! in this list; `tests/layering.rs` keeps it so. `ARCHITECTURE.md` has the picture and the invariants.

// The process: the daemon, the commands that talk to one, and those that work while none does.
pub mod server;
pub mod reload;
pub mod client;
pub mod migrate;
pub mod offline;

// The doors, and what comes in by them.
pub mod http;
pub mod pubsub;
pub mod route;
pub mod accept;
pub mod guard;
pub mod tls;
pub mod metrics;

// The queues.
pub mod broker;
pub mod store;

// The disk.
pub mod engine;
pub mod data_dir;

// What was typed and set.
pub mod daemon;
pub mod notify;
pub mod logging;
pub mod config;
pub mod args;

// The rules, pure: no sockets, no clock, no locks.
pub mod state;
pub mod block;
pub mod key;
pub mod ring;
pub mod message;
pub mod access;

// Shared by all.
pub mod histogram;
