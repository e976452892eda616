//! Hearing a client out that was told the last word.

use std::time::Duration;

use tokio::{
    io::{AsyncRead, AsyncReadExt},
    time::timeout,
};

/// How long, and for how many bytes, a client is heard out. One that does not close then has been told often enough.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 8 << 20;
/// A client that says nothing for this long, more than most ways there and back take, has nothing on its way any more.
const QUIET: Duration = Duration::from_millis(300);
const READ_BYTES: usize = 4 << 10;

/// Reads and throws away what comes, until the client closes or falls silent. To close at once, with something unread, would
/// have the system reset the connection, and the client could lose what it was told last.
pub(super) async fn linger(mut read: impl AsyncRead + Unpin) {
    let mut scratch = vec![0; READ_BYTES];
    let mut left_bytes = LINGER_BYTES;
    let hear_out = async {
        while let Ok(Ok(read_bytes @ 1..)) = timeout(QUIET, read.read(&mut scratch)).await {
            left_bytes = left_bytes.saturating_sub(read_bytes);
            if left_bytes == 0 {
                // It is read no further, which stops it, and has the rest of the time to take what it was sent.
                std::future::pending::<()>().await;
            }
        }
    };
    // However it ended, nothing more is owed to the client.
    let _ = timeout(LINGER, hear_out).await;
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // A test that fails by panic is what is wanted.
mod tests {
    use tokio::{
        io::{AsyncWriteExt, duplex},
        time::Instant,
    };

    use super::*;

    /// To close on it at once would have the system throw away what it was sent and has not taken yet.
    #[tokio::test(start_paused = true)]
    async fn who_floods_is_read_no_further_and_still_has_time_to_read() {
        const ROOM_BYTES: usize = 64 << 10;
        let (mut client, server) = duplex(ROOM_BYTES);
        let flood = tokio::spawn(async move {
            let mut written_bytes = 0;
            while let Ok(bytes) = client.write(&[0; ROOM_BYTES]).await {
                written_bytes += bytes;
            }
            written_bytes
        });
        let began = Instant::now();
        linger(server).await;
        assert!(began.elapsed() >= LINGER);
        let written_bytes = flood.await.unwrap();
        assert!((LINGER_BYTES..=LINGER_BYTES + READ_BYTES + ROOM_BYTES).contains(&written_bytes), "{written_bytes}");
    }
}
