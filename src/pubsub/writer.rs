//! Sending what an outbox has, the same for TCP frames and WebSocket frames.

use std::{io::IoSlice, sync::Arc, time::Duration};

use bytes::{Buf, Bytes};
use tokio::{
    io::{AsyncWrite, AsyncWriteExt},
    time::timeout,
};

use super::outbox::{End, Next, Outbox};

/// Sends what the outbox has until the connection ends; says how it ended. `patience` is how long the client may take nothing.
pub(super) async fn send(mut write: impl AsyncWrite + Unpin, outbox: Arc<Outbox>, patience: Duration) -> End {
    let end = loop {
        match outbox.next().await {
            Next::End(end) => break end,
            Next::Send(pieces) => {
                if let Err(end) = send_all(&mut write, pieces, &outbox, patience).await {
                    break end;
                }
            }
        }
    };
    outbox.end(if end == End::Flush { End::Gone } else { end });
    // A client that is gone does not hear it, and one that takes nothing is not waited for: TLS has a last word to send.
    let _ = timeout(if end == End::Flush { patience } else { Duration::ZERO }, write.shutdown()).await;
    end
}

/// Hands pieces to the kernel, as many at a time as it takes, until it has all of them.
async fn send_all(
    write: &mut (impl AsyncWrite + Unpin),
    mut pieces: Vec<Bytes>,
    outbox: &Outbox,
    patience: Duration,
) -> Result<(), End> {
    let mut at = 0;
    while at < pieces.len() {
        let slices: Vec<IoSlice<'_>> = pieces[at..].iter().map(|piece| IoSlice::new(piece)).collect();
        let written = tokio::select! {
            written = timeout(patience, write.write_vectored(&slices)) => written,
            () = outbox.overflowed() => return Err(End::TooSlow),
        };
        let mut written = match written {
            Ok(Ok(written)) if written > 0 => written,
            Ok(_) => return Err(End::Gone),
            Err(_) => return Err(End::TooSlow),
        };
        while at < pieces.len() && written >= pieces[at].len() {
            written -= pieces[at].len();
            at += 1;
        }
        if written > 0 {
            pieces[at].advance(written);
        }
    }
    // TLS may hold something back; without it there is nothing to do.
    tokio::select! {
        flushed = timeout(patience, write.flush()) => match flushed {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(End::Gone),
            Err(_) => Err(End::TooSlow),
        },
        () = outbox.overflowed() => Err(End::TooSlow),
    }
}
