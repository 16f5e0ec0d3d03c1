//! What differs between two decisions about the same statement.

use std::collections::BTreeSet;

use weir_policy::{Decision, Effect, Obligations};
use weir_sql::Facts;

/// The differences, each as one line; none when both say the same to whoever asks.
pub(super) fn between(before: &Decision, after: &Decision, facts: &Facts) -> Vec<String> {
    match (&before.effect, &after.effect) {
        (Effect::Allow, Effect::Deny { reason }) => {
            return vec![format!("allowed → denied by {}: {reason}", rules(after))];
        }
        (Effect::Deny { .. }, Effect::Allow) => {
            return vec![format!("denied by {} → allowed", rules(before))];
        }
        (Effect::Deny { .. }, Effect::Deny { .. }) => return Vec::new(),
        (Effect::Allow, Effect::Allow) => {}
    }
    let (old, new) = (&before.obligations, &after.obligations);
    let mut changes = sets("mask", &touched(old, facts), &touched(new, facts));
    let filters = |decision: &Decision| {
        decision
            .obligations
            .filters
            .iter()
            .map(ToString::to_string)
            .collect()
    };
    changes.extend(sets("filter", &filters(before), &filters(after)));
    let budgets = |decision: &Decision| {
        decision
            .obligations
            .budgets
            .iter()
            .map(|budget| budget.rule.0.clone())
            .collect()
    };
    changes.extend(sets("budget", &budgets(before), &budgets(after)));
    let approvals = |decision: &Decision| {
        decision
            .obligations
            .approvals
            .iter()
            .map(|approval| format!("{approval} ({})", approval.rule.0))
            .collect()
    };
    changes.extend(sets("need of", &approvals(before), &approvals(after)));
    changes.extend(limit("rows", old.max_rows, new.max_rows));
    changes.extend(limit("bytes", old.max_bytes, new.max_bytes));
    let tags = |decision: &Decision| decision.tags.iter().cloned().collect();
    changes.extend(sets("tag", &tags(before), &tags(after)));
    changes
}

/// What is in reach and not used changes no answer; and a record has no more than what was used.
fn touched(found: &Obligations, facts: &Facts) -> BTreeSet<String> {
    found.shown_masks(facts).map(ToString::to_string).collect()
}

fn sets(what: &str, before: &BTreeSet<String>, after: &BTreeSet<String>) -> Vec<String> {
    let gone = before
        .difference(after)
        .map(|item| format!("no more {what} {item}"));
    let new = after
        .difference(before)
        .map(|item| format!("new {what} {item}"));
    gone.chain(new).collect()
}

fn limit(of: &str, before: Option<u64>, after: Option<u64>) -> Option<String> {
    let show =
        |limit: Option<u64>| limit.map_or_else(|| "any".to_owned(), |limit| limit.to_string());
    (before != after).then(|| format!("{of} {} → {}", show(before), show(after)))
}

fn rules(decision: &Decision) -> String {
    let ids: Vec<_> = decision.rules.iter().map(|id| id.0.as_str()).collect();
    ids.join(", ")
}

#[cfg(test)]
mod tests {
    use weir_policy::RuleId;
    use weir_sql::{ColumnMask, ColumnName, ColumnUsage, Mask, facts::ColumnUse};

    use super::*;

    fn decision(effect: Effect) -> Decision {
        Decision {
            effect,
            rules: vec![RuleId("r".to_owned())],
            would: Vec::new(),
            tags: Vec::new(),
            obligations: Obligations::default(),
            step_up: None,
        }
    }

    #[test]
    fn what_the_client_would_notice_is_a_change() {
        let column = |column: &str| ColumnName {
            schema: "app".to_owned(),
            relation: "t".to_owned(),
            column: column.to_owned(),
        };
        let facts = Facts {
            columns: vec![ColumnUse {
                column: column("ssn"),
                bases: Vec::new(),
                usage: ColumnUsage::Output,
            }],
            ..Facts::default()
        };
        let allow = decision(Effect::Allow);
        let deny = decision(Effect::Deny {
            reason: "no".to_owned(),
        });
        assert_eq!(
            between(&allow, &deny, &facts),
            ["allowed → denied by r: no"]
        );
        assert_eq!(between(&deny, &allow, &facts), ["denied by r → allowed"]);
        assert!(between(&deny, &deny, &facts).is_empty());
        let mut masked = allow.clone();
        masked.obligations.max_rows = Some(5);
        masked.obligations.masks = ["other", "ssn"]
            .map(|name| ColumnMask {
                column: column(name),
                mask: Mask::Last4,
            })
            .to_vec();
        assert_eq!(
            between(&allow, &masked, &facts),
            ["new mask app.t.ssn: last4", "rows any → 5"]
        );
        assert_eq!(
            between(&masked, &allow, &facts),
            ["no more mask app.t.ssn: last4", "rows 5 → any"]
        );
    }
}
