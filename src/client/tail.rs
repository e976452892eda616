//! `httpmq tail`: subscribes, and prints a line for each message until it is told to stop.

use std::collections::{HashMap, VecDeque};
use std::io::{self, ErrorKind};
use std::mem;
use std::pin::pin;

use serde_json::Value;
use tokio::io::{AsyncWriteExt, stdout};
use tokio::time::{Instant, sleep_until};

use super::publish::{bye, late};
use super::seam::Seam;
use super::show;
use super::stop::Stop;
use super::{ANSWER_TIMEOUT, check_tcp_name, say};
use crate::args;
use crate::pubsub::client::{Answer, Incoming, Message, Receiver, Sender, Server, connect, request};

pub(super) async fn tail(args: &args::Tail, server: &Server) -> Result<(), Stop> {
    if args.queue.is_empty() {
        return Err(Stop::usage("name at least one queue"));
    }
    if args.number == Some(0) {
        return Err(Stop::usage("-n must be at least 1"));
    }
    args.queue.iter().try_for_each(|queue| check_tcp_name(queue))?;
    // Once the handler is there, Ctrl-C is the end that was asked for.
    let mut interrupt = pin!(tokio::signal::ctrl_c());
    tokio::select! {
        biased;
        _ = &mut interrupt => Ok(()),
        result = follow(args, server) => result,
    }
}

async fn follow(args: &args::Tail, server: &Server) -> Result<(), Stop> {
    let (sender, mut receiver) = connect(server).await?;
    let mut unasked = args.queue.clone();
    unasked.sort_unstable();
    unasked.dedup();
    let mut tail = Tail {
        args,
        sender,
        id: receiver.id().to_owned(),
        // Messages may come before the answer to the subscription does.
        seams: args.queue.iter().map(|queue| (queue.clone(), Seam::new(args.history))).collect(),
        unasked: unasked.into(),
        answer_due: None,
        out: String::new(),
        left: args.number.unwrap_or(u64::MAX),
    };
    tail.ask().await?;
    loop {
        let taken = tail.take_all(&mut receiver).await;
        // What came before the trouble is printed.
        if !write(mem::take(&mut tail.out)).await.map_err(Stop::output)? {
            return Ok(());
        }
        taken?;
        if tail.left == 0 {
            return Ok(());
        }
        let due = tail.answer_due;
        tokio::select! {
            more = receiver.more() => more?,
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => return Err(late()),
        }
    }
}

struct Tail<'a> {
    args: &'a args::Tail,
    sender: Sender,
    id: String,
    /// The queues subscribed to.
    seams: HashMap<String, Seam>,
    /// The queues that are not subscribed to, or whose history has not come; the first of them is asked for.
    unasked: VecDeque<String>,
    answer_due: Option<Instant>,
    /// Lines to be printed.
    out: String,
    /// How many more lines are wanted.
    left: u64,
}

impl Tail<'_> {
    /// Asks for the next queue. One at a time: the histories of many together could be more than the server keeps for one connection.
    /// Both requests in one write, so that next to nothing happens between them.
    async fn ask(&mut self) -> Result<(), Stop> {
        let Some(queue) = self.unasked.front() else {
            say("subscribed");
            return Ok(());
        };
        let mut commands = vec![request::subscribe(queue)];
        commands.extend(self.args.history.then(|| request::history(queue)));
        let all_fit = commands.iter().all(|command| self.sender.push(&self.id, command));
        debug_assert!(all_fit, "a command with one name is short");
        self.answer_due = Some(Instant::now() + ANSWER_TIMEOUT);
        Ok(self.sender.flush().await?)
    }

    /// Takes what came in already.
    async fn take_all(&mut self, receiver: &mut Receiver) -> Result<(), Stop> {
        while self.left > 0 {
            match receiver.ready()? {
                Some(Incoming::Message(message)) => {
                    // What is sent to the connection's own queue was not asked for.
                    let printed = self.seams.get_mut(&message.queue).and_then(|seam| seam.live(message));
                    printed.iter().for_each(|message| self.print(message));
                }
                Some(Incoming::Answer(answer)) => self.answered(answer).await?,
                None => break,
            }
        }
        Ok(())
    }

    async fn answered(&mut self, answer: Answer) -> Result<(), Stop> {
        match answer {
            Answer::Done if self.args.history => return Ok(()), // it comes next
            Answer::Done => drop(self.unasked.pop_front()),
            Answer::History(history) => {
                if let Some(queue) = self.unasked.pop_front()
                    && let Some(seam) = self.seams.get_mut(&queue)
                {
                    let printed = seam.history(history.messages(&queue));
                    printed.iter().for_each(|message| self.print(message));
                }
            }
            Answer::Refused(reason) => return Err(Stop::refused(&self.args.queue.join(", "), &reason)),
            Answer::Bye => return Err(bye()),
        }
        self.answer_due = None;
        self.ask().await
    }

    fn print(&mut self, message: &Message) {
        if self.left == 0 {
            return;
        }
        self.left -= 1;
        self.out += &line(message, self.args.raw);
    }
}

/// A message as one line.
fn line(message: &Message, raw: bool) -> String {
    if raw {
        return show::line(&message.data, false);
    }
    let Message { queue, sender, sent, data } = message;
    let (queue, data) = (Value::from(queue.as_str()), show::one_line(data));
    format!("{{\"queue\":{queue},\"sender\":{sender},\"sent\":{sent},\"data\":{data}}}\n")
}

/// Writes lines to stdout, through to whoever reads it; `false` when nobody does any more. Not by `show::write`, because a reader
/// that takes nothing must not keep Ctrl-C from being noticed.
async fn write(lines: String) -> io::Result<bool> {
    if lines.is_empty() {
        return Ok(true);
    }
    let mut out = stdout();
    let written = match out.write_all(lines.as_bytes()).await {
        Ok(()) => out.flush().await,
        error => error,
    };
    match written {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_json_with_the_exact_data() {
        let [queue, sender, sent, data] = ["é\"", "\"http\"", "1700000000.042", "{\"a\":\n1.50}"].map(str::to_owned);
        let message = Message { queue, sender, sent, data };
        let expected = r#"{"queue":"é\"","sender":"http","sent":1700000000.042,"data":{"a": 1.50}}"#;
        assert_eq!(line(&message, false).trim_end(), expected);
        assert_eq!(line(&message, true), "{\"a\": 1.50}\n");
        assert_eq!(line(&Message { data: r#""n\u00e9""#.to_owned(), ..message }, true), "né\n");
    }
}
