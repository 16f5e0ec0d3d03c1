//! Where in the text a node's words stand: the tree tells only where some of them begin.

use crate::postgres::lexer::{Token, TokenKind};

/// The text's tokens without space and comments.
pub(super) struct Places<'t> {
    text: &'t str,
    tokens: Vec<Token>,
}

/// A piece of the text, from one token to another, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) first: usize,
    pub(super) last: usize,
}

impl<'t> Places<'t> {
    pub(super) fn new(text: &'t str, tokens: &[Token]) -> Self {
        Self {
            text,
            tokens: tokens
                .iter()
                .filter(|token| !matches!(token.kind, TokenKind::Space | TokenKind::Comment))
                .copied()
                .collect(),
        }
    }

    /// The token that begins at a node's location.
    pub(super) fn at(&self, location: i32) -> Option<usize> {
        let location = usize::try_from(location).ok()?;
        self.tokens
            .binary_search_by_key(&location, |token| token.start)
            .ok()
    }

    pub(super) fn start(&self, token: usize) -> Option<usize> {
        self.tokens.get(token).map(|token| token.start)
    }

    pub(super) fn end(&self, token: usize) -> Option<usize> {
        self.tokens.get(token).map(|token| token.end)
    }

    /// The bytes of a span.
    pub(super) fn range(&self, span: Span) -> Option<std::ops::Range<usize>> {
        Some(self.start(span.first)?..self.end(span.last)?)
    }

    pub(super) fn slice(&self, span: Span) -> Option<&'t str> {
        self.text.get(self.range(span)?)
    }

    fn bytes(&self, token: usize) -> &[u8] {
        self.tokens
            .get(token)
            .map_or(&[][..], |token| token.of(self.text))
    }

    /// Whether a token is that unquoted word.
    pub(super) fn is_word(&self, token: usize, word: &str) -> bool {
        self.tokens
            .get(token)
            .is_some_and(|found| found.kind == TokenKind::Word)
            && self.bytes(token).eq_ignore_ascii_case(word.as_bytes())
    }

    pub(super) fn is_symbol(&self, token: usize, symbol: u8) -> bool {
        self.bytes(token) == [symbol]
            && self
                .tokens
                .get(token)
                .is_some_and(|found| found.kind == TokenKind::Symbol)
    }

    fn is_identifier(&self, token: usize) -> bool {
        self.tokens
            .get(token)
            .is_some_and(|found| matches!(found.kind, TokenKind::Word | TokenKind::QuotedWord))
    }

    /// The last token of the identifier that begins here: `U&"a" UESCAPE '!'` is three of them.
    fn identifier_end(&self, token: usize) -> Option<usize> {
        if !self.is_identifier(token) {
            return None;
        }
        let escaped =
            self.bytes(token).starts_with(b"U&\"") || self.bytes(token).starts_with(b"u&\"");
        if escaped && self.is_word(token + 1, "uescape") {
            return Some(token + 2);
        }
        Some(token)
    }

    /// The parts of a dotted name that begins here: where each begins and ends; a `*` may be the last.
    pub(super) fn name(&self, token: usize) -> Option<Vec<Span>> {
        let mut parts = Vec::new();
        let mut at = token;
        loop {
            if !parts.is_empty() && self.is_symbol(at, b'*') {
                parts.push(Span {
                    first: at,
                    last: at,
                });
                return Some(parts);
            }
            let last = self.identifier_end(at)?;
            parts.push(Span { first: at, last });
            if !self.is_symbol(last + 1, b'.') {
                return Some(parts);
            }
            at = last + 2;
        }
    }

    /// The bracket that closes the one at `open`.
    pub(super) fn closing(&self, open: usize) -> Option<usize> {
        let mut depth = 0_usize;
        for at in open..self.tokens.len() {
            if self.is_symbol(at, b'(') {
                depth += 1;
            } else if self.is_symbol(at, b')') {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return Some(at);
                }
            }
        }
        None
    }

    /// The last token before the clause that one of `words` begins, the bracket around, or the end of the statement.
    pub(super) fn clause_end(&self, from: usize, words: &[&str]) -> Option<usize> {
        let mut depth = 0_usize;
        for at in from..self.tokens.len() {
            if self.is_symbol(at, b'(') {
                depth += 1;
            } else if self.is_symbol(at, b')') {
                if depth == 0 {
                    return at.checked_sub(1);
                }
                depth -= 1;
            } else if depth == 0
                && (self.is_symbol(at, b';') || words.iter().any(|word| self.is_word(at, word)))
            {
                return at.checked_sub(1);
            }
        }
        self.tokens.len().checked_sub(1)
    }
}

/// An identifier as it always can be written.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
