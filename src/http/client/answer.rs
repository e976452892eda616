//! The envelope `{"code":C,"message":"M","data":D}` in which every answer of the five operations comes, and the answers below `/v1`.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

/// What the server said to a request.
#[derive(Debug)]
pub struct Answer {
    /// 1: done; 2: the state of the queue forbids it (the message says which state); 3: the request is wrong.
    pub code: u8,
    /// The outcome's name, such as `HTTPMQ_PUT_OK`.
    pub message: String,
    /// The JSON text of the data, as exact as the server sent it.
    pub data: Box<RawValue>,
    /// The position of the message that was put, taken or looked at.
    pub position: Option<u64>,
    /// What the server says about itself, with the answer to a status: `httpmq/VERSION (engine NAME; sync MODE)`.
    pub software: Option<String>,
}

/// The envelope as it lies in its bytes.
#[derive(Debug, Deserialize)]
pub struct Envelope<'a> {
    /// As [`Answer::code`].
    pub code: u8,
    /// As [`Answer::message`].
    #[serde(borrow)]
    pub message: Cow<'a, str>,
    /// As [`Answer::data`].
    #[serde(borrow)]
    pub data: &'a RawValue,
}

impl Answer {
    /// Reads an envelope.
    ///
    /// # Errors
    /// The bytes are not JSON, or JSON of another shape.
    pub(super) fn read(body: &[u8], position: Option<u64>) -> Result<Answer, serde_json::Error> {
        let Envelope { code, message, data } = serde_json::from_slice(body)?;
        Ok(Answer { code, message: message.into_owned(), data: data.to_owned(), position, software: None })
    }

    /// What `data.reason` says is wrong with the request, where the server gives a reason.
    #[must_use]
    pub fn reason(&self) -> Option<String> {
        serde_json::from_str::<Refusal>(self.data.get()).ok().map(|refusal| refusal.reason)
    }
}

/// What the server said to a request below `/v1`.
#[derive(Debug)]
pub enum Shown {
    /// What was asked for, as JSON text.
    Data(Box<RawValue>),
    /// Why there is none.
    Problem {
        /// For programs, such as `queue_not_found`.
        code: String,
        /// For people.
        detail: String,
    },
}

impl Shown {
    /// Reads an answer.
    ///
    /// # Errors
    /// The bytes are not JSON, or say no problem where there must be one.
    pub(super) fn read(is_success: bool, body: &[u8]) -> Result<Shown, serde_json::Error> {
        if is_success {
            return serde_json::from_slice(body).map(Shown::Data);
        }
        let Problem { code, detail } = serde_json::from_slice(body)?;
        Ok(Shown::Problem { code, detail })
    }
}

#[derive(Deserialize)]
struct Problem {
    code: String,
    detail: String,
}

#[derive(Deserialize)]
struct Refusal {
    reason: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_stays_the_exact_text() {
        let answer = Answer::read(br#"{"code":1,"message":"HTTPMQ_SUCCEED","data":{"b": 1.0, "a":1e400}}"#, Some(7));
        let answer = answer.expect("an envelope");
        assert_eq!((answer.code, answer.message.as_str(), answer.position), (1, "HTTPMQ_SUCCEED", Some(7)));
        assert_eq!(answer.data.get(), r#"{"b": 1.0, "a":1e400}"#);
        assert_eq!(answer.reason(), None);
    }

    #[test]
    fn the_reason_is_found_and_other_shapes_are_no_envelope() {
        let answer = Answer::read(br#"{"code":3,"message":"HTTPMQ_PARAM_ERROR","data":{"reason":"no name"}}"#, None);
        assert_eq!(answer.expect("an envelope").reason().as_deref(), Some("no name"));
        for body in ["", "<html>", "{}", r#"{"code":"1","message":"M","data":1}"#, r#"{"code":1,"message":"M"}"#] {
            assert!(Answer::read(body.as_bytes(), None).is_err(), "{body}");
        }
    }
}
