//! Settings as an operator meets them: the real program with `--check`, in an empty directory and environment.
//!
//! Goal: the later layer wins, every mistake is named with its place and what is allowed (exit code 2), and no file,
//! however broken, makes the program panic.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A failed test may panic.

use std::fs;
use std::path::Path;
use std::process::Command;

use httpmq::config::SHIPPED;
use tempfile::TempDir;

struct Outcome {
    code: i32,
    out: String,
    err: String,
}

/// Runs `httpmq --check` in `dir`; `words` is split at spaces, the environment is `env` and nothing else.
fn check(dir: &Path, words: &str, env: &[(&str, &str)]) -> Outcome {
    let mut command = Command::new(env!("CARGO_BIN_EXE_httpmq"));
    command.arg("--check").args(words.split_whitespace()).current_dir(dir).env_clear().envs(env.iter().copied());
    let done = command.output().unwrap();
    Outcome {
        code: done.status.code().expect("ended by itself"),
        out: String::from_utf8(done.stdout).unwrap(),
        err: String::from_utf8(done.stderr).unwrap(),
    }
}

/// The settings that `httpmq --check` prints, without comments and empty lines.
fn settings(dir: &Path, words: &str, env: &[(&str, &str)]) -> Vec<String> {
    let done = check(dir, words, env);
    assert_eq!((done.code, done.err.as_str()), (0, ""), "{words} {env:?}");
    plain(&done.out)
}

fn plain(toml: &str) -> Vec<String> {
    let lines = toml.lines().map(|line| line.split(" #").next().unwrap_or_default().trim_end());
    lines.filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned).collect()
}

/// The value of `section.key` among printed settings.
fn value<'a>(settings: &'a [String], section: &str, key: &str) -> &'a str {
    let header = format!("[{section}]");
    let mut lines =
        settings.iter().skip_while(|line| **line != header).skip(1).take_while(|line| !line.starts_with('['));
    lines
        .find_map(|line| line.strip_prefix(&format!("{key} = ")))
        .unwrap_or_else(|| panic!("no {section}.{key}: {settings:?}"))
}

fn empty_dir() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn dir_with(text: impl AsRef<[u8]>) -> TempDir {
    let dir = empty_dir();
    fs::write(dir.path().join("httpmq.toml"), text).unwrap();
    dir
}

#[test]
fn without_anything_said_the_shipped_file_holds_and_prints_itself() {
    assert_eq!(settings(empty_dir().path(), "", &[]), plain(SHIPPED));
    assert_eq!(settings(dir_with(SHIPPED).path(), "", &[]), plain(SHIPPED));
}

#[test]
fn what_is_printed_is_a_file_that_says_the_same() {
    let text =
        "[store]\ndata_dir = 'a\"b\\c é'\n[queue_defaults]\nhistory = 3\n[queues.\"q \\\"1\\\" é\"]\nmax_len = 5\n";
    let dir = dir_with(text);
    let first = check(dir.path(), "--port 1 --profile test", &[("HTTPMQ_STORE_SYNC", "never")]);
    assert_eq!(first.code, 0, "{}", first.err);
    fs::write(dir.path().join("httpmq.toml"), &first.out).unwrap();
    assert_eq!(settings(dir.path(), "", &[]), plain(&first.out));
    assert!(
        first.out.contains("port = 1 # --port\n") && first.out.contains("level = \"warn\" # profile\n"),
        "{}",
        first.out
    );
}

#[test]
fn the_later_layer_wins() {
    let dir = empty_dir();
    let data_dir = |words: &str, env: &[(&str, &str)]| {
        value(&settings(dir.path(), words, env), "store", "data_dir").trim_matches('"').to_owned()
    };
    assert_eq!(data_dir("", &[]), "httpmq-data");
    assert_eq!(data_dir("--profile product", &[]), "/var/lib/httpmq");
    fs::write(dir.path().join("httpmq.toml"), "[store]\ndata_dir = 'file'").unwrap();
    assert_eq!(data_dir("--profile product", &[]), "file");
    assert_eq!(data_dir("--profile product", &[("HTTPMQ_DATA_DIR", "short")]), "short");
    let both = [("HTTPMQ_DATA_DIR", "short"), ("HTTPMQ_STORE_DATA_DIR", "long")];
    assert_eq!(data_dir("--profile product", &both), "long");
    assert_eq!(data_dir("--profile product --data-dir flag", &both), "flag");
    assert_eq!(data_dir("--data-dir=fl=ag", &both), "fl=ag");
}

#[test]
fn a_profile_is_chosen_by_flag_or_variable() {
    let dir = empty_dir();
    for (words, env, level, data_dir) in [
        ("", "develop", "info", "httpmq-data"),
        ("", "product", "warn", "/var/lib/httpmq"),
        ("", "test", "warn", "httpmq-data-test"),
        ("--profile=test", "product", "warn", "httpmq-data-test"),
    ] {
        let settings = settings(dir.path(), words, &[("HTTPMQ_PROFILE", env)]);
        assert_eq!(value(&settings, "log", "level"), format!("{level:?}"), "{words} {env}");
        assert_eq!(value(&settings, "store", "data_dir"), format!("{data_dir:?}"), "{words} {env}");
    }
    for (words, env, named) in [("--profile prod", "test", "--profile"), ("", "prod", "HTTPMQ_PROFILE")] {
        let done = check(dir.path(), words, &[("HTTPMQ_PROFILE", env)]);
        assert_eq!(done.code, 2);
        assert_eq!(
            done.err,
            format!("httpmq: {named}: there is no profile \"prod\"; there are develop, product, test\n")
        );
    }
}

#[test]
fn the_host_is_that_of_both_listeners_unless_one_is_named() {
    let dir = empty_dir();
    let hosts = |words: &str, env: &[(&str, &str)]| {
        let settings = settings(dir.path(), words, env);
        ["http", "pubsub"].map(|section| value(&settings, section, "host").trim_matches('"').to_owned())
    };
    assert_eq!(hosts("--host ::1", &[]), ["::1", "::1"]);
    assert_eq!(hosts("", &[("HTTPMQ_HOST", "a"), ("HTTPMQ_PUBSUB_HOST", "b")]), ["a", "b"]);
    assert_eq!(hosts("--host c", &[("HTTPMQ_HOST", "a"), ("HTTPMQ_PUBSUB_HOST", "b")]), ["c", "c"]);
}

#[test]
fn every_key_has_its_variable() {
    let dir = empty_dir();
    let mut section = String::new();
    for line in plain(SHIPPED) {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']').to_owned();
            continue;
        }
        let (key, _) = line.split_once(" = ").unwrap();
        let name = format!("HTTPMQ_{section}_{key}").to_uppercase();
        // Any path is one, and none at all too; but one of these two needs the other.
        let (value, wrong) = match &*section {
            "tls" => ("x", "TLS needs both".to_owned()),
            _ => ("", format!("`{key}` must be ")),
        };
        let done = check(dir.path(), "", &[(&name, value)]);
        assert_eq!(done.code, 2, "{name}: {}", done.out);
        assert!(done.err.starts_with(&format!("httpmq: {name}: {wrong}")), "{}", done.err);
    }
    let set = [
        ("HTTPMQ_TCP_PORT", "7"),
        ("HTTPMQ_PUBSUB_ENABLED", "false"),
        ("HTTPMQ_PUBSUB_ALLOWED_ORIGINS", "https://a.org, http://b:8080,null"),
        ("HTTPMQ_LIMITS_MAX_HEADER_BYTES", "8 KiB"),
    ];
    let settings = settings(dir.path(), "", &set);
    assert_eq!(value(&settings, "pubsub", "port"), "7");
    assert_eq!(value(&settings, "pubsub", "enabled"), "false");
    let origins = r#"["https://a.org", "http://b:8080", "null"]"#;
    assert_eq!(value(&settings, "pubsub", "allowed_origins"), origins);
    assert_eq!(value(&settings, "limits", "max_header_bytes"), "\"8 KiB\"");
}

#[test]
fn a_wrong_variable_is_named_and_an_unknown_one_has_no_effect() {
    let dir = empty_dir();
    let done = check(dir.path(), "", &[("HTTPMQ_STORE_SYNC", "sometimes")]);
    assert_eq!(done.code, 2);
    let expected = "httpmq: HTTPMQ_STORE_SYNC: `sync` must be one of always, interval, never, not \"sometimes\"\n";
    assert_eq!(done.err, expected);

    let kubernetes = [("HTTPMQ_SERVICE_HOST", "10.0.0.7"), ("HTTPMQ_PORT", "tcp://10.0.0.7:8200"), ("HTTPMQ_URL", "x")];
    let done = check(dir.path(), "", &kubernetes);
    assert_eq!((done.code, plain(&done.out)), (0, plain(SHIPPED)));
    assert!(
        done.err.contains("HTTPMQ_SERVICE_HOST is not a setting") && done.err.contains("HTTPMQ_PORT "),
        "{}",
        done.err
    );
    assert!(!done.err.contains("HTTPMQ_URL"), "{}", done.err);
}

#[test]
fn a_variable_that_is_no_text_is_refused() {
    use std::os::unix::ffi::OsStrExt;
    let mut command = Command::new(env!("CARGO_BIN_EXE_httpmq"));
    let value = std::ffi::OsStr::from_bytes(b"caf\xe9");
    let done =
        command.arg("--check").current_dir(empty_dir().path()).env_clear().env("HTTPMQ_DATA_DIR", value).output();
    let done = done.unwrap();
    assert_eq!(done.status.code(), Some(2));
    assert_eq!(String::from_utf8_lossy(&done.stderr), "httpmq: HTTPMQ_DATA_DIR: is not UTF-8 text\n");
}

#[test]
fn a_queue_overrides_only_what_it_says() {
    let dir = dir_with("[queues.a]\nmax_len = 5\n[queues.b]\nhistory = 0\n[queue_defaults]\nmax_len = 7\n");
    let settings = settings(dir.path(), "", &[("HTTPMQ_QUEUE_DEFAULTS_HISTORY", "4")]);
    let queue = |name: &str| ["max_len", "history"].map(|key| value(&settings, &format!("queues.\"{name}\""), key));
    assert_eq!((queue("a"), queue("b")), (["5", "4"], ["7", "0"]));
}

#[test]
fn a_mistake_in_the_file_is_named_with_its_place_and_what_is_allowed() {
    let long_name = format!("[queues.{}]", "x".repeat(256));
    for (text, place, parts) in [
        (
            "[store]\nsync = \"sometimes\"",
            "2:8",
            &["`sync` must be one of always, interval, never", "\"sometimes\""][..],
        ),
        ("[http]\n  prot = 1", "2:3", &["no key `prot` in [http]", "port"]),
        ("[htpp]\nport = 1", "1:2", &["no section `htpp`", "http, limits"]),
        ("port = 1", "1:1", &["no section `port`"]),
        ("http = 1", "1:1", &["`http` is a section"]),
        ("[[http]]\nport = 1", "1:3", &["`http` is a section"]),
        ("queues = 1", "1:1", &["`queues` is a section"]),
        ("[queues]\nq = 1", "2:1", &["`q` is a section"]),
        ("[queues.q]\nmaxlen = 1", "2:1", &["no key `maxlen` in a queue", "history, max_len"]),
        ("[queues.q]\nmax_len = 0", "2:11", &["from 1 to 1000000000000", "not 0"]),
        ("[queues.\"\"]\nmax_len = 1", "1:9", &["1 to 255 bytes"]),
        ("[queues.\"a\\nb\"]\nmax_len = 1", "1:9", &["no control characters"]),
        (long_name.as_str(), "1:9", &["1 to 255 bytes"]),
        ("[queue_defaults]\nmax_len = 0", "2:11", &["`max_len` must be a whole number from 1 to", "not 0"]),
        ("[http]\nport = 65536", "2:8", &["from 0 to 65535, not 65536"]),
        ("[http]\nport = -1", "2:8", &["not -1"]),
        ("[http]\nport = 99999999999999999999", "2:8", &["from 0 to 65535"]),
        ("[http]\nport = \"8200\"", "2:8", &["a whole number", "not \"8200\""]),
        ("[http]\nport = 1.5", "2:8", &["a whole number", "not a decimal number"]),
        ("[http]\nport = [1]", "2:8", &["not an array"]),
        ("[http]\nport = 2026-01-01", "2:8", &["not a date"]),
        ("[http]\nport.a = 1", "2:1", &["a whole number"]),
        ("[http]\nhost = \"a b\"", "2:8", &["an address or a host name"]),
        ("[http]\nhost = 1", "2:8", &["an address or a host name"]),
        ("[store]\ndata_dir = \"\"", "2:12", &["a path"]),
        ("[pubsub]\nenabled = \"yes\"", "2:11", &["true or false, not \"yes\""]),
        ("[pubsub]\nallowed_origins = \"https://a\"", "2:19", &["a list of origins", "not \"https://a\""]),
        ("[pubsub]\nallowed_origins = [\"https://a/\"]", "2:19", &["no slash at the end", "not [\"https://a/\"]"]),
        ("[pubsub]\nallowed_origins = [\"a.org\"]", "2:19", &["a list of origins"]),
        ("[pubsub]\nallowed_origins = [1]", "2:19", &["a list of origins", "not an array"]),
        ("[limits]\nmax_header_bytes = 8191", "2:20", &["from 8 KiB to 1 MiB", "not 8191"]),
        ("[limits]\nmax_message_bytes = \"1 MB\"", "2:21", &["64 bytes to 32 MiB", "\"64 KiB\"", "not \"1 MB\""]),
        ("[log]\nlevel = \"loud\"", "2:9", &["off, error, warn, info, debug, trace"]),
        ("# é\n[http]\n'é' = 1 # x", "3:1", &["no key `é`"]),
        ("[http]\nhost = 'é'\nport = 1\nport = 2", "4:1", &["duplicate key"]),
        ("[http]\r\nport = \r\n", "2:8", &[]),
        ("[http", "1:6", &[]),
    ] {
        let done = check(dir_with(text).path(), "", &[]);
        assert_eq!(done.code, 2, "{text:?}: {}", done.out);
        let start = format!("httpmq: httpmq.toml:{place}: ");
        assert!(done.err.starts_with(&start) && done.err.lines().count() == 1, "{text:?}: {start} / {}", done.err);
        for part in parts {
            assert!(done.err.contains(part), "{text:?}: {part} / {}", done.err);
        }
    }
}

#[test]
fn a_wrong_value_does_not_hide_below_a_right_one() {
    let done = check(dir_with("[http]\nport = 70000").path(), "--port 1", &[("HTTPMQ_PORT", "2")]);
    assert_eq!(done.code, 2);
    assert!(done.err.starts_with("httpmq: httpmq.toml:2:8: "), "{}", done.err);
}

#[test]
fn a_file_that_was_asked_for_must_be_there_and_readable() {
    let dir = empty_dir();
    fs::write(dir.path().join("my.toml"), "[http]\nport = 'x'").unwrap();
    fs::write(dir.path().join("latin1.toml"), b"[http]\nhost = \"caf\xe9\"").unwrap();
    for (words, env, start) in [
        ("--config missing.toml", "", "missing.toml: cannot be read: No such file"),
        ("", "gone.toml", "gone.toml: cannot be read: No such file"),
        ("--config ./my.toml", "gone.toml", "./my.toml:2:8: "),
        ("--config latin1.toml", "", "latin1.toml:2:12: is not UTF-8 text"),
        ("--config .", "", ".: cannot be read: "),
        ("--config /dev/zero", "", "/dev/zero: cannot be read: it is longer than 1 MiB"),
    ] {
        let env: &[(&str, &str)] = if env.is_empty() { &[] } else { &[("HTTPMQ_CONFIG", env)] };
        let done = check(dir.path(), words, env);
        assert_eq!(done.code, 2, "{words}: {}", done.out);
        assert!(done.err.starts_with(&format!("httpmq: {start}")), "{words}: {}", done.err);
    }
}

#[test]
fn usage_help_and_version() {
    let dir = empty_dir();
    assert_eq!(check(dir.path(), "--version", &[]).out, "httpmq 0.1.0\n");
    let help = check(dir.path(), "--help", &[]);
    assert!(help.code == 0 && help.out.contains("--data-dir") && help.err.is_empty());
    let wrong = check(dir.path(), "--port x", &[]);
    assert!(wrong.code == 1 && wrong.err.contains("port") && wrong.out.is_empty(), "{}", wrong.err);
}

/// Broken files, in this process because they are thousands; a few of them also go through the real program.
#[test]
fn no_broken_file_makes_it_panic() {
    let dir = empty_dir();
    let path = dir.path().join("httpmq.toml");
    let words = ["--config".to_owned(), path.to_str().unwrap().to_owned()];
    let args = httpmq::args::parse("httpmq", &words).unwrap();
    let (mut good, mut bad) = (0, 0);
    let mut number = 0;
    let mut check_bytes = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        let loaded = httpmq::config::load(&args, std::iter::empty());
        if number % 500 == 0 {
            let code = check(dir.path(), "", &[]).code;
            assert_eq!(code, if loaded.is_ok() { 0 } else { 2 }, "{}", String::from_utf8_lossy(bytes));
        }
        number += 1;
        match loaded {
            Ok(_) => good += 1,
            Err(error) => {
                assert!(!error.to_string().contains(char::is_control), "{error}");
                bad += 1;
            }
        }
    };
    let shipped = SHIPPED.as_bytes();
    for end in 0..=shipped.len() {
        check_bytes(&shipped[..end]);
    }
    let mut random = Random(0x5eed_0f17_u64);
    for _ in 0..1000 {
        let mut bytes = shipped.to_vec();
        for _ in 0..=random.below(3) {
            let at = random.below(bytes.len());
            bytes[at] = u8::try_from(random.below(256)).unwrap();
        }
        check_bytes(&bytes);
        let noise: Vec<u8> =
            (0..random.below(200)).map(|_| b"[]{}=.,\"'#\\\n\r\t 0x-e_aqueues\xe9\0"[random.below(29)]).collect();
        check_bytes(&noise);
    }
    for nested in ["[", "{a=", "a.", "[queues.", "[["] {
        check_bytes(format!("queues = {}", nested.repeat(20_000)).as_bytes());
        check_bytes(nested.repeat(20_000).as_bytes());
    }
    assert!(good > 1000 && bad > 1000, "good {good}, bad {bad}: the files test both ways");
}

/// xorshift: the same files in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % end as u64).unwrap()
    }
}
