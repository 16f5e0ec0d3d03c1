use super::*;
use crate::facts::{RelationName, RelationUse, Use};

fn facts(text: &str) -> Facts {
    let facts = analyse(text.as_bytes(), SessionModes::default());
    assert_eq!(facts.parse_error, None, "{text}");
    facts
}

fn uses(text: &str) -> Vec<String> {
    facts(text)
        .relations
        .iter()
        .map(|one| {
            let RelationUse {
                relation: RelationName { schema, name },
                usage,
            } = one;
            let usage = match usage {
                Use::Read => "read",
                Use::Write => "write",
                Use::Define => "define",
            };
            match schema {
                Some(schema) => format!("{usage} {schema}.{name}"),
                None => format!("{usage} {name}"),
            }
        })
        .collect()
}

#[test]
fn a_select_is_read() {
    let facts =
        facts("SELECT * FROM public.orders o JOIN customers c ON c.id = o.customer LIMIT 5");
    assert_eq!(facts.kinds, [Kind::Select]);
    assert_eq!(facts.limit, Some(5));
    assert_eq!(facts.confidence, Confidence::Exact);
    assert_eq!(
        uses("SELECT * FROM public.orders, customers"),
        ["read customers", "read public.orders"]
    );
}
