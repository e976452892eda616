//! Where the server is: `http://host:port` or `https://host:port`, checked once.

use std::fmt;
use std::path::Path;

use hyper::Uri;
use hyper::header::HeaderValue;

use crate::{access::Secret, tls::Connector};

/// The port of an http URL that names none (RFC 9110, section 4.2.1).
const HTTP_PORT: u16 = 80;
/// The same for https (section 4.2.2).
const HTTPS_PORT: u16 = 443;

/// The address of an httpmq server. It prints as the URL that it came from.
#[derive(Debug, Clone)]
pub struct Server {
    pub(super) host: String,
    pub(super) port: u16,
    /// What the `Host` header says: host and port as they stand in the URL.
    pub(super) authority: HeaderValue,
    /// For https: whom to trust.
    pub(super) tls: Option<Connector>,
    shown: String,
    /// `Bearer` and the token, when there is one.
    pub(super) authorization: Option<HeaderValue>,
}

/// Why a text is no server address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{url}` is no server address: {reason}")]
pub struct AddressError {
    url: String,
    reason: String,
}

impl Server {
    /// Reads `http://host:port` or `https://host:port`; the host may be a name, an IPv4 address or an IPv6 address in brackets. `ca`
    /// is the file with the authorities that are trusted for https, else those are that this machine trusts.
    ///
    /// # Errors
    /// Anything that is not such a URL, a user name, a path or a query; for https, that nobody is trusted.
    pub fn parse(url: &str, ca: Option<&Path>) -> Result<Server, AddressError> {
        let wrong = |reason: &str| AddressError { url: url.to_owned(), reason: reason.to_owned() };
        let uri: Uri = url.parse().map_err(|_| wrong("write it as http://host:port"))?;
        let is_https = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(wrong("write it as http://host:port")),
        };
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(wrong("nothing may follow the port, write it as http://host:port")); // no prefix is ever added
        }
        let authority = uri.authority().filter(|a| !a.host().is_empty()).ok_or_else(|| wrong("the host is missing"))?;
        if authority.as_str().contains('@') {
            return Err(wrong("a user name or password has no meaning here"));
        }
        let port = match authority.as_str().strip_prefix(authority.host()) {
            Some("") if is_https => HTTPS_PORT,
            Some("") => HTTP_PORT,
            Some(_) => authority.port_u16().filter(|port| *port != 0).ok_or_else(|| wrong("the port is wrong"))?,
            None => return Err(wrong("write it as http://host:port")),
        };
        let tls = is_https.then(|| Connector::new(ca)).transpose().map_err(|error| wrong(&error.to_string()))?;
        Ok(Server {
            tls,
            host: authority.host().trim_matches(['[', ']']).to_owned(),
            port,
            authority: HeaderValue::from_str(authority.as_str()).map_err(|_| wrong("the host is wrong"))?,
            shown: format!("{}://{authority}", if is_https { "https" } else { "http" }),
            authorization: None,
        })
    }
}

impl Server {
    /// The same server, to which a token is shown.
    #[must_use]
    pub fn with_token(mut self, secret: Option<&Secret>) -> Server {
        let header = |secret: &Secret| {
            // A secret has nothing in it that a header does not take.
            let mut value = HeaderValue::from_str(&format!("Bearer {}", secret.reveal())).ok()?;
            value.set_sensitive(true);
            Some(value)
        };
        self.authorization = secret.and_then(header);
        self
    }

    /// What the `Host` header says, as text: it came from one.
    pub(super) fn host_header(&self) -> &str {
        self.authority.to_str().unwrap_or_default()
    }

    /// The line of a head that shows the token, with its end; empty without one.
    pub(super) fn authorization_line(&self) -> String {
        let value = self.authorization.as_ref().and_then(|value| value.to_str().ok());
        value.map(|value| format!("Authorization: {value}\r\n")).unwrap_or_default()
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_and_port_are_read() {
        for (url, host, port) in [
            ("http://127.0.0.1:8200", "127.0.0.1", 8200),
            ("http://127.0.0.1:8200/", "127.0.0.1", 8200),
            ("HTTP://[::1]:9000", "::1", 9000),
            ("http://queue.example", "queue.example", 80),
        ] {
            let server = Server::parse(url, None).expect(url);
            assert_eq!((server.host.as_str(), server.port), (host, port), "{url}");
        }
    }

    #[test]
    fn whatever_is_no_address_is_refused_with_its_reason() {
        for (url, reason) in [
            ("localhost:8200", "write it as http://host:port"),
            ("localhost", "write it as http://host:port"),
            ("ftp://h:1", "write it as http://host:port"),
            ("", "write it as http://host:port"),
            ("http://", "write it as http://host:port"),
            ("http://:80", "the host is missing"),
            ("http://h:1/mq", "nothing may follow the port"),
            ("http://h:1?x", "nothing may follow the port"),
            ("http://me:secret@h:1", "a user name"),
            ("http://h:", "the port is wrong"),
            ("http://h:0", "the port is wrong"),
            ("http://h:65536", "the port is wrong"),
        ] {
            let error = Server::parse(url, None).expect_err(url).to_string();
            assert!(error.contains(reason), "{url}: {error}");
        }
    }
}
