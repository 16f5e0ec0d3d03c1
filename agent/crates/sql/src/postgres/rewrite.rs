//! A text in which hidden columns and rows are never read: every reference to their relation is replaced, at its place,
//! by a query that gives the masked columns and the rows that may be seen.
//!
//! Everything else stays byte for byte. Which columns a reference needs is taken generously, by name; which relation a
//! name means is written out, so that the server cannot read it differently.

mod columns;
mod copies;
mod derive;
mod edits;
pub(super) mod filter;
pub(super) mod governed;
mod grouping;
mod names;
mod places;
pub(super) mod reach;
mod read;
pub(super) mod removals;
pub(super) mod resolve;
mod scan;
mod verify;
pub(super) mod views;
mod writes;

use pg_query::protobuf::RawStmt;

use self::edits::Edits;
use self::governed::Governing;
use self::places::Places;
pub(super) use self::scan::Scan;
use super::closure::Closure;
use super::govern::{Context, Obstacle, Orders, Outcome};
use super::lexer::Token;
use super::session;
use crate::catalog::Naming;

/// How deeply views are replaced by their definitions.
const MAX_VIEWS: usize = 16;

/// A text to rewrite, and by what.
#[derive(Clone, Copy)]
pub(super) struct Task<'a> {
    pub(super) text: &'a str,
    pub(super) tokens: &'a [Token],
    pub(super) statements: &'a [RawStmt],
    pub(super) context: &'a Context<'a>,
    pub(super) orders: &'a Orders,
    /// Views around this text, when it is the definition of one.
    pub(super) depth: usize,
    /// What is around it could tell of rows that it is shown.
    pub(super) fenced: bool,
}

/// What a text becomes, and what its names were.
pub(super) struct Made {
    pub(super) outcome: Outcome,
    /// Names that the catalog does not know.
    pub(super) unknown: Vec<String>,
}

impl Made {
    /// The text as it came.
    pub(super) fn unchanged() -> Self {
        Self {
            outcome: Outcome::Unchanged,
            unknown: Vec::new(),
        }
    }
}

/// Refuses what no rewriting reaches, and rewrites the rest.
///
/// # Errors
///
/// [`Obstacle`] where something hidden would be reached.
pub(super) fn close_and_rewrite(task: &Task<'_>, scan: &Scan<'_>) -> Result<Made, Obstacle> {
    let namings = namings(task.statements, task.context.naming);
    let closure = Closure {
        context: task.context,
        orders: task.orders,
        governing: &Governing::new(task.context.catalog, task.orders),
        scan,
        namings: &namings,
    };
    closure.check(task.statements)?;
    rewrite(task, scan)
}

/// Rewrites a text.
///
/// # Errors
///
/// [`Obstacle`] where something hidden would be reached that no rewriting hides.
pub(super) fn rewrite(task: &Task<'_>, scan: &Scan<'_>) -> Result<Made, Obstacle> {
    let governing = Governing::new(task.context.catalog, task.orders);
    let pass = Pass {
        task,
        places: Places::new(task.text, task.tokens),
        scan,
        governing: &governing,
        namings: namings(task.statements, task.context.naming),
    };
    pass.run()
}

/// How names are read in each statement; empty when it is the same for all.
pub(super) fn namings(statements: &[RawStmt], before: &Naming) -> Vec<Naming> {
    let mut effects = Vec::new();
    let mut namings = Vec::new();
    for statement in statements {
        if !effects.is_empty() || statements.len() > 1 {
            namings.push(session::after(before, &effects));
        }
        if let Some(node) = statement
            .stmt
            .as_deref()
            .and_then(|stmt| stmt.node.as_ref())
        {
            effects.extend(session::of_statement(node));
        }
    }
    if effects.is_empty() {
        namings.clear();
    }
    namings
}

/// One text on its way.
struct Pass<'a> {
    task: &'a Task<'a>,
    places: Places<'a>,
    scan: &'a Scan<'a>,
    governing: &'a Governing<'a>,
    /// How names are read in each statement, where statements before change that.
    namings: Vec<Naming>,
}

impl<'a> Pass<'a> {
    fn run(&'a self) -> Result<Made, Obstacle> {
        let mut edits = Edits::new(self.scan);
        let reads = self.reads(&mut edits)?;
        self.copies(&mut edits)?;
        self.writes(&mut edits)?;
        self.columns(&reads, &mut edits)?;
        self.grouping(&reads, &mut edits)?;
        let unknown = std::mem::take(&mut edits.unknown);
        if edits.is_empty() {
            return Ok(Made {
                outcome: Outcome::Unchanged,
                unknown,
            });
        }
        let expected = edits.expected();
        let rewritten = edits.apply(self.task.text)?;
        verify::verify(self.task, &rewritten.text, &expected)?;
        Ok(Made {
            outcome: Outcome::Rewritten(rewritten),
            unknown,
        })
    }
}

/// A place of the tree that the text does not show as expected.
fn misplaced(what: &str) -> Obstacle {
    Obstacle {
        reason: format!("the place of {what} in the text is not certain"),
        hint: "write the statement in a simpler form".to_owned(),
    }
}
