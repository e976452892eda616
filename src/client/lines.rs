//! Lines from a reader, one by one, without ever reading far ahead.

use std::io;

use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt};

/// The longest message that is read: CoreMQ's limit on one. No httpmq server takes more, and a file that lacks line
/// breaks must not fill the memory.
pub(super) const MAX_MESSAGE_BYTES: usize = 100_000_000;

/// Cuts a reader into lines. The line break goes, and only it: a carriage return before it is part of the line.
pub(super) struct Lines<R> {
    source: R,
    /// The part of the next line that has come so far.
    partial: Vec<u8>,
}

impl<R: AsyncBufRead + Unpin> Lines<R> {
    pub(super) fn new(source: R) -> Lines<R> {
        Lines { source, partial: Vec::new() }
    }

    /// The next line; `None` at the end. A last line needs no line break.
    ///
    /// Cancel safe: what has been read of a line stays for the next call.
    pub(super) async fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        let room = MAX_MESSAGE_BYTES + 1 - self.partial.len(); // one more for the line break
        (&mut self.source).take(room as u64).read_until(b'\n', &mut self.partial).await?;
        if self.partial.is_empty() {
            return Ok(None);
        }
        let mut line = std::mem::take(&mut self.partial);
        if line.last() == Some(&b'\n') {
            line.pop();
        } else if line.len() > MAX_MESSAGE_BYTES {
            return Err(io::Error::other(format!("the line is longer than {MAX_MESSAGE_BYTES} bytes")));
        }
        Ok(Some(line))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncWriteExt, BufReader};

    #[tokio::test]
    async fn only_the_line_break_goes_and_the_last_line_needs_none() {
        for (text, expected) in
            [("", vec![]), ("\n", vec![""]), ("a\nb\n", vec!["a", "b"]), ("a\r\n\n b ", vec!["a\r", "", " b "])]
        {
            let mut lines = Lines::new(text.as_bytes());
            let mut found = Vec::new();
            while let Some(line) = lines.next().await.unwrap() {
                found.push(String::from_utf8(line).unwrap());
            }
            assert_eq!(found, expected, "{text:?}");
        }
    }

    #[tokio::test]
    async fn a_line_that_is_given_up_half_read_is_whole_the_next_time() {
        let (mut writer, reader) = tokio::io::duplex(64);
        let mut lines = Lines::new(BufReader::new(reader));
        writer.write_all(b"half ").await.unwrap();
        tokio::select! {
            biased;
            line = lines.next() => panic!("no line is there yet, but {line:?} came"),
            () = tokio::task::yield_now() => {}
        }
        writer.write_all(b"and half\nnext").await.unwrap();
        assert_eq!(lines.next().await.unwrap().unwrap(), b"half and half");
    }
}
