//! Hosts' names and addresses with a scheme.

use crate::text::{Text, after_signs, is_sign};

mod tlds;

/// The end of the host's name that begins at `start`: labels and a top-level domain of letters.
pub(crate) fn host_end(text: &Text<'_>, start: usize) -> Option<usize> {
    let mut at = start;
    let mut end = None;
    loop {
        let label_end = label_end(text, at);
        if label_end == at || label_end - at > MAX_LABEL_BYTES {
            break;
        }
        let label = text.bytes.get(at..label_end)?;
        let is_top = at > start && is_top(label);
        if is_top {
            end = Some(label_end);
        } else if at > start {
            end = None;
        }
        let next = text.at(label_end + 1);
        if text.at(label_end) != b'.' || !is_label_byte(next) || next == b'-' {
            break;
        }
        at = label_end + 1;
        if at - start > MAX_NAME_BYTES {
            return None;
        }
    }
    end
}

/// The start and end of the bare host's name around the dot at a position, and how sure it is one; and where the dotted
/// run ends, beyond which a next look has to begin.
pub(crate) fn around(
    text: &Text<'_>,
    dot: usize,
    floor: usize,
) -> (Option<(usize, usize, u8)>, usize) {
    let from = floor.max(dot.saturating_sub(MAX_LABEL_BYTES));
    let before = text.bytes.get(from..dot).unwrap_or_default();
    let taken = before
        .iter()
        .rev()
        .take_while(|byte| is_label_byte(**byte))
        .count();
    let start = after_signs(text.bytes, dot - taken, dot);
    let run_end = run_end(text, dot);
    if start == dot || text.at(start) == b'-' || is_part(text, start) {
        return (None, run_end);
    }
    let Some(end) = host_end(text, start) else {
        return (None, run_end);
    };
    let name = text.bytes.get(start..end).unwrap_or_default();
    let confidence = if is_part_after(text, end) {
        0
    } else {
        judge(name)
    };
    (
        (confidence > 0).then_some((start, end, confidence)),
        run_end,
    )
}

/// The start and end of the address whose scheme ends with the colon at a position.
pub(crate) fn url_around(text: &Text<'_>, colon: usize, floor: usize) -> Option<(usize, usize)> {
    if text.at(colon + 1) != b'/' || text.at(colon + 2) != b'/' {
        return None;
    }
    let from = floor.max(colon.saturating_sub(MAX_SCHEME_BYTES));
    let before = text.bytes.get(from..colon)?;
    let is_scheme =
        |byte: &&u8| byte.is_ascii_alphanumeric() || matches!(**byte, b'+' | b'-' | b'.');
    let taken = before.iter().rev().take_while(is_scheme).count();
    let start = colon - taken;
    if !text.at(start).is_ascii_alphabetic() || taken < 2 {
        return None;
    }
    let rest = text.bytes.get(colon + 3..)?;
    let goes_on = |(at, byte): &(usize, &u8)| {
        **byte > b' ' && !b"<>\"`|\\^{}".contains(*byte) && !is_sign(rest, *at)
    };
    let url = rest.iter().take(MAX_URL_BYTES).enumerate();
    let length = url.take_while(goes_on).count();
    let mut end = colon + 3 + length;
    while end > colon + 3 && is_trailing(text.before(end)) {
        end -= 1;
    }
    (end > colon + 4).then_some((start, end))
}

/// Whether an address carries a password: `scheme://user:password@host`.
pub(crate) fn has_password(url: &[u8]) -> bool {
    let Some(scheme) = url.windows(3).position(|part| part == b"://") else {
        return false;
    };
    let rest = url.get(scheme + 3..).unwrap_or_default();
    let authority = rest
        .split(|byte| b"/?#".contains(byte))
        .next()
        .unwrap_or_default();
    let Some(at) = authority.iter().rposition(|byte| *byte == b'@') else {
        return false;
    };
    let user = authority.get(..at).unwrap_or_default();
    user.iter()
        .position(|byte| *byte == b':')
        .is_some_and(|colon| colon + 1 < user.len())
}

/// How sure it is that a name without a scheme is a host's, in percent. `main.rs`, `e.g.it` and `public.orders.id` are not.
fn judge(name: &[u8]) -> u8 {
    let labels = name.split(|byte| *byte == b'.').count();
    let Some(top) = name.rsplit(|byte| *byte == b'.').next() else {
        return 0;
    };
    let is_small = top.iter().all(|byte| !byte.is_ascii_uppercase());
    let is_shouted = name.iter().all(|byte| !byte.is_ascii_lowercase());
    let first_length = name.iter().position(|byte| *byte == b'.').unwrap_or(0);
    let has_letter = name.get(..name.len() - top.len()).unwrap_or_default();
    let has_letter = has_letter
        .iter()
        .any(|byte| byte.is_ascii_alphabetic() || *byte >= 0x80);
    let is_www = name
        .get(..4)
        .is_some_and(|head| head.eq_ignore_ascii_case(b"www."));
    if is_www && labels > 2 {
        return 92;
    }
    if !(is_small || is_shouted && name.len() > 6) || first_length < 2 && labels == 2 {
        return 0;
    }
    if tlds::is_common(top) {
        return if has_letter || first_length >= 3 {
            85
        } else {
            0
        };
    }
    // `example.co.uk`, `example.com.au`.
    let is_second_level = labels > 2 && is_second_level(name, top);
    if top.len() == 2 && is_second_level && has_letter {
        return 88;
    }
    if tlds::is_ambiguous(top) || !has_letter {
        return 0;
    }
    if tlds::is_known(top) { 70 } else { 0 }
}

fn is_second_level(name: &[u8], top: &[u8]) -> bool {
    let rest = name
        .get(..name.len().saturating_sub(top.len() + 1))
        .unwrap_or_default();
    let second = rest.rsplit(|byte| *byte == b'.').next().unwrap_or_default();
    [
        &b"co"[..],
        b"com",
        b"org",
        b"net",
        b"gov",
        b"ac",
        b"edu",
        b"or",
        b"ne",
        b"gob",
        b"nom",
    ]
    .iter()
    .any(|known| second.eq_ignore_ascii_case(known))
}

/// A top-level domain is of letters, two or more.
fn is_top(label: &[u8]) -> bool {
    label.len() >= 2
        && (label
            .iter()
            .all(|byte| byte.is_ascii_alphabetic() || *byte >= 0x80)
            || label.starts_with(b"xn--"))
}

fn is_part(text: &Text<'_>, start: usize) -> bool {
    matches!(
        text.before(start),
        b'.' | b'/' | b'_' | b'$' | b'@' | b'\\' | b'"' | b'%'
    ) && !(text.before(start) == b'"' && text.before(start - 1) != b'.')
}

/// A call, a path or a quoted part follows names in programs.
fn is_part_after(text: &Text<'_>, end: usize) -> bool {
    matches!(text.at(end), b'(' | b'_' | b'@' | b'[' | b'=')
        || text.at(end) == b'.' && text.at(end + 1) == b'"'
}

fn label_end(text: &Text<'_>, start: usize) -> usize {
    let rest = text.bytes.get(start..).unwrap_or_default();
    let label = rest
        .iter()
        .take(MAX_LABEL_BYTES + 1)
        .enumerate()
        .take_while(|(at, byte)| is_label_byte(**byte) && !is_sign(rest, *at));
    let mut end = start + label.count();
    while end > start && text.before(end) == b'-' {
        end -= 1;
    }
    end
}

/// The end of the labels and dots that go on after a dot.
fn run_end(text: &Text<'_>, dot: usize) -> usize {
    let rest = text.bytes.get(dot..).unwrap_or_default();
    let run = rest
        .iter()
        .take_while(|byte| is_label_byte(**byte) || **byte == b'.');
    dot + run.count()
}

fn is_label_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-' || byte >= 0x80
}

fn is_trailing(byte: u8) -> bool {
    matches!(
        byte,
        b'.' | b',' | b';' | b':' | b'!' | b'?' | b')' | b']' | b'\'' | b'*'
    )
}

const MAX_LABEL_BYTES: usize = 63;
const MAX_NAME_BYTES: usize = 253;
const MAX_SCHEME_BYTES: usize = 16;
const MAX_URL_BYTES: usize = 2048;
