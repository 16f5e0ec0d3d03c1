//! How deeply a text may nest, before it is parsed.
//!
//! Decoding, walking and freeing a parse tree recurse once per level, so a text that nests deeply
//! needs a larger stack. The tokens give a bound of the depth that is cheap and never much too low.

use super::lexer::{Token, TokenKind};

/// A bound of the depth of the tree that `text` parses to, in tokens that can open a level.
pub(super) fn bound(text: &str, tokens: &[Token]) -> usize {
    let mut open: Vec<Level> = Vec::new();
    let mut level = Level::default();
    for token in tokens {
        let bytes = token.of(text);
        match token.kind {
            TokenKind::Space | TokenKind::Comment => {}
            TokenKind::Symbol => match bytes {
                b"(" | b"[" => open.push(std::mem::take(&mut level)),
                b")" | b"]" => level = close(&mut open, &level, Opened::Bracket),
                b"," => level.next_item(),
                b";" => {
                    level.next_item();
                    level.chained = 0;
                }
                b"." => {}
                _ => level.item += 1,
            },
            TokenKind::Word => match Word::of(bytes) {
                Word::Case => {
                    open.push(std::mem::take(&mut level));
                    level.opened = Opened::Case;
                }
                Word::End => level = close(&mut open, &level, Opened::Case),
                Word::Junction => level.next_item(),
                Word::Chain => level.chained += 1,
                Word::Other => level.item += 1,
            },
            TokenKind::QuotedWord | TokenKind::Text | TokenKind::Number | TokenKind::Param => {
                level.item += 1;
            }
        }
    }
    // What was never closed: the server refuses it, after having read it.
    while let Some(outer) = open.pop() {
        level = outer.around(&level);
    }
    level.depth()
}

/// Leaves a level; a closing token that fits nothing open counts as one more token.
fn close(open: &mut Vec<Level>, inner: &Level, opened: Opened) -> Level {
    if inner.opened != opened {
        return Level {
            item: inner.item + 1,
            ..*inner
        };
    }
    match open.pop() {
        Some(outer) => outer.around(inner),
        None => *inner,
    }
}

/// What a level is closed by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Opened {
    #[default]
    Bracket,
    Case,
}

/// The text between one pair of brackets, or of `CASE` and `END`.
#[derive(Debug, Clone, Copy, Default)]
struct Level {
    opened: Opened,
    /// Joins and set operations so far: each lies one level above all before it.
    chained: usize,
    /// Tokens of the current list item; each may be an operator above the ones before it.
    item: usize,
    /// The deepest bracket in the current item.
    inner: usize,
    /// The deepest item so far.
    deepest: usize,
}

impl Level {
    fn next_item(&mut self) {
        self.deepest = self.deepest.max(self.item + self.inner);
        self.item = 0;
        self.inner = 0;
    }

    fn depth(&self) -> usize {
        self.chained + self.deepest.max(self.item + self.inner)
    }

    /// This level after `inner`, which it contains, was closed.
    fn around(mut self, inner: &Self) -> Self {
        self.inner = self.inner.max(inner.depth() + 1);
        self.item += 1;
        self
    }
}

/// What an unquoted word does to the depth.
enum Word {
    Case,
    End,
    /// `AND` and `OR`: the grammar keeps a row of them as one list.
    Junction,
    /// Makes a tree that leans to the left over a whole clause.
    Chain,
    Other,
}

impl Word {
    fn of(bytes: &[u8]) -> Self {
        let is = |word: &str| bytes.eq_ignore_ascii_case(word.as_bytes());
        match bytes.len() {
            2 if is("or") => Self::Junction,
            3 if is("and") => Self::Junction,
            3 if is("end") => Self::End,
            4 if is("case") => Self::Case,
            4 if is("join") => Self::Chain,
            5 if is("union") => Self::Chain,
            6 if is("except") => Self::Chain,
            9 if is("intersect") => Self::Chain,
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::lexer::tokens;

    fn bound_of(text: &str) -> usize {
        bound(text, &tokens(text, false))
    }

    #[test]
    fn long_lists_are_not_deep() {
        let values = "(1, 'a', now()), ".repeat(5_000);
        assert!(bound_of(&format!("INSERT INTO t VALUES {values}(1)")) < 20);
        let conditions = "a = 1 AND ".repeat(5_000);
        assert!(bound_of(&format!("SELECT 1 FROM t WHERE {conditions}b")) < 20);
    }

    #[test]
    fn chains_and_nesting_are_deep() {
        for (text, depth) in [
            (format!("SELECT 1{}", "||1".repeat(300)), 300),
            (format!("SELECT 1{}", "::int".repeat(300)), 300),
            (
                format!("SELECT {}1{}", "(".repeat(300), ")".repeat(300)),
                300,
            ),
            (
                format!("SELECT 1, 2{}", " UNION SELECT 1, 2".repeat(300)),
                300,
            ),
            (
                format!("SELECT * FROM a{}", " JOIN b ON x AND y".repeat(300)),
                300,
            ),
            (
                format!(
                    "SELECT {}1{}",
                    "CASE WHEN a AND ".repeat(300),
                    " END".repeat(300)
                ),
                300,
            ),
            (format!("SELECT {}1", "NOT ".repeat(300)), 300),
            (format!("SELECT {}", "(CASE [".repeat(100)), 300),
        ] {
            assert!(bound_of(&text) >= depth, "{}", &text[..40]);
        }
    }

    #[test]
    fn closing_what_is_not_open_is_harmless() {
        assert!(bound_of("END) ] ) CASE ) END END") < 20);
    }
}
