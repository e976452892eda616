//! What has come on a socket, frame by frame, with as few system calls as can be.

use std::io::{ErrorKind, Read};

use mio::net::TcpStream;

use crate::frame;

/// One read takes this much at most: more than a socket usually holds, and little enough for the processor's cache.
pub(crate) const BUFFER_BYTES: usize = 256 * 1024;

/// A socket, and the beginning of a frame that was read from it.
pub(crate) struct Incoming {
    pub(crate) socket: TcpStream,
    rest: Vec<u8>,
}

/// How a socket was left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    /// Empty for now; the next bytes come with an event of their own.
    Empty,
    /// Closed by the other side.
    Closed,
}

impl Incoming {
    pub(crate) fn new(socket: TcpStream) -> Self {
        Self { socket, rest: Vec::new() }
    }

    /// Reads until the socket is empty and gives the payload of each whole frame to `take`.
    ///
    /// `ending` says that the other side will send no more: then there is no further event, so all is read that is left.
    /// `buffer` has [`BUFFER_BYTES`] and may be shared by all sockets of a thread, so that it stays in the cache.
    ///
    /// # Errors
    /// The bytes are no frames. A connection that the other side broke is one that it closed.
    pub(crate) fn drain(
        &mut self,
        buffer: &mut [u8],
        ending: bool,
        mut take: impl FnMut(&[u8]),
    ) -> Result<Left, String> {
        loop {
            let kept = self.rest.len();
            buffer[..kept].copy_from_slice(&self.rest);
            let count = match self.socket.read(&mut buffer[kept..]) {
                Ok(0) => return Ok(Left::Closed),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Left::Empty),
                Err(_) => return Ok(Left::Closed),
            };
            let bytes = &buffer[..kept + count];
            let mut at = 0;
            while let Some((payload, used)) = frame::first(&bytes[at..])? {
                take(payload);
                at += used;
            }
            self.rest.clear();
            self.rest.extend_from_slice(&bytes[at..]);
            if self.rest.len() == buffer.len() {
                return Err("a frame larger than any of this benchmark".into());
            }
            if kept + count < buffer.len() && !ending {
                return Ok(Left::Empty);
            }
        }
    }
}
