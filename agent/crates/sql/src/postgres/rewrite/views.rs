//! A view's definition, as far as it can stand in the view's place.

use super::resolve::{Meaning, resolve};
use super::scan::Scan;
use crate::catalog::{Catalog, Naming, Relation};
use crate::facts::SessionModes;
use crate::postgres::govern::Obstacle;
use crate::postgres::{lexer, nesting, parse};

/// A view's query, without what ends it.
pub(in crate::postgres) fn definition(view: &Relation) -> Result<&str, Obstacle> {
    view.definition
        .as_deref()
        .map(|text| text.trim().trim_end_matches(';').trim_end())
        .filter(|text| !text.is_empty())
        .ok_or_else(|| unreadable(view))
}

/// Whether every relation the definition names is one of the catalog's or the server's.
pub(in crate::postgres) fn is_complete(catalog: &Catalog, view: &Relation) -> bool {
    let naming = Naming::default();
    let Ok(definition) = definition(view) else {
        return false;
    };
    with_scan(definition, |scan| {
        scan.reads.iter().all(|read| {
            matches!(
                resolve(catalog, &naming, read.relation).meaning,
                Meaning::Relation(_)
            ) || !read.relation.schemaname.is_empty()
        })
    })
    .unwrap_or(false)
}

fn with_scan<T: Send>(text: &str, read: impl FnOnce(&Scan<'_>) -> T + Send) -> Option<T> {
    let tokens = lexer::tokens(text, false);
    let depth = nesting::bound(text, &tokens);
    parse::with_tree(text, SessionModes::default(), depth, |statements| {
        read(&Scan::of(statements))
    })
    .ok()
}

fn unreadable(view: &Relation) -> Obstacle {
    Obstacle {
        reason: format!(
            "the definition of {}.{} cannot be read",
            view.schema, view.name
        ),
        hint: "read the tables below it".to_owned(),
    }
}
