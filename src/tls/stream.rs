//! A stream with or without TLS.
//!
//! An enum and no trait object: without TLS, which is the common case, it costs one comparison for each read and write.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};
use tokio_rustls::TlsStream;

/// A connection.
#[derive(Debug)]
pub enum Stream {
    /// Bytes as they are.
    Plain(TcpStream),
    /// Bytes in TLS. What is written is on its way only after a flush.
    Tls(Box<TlsStream<TcpStream>>),
}

/// The half of a [`Stream`] that reads.
#[derive(Debug)]
pub enum ReadHalf {
    /// See [`Stream::Plain`].
    Plain(OwnedReadHalf),
    /// See [`Stream::Tls`].
    Tls(tokio::io::ReadHalf<Box<TlsStream<TcpStream>>>),
}

/// The half of a [`Stream`] that writes.
#[derive(Debug)]
pub enum WriteHalf {
    /// See [`Stream::Plain`].
    Plain(OwnedWriteHalf),
    /// See [`Stream::Tls`].
    Tls(tokio::io::WriteHalf<Box<TlsStream<TcpStream>>>),
}

impl Stream {
    /// Splits it in two. With TLS the halves share a lock, which is held for the encryption of what is at hand.
    pub fn into_split(self) -> (ReadHalf, WriteHalf) {
        match self {
            Stream::Plain(stream) => {
                let (read, write) = stream.into_split();
                (ReadHalf::Plain(read), WriteHalf::Plain(write))
            }
            Stream::Tls(stream) => {
                let (read, write) = tokio::io::split(stream);
                (ReadHalf::Tls(read), WriteHalf::Tls(write))
            }
        }
    }
}

impl WriteHalf {
    /// Whether what was written may need a flush to be on its way.
    pub fn needs_flush(&self) -> bool {
        matches!(self, WriteHalf::Tls(_))
    }
}

/// Passes reads on to what is inside.
macro_rules! read_inside {
    ($name:ident) => {
        impl AsyncRead for $name {
            fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
                match self.get_mut() {
                    $name::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
                    $name::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
                }
            }
        }
    };
}

/// Passes writes on to what is inside.
macro_rules! write_inside {
    ($name:ident) => {
        impl AsyncWrite for $name {
            fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
                match self.get_mut() {
                    $name::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
                    $name::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
                }
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bufs: &[io::IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                match self.get_mut() {
                    $name::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
                    $name::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
                }
            }

            fn is_write_vectored(&self) -> bool {
                match self {
                    $name::Plain(stream) => stream.is_write_vectored(),
                    $name::Tls(stream) => stream.is_write_vectored(),
                }
            }

            fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                match self.get_mut() {
                    $name::Plain(stream) => Pin::new(stream).poll_flush(cx),
                    $name::Tls(stream) => Pin::new(stream).poll_flush(cx),
                }
            }

            fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                match self.get_mut() {
                    $name::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
                    $name::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
                }
            }
        }
    };
}

read_inside!(Stream);
write_inside!(Stream);
read_inside!(ReadHalf);
write_inside!(WriteHalf);
