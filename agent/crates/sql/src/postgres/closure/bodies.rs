//! What functions made by users reach, read from their bodies.

use std::collections::HashSet;

use super::words::{SYNTAX, read};
use super::{Closure, is_harmless, names, refused};
use crate::catalog::{Catalog, Function, Relation};
use crate::postgres::govern::Obstacle;

/// What a text calls: names without schema are those of functions anywhere.
#[derive(Debug, Default)]
pub(in crate::postgres) struct Called {
    /// Functions made by users.
    pub(in crate::postgres) functions: Vec<String>,
}

impl Called {
    /// Adds what an operator calls, where somebody made it.
    pub(in crate::postgres) fn operator(&mut self, catalog: &Catalog, name: &str) {
        for oid in catalog.operators.get(name).into_iter().flatten() {
            self.functions
                .extend(by_number(catalog, *oid).map(|function| function.name.clone()));
        }
    }
}

/// All relations that functions of these names could read, through any number of functions.
pub(in crate::postgres) fn relations_called<'c>(
    catalog: &'c Catalog,
    called: &Called,
) -> Vec<&'c Relation> {
    let mut relations: Vec<&Relation> = Vec::new();
    let mut next = called.functions.clone();
    let mut seen = HashSet::new();
    while let Some(name) = next.pop() {
        if !seen.insert(name.clone()) {
            continue;
        }
        for function in catalog.functions.get(&name).into_iter().flatten() {
            next.extend(below(catalog, function));
            if let Some(body) = function.body.as_deref().filter(|_| is_readable(function)) {
                let body = read(catalog, body);
                for relation in body.relations {
                    if !relations.iter().any(|seen| seen.oid == relation.oid) {
                        relations.push(relation);
                    }
                    next.extend(calls_of_view(catalog, relation));
                }
                next.extend(body.calls);
                next.extend(
                    body.operators
                        .iter()
                        .filter_map(|operator| catalog.operators.get(operator))
                        .flatten()
                        .filter_map(|oid| by_number(catalog, *oid))
                        .map(|function| function.name.clone()),
                );
            }
        }
    }
    relations
}

/// Names before a bracket in a body: of functions that it may call, among others.
pub(in crate::postgres) fn calls_of_body(catalog: &Catalog, body: &str) -> Vec<String> {
    read(catalog, body).calls
}

/// Functions made by users that a view's definition calls, those of the views below included.
pub(in crate::postgres) fn calls_of_view(catalog: &Catalog, view: &Relation) -> Vec<String> {
    let mut calls = Vec::new();
    let mut next = vec![view.oid];
    let mut seen = HashSet::new();
    while let Some(oid) = next.pop() {
        let Some(relation) = catalog.relations.get(&oid).filter(|_| seen.insert(oid)) else {
            continue;
        };
        next.extend(&relation.reads);
        if let Some(definition) = &relation.definition {
            calls.extend(
                read(catalog, definition)
                    .calls
                    .into_iter()
                    .filter(|name| catalog.functions.contains_key(name)),
            );
        }
    }
    calls
}

/// Whether a function reaches nothing that is hidden.
pub(super) fn is_clean(closure: &Closure<'_>, function: &Function) -> Result<(), Obstacle> {
    let mut seen = HashSet::new();
    clean(closure, function, &mut seen)
}

fn clean(
    closure: &Closure<'_>,
    function: &Function,
    seen: &mut HashSet<u32>,
) -> Result<(), Obstacle> {
    if !seen.insert(function.oid) || closure.reviewed(&function.schema, &function.name) {
        return Ok(());
    }
    if is_of_types_only(function) {
        return Ok(());
    }
    let catalog = closure.context.catalog;
    let shown = format!("{}.{}", function.schema, function.name);
    let unsure = |why: &str| {
        refused(
            &format!("the function {shown} {why}"),
            "have it reviewed and listed in the policy's reviewed_functions",
        )
    };
    if let Some(setting) = function
        .settings
        .iter()
        .find(|setting| changes_reading(setting))
    {
        return Err(unsure(&format!("has a {setting} of its own")));
    }
    let known = match function.language.as_str() {
        // The language of an aggregate says nothing: its parts count.
        _ if function.kind == 'a' => None,
        "c" => Some(is_known(&function.name)),
        // One of the server's own by another name: its body is the name.
        "internal" => Some(function.body.as_deref().is_some_and(is_harmless)),
        _ => None,
    };
    match known {
        Some(true) => return Ok(()),
        Some(false) => {
            return Err(unsure(
                "is not written in SQL, so what it reads cannot be seen",
            ));
        }
        None => {}
    }
    // What an aggregate calls is all there is to it; compiled parts of one get its values and no more.
    for oid in &function.calls {
        if let Some(part) = by_number(catalog, *oid)
            && !matches!(part.language.as_str(), "c" | "internal")
        {
            clean(closure, part, seen)?;
        }
    }
    if function.kind == 'a' {
        return Ok(());
    }
    let Some(text) = function.body.as_deref().filter(|_| is_readable(function)) else {
        return Err(unsure("cannot be looked into"));
    };
    let body = read(catalog, text);
    if body.dynamic {
        return Err(unsure("runs statements that are made as it runs"));
    }
    for relation in body.relations {
        if !closure.governing.of(relation)?.is_nothing() {
            return Err(unsure("reads data that is hidden from you"));
        }
        for name in calls_of_view(catalog, relation) {
            for function in catalog.functions.get(&name).into_iter().flatten() {
                clean(closure, function, seen)?;
            }
        }
    }
    for name in body.calls {
        match catalog.functions.get(&name) {
            Some(functions) => {
                for function in functions {
                    clean(closure, function, seen)?;
                }
            }
            None if is_harmless(&name) || SYNTAX.contains(&name.as_str()) => {}
            // A relation with its columns, as in `INSERT INTO t (a)`.
            None if catalog.named(&name).next().is_some() => {}
            None if closure.reviewed("pg_catalog", &name) => {}
            None => {
                return Err(unsure(&format!(
                    "calls {name}, which is not known to be harmless"
                )));
            }
        }
    }
    for operator in body.operators {
        for oid in catalog.operators.get(&operator).into_iter().flatten() {
            if let Some(function) = by_number(catalog, *oid)
                && function.language != "c"
            {
                clean(closure, function, seen)?;
            }
        }
    }
    Ok(())
}

/// Operators of extensions work on their two values; others are as good as what they call.
pub(super) fn is_clean_operator(
    closure: &Closure<'_>,
    name: &str,
    oid: u32,
) -> Result<(), Obstacle> {
    match by_number(closure.context.catalog, oid) {
        // Compiled ones get two values and no more.
        Some(function) if matches!(function.language.as_str(), "c" | "internal") => Ok(()),
        Some(function) => is_clean(closure, function).map_err(|obstacle| Obstacle {
            reason: format!("the operator {name}: {}", obstacle.reason),
            ..obstacle
        }),
        // One of the server's own.
        None => Ok(()),
    }
}

/// Whether somebody wrote an operator of that name in a language that could tell of what it gets.
pub(in crate::postgres) fn is_operator_of_users(catalog: &Catalog, name: &str) -> bool {
    let mut oids = catalog.operators.get(name).into_iter().flatten();
    oids.any(|oid| {
        by_number(catalog, *oid)
            .is_some_and(|function| !matches!(function.language.as_str(), "c" | "internal"))
    })
}

/// Whether it is a compiled part of an extension that brings types and what computes with them, and reads no relation.
fn is_of_types_only(function: &Function) -> bool {
    let compiled = matches!(function.language.as_str(), "c" | "internal");
    compiled
        && function
            .extension
            .as_deref()
            .is_some_and(|extension| names::TYPES_ONLY.binary_search(&extension).is_ok())
}

/// Whether a compiled function only computes: extensions give their types the functions that the server's own have.
fn is_known(name: &str) -> bool {
    names::EXTENSIONS.binary_search(&name).is_ok() || names::is_spatial(name) || is_harmless(name)
}

/// Whether a body means something else under a setting, or reads with other rights.
fn changes_reading(setting: &str) -> bool {
    [
        "standard_conforming_strings",
        "backslash_quote",
        "transform_null_equals",
        "role",
        "session_authorization",
        "plpgsql.variable_conflict",
    ]
    .iter()
    .any(|name| setting.eq_ignore_ascii_case(name))
}

fn by_number(catalog: &Catalog, oid: u32) -> Option<&Function> {
    catalog
        .functions
        .values()
        .flatten()
        .find(|function| function.oid == oid)
}

/// Names of the functions an aggregate is made of.
fn below(catalog: &Catalog, function: &Function) -> Vec<String> {
    function
        .calls
        .iter()
        .filter_map(|oid| by_number(catalog, *oid))
        .map(|function| function.name.clone())
        .collect()
}

fn is_readable(function: &Function) -> bool {
    matches!(function.language.as_str(), "sql" | "plpgsql")
}
