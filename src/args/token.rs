//! The command that makes tokens.

use argh::{ArgsInfo, FromArgs};

/// Make tokens, which say who may do what. A daemon that has any asks everybody for one.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "token", help_triggers("-h", "--help"))]
pub struct Token {
    /// what to do
    #[argh(subcommand)]
    pub action: TokenAction,
}

/// What can be done with tokens.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand)]
pub enum TokenAction {
    /// Make one.
    New(TokenNew),
}

/// Make a token: prints its lines for httpmq.toml to stdout and its secret, which is nowhere kept, to stderr.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(
    subcommand,
    name = "new",
    note = "Rights: read (get, view, subscribe, look), write (put, publish), admin (reset, purge, create, set, delete). None implies another.
A token without rights can still look at /v1/stats, and at /metrics when it is for all queues.
Nothing is written anywhere: put the lines into the daemon's httpmq.toml, and give the secret to who is to have it, for
example as HTTPMQ_TOKEN.",
    example = "A token for a program that works on jobs and on all queues whose names begin with mail.:
  httpmq token new worker --queue jobs --queue 'mail.*' --right read --right write >> httpmq.toml",
    help_triggers("-h", "--help")
)]
pub struct TokenNew {
    /// a queue that it is for; * stands for any characters. May be given several times
    #[argh(option, arg_name = "pattern")]
    pub queue: Vec<String>,
    /// what it may do there: read, write or admin. May be given several times
    #[argh(option, arg_name = "right")]
    pub right: Vec<String>,
    /// how many requests a second it may make (default: any number)
    #[argh(option, arg_name = "n", default = "0")]
    pub requests_per_s: u32,
    /// the name of the token, for people: letters, digits, _ and -
    #[argh(positional)]
    pub name: String,
}
