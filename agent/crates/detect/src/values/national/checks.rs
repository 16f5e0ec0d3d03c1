//! The checks of national numbers made of digits alone.

use crate::{kind::Scheme, values::date};

/// A check over ASCII digits; any length may come.
type Check = fn(&[u8]) -> bool;

/// Every scheme of digits alone, with its check.
pub(crate) const ALL: &[(Scheme, Check)] = &[
    (Scheme::BeRegister, is_be_register),
    (Scheme::BrCpf, is_br_cpf),
    (Scheme::CaSin, is_ca_sin),
    (Scheme::ChAhv, is_ch_ahv),
    (Scheme::DeTaxId, is_de_tax_id),
    (Scheme::FrNir, is_fr_nir),
    (Scheme::InAadhaar, is_in_aadhaar),
    (Scheme::NlBsn, is_nl_bsn),
    (Scheme::NoBirthNumber, is_no_birth_number),
    (Scheme::PlPesel, is_pl_pesel),
    (Scheme::SePersonal, is_se_personal),
];

/// Luhn: every second digit from the right doubled, the sum of all digits divisible by ten.
pub(crate) fn luhn(digits: &[u8]) -> bool {
    let mut sum = 0_u32;
    for (place, digit) in digits.iter().rev().enumerate() {
        let value = value(*digit);
        sum += match (place % 2, value) {
            (0, value) => value,
            (_, value) if value > 4 => value * 2 - 9,
            (_, value) => value * 2,
        };
    }
    sum.is_multiple_of(10)
}

fn is_be_register(digits: &[u8]) -> bool {
    if digits.len() != 11 || !is_date(digits, 2, 4) {
        return false;
    }
    let (body, check) = (number(&digits[..9]), number(&digits[9..]));
    // From 2000 on a 2 stands before the nine digits.
    check == 97 - body % 97 || check == 97 - (2_000_000_000 + body) % 97
}

fn is_br_cpf(digits: &[u8]) -> bool {
    if digits.len() != 11 || is_one_digit(digits) {
        return false;
    }
    let check = |length: usize| {
        let weights = (2..=u64::try_from(length).unwrap_or(0) + 1).rev();
        let sum = weighted(&digits[..length], weights);
        (sum * 10 % 11) % 10 == u64::from(value(digits[length]))
    };
    check(9) && check(10)
}

fn is_ca_sin(digits: &[u8]) -> bool {
    digits.len() == 9 && !matches!(digits[0], b'0' | b'8') && !is_one_digit(digits) && luhn(digits)
}

fn is_ch_ahv(digits: &[u8]) -> bool {
    if digits.len() != 13 || !digits.starts_with(b"756") {
        return false;
    }
    let weights = [1_u64, 3].into_iter().cycle();
    weighted(digits, weights).is_multiple_of(10)
}

/// Eleven digits; of the first ten one occurs twice or three times, the others at most once.
fn is_de_tax_id(digits: &[u8]) -> bool {
    if digits.len() != 11 || digits[0] == b'0' {
        return false;
    }
    let mut counts = [0_u8; 10];
    for digit in &digits[..10] {
        counts[value(*digit) as usize % 10] += 1;
    }
    let repeated = counts.iter().filter(|count| **count > 1).count();
    let most = counts.iter().max().copied().unwrap_or(0);
    if repeated != 1 || most > 3 {
        return false;
    }
    let mut product = 10;
    for digit in &digits[..10] {
        let sum = (value(*digit) + product) % 10;
        product = (if sum == 0 { 10 } else { sum }) * 2 % 11;
    }
    (11 - product) % 10 == value(digits[10])
}

/// Sex, year, month, department, commune, order, and a key of two digits; without the key nothing is checked.
fn is_fr_nir(digits: &[u8]) -> bool {
    if digits.len() != 15 || !matches!(digits[0], b'1'..=b'4' | b'7' | b'8') {
        return false;
    }
    let month = number(&digits[3..5]);
    let is_month = (1..=12).contains(&month) || (20..=42).contains(&month) || month >= 50;
    is_month && number(&digits[13..]) == 97 - number(&digits[..13]) % 97
}

fn is_in_aadhaar(digits: &[u8]) -> bool {
    digits.len() == 12 && digits[0] >= b'2' && !is_one_digit(digits) && verhoeff(digits)
}

fn is_nl_bsn(digits: &[u8]) -> bool {
    if digits.len() != 9 || is_one_digit(digits) {
        return false;
    }
    let sum = weighted(&digits[..8], (2..=9).rev());
    let last = u64::from(value(digits[8]));
    sum >= last && (sum - last).is_multiple_of(11)
}

fn is_no_birth_number(digits: &[u8]) -> bool {
    if digits.len() != 11 {
        return false;
    }
    // Numbers for foreigners add 40 to the day.
    let day = date::two_or_four(&digits[..2]) % 40;
    if !date::is_month_and_day(date::two_or_four(&digits[2..4]), day) {
        return false;
    }
    let first = weighted(&digits[..10], [3, 7, 6, 1, 8, 9, 4, 5, 2, 1].into_iter());
    let second = weighted(digits, [5, 4, 3, 2, 7, 6, 5, 4, 3, 2, 1].into_iter());
    first.is_multiple_of(11) && second.is_multiple_of(11)
}

fn is_pl_pesel(digits: &[u8]) -> bool {
    if digits.len() != 11 {
        return false;
    }
    // Centuries other than the twentieth add 20, 40, 60 or 80 to the month.
    let month = date::two_or_four(&digits[2..4]) % 20;
    date::is_month_and_day(month, date::two_or_four(&digits[4..6]))
        && weighted(digits, [1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1].into_iter()).is_multiple_of(10)
}

fn is_se_personal(digits: &[u8]) -> bool {
    let short = match digits.len() {
        10 => digits,
        12 if digits.starts_with(b"19") || digits.starts_with(b"20") => &digits[2..],
        _ => return false,
    };
    // Coordination numbers add 60 to the day.
    let day = date::two_or_four(&short[4..6]) % 60;
    date::is_month_and_day(date::two_or_four(&short[2..4]), day) && luhn(short)
}

/// <https://en.wikipedia.org/wiki/Verhoeff_algorithm>: multiplication in the dihedral group of ten.
fn verhoeff(digits: &[u8]) -> bool {
    let mut check = 0_u32;
    for (place, digit) in digits.iter().rev().enumerate() {
        let mut moved = value(*digit);
        for _ in 0..place % 8 {
            moved = u32::from(PERMUTATION[moved as usize % 10]);
        }
        check = dihedral(check, moved);
    }
    check == 0
}

/// The product of two elements: rotations are 0 to 4, reflections 5 to 9.
const fn dihedral(a: u32, b: u32) -> u32 {
    match (a < 5, b < 5) {
        (true, true) => (a + b) % 5,
        (true, false) => (a + b - 5) % 5 + 5,
        (false, true) => (a - 5 + 5 - b) % 5 + 5,
        (false, false) => (a + 5 - b) % 5,
    }
}

const PERMUTATION: [u8; 10] = [1, 5, 7, 6, 2, 8, 3, 0, 9, 4];

fn is_date(digits: &[u8], month: usize, day: usize) -> bool {
    // Numbers given out before a birth date or sex is known add 20 or 40 to the month.
    date::is_month_and_day(
        date::two_or_four(&digits[month..month + 2]) % 20,
        date::two_or_four(&digits[day..day + 2]),
    )
}

fn is_one_digit(digits: &[u8]) -> bool {
    digits.windows(2).all(|pair| pair[0] == pair[1])
}

fn weighted(digits: &[u8], weights: impl Iterator<Item = u64>) -> u64 {
    let products = digits.iter().zip(weights);
    products
        .map(|(digit, weight)| u64::from(value(*digit)) * weight)
        .sum()
}

fn number(digits: &[u8]) -> u64 {
    digits
        .iter()
        .take(18)
        .fold(0, |sum, digit| sum * 10 + u64::from(value(*digit)))
}

fn value(digit: u8) -> u32 {
    u32::from(digit.wrapping_sub(b'0') % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALID: &[(Check, &str)] = &[
        (is_be_register, "85073003328"),
        (is_br_cpf, "52998224725"),
        (is_ca_sin, "130692544"),
        (is_ch_ahv, "7569217076985"),
        (is_de_tax_id, "86095742719"),
        (is_de_tax_id, "65929970489"),
        (is_fr_nir, "255081416802538"),
        (is_in_aadhaar, "234123412346"),
        (is_nl_bsn, "111222333"),
        (is_no_birth_number, "13063745663"),
        (is_pl_pesel, "44051401359"),
        (is_se_personal, "8112189876"),
        (is_se_personal, "198112189876"),
    ];

    #[test]
    fn published_examples_pass_and_any_other_last_digit_fails() {
        for (check, number) in VALID {
            assert!(check(number.as_bytes()), "{number}");
            let mut other = number.as_bytes().to_vec();
            let last = other.len() - 1;
            for digit in b'0'..=b'9' {
                if digit != number.as_bytes()[last] {
                    other[last] = digit;
                    assert!(!check(&other), "{}", String::from_utf8_lossy(&other));
                }
            }
        }
    }

    #[test]
    fn no_check_minds_any_length() {
        for length in 0..20 {
            let digits = vec![b'7'; length];
            for (_, check) in ALL {
                assert!(!check(&digits) || length > 0);
            }
        }
    }
}
