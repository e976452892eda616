//! Rounds on two servers in turn, so that whatever else the machine does meets both of them.

use std::{error::Error, time::Duration};

use crate::{
    QUEUE,
    figures::thousands,
    load::{Load, Outcome, Until},
    processors::{self, Shares, Used},
    queue::{Queue, Work},
    server::Server,
    stop,
};

/// An answer later than this is an error: nothing in a benchmark may take so long.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// A queue holds this many messages unless it is told otherwise; more are never filled in.
const FILL_MAX: u64 = 1_000_000;
/// A queue is filled with more than the fastest round so far, of either server, would take out of it.
const FILL_MARGIN: f64 = 1.3;

/// One kind of load, to be put on both servers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) work: Work,
    pub(crate) connections: usize,
    pub(crate) size: usize,
    pub(crate) rounds: usize,
    pub(crate) round: Duration,
    pub(crate) warm_up: Duration,
}

/// A server under load, with its queue if it has one.
pub(crate) struct Subject<'a> {
    pub(crate) server: &'a Server,
    pub(crate) queue: Option<Queue>,
}

/// One measured round.
#[derive(Clone, Debug)]
pub(crate) struct Round {
    pub(crate) outcome: Outcome,
    /// Who used the processors meanwhile; nothing where that cannot be known.
    pub(crate) shares: Option<Shares>,
}

/// All rounds on both servers, in the order of the subjects.
#[derive(Clone, Debug)]
pub(crate) struct Rounds {
    pub(crate) of: [Vec<Round>; 2],
    /// What a reader of the figures must know.
    pub(crate) notes: Vec<String>,
}

/// Warms both servers up, then measures them in turn; the first is the one that the second is compared with.
///
/// # Errors
/// A server fails, answers anything wrong, or its queue does not hold what it said it stored.
pub(crate) fn alternate(plan: &Plan, subjects: &[Subject<'_>; 2]) -> Result<Rounds, Box<dyn Error>> {
    let mut rounds = Rounds { of: [Vec::new(), Vec::new()], notes: Vec::new() };
    let mut fastest_per_s = 0.0_f64;
    for subject in subjects {
        subject.prepare(plan, fastest_per_s)?;
        fastest_per_s = fastest_per_s.max(subject.measure(plan, plan.warm_up)?.outcome.per_s());
    }
    for number in 1..=plan.rounds {
        // A, B, B, A …: a drift of the machine favours neither.
        let order = if number % 2 == 1 { [0, 1] } else { [1, 0] };
        for at in order {
            subjects[at].prepare(plan, fastest_per_s)?;
            for Subject { server, .. } in subjects {
                if !processors::wait_for_rest(server.pid()) {
                    rounds.notes.push(format!("{} was still at work before round {number}", server.name));
                }
            }
            let round = subjects[at].measure(plan, plan.round)?;
            fastest_per_s = fastest_per_s.max(round.outcome.per_s());
            rounds.of[at].push(round);
        }
        let rates = subjects.iter().zip(&rounds.of).map(|(subject, list)| {
            let per_s = list.last().map_or(0.0, |round| round.outcome.per_s());
            format!("{} {}/s", subject.server.name, thousands(per_s))
        });
        eprintln!("  round {number}/{}: {}", plan.rounds, rates.collect::<Vec<_>>().join(", "));
    }
    Ok(rounds)
}

impl Subject<'_> {
    /// Makes the queue what a round needs: empty for puts; for gets, as full as a server with this rate could want it.
    fn prepare(&self, plan: &Plan, per_s: f64) -> Result<(), Box<dyn Error>> {
        match (&self.queue, plan.work) {
            (None, _) => Ok(()),
            (Some(queue), Work::Put) => queue.reset(),
            (Some(queue), Work::Get) => {
                let wanted = per_s * plan.round.as_secs_f64() * FILL_MARGIN;
                queue.fill(FILL_MAX.min(wanted as u64))
            }
        }
    }

    fn measure(&self, plan: &Plan, duration: Duration) -> Result<Round, Box<dyn Error>> {
        self.measure_unnamed(plan, duration).map_err(|error| {
            let (name, log) = (self.server.name, self.server.last_lines());
            format!("{name}, {} on {} connections: {error}\n{log}", plan.work.name(), plan.connections).into()
        })
    }

    fn measure_unnamed(&self, plan: &Plan, duration: Duration) -> Result<Round, Box<dyn Error>> {
        let (addr, connections, until) = (self.server.addrs[0], plan.connections, Until::Time(duration));
        let request = plan.work.request(addr, QUEUE, plan.size);
        let load = Load { addr, connections, request: &request, until, answer_timeout: ANSWER_TIMEOUT };
        let unread_before = self.queue.map(|queue| queue.unread()).transpose()?;
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
        if let (Some(queue), Some(before)) = (self.queue, unread_before) {
            check_books(before, queue.unread()?, &outcome)?;
        }
        Ok(Round { outcome, shares })
    }
}

/// As many messages must have come into the queue, or gone out of it, as requests were answered with code 1.
fn check_books(before: u64, after: u64, outcome: &Outcome) -> Result<(), String> {
    let served = outcome.answers + outcome.late_answers;
    if before.abs_diff(after) == served {
        return Ok(());
    }
    Err(format!("{served} requests were served, yet unread went from {before} to {after}"))
}
