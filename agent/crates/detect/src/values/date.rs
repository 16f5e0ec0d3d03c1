//! Dates, which are told apart from numbers, and are dates of birth where the words before say so.

use crate::number::{Number, Separator};

/// Whether the three groups from `first` are a date.
pub(crate) fn is_date(number: &Number, first: usize) -> bool {
    let last = first + 2;
    if last >= number.count || number.has_plus && first == 0 {
        return false;
    }
    let separator = number.separator(first + 1);
    let is_written = matches!(
        separator,
        Separator::Dash | Separator::Dot | Separator::Slash | Separator::Space
    ) && number.is_all(first, last, separator)
        && number.next_separator(last) != separator
        && (first == 0 || number.separator(first) != separator);
    if !is_written {
        return false;
    }
    let value = |group: usize| two_or_four(number.digits(group, group));
    let (a, b, c) = (value(first), value(first + 1), value(last));
    let is_day = |day: u16| (1..=31).contains(&day);
    let is_month = |month: u16| (1..=12).contains(&month);
    match number.widths(first, last) {
        [4, 1..=2, 1..=2] => is_year(a) && is_month(b) && is_day(c),
        [1..=2, 1..=2, 4] => is_year(c) && (is_day(a) && is_month(b) || is_month(a) && is_day(b)),
        [1..=2, 1..=2, 2] if separator != Separator::Space => {
            is_day(a) && is_month(b) || is_month(a) && is_day(b)
        }
        _ => false,
    }
}

/// Whether a month and a day exist.
pub(crate) fn is_month_and_day(month: u16, day: u16) -> bool {
    (1..=12).contains(&month) && (1..=31).contains(&day)
}

/// The value of up to four digits.
pub(crate) fn two_or_four(digits: &[u8]) -> u16 {
    let mut value = 0_u16;
    for digit in digits.iter().take(4) {
        value = value * 10 + u16::from(digit.wrapping_sub(b'0'));
    }
    value
}

/// A year that living people remember or plan for.
pub(crate) fn is_year(year: u16) -> bool {
    (1850..=2150).contains(&year)
}
