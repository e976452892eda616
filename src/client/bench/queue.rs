//! The queue that a benchmark uses: never one that could be somebody else's.

use serde::Deserialize;

use super::text::is_ours;
use crate::client::connect;
use crate::client::stop::{Exit, Stop};
use crate::http::client::{Answer, Connection, Server};

/// A queue that is ours.
#[derive(Debug)]
pub(super) struct Own {
    connection: Connection,
    pub(super) name: String,
    /// What the server says about itself.
    pub(super) software: Option<String>,
}

/// The part of a status that matters here.
#[derive(Debug, Default, Deserialize)]
struct Positions {
    put_pos: u64,
    get_pos: Option<u64>,
    unread: u64,
    max_len: u64,
}

impl Own {
    /// Makes sure that the queue is not there, was reset and not used since, or holds what a benchmark left.
    pub(super) async fn claim(server: &Server, name: String) -> Result<Own, Stop> {
        let mut connection = connect(server).await?;
        let answer = connection.status(&name).await?;
        let software = answer.software.clone();
        let positions = positions(&name, &answer)?;
        let is_new = positions.unread == 0 && positions.put_pos == 0;
        if !is_new && !holds_ours(&mut connection, &name, &positions).await? {
            let text = format!(
                "the queue {name} is there already, and does not look like one of a benchmark: nothing was done.\n\
                 Use another --queue, or if it is of no use to anybody: httpmq reset --yes '{name}'"
            );
            return Err(Stop::new(Exit::Usage, text));
        }
        Ok(Own { connection, name, software })
    }

    /// Forgets all its messages.
    pub(super) async fn reset(&mut self) -> Result<(), Stop> {
        let answer = self.connection.reset(&self.name).await?;
        match (answer.code, answer.message.as_str()) {
            (1, _) | (_, "HTTPMQ_NOT_EXISTS") => Ok(()),
            _ => Err(Stop::refusal(&self.name, &answer)),
        }
    }

    /// How many messages wait in it.
    pub(super) async fn unread(&mut self) -> Result<u64, Stop> {
        let answer = self.connection.status(&self.name).await?;
        Ok(positions(&self.name, &answer)?.unread)
    }
}

fn positions(name: &str, answer: &Answer) -> Result<Positions, Stop> {
    match (answer.code, answer.message.as_str()) {
        (1, _) => serde_json::from_str(answer.data.get())
            .map_err(|error| Stop::new(Exit::Refused, format!("the status of {name} is not understood: {error}"))),
        (_, "HTTPMQ_NOT_EXISTS") => Ok(Positions::default()),
        _ => Err(Stop::refusal(name, answer)),
    }
}

/// Whether the oldest unread message is one of a benchmark.
async fn holds_ours(connection: &mut Connection, name: &str, positions: &Positions) -> Result<bool, Stop> {
    // Behind the last slot of the ring comes the first.
    let oldest = positions.get_pos.unwrap_or_default() % positions.max_len.max(1);
    let answer = connection.view(name, oldest).await?;
    Ok(answer.code == 1 && is_ours(answer.data.get()))
}
