//! A statement on a database whose catalog is known: facts with columns, and the text that may go on.

use super::rewrite::{self, Task};
use super::{analyse_in, lexer, nesting, parse};
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
pub fn govern(
    text: &[u8],
    context: &Context<'_>,
    decide: &mut dyn FnMut(&Facts) -> Orders,
) -> Governed {
    let facts = analyse_in(text, context);
    let orders = decide(&facts);
    let (outcome, unknown_relations) = match enforce(text, context, &orders) {
        Ok((outcome, unknown)) => (Ok(outcome), unknown),
        Err(obstacle) => (Err(obstacle), Vec::new()),
    };
    Governed {
        facts,
        outcome,
        unknown_relations,
    }
}

/// Does to a text what is ordered.
fn enforce(
    text: &[u8],
    context: &Context<'_>,
    orders: &Orders,
) -> Result<(Outcome, Vec<String>), Obstacle> {
    if !orders.protect && orders.masks.is_empty() && orders.filters.is_empty() {
        return Ok((Outcome::Unchanged, Vec::new()));
    }
    let unread = |reason: String| Obstacle {
        reason: format!("the statement cannot be read: {reason}"),
        hint: "send it in another form".to_owned(),
    };
    let text = super::readable(text, context.modes).map_err(|error| unread(error.to_string()))?;
    let tokens = lexer::tokens(text, context.modes.backslash_in_strings);
    let depth = nesting::bound(text, &tokens);
    let made = parse::with_tree(text, context.modes, depth, |statements| {
        rewrite::rewrite(&Task {
            text,
            tokens: &tokens,
            statements,
            context,
            orders,
            depth: 0,
        })
    })
    .map_err(|error| unread(error.to_string()))??;
    Ok((made.outcome, made.unknown))
}
