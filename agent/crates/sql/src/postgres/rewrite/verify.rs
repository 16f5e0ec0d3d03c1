//! The rewritten text, read again: it must be what was meant.

use std::mem::discriminant;

use pg_query::NodeEnum;
use pg_query::protobuf::RawStmt;

use super::Task;
use super::edits::Name;
use super::scan::Scan;
use crate::postgres::govern::Obstacle;
use crate::postgres::{MAX_STATEMENT_BYTES, lexer, nesting, parse};

/// Checks that `text` holds the same statements as the task's, naming exactly the `expected` relations.
///
/// # Errors
///
/// [`Obstacle`] when it does not.
pub(super) fn verify(task: &Task<'_>, text: &str, expected: &[Name]) -> Result<(), Obstacle> {
    let modes = task.context.modes;
    if text.len() > MAX_STATEMENT_BYTES {
        return Err(refused("is too long once its data is masked"));
    }
    if modes.foreign_encoding && !text.is_ascii() {
        return Err(refused(
            "cannot be masked in the session's client_encoding; use UTF8",
        ));
    }
    let depth = nesting::bound(text, &lexer::tokens(text, modes.backslash_in_strings));
    let same = parse::with_tree(text, modes, depth, |statements| {
        let mut names = Scan::of(statements).names;
        names.sort_unstable();
        names == expected && same_kinds(task.statements, statements)
    });
    match same {
        Ok(true) => Ok(()),
        _ => Err(refused("cannot be masked faithfully")),
    }
}

fn same_kinds(before: &[RawStmt], after: &[RawStmt]) -> bool {
    before.len() == after.len()
        && before
            .iter()
            .zip(after)
            .all(|(before, after)| match (node(before), node(after)) {
                (Some(before), Some(after)) => discriminant(before) == discriminant(after),
                (None, None) => true,
                _ => false,
            })
}

fn node(statement: &RawStmt) -> Option<&NodeEnum> {
    statement.stmt.as_deref()?.node.as_ref()
}

fn refused(why: &str) -> Obstacle {
    Obstacle {
        reason: format!("the statement {why}"),
        hint: "write it in a simpler form, or read unmasked columns only".to_owned(),
    }
}
