//! PostgreSQL: facts from the server's own grammar, and the shape of a text without parsing it.
//!
//! Nothing here panics or overflows the stack, whatever the text: what cannot be read is
//! [`Confidence::Unparsed`] with the reason.

mod bind;
mod children;
mod claimed;
mod closure;
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
mod vectors;
mod walk;

pub(crate) use bind::{Base, Binder, Lineage};
pub use closure::is_harmless_setting;
pub use govern::{Context, Edit, Governed, Obstacle, Orders, Outcome, Rewritten, govern};
pub use rewrite::filter::filter_columns;
pub(crate) use session::Movers;
pub use session::{Step, Tracker, identifiers, steps, steps_of_functions};
pub use shape::{Shape, shape};

use pg_query::protobuf::RawStmt;

use crate::catalog::{Catalog, Naming};
use crate::facts::{Confidence, Facts, Kind, SessionModes};
use lexer::Token;
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
        Ok(text) => read(text, modes, None),
        Err(error) => unparsed(text.len(), error.to_string()),
    }
}

/// Reads what a text does on a database whose catalog is known: [`Facts::columns`] and [`Facts::reachable`] too.
#[must_use]
pub fn analyse_in(text: &[u8], context: &Context<'_>) -> Facts {
    match readable(text, context.modes) {
        Ok(text) => {
            let names = Names {
                catalog: context.catalog,
                naming: context.naming,
            };
            read(text, context.modes, Some(names))
        }
        Err(error) => unparsed(text.len(), error.to_string()),
    }
}

/// What the names of a text are resolved by.
#[derive(Clone, Copy)]
struct Names<'a> {
    catalog: &'a Catalog,
    naming: &'a Naming,
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

fn read(text: &str, modes: SessionModes, names: Option<Names<'_>>) -> Facts {
    let tokens = lexer::tokens(text, modes.backslash_in_strings);
    let depth = nesting::bound(text, &tokens);
    let found = parse::with_tree(text, modes, depth, |statements| {
        facts_of_tree(text, &tokens, statements, names)
    });
    match found {
        Ok(facts) => facts,
        Err(error) => Facts {
            claimed: claimed::claimed(text, &tokens),
            ..unparsed(text.len(), error.to_string())
        },
    }
}

/// The facts of a text that has been parsed.
fn facts_of_tree(
    text: &str,
    tokens: &[Token],
    statements: &[RawStmt],
    names: Option<Names<'_>>,
) -> Facts {
    let mut walk = Walk::default();
    walk.statements(statements);
    let values = std::mem::take(&mut walk.values);
    let mut vectors = walk.vectors;
    let facts = facts_of(&mut walk);
    let normalised = normalise::normalise(text, tokens, &sorted(values));
    let mut facts = Facts {
        statement_count: statements.len(),
        fingerprint: normalised.fingerprint,
        normalised: normalised.text,
        claimed: claimed::claimed(text, tokens),
        literal_free: facts.literal_free && statements.len() == 1,
        ..facts
    };
    if let Some(Names { catalog, naming }) = names {
        let found = bind::summary(statements, &facts.relations, catalog, naming);
        facts.resolved = true;
        facts.columns = found.columns;
        facts.reachable = found.reachable;
        vectors = found.vectors;
    }
    facts
        .kinds
        .extend(vectors.searched.then_some(Kind::VectorSearch));
    facts
        .kinds
        .extend(vectors.written.then_some(Kind::EmbeddingWrite));
    facts.kinds.sort_unstable();
    facts
}

/// Parses a view's query and gives it to `read`.
pub(crate) fn with_view<T: Send>(
    definition: &str,
    read: impl Fn(&[RawStmt]) -> T + Send,
) -> Result<T, String> {
    let modes = SessionModes::default();
    let tokens = lexer::tokens(definition, false);
    let depth = nesting::bound(definition, &tokens);
    parse::with_tree(definition, modes, depth, read).map_err(|error| error.to_string())
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
