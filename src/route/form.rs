//! Form-encoded text ↔ parameters. Pure.

use std::borrow::Cow;

use percent_encoding::percent_decode;

use super::Refusal;

/// The parameters of `application/x-www-form-urlencoded` text, in their order. Values are for [`decode`]: one that nobody asks for
/// is no error.
pub(super) fn pairs(form: &[u8]) -> impl Iterator<Item = Result<(Cow<'_, str>, &[u8]), Refusal>> {
    form.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()).map(|pair| {
        let at = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
        let value = pair.get(at + 1..).unwrap_or_default();
        Ok((decode(&pair[..at], Plus::Space)?, value))
    })
}

/// What a `+` stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Plus {
    /// A space, as in a query or a form.
    Space,
    /// Itself, as in a path.
    Itself,
}

/// Decodes percent-encoding, strictly: what is not well-formed is an error, never another name.
pub(super) fn decode(text: &[u8], plus: Plus) -> Result<Cow<'_, str>, Refusal> {
    let wrong = || Refusal::BadRequest("a parameter is not percent-encoded UTF-8".into());
    if text.iter().all(|byte| !matches!(byte, b'%' | b'+')) {
        return std::str::from_utf8(text).map(Cow::Borrowed).map_err(|_| wrong());
    }
    let is_escape = |rest: &[u8]| rest.len() >= 3 && rest[1..3].iter().all(u8::is_ascii_hexdigit);
    if (0..text.len()).any(|at| text[at] == b'%' && !is_escape(&text[at..])) {
        return Err(wrong());
    }
    let is_space = |byte: u8| byte == b'+' && plus == Plus::Space;
    let spaced: Vec<u8> = text.iter().map(|byte| if is_space(*byte) { b' ' } else { *byte }).collect();
    let decoded = percent_decode(&spaced).decode_utf8().map_err(|_| wrong())?;
    Ok(Cow::Owned(decoded.into_owned()))
}
