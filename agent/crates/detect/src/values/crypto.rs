//! Addresses that cryptocurrency is sent to: Bitcoin's with their checksums, Ethereum's by form.

use crate::text::Text;

mod sha256;

/// How sure it is that the word `start..end` is such an address, in percent; zero when it is none.
pub(crate) fn judge(text: &Text<'_>, start: usize, end: usize) -> u8 {
    let word = text.bytes.get(start..end).unwrap_or_default();
    match word {
        [b'0', b'x' | b'X', hex @ ..]
            if hex.len() == 40 && hex.iter().all(u8::is_ascii_hexdigit) =>
        {
            85
        }
        [b'1' | b'3', ..] if (25..=35).contains(&word.len()) && is_base58check(word) => 97,
        [b'b' | b'B', b'c' | b'C', b'1', data @ ..]
            if (11..=71).contains(&data.len()) && is_bech32(data) =>
        {
            97
        }
        _ => 0,
    }
}

/// 25 bytes in base 58, the last four of them the beginning of a double SHA-256 of the others.
fn is_base58check(word: &[u8]) -> bool {
    let mut bytes = [0_u8; 25];
    for character in word {
        let Some(value) = BASE58.iter().position(|known| known == character) else {
            return false;
        };
        let mut carry = u32::try_from(value).unwrap_or(0);
        for byte in bytes.iter_mut().rev() {
            carry += u32::from(*byte) * 58;
            *byte = carry.to_le_bytes()[0];
            carry >>= 8;
        }
        if carry != 0 {
            return false;
        }
    }
    let (body, check) = bytes.split_at(21);
    matches!(body.first(), Some(0 | 5)) && sha256::digest(&sha256::digest(body)).starts_with(check)
}

const BASE58: &[u8; 58] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";

/// <https://github.com/bitcoin/bips/blob/master/bip-0173.mediawiki> and 0350, for the prefix `bc`.
fn is_bech32(data: &[u8]) -> bool {
    let has_small = data.iter().any(u8::is_ascii_lowercase);
    if has_small && data.iter().any(u8::is_ascii_uppercase) {
        return false;
    }
    // The prefix spread over its high and low bits: b is 3 and 2, c is 3 and 3.
    let mut sum = [3, 3, 0, 2, 3].into_iter().fold(1, polymod);
    for character in data {
        let small = character.to_ascii_lowercase();
        let Some(value) = BECH32.iter().position(|known| *known == small) else {
            return false;
        };
        sum = polymod(sum, u32::try_from(value).unwrap_or(0));
    }
    matches!(sum, 1 | BECH32M)
}

fn polymod(sum: u32, value: u32) -> u32 {
    const GENERATOR: [u32; 5] = [
        0x3b6a_57b2,
        0x2650_8e6d,
        0x1ea1_19fa,
        0x3d42_33dd,
        0x2a14_62b3,
    ];
    let top = sum >> 25;
    let mut sum = (sum & 0x01ff_ffff) << 5 ^ value;
    for (bit, generator) in GENERATOR.into_iter().enumerate() {
        if top >> bit & 1 == 1 {
            sum ^= generator;
        }
    }
    sum
}

const BECH32: &[u8; 32] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";
const BECH32M: u32 = 0x2bc8_30a3;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cues::Cues;

    fn is_address(word: &str) -> bool {
        let cues = Cues::new();
        judge(&Text::new(word.as_bytes(), &cues), 0, word.len()) > 0
    }

    #[test]
    fn published_addresses_pass_and_a_changed_character_does_not() {
        for address in [
            "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa",
            "3J98t1WpEZ73CNmQviecrnyiWrnqRhWNLy",
            "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4",
            "BC1QW508D6QEJXTDG4Y5R3ZARVARY0C5XW7KV8F3T4",
            "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0",
            "0x52908400098527886E0F7030069857D2E4169EE7",
        ] {
            assert!(is_address(address), "{address}");
        }
        for other in [
            "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNb",
            "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t5",
            "0x52908400098527886E0F7030069857D2E4169EEG",
        ] {
            assert!(!is_address(other), "{other}");
        }
    }
}
