//! A number as people write it: groups of digits with single separators.

use crate::text::Text;

/// What stands between two groups of digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Separator {
    /// Nothing: the first group.
    #[default]
    None,
    Space,
    Dash,
    Dot,
    Slash,
    /// An opening parenthesis, with or without a space before it.
    Open,
    /// A closing parenthesis, with or without a space or dash after it.
    Close,
}

/// Where one group of digits stands.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Group {
    pub(crate) start: usize,
    pub(crate) end: usize,
    first_digit: usize,
}

/// A run of groups of digits.
#[derive(Debug)]
pub(crate) struct Number {
    digits: [u8; MAX_DIGITS],
    digit_count: usize,
    groups: [Group; MAX_GROUPS],
    widths: [u8; MAX_GROUPS],
    separators: [Separator; MAX_GROUPS],
    pub(crate) count: usize,
    /// Where it begins, with a plus sign and an opening parenthesis that belong to it.
    pub(crate) start: usize,
    /// Whether a plus sign leads it.
    pub(crate) has_plus: bool,
    /// Whether it begins with a parenthesis.
    pub(crate) is_open: bool,
    /// Whether it was cut off because it holds more groups than fit.
    pub(crate) is_cut: bool,
}

impl Number {
    /// Reads the number whose first digit is at `start`; `None` when its first group is longer than any number of ours.
    pub(crate) fn read(text: &Text<'_>, start: usize) -> Option<Self> {
        let mut number = Self::empty(start);
        let mut at = start;
        let mut separator = Separator::None;
        loop {
            let end = digits_end(text, at);
            if number.count > 0 && is_another_word(text, end) {
                break;
            }
            if !number.push(text, at, end, separator) {
                break;
            }
            let Some((next, bytes)) = separator_at(text, end) else {
                break;
            };
            if number.count == MAX_GROUPS {
                number.is_cut = true;
                break;
            }
            separator = next;
            at = end + bytes;
        }
        if number.count == 0 {
            return None;
        }
        number.take_lead(text);
        Some(number)
    }

    /// The digits of the groups `first..=last`, as ASCII.
    pub(crate) fn digits(&self, first: usize, last: usize) -> &[u8] {
        let from = self.group(first).first_digit;
        let to = if last + 1 < self.count {
            self.group(last + 1).first_digit
        } else {
            self.digit_count
        };
        self.digits.get(from..to).unwrap_or_default()
    }

    /// How many digits each of the groups `first..=last` has.
    pub(crate) fn widths(&self, first: usize, last: usize) -> &[u8] {
        self.widths.get(first..=last).unwrap_or_default()
    }

    /// The separators within the groups `first..=last`.
    pub(crate) fn inner(&self, first: usize, last: usize) -> &[Separator] {
        self.separators.get(first + 1..=last).unwrap_or_default()
    }

    /// The separator before a group.
    pub(crate) fn separator(&self, group: usize) -> Separator {
        self.separators.get(group).copied().unwrap_or_default()
    }

    /// The separator after a group; `None` after the last.
    pub(crate) fn next_separator(&self, group: usize) -> Separator {
        if group + 1 < self.count {
            self.separator(group + 1)
        } else {
            Separator::None
        }
    }

    /// Where a group stands.
    pub(crate) fn group(&self, group: usize) -> Group {
        self.groups.get(group).copied().unwrap_or_default()
    }

    /// Where the last group ends.
    pub(crate) fn end(&self) -> usize {
        self.group(self.count.saturating_sub(1)).end
    }

    /// Whether all separators within the groups `first..=last` are `wanted`.
    pub(crate) fn is_all(&self, first: usize, last: usize, wanted: Separator) -> bool {
        self.inner(first, last).iter().all(|it| *it == wanted)
    }

    /// Whether the groups `first..=last` stand alone: what joins them to their neighbours is not what joins them inside.
    pub(crate) fn stands_alone(&self, first: usize, last: usize) -> bool {
        let differs = |outer: Separator, inner: Option<&Separator>| match (outer, inner) {
            (Separator::None | Separator::Open, _) | (Separator::Space, None) => true,
            (Separator::Space | Separator::Slash, Some(inner)) => outer != *inner,
            _ => false,
        };
        let inner = self.inner(first, last);
        let before = if first == 0 {
            Separator::None
        } else {
            self.separator(first)
        };
        differs(before, inner.first()) && differs(self.next_separator(last), inner.last())
    }

    fn empty(start: usize) -> Self {
        Self {
            digits: [0; MAX_DIGITS],
            digit_count: 0,
            groups: [Group::default(); MAX_GROUPS],
            widths: [0; MAX_GROUPS],
            separators: [Separator::None; MAX_GROUPS],
            count: 0,
            start,
            has_plus: false,
            is_open: false,
            is_cut: false,
        }
    }

    fn push(&mut self, text: &Text<'_>, start: usize, end: usize, separator: Separator) -> bool {
        let width = end - start;
        let room = self
            .digits
            .get_mut(self.digit_count..self.digit_count + width);
        let (Some(room), Some(digits), Ok(narrow)) =
            (room, text.bytes.get(start..end), u8::try_from(width))
        else {
            return false;
        };
        if width > MAX_GROUP_DIGITS || self.count == MAX_GROUPS {
            return false;
        }
        room.copy_from_slice(digits);
        self.groups[self.count] = Group {
            start,
            end,
            first_digit: self.digit_count,
        };
        self.widths[self.count] = narrow;
        self.separators[self.count] = separator;
        self.digit_count += width;
        self.count += 1;
        true
    }

    /// Takes in the parenthesis and the plus sign before the first digit.
    fn take_lead(&mut self, text: &Text<'_>) {
        if text.before(self.start) == b'(' && self.next_separator(0) == Separator::Close {
            self.start -= 1;
            self.is_open = true;
        }
        if text.before(self.start) == b'+' {
            self.start -= 1;
            self.has_plus = true;
        }
    }
}

/// The end of the digits that begin at a position.
pub(crate) fn digits_end(text: &Text<'_>, start: usize) -> usize {
    let rest = text.bytes.get(start..).unwrap_or_default();
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit());
    start + digits.count()
}

/// Whether the digits that end here begin a word or a time, which has to be looked at by itself: `538a:912`, `12:20`.
/// An extension is none.
fn is_another_word(text: &Text<'_>, end: usize) -> bool {
    match (text.at(end), text.at(end + 1)) {
        (b'x' | b'X', next) => !next.is_ascii_digit(),
        (b'e' | b'E', b'x' | b'X') => false,
        (b':', next) => next.is_ascii_hexdigit() || next == b':',
        (next, _) => next.is_ascii_alphabetic() || next == b'_',
    }
}

/// The separator at a position, where a digit follows it, and its bytes.
fn separator_at(text: &Text<'_>, at: usize) -> Option<(Separator, usize)> {
    let (separator, bytes) = match text.at(at) {
        b' ' if text.at(at + 1) == b'(' => (Separator::Open, 2),
        b' ' => (Separator::Space, 1),
        b'-' => (Separator::Dash, 1),
        b'.' => (Separator::Dot, 1),
        b'/' => (Separator::Slash, 1),
        b'(' => (Separator::Open, 1),
        b')' if matches!(text.at(at + 1), b' ' | b'-') => (Separator::Close, 2),
        b')' => (Separator::Close, 1),
        0xC2 if text.at(at + 1) == 0xA0 => (Separator::Space, 2),
        0xE2 if text.at(at + 1) == 0x80 => match text.at(at + 2) {
            0xAF => (Separator::Space, 3),
            0x90 | 0x91 | 0x93 => (Separator::Dash, 3),
            _ => return None,
        },
        _ => return None,
    };
    text.at(at + bytes)
        .is_ascii_digit()
        .then_some((separator, bytes))
}

const MAX_GROUPS: usize = 16;
const MAX_GROUP_DIGITS: usize = 24;
const MAX_DIGITS: usize = 96;
