//! Accepting connections, whatever comes between, and telling them when to end.

use std::{io, net::SocketAddr, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    time::Instant,
};

/// How long to wait after `accept` failed for want of descriptors or memory: long enough not to spin, short enough to be back.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);
/// How often it is said that connections cannot be accepted.
const SAY_AGAIN: Duration = Duration::from_secs(10);

/// A listener that goes on after errors.
#[derive(Debug)]
pub struct Acceptor {
    listener: TcpListener,
    said: Option<Instant>,
}

impl Acceptor {
    /// Takes a bound listener.
    pub fn new(listener: TcpListener) -> Acceptor {
        Acceptor { listener, said: None }
    }

    /// The next connection, and who is at its other end. Cancel safe.
    pub async fn next(&mut self) -> (TcpStream, SocketAddr) {
        loop {
            match self.listener.accept().await {
                Ok((stream, peer)) => {
                    // What we send is small and written whole: to wait for more would only delay it. A socket that refuses is
                    // about to fail anyway.
                    let _ = stream.set_nodelay(true);
                    return (stream, peer);
                }
                Err(error) => self.wait_after(&error).await,
            }
        }
    }

    /// A connection that died before it was accepted is nothing; anything else would come at once again, so it is waited for.
    async fn wait_after(&mut self, error: &io::Error) {
        use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
        if matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted) {
            return;
        }
        if self.said.is_none_or(|at| at.elapsed() >= SAY_AGAIN) {
            log::warn!("cannot accept connections for now: {error}");
            self.said = Some(Instant::now());
        }
        tokio::time::sleep(ACCEPT_AGAIN).await;
    }
}

/// Waits until the server stops.
pub async fn stopped(stop: &mut watch::Receiver<bool>) {
    // Who would say so lives longer than any connection. What is borrowed here must be given back before anything else is waited for.
    drop(stop.wait_for(|stop| *stop).await);
}
