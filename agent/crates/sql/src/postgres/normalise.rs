//! The text without its literals and comments, and the hash of it.

use super::lexer::{Token, TokenKind, continues_word};

/// A text whose literals are parameters.
pub(super) struct Normalised {
    pub(super) text: String,
    pub(super) fingerprint: u64,
}

/// Replaces every literal of `text` by a parameter, numbered behind the text's own.
///
/// `values` holds the offsets, sorted, of further words that are values although they read as identifiers
/// (`SET app.token TO abc`). White space shrinks to one space, comments and what ends the last
/// statement go.
pub(super) fn normalise(text: &str, tokens: &[Token], values: &[usize]) -> Normalised {
    let mut next = highest_param(text, tokens) + 1;
    let mut out = String::with_capacity(text.len());
    let mut apart = false;
    let mut after_literal = false;
    for token in tokens {
        let literal = match token.kind {
            TokenKind::Space | TokenKind::Comment => {
                apart = !out.is_empty();
                continue;
            }
            TokenKind::Text | TokenKind::Number => true,
            _ => values.binary_search(&token.start).is_ok(),
        };
        let piece = text.get(token.start..token.end).unwrap_or_default();
        if apart || (literal && ends_in_word(&out)) || (after_literal && begins_like_word(piece)) {
            out.push(' ');
        }
        apart = false;
        after_literal = literal;
        if literal {
            out.push('$');
            out.push_str(&next.to_string());
            next += 1;
        } else {
            out.push_str(piece);
        }
    }
    let kept = out.trim_end_matches([' ', ';']).len();
    out.truncate(kept);
    Normalised {
        fingerprint: fingerprint(&out),
        text: out,
    }
}

/// What stands for a text that cannot be read: a literal could be anywhere in it.
pub(super) fn redacted(length_bytes: usize) -> String {
    format!("<unparsed, {length_bytes} bytes>")
}

fn highest_param(text: &str, tokens: &[Token]) -> u64 {
    tokens
        .iter()
        .filter(|token| token.kind == TokenKind::Param)
        .filter_map(|token| text.get(token.start + 1..token.end)?.parse::<u32>().ok())
        .max()
        .map_or(0, u64::from)
}

fn ends_in_word(out: &str) -> bool {
    out.bytes().next_back().is_some_and(continues_word)
}

fn begins_like_word(piece: &str) -> bool {
    piece.bytes().next().is_some_and(continues_word)
}

/// FNV-1a over the text, letters outside quotes folded: the audit trail keeps it, so that it may
/// not change from build to build. It groups; it proves nothing.
/// <https://datatracker.ietf.org/doc/html/draft-eastlake-fnv>
fn fingerprint(text: &str) -> u64 {
    let mut quoted = false;
    text.bytes().fold(OFFSET_BASIS, |hash, byte| {
        quoted ^= byte == b'"';
        let folded = if quoted {
            byte
        } else {
            byte.to_ascii_lowercase()
        };
        (hash ^ u64::from(folded)).wrapping_mul(PRIME)
    })
}

const OFFSET_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0100_0000_01b3;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::lexer::tokens;

    fn text_of(text: &str) -> String {
        normalise(text, &tokens(text, false), &[]).text
    }

    #[test]
    fn literals_become_parameters_behind_the_texts_own() {
        assert_eq!(
            text_of("SELECT  a FROM t\n WHERE b = 'x' AND c = $2 AND d IN (1, 2.5) ;"),
            "SELECT a FROM t WHERE b = $3 AND c = $2 AND d IN ($4, $5)"
        );
    }

    #[test]
    fn comments_go_and_words_stay_apart() {
        assert_eq!(text_of("SELECT/* 'secret' */1--secret\n"), "SELECT $1");
        assert_eq!(
            text_of("SELECT date'2020-01-01'AS x"),
            "SELECT date $1 AS x"
        );
    }

    #[test]
    fn the_case_of_keywords_does_not_change_the_fingerprint_but_quoted_names_do() {
        let of = |text: &str| normalise(text, &tokens(text, false), &[]).fingerprint;
        assert_eq!(of("SELECT 1 FROM t"), of("select  2 from T;"));
        assert_ne!(of("SELECT 1 FROM \"T\""), of("SELECT 1 FROM \"t\""));
        assert_ne!(of("SELECT f(1)"), of("SELECT f(1, 2)"));
    }
}
