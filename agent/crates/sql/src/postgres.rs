//! PostgreSQL: facts from the server's own grammar, and the shape of a text without parsing it.
//!
//! Nothing here panics or overflows the stack, whatever the text: what cannot be read is
//! [`Confidence::Unparsed`] with the reason.

mod children;
mod claimed;
mod functions;
mod govern;
mod lexer;
mod mask_sql;
mod nesting;
mod normalise;
mod parse;
mod predicate;
mod rewrite;
mod session;
mod shape;
mod utility;
mod walk;

pub use govern::{Context, Edit, Governed, Obstacle, Orders, Outcome, Rewritten, govern};
pub use session::{NamingEffect, Tracker, path_of};
pub use shape::{Shape, shape};

use crate::facts::{Confidence, Facts, Kind, SessionModes};
use walk::Walk;

/// Longer texts are not parsed: the time it takes would be an attack.
pub const MAX_STATEMENT_BYTES: usize = 1 << 20;

/// Reads what a text does.
///
/// `text` is the whole of a simple query or of one `Parse`, without the terminating zero. Takes
/// some ten microseconds for an ordinary statement, and blocks for up to a second on the largest.
#[must_use]
pub fn analyse(text: &[u8], modes: SessionModes) -> Facts {
    match readable(text, modes) {
        Ok(text) => read(text, modes),
        Err(error) => unparsed(text.len(), error.to_string()),
    }
}

/// Why a text is not even given to the parser.
#[derive(Debug, thiserror::Error)]
enum Unreadable {
    #[error("the text is longer than {MAX_STATEMENT_BYTES} bytes")]
    Long,
    #[error("the text contains a zero byte")]
    Zero,
    #[error("the text is not ASCII and the session's client_encoding is not UTF8")]
    Encoding,
    #[error("the text is not valid UTF-8")]
    Utf8,
}

fn readable(text: &[u8], modes: SessionModes) -> Result<&str, Unreadable> {
    if text.len() > MAX_STATEMENT_BYTES {
        return Err(Unreadable::Long);
    }
    if memchr::memchr(0, text).is_some() {
        return Err(Unreadable::Zero);
    }
    if modes.foreign_encoding && !text.is_ascii() {
        return Err(Unreadable::Encoding);
    }
    std::str::from_utf8(text).map_err(|_| Unreadable::Utf8)
}

fn read(text: &str, modes: SessionModes) -> Facts {
    let tokens = lexer::tokens(text, modes.backslash_in_strings);
    let depth = nesting::bound(text, &tokens);
    let found = parse::with_tree(text, modes, depth, |statements| {
        let mut walk = Walk::default();
        walk.statements(statements);
        Found {
            count: statements.len(),
            facts: facts_of(&mut walk),
            values: std::mem::take(&mut walk.values),
        }
    });
    let found = match found {
        Ok(found) => found,
        Err(error) => {
            return Facts {
                claimed: claimed::claimed(text, &tokens),
                ..unparsed(text.len(), error.to_string())
            };
        }
    };
    let normalised = normalise::normalise(text, &tokens, &sorted(found.values));
    Facts {
        statement_count: found.count,
        fingerprint: normalised.fingerprint,
        normalised: normalised.text,
        claimed: claimed::claimed(text, &tokens),
        literal_free: found.facts.literal_free && found.count == 1,
        ..found.facts
    }
}

/// What is known once the tree is gone.
struct Found {
    count: usize,
    facts: Facts,
    values: Vec<usize>,
}

fn facts_of(walk: &mut Walk<'_>) -> Facts {
    Facts {
        kinds: sorted(std::mem::take(&mut walk.kinds)),
        relations: sorted(std::mem::take(&mut walk.relations)),
        functions: sorted(std::mem::take(&mut walk.functions)),
        has_where: walk.has_where,
        limit: walk.limit,
        confidence: walk.confidence.unwrap_or(Confidence::Exact),
        changes_session: walk.changes_session,
        literal_free: !walk.literals_matter,
        ..Facts::default()
    }
}

fn sorted<T: Ord>(mut items: Vec<T>) -> Vec<T> {
    items.sort_unstable();
    items.dedup();
    items
}

fn unparsed(length_bytes: usize, reason: String) -> Facts {
    Facts {
        kinds: vec![Kind::Unknown],
        confidence: Confidence::Unparsed,
        parse_error: Some(reason),
        normalised: normalise::redacted(length_bytes),
        ..Facts::default()
    }
}

#[cfg(test)]
mod tests;
