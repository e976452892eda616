//! httpmq: a durable message queue for anyone with curl.

pub mod args;
pub mod ring;
pub mod message;
pub mod key;
pub mod block;
pub mod state;
pub mod engine;
