use super::*;
use crate::facts::{RelationUse, Use};

mod columns;
mod conditions;
pub(super) mod corpus;
mod details;
mod hostile;
mod kinds;
mod properties;
mod relations;

fn facts(text: &str) -> Facts {
    let facts = analyse(text.as_bytes(), SessionModes::default());
    assert_eq!(facts.parse_error, None, "{text}");
    facts
}

fn uses(text: &str) -> Vec<String> {
    facts(text).relations.iter().map(written).collect()
}

fn written(RelationUse { relation, usage }: &RelationUse) -> String {
    let usage = match usage {
        Use::Read => "read",
        Use::Write => "write",
        Use::Define => "define",
    };
    match &relation.schema {
        Some(schema) => format!("{usage} {schema}.{}", relation.name),
        None => format!("{usage} {}", relation.name),
    }
}
