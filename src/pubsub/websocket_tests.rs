//! Time in a WebSocket connection, with a clock that jumps.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A failed test may panic.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf, duplex, split},
    runtime::Handle,
};

use super::{super::Hub, *};
use crate::{
    broker::Broker,
    config::Config,
    engine::memory::MemoryEngine,
    guard::{self, Guard},
    store::local::{LocalStore, Options, QueueSettings, SyncMode},
};

const PING: &[u8] = b"\x89\x00";
/// Masked with zeros.
const PONG: &[u8] = b"\x8a\x80\0\0\0\0";

/// The client's end of a connection that is served.
struct Client {
    read: ReadHalf<DuplexStream>,
    write: WriteHalf<DuplexStream>,
    _stop: watch::Sender<bool>,
}

impl Client {
    fn connect() -> Client {
        let config = Config::default();
        let hub = Arc::new(Hub::new(Handle::current()));
        let options = Options {
            sync: SyncMode::Never,
            cache_bytes: 0,
            disk_reserve_bytes: 0,
            max_queues: 10,
            queues: QueueSettings { defaults: config.queue_defaults, named: config.queues.clone() },
            lull: None,
        };
        let (store, _) = LocalStore::open(Arc::new(MemoryEngine::default()), None, options, Some(hub.clone())).unwrap();
        let guard = Arc::new(Guard::new(&config.auth));
        let peer = std::net::SocketAddr::from(([127, 0, 0, 1], 1));
        let visitor = Visitor { peer, pass: guard.enter(None, guard::Client::at(peer.ip())).ok() };
        let door = Arc::new(Door::new(Arc::new(Broker::new(store)), hub, guard, None, &config));
        let (near, far) = duplex(1 << 16);
        let (read, write) = split(far);
        let stop = watch::Sender::new(false);
        tokio::spawn(serve(read, write, Vec::new(), door, visitor, stop.subscribe()));
        let (read, write) = split(near);
        Client { read, write, _stop: stop }
    }

    /// What comes next, all that is there at once; nothing at the end.
    async fn read(&mut self) -> Vec<u8> {
        let mut bytes = vec![0; 1 << 16];
        let length = self.read.read(&mut bytes).await.unwrap();
        bytes.truncate(length);
        bytes
    }

    async fn welcome(&mut self) {
        let welcome = self.read().await;
        assert!(String::from_utf8_lossy(&welcome).contains("OK: Welcome"), "{welcome:?}");
    }
}

/// Whole seconds since then.
fn seconds(since: Instant) -> u64 {
    since.elapsed().as_secs()
}

#[tokio::test(start_paused = true)]
async fn a_client_that_answers_pings_stays_and_one_that_does_not_is_closed() {
    let start = Instant::now();
    let mut client = Client::connect();
    client.welcome().await;
    for n in 1..=100 {
        assert_eq!(client.read().await, PING);
        assert!((30 * n..33 * n).contains(&seconds(start)), "ping {n} after {} s", seconds(start));
        client.write.write_all(PONG).await.unwrap();
    }
    let before = Instant::now();
    assert_eq!(client.read().await, PING);
    assert_eq!(client.read().await, b"");
    assert!((40..46).contains(&seconds(before)), "{} s", seconds(before));
}

#[tokio::test(start_paused = true)]
async fn a_message_that_does_not_come_to_its_end_is_not_waited_for() {
    let start = Instant::now();
    let mut client = Client::connect();
    client.welcome().await;
    // The head of a text message of 125 bytes, which then come one in a second.
    client.write.write_all(b"\x81\xfd\0\0\0\0").await.unwrap();
    let dribble = async {
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            if client.write.write_all(b" ").await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    };
    let mut said = Vec::new();
    let read = async {
        // The connection is heard out for a moment, while nothing more is said.
        while let Ok(1..) = client.read.read_buf(&mut said).await {}
    };
    tokio::select! {
        () = dribble => {}
        () = read => {}
    }
    assert!((30..35).contains(&seconds(start)), "{} s", seconds(start));
    assert!(String::from_utf8_lossy(&said).contains("did not come in time"), "{said:?}");
    assert!(said.ends_with(&1008_u16.to_be_bytes()), "{said:?}");
}
