//! The listeners' side of TLS.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, SystemTime},
};

use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, crypto::ring, sign::SingleCertAndKey},
};
use x509_cert::time::Time;

use super::{
    TlsError,
    files::{self, Identity, left, warn_of_open_key, wrong},
    stream::Stream,
};
use crate::{
    config,
    metrics::{Listener, Reason},
};

/// When a certificate has less time left, it is warned of: long enough for somebody who has to ask somebody.
const WARN_BEFORE: Duration = Duration::from_secs(14 * 24 * 3600);
/// The first byte of every TLS connection: a record of the handshake (RFC 8446, section 5.1).
const HANDSHAKE: u8 = 22;
/// What is spoken on the HTTP port (RFC 7301). No h2: a client that offers both gets this.
const ALPN: &[u8] = b"http/1.1";

/// The certificate and the key of both listeners, which may be replaced while they listen.
#[derive(Debug)]
pub struct Server {
    current: RwLock<Current>,
}

#[derive(Debug)]
struct Current {
    http: Arc<ServerConfig>,
    live: Arc<ServerConfig>,
    /// The first certificate, to know it again.
    leaf: Vec<u8>,
    not_after: Time,
}

/// What is spoken behind the handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speaks {
    /// HTTP, which the client may ask for by its name.
    Http,
    /// The live side's frames, which have no such name.
    Frames,
}

/// Why there is no handshake.
#[derive(Debug, thiserror::Error)]
enum Refused {
    /// What came is no TLS; nothing of it was read.
    #[error("it does not speak TLS")]
    Plain(TcpStream),
    /// The client went without a word, as those do that only look whether the port is open.
    #[error("it went without a word")]
    Gone,
    /// It took too long.
    #[error("it took too long")]
    TooSlow,
    /// The client broke off or cannot agree with us.
    #[error("{0}")]
    Failed(io::Error),
}

/// What is behind the handshake with a client, which is the connection itself where there is no TLS. A handshake has a time within
/// which it must be done; who fails is counted.
///
/// # Errors
/// The connection is of no use. `Some`: it speaks no TLS, and nothing of it was read.
pub async fn secure(
    server: Option<&Server>,
    stream: TcpStream,
    peer: SocketAddr,
    (speaks, within): (Speaks, Duration),
    counted: &Listener,
) -> Result<Stream, Option<TcpStream>> {
    let Some(server) = server else { return Ok(Stream::Plain(stream)) };
    // In a box: a connection without TLS must not keep room for a handshake.
    let refused = match Box::pin(server.accept(stream, speaks, within)).await {
        Ok(stream) => return Ok(stream),
        Err(Refused::Gone) => return Err(None),
        Err(refused) => refused,
    };
    log::debug!("no TLS with {peer}: {refused}");
    counted.refused(if matches!(refused, Refused::TooSlow) { Reason::TooSlow } else { Reason::Malformed });
    Err(if let Refused::Plain(stream) = refused { Some(stream) } else { None })
}

impl Server {
    /// Reads the files.
    ///
    /// # Errors
    /// One of them is of no use.
    pub fn load(files: &config::Tls) -> Result<Server, TlsError> {
        Ok(Server { current: RwLock::new(Current::read(files)?) })
    }

    /// Reads the files again; connections that come from now on get what is in them. `Some`: the certificate is another one, until
    /// when it and the one before are valid.
    ///
    /// # Errors
    /// One of them is of no use; everything stays as it is.
    pub fn replace(&self, files: &config::Tls) -> Result<Option<(String, String)>, TlsError> {
        let new = Current::read(files)?;
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        let is_other = new.leaf != current.leaf;
        let ends = (current.not_after.to_string(), new.not_after.to_string());
        *current = new;
        Ok(is_other.then_some(ends))
    }

    /// When the certificate ends, in seconds since the Unix epoch.
    pub fn not_after_s(&self) -> u64 {
        self.not_after().to_unix_duration().as_secs()
    }

    /// Warns when the certificate ends soon.
    pub fn warn_of_end(&self) {
        let not_after = self.not_after();
        match left(not_after, SystemTime::now()) {
            Duration::ZERO => log::error!("the TLS certificate expired at {not_after}: clients refuse it"),
            left if left < WARN_BEFORE => {
                log::warn!("the TLS certificate ends in {} days, at {not_after}", left.as_secs() / (24 * 3600));
            }
            _ => {}
        }
    }

    /// Does the handshake with a client, which must be done `within` that time.
    ///
    /// # Errors
    /// See [`Refused`].
    async fn accept(&self, stream: TcpStream, speaks: Speaks, within: Duration) -> Result<Stream, Refused> {
        timeout(within, self.handshake(stream, speaks)).await.unwrap_or(Err(Refused::TooSlow))
    }

    async fn handshake(&self, stream: TcpStream, speaks: Speaks) -> Result<Stream, Refused> {
        let mut first = [0];
        match stream.peek(&mut first).await {
            Ok(0) => return Err(Refused::Gone),
            Ok(_) if first[0] != HANDSHAKE => return Err(Refused::Plain(stream)),
            Ok(_) => {}
            Err(error) => return Err(Refused::Failed(error)),
        }
        let config = {
            let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
            match speaks {
                Speaks::Http => current.http.clone(),
                Speaks::Frames => current.live.clone(),
            }
        };
        let accepted = TlsAcceptor::from(config).accept(stream).await.map_err(Refused::Failed)?;
        Ok(Stream::Tls(Box::new(accepted.into())))
    }

    fn not_after(&self) -> Time {
        self.current.read().unwrap_or_else(PoisonError::into_inner).not_after
    }
}

impl Current {
    fn read(files: &config::Tls) -> Result<Current, TlsError> {
        let Identity { certified, not_after } = files::read(files, SystemTime::now())?;
        warn_of_open_key(&files.key);
        let leaf = certified.cert.first().map(|leaf| leaf.to_vec()).unwrap_or_default();
        let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions();
        let builder = builder.map_err(|error| wrong(&files.certificate, error.to_string()))?;
        let live = builder.with_no_client_auth().with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
        let mut http = live.clone();
        http.alpn_protocols = vec![ALPN.to_vec()];
        Ok(Current { http: Arc::new(http), live: Arc::new(live), leaf, not_after })
    }
}
