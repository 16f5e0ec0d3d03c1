//! Keys and tokens of services: by their prefix, or by their randomness where a word before them calls them secret.

use crate::{cues::Cue, text::Text};

/// The end of the key that begins at `start`, and how sure it is one.
pub(crate) fn read(text: &Text<'_>, start: usize) -> Option<(usize, u8)> {
    if matches!(text.before(start), b'-' | b'.') {
        return None;
    }
    let rest = text.bytes.get(start..)?;
    let known = PREFIXES.iter().find(|form| rest.starts_with(form.prefix));
    if let Some(form) = known {
        let end = run_end(text, start + form.prefix.len(), form.alphabet);
        let length = end - start - form.prefix.len();
        let is_apart = !text.at(end).is_ascii_alphanumeric();
        let body = text.bytes.get(start + form.prefix.len()..end)?;
        if (form.shortest..=form.longest).contains(&length)
            && is_apart
            && is_mixed(body, form.alphabet)
        {
            return Some((end, 96));
        }
    }
    named(text, start)
}

/// A random word that the text calls a secret.
fn named(text: &Text<'_>, start: usize) -> Option<(usize, u8)> {
    let end = run_end(text, start, Alphabet::Base64);
    let word = text.bytes.get(start..end)?;
    let is_long = (MIN_RANDOM_BYTES..=MAX_RANDOM_BYTES).contains(&word.len());
    (is_long && is_random(word) && !is_uuid(word) && text.last_speaks_of(Cue::Secret, start))
        .then_some((end, 75))
}

/// Whether the characters are as spread as chance would have them: letters and digits mixed, few repeated.
fn is_random(word: &[u8]) -> bool {
    let mut seen = [false; 256];
    let mut changes = 0_usize;
    let mut last = class(word.first().copied().unwrap_or(0));
    for byte in word {
        seen[usize::from(*byte)] = true;
        let class = class(*byte);
        changes += usize::from(class != last);
        last = class;
    }
    let distinct = seen.iter().filter(|seen| **seen).count();
    let has_digit = word.iter().any(u8::is_ascii_digit);
    let has_letter = word.iter().any(u8::is_ascii_alphabetic);
    has_digit && has_letter && distinct >= 9 && changes * 5 >= word.len()
}

fn class(byte: u8) -> u8 {
    match byte {
        b'0'..=b'9' => 0,
        b'a'..=b'z' => 1,
        b'A'..=b'Z' => 2,
        _ => 3,
    }
}

/// Fixed prefixes are followed by random characters, not by words or by the `XXXX` of a manual.
fn is_mixed(body: &[u8], alphabet: Alphabet) -> bool {
    let mut seen = [false; 256];
    for byte in body {
        seen[usize::from(*byte)] = true;
    }
    let distinct = seen.iter().filter(|seen| **seen).count();
    let has_digit = body.iter().any(u8::is_ascii_digit);
    distinct >= 6 && (has_digit || alphabet == Alphabet::Upper)
}

fn is_uuid(word: &[u8]) -> bool {
    word.len() == 36
        && [8, 13, 18, 23]
            .iter()
            .all(|at| word.get(*at) == Some(&b'-'))
}

fn run_end(text: &Text<'_>, start: usize, alphabet: Alphabet) -> usize {
    let rest = text.bytes.get(start..).unwrap_or_default();
    let run = rest
        .iter()
        .take(MAX_RANDOM_BYTES * 2)
        .take_while(|byte| match alphabet {
            Alphabet::Upper => byte.is_ascii_uppercase() || byte.is_ascii_digit(),
            Alphabet::Word => byte.is_ascii_alphanumeric(),
            Alphabet::Base64Url => byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'),
            Alphabet::Dotted => byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'),
            Alphabet::Base64 => {
                byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'+' | b'/' | b'=')
            }
        });
    start + run.count()
}

/// What a key is made of after its prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Alphabet {
    Upper,
    Word,
    Base64Url,
    Dotted,
    Base64,
}

struct Form {
    prefix: &'static [u8],
    alphabet: Alphabet,
    shortest: usize,
    longest: usize,
}

const fn form(prefix: &'static str, alphabet: Alphabet, shortest: usize, longest: usize) -> Form {
    Form {
        prefix: prefix.as_bytes(),
        alphabet,
        shortest,
        longest,
    }
}

/// Longer prefixes come before those they begin with.
const PREFIXES: &[Form] = &[
    // Amazon Web Services.
    form("AKIA", Alphabet::Upper, 16, 16),
    form("ASIA", Alphabet::Upper, 16, 16),
    form("AROA", Alphabet::Upper, 17, 17),
    form("AIDA", Alphabet::Upper, 17, 17),
    // GitHub, GitLab.
    form("github_pat_", Alphabet::Base64Url, 40, 90),
    form("ghp_", Alphabet::Word, 36, 255),
    form("gho_", Alphabet::Word, 36, 255),
    form("ghu_", Alphabet::Word, 36, 255),
    form("ghs_", Alphabet::Word, 36, 255),
    form("ghr_", Alphabet::Word, 36, 255),
    form("glpat-", Alphabet::Base64Url, 20, 64),
    // Slack.
    form("xoxb-", Alphabet::Base64Url, 20, 255),
    form("xoxp-", Alphabet::Base64Url, 20, 255),
    form("xoxa-", Alphabet::Base64Url, 20, 255),
    form("xoxr-", Alphabet::Base64Url, 20, 255),
    form("xoxs-", Alphabet::Base64Url, 20, 255),
    form("xapp-", Alphabet::Base64Url, 20, 255),
    // Stripe.
    form("sk_live_", Alphabet::Word, 16, 255),
    form("sk_test_", Alphabet::Word, 16, 255),
    form("rk_live_", Alphabet::Word, 16, 255),
    form("rk_test_", Alphabet::Word, 16, 255),
    form("pk_live_", Alphabet::Word, 16, 255),
    form("pk_test_", Alphabet::Word, 16, 255),
    form("whsec_", Alphabet::Word, 24, 255),
    // Google.
    form("AIza", Alphabet::Base64Url, 35, 35),
    form("GOCSPX-", Alphabet::Base64Url, 28, 28),
    form("ya29.", Alphabet::Dotted, 30, 400),
    // Makers of models.
    form("sk-ant-", Alphabet::Base64Url, 32, 255),
    form("sk-proj-", Alphabet::Base64Url, 32, 255),
    form("sk-", Alphabet::Base64Url, 32, 255),
    form("hf_", Alphabet::Word, 30, 64),
    // Registries, mail, clouds, shops.
    form("npm_", Alphabet::Word, 36, 36),
    form("pypi-", Alphabet::Base64Url, 50, 255),
    form("SG.", Alphabet::Dotted, 60, 80),
    form("key-", Alphabet::Word, 32, 32),
    form("dop_v1_", Alphabet::Word, 64, 64),
    form("shpat_", Alphabet::Word, 32, 32),
    form("shpss_", Alphabet::Word, 32, 32),
    form("SK", Alphabet::Word, 32, 32),
    form("sq0atp-", Alphabet::Base64Url, 22, 22),
    form("EAAA", Alphabet::Base64Url, 60, 255),
    form("hvs.", Alphabet::Base64Url, 24, 255),
    form("AGE-SECRET-KEY-1", Alphabet::Upper, 58, 58),
    form("dapi", Alphabet::Word, 32, 32),
    form("lin_api_", Alphabet::Word, 32, 64),
    form("nvapi-", Alphabet::Base64Url, 40, 100),
];

/// Whether any prefix begins with this byte.
pub(crate) fn may_begin_with(byte: u8) -> bool {
    FIRST_BYTES.contains(&byte)
}

const FIRST_BYTES: &[u8] = b"AgGxsrpwyhnSkdEl";

const MIN_RANDOM_BYTES: usize = 16;
const MAX_RANDOM_BYTES: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cues::Cues;

    #[test]
    fn every_prefix_is_looked_for() {
        for form in PREFIXES {
            assert!(may_begin_with(form.prefix[0]));
        }
    }

    #[test]
    fn a_key_of_words_or_of_a_manual_is_none() {
        let cues = Cues::new();
        let is_key = |text: &str| read(&Text::new(text.as_bytes(), &cues), 0).is_some();
        assert!(is_key("AKIAIOSFODNN7EXAMPLE"));
        assert!(!is_key("ghp_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"));
        assert!(!is_key("sk-this-is-a-hyphenated-name-of-something-long"));
        assert!(!is_key("skeleton"));
    }
}
