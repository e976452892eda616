//! Errors of the API below `/v1`: problem details (RFC 9457) with a `code` for programs.

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Response, StatusCode,
    header::{ALLOW, CONTENT_TYPE, HeaderValue},
};
use serde::Serialize;

use super::{
    answer::{Answer, closing, refused, why_refused},
    body::BodyError,
};
use crate::{
    metrics::Reason,
    ring::Kind,
    route::Refusal,
    store::{StoreError, Trouble},
};

const PROBLEM: HeaderValue = HeaderValue::from_static("application/problem+json");

/// A request that asks for nothing that can be shown.
pub(super) fn refusal(refusal: &Refusal) -> Answer {
    let answer = match refusal {
        Refusal::BadRequest(text) => problem(StatusCode::BAD_REQUEST, "bad_request", text),
        // Here this is about names only, and a queue that cannot be is not there.
        Refusal::Parameter(text) => problem(StatusCode::NOT_FOUND, "queue_not_found", text),
        Refusal::TooLong(text) => problem(StatusCode::PAYLOAD_TOO_LARGE, "too_long", text),
        Refusal::UnknownPath => {
            let text = "nothing is served at this path; /openapi.yaml says what there is";
            problem(StatusCode::NOT_FOUND, "not_found", text)
        }
        Refusal::WrongMethod { allow } => {
            let text = format!("this path takes {allow}");
            let mut answer = problem(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", &text);
            answer.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
            answer
        }
    };
    refused(why_refused(refusal), answer)
}

pub(super) fn unknown_queue() -> Answer {
    let answer = problem(StatusCode::NOT_FOUND, "queue_not_found", "there is no queue of this name");
    refused(Reason::NotFound, answer)
}

/// A queue of this name is there, but not as it was to be made. `own` is the JSON of its own settings.
pub(super) fn queue_exists(kind: Kind, own: &str) -> Answer {
    let kind = match kind {
        Kind::Work => "work queue",
        Kind::Topic => "topic",
    };
    let text = format!("there is a {kind} of this name, with these settings of its own: {own}; PATCH changes them");
    refused(Reason::Parameter, problem(StatusCode::CONFLICT, "queue_exists", &text))
}

pub(super) fn too_many_queues() -> Answer {
    let text = "there are as many queues as [limits] max_queues allows";
    refused(Reason::TooManyQueues, problem(StatusCode::CONFLICT, "too_many_queues", text))
}

pub(super) fn storage_full() -> Answer {
    let text = "the disk has less free space than disk_reserve_bytes";
    refused(Reason::StorageFull, problem(StatusCode::INSUFFICIENT_STORAGE, "storage_full", text))
}

/// The rest of such a body must not be taken for a request, so the connection ends.
pub(super) fn body_error(error: BodyError) -> Answer {
    let (why, answer) = match error {
        BodyError::TooLong => {
            (Reason::TooLong, problem(StatusCode::PAYLOAD_TOO_LARGE, "too_long", "the body is too long"))
        }
        BodyError::TooSlow => {
            (Reason::TooSlow, problem(StatusCode::REQUEST_TIMEOUT, "too_slow", "the body did not come in time"))
        }
        BodyError::NoMemory => {
            let text = "others have the memory for a body of this length; try again";
            (Reason::TooMany, problem(StatusCode::SERVICE_UNAVAILABLE, "busy", text))
        }
        BodyError::Broken => {
            (Reason::Malformed, problem(StatusCode::BAD_REQUEST, "bad_request", "the body cannot be read"))
        }
    };
    refused(why, closing(answer))
}

pub(super) fn store_error(error: &StoreError) -> Answer {
    if let StoreError::Unreadable { .. } = error {
        log::error!("{error}");
    }
    let answer = problem(StatusCode::INTERNAL_SERVER_ERROR, "storage_failed", &error.to_string());
    refused(Reason::StorageFailed, answer)
}

/// Why puts are not taken.
pub(super) fn trouble(trouble: &Trouble) -> Answer {
    let code = match trouble {
        Trouble::Failed(_) => "storage_failed",
        Trouble::NoRoom { .. } => "storage_full",
    };
    not_ready(code, &trouble.to_string())
}

/// Not counted as a refusal: whoever asks for it wants to know, and gets what it asked for.
pub(super) fn not_ready(code: &str, detail: &str) -> Answer {
    problem(StatusCode::SERVICE_UNAVAILABLE, code, detail)
}

#[derive(Serialize)]
struct ProblemJson<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    title: &'static str,
    status: u16,
    code: &'a str,
    detail: &'a str,
}

fn problem(status: StatusCode, code: &str, detail: &str) -> Answer {
    let title = status.canonical_reason().unwrap_or_default();
    // Says that there is nothing more to read about it than its title (RFC 9457, section 4.2.1).
    let problem = ProblemJson { kind: "about:blank", title, status: status.as_u16(), code, detail };
    let mut answer = Response::new(Full::new(Bytes::from(serde_json::to_vec(&problem).unwrap_or_default())));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, PROBLEM);
    answer
}
