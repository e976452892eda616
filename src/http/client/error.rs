//! What can come instead of an answer.

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody could be reached; the request was not sent.
    #[error("no connection to {server}: {reason}")]
    NoConnection {
        /// Who was called.
        server: String,
        /// What the system says.
        reason: String,
    },
    /// Somebody is there, but not safely who is meant: TLS is refused, missing, or with a certificate that is not trusted.
    /// The request was not sent.
    #[error("no safe connection to {server}: {reason}")]
    NotSafe {
        /// Who was called.
        server: String,
        /// What is wrong.
        reason: String,
    },
    /// The server has as many connections as it takes, or is about to stop; it did nothing.
    #[error("{server} takes no more connections now: {reason}")]
    Busy {
        /// Who was asked.
        server: String,
        /// What the server says.
        reason: String,
    },
    /// The connection ended before the answer was there. Whether the request was carried out is unknown.
    #[error("the connection to {server} broke before the answer came: {reason}")]
    Broken {
        /// Who was asked.
        server: String,
        /// What the system says.
        reason: String,
    },
    /// No answer within a minute. Whether the request was or will be carried out is unknown.
    #[error("{server} gave no answer within {} s", super::ANSWER_TIMEOUT.as_secs())]
    Timeout {
        /// Who was asked.
        server: String,
    },
    /// An answer came, but not one that httpmq gives.
    #[error("what answers at {server} is not httpmq: {reason}")]
    NotHttpmq {
        /// Who was asked.
        server: String,
        /// What is wrong with the answer.
        reason: String,
    },
}

impl ClientError {
    /// Whether the server may have carried the request out.
    #[must_use]
    pub fn may_be_done(&self) -> bool {
        match self {
            ClientError::NoConnection { .. } | ClientError::NotSafe { .. } | ClientError::Busy { .. } => false,
            ClientError::Broken { .. } | ClientError::Timeout { .. } | ClientError::NotHttpmq { .. } => true,
        }
    }
}
