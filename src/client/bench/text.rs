//! The messages of a benchmark: texts that say which run they belong to, their number and their time. Pure.
//!
//! ```text
//! httpmq-bench/1f0c8a52/0000000017/0000123456/xxxx…
//! mark         run      number     µs        filling
//! ```

/// How all these messages begin; so a queue that holds them is known to be a benchmark's.
const MARK: &str = "httpmq-bench/";
const RUN_DIGITS: usize = 8;
const NUMBER_DIGITS: usize = 10;
const TIME_DIGITS: usize = 10;
const NUMBER_AT: usize = MARK.len() + RUN_DIGITS + 1;
const TIME_AT: usize = NUMBER_AT + NUMBER_DIGITS + 1;

/// No text is shorter.
pub(super) const MIN_BYTES: usize = TIME_AT + TIME_DIGITS + 1;
/// No message has a number from here on.
pub(super) const MAX_MESSAGES: u64 = 10_000_000_000;

/// The texts of one run.
#[derive(Debug, Clone)]
pub(super) struct Texts {
    /// The first of them.
    text: String,
}

/// What a text says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) number: u64,
    /// Since the start of the run.
    pub(super) time_us: u64,
}

/// Bytes with a text in them that is written anew each time.
#[derive(Debug, Clone)]
pub(super) struct Template {
    bytes: Vec<u8>,
    text_at: usize,
}

impl Texts {
    /// Texts of `size` bytes, [`MIN_BYTES`] at least.
    pub(super) fn new(run: u32, size: usize) -> Texts {
        let filling = "x".repeat(size.saturating_sub(MIN_BYTES));
        let (number, time) = (NUMBER_DIGITS, TIME_DIGITS);
        Texts { text: format!("{MARK}{run:08x}/{:0number$}/{:0time$}/{filling}", 0, 0) }
    }

    /// The message as JSON.
    pub(super) fn json(&self) -> String {
        format!("\"{}\"", self.text)
    }

    /// Bytes that have a text of this run in them.
    pub(super) fn template(&self, bytes: Vec<u8>) -> Option<Template> {
        let text_at = bytes.windows(self.text.len()).position(|part| part == self.text.as_bytes())?;
        Some(Template { bytes, text_at })
    }

    /// Reads a text, if it is one of this run, whole and unchanged.
    pub(super) fn read(&self, text: &[u8]) -> Option<Said> {
        let own = self.text.as_bytes();
        let same = text.len() == own.len()
            && text[..NUMBER_AT] == own[..NUMBER_AT]
            && text[MIN_BYTES - 1..] == own[MIN_BYTES - 1..]
            && text[TIME_AT - 1] == b'/';
        let number = |at: usize, digits: usize| {
            text[at..at + digits]
                .iter()
                .try_fold(0, |sum, byte| byte.is_ascii_digit().then(|| sum * 10 + u64::from(byte - b'0')))
        };
        (same.then_some(()))?;
        Some(Said { number: number(NUMBER_AT, NUMBER_DIGITS)?, time_us: number(TIME_AT, TIME_DIGITS)? })
    }
}

impl Template {
    /// The bytes with this in their text.
    pub(super) fn write(&mut self, Said { number, time_us }: Said) -> &[u8] {
        let mut digits = |at: usize, count: usize, mut value: u64| {
            let at = self.text_at + at;
            for byte in self.bytes[at..at + count].iter_mut().rev() {
                *byte = b'0' + u8::try_from(value % 10).unwrap_or_default();
                value /= 10;
            }
        };
        digits(NUMBER_AT, NUMBER_DIGITS, number);
        digits(TIME_AT, TIME_DIGITS, time_us);
        &self.bytes
    }
}

/// Whether a message, as JSON, is one of a benchmark, of whichever run.
pub(super) fn is_ours(json: &str) -> bool {
    json.strip_prefix('"').is_some_and(|text| text.starts_with(MARK))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // A failed test may panic.
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_nothing_else_is() {
        let texts = Texts::new(0x1f, 60);
        let mut template = texts.template(format!("head {} tail", texts.json()).into_bytes()).unwrap();
        let said = Said { number: 1_234_567_890, time_us: 42 };
        let bytes = template.write(said).to_vec();
        let text = &bytes[b"head \"".len()..bytes.len() - b"\" tail".len()];
        assert_eq!((text.len(), texts.read(text)), (60, Some(said)));
        for at in 0..text.len() {
            let mut wrong = text.to_vec();
            wrong[at] = b'?';
            assert_eq!(texts.read(&wrong), None, "{at}");
        }
        assert_eq!(texts.read(&text[1..]), None);
        assert_eq!(Texts::new(0x20, 60).read(text), None);
    }

    #[test]
    fn messages_of_any_run_are_known_as_ours() {
        let shortest = Texts::new(u32::MAX, 0);
        assert_eq!(shortest.json().len(), MIN_BYTES + 2);
        assert_eq!(MAX_MESSAGES.to_string().len(), NUMBER_DIGITS + 1);
        assert!(is_ours(&shortest.json()));
        assert!(!is_ours("\"resize 17.png\"") && !is_ours("{\"httpmq-bench/\":1}"));
    }
}
