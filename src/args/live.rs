//! The words of the commands that publish and subscribe.

use std::path::PathBuf;

use argh::{ArgsInfo, FromArgs};

use super::dash;

/// Publish one message, or one for each line of standard input, over TCP.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(
    subcommand,
    name = "publish",
    note = "DATA goes out as a JSON string, whatever it looks like; with --json it is JSON itself.
The first publish to a new queue makes it a topic, which keeps its last messages only (10) and is never full; what a
topic takes is on the server's disk some 50 ms later. A queue that was ever put to or got from by HTTP is a work
queue: there the answer, and so the end of this command, means that the message is on disk.
With --lines the messages are published in the order of the lines. When one is refused no more are sent, but some of
those behind it, which were under way already, may be published: stderr says how many.",
    help_triggers("-h", "--help")
)]
pub struct Publish {
    /// server address, tls://host:port for TLS (default $HTTPMQ_TCP, else 127.0.0.1:6747)
    #[argh(option, arg_name = "host:port")]
    pub tcp: Option<String>,
    /// token to show, or @FILE that has it (default $HTTPMQ_TOKEN, which no list of processes shows)
    #[argh(option, arg_name = "token")]
    pub token: Option<String>,
    /// for TLS: whose certificates to trust, a PEM file (default $HTTPMQ_CA, else as this machine)
    #[argh(option, arg_name = "file")]
    pub ca: Option<PathBuf>,
    /// data is JSON as it stands, not text to be made a JSON string
    #[argh(switch)]
    pub json: bool,
    /// each line of standard input is one message
    #[argh(switch)]
    pub lines: bool,
    /// with --lines: how many messages are under way at a time (default 1000, at most 10000)
    #[argh(option, default = "1000")]
    pub requests: usize,
    /// the queue
    #[argh(positional, from_str_fn(dash))]
    pub queue: String,
    /// the message; - or nothing: all of standard input
    #[argh(positional, from_str_fn(dash))]
    pub data: Option<String>,
}

/// Print the messages of queues as they come in, whoever puts or publishes them, without taking them.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(
    subcommand,
    name = "tail",
    note = r#"Each message is one line of JSON:
  {{"queue":"news","sender":"http","sent":1700000000.042,"data":"rain"}}
sender is the id of the connection that published it, or http; sent is the server's time in seconds since 1970; data is
the message as get has it, its JSON text unchanged but that characters beyond ASCII are \u escapes. With --raw data
stands alone, a string as its text.
It runs until Ctrl-C, until -n messages are printed or until nobody reads them (exit code 0). It does not connect
again: when the connection is lost it says so (exit code 5). "httpmq: subscribed" on stderr says that nothing that is
published from then on will be missed.
With --history the server's last messages of each queue (10 unless set otherwise) come first, and where they meet the
new ones none is lost and none is doubled. Two limits: messages of one sender with the same text and the same
millisecond cannot be told apart, so just there one may be missing; and of a queue that gets more than its history
in the instant between subscribing and asking, some may come behind newer ones."#,
    help_triggers("-h", "--help")
)]
pub struct Tail {
    /// server address, tls://host:port for TLS (default $HTTPMQ_TCP, else 127.0.0.1:6747)
    #[argh(option, arg_name = "host:port")]
    pub tcp: Option<String>,
    /// token to show, or @FILE that has it (default $HTTPMQ_TOKEN, which no list of processes shows)
    #[argh(option, arg_name = "token")]
    pub token: Option<String>,
    /// for TLS: whose certificates to trust, a PEM file (default $HTTPMQ_CA, else as this machine)
    #[argh(option, arg_name = "file")]
    pub ca: Option<PathBuf>,
    /// print the last messages first, read or not
    #[argh(switch)]
    pub history: bool,
    /// stop after so many messages
    #[argh(option, short = 'n')]
    pub number: Option<u64>,
    /// print only the data: strings as text, anything else as JSON
    #[argh(switch)]
    pub raw: bool,
    /// the queues
    #[argh(positional)]
    pub queue: Vec<String>,
}
