//! TLS, for the listeners and for the commands. rustls is named below this module and nowhere else.
//!
//! In reading order: [`files`] (a certificate and its key, read and checked), [`server`] (the handshake of the listeners, with files
//! that may be replaced meanwhile), [`connector`] (the other end, for the commands), [`stream`] (what both give: a stream with
//! or without TLS, so that nobody else needs to know).

mod connector;
mod files;
mod server;
mod stream;

use std::path::PathBuf;

pub use self::{
    connector::Connector,
    server::{Server, Speaks, secure},
    stream::{ReadHalf, Stream, WriteHalf},
};

/// Why a file with certificates or a key is of no use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {reason}", path.display())]
pub struct TlsError {
    path: PathBuf,
    reason: String,
}
