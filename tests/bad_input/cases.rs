//! The files of cases: a name, the bytes, the verdict.
//!
//! ```text
//! # a remark
//! the name of a case, which says what is wrong
//!   its bytes, in lines that begin with two spaces and are put together without anything in between
//! = a line of the verdict; … stands for any text
//! = open
//! ```
//!
//! In the bytes, `\r \n \t \0 \\ \xHH` are as in Rust, `\{TEXT*N}` is TEXT N times, `\[HH TEXT]` a WebSocket frame with the first
//! byte HH, masked with zeros (`\]` in it is a bracket), and `\.` at the end says that the client has nothing more to say: no
//! other request stands behind these bytes.

use std::collections::HashSet;
use std::iter::Peekable;
use std::str::Chars;

/// One input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
    /// Nothing stands behind it.
    pub(crate) is_last: bool,
    pub(crate) verdict: Vec<String>,
}

impl Case {
    /// Whether what was seen is what is expected.
    pub(crate) fn expects(&self, seen: &[String]) -> bool {
        self.verdict.len() == seen.len() && self.verdict.iter().zip(seen).all(|(expected, line)| fits(expected, line))
    }
}

/// The cases of a file, whose names differ.
pub(crate) fn parse(text: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let of = || panic!("{line:?} stands before any name");
        if let Some(bytes) = line.strip_prefix("  ") {
            let case = cases.last_mut().unwrap_or_else(of);
            assert!(!case.is_last && case.verdict.is_empty(), "{line:?} stands behind the end of {}", case.name);
            let (bytes, is_last) = bytes.strip_suffix("\\.").map_or((bytes, false), |bytes| (bytes, true));
            case.bytes.extend(unescape(&mut bytes.chars().peekable(), None));
            case.is_last = is_last;
        } else if let Some(verdict) = line.strip_prefix("= ") {
            cases.last_mut().unwrap_or_else(of).verdict.push(verdict.to_owned());
        } else {
            assert!(cases.last().is_none_or(|case| !case.verdict.is_empty()), "no verdict before {line:?}");
            cases.push(Case { name: line.to_owned(), bytes: Vec::new(), is_last: false, verdict: Vec::new() });
        }
    }
    let names: HashSet<_> = cases.iter().map(|case| &case.name).collect();
    assert!(names.len() == cases.len(), "two cases have one name");
    cases
}

/// Bytes as they are written in a file, without the short forms.
pub(crate) fn escape(bytes: &[u8]) -> String {
    format!("{:.300}", bytes.escape_ascii().to_string())
}

/// A frame as a client sends it, masked with zeros.
pub(crate) fn websocket_frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let length = match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(short @ 0..=125), _) => vec![0x80 | short],
        (_, Ok(middle)) => [&[0xfe][..], &middle.to_be_bytes()].concat(),
        _ => [&[0xff][..], &u64::try_from(payload.len()).unwrap().to_be_bytes()].concat(),
    };
    [&[first][..], &length, &[0; 4], payload].concat()
}

/// Reads up to `end`, or all.
fn unescape(text: &mut Peekable<Chars<'_>>, end: Option<char>) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some(c) = text.next_if(|c| Some(*c) != end) {
        if c != '\\' {
            bytes.extend(c.encode_utf8(&mut [0; 4]).as_bytes());
            continue;
        }
        match text.next().unwrap() {
            'r' => bytes.push(b'\r'),
            'n' => bytes.push(b'\n'),
            't' => bytes.push(b'\t'),
            '0' => bytes.push(0),
            'x' => bytes.push(hex(text)),
            '{' => {
                let part = unescape(text, Some('*'));
                let count: String = text.skip(1).take_while(|c| *c != '}').collect();
                bytes.extend(part.repeat(count.parse().unwrap()));
            }
            '[' => {
                let first = hex(text);
                assert_eq!(text.next(), Some(' '));
                bytes.extend(websocket_frame(first, &unescape(text, Some(']'))));
                text.next();
            }
            c @ ('\\' | ']') => bytes.push(u8::try_from(c).unwrap()),
            c => panic!("no such escape: \\{c}"),
        }
    }
    bytes
}

fn hex(text: &mut Peekable<Chars<'_>>) -> u8 {
    u8::from_str_radix(&text.take(2).collect::<String>(), 16).unwrap()
}

/// Whether a line is the expected one, in which `…` stands for any text.
fn fits(expected: &str, line: &str) -> bool {
    match expected.split_once('…') {
        None => expected == line,
        Some((start, part)) => line.strip_prefix(start.trim_end()).is_some_and(|rest| rest.contains(part.trim_start())),
    }
}

#[test]
fn a_file_is_names_bytes_and_verdicts() {
    let cases =
        parse("# x\none\n  a\\r\\n\n  \\xff\\{bc*3}\\\\\n= 200 …\n= open\n\ntwo\n  é\\[81 [\\]]x\\.\n= closed\n");
    let case = |name: &str, bytes: &[u8], is_last, verdict: &[&str]| Case {
        name: name.to_owned(),
        bytes: bytes.to_owned(),
        is_last,
        verdict: verdict.iter().map(|line| (*line).to_owned()).collect(),
    };
    assert_eq!(
        cases,
        [
            case("one", b"a\r\n\xffbcbcbc\\", false, &["200 …", "open"]),
            case("two", b"\xc3\xa9\x81\x82\0\0\0\0[]x", true, &["closed"]),
        ]
    );
    assert!(cases[0].expects(&["200 1 a".to_owned(), "open".to_owned()]));
    assert!(!cases[0].expects(&["201 1 a".to_owned(), "open".to_owned()]));
    assert!(!cases[0].expects(&["200 1 a".to_owned()]));
    assert!(fits("a … c", "a b c d") && !fits("a … c", "a b d") && !fits("a", "a b"));
}
