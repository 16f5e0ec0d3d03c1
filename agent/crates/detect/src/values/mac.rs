//! Hardware addresses: six pairs of hexadecimal digits, or three fours as network gear writes them.

use crate::text::Text;

/// The end of the address that begins at `start`.
pub(crate) fn end(text: &Text<'_>, start: usize) -> Option<usize> {
    if matches!(text.before(start), b':' | b'-' | b'.' | b'_') {
        return None;
    }
    let (width, separator, groups) = match (text.at(start + 2), text.at(start + 4)) {
        (b':', _) => (2, b':', 6),
        (b'-', _) => (2, b'-', 6),
        (_, b'.') => (4, b'.', 3),
        _ => return None,
    };
    let mut at = start;
    let mut has_letter = false;
    let mut has_digit = false;
    for group in 0..groups {
        if group > 0 {
            if text.at(at) != separator {
                return None;
            }
            at += 1;
        }
        for _ in 0..width {
            let byte = text.at(at);
            if !byte.is_ascii_hexdigit() {
                return None;
            }
            has_letter |= byte.is_ascii_alphabetic();
            has_digit |= byte.is_ascii_digit();
            at += 1;
        }
    }
    let next = text.at(at);
    let goes_on = text.is_word(at) || next == separator && text.at(at + 1).is_ascii_hexdigit();
    // Pairs of digits with dashes are telephone numbers in some countries, and four letters are words.
    let is_telling = has_digit && (has_letter || separator == b':');
    (!goes_on && is_telling).then_some(at)
}
