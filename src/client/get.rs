//! `httpmq get`: takes messages and prints them, one after the other.

use std::io::{self, ErrorKind};

use super::stop::{Exit, Stop};
use super::{connect, counted, remark, show};
use crate::args::Get;
use crate::http::client::{Answer, Server};

pub(super) async fn get(args: &Get, server: &Server) -> Result<(), Stop> {
    let wanted = if args.all { u64::MAX } else { args.number };
    if wanted == 0 {
        return Err(Stop::usage("-n must be at least 1"));
    }
    // One connection and one request at a time: messages are printed in their order, and each one is written out before
    // the next is asked for, so that at most one is ever between the server and stdout.
    let mut connection = connect(server).await?;
    for printed in 0..wanted {
        let answer = match connection.get(&args.queue).await {
            Ok(answer) => answer,
            Err(error) => {
                let doubt = if error.may_be_done() { "; the next one may have been taken and lost" } else { "" };
                let stop = Stop::from(error);
                let printed = counted(printed, "message");
                return Err(Stop::new(stop.exit, format!("{}\n{printed} printed before{doubt}", stop.text)));
            }
        };
        if answer.code != 1 {
            return end(Stop::refusal(&args.queue, &answer), printed);
        }
        show::write(&show::line(answer.data.get(), args.json)).map_err(|e| unwritten(&args.queue, &answer, &e))?;
    }
    Ok(())
}

/// An empty queue is the natural end, and a failure only when nothing was printed.
fn end(stop: Stop, printed: u64) -> Result<(), Stop> {
    match (stop.exit, printed) {
        (Exit::Nothing, 0) => {
            remark(&stop.text);
            Err(Stop::new(Exit::Nothing, ""))
        }
        (Exit::Nothing, _) => Ok(()),
        _ => Err(stop),
    }
}

/// The server has given the message away, and stdout does not take it: stderr gets it, so that it is not lost.
fn unwritten(queue: &str, answer: &Answer, error: &io::Error) -> Stop {
    // A reader that has seen enough, such as head, is no failure.
    let exit = if error.kind() == ErrorKind::BrokenPipe { Exit::Fine } else { Exit::Usage };
    let position = answer.position.map(|position| format!(" (position {position})")).unwrap_or_default();
    let text = format!(
        "one message was taken from {queue}{position} and could not be written to standard output ({error}). It is:\n{}",
        answer.data.get()
    );
    Stop::new(exit, text)
}
