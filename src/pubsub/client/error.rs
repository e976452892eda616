//! What can come instead of an answer.

/// Why there is no connection, or none any more.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody could be reached.
    #[error("no connection to {server}: {reason}")]
    NoConnection {
        /// Who was called.
        server: String,
        /// What the system says.
        reason: String,
    },
    /// Somebody is there, but not safely who is meant: TLS is refused, or with a certificate that is not trusted.
    #[error("no safe connection to {server}: {reason}")]
    NotSafe {
        /// Who was called.
        server: String,
        /// What is wrong.
        reason: String,
    },
    /// The server has as many connections as it takes.
    #[error("{server} takes no more connections now: {reason}")]
    Busy {
        /// Who was asked.
        server: String,
        /// What the server says.
        reason: String,
    },
    /// The server does not take the token.
    #[error("{server} does not let this client in: {reason}")]
    Denied {
        /// Who was asked.
        server: String,
        /// What the server says.
        reason: String,
    },
    /// The connection ended.
    #[error("the connection to {server} is lost: {reason}")]
    Broken {
        /// Who was at the other end.
        server: String,
        /// What the system says.
        reason: String,
    },
    /// What answers does not speak this protocol.
    #[error("what answers at {server} is no CoreMQ server: {reason}")]
    NotCoremq {
        /// Who was asked.
        server: String,
        /// What is wrong with what it says.
        reason: String,
    },
}
