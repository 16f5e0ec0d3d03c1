//! A statement on a database whose catalog is known: facts with columns, and the text that may go on.

use pg_query::protobuf::RawStmt;

use super::lexer::Token;
use super::rewrite::{self, Made, Scan, Task, reach};
use super::{Names, claimed, facts_of_tree, lexer, nesting, parse, unparsed};
use crate::{
    catalog::{Catalog, Naming},
    facts::{Facts, SessionModes},
    mask::{ColumnMask, RowFilter},
};

/// How a session reads a text.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// Its lexing modes.
    pub modes: SessionModes,
    /// What its database holds.
    pub catalog: &'a Catalog,
    /// How its unqualified names are read.
    pub naming: &'a Naming,
}

/// What a decision wants done with a text.
#[derive(Debug, Clone, Default)]
pub struct Orders {
    /// Whether anything on this database is hidden from whoever asks: then what no rewriting reaches is refused.
    pub protect: bool,
    /// Columns to mask.
    pub masks: Vec<ColumnMask>,
    /// Rows to leave out.
    pub filters: Vec<RowFilter>,
    /// Whether masked values may be stored where others can read them.
    pub store_masked: bool,
    /// Functions that somebody has reviewed, as globs over `schema.name`.
    pub reviewed_functions: Vec<String>,
    /// What hashes and made-up values are keyed with.
    pub key: [u8; 32],
}

/// A text that was read, decided and, where needed, rewritten.
#[derive(Debug)]
pub struct Governed {
    /// What it does.
    pub facts: Facts,
    /// What may go on.
    pub outcome: Result<Outcome, Obstacle>,
    /// Relations that the text reads or writes and the catalog does not know: it may be out of date.
    pub unknown_relations: Vec<String>,
}

/// What may go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The text as it came.
    Unchanged,
    /// Another text.
    Rewritten(Rewritten),
}

/// The text that goes on in place of the client's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rewritten {
    /// What the server gets.
    pub text: String,
    /// What was replaced, in order, for positions in the server's errors.
    pub edits: Vec<Edit>,
}

/// One replaced piece of the client's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Edit {
    /// Where it began, bytes into the client's text.
    pub start: usize,
    /// Where it ended.
    pub end: usize,
    /// How long its replacement is, bytes.
    pub length: usize,
}

/// Why a text cannot go on although policy allows what it does: nothing can be hidden in it faithfully.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Obstacle {
    /// For the client to read: what is in the way.
    pub reason: String,
    /// What to write instead.
    pub hint: String,
}

/// Reads a text, asks `decide` what is to be done with it, and does it.
///
/// `decide` is asked once, also about a text that cannot be parsed.
pub fn govern(
    text: &[u8],
    context: &Context<'_>,
    decide: &mut dyn FnMut(&Facts) -> Orders,
) -> Governed {
    let text = match super::readable(text, context.modes) {
        Ok(text) => text,
        Err(error) => return unread(unparsed(text.len(), error.to_string()), decide),
    };
    let tokens = lexer::tokens(text, context.modes.backslash_in_strings);
    let source = Source {
        text,
        tokens: &tokens,
        context,
    };
    let depth = nesting::bound(text, &tokens);
    let governed = if parse::is_shallow(depth) {
        parse::inline(text, context.modes, |statements| {
            let scan = Scan::of(statements);
            let facts = source.facts(statements, &scan);
            let orders = decide(&facts);
            source.enforce(statements, &scan, facts, &orders)
        })
    } else {
        // `decide` stays on its own thread; a deeply nested text is worth parsing twice.
        source.deep(depth, decide)
    };
    governed.unwrap_or_else(|error| {
        let facts = Facts {
            claimed: claimed::claimed(text, &tokens),
            ..unparsed(text.len(), error.to_string())
        };
        unread(facts, decide)
    })
}

/// A text on its way through.
#[derive(Clone, Copy)]
struct Source<'a> {
    text: &'a str,
    tokens: &'a [Token],
    context: &'a Context<'a>,
}

impl Source<'_> {
    fn facts(&self, statements: &[RawStmt], scan: &Scan<'_>) -> Facts {
        let names = Names {
            catalog: self.context.catalog,
            naming: self.context.naming,
        };
        let mut facts = facts_of_tree(self.text, self.tokens, statements, Some(names));
        reach::extend(&mut facts, statements, scan, self.context);
        facts
    }

    fn enforce(
        &self,
        statements: &[RawStmt],
        scan: &Scan<'_>,
        facts: Facts,
        orders: &Orders,
    ) -> Governed {
        let nothing = !orders.protect && orders.masks.is_empty() && orders.filters.is_empty();
        let made = if nothing {
            Ok(Made::unchanged())
        } else {
            let task = Task {
                text: self.text,
                tokens: self.tokens,
                statements,
                context: self.context,
                orders,
                depth: 0,
                fenced: false,
            };
            rewrite::close_and_rewrite(&task, scan)
        };
        let (outcome, unknown_relations) = match made {
            Ok(made) => (Ok(made.outcome), made.unknown),
            Err(obstacle) => (Err(obstacle), Vec::new()),
        };
        Governed {
            facts,
            outcome,
            unknown_relations,
        }
    }

    fn deep(
        &self,
        depth: usize,
        decide: &mut dyn FnMut(&Facts) -> Orders,
    ) -> Result<Governed, parse::ParseError> {
        let modes = self.context.modes;
        let facts = parse::with_tree(self.text, modes, depth, |statements| {
            self.facts(statements, &Scan::of(statements))
        })?;
        let orders = decide(&facts);
        parse::with_tree(self.text, modes, depth, |statements| {
            self.enforce(statements, &Scan::of(statements), facts, &orders)
        })
    }
}

/// What is left to do with a text that has no tree.
fn unread(facts: Facts, decide: &mut dyn FnMut(&Facts) -> Orders) -> Governed {
    let orders = decide(&facts);
    let outcome = if orders.protect || !orders.masks.is_empty() || !orders.filters.is_empty() {
        let why = facts.parse_error.as_deref().unwrap_or_default();
        Err(Obstacle {
            reason: format!("the statement cannot be read: {why}"),
            hint: "data is hidden from you here, so only what can be read may go on".to_owned(),
        })
    } else {
        Ok(Outcome::Unchanged)
    };
    Governed {
        facts,
        outcome,
        unknown_relations: Vec::new(),
    }
}
