//! The grammar library, on a stack that is large enough for the text at hand.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use pg_query::ParserOptions;
use pg_query::protobuf::RawStmt;

use crate::facts::SessionModes;

/// Why a text has no tree.
#[derive(Debug, thiserror::Error)]
pub(super) enum ParseError {
    /// The server's own words.
    #[error("{0}")]
    Refused(String),
    #[error("the parser's result cannot be read")]
    Result(#[source] pg_query::Error),
    #[error("the parser failed")]
    Panicked,
    #[error("no thread could be started to parse a deeply nested text")]
    Thread(#[source] std::io::Error),
}

/// Parses `text` and gives its statements to `read`, all of it where the stack suffices.
///
/// `depth` is a bound of how deeply the text nests. Decoding, reading and freeing a tree recurse,
/// so none of them may happen anywhere else.
pub(super) fn with_tree<T: Send>(
    text: &str,
    modes: SessionModes,
    depth: usize,
    read: impl FnOnce(&[RawStmt]) -> T + Send,
) -> Result<T, ParseError> {
    // The library asserts what its own parser gave it.
    let work = || inline(text, modes, read);
    if is_shallow(depth) {
        return work();
    }
    thread::scope(|scope| {
        thread::Builder::new()
            .name("weir-parse".to_owned())
            .stack_size(STACK_BYTES)
            .spawn_scoped(scope, work)
            .map_err(ParseError::Thread)?
            .join()
            .unwrap_or(Err(ParseError::Panicked))
    })
}

/// Whether a text of that depth is parsed on the caller's stack.
pub(super) fn is_shallow(depth: usize) -> bool {
    depth <= INLINE_DEPTH
}

/// Parses a shallow text on the caller's stack and gives its statements to `read`.
pub(super) fn inline<T>(
    text: &str,
    modes: SessionModes,
    read: impl FnOnce(&[RawStmt]) -> T,
) -> Result<T, ParseError> {
    catch_unwind(AssertUnwindSafe(|| parse(text, modes, read))).unwrap_or(Err(ParseError::Panicked))
}

fn parse<T>(
    text: &str,
    modes: SessionModes,
    read: impl FnOnce(&[RawStmt]) -> T,
) -> Result<T, ParseError> {
    let options = if modes.backslash_in_strings {
        ParserOptions::DISABLE_STANDARD_CONFORMING_STRINGS
    } else {
        ParserOptions::DEFAULT
    };
    match pg_query::parse(text, options) {
        Ok(tree) => Ok(read(&tree.protobuf.stmts)),
        Err(pg_query::Error::Parse(message)) => Err(ParseError::Refused(message)),
        Err(error) => Err(ParseError::Result(error)),
    }
}

/// Up to this bound a text is parsed on the caller's stack; a test shows that 1 MiB holds it.
const INLINE_DEPTH: usize = 200;

/// Address space, of which only what is touched becomes memory.
const STACK_BYTES: usize = 64 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::Confidence;
    use crate::postgres::{Context, analyse_in, lexer, nesting};
    use crate::{Catalog, Naming};

    /// The most of `piece` around or behind `SELECT a` that is still parsed inline.
    fn deepest_inline(make: impl Fn(usize) -> String) -> String {
        (1..=INLINE_DEPTH)
            .rev()
            .map(make)
            .find(|text| nesting::bound(text, &lexer::tokens(text, false)) <= INLINE_DEPTH)
            .expect("one level is shallow")
    }

    #[test]
    fn what_is_parsed_inline_needs_less_than_a_mebibyte_of_stack() {
        let texts = [
            deepest_inline(|n| format!("SELECT a{}", "||a".repeat(n))),
            deepest_inline(|n| format!("SELECT {}a", "- ".repeat(n))),
            deepest_inline(|n| format!("SELECT {}a", "NOT ".repeat(n))),
            deepest_inline(|n| format!("SELECT {}a{}", "f(".repeat(n), ")".repeat(n))),
            deepest_inline(|n| format!("SELECT {}a{}", "ARRAY[".repeat(n), "]".repeat(n))),
            deepest_inline(|n| format!("{}a{}", "SELECT (".repeat(n), ")".repeat(n))),
            deepest_inline(|n| format!("{}TABLE a{}", "SELECT*FROM(".repeat(n), ")".repeat(n))),
            deepest_inline(|n| {
                format!(
                    "{}SELECT a{}",
                    "WITH x AS (".repeat(n),
                    ") TABLE x".repeat(n)
                )
            }),
            deepest_inline(|n| {
                format!(
                    "SELECT {}a{}",
                    "CASE WHEN ".repeat(n),
                    " THEN 1 END".repeat(n)
                )
            }),
            deepest_inline(|n| format!("SELECT a{}", " UNION SELECT a".repeat(n))),
            deepest_inline(|n| format!("SELECT a FROM a{}", " JOIN a ON a".repeat(n))),
            deepest_inline(|n| format!("SELECT a{}", "::a".repeat(n))),
            deepest_inline(|n| format!("SELECT a{}", " IS NULL".repeat(n))),
            deepest_inline(|n| format!("SELECT a{}", " COLLATE a".repeat(n))),
            deepest_inline(|n| format!("SELECT {}a{}", "x IN (".repeat(n), ")".repeat(n))),
        ];
        for text in texts {
            let facts = thread::Builder::new()
                .stack_size(1 << 20)
                .spawn(move || {
                    let context = Context {
                        modes: SessionModes::default(),
                        catalog: &Catalog::default(),
                        naming: &Naming::default(),
                    };
                    analyse_in(text.as_bytes(), &context)
                })
                .expect("a thread starts")
                .join()
                .expect("the stack suffices");
            assert_ne!(
                facts.confidence,
                Confidence::Unparsed,
                "{:?}",
                facts.parse_error
            );
        }
    }
}
