//! One HTTP answer out of the bytes that have come so far, and what it says. No sockets here.

use httparse::{EMPTY_HEADER, Response, Status};

/// More header lines than any answer here has; one with more is reported as broken.
const HEADERS_MAX: usize = 32;

/// What the bytes of one connection amount to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Parsed<'a> {
    /// More bytes have to come.
    Partial,
    /// An answer, and nothing behind it.
    Whole(Answer<'a>),
    /// These bytes can never become the one answer that was asked for.
    Broken(String),
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer<'a> {
    pub(crate) status: u16,
    pub(crate) body: &'a [u8],
}

/// What an answer means for a closed loop of requests.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Status 200 and code 1: the request was served.
    Served,
    /// Status 200 and code 2: the queue is empty or full, which ends a round but is no fault.
    Refused(String),
    /// Anything else.
    Wrong(String),
}

/// Says what an answer means out of the bytes of it that have come; `None`: more have to come.
pub(crate) type Judge<'a> = &'a dyn Fn(&[u8]) -> Option<Verdict>;

/// Judges an answer of HTTP.
pub(crate) fn verdict(bytes: &[u8]) -> Option<Verdict> {
    match parse(bytes) {
        Parsed::Partial => None,
        Parsed::Whole(answer) => Some(answer.verdict()),
        Parsed::Broken(why) => Some(Verdict::Wrong(why)),
    }
}

/// Reads the answer to the one request that is under way.
pub(crate) fn parse(bytes: &[u8]) -> Parsed<'_> {
    let mut headers = [EMPTY_HEADER; HEADERS_MAX];
    let mut response = Response::new(&mut headers);
    let head_bytes = match response.parse(bytes) {
        Ok(Status::Complete(head_bytes)) => head_bytes,
        Ok(Status::Partial) => return Parsed::Partial,
        Err(error) => return Parsed::Broken(format!("no HTTP answer ({error})")),
    };
    let header = |name: &str| response.headers.iter().find(|h| h.name.eq_ignore_ascii_case(name)).map(|h| h.value);
    let Some(body_bytes) = header("content-length").and_then(|v| std::str::from_utf8(v).ok()?.parse::<usize>().ok())
    else {
        return Parsed::Broken("no Content-Length".into());
    };
    match bytes.len().checked_sub(head_bytes) {
        Some(have) if have > body_bytes => Parsed::Broken("bytes behind the end of the answer".into()),
        Some(have) if have == body_bytes => {
            Parsed::Whole(Answer { status: response.code.unwrap_or(0), body: &bytes[head_bytes..] })
        }
        _ => Parsed::Partial,
    }
}

impl Answer<'_> {
    /// Judges the answer by its status and by the `code` of its envelope.
    pub(crate) fn verdict(&self) -> Verdict {
        match (self.status, self.code()) {
            (200, Some(1)) => Verdict::Served,
            (200, Some(2)) => Verdict::Refused(String::from_utf8_lossy(self.body).into_owned()),
            (200, Some(code)) => Verdict::Wrong(format!("code {code}")),
            (200, None) => Verdict::Wrong("no code in the answer".into()),
            (status, _) => Verdict::Wrong(format!("status {status}")),
        }
    }

    /// The number behind the first `"code":`, which every envelope begins with; finding it costs less than reading the JSON.
    fn code(&self) -> Option<u64> {
        const KEY: &[u8] = b"\"code\":";
        let at = self.body.windows(KEY.len()).position(|part| part == KEY)?;
        let value = self.body[at + KEY.len()..].trim_ascii_start();
        let digits = value.iter().take_while(|byte| byte.is_ascii_digit()).count();
        std::str::from_utf8(&value[..digits]).ok()?.parse().ok()
    }
}
