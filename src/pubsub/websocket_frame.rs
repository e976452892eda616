//! WebSocket frames as the server sends them (RFC 6455, section 5): whole messages, not masked.

use bytes::{BufMut, Bytes, BytesMut};
use tungstenite::protocol::{
    CloseFrame,
    frame::{
        Frame, FrameHeader,
        coding::{CloseCode, Data, OpCode},
    },
};

/// The longest header of a frame that is not masked.
const MAX_HEADER_BYTES: usize = 10;

/// A text message.
pub(super) fn text(text: &str) -> Bytes {
    let mut frame = BytesMut::with_capacity(MAX_HEADER_BYTES + text.len());
    push_text(&mut frame, text);
    frame.freeze()
}

/// Appends a text message.
pub(super) fn push_text(out: &mut BytesMut, text: &str) {
    let header = FrameHeader { opcode: OpCode::Data(Data::Text), ..FrameHeader::default() };
    // Writing to memory cannot fail.
    let _ = header.format(text.len() as u64, &mut out.writer());
    out.extend_from_slice(text.as_bytes());
}

/// A question whether the client is still there.
pub(super) fn ping() -> Bytes {
    control(Frame::ping(Bytes::new()))
}

/// The last frame, with the reason for it as a code of RFC 6455, section 7.4.
pub(super) fn close(code: Option<CloseCode>) -> Bytes {
    control(Frame::close(code.map(|code| CloseFrame { code, reason: "".into() })))
}

fn control(frame: Frame) -> Bytes {
    let mut out = Vec::new();
    // Writing to memory cannot fail.
    let _ = frame.format(&mut out);
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_those_of_the_rfc() {
        assert_eq!(text("Hello"), &b"\x81\x05Hello"[..]);
        assert_eq!(text(&"a".repeat(126))[..4], b"\x81\x7e\x00\x7e"[..]);
        assert_eq!(text(&"a".repeat(65536))[..10], b"\x81\x7f\x00\x00\x00\x00\x00\x01\x00\x00"[..]);
        assert_eq!(ping(), &b"\x89\x00"[..]);
        assert_eq!(close(Some(CloseCode::Away)), &b"\x88\x02\x03\xe9"[..]);
        assert_eq!(close(None), &b"\x88\x00"[..]);
    }
}
