//! A body taken apart into words.
//!
//! Every word that is a relation's name counts as a relation that is read, every word before a bracket as a function that is
//! called. So nothing is missed, as long as no text is run as a statement.

use std::collections::HashSet;

use crate::catalog::{Catalog, Relation};
use crate::postgres::lexer::{self, Token, TokenKind};

/// What a body consists of.
pub(super) struct Body<'c> {
    pub(super) relations: Vec<&'c Relation>,
    pub(super) calls: Vec<String>,
    pub(super) operators: Vec<String>,
    /// It runs texts, or is not plain enough to be sure.
    pub(super) dynamic: bool,
}

/// Takes a text apart.
pub(super) fn read<'c>(catalog: &'c Catalog, text: &str) -> Body<'c> {
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
pub(super) const SYNTAX: &[&str] = &[
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
