//! What a statement does, in a word, a line and a list: as dashboards group by it.

use weir_sql::{Facts, Kind, RelationName, Use};

/// The most that a summary may have, characters.
/// <https://opentelemetry.io/docs/specs/semconv/db/database-spans/#generating-a-summary-of-the-query>
const MOST: usize = 255;

/// The kind that says most of a statement with several: what changes goes before what reads.
pub(super) fn kind(facts: &Facts) -> Option<Kind> {
    facts.kinds.iter().copied().min_by_key(|kind| match kind {
        Kind::Drop => 0,
        Kind::Truncate => 1,
        Kind::Delete => 2,
        Kind::Update => 3,
        Kind::Merge => 4,
        Kind::Insert => 5,
        Kind::CopyIn => 6,
        Kind::EmbeddingWrite => 7,
        Kind::Create => 8,
        Kind::Alter | Kind::Ddl => 9,
        Kind::Grant => 10,
        Kind::Call => 11,
        Kind::Do => 12,
        Kind::FunctionCall => 13,
        Kind::Replication => 14,
        Kind::CopyOut => 15,
        Kind::VectorSearch => 16,
        Kind::Select => 17,
        Kind::Explain => 18,
        Kind::Set => 19,
        Kind::Transaction => 20,
        Kind::Utility => 21,
        _ => 22,
    })
}

/// The command of a kind, as SQL has it.
pub(super) fn command(kind: Kind) -> &'static str {
    match kind {
        Kind::Select | Kind::VectorSearch => "SELECT",
        Kind::Insert | Kind::EmbeddingWrite => "INSERT",
        Kind::Update => "UPDATE",
        Kind::Delete => "DELETE",
        Kind::Merge => "MERGE",
        Kind::Create => "CREATE",
        Kind::Alter | Kind::Ddl => "ALTER",
        Kind::Drop => "DROP",
        Kind::Truncate => "TRUNCATE",
        Kind::Grant => "GRANT",
        Kind::CopyIn | Kind::CopyOut => "COPY",
        Kind::Call | Kind::FunctionCall => "CALL",
        Kind::Do => "DO",
        Kind::Explain => "EXPLAIN",
        Kind::Set => "SET",
        Kind::Transaction => "TRANSACTION",
        Kind::Replication => "REPLICATION",
        Kind::Utility => "UTILITY",
        _ => "UNKNOWN",
    }
}

/// The command of a statement; of several statements in one request what the conventions call a batch.
pub(super) fn name(facts: &Facts) -> Option<String> {
    let command = command(kind(facts)?);
    Some(match (facts.statement_count, facts.kinds.len()) {
        (0 | 1, _) => command.to_owned(),
        (_, 1) => format!("BATCH {command}"),
        _ => "BATCH".to_owned(),
    })
}

/// The command and the relations it is about, those that are written first: `INSERT orders SELECT carts`.
pub(super) fn summary(facts: &Facts) -> Option<String> {
    let mut summary = name(facts)?;
    if summary == "BATCH" {
        return Some(summary);
    }
    let of = |written: bool| {
        let used = facts.relations.iter();
        used.filter(move |used| (used.usage != Use::Read) == written)
            .map(|used| &used.relation)
    };
    let written: Vec<_> = of(true).collect();
    let read: Vec<_> = of(false)
        .filter(|relation| !written.contains(relation))
        .collect();
    for relation in &written {
        add(&mut summary, relation);
    }
    if !written.is_empty() && !read.is_empty() {
        add(&mut summary, &"SELECT");
    }
    for relation in read {
        add(&mut summary, relation);
    }
    Some(summary)
}

/// The one relation that a statement is about; `None` when there are several.
pub(super) fn only_relation(facts: &Facts) -> Option<&RelationName> {
    let (first, rest) = facts.relations.split_first()?;
    rest.iter()
        .all(|used| used.relation == first.relation)
        .then_some(&first.relation)
}

/// Nothing is cut in its midst.
fn add(summary: &mut String, word: &impl ToString) {
    let word = word.to_string();
    if summary.chars().count() + 1 + word.chars().count() <= MOST {
        summary.push(' ');
        summary.push_str(&word);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::fixtures::facts;

    #[test]
    fn summaries_name_what_is_done_to_what() {
        let summary = |kind, relations: &[(&str, Use)]| summary(&facts(kind, relations));
        for (kind, relations, expected) in [
            (Kind::Select, &[("orders", Use::Read)][..], "SELECT orders"),
            (
                Kind::VectorSearch,
                &[("a", Use::Read), ("b", Use::Read)],
                "SELECT a b",
            ),
            (
                Kind::Insert,
                &[("carts", Use::Read), ("orders", Use::Write)],
                "INSERT orders SELECT carts",
            ),
            (
                Kind::Update,
                &[("orders", Use::Read), ("orders", Use::Write)],
                "UPDATE orders",
            ),
            (Kind::Transaction, &[], "TRANSACTION"),
        ] {
            assert_eq!(summary(kind, relations).as_deref(), Some(expected));
        }
    }

    #[test]
    fn of_several_kinds_the_one_that_changes_something_counts() {
        let mut several = facts(Kind::Select, &[("orders", Use::Write)]);
        several.kinds.push(Kind::Delete);
        assert_eq!(kind(&several), Some(Kind::Delete));
        several.statement_count = 2;
        assert_eq!(name(&several).as_deref(), Some("BATCH"));
        assert_eq!(summary(&several).as_deref(), Some("BATCH"));
        several.kinds = vec![Kind::Delete];
        assert_eq!(summary(&several).as_deref(), Some("BATCH DELETE orders"));
        several.kinds.clear();
        assert_eq!(summary(&several), None);
    }

    #[test]
    fn a_summary_is_cut_between_names() {
        let long = "x".repeat(100);
        let relations = [(&*long, Use::Read), ("y", Use::Read), (&*long, Use::Read)];
        let summary = summary(&facts(Kind::Select, &relations)).unwrap_or_default();
        assert_eq!(summary, format!("SELECT {long} y {long}"));
        let more = [relations, relations].concat();
        let summary = super::summary(&facts(Kind::Select, &more)).unwrap_or_default();
        assert!(
            summary.len() <= MOST && summary.ends_with(" y"),
            "{summary}"
        );
    }
}
