//! National numbers with letters in them: codice fiscale, DNI, NIE, National Insurance, henkilötunnus.

use crate::{cues::Cue, kind::Scheme, text::Text, values::date};

/// The national number in the word `start..end`, or in the groups that begin with it: its end, scheme and confidence.
pub(crate) fn read(text: &Text<'_>, start: usize, end: usize) -> Option<(usize, Scheme, u8)> {
    let word = text.bytes.get(start..end)?;
    match word {
        [a, b, rest @ ..] if a.is_ascii_alphabetic() && b.is_ascii_alphabetic() => {
            if word.len() == 16 && is_fiscal_code(word) {
                return Some((end, Scheme::ItFiscalCode, 97));
            }
            if rest.len() <= 7 {
                nino(text, start)
            } else {
                None
            }
        }
        [b'X' | b'Y' | b'Z' | b'x' | b'y' | b'z', ..] => {
            dni_with_letter(text, start, end, Scheme::EsNie)
        }
        [b'0'..=b'9', ..] if word.len() >= 8 => {
            if is_hetu(word) {
                return Some((end, Scheme::FiHetu, 92));
            }
            dni_with_letter(text, start, end, Scheme::EsDni)
        }
        [b'0'..=b'9', ..] if word.len() == 6 => {
            // `130542-308T`: the sign of the twentieth century is a dash.
            let whole = text.bytes.get(start..start + 11)?;
            let is_apart = !text.is_word(start + 11);
            (is_apart && is_hetu(whole)).then_some((start + 11, Scheme::FiHetu, 92))
        }
        _ => None,
    }
}

/// Six letters, two digits, a letter, two digits, a letter, three digits, a check letter; where two people would share
/// one, letters stand for digits.
fn is_fiscal_code(word: &[u8]) -> bool {
    const DIGITS: [usize; 7] = [6, 7, 9, 10, 12, 13, 14];
    let is_formed = word.iter().enumerate().all(|(place, byte)| {
        let byte = byte.to_ascii_uppercase();
        if DIGITS.contains(&place) {
            byte.is_ascii_digit() || b"LMNPQRSTUV".contains(&byte)
        } else {
            byte.is_ascii_uppercase()
        }
    });
    let is_month = b"ABCDEHLMPRST".contains(&word[8].to_ascii_uppercase());
    if !is_formed || !is_month {
        return false;
    }
    let mut sum = 0_u32;
    for (place, byte) in word[..15].iter().enumerate() {
        let byte = byte.to_ascii_uppercase();
        let value = if byte.is_ascii_digit() {
            byte - b'0'
        } else {
            byte - b'A'
        };
        sum += if place % 2 == 0 {
            u32::from(ODD_PLACES[usize::from(value)])
        } else {
            u32::from(value)
        };
    }
    u32::from(word[15].to_ascii_uppercase() - b'A') == sum % 26
}

/// What the characters at the odd places, counted from one, are worth: digits and letters alike.
const ODD_PLACES: [u8; 26] = [
    1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23,
];

/// A DNI is eight digits and a letter, an NIE begins with one of three letters in place of the first digit.
fn dni_with_letter(
    text: &Text<'_>,
    start: usize,
    end: usize,
    scheme: Scheme,
) -> Option<(usize, Scheme, u8)> {
    let lead = text.at(start).to_ascii_uppercase();
    let mut number = match lead {
        b'X' | b'Y' | b'Z' => u32::from(lead - b'X'),
        digit => u32::from(digit.checked_sub(b'0')?),
    };
    let mut at = start + 1;
    if scheme == Scheme::EsNie && text.at(at) == b'-' {
        at += 1;
    }
    for _ in 0..7 {
        let digit = text.at(at);
        if !digit.is_ascii_digit() {
            return None;
        }
        number = number * 10 + u32::from(digit - b'0');
        at += 1;
    }
    let is_apart = text.at(at) == b'-';
    at += usize::from(is_apart);
    let letter = text.at(at).to_ascii_uppercase();
    let is_alone = !text.is_word(at + 1) && at + 1 >= end;
    let is_valid = LETTERS.get((number % 23) as usize) == Some(&letter);
    (is_alone && is_valid).then_some((at + 1, scheme, 85))
}

const LETTERS: &[u8; 23] = b"TRWAGMYFPDXBNJZSQVHLCKE";

/// Two letters, six digits, a letter from A to D; spaces may part the pairs. There is no check digit.
fn nino(text: &Text<'_>, start: usize) -> Option<(usize, Scheme, u8)> {
    let (first, second) = (text.at(start), text.at(start + 1));
    let is_prefix = first.is_ascii_uppercase()
        && second.is_ascii_uppercase()
        && !b"DFIQUV".contains(&first)
        && !b"DFIOQUV".contains(&second)
        && ![*b"BG", *b"GB", *b"KN", *b"NK", *b"NT", *b"TN", *b"ZZ"].contains(&[first, second]);
    if !is_prefix {
        return None;
    }
    let mut at = start + 2;
    let mut spaces = 0_u8;
    for _ in 0..3 {
        if text.at(at) == b' ' {
            at += 1;
            spaces += 1;
        }
        if !text.at(at).is_ascii_digit() || !text.at(at + 1).is_ascii_digit() {
            return None;
        }
        at += 2;
    }
    if text.at(at) == b' ' && spaces > 0 {
        at += 1;
        spaces += 1;
    }
    let is_whole = matches!(text.at(at), b'A'..=b'D') && !text.is_word(at + 1);
    let confidence = if spaces == 4 || text.speaks_of(Cue::Nino, start) {
        92
    } else if spaces == 0 {
        65
    } else {
        0
    };
    (is_whole && confidence > 0).then_some((at + 1, Scheme::UkNino, confidence))
}

/// Day, month, year, the sign of the century, three digits, a check character.
fn is_hetu(word: &[u8]) -> bool {
    let [date @ .., sign, a, b, c, check] = word else {
        return false;
    };
    let is_sign = matches!(sign, b'+' | b'-' | b'A'..=b'F' | b'U'..=b'Y');
    let is_number = date.len() == 6 && date.iter().chain([a, b, c]).all(u8::is_ascii_digit);
    if !is_sign || !is_number {
        return false;
    }
    let is_date = date::is_month_and_day(
        date::two_or_four(&date[2..4]),
        date::two_or_four(&date[..2]),
    );
    let digits = date.iter().chain([a, b, c]);
    let number = digits.fold(0_u32, |sum, digit| sum * 10 + u32::from(digit - b'0'));
    is_date && HETU_CHECKS.get((number % 31) as usize) == Some(check)
}

const HETU_CHECKS: &[u8; 31] = b"0123456789ABCDEFHJKLMNPRSTUVWXY";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cues::Cues;

    fn read_word(word: &str) -> Option<Scheme> {
        let cues = Cues::new();
        let text = Text::new(word.as_bytes(), &cues);
        let end = word
            .bytes()
            .position(|byte| !byte.is_ascii_alphanumeric())
            .unwrap_or(word.len());
        read(&text, 0, end).map(|(_, scheme, _)| scheme)
    }

    #[test]
    fn published_examples_are_found() {
        for (word, scheme) in [
            ("RSSMRA85T10A562S", Scheme::ItFiscalCode),
            ("12345678Z", Scheme::EsDni),
            ("12345678-Z", Scheme::EsDni),
            ("X1234567L", Scheme::EsNie),
            ("X-1234567-L", Scheme::EsNie),
            ("AB 12 34 56 C", Scheme::UkNino),
            ("AB123456C", Scheme::UkNino),
            ("131052-308T", Scheme::FiHetu),
            ("131052A308T", Scheme::FiHetu),
        ] {
            assert_eq!(read_word(word), Some(scheme), "{word}");
        }
    }

    #[test]
    fn wrong_check_letters_are_not() {
        for word in [
            "RSSMRA85T10A562T",
            "12345678A",
            "X1234567A",
            "QQ 12 34 56 C",
            "AB 12 34 56 E",
            "131052-308U",
            "12345678ZZ",
        ] {
            assert_eq!(read_word(word), None, "{word}");
        }
    }
}
