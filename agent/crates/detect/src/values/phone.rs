//! Telephone numbers: international, and as they are written within many countries.
//!
//! What is unmistakable (a plus sign, a trunk prefix, the North American plan) stands alone. Short local numbers look like
//! house numbers, amounts and years, so they need what stands around them to agree.

use crate::{
    cues::Cue,
    number::{Number, Separator, digits_end},
    text::Text,
};

/// A number and how sure it is one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Phone {
    pub(crate) last: usize,
    pub(crate) end: usize,
    pub(crate) confidence: u8,
}

/// The telephone number that begins with group `first`.
pub(crate) fn read(text: &Text<'_>, number: &Number, first: usize) -> Option<Phone> {
    let most = number.count.min(first + MAX_GROUPS);
    (first..most).rev().find_map(|last| {
        let digits = number.digits(first, last).len();
        if !(MIN_DIGITS..=MAX_DIGITS).contains(&digits) {
            return None;
        }
        let (end, is_extended) = extension_end(text, number, last)?;
        let confidence = grade(text, number, first, last, is_extended);
        (confidence > 0).then_some(Phone {
            last,
            end,
            confidence,
        })
    })
}

fn grade(text: &Text<'_>, number: &Number, first: usize, last: usize, is_extended: bool) -> u8 {
    let digits = number.digits(first, last);
    let is_first = first == 0;
    if is_first && number.has_plus {
        return if is_international(digits) { 95 } else { 0 };
    }
    if !number.stands_alone(first, last) || is_glued(text, number, first) {
        return 0;
    }
    if first == last {
        return bare(text, number, digits, is_extended);
    }
    if !is_written_evenly(number, first, last) {
        return 0;
    }
    if digits.starts_with(b"00") {
        return if is_international(&digits[2..]) {
            85
        } else {
            0
        };
    }
    if digits.len() > 12 {
        return 0;
    }
    let is_open = is_first && number.is_open || number.separator(first) == Separator::Open;
    let widths = number.widths(first, last);
    match widths {
        [3, 3, 4] | [1, 3, 3, 4] if is_north_american(digits) => return 90,
        [3, 3, 4]
            if digits[0] != b'0' && (is_open || !number.is_all(first, last, Separator::Space)) =>
        {
            return 75;
        }
        _ => {}
    }
    if number.next_separator(first) == Separator::Close {
        let is_area = is_open && (1..=5).contains(&widths[0]);
        return if is_area && digits.len() >= 7 { 85 } else { 0 };
    }
    if has_trunk_prefix(digits, widths) {
        return 85;
    }
    local(text, number, first, last, is_extended)
}

/// A number without any separator: nothing but the words before it can tell.
fn bare(text: &Text<'_>, number: &Number, digits: &[u8], is_extended: bool) -> u8 {
    let is_named = text.last_speaks_of(Cue::Phone, number.start);
    match digits.len() {
        _ if is_extended && digits.len() >= 10 => 75,
        9..=12 if is_named => 80,
        7..=8 if is_named => 65,
        13..=15 if is_named && digits.starts_with(b"00") => 80,
        _ => 0,
    }
}

/// A number in the shape of local ones.
fn local(text: &Text<'_>, number: &Number, first: usize, last: usize, is_extended: bool) -> u8 {
    let widths = number.widths(first, last);
    let is_local = LOCAL_SHAPES.contains(&widths);
    if !is_local {
        return 0;
    }
    let start = number.group(first).start;
    if text.last_speaks_of(Cue::Phone, start) || is_extended {
        return 80;
    }
    let end = number.group(last).end;
    let digits = number.digits(first, last);
    let is_doubtful = text.speaks_of_another_number(start)
        || goes_on_with_a_word(text, end)
        || comes_after_a_currency(text, number.start)
        || are_years(widths, digits)
        || digits.ends_with(b"000");
    if is_doubtful {
        return 0;
    }
    let is_like_an_amount = number.is_all(first, last, Separator::Space)
        && widths.iter().skip(1).all(|width| *width == 3);
    if is_like_an_amount && !is_led_in(text, start) {
        return 0;
    }
    60
}

/// Whether one separator is used throughout; the first may differ, as in `030/123 45` and `(0)30 123 45`.
fn is_written_evenly(number: &Number, first: usize, last: usize) -> bool {
    let inner = number.inner(first, last);
    let Some((head, rest)) = inner.split_first() else {
        return true;
    };
    let is_usual = |separator: &Separator| {
        matches!(
            separator,
            Separator::Space | Separator::Dash | Separator::Dot
        )
    };
    let is_even = rest.windows(2).all(|pair| pair[0] == pair[1]);
    let rest_is_usual = rest.iter().all(is_usual);
    match head {
        Separator::Close => is_even && rest_is_usual,
        Separator::Slash => is_even && rest_is_usual && !rest.contains(&Separator::Dot),
        head if is_usual(head) => {
            is_even
                && rest_is_usual
                && rest
                    .first()
                    .is_none_or(|next| next == head || *head != Separator::Dot)
        }
        _ => rest.first() == Some(&Separator::Close),
    }
}

/// Whether digits after a plus sign begin with a country's code and are as many as that country has.
fn is_international(digits: &[u8]) -> bool {
    let [first, second, ..] = digits else {
        return false;
    };
    match (first, second) {
        (b'1', _) => digits.len() == 11 && digits[1] >= b'2',
        (b'7', _) => digits.len() == 11,
        (b'2', b'0' | b'7')
        | (b'3', b'0'..=b'4' | b'6' | b'9')
        | (b'4', b'0' | b'1' | b'3'..=b'9')
        | (b'5', b'1'..=b'8')
        | (b'6', b'0'..=b'6')
        | (b'8', b'1' | b'2' | b'4' | b'6')
        | (b'9', b'0'..=b'5' | b'8') => (9..=16).contains(&digits.len()),
        (b'2', _) | (b'3', b'5' | b'7' | b'8') | (b'4', b'2') | (b'5', b'0' | b'9') => {
            (9..=15).contains(&digits.len())
        }
        (b'6', b'7'..=b'9') | (b'8', b'0' | b'5' | b'7' | b'8') | (b'9', b'6' | b'7' | b'9') => {
            (8..=15).contains(&digits.len())
        }
        _ => false,
    }
}

/// `NXX-NXX-XXXX`, with or without a 1 before it.
fn is_north_american(digits: &[u8]) -> bool {
    let digits = match digits {
        [b'1', rest @ ..] if rest.len() == 10 => rest,
        _ => digits,
    };
    matches!(digits, [b'2'..=b'9', _, _, b'2'..=b'9', _, _, _, _, _, _])
}

/// Whether a number begins with the 0 that most countries dial before an area.
fn has_trunk_prefix(digits: &[u8], widths: &[u8]) -> bool {
    let [b'0', b'1'..=b'9', ..] = digits else {
        return false;
    };
    let Some((area, rest)) = widths.split_first() else {
        return false;
    };
    (9..=12).contains(&digits.len())
        && (2..=5).contains(area)
        && rest.iter().all(|width| (2..=8).contains(width))
}

/// The end of the groups with an extension after them: `x12`, `ext. 12`. `None` when letters go on right after the digits.
fn extension_end(text: &Text<'_>, number: &Number, last: usize) -> Option<(usize, bool)> {
    let end = number.group(last).end;
    if last + 1 < number.count {
        return Some((end, false));
    }
    for word in EXTENSIONS {
        let mut at = end;
        if text.at(at) == b' ' && *word != b"x" {
            at += 1;
        }
        if text.at(at) == b',' {
            at += 1;
            at += usize::from(text.at(at) == b' ');
        }
        let written = text.bytes.get(at..at + word.len()).unwrap_or_default();
        if !written.eq_ignore_ascii_case(word) {
            continue;
        }
        at += word.len();
        at += usize::from(text.at(at) == b'.');
        at += usize::from(text.at(at) == b' ');
        let digits = digits_end(text, at);
        if (1..=6).contains(&(digits - at)) {
            return Some((digits, true));
        }
    }
    let next = text.at(end);
    (!next.is_ascii_alphabetic() && next != b'_').then_some((end, false))
}

/// Whether something that is no part of a telephone number stands right before the digits.
fn is_glued(text: &Text<'_>, number: &Number, first: usize) -> bool {
    if first > 0 {
        return false;
    }
    let before = text.before(number.start);
    match before {
        b'/' | b'=' | b'_' | b'@' | b'$' | b'%' | b'^' | b'&' | b'*' => {
            before != b'=' || text.before(number.start - 1) == b'='
        }
        b'-' | b'.' => {
            let further = text.before(number.start - 1);
            further.is_ascii_alphanumeric() || further == b'_'
        }
        b',' => text.before(number.start - 1).is_ascii_digit(),
        _ => before.is_ascii_alphanumeric(),
    }
}

/// A house number is followed by its street.
fn goes_on_with_a_word(text: &Text<'_>, end: usize) -> bool {
    let next = text.at(end);
    let after = text.at(end + 1);
    next == b' ' && (after.is_ascii_alphabetic() || after >= 0x80)
        || next == b'%'
        || next == b',' && after.is_ascii_digit()
}

fn comes_after_a_currency(text: &Text<'_>, start: usize) -> bool {
    let before = text.before(start);
    // The last bytes of the signs for euro, pound and yen.
    matches!(before, b'$' | 0xAC | 0xA3 | 0xA5)
}

fn are_years(widths: &[u8], digits: &[u8]) -> bool {
    let is_year = |year: Option<&[u8]>| {
        year.is_some_and(|year| year.starts_with(b"19") || year.starts_with(b"20"))
    };
    widths == [4, 4] && is_year(digits.get(..4)) && is_year(digits.get(4..))
}

/// Whether the word before a number leads it in: `at 72 128 827`, `Phone: 72 128 827`, or nothing at all.
fn is_led_in(text: &Text<'_>, start: usize) -> bool {
    let before = text.bytes.get(..start).unwrap_or_default().trim_ascii_end();
    let word_start = before
        .iter()
        .rposition(u8::is_ascii_whitespace)
        .map_or(0, |at| at + 1);
    let word = before.get(word_start..).unwrap_or_default();
    word.is_empty()
        || word.ends_with(b":")
        || [&b"at"[..], b"to", b"on"]
            .into_iter()
            .any(|lead| word.eq_ignore_ascii_case(lead))
}

/// How many digits stand in each group of numbers that are dialled without a prefix.
const LOCAL_SHAPES: &[&[u8]] = &[
    &[3, 4],
    &[4, 4],
    &[2, 6],
    &[3, 6],
    &[4, 6],
    &[4, 7],
    &[5, 5],
    &[5, 6],
    &[2, 2, 3],
    &[3, 2, 2],
    &[3, 2, 3],
    &[2, 3, 2],
    &[2, 3, 3],
    &[2, 3, 4],
    &[3, 3, 3],
    &[3, 3, 4],
    &[2, 4, 4],
    &[3, 4, 4],
    &[1, 3, 4],
    &[1, 4, 4],
    &[2, 2, 2, 2],
    &[2, 3, 2, 2],
    &[3, 2, 2, 2],
    &[3, 3, 2, 2],
    &[2, 3, 3, 4],
    &[2, 2, 3, 4],
    &[2, 2, 2, 2, 2],
    &[1, 2, 2, 2, 2],
];

const EXTENSIONS: &[&[u8]] = &[b"x", b"ext", b"extension", b"durchwahl", b"#"];

const MIN_DIGITS: usize = 7;
/// 15 of E.164, two for a leading `00` and one for `(0)`.
const MAX_DIGITS: usize = 18;
const MAX_GROUPS: usize = 8;
