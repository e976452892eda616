//! The daemon that the examples of a page talk to, and the shell that runs them.

use std::env;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

/// What the pages show, which is something else in a test: addresses and places.
const SHOWN_HTTP: &str = "127.0.0.1:8200";
const SHOWN_TCP: &str = "127.0.0.1:6747";
const SHOWN_DATA: &str = "/var/lib/httpmq";
const SHOWN_CONFIG: &str = "/etc/httpmq/httpmq.toml";
/// How programs say the port of publish and subscribe.
const SHOWN_TCP_PORTS: [&str; 3] = ["port=6747", "\"127.0.0.1\", 6747", "6747, \"127.0.0.1\""];
/// What stands in front of a time, which no two runs share, and the time that the pages show.
const TIME_KEYS: [&str; 2] = ["\"sent\":", "\"coremq_sent\":"];
const SHOWN_TIME: &str = "1700000000.042";
/// `sudo -u httpmq COMMAND` is COMMAND.
const SUDO: &str = "#!/bin/sh\n[ \"$1\" = -u ] && shift 2\nexec \"$@\"\n";
/// What an operator types to have something done to the service.
const SYSTEMCTL: [(&str, bool, bool); 3] = [
    ("sudo systemctl stop httpmq", true, false),
    ("sudo systemctl start httpmq", false, true),
    ("sudo systemctl restart httpmq", true, true),
];

/// The real program in a directory of its own, on free ports; killed when dropped.
pub(crate) struct Daemon {
    running: Option<Running>,
    /// Those of a daemon that was stopped stay, so that it is known what talks to it in vain.
    http: String,
    tcp: String,
    files: Vec<(String, String)>,
    node_options: &'static str,
    dir: tempfile::TempDir,
}

struct Running {
    child: Child,
    /// Held so that the daemon can go on logging.
    log: BufReader<ChildStderr>,
}

impl Daemon {
    pub(crate) fn start(config: &str, files: Vec<(String, String)>) -> Daemon {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("httpmq.toml"), config).unwrap();
        let sudo = dir.path().join("bin/sudo");
        fs::create_dir(dir.path().join("bin")).unwrap();
        fs::write(&sudo, SUDO).unwrap();
        fs::set_permissions(&sudo, fs::Permissions::from_mode(0o755)).unwrap();
        let node_options = node_options().unwrap_or_default();
        let (http, tcp) = Default::default();
        let mut daemon = Daemon { running: None, http, tcp, files, node_options, dir };
        daemon.begin();
        daemon
    }

    /// What a command prints to standard output. `httpmq` is the program under test.
    pub(crate) fn run(&mut self, command: &str) -> String {
        if let Some((_, stops, starts)) = SYSTEMCTL.iter().find(|(typed, ..)| *typed == command) {
            if *stops {
                self.end();
            }
            if *starts {
                self.begin();
            }
            return String::new();
        }
        for (name, text) in &self.files {
            fs::write(self.dir.path().join(name), self.real(text)).unwrap();
        }
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(self.real(command)).current_dir(self.dir.path());
        // A proxy of the machine is not asked for loopback.
        shell.env("PATH", self.path()).env("HTTPMQ_URL", format!("http://{}", self.http)).env("no_proxy", "*");
        shell.env("HTTPMQ_TCP", &self.tcp).env("NODE_OPTIONS", self.node_options);
        let done = shell.stdin(Stdio::null()).output().unwrap();
        self.shown(&String::from_utf8(done.stdout).unwrap())
    }

    /// Where HTTP listens.
    pub(crate) fn http(&self) -> &str {
        &self.http
    }

    /// What the page shows, as it is here.
    pub(crate) fn real(&self, text: &str) -> String {
        let (_, port) = self.tcp.rsplit_once(':').unwrap();
        let mut real = text.replace(SHOWN_HTTP, &self.http).replace(SHOWN_TCP, &self.tcp);
        let mut rest = text.replace(SHOWN_HTTP, "").replace(SHOWN_TCP, "");
        for shown in SHOWN_TCP_PORTS {
            real = real.replace(shown, &shown.replace("6747", port));
            rest = rest.replace(shown, "");
        }
        assert!(!rest.contains("8200") && !rest.contains("6747"), "it could reach another daemon than this:\n{text}");
        real.replace(SHOWN_DATA, &self.at("data")).replace(SHOWN_CONFIG, &self.at("httpmq.toml"))
    }

    /// What is here, as the page shows it.
    fn shown(&self, text: &str) -> String {
        let shown = text.replace(&self.http, SHOWN_HTTP).replace(&self.tcp, SHOWN_TCP);
        let shown = shown.replace(&self.at("data"), SHOWN_DATA).replace(&self.at("httpmq.toml"), SHOWN_CONFIG);
        TIME_KEYS.iter().fold(shown, |shown, key| with_shown_time(&shown, key))
    }

    fn at(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().unwrap().to_owned()
    }

    fn path(&self) -> std::ffi::OsString {
        let programs = Path::new(env!("CARGO_BIN_EXE_httpmq")).parent().unwrap().to_owned();
        let path = env::var_os("PATH").unwrap_or_default();
        let dirs = [self.dir.path().join("bin"), programs].into_iter().chain(env::split_paths(&path));
        env::join_paths(dirs.collect::<Vec<PathBuf>>()).unwrap()
    }

    fn begin(&mut self) {
        assert!(self.running.is_none(), "the page starts what runs");
        let mut command = Command::new(env!("CARGO_BIN_EXE_httpmq"));
        command.args(["--port=0", "--tcp-port=0", "--data-dir"]).arg(self.at("data")).env_clear();
        let mut child =
            command.current_dir(self.dir.path()).stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut said = String::new();
        let (mut http, mut tcp) = (None, None);
        while http.is_none() || tcp.is_none() {
            let from = said.len();
            if log.read_line(&mut said).unwrap() == 0 {
                child.kill().ok();
                child.wait().unwrap();
                panic!("the daemon ended:\n{said}");
            }
            let listens = |at: &str| said[from..].split_once(at).map(|(_, address)| address.trim().to_owned());
            http = http.or_else(|| listens("http listening on "));
            tcp = tcp.or_else(|| listens("coremq listening on "));
        }
        (self.http, self.tcp) = (http.unwrap(), tcp.unwrap());
        self.running = Some(Running { child, log });
    }

    fn end(&mut self) {
        let Running { mut child, log } = self.running.take().expect("the page stops what does not run");
        let id = i32::try_from(child.id()).ok().and_then(Pid::from_raw).unwrap();
        kill_process(id, Signal::TERM).unwrap();
        // It must be able to say its last words.
        let said: Vec<String> = log.lines().map_while(Result::ok).collect();
        assert!(child.wait().unwrap().success(), "{}", said.join("\n"));
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(Running { child, .. }) = &mut self.running {
            child.kill().ok();
            child.wait().ok();
        }
    }
}

/// What node needs so that it has a WebSocket: 22 nothing, 20 this, and older ones have none.
pub(super) fn node_options() -> Option<&'static str> {
    const OLD: &str = "--experimental-websocket";
    let has_socket = |options: &[&str]| {
        let asked = Command::new("node").args(options).args(["-p", "typeof WebSocket"]).output();
        asked.is_ok_and(|done| done.stdout.starts_with(b"function"))
    };
    if has_socket(&[]) { Some("") } else { has_socket(&[OLD]).then_some(OLD) }
}

/// The text with the time of the pages in place of each other one behind this key.
fn with_shown_time(text: &str, key: &str) -> String {
    let mut parts = text.split(key);
    let mut shown = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let behind = part.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
        let time = if behind == part { "" } else { SHOWN_TIME };
        shown = [&shown, key, time, behind].concat();
    }
    shown
}
