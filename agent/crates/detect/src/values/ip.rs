//! IPv4 and IPv6 addresses.

use std::{net::Ipv6Addr, str};

use crate::{
    cues::Cue,
    number::{Number, Separator},
    text::Text,
};

/// How sure it is that the four groups from `first` are an IPv4 address, in percent; zero when they are not.
pub(crate) fn judge(text: &Text<'_>, number: &Number, first: usize) -> u8 {
    let last = first + 3;
    if last >= number.count || !number.is_all(first, last, Separator::Dot) {
        return 0;
    }
    let is_alone = (first == 0 || number.separator(first) != Separator::Dot)
        && number.next_separator(last) != Separator::Dot
        && !number.has_plus;
    let is_octet = |group: usize| {
        matches!(
            number.digits(group, group),
            [_] | [b'1'..=b'9', _]
                | [b'1', _, _]
                | [b'2', b'0'..=b'4', _]
                | [b'2', b'5', b'0'..=b'5']
        )
    };
    let end = number.group(last).end;
    // `1.2.3.4-rc1` is a version.
    let goes_on = text.at(end).is_ascii_alphabetic()
        || text.at(end) == b'_'
        || text.at(end) == b'-' && text.at(end + 1).is_ascii_alphabetic();
    let is_glued = first == 0 && matches!(text.before(number.start), b'.' | b'-' | b'_');
    if !is_alone || goes_on || is_glued || !(first..=last).all(is_octet) {
        return 0;
    }
    if text.last_speaks_of(Cue::Version, number.start) {
        return if text.before(number.start) == 0 {
            60
        } else {
            0
        };
    }
    92
}

/// The end of the IPv6 address that begins at `start`.
pub(crate) fn v6_end(text: &Text<'_>, start: usize) -> Option<usize> {
    let before = text.before(start);
    if before.is_ascii_alphanumeric()
        || matches!(before, b':' | b'.' | b'_' | b'\'' | b')' | b'"' | b'>')
    {
        let is_quoted = matches!(before, b'\'' | b'"') && text.at(start) != b':';
        if !is_quoted {
            return None;
        }
    }
    let rest = text.bytes.get(start..)?;
    let allowed = |byte: &u8| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.');
    let length = rest
        .iter()
        .take(MAX_BYTES + 1)
        .take_while(|byte| allowed(byte))
        .count();
    let mut written = rest.get(..length)?;
    while let [shorter @ .., b'.'] = written {
        written = shorter;
    }
    if let [shorter @ .., b':'] = written
        && !written.ends_with(b"::")
    {
        written = shorter;
    }
    let next = text.at(start + written.len());
    if next.is_ascii_alphanumeric() || next == b'_' || !is_telling(written) {
        return None;
    }
    let address: Ipv6Addr = str::from_utf8(written).ok()?.parse().ok()?;
    (!address.is_unspecified()).then_some(start + written.len())
}

/// `::` alone is written in many programs, `a::b` in some: an address of two short words does not count.
fn is_telling(written: &[u8]) -> bool {
    let colons = memchr::memchr_iter(b':', written).count();
    let groups = written
        .split(|byte| *byte == b':')
        .filter(|group| !group.is_empty())
        .count();
    let has_digit = written.iter().any(u8::is_ascii_digit);
    colons >= 2
        && has_digit
        && (groups >= 3 || groups >= 1 && written.len() >= 6 || written == b"::1")
}

const MAX_BYTES: usize = 45;
