//! `httpmq publish --lines`: each line of stdin is one message, all over one connection, whose order is the order of the messages.
//!
//! Answers come in the order of the lines, so they only need to be counted.

use std::collections::VecDeque;
use std::pin::pin;

use tokio::io::{BufReader, stdin};
use tokio::time::{Duration, Instant, sleep_until};

use super::import::{READ_BYTES, reached};
use super::lines::Lines;
use super::progress::Progress;
use super::publish::{check, late, message, push};
use super::stop::{Exit, Stop};
use super::tally::Tally;
use super::{ANSWER_TIMEOUT, check_tcp_name, say};
use crate::args::Publish;
use crate::pubsub::client::{Answer, ClientError, Incoming, Sender, Server, connect};

/// A server reads some thousand messages ahead of its answers and then waits; more under way would only wait in buffers.
const MAX_REQUESTS: usize = 10_000;

/// How many bytes are gathered for one write.
const MAX_WRITE_BYTES: usize = 256 * 1024;

/// How long to wait for the messages under way once one of them failed.
const LAST_ANSWERS_TIMEOUT: Duration = Duration::from_secs(15);

pub(super) async fn publish(args: &Publish, server: &Server) -> Result<(), Stop> {
    check_tcp_name(&args.queue)?;
    if args.data.is_some() {
        return Err(Stop::usage("with --lines the messages come from standard input, not from the command line"));
    }
    if !(1..=MAX_REQUESTS).contains(&args.requests) {
        return Err(Stop::usage(format!("--requests must be 1 to {MAX_REQUESTS}")));
    }
    let (sender, mut receiver) = connect(server).await?;
    let mut publishing = Publishing {
        args,
        sender,
        under_way: VecDeque::new(),
        answered: 0,
        heard: Instant::now(),
        tally: Tally::default(),
        progress: Progress::start(),
    };
    let mut lines = Lines::new(BufReader::with_capacity(READ_BYTES, stdin()));
    let mut interrupt = pin!(tokio::signal::ctrl_c());
    let (mut reading, mut deadline) = (true, None);
    while reading || !publishing.under_way.is_empty() {
        if publishing.tally.has_failed() && deadline.is_none() {
            reading = false;
            deadline = Some(Instant::now() + LAST_ANSWERS_TIMEOUT);
            continue;
        }
        let (may_read, wants_write, waits) = publishing.wants();
        let patience = publishing.heard + ANSWER_TIMEOUT;
        tokio::select! {
            // Lines that are there already go out in one write.
            biased;
            line = lines.next(), if reading && may_read => match line {
                Ok(Some(line)) => publishing.take(line),
                Ok(None) => reading = false,
                Err(e) => publishing.tally.end(Stop::usage(format!("cannot read standard input: {e}"))),
            },
            // The server said why it closed, or will be found to have closed: by the reading side, below.
            written = publishing.sender.write(), if wants_write => if written.is_err() { reading = false },
            incoming = receiver.next() => if !publishing.settle(incoming) { break },
            _ = &mut interrupt, if reading => publishing.tally.end(Stop::new(Exit::Interrupted, "interrupted")),
            () = reached(deadline) => break,
            () = sleep_until(patience), if waits => {
                publishing.tally.lose(publishing.answered, late());
                break;
            }
        }
    }
    publishing.report()
}

struct Publishing<'a> {
    args: &'a Publish,
    sender: Sender,
    /// The lengths of the lines that have no answer yet.
    under_way: VecDeque<u64>,
    answered: u64,
    /// When the last answer came, or the first line went out after a time without any.
    heard: Instant,
    tally: Tally,
    progress: Progress,
}

impl Publishing<'_> {
    /// Whether there is room for a line, whether something is to be written, and whether an answer is due.
    fn wants(&self) -> (bool, bool, bool) {
        let waiting_bytes = self.sender.waiting_bytes();
        let may_read = self.under_way.len() < self.args.requests && waiting_bytes < MAX_WRITE_BYTES;
        (may_read, waiting_bytes > 0, !self.under_way.is_empty())
    }

    /// Sends a line on its way.
    fn take(&mut self, line: Vec<u8>) {
        let bytes = line.len() as u64 + 1;
        let text = String::from_utf8(line).map_err(|_| Stop::usage("the line is not UTF-8"));
        let message = text.and_then(|text| message(text, self.args.json));
        match message.and_then(|message| push(&mut self.sender, &self.args.queue, &message)) {
            Ok(()) => {
                self.tally.send();
                if self.under_way.is_empty() {
                    self.heard = Instant::now();
                }
                self.under_way.push_back(bytes);
            }
            Err(why) => self.tally.end(why),
        }
    }

    /// Books what came in; `false` when nothing more will come.
    fn settle(&mut self, incoming: Result<Incoming, ClientError>) -> bool {
        let line = self.answered;
        match incoming {
            Ok(Incoming::Message(_)) => {}
            Ok(Incoming::Answer(Answer::Bye)) => {
                self.tally.lose(line, super::publish::bye());
                return false;
            }
            Ok(Incoming::Answer(answer)) => {
                self.heard = Instant::now();
                let bytes = self.under_way.pop_front();
                self.answered += u64::from(bytes.is_some());
                match check(&self.args.queue, answer) {
                    Ok(()) => {
                        self.tally.acknowledge(line);
                        self.progress.stored(bytes.unwrap_or_default());
                    }
                    Err(why) => self.tally.refuse(line, why),
                }
            }
            Err(error) => {
                self.tally.lose(line, error.into());
                return false;
            }
        }
        true
    }

    fn report(self) -> Result<(), Stop> {
        let speed = self.progress.finish("published");
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
