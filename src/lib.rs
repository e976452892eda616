//! httpmq: a durable message queue for anyone with curl.

pub mod args;
pub mod pubsub;
