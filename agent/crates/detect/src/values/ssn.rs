//! US social security numbers: `area-group-serial`, with the areas, groups and serials that are never given out.

use crate::{
    cues::Cue,
    number::{Number, Separator},
    text::Text,
};

/// How sure it is that the groups `first..=last` are a social security number, in percent; zero when they are not.
pub(crate) fn judge(text: &Text<'_>, number: &Number, first: usize, last: usize) -> u8 {
    if !is_ssn(number.digits(first, last)) || number.has_plus {
        return 0;
    }
    let is_written =
        matches!(number.widths(first, last), [3, 2, 4]) && number.stands_alone(first, last);
    if is_written && number.is_all(first, last, Separator::Dash) {
        if text.speaks_of_another_number(number.start) {
            55
        } else {
            90
        }
    } else if is_written && number.is_all(first, last, Separator::Space) || first == last {
        if text.last_speaks_of(Cue::Ssn, number.start) {
            90
        } else {
            0
        }
    } else {
        0
    }
}

/// Whether nine digits can be a social security number.
/// <https://www.ssa.gov/employer/randomization.html>
pub(crate) fn is_ssn(digits: &[u8]) -> bool {
    let Some(first) = digits.first().filter(|_| digits.len() == 9) else {
        return false;
    };
    let (area, rest) = digits.split_at(3);
    let (group, serial) = rest.split_at(2);
    area != b"000"
        && area != b"666"
        && *first != b'9'
        && group != b"00"
        && serial != b"0000"
        // Printed on sample cards and in advertising, and never valid.
        && digits != b"078051120"
        && digits != b"219099999"
        && digits != b"123456789"
        && digits.iter().any(|digit| digit != first)
}

/// Whether nine digits can be an individual taxpayer identification number.
pub(crate) fn is_itin(digits: &[u8]) -> bool {
    let [b'9', _, _, d, e, ..] = digits else {
        return false;
    };
    let group = (d - b'0') * 10 + (e - b'0');
    digits.len() == 9 && matches!(group, 50..=65 | 70..=88 | 90..=92 | 94..=99)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn areas_groups_and_serials_that_are_never_given_out_are_refused() {
        assert!(is_ssn(b"536904399"));
        for number in [
            "000123456",
            "666123456",
            "900123456",
            "536004399",
            "536900000",
            "53690439",
        ] {
            assert!(!is_ssn(number.as_bytes()), "{number}");
        }
    }

    #[test]
    fn an_itin_begins_with_nine() {
        assert!(is_itin(b"912701234"));
        assert!(!is_itin(b"912691234"));
        assert!(!is_itin(b"812701234"));
    }
}
