//! Where the stream of a WebSocket client is: in the midst of what, and of how much. Pure.
//!
//! tungstenite reads the frames, and says nothing before a message is whole. How long that one will be, and whether it was begun at
//! all, is needed before.

/// The longest head of a frame (RFC 6455, section 5.2): two bytes, a length of eight, a mask of four.
const MAX_HEAD_BYTES: usize = 14;

/// What has come in of frames and messages.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// The head of a frame, as far as it came.
    head: [u8; MAX_HEAD_BYTES],
    head_bytes: usize,
    /// The payload of the frame whose head is there, and what is missing of it.
    frame_bytes: u64,
    missing_bytes: u64,
    /// The fragments of the message that are whole.
    message_bytes: u64,
    /// Fragments of a message have come, and not the last one.
    in_fragments: bool,
}

impl Progress {
    /// Notes bytes that came in.
    pub(super) fn note(&mut self, mut bytes: &[u8]) {
        while let Some((first, rest)) = bytes.split_first() {
            if self.missing_bytes > 0 {
                let here = usize::try_from(self.missing_bytes).unwrap_or(usize::MAX).min(bytes.len());
                self.missing_bytes -= here as u64;
                bytes = &bytes[here..];
            } else {
                self.head[self.head_bytes] = *first;
                self.head_bytes += 1;
                bytes = rest;
                if self.head_bytes < head_bytes(&self.head[..self.head_bytes]) {
                    continue;
                }
                self.begin_frame();
            }
            if self.missing_bytes == 0 {
                self.end_frame();
            }
        }
    }

    /// Whether nothing is begun: neither a frame nor a message.
    pub(super) fn is_whole(&self) -> bool {
        self.head_bytes == 0 && self.missing_bytes == 0 && !self.in_fragments
    }

    /// How many bytes may come that surely belong to the frame that is not whole, or to the head of the next one.
    pub(super) fn wanted_bytes(&self) -> usize {
        match self.missing_bytes {
            0 => head_bytes(&self.head[..self.head_bytes]) - self.head_bytes,
            missing_bytes => usize::try_from(missing_bytes).unwrap_or(usize::MAX),
        }
    }

    /// How much of what is not whole is there.
    pub(super) fn arrived_bytes(&self) -> usize {
        usize::try_from(self.begun_bytes() - self.missing_bytes).unwrap_or(usize::MAX)
    }

    /// How much that will be, when it is known: not while more fragments may follow.
    pub(super) fn announced_bytes(&self) -> Option<usize> {
        let is_known = self.missing_bytes > 0 && (self.is_control() || self.is_last());
        is_known.then(|| usize::try_from(self.begun_bytes()).unwrap_or(usize::MAX))
    }

    fn begun_bytes(&self) -> u64 {
        self.message_bytes.saturating_add(self.frame_bytes)
    }

    /// Whether the frame may come between the fragments of a message.
    fn is_control(&self) -> bool {
        self.head[0] & 0x08 != 0
    }

    fn is_last(&self) -> bool {
        self.head[0] & 0x80 != 0
    }

    fn begin_frame(&mut self) {
        self.frame_bytes = match self.head[1] & 0x7f {
            126 => u64::from(u16::from_be_bytes([self.head[2], self.head[3]])),
            127 => self.head[2..10].iter().fold(0, |length, byte| length << 8 | u64::from(*byte)),
            short => u64::from(short),
        };
        self.missing_bytes = self.frame_bytes;
    }

    fn end_frame(&mut self) {
        if !self.is_control() {
            self.in_fragments = !self.is_last();
            self.message_bytes = if self.in_fragments { self.begun_bytes() } else { 0 };
        }
        (self.head_bytes, self.frame_bytes) = (0, 0);
    }
}

/// How long the head is that begins so, as far as that can be said.
fn head_bytes(head: &[u8]) -> usize {
    let Some(second) = head.get(1) else { return 2 };
    let length = match second & 0x7f {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    let mask = if second & 0x80 != 0 { 4 } else { 0 };
    2 + length + mask
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: u8 = 0x01;
    const CONTINUED: u8 = 0x00;
    const PING: u8 = 0x89;
    const LAST: u8 = 0x80;

    /// A masked frame as clients send it.
    fn frame(first: u8, payload_bytes: usize) -> Vec<u8> {
        let length = match u16::try_from(payload_bytes) {
            Ok(length @ 0..126) => vec![0x80 | length.to_be_bytes()[1]],
            Ok(length) => [&[0x80 | 126][..], &length.to_be_bytes()].concat(),
            Err(_) => [&[0x80 | 127][..], &(payload_bytes as u64).to_be_bytes()].concat(),
        };
        [&[first][..], &length, &[7; 4], &vec![0xff; payload_bytes]].concat()
    }

    #[test]
    fn frames_of_every_length_end_where_they_end() {
        for payload_bytes in [0, 1, 125, 126, 127, 65_535, 65_536, 100_000] {
            let bytes = frame(TEXT | LAST, payload_bytes);
            for step in [1, 7, 4096, bytes.len()] {
                let mut progress = Progress::default();
                for (n, piece) in bytes.chunks(step).enumerate() {
                    assert!(progress.is_whole() == (n == 0), "{payload_bytes} by {step}");
                    progress.note(piece);
                }
                assert!(progress.is_whole(), "{payload_bytes} by {step}");
                assert_eq!((progress.wanted_bytes(), progress.arrived_bytes()), (2, 0));
            }
            let mut progress = Progress::default();
            progress.note(&bytes.repeat(3));
            assert!(progress.is_whole());
        }
    }

    #[test]
    fn what_is_missing_and_announced_is_known_from_the_head_on() {
        let bytes = frame(TEXT | LAST, 100_000);
        let mut progress = Progress::default();
        progress.note(&bytes[..14 + 3]);
        assert_eq!((progress.wanted_bytes(), progress.arrived_bytes()), (99_997, 3));
        assert_eq!(progress.announced_bytes(), Some(100_000));
    }

    #[test]
    fn a_message_in_fragments_is_not_whole_before_the_last_whatever_comes_between() {
        let mut progress = Progress::default();
        progress.note(&frame(TEXT, 10));
        assert_eq!((progress.is_whole(), progress.arrived_bytes(), progress.announced_bytes()), (false, 10, None));
        progress.note(&frame(PING, 5));
        assert_eq!((progress.is_whole(), progress.arrived_bytes()), (false, 10));
        progress.note(&frame(CONTINUED, 20)[..10]);
        assert_eq!((progress.wanted_bytes(), progress.arrived_bytes(), progress.announced_bytes()), (16, 14, None));
        progress.note(&[0; 16]);
        progress.note(&frame(CONTINUED | LAST, 0));
        assert!(progress.is_whole());
        progress.note(&frame(PING, 0));
        assert!(progress.is_whole());
    }

    /// Who reads no more than is wanted never reads what is behind a message.
    #[test]
    fn what_is_wanted_ends_where_the_message_ends() {
        let message = [frame(TEXT, 70_000), frame(PING, 3), frame(CONTINUED, 300), frame(CONTINUED | LAST, 5)].concat();
        let mut progress = Progress::default();
        let mut rest = &[&message[..], &frame(TEXT | LAST, 9)].concat()[..];
        while rest.len() > frame(TEXT | LAST, 9).len() {
            let (wanted, behind) = rest.split_at(progress.wanted_bytes());
            progress.note(wanted);
            rest = behind;
        }
        assert!(progress.is_whole());
        assert_eq!(rest, frame(TEXT | LAST, 9));
    }

    /// Garbage has no end, but no byte of it is too much either.
    #[test]
    fn no_bytes_make_it_panic() {
        for byte in 0..=u8::MAX {
            let mut progress = Progress::default();
            progress.note(&[byte; 100]);
            progress.note(&[0xff, byte, !byte]);
        }
    }
}
