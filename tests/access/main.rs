//! Who may do what. Goal: without a token, or with the wrong one, nothing is done and nothing is shown, by whichever door; each refusal says
//! why; nobody can keep somebody else out; and no secret is ever written down.
//!
//! Method: the real daemon through real sockets; where tokens change while it runs, its doors in this process.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A failed test may panic.

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/websocket.rs"]
mod websocket;

mod browsers;
mod commands;
mod document;
mod http;
mod live;
mod reload;
mod replace;
mod start;
mod tokens;
