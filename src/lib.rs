//! httpmq: a durable message queue for anyone with curl.
//!
//! The modules, in the order to read them:
//! - [`args`]: what was typed;
//! - [`config`]: what it means, together with `httpmq.toml` and the environment;
//! - [`logging`]: what is written to standard error, and how;
//! - [`daemon`]: going to the background;
//! - [`server`]: listeners, start and stop;
//! - [`ring`]: the rules of one queue;
//! - [`client`]: the commands that talk to a running daemon.

pub mod args;
pub mod client;
pub mod config;
pub mod daemon;
pub mod logging;
pub mod ring;
pub mod server;
