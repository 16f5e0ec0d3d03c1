//! What functions made by users reach, read from their bodies.
//!
//! A body is taken apart into words only: every word that is a relation's name counts as a relation that is read, every
//! word before a bracket as a function that is called. So nothing is missed, as long as no text is run as a statement.

use std::collections::HashSet;

use super::{Closure, is_harmless, names, refused};
use crate::catalog::{Catalog, Function, Relation};
use crate::postgres::govern::Obstacle;
use crate::postgres::lexer::{self, Token, TokenKind};

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

/// What a body consists of.
struct Body<'c> {
    relations: Vec<&'c Relation>,
    calls: Vec<String>,
    operators: Vec<String>,
    /// It runs texts, or is not plain enough to be sure.
    dynamic: bool,
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

/// Takes a text apart.
fn read<'c>(catalog: &'c Catalog, text: &str) -> Body<'c> {
    let tokens: Vec<Token> = lexer::tokens(text, false)
        .into_iter()
        .filter(|token| !matches!(token.kind, TokenKind::Space | TokenKind::Comment))
        .collect();
    let mut body = Body {
        relations: Vec::new(),
        calls: Vec::new(),
        operators: Vec::new(),
        dynamic: false,
    };
    let mut seen = HashSet::new();
    for (at, token) in tokens.iter().enumerate() {
        let Ok(written) = std::str::from_utf8(token.of(text)) else {
            body.dynamic = true;
            continue;
        };
        match token.kind {
            TokenKind::Word | TokenKind::QuotedWord => {
                let Some(name) = identifier(token.kind, written) else {
                    body.dynamic = true;
                    continue;
                };
                // `ON CONFLICT DO NOTHING` runs nothing.
                let harmless_do = name == "do"
                    && (is_word(text, &tokens, at + 1, "nothing")
                        || is_word(text, &tokens, at + 1, "update"));
                body.dynamic |= token.kind == TokenKind::Word
                    && FORBIDDEN.contains(&name.as_str())
                    && !harmless_do;
                let before = (at >= 2 && is_symbol(text, &tokens, at - 1, b'.'))
                    .then(|| tokens.get(at - 2))
                    .flatten()
                    .and_then(|token| {
                        identifier(token.kind, std::str::from_utf8(token.of(text)).ok()?)
                    });
                for relation in catalog.named(&name) {
                    let meant = before.as_deref().is_none_or(|schema| {
                        // What stands before the point may be a table's alias too.
                        schema == relation.schema || catalog_has_no_schema(catalog, schema)
                    });
                    if meant && !relation.system && seen.insert(relation.oid) {
                        body.relations.push(relation);
                    }
                }
                if is_symbol(text, &tokens, at + 1, b'(') || catalog.functions.contains_key(&name) {
                    body.calls.push(name);
                }
            }
            TokenKind::Symbol => {
                let operator = operator_at(text, &tokens, at);
                if !operator.is_empty() && catalog.operators.contains_key(&operator) {
                    body.operators.push(operator);
                }
            }
            _ => {}
        }
    }
    body
}

fn catalog_has_no_schema(catalog: &Catalog, schema: &str) -> bool {
    !catalog
        .relations
        .values()
        .any(|relation| relation.schema == schema)
}

/// The identifier as the server folds it; `None` where that takes escapes.
fn identifier(kind: TokenKind, written: &str) -> Option<String> {
    match kind {
        TokenKind::Word => Some(written.to_lowercase()),
        TokenKind::QuotedWord => written
            .strip_prefix('"')?
            .strip_suffix('"')
            .map(|inner| inner.replace("\"\"", "\"")),
        _ => None,
    }
}

fn is_symbol(text: &str, tokens: &[Token], at: usize, symbol: u8) -> bool {
    tokens
        .get(at)
        .is_some_and(|token| token.kind == TokenKind::Symbol && token.of(text) == [symbol])
}

fn is_word(text: &str, tokens: &[Token], at: usize, word: &str) -> bool {
    tokens.get(at).is_some_and(|token| {
        token.kind == TokenKind::Word && token.of(text).eq_ignore_ascii_case(word.as_bytes())
    })
}

/// The operator that begins here, as far as its symbols touch.
fn operator_at(text: &str, tokens: &[Token], at: usize) -> String {
    const LETTERS: &[u8] = b"+-*/<>=~!@#%^&|`?";
    let mut operator = String::new();
    let mut end = None;
    for token in tokens.get(at..).unwrap_or_default() {
        let adjoins = end.is_none_or(|end| end == token.start);
        match token.of(text) {
            [letter] if adjoins && token.kind == TokenKind::Symbol && LETTERS.contains(letter) => {
                operator.push(char::from(*letter));
                end = Some(token.end);
            }
            _ => break,
        }
    }
    operator
}

/// Words whose presence means that a body may do what its words do not show.
const FORBIDDEN: &[&str] = &[
    "execute",
    "search_path",
    "standard_conforming_strings",
    "client_encoding",
    "client_min_messages",
    "session_authorization",
    "dblink",
    "copy",
    "do",
    "call",
];

/// Words that stand before a bracket and call nothing.
const SYNTAX: &[&str] = &[
    "all",
    "and",
    "any",
    "array",
    "as",
    "assert",
    "between",
    "bigint",
    "bit",
    "by",
    "case",
    "cast",
    "char",
    "character",
    "check",
    "coalesce",
    "conflict",
    "cube",
    "decimal",
    "default",
    "distinct",
    "else",
    "elseif",
    "elsif",
    "end",
    "except",
    "exists",
    "filter",
    "float",
    "from",
    "function",
    "greatest",
    "group",
    "grouping",
    "having",
    "if",
    "ilike",
    "in",
    "int",
    "integer",
    "intersect",
    "interval",
    "into",
    "is",
    "join",
    "key",
    "lateral",
    "least",
    "like",
    "limit",
    "loop",
    "materialized",
    "not",
    "nothing",
    "nullif",
    "numeric",
    "offset",
    "on",
    "only",
    "or",
    "order",
    "over",
    "overlaps",
    "partition",
    "perform",
    "precision",
    "query",
    "return",
    "returning",
    "returns",
    "rollup",
    "row",
    "select",
    "set",
    "sets",
    "similar",
    "some",
    "table",
    "then",
    "time",
    "timestamp",
    "trim",
    "union",
    "unique",
    "update",
    "using",
    "values",
    "varchar",
    "varying",
    "when",
    "where",
    "while",
    "with",
    "within",
    "xmlelement",
    "xmlforest",
    "zone",
];
