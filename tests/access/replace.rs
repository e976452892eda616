//! Tokens that change while the daemon runs. Its doors are in this process, so that they can be.

use std::future::pending;
use std::net::SocketAddr;
use std::sync::Arc;

use httpmq::access::{Pattern, Right, Secret, Token};
use httpmq::broker::Broker;
use httpmq::config::{Auth, Config};
use httpmq::engine::memory::MemoryEngine;
use httpmq::guard::Guard;
use httpmq::store::local::{LocalStore, Options, QueueSettings, SyncMode};
use httpmq::{http, pubsub};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tungstenite::protocol::frame::coding::CloseCode;

use crate::common::{Client, Wire, get};
use crate::tokens::{secret, with_token};
use crate::websocket::Socket;

struct Doors {
    http: SocketAddr,
    tcp: SocketAddr,
    guard: Arc<Guard>,
    _runtime: Runtime,
}

fn token(name: &str, rights: &[Right]) -> Token {
    Token {
        name: name.to_owned(),
        sha256: Secret::parse(&secret(name)).unwrap().sha256(),
        queues: vec![Pattern::parse("*").unwrap()],
        rights: rights.iter().copied().collect(),
        requests_per_s: 0,
    }
}

fn auth(tokens: &[Token]) -> Auth {
    Auth { allow_open: false, allowed_hosts: Vec::new(), tokens: tokens.to_vec() }
}

fn doors(tokens: &[Token]) -> Doors {
    let config = Config { auth: auth(tokens), ..Config::default() };
    let runtime = Runtime::new().unwrap();
    let _entered = runtime.enter();
    let hub = Arc::new(pubsub::Hub::new(runtime.handle().clone()));
    let options = Options {
        sync: SyncMode::Never,
        cache_bytes: 1 << 20,
        disk_reserve_bytes: 0,
        max_queues: 100,
        queues: QueueSettings { defaults: config.queue_defaults, named: config.queues.clone() },
        lull: None,
    };
    let (store, _) = LocalStore::open(Arc::new(MemoryEngine::default()), None, options, Some(hub.clone())).unwrap();
    let broker = Arc::new(Broker::new(store));
    let guard = Arc::new(Guard::new(&config.auth));
    let live = Arc::new(pubsub::Door::new(broker.clone(), hub, guard.clone(), None, &config));
    let door = Arc::new(http::Door::new(broker, live.clone(), guard.clone(), None, &config));
    let bind = || runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let (http_listener, tcp_listener) = (bind(), bind());
    let (http, tcp) = (http_listener.local_addr().unwrap(), tcp_listener.local_addr().unwrap());
    runtime.spawn(http::serve(http_listener, door, pending()));
    runtime.spawn(pubsub::serve(tcp_listener, live, pending()));
    drop(_entered);
    Doors { http, tcp, guard, _runtime: runtime }
}

fn wire(doors: &Doors, name: &str) -> Wire {
    let mut wire = Wire::connect(doors.tcp);
    assert_eq!(wire.ask(&json!({ "coremq_auth": secret(name) }).to_string()), "OK: Authentication successful");
    wire
}

fn socket(doors: &Doors, name: &str) -> Socket {
    let mut socket = Socket::connect(doors.http);
    assert_eq!(socket.ask(&json!({ "coremq_auth": secret(name) })), "OK: Authentication successful");
    socket
}

const GONE: &str = "ERROR: the token of this connection has changed or is gone; connect again";

#[test]
fn who_has_lost_its_token_is_sent_away_at_once_and_the_others_stay() {
    let all = [token("stays", &Right::ALL), token("less", &Right::ALL), token("goes", &Right::ALL)];
    let doors = doors(&all);
    let [mut stays, mut less, mut goes] = ["stays", "less", "goes"].map(|name| wire(&doors, name));
    let (mut socket_stays, mut socket_goes) = (socket(&doors, "stays"), socket(&doors, "goes"));
    for wire in [&mut stays, &mut less, &mut goes] {
        wire.subscribe("news");
    }
    socket_goes.subscribe(&["news"]);
    let mut client = Client::connect(doors.http);
    assert_eq!(client.ask(with_token(get("/v1/stats"), "goes")).status, 200);

    let replaced = doors.guard.replace(&auth(&[token("stays", &Right::ALL), token("less", &[Right::Write])])).unwrap();
    assert_eq!((replaced.changed, replaced.removed), (vec!["less".to_owned()], vec!["goes".to_owned()]));
    assert_eq!(client.ask(with_token(get("/v1/stats"), "goes")).status, 401);
    for wire in [&mut less, &mut goes] {
        assert_eq!(wire.answer(), GONE);
        assert!(wire.is_closed());
    }
    let (code, texts) = socket_goes.closed();
    assert!(code == Some(CloseCode::Policy) && texts[0].contains(GONE), "{code:?} {texts:?}");
    // What is published now reaches those that stay, and nobody that has left.
    assert_eq!(socket_stays.ask(&json!({ "queue": "news", "n": 1 })), "OK: Message sent");
    assert_eq!(stays.message("news"), json!({ "n": 1 }));
    let mut less = wire(&doors, "less");
    assert!(less.ask(r#"{"coremq_subscribe":"news"}"#).starts_with("ERROR: the token less lacks the right read"));
}

#[test]
fn the_first_token_ends_connections_that_needed_none() {
    let doors = doors(&[]);
    let mut open = Wire::connect(doors.tcp);
    open.subscribe("news");
    let mut open_socket = Socket::connect(doors.http);
    open_socket.subscribe(&["news"]);
    let mut client = Client::connect(doors.http);
    assert_eq!(client.ask(get("/v1/stats")).status, 200);
    doors.guard.replace(&auth(&[token("new", &Right::ALL)])).unwrap();
    assert_eq!(client.ask(get("/v1/stats")).status, 401);
    assert_eq!(open.answer(), GONE);
    assert!(open.is_closed());
    assert_eq!(open_socket.closed().0, Some(CloseCode::Policy));
    wire(&doors, "new").subscribe("news");
}
