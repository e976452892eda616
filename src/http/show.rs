//! What can be looked at: queues, messages, figures.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    HeaderMap, Request, Response,
    body::Incoming,
    header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue},
};
use tokio::sync::Semaphore;

use super::{
    answer::{self, Answer},
    json::{self, QueueJson, QueuesJson, StatsJson},
    problem,
    serve::Slot,
    service::Service,
};
use crate::{
    access::{Denial, Need, Pattern},
    broker::now_ms,
    config::Config,
    guard::Client,
    metrics::{self, Listener, ListenerReport, Named, Process, Scrape},
    pubsub,
    route::v1::{self, Look},
    store::{QueueReport, Select, Sort, Store, StoreError},
    tls,
};

/// The description of all paths here.
const OPENAPI: &str = include_str!("../../openapi.yaml");
/// RFC 9512.
const YAML: HeaderValue = HeaderValue::from_static("application/yaml");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
/// How many requests look at queues at a time; more wait for their turn. What one of them holds for ten thousand queues, or for a page
/// of messages, is a few megabytes: with all connections at once it would be the memory of the machine.
const LOOKS: usize = 8;

/// What is shown beside the queues themselves.
#[derive(Debug)]
pub(super) struct Shown<S> {
    live: Arc<pubsub::Door<S>>,
    counted: Arc<Listener>,
    tls: Option<Arc<tls::Server>>,
    turns: Semaphore,
    /// Locked by scrapes only.
    named: Mutex<Named>,
    started: Instant,
    started_ms: u64,
}

impl<S: Store> Shown<S> {
    pub(super) fn new(
        live: Arc<pubsub::Door<S>>,
        counted: Arc<Listener>,
        tls: Option<Arc<tls::Server>>,
        config: &Config,
    ) -> Shown<S> {
        let named = Named::new(config.http.metrics_queues, config.queues.keys().cloned());
        Shown {
            live,
            counted,
            tls,
            turns: Semaphore::new(LOOKS),
            named: Mutex::new(named),
            started: Instant::now(),
            started_ms: now_ms(),
        }
    }

    fn listeners(&self) -> [ListenerReport; 2] {
        [self.counted.report(), self.live.listener()]
    }
}

impl<S: Store> Service<S> {
    /// Answers a request for which [`v1::is_path`].
    pub(super) async fn show(&self, request: Request<Incoming>, slot: &Slot) -> Answer {
        let uri = request.uri();
        let query = uri.query().unwrap_or_default();
        let asked = match v1::request(request.method().as_str(), uri.path(), query, self.limits) {
            Ok(asked) => asked,
            Err(refusal) => return answer::unread(problem::refusal(&refusal), request.body()),
        };
        let only = match self.may_see(&asked, request.headers(), slot.client()) {
            Ok(only) => only,
            Err(denial) => return answer::unread(problem::denied(&denial), request.body()),
        };
        let answered = match asked {
            v1::Request::Change(change) => return self.change(change, request).await,
            v1::Request::Look(Look::Queues(select)) => self.look(Look::Queues(Select { only, ..select }), slot).await,
            v1::Request::Look(look) => self.look(look, slot).await,
        };
        let answer = answered.unwrap_or_else(|error| problem::store_error(&error));
        // A body means nothing here and is not read.
        answer::unread(answer, request.body())
    }

    /// Whether somebody may ask for this, and which queues it may see.
    fn may_see(
        &self,
        asked: &v1::Request,
        headers: &HeaderMap,
        client: Client,
    ) -> Result<Option<Vec<Pattern>>, Denial> {
        if asked.changes() {
            self.gate.page(headers)?;
        }
        let need = asked.need();
        if need == Need::Nothing {
            return Ok(None);
        }
        let pass = self.gate.enter(headers, client, need)?;
        if let (Need::Right(right), Some(queue)) = (need, asked.queue()) {
            pass.may(right, queue)?;
        }
        Ok(pass.queues())
    }

    async fn look(&self, look: Look, slot: &Slot) -> Result<Answer, StoreError> {
        let _turn = match look {
            // Whether the process answers must not depend on how busy it is.
            Look::Health | Look::Ready | Look::OpenApi => None,
            // It is never closed.
            _ => self.shown.turns.acquire().await.ok(),
        };
        Ok(match look {
            Look::Queues(select) => self.show_queues(select).await?,
            Look::Queue { queue } => match self.broker.report(&queue).await? {
                Some(report) => json_of(&self.queue_json(&report, now_ms())),
                None => problem::unknown_queue(),
            },
            Look::Messages { queue, window } => match self.broker.peek(&queue, window).await? {
                Some(peek) => document(JSON, json::messages(&queue, &peek)),
                None => problem::unknown_queue(),
            },
            Look::Stats => self.show_stats().await?,
            Look::Metrics => self.show_metrics().await?,
            Look::Health => document(JSON, r#"{"status":"ok"}"#),
            Look::Ready => match self.broker.trouble() {
                _ if *slot.stop.borrow() => problem::not_ready("stopping", "httpmq is stopping"),
                Some(trouble) => problem::trouble(&trouble),
                None => document(JSON, r#"{"status":"ready"}"#),
            },
            Look::OpenApi => document(YAML, OPENAPI),
        })
    }

    async fn show_queues(&self, select: Select) -> Result<Answer, StoreError> {
        let pages = select.sort == Sort::Name;
        let listing = self.broker.list(select).await?;
        let now_ms = now_ms();
        let next = listing.queues.last().filter(|_| listing.more && pages).map(|queue| &*queue.name);
        Ok(json_of(&QueuesJson {
            queues: listing.queues.iter().map(|report| self.queue_json(report, now_ms)).collect(),
            matched: listing.matched,
            next,
        }))
    }

    pub(super) fn queue_json<'a>(&self, report: &'a QueueReport, now_ms: u64) -> QueueJson<'a> {
        QueueJson::new(report, self.shown.live.subscribers(&report.name), now_ms)
    }

    async fn show_stats(&self) -> Result<Answer, StoreError> {
        let store = self.broker.overview().await?;
        let Shown { live, started, started_ms, .. } = &self.shown;
        let trouble = self.broker.trouble().map(|trouble| trouble.to_string());
        let [http, coremq] = self.shown.listeners();
        let connections = json::ConnectionsJson { http: http.open, coremq: coremq.open };
        let uptime_s = started.elapsed().as_secs_f64();
        Ok(json_of(&StatsJson::new(&store, live.report(), &connections, trouble, *started_ms, uptime_s)))
    }

    async fn show_metrics(&self) -> Result<Answer, StoreError> {
        let all =
            Select { text: String::new(), after: None, sort: Sort::Name, limit: usize::MAX, only: None, ages: false };
        let listing = self.broker.list(all).await?;
        let mut queues = self.shown.named.lock().unwrap_or_else(PoisonError::into_inner).choose(listing, Scrape::REST);
        // Only of those with a name: an age may have to be read from the disk.
        for (name, queue) in &mut queues.named {
            queue.oldest_unread_ms = self.broker.report(name).await?.and_then(|report| report.oldest_unread_ms);
        }
        let scrape = Scrape {
            store: self.broker.overview().await?,
            queues,
            is_ready: self.broker.trouble().is_none(),
            live: self.shown.live.report(),
            listeners: self.shown.listeners().into(),
            certificate_ends_s: self.shown.tls.as_ref().map(|tls| tls.not_after_s()),
            process: Process::now(),
            started_ms: self.shown.started_ms,
            now_ms: now_ms(),
        };
        let text = metrics::text(scrape).map_err(|error| StoreError::Failed(error.to_string()))?;
        Ok(document(HeaderValue::from_static(metrics::CONTENT_TYPE), text))
    }
}

pub(super) fn json_of(value: &impl serde::Serialize) -> Answer {
    // Names and numbers: there is nothing in it that could fail to be JSON.
    document(JSON, serde_json::to_vec(value).unwrap_or_default())
}

/// What is shown is as it was when it was asked for, so nobody is to keep it.
fn document(kind: HeaderValue, text: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(text.into()));
    answer.headers_mut().insert(CONTENT_TYPE, kind);
    answer.headers_mut().insert(CACHE_CONTROL, NO_STORE);
    answer
}
