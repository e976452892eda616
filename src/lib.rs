//! httpmq: a durable message queue for anyone with curl.

pub mod args;
pub mod config;
pub mod logging;
pub mod daemon;
pub mod server;
pub mod store;
pub mod ring;
pub mod message;
pub mod key;
pub mod block;
pub mod state;
pub mod data_dir;
pub mod engine;
pub mod client;
