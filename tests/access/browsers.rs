//! Pages of others in the browser of somebody who reaches the daemon, while nobody needs a token.

use crate::common::{Client, Daemon, get, put_message, request};
use crate::tokens::{self, with_header, with_token};
use crate::websocket::Socket;

fn ask_as(client: &mut Client, host: &str, target: &str) -> crate::common::Response {
    client.ask(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"))
}

#[test]
fn a_name_that_is_not_ours_is_refused_whatever_it_asks_for() {
    let daemon = Daemon::start_fast(|setup| {
        setup.set("STORE_ENGINE", "memory").file("[auth]\nallowed_hosts = ['mq.example.org']\n");
    });
    let client = &mut daemon.connect();
    client.put("q", "1");
    for target in ["/queue/?name=q", "/status/?name=q", "/", "/page/main.js", "/ws", "/healthz", "/nothing"] {
        let refused = ask_as(client, "evil.example:8200", target);
        assert_eq!(refused.status, 421, "{target}");
        assert!(
            refused.text().contains("allowed_hosts") && refused.text().contains("evil.example"),
            "{}",
            refused.text()
        );
    }
    assert_eq!(ask_as(client, "evil.example", "/queue/").message(), "HTTPMQ_MISDIRECTED");
    assert_eq!(ask_as(client, "evil.example", "/v1/queues").json()["code"], "misdirected");
    for host in ["127.0.0.1", "localhost:1", "[::1]", "queue", "MQ.example.org:8200"] {
        assert_eq!(ask_as(client, host, "/status/?name=q").status, 200, "{host}");
    }
    assert_eq!(client.ask("GET /healthz HTTP/1.0\r\n\r\n").status, 200, "without a name");
    let metrics = daemon.connect().ask(get("/metrics")).text().to_owned();
    assert!(metrics.contains("httpmq_refused_requests_total{listener=\"http\",reason=\"host\"} 9"), "{metrics}");
}

#[test]
fn with_tokens_any_name_will_do() {
    let daemon = tokens::daemon(|_| ());
    let asked = with_token("GET /v1/stats HTTP/1.1\r\nHost: mq.example.org\r\n\r\n", "worker");
    assert_eq!(daemon.connect().ask(asked).status, 200);
}

#[test]
fn a_page_from_elsewhere_changes_nothing() {
    let daemon = Daemon::start_fast(|setup| {
        setup.set("STORE_ENGINE", "memory").set("PUBSUB_ALLOWED_ORIGINS", "https://ours.example");
    });
    let changes = [
        get("/queue/?name=q"),
        get("/reset/?name=q"),
        request("DELETE", "/v1/queues/q/messages", ""),
        put_message("q", "2"),
    ];
    let client = &mut daemon.connect();
    client.put("q", "1");
    for foreign in
        ["Origin: https://evil.example", "Origin: null", "Sec-Fetch-Site: cross-site", "Sec-Fetch-Site: same-site"]
    {
        for asked in &changes {
            let refused = client.ask(with_header(asked, foreign));
            assert_eq!(refused.status, 403, "{foreign}");
            assert!(refused.text().contains("allowed_origins"), "{}", refused.text());
            if refused.header("Connection").is_some() {
                *client = daemon.connect();
            }
        }
        assert_eq!(
            client.ask(with_header(get("/status/?name=q"), foreign)).status,
            200,
            "{foreign}: it changes nothing"
        );
    }
    assert_eq!(client.status("q").unwrap()["unread"], 1);
    for fine in
        ["Origin: http://httpmq", "Origin: https://ours.example", "Sec-Fetch-Site: none", "Sec-Fetch-Site: same-origin"]
    {
        for asked in &changes {
            assert_eq!(client.ask(with_header(asked, fine)).status, 200, "{fine}");
        }
    }
    // The same for a WebSocket, by the same rule.
    assert!(Socket::try_connect(daemon.address(), Some("https://ours.example")).is_ok());
    assert!(Socket::try_connect(daemon.address(), Some("https://evil.example")).is_err());
}
