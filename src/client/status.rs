//! `httpmq status`: a queue's positions.

use std::fmt;

use serde::Deserialize;
use serde::de::{MapAccess, Visitor};
use serde_json::value::RawValue;

use super::stop::Stop;
use super::{connect, show};
use crate::args::Status;
use crate::http::client::Server;

pub(super) async fn status(args: &Status, server: &Server) -> Result<(), Stop> {
    let Some(queue) = &args.queue else {
        return Err(Stop::usage("which queue? `httpmq status --health` says how the daemon is"));
    };
    let answer = connect(server).await?.status(queue).await?;
    if answer.code != 1 {
        return Err(Stop::refusal(queue, &answer));
    }
    let text = match serde_json::from_str::<Fields>(answer.data.get()) {
        Ok(fields) if !args.json => table(&fields),
        _ => show::line(answer.data.get(), true),
    };
    show::write(&text).map_err(Stop::output)
}

/// The members of a JSON object in the order in which the server wrote them.
struct Fields(Vec<(String, Box<RawValue>)>);

/// One line for each member, the values in a column.
fn table(Fields(fields): &Fields) -> String {
    let width = fields.iter().map(|(key, _)| key.chars().count()).max().unwrap_or(0);
    fields.iter().map(|(key, value)| format!("{key:width$}  {}", shown(value).trim_end()) + "\n").collect()
}

fn shown(value: &RawValue) -> String {
    match value.get() {
        "null" => "-".to_owned(),
        _ => show::line(value.get(), false),
    }
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Fields, D::Error> {
        deserializer.deserialize_map(InOrder)
    }
}

struct InOrder;

impl<'de> Visitor<'de> for InOrder {
    type Value = Fields;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
        let mut fields = Vec::new();
        while let Some(field) = map.next_entry()? {
            fields.push(field);
        }
        Ok(Fields(fields))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_stand_aligned_in_their_order() {
        let json = r#"{"name":"jobs é","put_pos":12,"get_pos":null,"unread":12,"sync":["always", 1]}"#;
        let lines = ["name     jobs é", "put_pos  12", "get_pos  -", "unread   12", "sync     [\"always\", 1]", ""];
        assert_eq!(table(&serde_json::from_str(json).unwrap()), lines.join("\n"));
    }
}
