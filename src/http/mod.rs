//! The HTTP door. hyper is named below this module and nowhere else.
//!
//! In reading order: [`mod@serve`] (a listener's connections), [`timed`] (their deadlines), [`service`] (one request), [`gate`]
//! with [`origin`] (whether it may be asked), [`body`] (what it carries), [`answer`] (what goes back), [`log_line`] (what the log
//! says about both), [`websocket`] (a connection that is passed on), [`show`] (the API for looking at queues, and
//! what operators watch) and [`change`] (for changing them) with
//! their answers [`json`] and [`problem`], [`page`] (what people see); [`client`] is the other end, for the commands.

mod answer;
mod body;
mod change;
pub mod client;
mod gate;
mod json;
mod log_line;
mod origin;
mod page;
mod problem;
mod serve;
mod service;
mod show;
mod timed;
mod websocket;

pub use serve::{Door, serve};
