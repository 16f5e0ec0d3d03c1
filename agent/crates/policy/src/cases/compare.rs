//! A case's promise beside what was decided.

use weir_sql::{Facts, Mask};

use crate::{
    decision::{Decision, Effect, Obligations},
    schema::OneOrMany,
};

use super::text::{CaseText, Expected};

impl CaseText {
    pub(super) fn compare(&self, decision: &Decision, facts: &Facts) -> Option<String> {
        let rules: Vec<_> = decision.rules.iter().map(|id| id.0.as_str()).collect();
        let would: Vec<_> = decision.would.iter().map(|id| id.0.as_str()).collect();
        let tags: Vec<_> = decision.tags.iter().map(String::as_str).collect();
        let by = rules.join(", ");
        let found = if decision.waits() {
            Expected::Approve
        } else {
            Expected::Allow
        };
        match (&decision.effect, self.expect) {
            (Effect::Allow, expected) if expected == found => {}
            (Effect::Allow, expected) => {
                return Some(format!(
                    "expected {}, but it {} by {by}",
                    word(expected),
                    match found {
                        Expected::Approve => "waits for an approval",
                        Expected::Allow | Expected::Deny => "is allowed",
                    }
                ));
            }
            (Effect::Deny { reason }, Expected::Allow | Expected::Approve) => {
                return Some(format!(
                    "expected {}, but {by} denies it: {reason}",
                    word(self.expect)
                ));
            }
            (Effect::Deny { reason }, Expected::Deny) => {
                if let Some(part) = self
                    .reason
                    .as_ref()
                    .filter(|part| !reason.contains(part.as_str()))
                {
                    return Some(format!(
                        "expected a reason with \"{part}\", found \"{reason}\""
                    ));
                }
            }
        }
        differ("rules", self.rules.as_ref(), &rules)
            .or_else(|| differ("would", self.would.as_ref(), &would))
            .or_else(|| differ("tags", self.tags.as_ref(), &tags))
            .or_else(|| self.compare_obligations(&decision.obligations, facts))
    }

    fn compare_obligations(&self, found: &Obligations, facts: &Facts) -> Option<String> {
        let masked = self.masked.as_ref().map(|masked| {
            masked
                .iter()
                .map(|(column, mask)| {
                    // YAML reads the mask's name `null` as no value.
                    format!("{column}: {}", mask.unwrap_or(Mask::Null))
                })
                .collect()
        });
        let filters = self.filters.as_ref().map(|filters| {
            filters
                .iter()
                .flat_map(|(relation, OneOrMany(conditions))| {
                    conditions
                        .iter()
                        .map(move |condition| format!("{relation}: {condition}"))
                })
                .collect()
        });
        let budgets: Vec<_> = found
            .budgets
            .iter()
            .map(|budget| budget.rule.0.as_str())
            .collect();
        let shown: Vec<_> = found.shown_masks(facts).map(ToString::to_string).collect();
        let chosen: Vec<_> = found.filters.iter().map(ToString::to_string).collect();
        differ("masked", masked.as_ref(), &words(&shown))
            .or_else(|| differ("filters", filters.as_ref(), &words(&chosen)))
            .or_else(|| differ("budgets", self.budgets.as_ref(), &budgets))
            .or_else(|| self.compare_limits(found))
    }

    fn compare_limits(&self, found: &Obligations) -> Option<String> {
        let show =
            |limit: Option<u64>| limit.map_or_else(|| "any".to_owned(), |limit| limit.to_string());
        if let Some(cap) = &self.cap
            && (cap.rows, cap.bytes) != (found.max_rows, found.max_bytes)
        {
            return Some(format!(
                "expected a cap of {} rows and {} bytes, found {} rows and {} bytes",
                show(cap.rows),
                show(cap.bytes),
                show(found.max_rows),
                show(found.max_bytes)
            ));
        }
        self.stores_masked
            .filter(|expected| *expected != found.store_masked)
            .map(|expected| {
                format!(
                    "expected stores_masked {expected}, found {}",
                    found.store_masked
                )
            })
    }
}

fn word(expected: Expected) -> &'static str {
    match expected {
        Expected::Allow => "allow",
        Expected::Approve => "approve",
        Expected::Deny => "deny",
    }
}

fn words(list: &[String]) -> Vec<&str> {
    list.iter().map(String::as_str).collect()
}

fn differ(what: &str, expected: Option<&Vec<String>>, found: &[&str]) -> Option<String> {
    let mut expected: Vec<_> = expected?.iter().map(String::as_str).collect();
    let mut found = found.to_vec();
    expected.sort_unstable();
    found.sort_unstable();
    (expected != found).then(|| {
        format!(
            "expected {what} [{}], found [{}]",
            expected.join(", "),
            found.join(", ")
        )
    })
}
