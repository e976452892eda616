//! The request log: one line for each answer, when the operator wants it. Neither queries nor bodies are in it: both carry messages.

use std::{net::SocketAddr, time::Instant};

use hyper::{Method, Request, body::Body};

use super::answer::Answer;
use crate::logging::{self, REQUESTS};

/// What of a path is written; a queue's name of 255 bytes, each as `%xx`, has room.
const MAX_PATH_CHARS: usize = 800;

/// A request that is being answered.
#[derive(Debug)]
pub(super) struct Entry {
    method: Method,
    path: String,
    began: Instant,
}

/// What the operation in a request's body or query is about, for who has the answer only.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    queue: String,
    body_bytes: usize,
}

impl Entry {
    /// Notes a request; `None`: nobody wants to know.
    pub(super) fn begin<B>(request: &Request<B>) -> Option<Box<Entry>> {
        logging::wants_requests().then(|| {
            let path = request.uri().path().chars().take(MAX_PATH_CHARS).collect();
            Box::new(Entry { method: request.method().clone(), path, began: Instant::now() })
        })
    }

    /// Writes the line.
    pub(super) fn end(self, answer: &Answer, peer: SocketAddr) {
        let asked = answer.extensions().get::<Asked>();
        log::info!(
            target: REQUESTS,
            method = self.method.as_str(),
            path = &*self.path,
            queue = asked.map(|asked| &*asked.queue),
            status = answer.status().as_u16(),
            bytes_in = asked.map_or(0, |asked| asked.body_bytes),
            bytes_out = answer.body().size_hint().lower(),
            us = u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX),
            peer:% = peer;
            "request"
        );
    }
}

/// What is to be known about an operation; `None`: nobody wants to know.
pub(super) fn asked(queue: &str, body_bytes: usize) -> Option<Asked> {
    logging::wants_requests().then(|| Asked { queue: queue.to_owned(), body_bytes })
}

/// Lets an answer say what it is about.
pub(super) fn with(asked: Option<Asked>, mut answer: Answer) -> Answer {
    if let Some(asked) = asked {
        answer.extensions_mut().insert(asked);
    }
    answer
}
