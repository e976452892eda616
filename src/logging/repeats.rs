//! Lines that come again and again: a few are written, the others counted. Without a clock of its own.
//!
//! A thousand subscribers that are dropped at a time are one event to whoever reads the log, and a client that makes httpmq write a
//! line for each of its requests must not fill the disk with them.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use log::{Level, Record};

/// So many lines of one site are written within a second: enough to see what they have in common.
const LINES_PER_S: u32 = 5;
/// Once there were more, the site is silent for this long; then it says how many were left out, and may speak again.
const SILENCE: Duration = Duration::from_secs(10);

/// File and line of the source that writes the record.
pub(super) type Site = (&'static str, u32);

/// The sites that have written something. There are as many as the sources have, at most.
#[derive(Debug, Default)]
pub(super) struct Repeats {
    sites: HashMap<Site, State>,
}

#[derive(Debug)]
struct State {
    /// When the second began in which `lines` were written.
    began: Instant,
    lines: u32,
    silent: Option<Silent>,
}

#[derive(Debug)]
struct Silent {
    since: Instant,
    count: u64,
    level: Level,
    target: String,
    /// The first line that was left out: the others are like it.
    first: String,
}

/// What is to be said instead of lines that were left out.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LeftOut {
    pub(super) level: Level,
    pub(super) target: String,
    pub(super) text: String,
}

impl Repeats {
    /// Whether this record of a site is to be written. To be asked behind [`Repeats::over`].
    pub(super) fn take(&mut self, site: Site, now: Instant, record: &Record<'_>) -> bool {
        let state = self.sites.entry(site).or_insert(State { began: now, lines: 0, silent: None });
        if let Some(silent) = &mut state.silent {
            silent.count += 1;
            return false;
        }
        if now.saturating_duration_since(state.began) >= Duration::from_secs(1) {
            (state.began, state.lines) = (now, 0);
        }
        if state.lines < LINES_PER_S {
            state.lines += 1;
            return true;
        }
        let (target, first) = (record.target().to_owned(), record.args().to_string());
        state.silent = Some(Silent { since: now, count: 1, level: record.level(), target, first });
        false
    }

    /// What is to be said of those whose silence is over. They may speak again.
    pub(super) fn over(&mut self, now: Instant) -> Vec<LeftOut> {
        self.end(now, SILENCE)
    }

    /// What is to be said of all, because nothing more comes.
    pub(super) fn all(&mut self, now: Instant) -> Vec<LeftOut> {
        self.end(now, Duration::ZERO)
    }

    fn end(&mut self, now: Instant, least: Duration) -> Vec<LeftOut> {
        let mut left_out = Vec::new();
        for state in self.sites.values_mut() {
            let Some(silent) = state.silent.take_if(|silent| now.saturating_duration_since(silent.since) >= least)
            else {
                continue;
            };
            (state.began, state.lines) = (now, 0);
            let Silent { since, count, level, target, first } = silent;
            let took_s = now.saturating_duration_since(since).as_secs_f64().ceil().max(1.0);
            left_out.push(LeftOut {
                level,
                target,
                text: format!("… {count} more like this in the last {took_s} s: {first}"),
            });
        }
        left_out
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // A failed test may panic.
mod tests {
    use super::*;

    const A: Site = ("a.rs", 1);
    const B: Site = ("b.rs", 1);

    fn take(repeats: &mut Repeats, site: Site, now: Instant, text: &str) -> bool {
        repeats.take(site, now, &Record::builder().level(Level::Warn).target("t").args(format_args!("{text}")).build())
    }

    #[test]
    fn a_thousand_lines_at_once_are_a_handful() {
        let (mut repeats, start) = (Repeats::default(), Instant::now());
        let written: u32 = (0..1000).map(|n| u32::from(take(&mut repeats, A, start, &n.to_string()))).sum();
        assert_eq!(written, LINES_PER_S);
        assert!(take(&mut repeats, B, start, "another site"), "others are not silent");
        assert_eq!(repeats.over(start + SILENCE / 2), []);
        let said = repeats.over(start + SILENCE);
        let text = "… 995 more like this in the last 10 s: 5".to_owned();
        assert_eq!(said, [LeftOut { level: Level::Warn, target: "t".to_owned(), text }]);
        assert_eq!(repeats.over(start + SILENCE), [], "it is said once");
        assert!(take(&mut repeats, A, start + SILENCE, "again"));
    }

    #[test]
    fn a_line_now_and_then_is_always_written() {
        let (mut repeats, start) = (Repeats::default(), Instant::now());
        for n in 0..100 {
            assert!(take(&mut repeats, A, start + Duration::from_millis(250) * n, "now and then"));
        }
        assert_eq!(repeats.all(start), []);
    }

    #[test]
    fn what_was_left_out_is_said_at_the_end() {
        let (mut repeats, start) = (Repeats::default(), Instant::now());
        (0..7).for_each(|_| assert!(take(&mut repeats, A, start, "full") || repeats.sites[&A].silent.is_some()));
        assert_eq!(repeats.all(start)[0].text, "… 2 more like this in the last 1 s: full");
    }
}
