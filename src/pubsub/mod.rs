//! The CoreMQ door: live publish and subscribe by JSON frames over TCP and by text messages over WebSocket.
//!
//! The rules of the protocol are pure functions over bytes and text, without sockets, clock or locks. In reading order:
//!
//! - [`frame`]: bytes ↔ frames, `+LEN QUEUE JSON`; "need more" is a value.
//! - [`object`]: a frame's JSON as the top-level members of one object, in their exact text.
//! - [`command`]: what such an object asks for.
//! - [`message`]: a published object → the body in the ring, and any body → the object that subscribers get.
//! - [`response`]: the server's answers.
//! - [`ascii`]: JSON text as pure ASCII, which everything that leaves by this door is.

pub mod ascii;
pub mod command;
pub mod frame;
pub mod message;
pub mod object;
pub mod response;

#[cfg(test)]
mod arbitrary;
