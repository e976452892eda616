//! Where the server is: `HOST:PORT`, checked once.

use std::fmt;

use crate::access::Secret;

/// The address of a CoreMQ server. It prints as the text that it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    pub(super) host: String,
    pub(super) port: u16,
    shown: String,
    pub(super) secret: Option<Secret>,
}

/// Why a text is no such address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{address}` is no TCP address: {reason}")]
pub struct AddressError {
    address: String,
    reason: &'static str,
}

impl Server {
    /// Reads `HOST:PORT`; the host may be a name, an IPv4 address or an IPv6 address in brackets.
    ///
    /// # Errors
    /// Anything else.
    pub fn parse(address: &str) -> Result<Server, AddressError> {
        let wrong = |reason| AddressError { address: address.to_owned(), reason };
        if address.contains('/') {
            return Err(wrong("write it as HOST:PORT, without http://"));
        }
        let (host, port) = address.rsplit_once(':').ok_or_else(|| wrong("write it as HOST:PORT"))?;
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        if bare.is_none() && host.contains(':') {
            return Err(wrong("write an IPv6 address in brackets, as [::1]:6747"));
        }
        let host = bare.unwrap_or(host);
        if host.is_empty() || host.contains(char::is_whitespace) {
            return Err(wrong("the host is missing or wrong"));
        }
        let port = port.parse().ok().filter(|port| *port != 0).ok_or_else(|| wrong("the port is wrong"))?;
        Ok(Server { host: host.to_owned(), port, shown: address.to_owned(), secret: None })
    }
}

impl Server {
    /// The same server, to which a token is shown.
    #[must_use]
    pub fn with_token(self, secret: Option<&Secret>) -> Server {
        Server { secret: secret.cloned(), ..self }
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

#[cfg(test)]
#[allow(clippy::expect_used)] // A failed test may panic.
mod tests {
    use super::*;

    #[test]
    fn host_and_port_are_read() {
        for (address, host, port) in [
            ("127.0.0.1:6747", "127.0.0.1", 6747),
            ("[::1]:9", "::1", 9),
            ("queue.example:65535", "queue.example", 65535),
        ] {
            let server = Server::parse(address).expect(address);
            assert_eq!((server.host.as_str(), server.port, server.to_string()), (host, port, address.to_owned()));
        }
    }

    #[test]
    fn whatever_is_no_address_is_refused_with_its_reason() {
        for (address, reason) in [
            ("localhost", "HOST:PORT"),
            ("", "HOST:PORT"),
            ("http://localhost:6747", "without http://"),
            ("::1:6747", "in brackets"),
            (":6747", "the host"),
            ("h h:6747", "the host"),
            ("h:0", "the port"),
            ("h:65536", "the port"),
            ("h:", "the port"),
        ] {
            let error = Server::parse(address).expect_err(address).to_string();
            assert!(error.contains(reason), "{address}: {error}");
        }
    }
}
