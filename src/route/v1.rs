//! Requests to look at queues or to change them, and those of operators → what is to be shown or done. Pure.
//!
//! Here a status is a status: what is wrong with a request is never answered 200. A parameter that is not known is refused, so
//! that a mistyped one does not silently show something else.

use std::borrow::Cow;

use super::{
    Limits, Refusal,
    form::{self, Plus, decode},
};
use crate::store::{Select, Sort, Window};

/// How many queues or messages one answer has when nothing is said.
pub const DEFAULT_LIMIT: usize = 100;
/// How many it can have. A list of so many queues takes about 400 KiB.
pub const MAX_LIMIT: usize = 1000;
/// How many bytes of messages it can have; one message alone can be larger.
pub const MAX_PEEK_BYTES: usize = 1 << 20;

/// What a request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Show something, and change nothing.
    Look(Look),
    /// Change a queue.
    Change(Change),
}

/// What is to be changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// `PUT /v1/queues/{name}`; how the queue shall be, the body says: [`super::settings::create`].
    Create {
        /// The queue's name.
        queue: String,
    },
    /// `PATCH /v1/queues/{name}`; what shall be set, the body says: [`super::settings::set`].
    Set {
        /// The queue's name.
        queue: String,
    },
    /// `DELETE /v1/queues/{name}`
    Delete {
        /// The queue's name.
        queue: String,
    },
    /// `DELETE /v1/queues/{name}/messages`
    Purge {
        /// The queue's name.
        queue: String,
    },
}

/// What is to be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Look {
    /// `GET /v1/queues`
    Queues(Select),
    /// `GET /v1/queues/{name}`
    Queue {
        /// The queue's name.
        queue: String,
    },
    /// `GET /v1/queues/{name}/messages`
    Messages {
        /// The queue's name.
        queue: String,
        /// Which of its messages.
        window: Window,
    },
    /// `GET /v1/stats`
    Stats,
    /// `GET /metrics`
    Metrics,
    /// `GET /healthz`
    Health,
    /// `GET /readyz`
    Ready,
    /// `GET /openapi.yaml`
    OpenApi,
}

const BEHIND_QUEUES: &str = "/v1/queues/";

/// Whether a path belongs here and not to the five operations.
pub fn is_path(path: &str) -> bool {
    path.starts_with("/v1/") || matches!(path, "/v1" | "/metrics" | "/healthz" | "/readyz" | "/openapi.yaml")
}

/// What a request asks for.
///
/// # Errors
/// The path is unknown or takes another method, or a parameter is wrong.
pub fn request(method: &str, path: &str, query: &str, limits: Limits) -> Result<Request, Refusal> {
    let place = Place::of(path).ok_or(Refusal::UnknownPath)?;
    let (change, name): (fn(String) -> Change, &str) = match (method, place) {
        ("GET" | "HEAD", place) => return look(place, query, limits).map(Request::Look),
        ("PUT", Place::Queue(name)) => (|queue| Change::Create { queue }, name),
        ("PATCH", Place::Queue(name)) => (|queue| Change::Set { queue }, name),
        ("DELETE", Place::Queue(name)) => (|queue| Change::Delete { queue }, name),
        ("DELETE", Place::Messages(name)) => (|queue| Change::Purge { queue }, name),
        (_, Place::Queue(_)) => return Err(Refusal::WrongMethod { allow: "GET, HEAD, PUT, PATCH, DELETE" }),
        (_, Place::Messages(_)) => return Err(Refusal::WrongMethod { allow: "GET, HEAD, DELETE" }),
        _ => return Err(Refusal::WrongMethod { allow: "GET, HEAD" }),
    };
    Parameters::read(query, &[])?;
    match queue_name(name, limits) {
        // Nothing is there that could be made.
        Err(Refusal::Parameter(text)) if method == "PUT" => Err(Refusal::BadRequest(text)),
        queue => queue.map(|queue| Request::Change(change(queue))),
    }
}

fn look(place: Place<'_>, query: &str, limits: Limits) -> Result<Look, Refusal> {
    let parameters = Parameters::read(query, place.parameters())?;
    Ok(match place {
        Place::Queues => Look::Queues(parameters.select()?),
        Place::Queue(name) => Look::Queue { queue: queue_name(name, limits)? },
        Place::Messages(name) => Look::Messages { queue: queue_name(name, limits)?, window: parameters.window()? },
        Place::Fixed(look) => look,
    })
}

/// A path, its names not decoded yet.
enum Place<'a> {
    Queues,
    Queue(&'a str),
    Messages(&'a str),
    Fixed(Look),
}

impl<'a> Place<'a> {
    fn of(path: &'a str) -> Option<Place<'a>> {
        Some(match path {
            "/v1/queues" => Place::Queues,
            "/v1/stats" => Place::Fixed(Look::Stats),
            "/metrics" => Place::Fixed(Look::Metrics),
            "/healthz" => Place::Fixed(Look::Health),
            "/readyz" => Place::Fixed(Look::Ready),
            "/openapi.yaml" => Place::Fixed(Look::OpenApi),
            path => match path.strip_prefix(BEHIND_QUEUES)?.split_once('/') {
                None => Place::Queue(path.strip_prefix(BEHIND_QUEUES).filter(|name| !name.is_empty())?),
                Some((name, "messages")) if !name.is_empty() => Place::Messages(name),
                Some(_) => return None,
            },
        })
    }

    fn parameters(&self) -> &'static [&'static str] {
        match self {
            Place::Queues => &["limit", "after", "name", "sort"],
            Place::Messages(_) => &["limit", "from"],
            Place::Queue(_) | Place::Fixed(_) => &[],
        }
    }
}

/// A name that no queue can have is [`Refusal::Parameter`].
fn queue_name(encoded: &str, limits: Limits) -> Result<String, Refusal> {
    super::name(decode(encoded.as_bytes(), Plus::Itself)?, limits).map(Cow::into_owned)
}

#[derive(Default)]
struct Parameters<'a> {
    limit: Option<Cow<'a, str>>,
    after: Option<Cow<'a, str>>,
    name: Option<Cow<'a, str>>,
    sort: Option<Cow<'a, str>>,
    from: Option<Cow<'a, str>>,
}

impl<'a> Parameters<'a> {
    fn read(query: &'a str, known: &[&str]) -> Result<Parameters<'a>, Refusal> {
        let mut parameters = Parameters::default();
        for pair in form::pairs(query.as_bytes()) {
            let (key, value) = pair?;
            let field = match &*key {
                key if !known.contains(&key) => return Err(unknown(key, known)),
                "limit" => &mut parameters.limit,
                "after" => &mut parameters.after,
                "name" => &mut parameters.name,
                "sort" => &mut parameters.sort,
                _ => &mut parameters.from,
            };
            if field.replace(decode(value, Plus::Space)?).is_some() {
                return Err(Refusal::BadRequest(format!("the parameter {key} is given twice").into()));
            }
        }
        Ok(parameters)
    }

    fn select(self) -> Result<Select, Refusal> {
        let sort = match self.sort.as_deref() {
            None | Some("name") => Sort::Name,
            Some("unread") => Sort::Unread,
            Some("puts_per_s") => Sort::Puts,
            Some("gets_per_s") => Sort::Gets,
            Some(_) => return Err(bad("sort is name, unread, puts_per_s or gets_per_s")),
        };
        Ok(Select {
            limit: self.limit()?,
            text: self.name.map(Cow::into_owned).unwrap_or_default(),
            after: self.after.map(Cow::into_owned),
            sort,
            ages: true,
        })
    }

    fn window(self) -> Result<Window, Refusal> {
        let from = match self.from.as_deref().map(number) {
            Some(None) => return Err(bad("from is not a whole number from 0 on")),
            from => from.flatten(),
        };
        Ok(Window { from, limit: self.limit()?, max_bytes: MAX_PEEK_BYTES })
    }

    fn limit(&self) -> Result<usize, Refusal> {
        let Some(limit) = &self.limit else { return Ok(DEFAULT_LIMIT) };
        number(limit)
            .and_then(|limit| usize::try_from(limit).ok())
            .filter(|limit| (1..=MAX_LIMIT).contains(limit))
            .ok_or_else(|| bad(format!("limit is not a whole number from 1 to {MAX_LIMIT}")))
    }
}

/// Digits and nothing else: the standard library would take a sign.
fn number(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

fn bad(text: impl Into<Cow<'static, str>>) -> Refusal {
    Refusal::BadRequest(text.into())
}

fn unknown(key: &str, known: &[&str]) -> Refusal {
    match known {
        [] => bad(format!("there is no parameter {key:?}; this path takes none")),
        known => bad(format!("there is no parameter {key:?}; this path takes {}", known.join(", "))),
    }
}

#[cfg(test)]
#[path = "v1_tests.rs"]
mod tests;
