//! How far a command is: a line on the terminal while it runs; of an import, also the sentence at its end.

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use rustix::fs::{FileType, SeekFrom, fstat, seek};

use super::counted;

/// How often the line is drawn: fast enough to look alive, seldom enough to cost nothing.
const REDRAW: Duration = Duration::from_millis(100);

/// The progress of an import, shown only when a person watches stderr.
pub(super) struct Progress {
    bar: Option<ProgressBar>,
    started: Instant,
    drawn: Instant,
    lines: u64,
    bytes: u64,
}

impl Progress {
    /// Starts the clock. When stdin is a regular file, its size makes the line a bar.
    pub(super) fn start() -> Progress {
        let bar = match stdin_bytes() {
            None => bar(None, "{spinner} {msg}"),
            total_bytes => bar(total_bytes, "{bar:30} {percent:>3}% {msg}"),
        };
        let now = Instant::now();
        Progress { bar, started: now, drawn: now, lines: 0, bytes: 0 }
    }

    /// One line of so many bytes is stored, or published.
    pub(super) fn stored(&mut self, bytes: u64) {
        self.lines += 1;
        self.bytes += bytes;
        if let Some(bar) = &self.bar
            && self.drawn.elapsed() >= REDRAW
        {
            self.drawn = Instant::now();
            bar.set_message(format!("{}, {}", counted(self.lines, "line"), rate(self.lines, self.started.elapsed())));
            bar.set_position(self.bytes);
        }
    }

    /// Takes the line away and tells how long it took; `done` is what was done to the lines.
    pub(super) fn finish(self, done: &str) -> String {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        let taken = self.started.elapsed();
        let lines = counted(self.lines, "line");
        format!("{lines} {done} in {:.1} s ({})", taken.as_secs_f64(), rate(self.lines, taken))
    }
}

/// A line on the terminal; `None` when nobody watches stderr.
pub(super) fn bar(length: Option<u64>, template: &str) -> Option<ProgressBar> {
    if !io::stderr().is_terminal() {
        return None;
    }
    let bar = ProgressBar::with_draw_target(length, ProgressDrawTarget::stderr());
    // A template that indicatif does not like would only make the line look different.
    bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
    Some(bar)
}

/// How many bytes are still to be read from stdin, when it is a regular file.
fn stdin_bytes() -> Option<u64> {
    let stdin = io::stdin();
    let stat = fstat(&stdin).ok().filter(|stat| FileType::from_raw_mode(stat.st_mode).is_file())?;
    let start = seek(&stdin, SeekFrom::Current(0)).ok()?;
    u64::try_from(stat.st_size).ok()?.checked_sub(start)
}

pub(super) fn rate(lines: u64, taken: Duration) -> String {
    // Less than a tick of any clock counts as one, so that nothing is divided by zero.
    let per_s = lines as f64 / taken.as_secs_f64().max(0.001);
    if per_s < 10_000.0 { format!("{per_s:.0}/s") } else { format!("{:.0} k/s", per_s / 1000.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_short() {
        for (lines, ms, shown) in [(0, 0, "0/s"), (1, 2000, "0/s"), (950, 1000, "950/s"), (100_000, 2100, "48 k/s")] {
            assert_eq!(rate(lines, Duration::from_millis(ms)), shown);
        }
    }
}
