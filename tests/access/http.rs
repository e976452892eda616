//! Tokens over HTTP.

use std::net::TcpStream;

use serde_json::json;

use crate::common::{Client, Daemon, get, put_message, request, wait_for};
use crate::tokens::{ADMIN, daemon, lines, with_header, with_token};

#[test]
fn without_a_token_nothing_is_done_or_shown() {
    let daemon = daemon(|_| ());
    let client = &mut daemon.connect();
    client.ask(with_token(put_message("jobs", "1"), "worker"));
    for asked in [
        get("/queue/?name=jobs"),
        get("/status/?name=jobs"),
        get("/view/?name=jobs&position=0"),
        get("/reset/?name=jobs"),
        with_header(get("/queue/?name=jobs"), "Authorization: Basic aG1xOg=="),
    ] {
        let refused = client.ask(&asked);
        assert_eq!((refused.status, refused.message().as_str(), refused.code()), (401, "HTTPMQ_UNAUTHORIZED", 3));
        assert_eq!(refused.header("WWW-Authenticate"), Some("Bearer"));
        assert_eq!(refused.json()["data"]["reason"], "this server asks for a token, and none came");
    }
    for asked in
        [get("/v1/queues"), get("/v1/queues/jobs"), get("/v1/queues/jobs/messages"), get("/v1/stats"), get("/metrics")]
    {
        let refused = client.ask(&asked);
        assert_eq!((refused.status, &refused.json()["code"]), (401, &json!("unauthorized")));
        assert_eq!(refused.header("WWW-Authenticate"), Some("Bearer"));
    }
    assert_eq!(client.ask(request("DELETE", "/v1/queues/jobs/messages", "")).status, 401);
    let wrong = client.ask(with_token(get("/queue/?name=jobs"), "nobody"));
    assert_eq!((wrong.status, wrong.header("WWW-Authenticate")), (401, Some("Bearer error=\"invalid_token\"")));
    assert_eq!(wrong.json()["data"]["reason"], "nobody has this token");
    let there = client.ask(with_token(get("/queue/?name=jobs"), "worker"));
    assert_eq!(there.message(), "HTTPMQ_SUCCEED", "none of these took the message");
    for open in ["/", "/page/main.js", "/healthz", "/readyz", "/openapi.yaml"] {
        assert_eq!(client.ask(get(open)).status, 200, "{open}");
    }
}

#[test]
fn a_token_does_what_it_lists_for_its_queues_and_is_told_what_it_lacks() {
    let daemon = daemon(|_| ());
    let client = &mut daemon.connect();
    for (asked, queue) in [(put_message("mail.in", "1"), "mail.in"), (put_message("jobs", "1"), "jobs")] {
        assert_eq!(client.ask(with_token(asked, "worker")).message(), "HTTPMQ_PUT_OK", "{queue}");
    }
    for (asked, reason) in [
        (put_message("other", "1"), r#"the token worker lacks the right write for the queue "other""#),
        (get("/queue/?name=other"), r#"the token worker lacks the right read for the queue "other""#),
        (request("GET", "/status/", "name=other"), r#"the token worker lacks the right read for the queue "other""#),
        (get("/reset/?name=jobs"), "the token worker lacks the right admin"),
    ] {
        let refused = client.ask(with_token(asked, "worker"));
        assert_eq!((refused.status, refused.message().as_str()), (403, "HTTPMQ_FORBIDDEN"));
        assert_eq!(refused.json()["data"]["reason"], reason);
        // A body that was not read ends the connection.
        if refused.header("Connection").is_some() {
            *client = daemon.connect();
        }
    }
    let purge = client.ask(with_token(request("DELETE", "/v1/queues/jobs/messages", ""), "worker"));
    assert_eq!((purge.status, &purge.json()["code"]), (403, &json!("forbidden")));
    let look = client.ask(with_token(get("/v1/queues/other"), "worker"));
    assert_eq!(look.status, 403, "whether there is such a queue is not said");
    assert_eq!(client.ask(with_token(get("/v1/queues/mail.out"), "worker")).status, 404);
    assert_eq!(client.ask(with_token(get("/queue/?name=jobs"), "worker")).message(), "HTTPMQ_SUCCEED");
    assert_eq!(client.ask(with_token(get("/reset/?name=jobs"), "admin")).message(), "HTTPMQ_RESET_OK");
    // A scraper sees figures and nothing else.
    for (path, worker, scraper) in
        [("/v1/stats", 200, 200), ("/metrics", 403, 200), ("/v1/queues", 200, 403), ("/status/?name=jobs", 200, 403)]
    {
        let status = |client: &mut Client, name| client.ask(with_token(get(path), name)).status;
        assert_eq!((status(client, "worker"), status(client, "scraper")), (worker, scraper), "{path}");
    }
}

#[test]
fn lists_show_only_what_may_be_read() {
    let daemon = daemon(|_| ());
    let client = &mut daemon.connect();
    for queue in ["jobs", "mail.a", "mail.b", "secret"] {
        client.ask(with_token(put_message(queue, "1"), "admin"));
    }
    let names = |client: &mut Client, path: &str, name: &str| {
        let list = client.ask(with_token(get(path), name)).json();
        let names: Vec<String> =
            list["queues"].as_array().unwrap().iter().map(|queue| queue["name"].as_str().unwrap().to_owned()).collect();
        (names.join(" "), list["matched"].as_u64().unwrap(), list["next"].clone())
    };
    assert_eq!(names(client, "/v1/queues", "admin"), ("jobs mail.a mail.b secret".to_owned(), 4, json!(null)));
    assert_eq!(names(client, "/v1/queues", "worker"), ("jobs mail.a mail.b".to_owned(), 3, json!(null)));
    assert_eq!(names(client, "/v1/queues?name=e&sort=unread", "worker"), (String::new(), 0, json!(null)));
    assert_eq!(names(client, "/v1/queues?limit=2", "worker"), ("jobs mail.a".to_owned(), 3, json!("mail.a")));
    assert_eq!(names(client, "/v1/queues?limit=2&after=mail.a", "worker"), ("mail.b".to_owned(), 3, json!(null)));
}

#[test]
fn who_may_not_is_told_before_a_body_is_read() {
    let daemon = daemon(|_| ());
    for (header, status) in [("X: y", 401), ("Authorization: Bearer x", 401), (&*scraper(), 403)] {
        let mut client = daemon.connect();
        let refused =
            client.ask(format!("PUT /queue/ HTTP/1.1\r\nHost: a\r\n{header}\r\nContent-Length: 999999\r\n\r\n"));
        assert_eq!((refused.status, refused.header("Connection")), (status, Some("close")), "{header}");
        assert!(client.is_closed());
    }
}

fn scraper() -> String {
    format!("Authorization: Bearer {}", crate::tokens::secret("scraper"))
}

#[test]
fn who_guesses_has_to_wait_and_nobody_else_has() {
    let daemon = daemon(|_| ());
    let client = &mut daemon.connect();
    assert_eq!(client.ask(with_token(get("/v1/stats"), "worker")).status, 200);
    for n in 0..10 {
        assert_eq!(client.ask(with_token(get("/v1/stats"), &format!("guess-{n}"))).status, 401);
    }
    let refused = client.ask(with_token(get("/queue/?name=jobs"), "guess"));
    assert_eq!((refused.status, refused.message().as_str(), refused.code()), (429, "HTTPMQ_THROTTLED", 2));
    assert!((1..=6).contains(&refused.header("Retry-After").unwrap().parse::<u64>().unwrap()));
    let refused = client.ask(with_token(get("/v1/stats"), "admin"));
    assert_eq!(
        (refused.status, &refused.json()["code"]),
        (429, &json!("throttled")),
        "a right one would tell who guesses"
    );
    assert_eq!(client.ask(with_token(get("/v1/stats"), "worker")).status, 200, "it came from there before");
    let mut other = connect_from("127.0.0.2", &daemon);
    assert_eq!(other.ask(with_token(get("/v1/stats"), "admin")).status, 200);
    assert_eq!(other.ask(with_token(get("/v1/stats"), "guess")).status, 401);
    let metrics = other.ask(with_token(get("/metrics"), "admin")).text().to_owned();
    for counted in ["reason=\"unauthorized\"} 11", "reason=\"throttled\"} 2"] {
        assert!(metrics.contains(&format!("httpmq_refused_requests_total{{listener=\"http\",{counted}")), "{counted}");
    }
}

fn connect_from(address: &str, daemon: &Daemon) -> Client {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&format!("{address}:0").parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
    socket.connect(&daemon.address().into()).unwrap();
    Client::on(TcpStream::from(socket))
}

#[test]
fn a_token_makes_no_more_requests_than_it_may() {
    let daemon = Daemon::start_fast(|setup| {
        setup.set("STORE_ENGINE", "memory").file(&format!("{}requests_per_s = 5\n", lines(ADMIN)));
    });
    let client = &mut daemon.connect();
    let refused = wait_for("the limit", || {
        let answer = client.ask(with_token(get("/status/?name=jobs"), "admin"));
        (answer.status != 200).then_some(answer)
    });
    assert_eq!((refused.status, refused.message().as_str()), (429, "HTTPMQ_TOO_MANY_REQUESTS"));
    assert_eq!((refused.code(), refused.header("Retry-After")), (2, Some("1")));
    let refused = wait_for("the limit", || {
        let answer = client.ask(with_token(get("/v1/stats"), "admin"));
        (answer.status != 200).then_some(answer)
    });
    assert_eq!(refused.json()["code"], "too_many_requests");
    wait_for("the next second", || (client.ask(with_token(get("/v1/stats"), "admin")).status == 200).then_some(()));
}
