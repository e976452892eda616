//! TLS. Goal: with a certificate both listeners speak TLS and nothing else, with the same queues behind it; a certificate that is of
//! no use never gets in, and one that is renewed does without a restart; whoever is refused is told why.
//!
//! Method: the real program and its own commands, curl where there is one, and rustls for what they cannot do. Certificates are made
//! for each test.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A failed test may panic.
#![allow(clippy::print_stdout)] // What was skipped.

mod common;
#[path = "common/certificates.rs"]
mod certificates;

use std::fs::{self, Permissions};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{self, Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use certificates::{Authority, DAY, Pair};
use common::{Daemon, PATIENCE, Setup, frame, get, put_message, wait_for};
use rustix::process::Signal;
use serde_json::json;
use tempfile::TempDir;
use tokio_rustls::rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion,
    crypto::ring,
    pki_types::{CertificateDer, ServerName},
    version::{TLS12, TLS13},
};

type TlsClient = StreamOwned<ClientConnection, TcpStream>;

/// An authority, a certificate of it, and a daemon with that.
struct Secured {
    authority: Authority,
    files: TempDir,
    daemon: Daemon,
}

impl Secured {
    fn start(setup: impl FnOnce(&mut Setup)) -> Secured {
        let (authority, files) = (Authority::new(), tempfile::tempdir().unwrap());
        authority.pair().write(files.path());
        fs::write(files.path().join("ca.pem"), authority.pem()).unwrap();
        let daemon = Daemon::start_fast(|all| {
            with_files(all, files.path());
            setup(all);
        });
        Secured { authority, files, daemon }
    }

    fn https(&self) -> String {
        format!("https://localhost:{}", self.daemon.address().port())
    }

    fn tls(&self) -> String {
        format!("tls://localhost:{}", self.daemon.tcp_address().port())
    }

    /// Runs a command of httpmq that trusts the authority.
    fn run(&self, words: &[&str]) -> Output {
        run(words, &self.files.path().join("ca.pem"))
    }

    fn connect(&self, address: SocketAddr, versions: &[&'static SupportedProtocolVersion]) -> TlsClient {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.der()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let config = config.with_protocol_versions(versions).unwrap();
        let mut config = config.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        if address != self.daemon.address() {
            config.alpn_protocols.clear();
        }
        let name = ServerName::try_from("localhost").unwrap();
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut client = StreamOwned::new(ClientConnection::new(Arc::new(config), name).unwrap(), stream);
        while client.conn.is_handshaking() {
            client.conn.complete_io(&mut client.sock).unwrap();
        }
        client
    }

    /// The certificate that who connects now is shown.
    fn shown(&self) -> CertificateDer<'static> {
        let client = self.connect(self.daemon.address(), &[&TLS13]);
        client.conn.peer_certificates().unwrap()[0].clone().into_owned()
    }

    /// Sends SIGHUP and gives what the daemon says about it.
    fn reload(&self) -> Vec<String> {
        let before = self.daemon.lines().len();
        self.daemon.process().signal(Signal::HUP);
        wait_for("the reload", || {
            let lines = self.daemon.lines().split_off(before);
            lines.iter().any(|line| line.contains("SIGHUP: ")).then_some(lines)
        })
    }
}

fn with_files(setup: &mut Setup, files: &Path) {
    setup.set("TLS_CERTIFICATE", files.join("certificate.pem").display());
    setup.set("TLS_KEY", files.join("key.pem").display());
}

fn command(words: &[&str], ca: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_httpmq"));
    command.args(words).arg("--ca").arg(ca).env_clear().stdin(Stdio::null());
    command
}

fn run(words: &[&str], ca: &Path) -> Output {
    command(words, ca).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The last words of a daemon that must refuse to start with these files.
fn refused(setup: impl FnOnce(&mut Setup)) -> String {
    let Err(ended) = Daemon::try_start(setup) else { panic!("it started") };
    assert_eq!(ended.code(), Some(2), "{:?}", ended.lines);
    ended.lines.last().unwrap().clone()
}

// ===== what works =====

#[test]
fn the_commands_do_over_tls_what_they_do_without() {
    let secured = Secured::start(|_| {});
    let (https, tls) = (secured.https(), secured.tls());
    assert!(secured.daemon.lines().iter().any(|line| line.contains("both listeners speak TLS")));
    let put = secured.run(&["put", "jobs", "é 17", "--server", &https]);
    assert!(put.status.success(), "{}", text(&put.stderr));
    assert!(text(&secured.run(&["status", "jobs", "--server", &https]).stdout).contains("unread"));
    assert_eq!(text(&secured.run(&["get", "jobs", "--server", &https]).stdout), "é 17\n");

    // The largest message there may be, to a subscriber and back: more than any buffer of TLS.
    let mut tail =
        subscribed(command(&["tail", "news", "-n", "2", "--raw", "--tcp", &tls], &secured.files.path().join("ca.pem")));
    let large = "x".repeat((1 << 20) - 1024);
    let mut publish = command(&["publish", "news", "--tcp", &tls], &secured.files.path().join("ca.pem"));
    let mut publish = publish.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    publish.stdin.take().unwrap().write_all(large.as_bytes()).unwrap();
    let published = publish.wait_with_output().unwrap();
    assert!(published.status.success(), "{}", text(&published.stderr));
    assert!(secured.run(&["publish", "news", "last", "--tcp", &tls]).status.success());
    assert_eq!(tail.output(), format!("{large}\nlast\n"));

    for words in [["put-get", "--pipeline", "8"], ["pubsub", "--pipeline", "100"]] {
        let bench = ["bench", "--count", "3000", "--server", &https, "--tcp", &tls, words[1], words[2], words[0]];
        let done = secured.run(&bench);
        assert!(done.status.success(), "{words:?}: {}{}", text(&done.stdout), text(&done.stderr));
    }
}

/// A command that is under way; it has said that it is subscribed.
struct Child(process::Child);

fn subscribed(mut command: Command) -> Child {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = Vec::new();
    let mut stderr = child.stderr.take().unwrap();
    while !said.ends_with(b"subscribed\n") {
        let mut byte = [0];
        assert_eq!(stderr.read(&mut byte).unwrap(), 1, "it ended: {}", text(&said));
        said.push(byte[0]);
    }
    Child(child)
}

impl Child {
    fn output(&mut self) -> String {
        let mut out = String::new();
        self.0.stdout.take().unwrap().read_to_string(&mut out).unwrap();
        out
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn curl_gets_what_it_asks_for() {
    let secured = Secured::start(|_| {});
    let ca = secured.files.path().join("ca.pem");
    let curl = |words: &[&str]| Command::new("curl").args(["-sS", "--cacert"]).arg(&ca).args(words).output();
    let url = format!("{}/queue/", secured.https());
    let Ok(put) = curl(&["-X", "PUT", "-d", r#"{"name":"q","data":1}"#, &url]) else {
        return println!("skipped: there is no curl");
    };
    assert!(text(&put.stdout).contains("HTTPMQ_PUT_OK"), "{}{}", text(&put.stdout), text(&put.stderr));
    let got = curl(&["--http2", &format!("{url}?name=q")]).unwrap();
    assert!(text(&got.stdout).contains("\"data\":1"), "{}{}", text(&got.stdout), text(&got.stderr));
}

#[test]
fn both_versions_of_tls_are_spoken_and_http_1_is_agreed_on() {
    let secured = Secured::start(|_| {});
    for version in [&TLS12, &TLS13] {
        let mut client = secured.connect(secured.daemon.address(), &[version]);
        assert_eq!(client.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
        client.write_all(&put_message("q", "1")).unwrap();
        let mut answer = [0; 15];
        client.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200 OK");
        let mut wire = secured.connect(secured.daemon.tcp_address(), &[version]);
        let mut welcome = [0; 1];
        wire.read_exact(&mut welcome).unwrap();
        assert_eq!(&welcome, b"+");
    }
}

#[test]
fn a_websocket_goes_through_tls() {
    let secured = Secured::start(|_| {});
    let client = secured.connect(secured.daemon.address(), &[&TLS13]);
    let host = secured.https().replace("https", "wss");
    let (mut socket, _) = tungstenite::client(format!("{host}/ws"), client).unwrap();
    assert!(socket.read().unwrap().to_text().unwrap().contains("Welcome"));
    socket.send(tungstenite::Message::text(r#"{"coremq_subscribe":"news"}"#)).unwrap();
    assert!(socket.read().unwrap().to_text().unwrap().contains("Subscribe successful"));
    secured.run(&["publish", "news", "rain", "--tcp", &secured.tls()]);
    assert!(socket.read().unwrap().to_text().unwrap().contains("rain"));
    // And says goodbye when the daemon stops.
    secured.daemon.process().signal(Signal::TERM);
    assert!(socket.read().unwrap().to_text().unwrap().contains("BYE"));
}

// ===== renewal =====

#[test]
fn a_renewed_certificate_is_shown_to_who_comes_and_does_not_disturb_who_is_there() {
    let secured = Secured::start(|_| {});
    let mut there = secured.connect(secured.daemon.address(), &[&TLS13]);
    let old = secured.shown();
    assert!(!secured.reload().iter().any(|line| line.contains("TLS")), "nothing has changed");
    let renewed = secured.authority.pair_until(SystemTime::now() + 20 * DAY);
    renewed.write(secured.files.path());
    let said = secured.reload();
    assert!(said.iter().any(|line| line.contains("changed the TLS certificate: valid until")), "{said:?}");
    let new = secured.shown();
    assert_eq!((new == old, new == renewed.der), (false, true));
    let wire = secured.connect(secured.daemon.tcp_address(), &[&TLS13]);
    assert_eq!(wire.conn.peer_certificates().unwrap()[0], new);
    there.write_all(&get("/healthz")).unwrap();
    let mut answer = [0; 15];
    there.read_exact(&mut answer).unwrap();

    // Of no use: all stays as it is, and other settings change nevertheless.
    fs::write(secured.files.path().join("key.pem"), secured.authority.pair().key).unwrap();
    secured.daemon.set_file("log.level = 'debug'");
    let said = secured.reload();
    for part in ["the TLS certificate stays as it is", "key.pem: is not the key", "changed log.level"] {
        assert!(said.iter().any(|line| line.contains(part)), "{part}: {said:?}");
    }
    assert!(!said.iter().any(|line| line.contains("restart")), "{said:?}");
    assert_eq!(secured.shown(), new);
}

#[test]
fn tls_is_not_turned_on_without_a_restart() {
    let files = tempfile::tempdir().unwrap();
    Authority::new().pair().write(files.path());
    let daemon = Daemon::start_fast(|_| {});
    let path = |name: &str| files.path().join(name).display().to_string();
    daemon.set_file(&format!("tls.certificate = '{}'\ntls.key = '{}'", path("certificate.pem"), path("key.pem")));
    daemon.process().signal(Signal::HUP);
    wait_for("what waits for a restart", || {
        daemon.lines().iter().any(|line| line.contains("needs a restart: tls.certificate, tls.key")).then_some(())
    });
    assert_eq!(daemon.connect().ask(get("/healthz")).status, 200);
}

#[test]
fn an_end_that_is_near_is_warned_of_and_measured() {
    let (authority, files) = (Authority::new(), tempfile::tempdir().unwrap());
    let not_after = SystemTime::now() + 3 * DAY + DAY / 2;
    authority.pair_until(not_after).write(files.path());
    fs::set_permissions(files.path().join("key.pem"), Permissions::from_mode(0o644)).unwrap();
    fs::write(files.path().join("ca.pem"), authority.pem()).unwrap();
    let daemon = Daemon::start_fast(|setup| with_files(setup, files.path()));
    let secured = Secured { authority, files, daemon };
    wait_for("the warning", || {
        secured
            .daemon
            .lines()
            .iter()
            .any(|line| line.contains("the TLS certificate ends in 3 days, at 20"))
            .then_some(())
    });
    let lines = secured.daemon.lines();
    assert!(lines.iter().any(|line| line.contains("key.pem: every user of this machine can read")), "{lines:?}");
    let mut client = secured.connect(secured.daemon.address(), &[&TLS13]);
    client.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut page = String::new();
    client.read_to_string(&mut page).unwrap();
    let name = "\nhttpmq_tls_certificate_expiry_timestamp_seconds ";
    let (_, rest) = page.split_once(name).expect("the metric");
    let expected = not_after.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    assert_eq!(rest.lines().next().unwrap().parse::<u64>().unwrap(), expected);
}

// ===== what is refused =====

#[test]
fn files_that_are_of_no_use_stop_the_start_and_are_named() {
    let authority = Authority::new();
    let good = authority.pair();
    let past = authority.pair_until(SystemTime::now() - DAY);
    let future = authority.pair_between(SystemTime::now() + DAY, SystemTime::now() + 9 * DAY);
    let encrypted = good.key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    for (certificate, key, reason) in [
        (None, Some(&good.key), "certificate.pem: cannot be read: No such file"),
        (Some(&good.certificate), None, "key.pem: cannot be read: No such file"),
        (Some(&String::new()), Some(&good.key), "certificate.pem: there is no certificate in it"),
        (Some(&good.key), Some(&good.key), "certificate.pem: there is no certificate in it"),
        (Some(&good.certificate), Some(&good.certificate), "key.pem: there is no private key in it"),
        (Some(&good.certificate), Some(&encrypted), "key.pem: the private key is encrypted"),
        (Some(&good.certificate), Some(&past.key), "key.pem: is not the key of the first certificate"),
        (Some(&past.certificate), Some(&past.key), "certificate.pem: the certificate expired at 20"),
        (Some(&future.certificate), Some(&future.key), "certificate.pem: the certificate is not valid before 20"),
        (Some(&"-----BEGIN CERTIFICATE-----\n!".to_owned()), Some(&good.key), "certificate.pem: is no PEM file"),
    ] {
        let files = tempfile::tempdir().unwrap();
        for (name, text) in [("certificate.pem", certificate), ("key.pem", key)] {
            text.iter().for_each(|text| fs::write(files.path().join(name), text).unwrap());
        }
        for more in [&[][..], &["--check"]] {
            let last = refused(|setup| {
                with_files(setup, files.path());
                more.iter().for_each(|word| _ = setup.arg(word));
            });
            assert!(last.contains(reason), "{reason}: {last}");
        }
    }
}

#[test]
fn one_file_without_the_other_is_a_mistake_in_the_settings() {
    for (file, reason) in [
        ("[tls]\ncertificate = 'c.pem'", "httpmq.toml:2:15: TLS needs both `certificate` and `key` in [tls]; `key` is"),
        (
            "[log]\n[tls]\nkey = 'k.pem'",
            "httpmq.toml:3:7: TLS needs both `certificate` and `key` in [tls]; `certificate` is",
        ),
        ("tls.key = 7", "httpmq.toml:1:11: `key` must be a path"),
    ] {
        let last = refused(|setup| {
            setup.file(file);
        });
        assert!(last.contains(reason), "{last}");
    }
    // One may be said in the file and the other in the environment.
    let last = refused(|setup| {
        setup.file("tls.certificate = 'none.pem'").set("TLS_KEY", "none.pem");
    });
    assert!(last.contains("none.pem: cannot be read"), "{last}");
}

#[test]
fn a_client_that_cannot_trust_says_why() {
    let secured = Secured::start(|_| {});
    let other = secured.files.path().join("other.pem");
    fs::write(&other, Authority::new().pem()).unwrap();
    let ca = secured.files.path().join("ca.pem");
    let by_address = secured.https().replace("localhost", "127.0.0.1");
    let plain = Daemon::start_fast(|_| {});
    let no_tls = format!("https://{}", plain.address());
    let no_https = secured.https().replace("https", "http");
    let none = secured.files.path().join("none.pem");
    let key = secured.files.path().join("key.pem");
    let (https, tls) = (secured.https(), secured.tls());
    for (words, ca, code, reason) in [
        (["put", "q", "1", "--server", &https], &other, 5, "authority that is not trusted here; --ca FILE"),
        (["publish", "q", "1", "--tcp", &tls], &other, 5, "authority that is not trusted here; --ca FILE"),
        (["put", "q", "1", "--server", &by_address], &ca, 5, "its certificate is not for the name 127.0.0.1"),
        (["put", "q", "1", "--server", &no_tls], &ca, 5, "it does not speak TLS"),
        (["put", "q", "1", "--server", &no_https], &ca, 5, "this port speaks TLS; its address begins with https://"),
        (["put", "q", "1", "--server", &https], &none, 1, "none.pem: cannot be read"),
        (["put", "q", "1", "--server", &https], &key, 1, "key.pem: there is no certificate in it"),
    ] {
        let done = run(&words, ca);
        let said = text(&done.stderr);
        assert_eq!((done.status.code(), said.contains(reason)), (Some(code), true), "{words:?}: {said}");
    }
    let ended = secured.daemon.stop(Signal::TERM);
    assert!(!ended.said("unread messages, "), "nothing was put");
}

#[test]
fn who_speaks_no_tls_is_told_or_closed() {
    let secured = Secured::start(|setup| {
        setup.set("LOG_LEVEL", "debug");
    });
    let mut client = secured.daemon.connect();
    let answer = client.ask(put_message("q", &format!("\"{}\"", "x".repeat(100_000))));
    assert_eq!((answer.status, answer.header("content-type")), (400, Some("text/plain")));
    assert_eq!(answer.text(), "this port speaks TLS: ask https://, not http://\n");
    assert!(client.is_closed());

    let mut stream = TcpStream::connect(secured.daemon.tcp_address()).unwrap();
    stream.write_all(&frame("q", r#"{"a":1}"#)).unwrap();
    let mut rest = Vec::new();
    let read = stream.read_to_end(&mut rest).map_err(|error| error.kind());
    assert!(rest.is_empty() && matches!(read, Ok(0) | Err(ErrorKind::ConnectionReset)), "{read:?} {rest:?}");
    wait_for("the lines", || {
        (secured.daemon.lines().iter().filter(|line| line.contains("it does not speak TLS")).count() == 2).then_some(())
    });
    assert!(secured.run(&["get", "q", "--server", &secured.https()]).stdout.is_empty(), "neither was done");
}

#[test]
fn a_handshake_that_does_not_end_is_ended_and_counts_as_a_connection() {
    let secured = Secured::start(|setup| {
        setup.set("HTTP_HEADER_TIMEOUT_S", 2).set("LIMITS_MAX_CONNECTIONS", 2);
    });
    let full: Vec<_> = (0..2).map(|_| secured.connect(secured.daemon.address(), &[&TLS13])).collect();
    let mut third = secured.connect(secured.daemon.address(), &[&TLS13]);
    let mut answer = [0; 12];
    third.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 503");
    drop(full);
    for address in [secured.daemon.address(), secured.daemon.tcp_address()] {
        let began = Instant::now();
        let mut slow: Vec<_> = (0..2).map(|_| TcpStream::connect(address).unwrap()).collect();
        slow[0].write_all(&[22, 3, 1, 2, 0]).unwrap();
        // One byte after the other, for ever, is no way around the deadline.
        let dribble = slow[0].try_clone().unwrap();
        let dribbling = std::thread::spawn(move || {
            while began.elapsed() < PATIENCE && (&dribble).write_all(&[0]).is_ok() {
                std::thread::sleep(Duration::from_millis(50));
            }
        });
        for stream in &mut slow {
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let mut rest = Vec::new();
            // An alert may be the last it hears.
            let _ = stream.read_to_end(&mut rest);
            assert!(rest.len() < 32, "{rest:?}");
        }
        let took = began.elapsed();
        assert!((Duration::from_millis(1800)..Duration::from_secs(9)).contains(&took), "{took:?}");
        dribbling.join().unwrap();
    }
}

// ===== the page about it =====

/// The insides of the `sh` blocks of docs/tls.md.
fn page_blocks() -> Vec<String> {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/tls.md")).unwrap();
    let blocks = page.split("\n```sh\n").skip(1);
    blocks.map(|block| block.split_once("\n```\n").unwrap().0.to_owned()).collect()
}

/// What docs/tls.md says to type makes a certificate that works, and talks to it.
#[test]
fn the_page_about_tls_is_true() {
    let files = tempfile::tempdir().unwrap();
    let shell = |text: &str| {
        let program = Path::new(env!("CARGO_BIN_EXE_httpmq")).parent().unwrap().display();
        let path = format!("{program}:{}", std::env::var("PATH").unwrap());
        Command::new("sh").args(["-ec", text]).current_dir(files.path()).env("PATH", path).output().unwrap()
    };
    if !shell("openssl version && curl --version").status.success() {
        return println!("skipped: there is no openssl, or no curl");
    }
    let [authority, certificate, clients, reload] = page_blocks().try_into().unwrap();
    for block in [authority, certificate] {
        let done = shell(&block);
        assert!(done.status.success(), "{block}\n{}", text(&done.stderr));
    }
    let daemon = Daemon::start_fast(|setup| with_files(setup, files.path()));
    let here = |text: &str| {
        let ports = [("8200", daemon.address().port()), ("6747", daemon.tcp_address().port())];
        ports.iter().fold(text.to_owned(), |text, (shown, port)| text.replace(shown, &port.to_string()))
    };
    let done = shell(&here(&clients));
    assert!(
        done.status.success() && text(&done.stdout).contains("\"ok\""),
        "{}{}",
        text(&done.stdout),
        text(&done.stderr)
    );
    let done = shell(&format!("{reload} --data-dir {}", daemon.data_dir().display()));
    assert!(done.status.success(), "{}", text(&done.stderr));
    wait_for("the reload", || daemon.lines().iter().any(|line| line.contains("SIGHUP: read")).then_some(()));
}

/// A subscriber that takes nothing is dropped over TLS as it is without.
#[test]
fn who_takes_nothing_is_dropped_over_tls_too() {
    let secured = Secured::start(|setup| {
        setup.set("PUBSUB_SUBSCRIBER_BUFFER_BYTES", "64 KiB").set("PUBSUB_WRITE_TIMEOUT_S", 1);
    });
    let mut stuck = secured.connect(secured.daemon.tcp_address(), &[&TLS13]);
    stuck.write_all(&frame("x", &json!({ "coremq_subscribe": "news" }).to_string())).unwrap();
    let mut publisher = secured.connect(secured.daemon.tcp_address(), &[&TLS13]);
    let message = frame("news", &json!({ "a": "x".repeat(256 << 10) }).to_string());
    let is_said = || secured.daemon.lines().iter().any(|line| line.contains("dropped the subscriber"));
    wait_for("the drop", || {
        publisher.write_all(&message).unwrap();
        is_said().then_some(())
    });
}

impl Pair {
    fn write(&self, dir: &Path) {
        fs::write(dir.join("certificate.pem"), &self.certificate).unwrap();
        fs::write(dir.join("key.pem"), &self.key).unwrap();
        fs::set_permissions(dir.join("key.pem"), Permissions::from_mode(0o600)).unwrap();
    }
}
