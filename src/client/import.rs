//! `httpmq put --lines`: each line of stdin is one message, many under way at a time, stored in the order of the lines.
//!
//! Every line carries its number in the stream ([`Order`]), and the server stores a stream in the order of the numbers,
//! over all connections. Whatever happens, what is stored is therefore the beginning of the input, and stdout gets
//! the number of the lines behind which it can be resumed.

use std::io::{self, Write};
use std::panic::resume_unwind;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{BufReader, stdin};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::lines::Lines;
use super::progress::Progress;
use super::put::to_json;
use super::say;
use super::stop::{Exit, Stop};
use super::stream::Stream;
use super::tally::Tally;
use crate::args::Put;
use crate::http::client::{Answer, ClientError, Connection, Order, Server};

/// More connections than this bring no speed, and with them a process reaches its usual limit of open files.
const MAX_REQUESTS: usize = 1000;

/// How much of stdin is read at once: a read costs a hop to another thread, so it must be worth thousands of lines.
pub(super) const READ_BYTES: usize = 256 * 1024;

/// How long to wait for the lines under way once one of them failed: longer than the server holds a line back for one that
/// got lost before it (10 s), so that its answer clears the doubt, and much shorter than a single answer may take.
const LAST_ANSWERS_TIMEOUT: Duration = Duration::from_secs(15);

pub(super) async fn import(args: &Put, server: &Server) -> Result<(), Stop> {
    if args.data.is_some() {
        return Err(Stop::usage("with --lines the messages come from standard input, not from the command line"));
    }
    if !(1..=MAX_REQUESTS).contains(&args.requests) {
        return Err(Stop::usage(format!("--requests must be 1 to {MAX_REQUESTS}")));
    }
    let mut import = Import {
        target: Arc::new(Target { server: server.clone(), queue: args.queue.clone() }),
        stream: Stream::begin(0, Instant::now().into_std()),
        json: args.json,
        requests: args.requests,
        under_way: JoinSet::new(),
        idle: Vec::new(),
        tally: Tally::default(),
        progress: Progress::start(),
    };
    import.run().await;
    import.report()
}

struct Import {
    target: Arc<Target>,
    stream: Stream,
    json: bool,
    requests: usize,
    under_way: JoinSet<Outcome>,
    /// The connections that wait for a line. The one used last is taken first, so that a slow input needs only one.
    idle: Vec<Connection>,
    tally: Tally,
    progress: Progress,
}

struct Target {
    server: Server,
    queue: String,
}

/// What became of one line.
struct Outcome {
    line: u64,
    bytes: u64,
    answer: Result<Answer, ClientError>,
    connection: Option<Connection>,
}

impl Import {
    async fn run(&mut self) {
        let mut lines = Lines::new(BufReader::with_capacity(READ_BYTES, stdin()));
        let mut interrupt = pin!(tokio::signal::ctrl_c());
        let mut reading = true;
        let mut deadline = None;
        loop {
            if self.tally.has_failed() && deadline.is_none() {
                reading = false;
                deadline = Some(Instant::now() + LAST_ANSWERS_TIMEOUT);
            }
            if !reading && self.under_way.is_empty() {
                break;
            }
            tokio::select! {
                biased;
                Some(outcome) = self.under_way.join_next() => match outcome {
                    Ok(outcome) => self.settle(outcome),
                    Err(panicked) => resume_unwind(panicked.into_panic()), // nothing is ever aborted
                },
                line = lines.next(), if reading && self.under_way.len() < self.requests => match line {
                    Ok(Some(line)) => self.take(line),
                    Ok(None) => reading = false,
                    Err(e) => self.tally.end(Stop::usage(format!("cannot read standard input: {e}"))),
                },
                _ = &mut interrupt, if reading => self.tally.end(Stop::new(Exit::Interrupted, "interrupted")),
                () = reached(deadline) => break,
            }
        }
    }

    /// Sends a line on its way.
    fn take(&mut self, line: Vec<u8>) {
        let bytes = line.len() as u64 + 1;
        let text = match String::from_utf8(line) {
            Ok(text) => text,
            Err(_) => return self.tally.end(Stop::usage("the line is not UTF-8")),
        };
        let data = match to_json(text, self.json) {
            Ok(data) => data,
            Err(why) => return self.tally.end(Stop::usage(why)),
        };
        let line = self.tally.send();
        let order = self.stream.order(line, self.under_way.is_empty(), Instant::now().into_std());
        let (target, connection) = (Arc::clone(&self.target), self.idle.pop());
        self.under_way.spawn(async move {
            let (answer, connection) = put(&target, connection, &data, order).await;
            Outcome { line, bytes, answer, connection }
        });
    }

    /// Books what became of a line.
    fn settle(&mut self, Outcome { line, bytes, answer, connection }: Outcome) {
        self.idle.extend(connection);
        match answer {
            Ok(answer) if answer.code == 1 => {
                self.tally.acknowledge(line);
                self.progress.stored(bytes);
            }
            // A write that failed half-way may have stored it.
            Ok(answer) if answer.message == "HTTPMQ_STORAGE_FAILED" => {
                self.tally.lose(line, Stop::refusal(&self.target.queue, &answer));
            }
            Ok(answer) => self.tally.refuse(line, Stop::refusal(&self.target.queue, &answer)),
            Err(error) if error.may_be_done() => self.tally.lose(line, error.into()),
            Err(error) => self.tally.refuse(line, error.into()),
        }
    }

    fn report(self) -> Result<(), Stop> {
        let speed = self.progress.finish("stored");
        // The number is also on stderr; a stdout that is closed changes nothing about what is stored.
        writeln!(io::stdout(), "{}", self.tally.first()).ok();
        let summary = self.tally.summary();
        match self.tally.into_failure() {
            None => {
                say(&speed);
                Ok(())
            }
            Some((line, why)) => {
                say(&format!("line {}: {}", line + 1, why.text));
                Err(Stop::new(why.exit, summary))
            }
        }
    }
}

async fn put(
    target: &Target,
    connection: Option<Connection>,
    data: &str,
    order: Order,
) -> (Result<Answer, ClientError>, Option<Connection>) {
    let mut connection = match connection {
        Some(connection) => connection,
        None => match Connection::open(&target.server).await {
            Ok(connection) => connection,
            Err(error) => return (Err(error), None),
        },
    };
    (connection.put(&target.queue, data, Some(order)).await, Some(connection))
}

pub(super) async fn reached(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
