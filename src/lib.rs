//! httpmq: a durable message queue for anyone with curl.

pub mod args;
pub mod block;
pub mod data_dir;
pub mod engine;
pub mod key;
pub mod message;
pub mod ring;
pub mod state;
pub mod store;
