//! E-mail addresses, from the sign in their middle.

use crate::{
    text::{Text, after_signs},
    values::domain,
};

/// The start and end of the address around the `@` at a position, which begins no earlier than `floor`.
pub(crate) fn around(text: &Text<'_>, sign: usize, floor: usize) -> Option<(usize, usize)> {
    let from = floor.max(sign.saturating_sub(MAX_LOCAL_BYTES + 1));
    let local = text.bytes.get(from..sign)?;
    let taken = local
        .iter()
        .rev()
        .take_while(|byte| is_local(**byte))
        .count();
    let mut start = after_signs(text.bytes, sign - taken, sign);
    // Dots stand between parts; other signs at the beginning are the text's: `'me@example.com'`.
    while start < sign && !is_first(text.at(start)) {
        start += 1;
    }
    if start == sign || sign - start > MAX_LOCAL_BYTES || text.before(sign) == b'.' {
        return None;
    }
    let end = domain::host_end(text, sign + 1)?;
    Some((start, end))
}

fn is_first(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte >= 0x80 || byte == b'_'
}

/// Fewer signs than the standard allows: slashes, equals signs, bars and braces part values in logs and code.
fn is_local(byte: u8) -> bool {
    is_first(byte) || b".!#$%&'*+-?^~".contains(&byte)
}

const MAX_LOCAL_BYTES: usize = 64;
