//! Tags that a client puts into a comment: `/*application='shop',route='%2Forders'*/`.
//! <https://google.github.io/sqlcommenter/spec/>

use super::lexer::{Token, TokenKind};

/// Reads the tags of the first comment that holds nothing but tags. They are claims.
pub(super) fn claimed(text: &str, tokens: &[Token]) -> Vec<(String, String)> {
    tokens
        .iter()
        .filter(|token| token.kind == TokenKind::Comment)
        .filter_map(|token| {
            let comment = text.get(token.start..token.end)?;
            tags(comment.strip_prefix("/*")?.strip_suffix("*/")?)
        })
        .find(|tags| !tags.is_empty())
        .unwrap_or_default()
}

fn tags(comment: &str) -> Option<Vec<(String, String)>> {
    let mut rest = comment.trim();
    if rest.len() > MAX_COMMENT_BYTES {
        return None;
    }
    let mut tags = Vec::new();
    while !rest.is_empty() {
        let (key, after) = rest.split_once("='")?;
        let key = key.trim();
        if key.is_empty() || key.contains(['\'', ',', ' ']) || tags.len() == MAX_TAGS {
            return None;
        }
        let end = closing_quote(after)?;
        let value = after[..end].replace("\\'", "'");
        tags.push((decode(key)?, decode(&value)?));
        rest = after[end + 1..].trim_start();
        if !rest.is_empty() {
            rest = rest.strip_prefix(',')?.trim_start();
        }
    }
    Some(tags)
}

/// Where a value ends: the first quote without a backslash before it.
fn closing_quote(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.bytes().position(|byte| {
        let closes = byte == b'\'' && !escaped;
        escaped = byte == b'\\' && !escaped;
        closes
    })
}

/// Undoes URL encoding; `None` when it is broken or gives control characters.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits = [rest.next()?, rest.next()?];
            let digits = std::str::from_utf8(&digits).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    let text = String::from_utf8(bytes).ok()?;
    (!text.contains(char::is_control)).then_some(text)
}

/// More than any client library writes; what is larger is a comment, not tags.
const MAX_COMMENT_BYTES: usize = 4096;
/// As above.
const MAX_TAGS: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::lexer::tokens;

    fn claimed_of(text: &str) -> Vec<(String, String)> {
        claimed(text, &tokens(text, false))
    }

    fn pair(key: &str, value: &str) -> (String, String) {
        (key.to_owned(), value.to_owned())
    }

    #[test]
    fn tags_are_decoded() {
        assert_eq!(
            claimed_of(r"SELECT 1 /*application='shop', route='%2Forders',who='o\'neil'*/"),
            [
                pair("application", "shop"),
                pair("route", "/orders"),
                pair("who", "o'neil")
            ]
        );
    }

    #[test]
    fn other_comments_and_strings_are_no_tags() {
        for text in [
            "SELECT 1 /* plain */",
            "SELECT '/*a=''b''*/'",
            "SELECT 1 -- a='b'",
            "SELECT 1 /*a='b*/",
            "SELECT 1 /*a='%zz'*/",
            "SELECT 1 /*a='%0a'*/",
            "SELECT 1 /*a='b' c='d'*/",
            "SELECT 1 /**/",
        ] {
            assert!(claimed_of(text).is_empty(), "{text}");
        }
    }
}
