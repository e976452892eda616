//! The page at `/`: files that are in the binary as they stand in `src/http/page/`. What it shows it asks for itself, by the API and
//! the WebSocket that are there for everybody.
//!
//! Names and messages come from strangers, and the page must not become their program: its scripts write them as text only, and the
//! policy that each file goes out with lets nothing run or load but these files.

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    HeaderMap, Request, Response, StatusCode,
    body::Incoming,
    header::{
        CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderValue, IF_NONE_MATCH, REFERRER_POLICY,
        X_CONTENT_TYPE_OPTIONS,
    },
};

use super::answer::{self, Answer};
use crate::route::Refusal;

/// One of the files.
#[derive(Debug)]
pub(super) struct File {
    path: &'static str,
    kind: &'static str,
    text: &'static str,
}

/// The file at a path.
pub(super) fn find(path: &str) -> Option<&'static File> {
    FILES.iter().find(|file| file.path == path)
}

/// Answers a request for a file.
pub(super) fn answer(file: &'static File, request: &Request<Incoming>) -> Answer {
    let answer = match request.method().as_str() {
        "GET" | "HEAD" => file.answer(request.headers()),
        _ => answer::refusal(&Refusal::WrongMethod { allow: "GET, HEAD" }),
    };
    answer::unread(answer, request.body())
}

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";

const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; \
     form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
);
const NO_SNIFF: HeaderValue = HeaderValue::from_static("nosniff");
const NO_REFERRER: HeaderValue = HeaderValue::from_static("no-referrer");
/// May be kept, and is asked about each time: another version of the daemon has another page.
const NO_CACHE: HeaderValue = HeaderValue::from_static("no-cache");

macro_rules! file {
    ($name:literal, $kind:expr) => {
        File { path: concat!("/page/", $name), kind: $kind, text: include_str!(concat!("page/", $name)) }
    };
}

const FILES: &[File] = &[
    File { path: "/", kind: HTML, text: include_str!("page/index.html") },
    file!("page.css", CSS),
    file!("icon.svg", "image/svg+xml"),
    file!("main.js", SCRIPT),
    file!("api.js", SCRIPT),
    file!("charts.js", SCRIPT),
    file!("danger.js", SCRIPT),
    file!("dom.js", SCRIPT),
    file!("format.js", SCRIPT),
    file!("header.js", SCRIPT),
    file!("history.js", SCRIPT),
    file!("json.js", SCRIPT),
    file!("messages.js", SCRIPT),
    file!("overview.js", SCRIPT),
    file!("put.js", SCRIPT),
    file!("queue.js", SCRIPT),
    file!("select.js", SCRIPT),
    file!("settings.js", SCRIPT),
    file!("table.js", SCRIPT),
    file!("tail.js", SCRIPT),
    file!("uPlot.iife.min.js", SCRIPT),
    file!("uPlot.min.css", CSS),
    // It asks to go wherever uPlot goes.
    file!("uPlot.LICENSE", TEXT),
];

impl File {
    fn answer(&self, asked: &HeaderMap) -> Answer {
        let tag = self.tag();
        let is_known = asked.get_all(IF_NONE_MATCH).iter().any(|known| is_listed(known, &tag));
        let text = if is_known { "" } else { self.text };
        let mut answer = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
        if is_known {
            *answer.status_mut() = StatusCode::NOT_MODIFIED;
        }
        let headers = answer.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.kind));
        headers.insert(CACHE_CONTROL, NO_CACHE);
        headers.insert(CONTENT_SECURITY_POLICY, POLICY);
        headers.insert(X_CONTENT_TYPE_OPTIONS, NO_SNIFF);
        headers.insert(REFERRER_POLICY, NO_REFERRER);
        // Quotes, digits and letters: there is nothing in it that a header does not take.
        if let Ok(tag) = HeaderValue::from_str(&tag) {
            headers.insert(ETAG, tag);
        }
        answer
    }

    /// Another text has another tag (RFC 9110, section 8.8.3).
    fn tag(&self) -> String {
        format!("\"{}-{:08x}\"", env!("CARGO_PKG_VERSION"), crc32fast::hash(self.text.as_bytes()))
    }
}

/// Whether a tag is among those of `If-None-Match`, which compares weakly (RFC 9110, section 13.1.2).
fn is_listed(known: &HeaderValue, tag: &str) -> bool {
    let mut listed = known.to_str().unwrap_or_default().split(',').map(str::trim);
    listed.any(|one| one == "*" || one.strip_prefix("W/").unwrap_or(one) == tag)
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    #[test]
    fn every_file_of_the_page_is_served_and_no_script_is_in_the_html() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http/page");
        for entry in fs::read_dir(folder).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let path = if name == "index.html" { "/".to_owned() } else { format!("/page/{name}") };
            assert!(find(&path).is_some(), "{name} is not in FILES");
        }
        let html = find("/").unwrap().text;
        for tag in html.split('<').filter(|tag| tag.starts_with("script") || tag.starts_with("link")) {
            let (_, path) = tag.split_once("=\"/page/").unwrap_or_else(|| panic!("from elsewhere: <{tag}"));
            assert!(find(&format!("/page/{}", path.split('"').next().unwrap())).is_some(), "<{tag}");
        }
        assert!(!html.contains("style=") && !html.contains("<style"), "the policy forbids it");
    }

    #[test]
    fn a_tag_is_known_weak_or_strong_alone_or_in_a_list() {
        for (known, expected) in
            [("\"a\"", true), ("W/\"a\"", true), ("\"b\", \"a\"", true), ("*", true), ("\"b\"", false), ("a", false)]
        {
            assert_eq!(is_listed(&HeaderValue::from_static(known), "\"a\""), expected, "{known}");
        }
    }
}
