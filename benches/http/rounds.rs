//! Rounds on servers in turn, so that whatever else the machine does meets all of them.

use std::{collections::BTreeMap, error::Error, io, path::PathBuf, time::Duration};

use tempfile::TempDir;

use crate::{
    answer::{self, Judge},
    disk,
    figures::thousands,
    load::{Load, Outcome, Until},
    neighbours::Neighbour,
    processors::{self, Shares, Used},
    queue::{Queues, Work},
    server::Server,
    stop,
};

/// An answer later than this is an error: nothing in a benchmark may take so long.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// A queue holds this many messages unless it is told otherwise; more are never filled in for a round.
const FILL_MAX: u64 = 1_000_000;
/// Nor more bytes, so that rounds of large messages begin in time; they end early instead.
const FILL_BYTES_MAX: u64 = 2 << 30;
/// A queue is filled with more than the server's fastest round so far would take out of it.
const FILL_MARGIN: f64 = 1.5;
/// What is filled in for the warm-up of gets; a server that is faster ends it early.
const FIRST_GETS_PER_S: f64 = 50_000.0;
/// The disk alone is measured for so long in each round, or for a round if that is shorter.
const DISK_ROUND_MAX: Duration = Duration::from_secs(1);

/// One kind of load, to be put on all servers.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) work: Work,
    pub(crate) connections: usize,
    /// Bytes of the text in a message.
    pub(crate) size: usize,
    pub(crate) rounds: usize,
    pub(crate) round: Duration,
    pub(crate) warm_up: Duration,
    /// Where to measure what the disk alone does, if that is of interest.
    pub(crate) disk: Option<Disk>,
}

/// The disk reference: records of a size, in a directory.
#[derive(Clone, Debug)]
pub(crate) struct Disk {
    pub(crate) dir: PathBuf,
    pub(crate) record_bytes: usize,
}

/// A server under load.
pub(crate) struct Subject {
    /// Its name among the others.
    pub(crate) name: String,
    pub(crate) server: Server,
    pub(crate) queues: Queues,
    pub(crate) holds: Holds,
    /// It is another queue than the daemon, and asked in its own way.
    pub(crate) neighbour: Option<Neighbour>,
    /// Requests a second; `None`: as many as it can.
    pub(crate) per_s: Option<f64>,
    /// The directory of its store. It goes after the server: fields are dropped in this order.
    pub(crate) store: Option<TempDir>,
}

/// What a server keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holds {
    /// It forgets, as the floor does.
    Nothing,
    /// What a round needs: nothing for puts; for gets, more than they take.
    AsNeeded,
    /// So many messages at least, all the time.
    Backlog(u64),
}

/// One measured round.
#[derive(Clone, Debug)]
pub(crate) struct Round {
    pub(crate) outcome: Outcome,
    /// Who used the processors meanwhile; nothing where that cannot be known.
    pub(crate) shares: Option<Shares>,
}

/// All rounds.
#[derive(Clone, Debug)]
pub(crate) struct Rounds {
    /// In the order of the subjects.
    pub(crate) of: Vec<Vec<Round>>,
    pub(crate) disk: Vec<Round>,
    /// What a reader of the figures must know.
    pub(crate) notes: Vec<String>,
}

/// Warms all servers up, then measures them in turn; the first is the one that the others are compared with.
///
/// # Errors
/// A server fails, answers anything wrong, or its queues do not hold what it said it stored.
pub(crate) fn alternate(plan: &Plan, subjects: &[Subject]) -> Result<Rounds, Box<dyn Error>> {
    let mut rounds = Rounds { of: vec![Vec::new(); subjects.len()], disk: Vec::new(), notes: Vec::new() };
    let mut fastest_per_s = Vec::with_capacity(subjects.len());
    for subject in subjects {
        subject.prepare(plan, FIRST_GETS_PER_S * plan.warm_up.as_secs_f64())?;
        fastest_per_s.push(subject.measure(plan, plan.warm_up)?.outcome.per_s());
    }
    for number in 1..=plan.rounds {
        // A, B, C, C, B, A …: a drift of the machine favours none.
        let mut order: Vec<usize> = (0..subjects.len()).collect();
        if number % 2 == 0 {
            order.reverse();
        }
        for at in order {
            subjects[at].prepare(plan, fastest_per_s[at] * plan.round.as_secs_f64() * FILL_MARGIN)?;
            rounds.notes.extend(unrest(subjects, number));
            let round = subjects[at].measure(plan, plan.round)?;
            fastest_per_s[at] = fastest_per_s[at].max(round.outcome.per_s());
            rounds.of[at].push(round);
        }
        if let Some(disk) = &plan.disk {
            rounds.disk.push(disk.measure(plan.round.min(DISK_ROUND_MAX))?);
        }
        let rates = subjects.iter().zip(&rounds.of).map(|(subject, list)| {
            let per_s = list.last().map_or(0.0, |round| round.outcome.per_s());
            format!("{} {}/s", subject.name, thousands(per_s))
        });
        eprintln!("  round {number}/{}: {}", plan.rounds, rates.collect::<Vec<_>>().join("; "));
    }
    Ok(rounds)
}

impl Subject {
    /// Makes the queues what a round needs that takes so many messages.
    fn prepare(&self, plan: &Plan, messages: f64) -> Result<(), Box<dyn Error>> {
        let most = FILL_MAX.min(FILL_BYTES_MAX / plan.size.max(1) as u64);
        let needed = most.min(messages as u64);
        match (self.holds, plan.work) {
            (Holds::Nothing, _) => Ok(()),
            (Holds::AsNeeded, Work::Put) => self.queues.reset(),
            (Holds::AsNeeded, Work::Get) => self.queues.fill(needed),
            (Holds::Backlog(messages), Work::Put) => self.queues.fill(messages),
            (Holds::Backlog(messages), Work::Get) => self.queues.fill(messages.max(needed)),
        }
    }

    fn measure(&self, plan: &Plan, duration: Duration) -> Result<Round, Box<dyn Error>> {
        self.measure_unnamed(plan, duration).map_err(|error| {
            let (name, log) = (&self.name, self.server.last_lines());
            format!("{name}, {} on {} connections: {error}\n{log}", plan.work.name(), plan.connections).into()
        })
    }

    fn measure_unnamed(&self, plan: &Plan, duration: Duration) -> Result<Round, Box<dyn Error>> {
        let (requests, judge): (_, Judge<'_>) = match &self.neighbour {
            Some(neighbour) => (vec![neighbour.request(plan.size)], &|bytes| neighbour.verdict(bytes)),
            None => (self.queues.requests(plan.work), &answer::verdict),
        };
        let load = Load {
            addr: self.server.addrs[0],
            judge,
            connections: plan.connections,
            requests: &requests,
            per_s: self.per_s,
            until: Until::Time(duration),
            answer_timeout: ANSWER_TIMEOUT,
        };
        let stores = self.holds != Holds::Nothing;
        let unread_before = stores.then(|| self.queues.unread()).transpose()?;
        let pid = Some(self.server.pid());
        let used = Used::now(pid);
        let outcome = load.run()?;
        // Ctrl-C reaches the servers too: what it breaks is no error of theirs.
        stop::check()?;
        let outcome = outcome.checked()?;
        let shares = used.and_then(|used| used.shares(pid));
        if outcome.answers == 0 {
            return Err("not one answer in time".into());
        }
        if let Some(before) = unread_before {
            check_books(before, self.queues.unread()?, &outcome)?;
        }
        Ok(Round { outcome, shares })
    }
}

impl Disk {
    fn measure(&self, duration: Duration) -> io::Result<Round> {
        let disk::Synced { count, elapsed, latency_ns } =
            disk::append_and_sync(&self.dir, self.record_bytes, duration)?;
        let (answers, late_answers, refused, errors) = (count, 0, None, BTreeMap::new());
        Ok(Round { outcome: Outcome { answers, late_answers, elapsed, latency_ns, refused, errors }, shares: None })
    }
}

/// Waits until the servers have nothing left to do, and says which of them never came to that.
fn unrest(subjects: &[Subject], number: usize) -> Vec<String> {
    let busy = subjects.iter().filter(|subject| !processors::wait_for_rest(subject.server.pid()));
    busy.map(|subject| format!("{} was still at work before round {number}", subject.name)).collect()
}

/// As many messages must have come into the queues, or gone out of them, as requests were answered with code 1.
fn check_books(before: u64, after: u64, outcome: &Outcome) -> Result<(), String> {
    let served = outcome.answers + outcome.late_answers;
    if before.abs_diff(after) == served {
        return Ok(());
    }
    Err(format!("{served} requests were served, yet unread went from {before} to {after}"))
}
