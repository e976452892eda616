//! HTTP as hostile or clumsy clients send it: in pieces, in bulk, too long, half. What is malformed is in `tests/bad_input.rs`.
//!
//! Goal: nothing that stands behind a refused request is ever taken for one, a client can read why it was refused, and the next
//! client is served.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A failed test may panic.

mod common;

use std::io::ErrorKind;
use std::net::Shutdown;
use std::time::{Duration, Instant};

use common::{Client, Daemon, Response, get, put_message, request};

const PUT_OK: &str = r#"{"code":1,"message":"HTTPMQ_PUT_OK","data":{}}"#;
const MIB: usize = 1 << 20;

/// The body of a put with a length of 0x15 bytes, in a chunk of its own.
const CHUNK: &str = "15\r\n{\"name\":\"q\",\"data\":1}\r\n0\r\n\r\n";

fn chunked_put(headers: &str) -> String {
    format!("PUT /queue/ HTTP/1.1\r\n{headers}\r\n\r\n{CHUNK}")
}

fn with_headers(headers: &str) -> String {
    format!("GET /queue/?name=none HTTP/1.1\r\n{headers}\r\n\r\n")
}

fn with_line(line: &str) -> String {
    format!("{line}\r\nHost: x\r\n\r\n")
}

fn about(seed: &[u8]) -> String {
    format!("{:.200}", String::from_utf8_lossy(seed).escape_debug().to_string())
}

fn check_nothing_smuggled(daemon: &Daemon) {
    let status = daemon.connect().ask(get("/status/?name=smuggled"));
    assert_eq!(status.message(), "HTTPMQ_NOT_EXISTS", "{}", status.text());
}

#[test]
fn http_2_is_not_spoken() {
    let daemon = Daemon::start_fast(|_| {});
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    for cut in 1..preface.len() {
        let mut client = daemon.connect();
        client.send(&preface[..cut]);
        client.send_if_open([&preface[cut..], &put_message("smuggled", "1")].concat());
        // hyper says nothing to a whole preface and just closes; to one that it sees in pieces it says 400.
        match client.try_read() {
            Ok(None) => {}
            Ok(Some(response)) => assert!(response.status == 400 && client.is_closed(), "cut at {cut}: {response:?}"),
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset, "cut at {cut}"),
        }
    }
    check_nothing_smuggled(&daemon);
}

#[test]
fn a_request_may_come_byte_by_byte() {
    let daemon = Daemon::start_fast(|_| {});
    let mut client = daemon.connect();
    for request in [
        put_message("q", "\"é 世\""),
        chunked_put("Transfer-Encoding: chunked").into(),
        get("/view/?name=q&position=0"),
    ] {
        for byte in request {
            client.send([byte]);
        }
    }
    assert_eq!([client.read().text(), client.read().text()], [PUT_OK; 2]);
    assert_eq!(client.read().json()["data"], "é 世");
}

#[test]
fn requests_in_one_segment_are_answered_in_order() {
    let daemon = Daemon::start_fast(|_| {});
    let mut client = daemon.connect();
    let mut all = Vec::new();
    for n in 0..50 {
        all.extend(put_message("q", &n.to_string()));
        all.extend(get("/queue/?name=q"));
        all.extend(get(&format!("/nowhere/{n}")));
    }
    client.send(all);
    for n in 0..50 {
        assert_eq!(client.read().text(), PUT_OK);
        assert_eq!(client.read().json()["data"], n);
        assert_eq!(client.read().status, 404);
    }
}

#[test]
fn an_answer_does_not_wait_for_the_next_request() {
    let daemon = Daemon::start_fast(|_| {});
    let mut client = daemon.connect();
    let request = get("/queue/?name=q");
    client.send([&*request, &request[..10]].concat());
    assert_eq!(client.read().status, 200);
    client.send(&request[10..]);
    assert_eq!(client.read().status, 200);
}

#[test]
fn a_client_may_ask_before_it_sends_the_body() {
    let daemon = Daemon::start_fast(|_| {});
    let mut client = daemon.connect();
    let asking =
        |length: usize| format!("PUT /queue/ HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: {length}\r\n\r\n");
    assert_eq!(client.ask(asking(21)).status, 100);
    assert_eq!(client.ask(r#"{"name":"q","data":1}"#).text(), PUT_OK);
    // What would be refused is refused before it is sent.
    for (head, status) in [(asking(2 * MIB), 413), (asking(21).replace("PUT", "POST"), 405)] {
        let mut client = daemon.connect();
        assert_eq!(client.ask(head).status, status);
        assert!(client.is_closed());
    }
}

#[test]
fn a_body_may_come_in_chunks_of_one_byte() {
    let daemon = Daemon::start_fast(|_| {});
    let mut client = daemon.connect();
    let data = "a".repeat(1000);
    let chunks: String =
        format!(r#"{{"name":"q","data":"{data}"}}"#).chars().map(|c| format!("1\r\n{c}\r\n")).collect();
    client.send(format!("PUT /queue/ HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}0\r\n\r\n"));
    assert_eq!(client.read().text(), PUT_OK);
    assert_eq!(client.ask(get("/queue/?name=q")).json()["data"], data);
}

#[test]
fn a_head_ends_at_its_limits() {
    let daemon = Daemon::start_fast(|_| {});
    let headers = |count: usize| with_headers(&vec!["A: b"; count].join("\r\n"));
    let one_header = |bytes: usize| with_headers(&format!("A: {}", "b".repeat(bytes)));
    let address = |bytes: usize| with_line(&format!("GET /queue/?name=q&x={} HTTP/1.1", "b".repeat(bytes)));
    for fits in [headers(64), one_header(15 << 10), address(15 << 10)] {
        assert_eq!(daemon.connect().ask(fits).status, 200);
    }
    let too_much =
        [headers(65), headers(1000), one_header(20 << 10), one_header(2 << 20), address(20 << 10), address(100 << 10)];
    for too_much in too_much {
        let mut client = daemon.connect();
        // The daemon does not wait for the rest of megabytes.
        client.send_if_open(&too_much);
        assert_eq!(client.read().status, 431, "{}", about(too_much.as_bytes()));
        assert!(client.is_closed());
    }
    // The limit is on the head as it comes, also when it never ends.
    let mut client = daemon.connect();
    client.send("GET /queue/ HTTP/1.1\r\nUpgrade: websocket\r\nX: ");
    for byte in std::iter::repeat_n(b'a', 17 << 10) {
        client.send_if_open([byte]);
    }
    assert_eq!(client.read().status, 431);
}

/// A refusal that can be read although its request was not; then the end.
fn check_refused(client: &mut Client, status: u16, message: &str, about: &str) -> Response {
    let response = client.try_read().unwrap_or_else(|error| panic!("{about}: {error}")).expect("an answer");
    assert_eq!((response.status, &*response.message()), (status, message), "{about}");
    assert_eq!(response.header("Connection"), Some("close"), "{about}");
    assert!(client.is_closed(), "{about}");
    response
}

#[test]
fn a_body_over_the_limit_is_refused_and_never_executed() {
    let daemon = Daemon::start_fast(|_| {});
    let hidden = put_message("smuggled", "1");
    let filler = |bytes: usize| [vec![b' '; bytes], hidden.repeat(3)].concat();
    for bytes in [2 * MIB, 3 * MIB, 7 * MIB] {
        let body = filler(bytes);
        let mut client = daemon.connect();
        // A client that looks at the answer only when it has sent everything.
        client.send(request("PUT", "/queue/", &body));
        check_refused(&mut client, 413, "HTTPMQ_TOO_LONG", &format!("{bytes} bytes"));

        let mut client = daemon.connect();
        client.send("PUT /queue/ HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n");
        for piece in body.chunks(100_000) {
            client.send(format!("{:x}\r\n", piece.len()));
            client.send(piece);
            client.send("\r\n");
        }
        client.send("0\r\n\r\n");
        client.send(&hidden);
        check_refused(&mut client, 413, "HTTPMQ_TOO_LONG", &format!("{bytes} bytes in chunks"));
    }
    for (method, path, status, message) in
        [("POST", "/queue/", 405, "HTTPMQ_METHOD_NOT_ALLOWED"), ("PUT", "/other", 404, "HTTPMQ_NOT_FOUND")]
    {
        let mut client = daemon.connect();
        client.send(request(method, path, filler(3 * MIB)));
        check_refused(&mut client, status, message, path);
    }
    check_nothing_smuggled(&daemon);
}

#[test]
fn a_body_without_end_is_refused_in_little_memory() {
    let daemon = Daemon::start_fast(|_| {});
    let before = daemon.process().rss_bytes();
    let mut client = daemon.connect();
    client.send("PUT /queue/ HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n");
    let piece = [b"10000\r\n".to_vec(), vec![b'a'; 0x10000], b"\r\n".to_vec()].concat();
    let began = Instant::now();
    while std::io::Write::write_all(&mut client.stream, &piece).is_ok() {
        assert!(began.elapsed() < Duration::from_secs(10), "the daemon reads on and on");
    }
    let grown = daemon.process().peak_rss_bytes() - before;
    assert!(grown < 16 << 20, "{grown} bytes more");
    assert_eq!(daemon.connect().ask(get("/queue/?name=q")).status, 200);
}

#[test]
fn a_message_may_be_as_long_as_the_limit() {
    let daemon = Daemon::start_fast(|_| {});
    let mut client = daemon.connect();
    let text = |bytes: usize| format!("\"{}\"", "x".repeat(bytes - 2));
    assert_eq!(client.ask(put_message("q", &text(MIB))).text(), PUT_OK);
    let got = client.ask(get("/queue/?name=q"));
    assert_eq!(got.json()["data"].as_str().map(str::len), Some(MIB - 2));
    // The longest name, each byte written in the longest way, does not make it too long.
    let escaped = "\\u0061".repeat(255);
    assert_eq!(client.ask(put_message(&escaped, &text(MIB))).text(), PUT_OK);

    let over = client.ask(put_message("q", &text(MIB + 1)));
    assert_eq!((over.status, &*over.message(), over.code()), (413, "HTTPMQ_TOO_LONG", 3));
    // It was read whole, so the connection is in step.
    assert_eq!(client.ask(get("/queue/?name=q")).message(), "HTTPMQ_EMPTY");
}

#[test]
fn a_client_may_close_its_side_behind_its_request() {
    let daemon = Daemon::start(|_| {});
    let ask = |requests: Vec<u8>| {
        let mut client = daemon.connect();
        client.send(requests);
        client.stream.shutdown(Shutdown::Write).unwrap();
        client
    };
    for n in 0..20 {
        let mut client = ask(put_message("q", &n.to_string()));
        assert_eq!(client.read().text(), PUT_OK);
        assert!(client.is_closed());
    }
    for n in 0..10 {
        let mut client = ask(get("/queue/?name=q").repeat(2));
        assert_eq!(
            [client.read(), client.read()].map(|response| response.json()["data"].as_u64()),
            [Some(2 * n), Some(2 * n + 1)]
        );
        assert!(client.is_closed());
    }
}

#[test]
fn a_client_that_stops_sending_in_a_request_is_let_go_and_costs_nothing() {
    let daemon = Daemon::start_fast(|_| {});
    let starts = [
        "GET /queue/?na",
        "PUT /queue/ HTTP/1.1\r\nContent-Length: 500\r\n\r\n{\"name\":",
        "PUT /queue/ HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n500\r\n{\"na",
        "PUT /queue/ HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
        "POST /queue/ HTTP/1.1\r\nContent-Length: 500\r\n\r\n{\"name\":",
        "",
    ];
    let mut clients = Vec::new();
    for start in starts.iter().cycle().take(30 * starts.len()) {
        let mut client = daemon.connect();
        client.send(start);
        client.stream.shutdown(Shutdown::Write).unwrap();
        clients.push((start, client));
    }
    assert_eq!(daemon.connect().ask(get("/queue/?name=q")).status, 200);
    let (cpu_s, began) = (daemon.process().cpu_s(), Instant::now());
    std::thread::sleep(Duration::from_secs(1));
    let share = (daemon.process().cpu_s() - cpu_s) / began.elapsed().as_secs_f64();
    assert!(share < 0.05, "the daemon uses {share} of a processor for nobody");
    for (start, mut client) in clients {
        // Whether it is told why or not: the end comes.
        while let Ok(Some(response)) = client.try_read() {
            assert!(response.status >= 400, "{start}: {response:?}");
        }
    }
}
