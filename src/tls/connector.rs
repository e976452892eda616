//! The commands' side of TLS: whom they trust.

use std::{fmt, io, path::Path, sync::Arc};

use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    rustls::{
        CertificateError, ClientConfig, Error, InvalidMessage, RootCertStore, crypto::ring, pki_types::ServerName,
    },
};

use super::{
    TlsError,
    files::{certificates, wrong},
    stream::Stream,
};

/// Makes connections to servers whose certificates are by an authority that is trusted.
#[derive(Clone)]
pub struct Connector(Arc<ClientConfig>);

impl Connector {
    /// Trusts the authorities in a file, or those that this machine trusts.
    ///
    /// # Errors
    /// There are none, or the file is of no use.
    pub fn new(ca: Option<&Path>) -> Result<Connector, TlsError> {
        let mut roots = RootCertStore::empty();
        let path = ca.unwrap_or(Path::new("the certificates of this machine"));
        match ca {
            Some(path) => {
                for certificate in certificates(path)? {
                    roots.add(certificate).map_err(|error| wrong(path, format!("cannot be used: {error}")))?;
                }
            }
            None => {
                let found = rustls_native_certs::load_native_certs();
                // A machine may have some that are of no use, besides those that are.
                roots.add_parsable_certificates(found.certs);
                if roots.is_empty() {
                    let why = found.errors.first().map_or_else(String::new, |error| format!(" ({error})"));
                    return Err(wrong(path, format!("there are none{why}; --ca FILE says whom to trust")));
                }
            }
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().map_err(|error| wrong(path, error.to_string()))?;
        Ok(Connector(Arc::new(builder.with_root_certificates(roots).with_no_client_auth())))
    }

    /// Does the handshake with the server of that name, or address, at the other end.
    ///
    /// # Errors
    /// Why not, for a person.
    pub async fn connect(&self, host: &str, stream: TcpStream) -> Result<Stream, String> {
        let name = ServerName::try_from(host.to_owned()).map_err(|_| format!("{host} is no name of a server"))?;
        let connected = TlsConnector::from(self.0.clone()).connect(name, stream).await;
        match connected {
            Ok(stream) => Ok(Stream::Tls(Box::new(stream.into()))),
            Err(error) => Err(explained(&error, host)),
        }
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connector")
    }
}

/// What a person can do about it, where rustls names the case only.
fn explained(error: &io::Error, host: &str) -> String {
    use CertificateError::{
        Expired, ExpiredContext, NotValidForName, NotValidForNameContext, NotValidYet, NotValidYetContext,
        UnknownIssuer,
    };
    let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) else {
        return match error.kind() {
            io::ErrorKind::UnexpectedEof => "it ended the handshake of TLS; does it speak TLS?".to_owned(),
            _ => error.to_string(),
        };
    };
    match tls {
        Error::InvalidCertificate(UnknownIssuer) => {
            "its certificate is by an authority that is not trusted here; --ca FILE names one that is".to_owned()
        }
        Error::InvalidCertificate(Expired | ExpiredContext { .. }) => "its certificate has expired".to_owned(),
        Error::InvalidCertificate(NotValidYet | NotValidYetContext { .. }) => {
            "its certificate is not valid yet".to_owned()
        }
        Error::InvalidCertificate(NotValidForName | NotValidForNameContext { .. }) => {
            format!("its certificate is not for the name {host}")
        }
        // What `openssl req -x509` makes unless told otherwise.
        Error::InvalidCertificate(other) if format!("{other:?}").contains("CaUsedAsEndEntity") => {
            "its certificate is one of an authority, not of a server; make it with basicConstraints=CA:FALSE".to_owned()
        }
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => "it does not speak TLS".to_owned(),
        other => other.to_string(),
    }
}
