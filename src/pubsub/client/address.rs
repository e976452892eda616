//! Where the server is: `HOST:PORT`, or `tls://HOST:PORT`, checked once.

use std::fmt;
use std::path::Path;

use crate::tls::Connector;

/// What an address begins with where TLS is spoken.
const TLS: &str = "tls://";

use crate::access::Secret;

/// The address of a CoreMQ server. It prints as the text that it came from.
#[derive(Debug, Clone)]
pub struct Server {
    pub(super) host: String,
    pub(super) port: u16,
    /// With TLS: whom to trust.
    pub(super) tls: Option<Connector>,
    shown: String,
    pub(super) secret: Option<Secret>,
}

/// Why a text is no such address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{address}` is no TCP address: {reason}")]
pub struct AddressError {
    address: String,
    reason: String,
}

impl Server {
    /// Reads `HOST:PORT` or `tls://HOST:PORT`; the host may be a name, an IPv4 address or an IPv6 address in brackets. `ca` is the
    /// file with the authorities that are trusted for TLS, else those are that this machine trusts.
    ///
    /// # Errors
    /// Anything else; for TLS, that nobody is trusted.
    pub fn parse(address: &str, ca: Option<&Path>) -> Result<Server, AddressError> {
        let wrong = |reason: &str| AddressError { address: address.to_owned(), reason: reason.to_owned() };
        let (is_tls, place) = match address.strip_prefix(TLS) {
            Some(place) => (true, place),
            None => (false, address),
        };
        if place.contains('/') {
            return Err(wrong("write it as HOST:PORT or tls://HOST:PORT, without http://"));
        }
        let (host, port) = place.rsplit_once(':').ok_or_else(|| wrong("write it as HOST:PORT"))?;
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        if bare.is_none() && host.contains(':') {
            return Err(wrong("write an IPv6 address in brackets, as [::1]:6747"));
        }
        let host = bare.unwrap_or(host);
        if host.is_empty() || host.contains(char::is_whitespace) {
            return Err(wrong("the host is missing or wrong"));
        }
        let port = port.parse().ok().filter(|port| *port != 0).ok_or_else(|| wrong("the port is wrong"))?;
        let tls = is_tls.then(|| Connector::new(ca)).transpose().map_err(|error| wrong(&error.to_string()))?;
        Ok(Server { host: host.to_owned(), port, tls, shown: address.to_owned(), secret: None })
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
            let server = Server::parse(address, None).expect(address);
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
            ("tls://h", "HOST:PORT"),
            ("tls://h:1/", "without http://"),
        ] {
            let error = Server::parse(address, None).expect_err(address).to_string();
            assert!(error.contains(reason), "{address}: {error}");
        }
    }
}
