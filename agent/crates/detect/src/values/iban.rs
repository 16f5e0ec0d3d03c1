//! IBANs: a country, its length, and the remainder 1 modulo 97.

use crate::text::Text;

/// The end of the IBAN that begins at `start`, in one piece or in groups of four.
pub(crate) fn end(text: &Text<'_>, start: usize) -> Option<usize> {
    let country = [
        text.at(start).to_ascii_uppercase(),
        text.at(start + 1).to_ascii_uppercase(),
    ];
    let length = length(country)?;
    let mut characters = [0_u8; MAX_LENGTH];
    let mut at = start;
    for place in 0..length {
        if place > 0 && place % 4 == 0 && matches!(text.at(at), b' ' | b'-') {
            at += 1;
        }
        let byte = text.at(at);
        if !byte.is_ascii_alphanumeric() {
            return None;
        }
        *characters.get_mut(place)? = byte;
        at += 1;
    }
    let is_whole = !text.at(at).is_ascii_alphanumeric();
    (is_whole && remainder(characters.get(..length)?) == 1).then_some(at)
}

/// The characters modulo 97, the first four moved to the end, letters counted from 10.
fn remainder(characters: &[u8]) -> u32 {
    let (head, body) = characters.split_at(characters.len().min(4));
    body.iter().chain(head).fold(0, |sum, character| {
        if character.is_ascii_digit() {
            (sum * 10 + u32::from(character - b'0')) % 97
        } else {
            let value = character.to_ascii_uppercase().wrapping_sub(b'A');
            (sum * 100 + u32::from(value) + 10) % 97
        }
    })
}

fn length(country: [u8; 2]) -> Option<usize> {
    let at = LENGTHS
        .binary_search_by_key(&country, |(country, _)| **country)
        .ok()?;
    LENGTHS.get(at).map(|(_, length)| usize::from(*length))
}

const MAX_LENGTH: usize = 34;

/// <https://www.swift.com/standards/data-standards/iban-international-bank-account-number>, in alphabetical order.
const LENGTHS: &[(&[u8; 2], u8)] = &[
    (b"AD", 24),
    (b"AE", 23),
    (b"AL", 28),
    (b"AT", 20),
    (b"AZ", 28),
    (b"BA", 20),
    (b"BE", 16),
    (b"BG", 22),
    (b"BH", 22),
    (b"BI", 27),
    (b"BR", 29),
    (b"BY", 28),
    (b"CH", 21),
    (b"CR", 22),
    (b"CY", 28),
    (b"CZ", 24),
    (b"DE", 22),
    (b"DJ", 27),
    (b"DK", 18),
    (b"DO", 28),
    (b"EE", 20),
    (b"EG", 29),
    (b"ES", 24),
    (b"FI", 18),
    (b"FK", 18),
    (b"FO", 18),
    (b"FR", 27),
    (b"GB", 22),
    (b"GE", 22),
    (b"GI", 23),
    (b"GL", 18),
    (b"GR", 27),
    (b"GT", 28),
    (b"HN", 28),
    (b"HR", 21),
    (b"HU", 28),
    (b"IE", 22),
    (b"IL", 23),
    (b"IQ", 23),
    (b"IS", 26),
    (b"IT", 27),
    (b"JO", 30),
    (b"KW", 30),
    (b"KZ", 20),
    (b"LB", 28),
    (b"LC", 32),
    (b"LI", 21),
    (b"LT", 20),
    (b"LU", 20),
    (b"LV", 21),
    (b"LY", 25),
    (b"MC", 27),
    (b"MD", 24),
    (b"ME", 22),
    (b"MK", 19),
    (b"MN", 20),
    (b"MR", 27),
    (b"MT", 31),
    (b"MU", 30),
    (b"NI", 28),
    (b"NL", 18),
    (b"NO", 15),
    (b"OM", 23),
    (b"PK", 24),
    (b"PL", 28),
    (b"PS", 29),
    (b"PT", 25),
    (b"QA", 29),
    (b"RO", 24),
    (b"RS", 22),
    (b"RU", 33),
    (b"SA", 24),
    (b"SC", 31),
    (b"SD", 18),
    (b"SE", 24),
    (b"SI", 19),
    (b"SK", 24),
    (b"SM", 27),
    (b"SO", 23),
    (b"ST", 25),
    (b"SV", 28),
    (b"TL", 23),
    (b"TN", 24),
    (b"TR", 26),
    (b"UA", 29),
    (b"VA", 22),
    (b"VG", 24),
    (b"XK", 20),
    (b"YE", 30),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cues::Cues;

    fn end_in(text: &str) -> Option<usize> {
        let cues = Cues::new();
        end(&Text::new(text.as_bytes(), &cues), 0)
    }

    #[test]
    fn countries_are_in_order() {
        assert!(LENGTHS.is_sorted_by_key(|(country, _)| country));
    }

    #[test]
    fn written_in_one_piece_in_groups_and_small() {
        for iban in [
            "DE89370400440532013000",
            "GB82 WEST 1234 5698 7654 32",
            "nl91abna0417164300",
            "NO93 8601 1117 947",
        ] {
            assert_eq!(end_in(iban), Some(iban.len()), "{iban}");
        }
    }

    #[test]
    fn a_wrong_digit_a_wrong_length_and_an_unknown_country_are_none() {
        for iban in [
            "DE89370400440532013001",
            "DE8937040044053201300",
            "DE893704004405320130000",
            "ZZ89370400440532013000",
        ] {
            assert_eq!(end_in(iban), None, "{iban}");
        }
    }
}
