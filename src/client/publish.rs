//! `httpmq publish QUEUE DATA`: one message over TCP.

use tokio::time::timeout;

use super::put::{text, to_json};
use super::stop::{Exit, Stop};
use super::{ANSWER_TIMEOUT, check_tcp_name};
use crate::args::Publish;
use crate::pubsub::client::{Answer, Sender, Server, connect, request};

pub(super) async fn publish(args: &Publish, server: &Server) -> Result<(), Stop> {
    check_tcp_name(&args.queue)?;
    let message = message(text(args.data.as_deref())?, args.json)?;
    let (mut sender, mut receiver) = connect(server).await?;
    push(&mut sender, &args.queue, &message)?;
    // A server that does not want all of it says why and closes: the answer counts, not the failed write.
    sender.flush().await.ok();
    match timeout(ANSWER_TIMEOUT, receiver.answer()).await {
        Ok(Ok(answer)) => check(&args.queue, answer),
        Ok(Err(error)) => {
            let stop = Stop::from(error);
            Err(Stop::new(stop.exit, format!("{}\nthe message may have been published or not", stop.text)))
        }
        Err(_) => Err(late()),
    }
}

/// What is sent for a text; an error says why it cannot be.
pub(super) fn message(text: String, is_json: bool) -> Result<String, Stop> {
    let json = to_json(text, is_json).map_err(Stop::usage)?;
    request::message(&json).map_err(|error| Stop::usage(error.to_string()))
}

pub(super) fn push(sender: &mut Sender, queue: &str, message: &str) -> Result<(), Stop> {
    if sender.push(queue, message) { Ok(()) } else { Err(Stop::usage("the message is too long for any CoreMQ server")) }
}

/// What an answer to a publish means.
pub(super) fn check(queue: &str, answer: Answer) -> Result<(), Stop> {
    match answer {
        // A history was not asked for; whatever it is, it is no refusal.
        Answer::Done | Answer::History(_) => Ok(()),
        Answer::Refused(reason) => Err(Stop::refused(queue, &reason)),
        Answer::Bye => Err(bye()),
    }
}

pub(super) fn bye() -> Stop {
    Stop::new(Exit::NoConnection, "the connection is lost: the server stops")
}

pub(super) fn late() -> Stop {
    Stop::new(Exit::NoConnection, format!("the server gave no answer within {} s", ANSWER_TIMEOUT.as_secs()))
}
