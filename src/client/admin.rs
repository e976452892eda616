//! `httpmq create`, `httpmq set` and `httpmq delete`: queues and their settings.

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::stop::Stop;
use super::{connect, remark, show};
use crate::args::{Create, Delete, Given, Set};
use crate::http::client::{Server, Shown};
use crate::ring::Overflow;

pub(super) async fn create(args: &Create, server: &Server) -> Result<(), Stop> {
    let queue = &args.queue;
    let mut body = settings(args.max_len, args.history, args.overflow);
    body.insert("kind".to_owned(), json!(args.kind));
    let shown = connect(server).await?.create(queue, &Value::from(body).to_string()).await?;
    done(shown, args.json, &format!("the queue {queue} is there"))
}

pub(super) async fn set(args: &Set, server: &Server) -> Result<(), Stop> {
    let body = settings(args.max_len, args.history, args.overflow);
    if body.is_empty() {
        return Err(Stop::usage("nothing is to be set; there are --max-len, --history and --overflow"));
    }
    let shown = connect(server).await?.set(&args.queue, &Value::from(body).to_string()).await?;
    done(shown, args.json, &format!("set for the queue {}", args.queue))
}

pub(super) async fn delete(args: &Delete, server: &Server) -> Result<(), Stop> {
    let queue = &args.queue;
    if !args.yes {
        let text = format!("this would delete the queue {queue} at {server} with all its messages; add --yes");
        return Err(Stop::usage(text));
    }
    let shown = connect(server).await?.delete(queue).await?;
    done(shown, args.json, &format!("the queue {queue} is gone"))
}

/// What was typed; `default` is null.
fn settings(
    max_len: Option<Given<u64>>,
    history: Option<Given<u64>>,
    overflow: Option<Given<Overflow>>,
) -> Map<String, Value> {
    let mut fields = Map::new();
    let mut put = |name: &str, value: Option<Value>| value.map(|value| fields.insert(name.to_owned(), value));
    put("max_len", given(max_len));
    put("history", given(history));
    put("overflow", given(overflow));
    fields
}

fn given<T: Serialize>(given: Option<Given<T>>) -> Option<Value> {
    given.map(|Given(value)| json!(value))
}

fn done(shown: Shown, json: bool, text: &str) -> Result<(), Stop> {
    match shown {
        Shown::Problem { code, detail } => Err(Stop::problem(&code, &detail)),
        Shown::Data(data) => {
            remark(text);
            if json { show::write(&show::line(data.get(), true)).map_err(Stop::output) } else { Ok(()) }
        }
    }
}
