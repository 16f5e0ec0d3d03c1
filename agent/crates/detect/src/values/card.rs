//! Payment cards: 12 to 19 digits, an issuer's range, the Luhn check digit.

use crate::{
    number::{Number, Separator},
    text::Text,
    values::national::luhn,
};

/// How sure it is that the groups `first..=last` are the number of a card, in percent; zero when they are not.
pub(crate) fn judge(text: &Text<'_>, number: &Number, first: usize, last: usize) -> u8 {
    let digits = number.digits(first, last);
    let is_dialled = number.has_plus && first == 0;
    if is_dialled
        || !(12..=19).contains(&digits.len())
        || !is_grouped(number, first, last)
        || !luhn(digits)
    {
        return 0;
    }
    let is_issued = has_issuer(digits);
    if !is_issued {
        let is_named = text.last_speaks_of(crate::cues::Cue::Card, number.start);
        return if is_named && digits[0] != b'0' { 60 } else { 0 };
    }
    match digits.len() {
        _ if first < last => 97,
        15 | 16 => 92,
        _ => 70,
    }
}

/// Whether the digits could be a card's: length, issuer, check digit.
pub(crate) fn is_card(digits: &[u8]) -> bool {
    (12..=19).contains(&digits.len()) && has_issuer(digits) && luhn(digits)
}

/// Whether the groups are written as on a card, and nothing of the same writing goes on beside them.
fn is_grouped(number: &Number, first: usize, last: usize) -> bool {
    let joins = |separator: Separator| {
        matches!(
            separator,
            Separator::Dash | Separator::Dot | Separator::Close | Separator::Open
        )
    };
    let before = if first == 0 {
        Separator::None
    } else {
        number.separator(first)
    };
    if joins(before) || joins(number.next_separator(last)) {
        return false;
    }
    if first == last {
        return true;
    }
    let written = number.is_all(first, last, Separator::Space)
        || number.is_all(first, last, Separator::Dash)
        || number.is_all(first, last, Separator::Dot);
    written
        && matches!(
            number.widths(first, last),
            [4, 4, 4]
                | [4, 4, 4, 1..=4]
                | [4, 4, 4, 4, 1..=3]
                | [4, 6, 4 | 5]
                | [4, 5, 6]
                | [6, 13]
        )
}

/// Whether an issuer gives out numbers that begin and are as long as this.
fn has_issuer(digits: &[u8]) -> bool {
    let mut prefix = 0_u32;
    for digit in digits.iter().take(6) {
        prefix = prefix * 10 + u32::from(digit - b'0');
    }
    let length = u8::try_from(digits.len()).unwrap_or(u8::MAX);
    let range = ISSUERS
        .iter()
        .find(|range| (range.from..=range.to).contains(&prefix));
    range.is_some_and(|range| (range.shortest..=range.longest).contains(&length))
}

/// Numbers that one issuer gives out: the first six digits, and how long they are.
struct Range {
    from: u32,
    to: u32,
    shortest: u8,
    longest: u8,
}

const fn range(from: u32, to: u32, shortest: u8, longest: u8) -> Range {
    Range {
        from,
        to,
        shortest,
        longest,
    }
}

/// Where ranges overlap the first holds, so the narrow ones come first.
const ISSUERS: &[Range] = &[
    // Visa.
    range(400_000, 499_999, 13, 19),
    // Mastercard.
    range(510_000, 559_999, 16, 16),
    range(222_100, 272_099, 16, 16),
    // American Express.
    range(340_000, 349_999, 15, 15),
    range(370_000, 379_999, 15, 15),
    // Diners Club.
    range(300_000, 305_999, 14, 19),
    range(309_500, 309_599, 14, 19),
    range(360_000, 369_999, 14, 19),
    range(380_000, 399_999, 14, 19),
    // JCB.
    range(352_800, 358_999, 16, 19),
    range(213_100, 213_199, 15, 15),
    range(180_000, 180_099, 15, 15),
    // Mir, Humo, Uzcard, Troy.
    range(220_000, 220_599, 16, 19),
    range(986_000, 986_099, 16, 16),
    range(860_000, 860_099, 16, 16),
    range(979_200, 979_299, 16, 16),
    // UnionPay, RuPay.
    range(810_000, 829_999, 16, 19),
    range(353_000, 353_999, 16, 16),
    // Discover, Maestro, UnionPay, RuPay, Verve, Interpayment, Laser, Troy: the ranges overlap.
    range(500_000, 509_999, 12, 19),
    range(560_000, 589_999, 12, 19),
    range(600_000, 699_999, 12, 19),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_every_issuer_are_cards() {
        for number in [
            "4111111111111111",
            "4222222222222",
            "5555555555554444",
            "2223003122003222",
            "378282246310005",
            "30569309025904",
            "6011111111111117",
            "3530111333300000",
            "6304000000000000",
            "6200000000000005",
            "501800000009",
        ] {
            assert!(is_card(number.as_bytes()), "{number}");
        }
    }

    #[test]
    fn a_wrong_digit_an_unknown_issuer_and_a_wrong_length_are_no_cards() {
        for number in [
            "4111111111111112",
            "1111111111111117",
            "411111111111",
            "9999999999999995",
        ] {
            assert!(!is_card(number.as_bytes()), "{number}");
        }
    }
}
