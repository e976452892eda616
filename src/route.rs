//! Request → operation. Pure: bytes in, an [`Operation`] or a [`Refusal`] out.
//!
//! The parameters of the four GETs come from the query string or from a form sent as the body; where both give one, the query
//! wins. Of a parameter that is given twice, the last one counts, as it does in a JSON object.
//!
//! In reading order: [`put`] (the body of a put), [`form`] (parameters); [`v1`] is the API for looking at queues and for changing
//! them, [`settings`] the body of such a change.

mod form;
mod put;
pub mod settings;
pub mod v1;

use std::borrow::Cow;

use self::form::Plus;

/// A path that is served, with what its method asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// `PUT /queue/`
    Put,
    /// `GET /queue/`
    Get,
    /// `GET /status/`
    Status,
    /// `GET /view/`
    View,
    /// `GET /reset/`
    Reset,
}

/// What a request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation<'a> {
    /// Append a message.
    Put {
        /// The queue's name.
        queue: Cow<'a, str>,
        /// The exact JSON text of the message.
        data: &'a str,
    },
    /// Take the oldest unread message.
    Get {
        /// The queue's name.
        queue: Cow<'a, str>,
    },
    /// Show the positions.
    Status {
        /// The queue's name.
        queue: Cow<'a, str>,
    },
    /// Look at an unread message.
    View {
        /// The queue's name.
        queue: Cow<'a, str>,
        /// Its position.
        position: u64,
    },
    /// Forget all messages.
    Reset {
        /// The queue's name.
        queue: Cow<'a, str>,
    },
}

impl Operation<'_> {
    /// The name of the queue that it is about.
    pub fn queue(&self) -> &str {
        match self {
            Operation::Put { queue, .. }
            | Operation::Get { queue }
            | Operation::Status { queue }
            | Operation::View { queue, .. }
            | Operation::Reset { queue } => queue,
        }
    }
}

/// Why a request is not an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// Nothing is served at this path: 404.
    UnknownPath,
    /// The path knows only these methods: 405.
    WrongMethod {
        /// For the `Allow` header.
        allow: &'static str,
    },
    /// A parameter error that the original answers as JSON: 200.
    Parameter(Cow<'static, str>),
    /// A parameter error where the original fails: 400.
    BadRequest(Cow<'static, str>),
    /// The message is too long: 413.
    TooLong(String),
}

/// What is asked of a path, before the body is read.
///
/// # Errors
/// The path is unknown or has no such method.
pub fn target(method: &str, path: &str) -> Result<Target, Refusal> {
    let (get, allow) = match path.strip_suffix('/').unwrap_or(path) {
        "/queue" => (Target::Get, "GET, PUT"),
        "/status" => (Target::Status, "GET"),
        "/view" => (Target::View, "GET"),
        "/reset" => (Target::Reset, "GET"),
        _ => return Err(Refusal::UnknownPath),
    };
    match (method, get) {
        ("GET", _) => Ok(get),
        ("PUT", Target::Get) => Ok(Target::Put),
        _ => Err(Refusal::WrongMethod { allow }),
    }
}

/// What the limits of names and messages are.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The longest queue name, in bytes.
    pub max_name_bytes: usize,
    /// The longest message, in bytes of JSON.
    pub max_message_bytes: usize,
}

/// The operation that a whole request asks for.
///
/// # Errors
/// A parameter is missing, wrong, or over a limit.
pub fn operation<'a>(target: Target, query: &'a str, body: &'a [u8], limits: Limits) -> Result<Operation<'a>, Refusal> {
    if target == Target::Put {
        return put::put(body, limits);
    }
    let mut parameters = Parameters::default();
    // The later one wins, and the query shall.
    parameters.read(body)?;
    parameters.read(query.as_bytes())?;
    let Some(queue) = parameters.name else {
        return Err(Refusal::BadRequest("the parameter name is missing".into()));
    };
    let queue = name(queue, limits)?;
    Ok(match target {
        Target::View => Operation::View { queue, position: position(parameters.position)? },
        Target::Status => Operation::Status { queue },
        Target::Reset => Operation::Reset { queue },
        Target::Get | Target::Put => Operation::Get { queue },
    })
}

// ===== parameters =====

#[derive(Default)]
struct Parameters<'a> {
    name: Option<Cow<'a, str>>,
    position: Option<Cow<'a, str>>,
}

impl<'a> Parameters<'a> {
    /// Reads `application/x-www-form-urlencoded` text.
    fn read(&mut self, form: &'a [u8]) -> Result<(), Refusal> {
        for pair in form::pairs(form) {
            let (key, value) = pair?;
            let field = match &*key {
                "name" => &mut self.name,
                "position" => &mut self.position,
                _ => continue,
            };
            *field = Some(form::decode(value, Plus::Space)?);
        }
        Ok(())
    }
}

fn name(name: Cow<'_, str>, limits: Limits) -> Result<Cow<'_, str>, Refusal> {
    let wrong = match name.len() {
        0 => "name is empty".into(),
        is if is > limits.max_name_bytes => {
            format!("name is {is} bytes long, at most {} are allowed", limits.max_name_bytes).into()
        }
        _ if name.chars().any(char::is_control) => "name has a control character".into(),
        _ => return Ok(name),
    };
    Err(Refusal::Parameter(wrong))
}

fn position(position: Option<Cow<'_, str>>) -> Result<u64, Refusal> {
    match position.as_deref().map(|text| (text, text.parse())) {
        Some((_, Ok(position))) => Ok(position),
        Some((_, Err(_))) => Err(Refusal::Parameter("position is not a whole number from 0 on".into())),
        None => Err(Refusal::BadRequest("the parameter position is missing".into())),
    }
}

#[cfg(test)]
mod tests;
