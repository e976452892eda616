//! Whether a WebSocket client is still there, and whether it takes for ever over one message. Rules over given times.

use std::time::Duration;

use tokio::time::Instant;

/// How often a client is asked whether it is still there. Shorter than the minute after which proxies forget a silent connection.
pub(super) const PING_EVERY: Duration = Duration::from_secs(30);

/// What is known of one connection.
#[derive(Debug)]
pub(super) struct Pulse {
    /// How long an answer to a ping may take.
    answer: Duration,
    /// How long a message may take from its first byte.
    message: Duration,
    ping_at: Instant,
    asked: Option<Asked>,
}

/// How the connection looks now.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    pub(super) now: Instant,
    /// Bytes read since the beginning.
    pub(super) read_bytes: u64,
    /// When the message began that is not whole yet.
    pub(super) began: Option<Instant>,
    /// Bytes that wait to be sent.
    pub(super) backlog_bytes: usize,
}

/// What is to be done about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Fine,
    Ask,
    /// A message does not come to its end.
    Slow,
    /// Nobody answers.
    Gone,
}

#[derive(Debug)]
struct Asked {
    since: Instant,
    read_bytes: u64,
}

impl Pulse {
    pub(super) fn new(now: Instant, answer: Duration, message: Duration) -> Pulse {
        Pulse { answer, message, ping_at: now + PING_EVERY, asked: None }
    }

    /// How often to look: deadlines are kept to a quarter.
    pub(super) fn period(&self) -> Duration {
        self.answer.min(self.message).min(PING_EVERY) / 4
    }

    pub(super) fn look(&mut self, look: Look) -> Verdict {
        let Look { now, read_bytes, began, backlog_bytes } = look;
        if began.is_some_and(|began| now >= began + self.message) {
            return Verdict::Slow;
        }
        match &mut self.asked {
            None if now >= self.ping_at => {
                self.asked = Some(Asked { since: now, read_bytes });
                self.ping_at = now + PING_EVERY;
                return Verdict::Ask;
            }
            None => {}
            // In the middle of a long message a client cannot say more; that has its own deadline.
            Some(asked) if asked.read_bytes != read_bytes => self.asked = None,
            // The ping may not be sent yet. Whether what is in front of it is taken, the writer knows.
            Some(asked) if backlog_bytes > 0 => asked.since = now,
            Some(asked) if now >= asked.since + self.answer => return Verdict::Gone,
            Some(_) => {}
        }
        Verdict::Fine
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: Duration = Duration::from_secs(10);
    const MESSAGE: Duration = Duration::from_secs(20);

    /// What comes of looks at these times (in seconds) with these bytes read and waiting.
    fn verdicts(looks: &[(u64, u64, usize)]) -> Vec<Verdict> {
        let start = Instant::now();
        let mut pulse = Pulse::new(start, ANSWER, MESSAGE);
        let look = |(s, read_bytes, backlog_bytes): &(u64, u64, usize)| {
            let now = start + Duration::from_secs(*s);
            pulse.look(Look { now, read_bytes: *read_bytes, began: None, backlog_bytes: *backlog_bytes })
        };
        looks.iter().map(look).collect()
    }

    #[test]
    fn who_answers_pings_stays() {
        use Verdict::{Ask, Fine};
        let looks = [(29, 0, 0), (30, 0, 0), (39, 0, 0), (40, 6, 0), (59, 6, 0), (60, 6, 0), (69, 12, 0), (90, 12, 0)];
        assert_eq!(verdicts(&looks), [Fine, Ask, Fine, Fine, Fine, Ask, Fine, Ask]);
    }

    #[test]
    fn who_does_not_is_gone() {
        assert_eq!(verdicts(&[(30, 5, 0), (39, 5, 0), (40, 5, 0)]), [Verdict::Ask, Verdict::Fine, Verdict::Gone]);
    }

    #[test]
    fn a_ping_that_waits_to_be_sent_is_not_late() {
        use Verdict::{Ask, Fine, Gone};
        assert_eq!(verdicts(&[(30, 0, 9), (60, 0, 9), (69, 0, 0), (70, 0, 0)]), [Ask, Fine, Fine, Gone]);
    }

    #[test]
    fn a_message_has_its_time() {
        let start = Instant::now();
        let mut pulse = Pulse::new(start, ANSWER, MESSAGE);
        let mut look = |s, bytes| {
            let now = start + Duration::from_secs(s);
            pulse.look(Look { now, read_bytes: bytes, began: Some(start), backlog_bytes: 0 })
        };
        assert_eq!((look(19, 1), look(20, 2)), (Verdict::Fine, Verdict::Slow));
    }
}
