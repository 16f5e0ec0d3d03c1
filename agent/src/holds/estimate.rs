//! What the server expects of a statement, by its own `EXPLAIN`: the question and its answer.

use serde_json::Value;
use weir_sql::{Confidence, Facts, Kind};

use super::Estimate;

/// What to ask ahead of an `EXPLAIN`: planning changes nothing, and waits for no lock.
pub const BEGIN: [&str; 2] = ["BEGIN READ ONLY", "SET LOCAL lock_timeout = '500ms'"];

/// The question about a text.
///
/// # Errors
///
/// Why it is not asked. To plan a statement the server may run functions of it that are declared immutable, and nothing of a
/// statement is to run before it is approved: only those without any are asked about.
pub fn question(text: &[u8], facts: &Facts, has_values: bool) -> Result<String, &'static str> {
    let planned = |kind: &Kind| {
        matches!(
            kind,
            Kind::Select | Kind::Insert | Kind::Update | Kind::Delete
        )
    };
    if has_values {
        return Err("its values are bound apart");
    }
    if facts.kinds.is_empty() || !facts.kinds.iter().all(planned) {
        return Err("statements of this kind have no plan");
    }
    if facts.confidence != Confidence::Exact || !facts.functions.is_empty() {
        return Err("planning it could run functions of it");
    }
    let text = std::str::from_utf8(text).map_err(|_| "it is not UTF-8")?;
    // A comment at its end must not swallow anything: the text stands last.
    Ok(format!("EXPLAIN (FORMAT JSON) {text}"))
}

/// Reads the server's answer.
#[must_use]
pub fn answer(json: &[u8]) -> Estimate {
    let plan = serde_json::from_slice::<Value>(json)
        .ok()
        .and_then(|answer| answer.get(0)?.get("Plan").cloned());
    let Some(plan) = plan else {
        return Estimate::None("the server's answer cannot be read".to_owned());
    };
    let word = |key: &str| plan[key].as_str().unwrap_or_default();
    // As the server's own text form writes it: "Update on orders", "Seq Scan on orders".
    let step = match (word("Operation"), word("Node Type")) {
        ("", node) => node,
        (operation, _) => operation,
    };
    let step = match word("Relation Name") {
        "" => step.to_owned(),
        relation => format!("{step} on {relation}"),
    };
    Estimate::Plan {
        rows: widest(&plan, 0),
        cost: plan["Total Cost"].to_string(),
        step,
    }
}

/// The most rows that any step yields: of a change, those that it changes.
fn widest(plan: &Value, depth: usize) -> u64 {
    let own = plan["Plan Rows"].as_u64().unwrap_or(0);
    let below = plan["Plans"].as_array().filter(|_| depth < MAX_DEPTH);
    below
        .into_iter()
        .flatten()
        .map(|plan| widest(plan, depth + 1))
        .fold(own, u64::max)
}

/// Deeper than plans are.
const MAX_DEPTH: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_change_the_rows_are_those_below_it() {
        let json = br#"[{"Plan": {"Node Type": "ModifyTable", "Operation": "Update", "Relation Name": "orders", "Plan Rows": 0,
            "Total Cost": 25.5, "Plans": [{"Node Type": "Seq Scan", "Plan Rows": 1000}]}}]"#;
        assert_eq!(
            answer(json),
            Estimate::Plan {
                rows: 1000,
                cost: "25.5".to_owned(),
                step: "Update on orders".to_owned()
            }
        );
        assert!(matches!(answer(b"[]"), Estimate::None(_)));
        assert!(matches!(answer(b"{"), Estimate::None(_)));
    }

    #[test]
    fn what_could_run_something_while_it_is_planned_is_not_asked_about() {
        let facts = Facts {
            kinds: vec![Kind::Update],
            confidence: Confidence::Exact,
            ..Facts::default()
        };
        assert_eq!(
            question(b"UPDATE a SET b = 1 -- x", &facts, false).as_deref(),
            Ok("EXPLAIN (FORMAT JSON) UPDATE a SET b = 1 -- x")
        );
        assert!(question(b"UPDATE a SET b = $1", &facts, true).is_err());
        let calls = Facts {
            functions: vec!["f".to_owned()],
            ..facts.clone()
        };
        assert!(question(b"UPDATE a SET b = f()", &calls, false).is_err());
        let other = Facts {
            kinds: vec![Kind::Drop],
            ..facts
        };
        assert!(question(b"DROP TABLE a", &other, false).is_err());
    }
}
