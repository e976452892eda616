//! A run: its connections are made, driven until all is answered, and its books closed.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::pin;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use indicatif::ProgressBar;
use tokio::task::unconstrained;

use super::books::Books;
use super::http::{self, Messages, Worker};
use super::live::{self, Publisher, Subscriber};
use super::load::{Early, Load, whole};
use super::plan::Plan;
use super::text::Texts;
use crate::client::progress;
use crate::client::stop::{Exit, Stop};
use crate::http::client::Server;
use crate::pubsub::client as coremq;

/// How often the clock, the terminal and the end are looked at.
const TICK: Duration = Duration::from_millis(20);
/// How long nothing may come before what is still missing is lost.
const SETTLE: Duration = Duration::from_secs(10);

/// What a run came to.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) load: Load,
    pub(super) books: Books,
}

/// Puts, gets, or both.
pub(super) async fn requests(
    plan: &Plan,
    server: &Server,
    texts: &Texts,
    messages: &Messages,
) -> Result<Outcome, Stop> {
    let books = RefCell::new(Books::new(http::kinds(plan.work))?);
    let load = Load::new(plan.amount);
    let shared = http::Shared { work: plan.work, pipeline: plan.pipeline, texts, load: &load, books: &books, messages };
    let mut workers = Vec::with_capacity(plan.connections);
    for _ in 0..plan.connections {
        workers.push(Worker::open(server, &plan.queue, shared).await?);
    }
    load.start();
    let running: FuturesUnordered<_> = workers.into_iter().map(Worker::run).collect();
    drive(&load, &books, running, no_readers(), |_| true).await;
    Ok(Outcome { load, books: books.into_inner() })
}

/// Publishes and deliveries.
pub(super) async fn deliveries(plan: &Plan, server: &coremq::Server, texts: &Texts) -> Result<Outcome, Stop> {
    let books = RefCell::new(Books::new(http::kinds(plan.work))?);
    let load = Load::new(plan.amount);
    let published = Cell::new(0);
    let (queue, pipeline, publishers) = (plan.queue.as_str(), plan.pipeline, plan.connections as u64);
    let shared = live::Shared { queue, publishers, pipeline, texts, load: &load, books: &books, published: &published };
    let (mut writing, mut reading) = (Vec::new(), Vec::new());
    for _ in 0..plan.subscribers {
        reading.push(Subscriber::open(server, shared).await?);
    }
    for place in 0..publishers {
        writing.push(Publisher::open(server, place, shared).await?);
    }
    load.start();
    let writing: FuturesUnordered<_> = writing.into_iter().map(Publisher::run).collect();
    let reading: FuturesUnordered<_> = reading.into_iter().map(Subscriber::run).collect();
    let expected = || published.get() * plan.subscribers as u64;
    drive(&load, &books, writing, reading, |books| books.done[0] >= expected()).await;
    let mut books = books.into_inner();
    // Lost connections explain what is missing.
    if books.failure().is_none() {
        let missing = expected().saturating_sub(books.done[0]);
        books.wrong(missing, "a message was not delivered", Exit::Refused);
    }
    Ok(Outcome { load, books })
}

fn no_readers() -> FuturesUnordered<std::future::Ready<()>> {
    FuturesUnordered::new()
}

/// Lets all connections work until those that write have ended, and then until `is_settled`.
async fn drive(
    load: &Load,
    books: &RefCell<Books>,
    mut writing: FuturesUnordered<impl Future<Output = ()>>,
    mut reading: FuturesUnordered<impl Future<Output = ()>>,
    is_settled: impl Fn(&Books) -> bool,
) {
    let bar = progress::bar(Some(1000), "{bar:30} {percent:>3}% {msg}");
    let mut tick = tokio::time::interval(TICK);
    let mut interrupt = pin!(tokio::signal::ctrl_c());
    let mut interrupted = false;
    // Each connection gives way by itself: it waits for an answer after each request.
    while !writing.is_empty() || (!reading.is_empty() && !is_settled(&books.borrow())) {
        tokio::select! {
            biased;
            _ = &mut interrupt, if !interrupted => {
                interrupted = true;
                load.end_early(Early::Interrupted);
            }
            now = tick.tick() => {
                draw(bar.as_ref(), load, &books.borrow());
                if is_over(load, &mut books.borrow_mut(), now.into_std(), writing.len()) {
                    break;
                }
            }
            _ = unconstrained(writing.next()), if !writing.is_empty() => {}
            _ = unconstrained(reading.next()), if !reading.is_empty() => {}
        }
    }
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
}

/// Whether it is of no use to wait any longer.
fn is_over(load: &Load, books: &mut Books, now: Instant, writing: usize) -> bool {
    let silent = now.saturating_duration_since(books.last.max(load.started()));
    if writing > 0 && silent > load.patience() {
        books.wrong(writing as u64, &format!("no answer within {} s", load.patience().as_secs()), Exit::NoConnection);
        return true;
    }
    writing == 0 && silent > SETTLE
}

fn draw(bar: Option<&ProgressBar>, load: &Load, books: &Books) {
    if let Some(bar) = bar {
        bar.set_position(whole(load.done() * 1000.0));
        bar.set_message(progress::rate(books.counted, load.started().elapsed()));
    }
}
