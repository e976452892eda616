//! Hearing a client out that was told the last word.

use std::time::Duration;

use tokio::{
    io::{AsyncRead, AsyncReadExt},
    time::timeout,
};

/// How long, and for how many bytes, a client is heard out. One that does not close has been told often enough.
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
        while left_bytes > 0
            && let Ok(Ok(read_bytes @ 1..)) = timeout(QUIET, read.read(&mut scratch)).await
        {
            left_bytes = left_bytes.saturating_sub(read_bytes);
        }
    };
    // However it ended, nothing more is owed to the client.
    let _ = timeout(LINGER, hear_out).await;
}
