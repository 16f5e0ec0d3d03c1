//! What an allowed request is subject to, gathered rule by rule: masks, filters, limits.

use std::collections::{BTreeMap, BTreeSet};

use weir_sql::{ColumnMask, ColumnName, Confidence, Mask, RowFilter};

use crate::{
    bits::Bits,
    classes::is_system,
    conditions::{ColumnView, Focus},
    decision::{Budget, Obligations, RuleId},
    rule::Rule,
    view::{Reading, View},
};

/// What all rules together ask for; the strictest of each.
#[derive(Default)]
pub(crate) struct Gathered<'p, 'f> {
    masks: BTreeMap<&'f ColumnName, Mask>,
    filters: BTreeSet<RowFilter>,
    max_rows: Option<u64>,
    max_bytes: Option<u64>,
    budgets: BTreeSet<Budget>,
    /// Whether every rule that masks something here lets it be stored masked.
    store_masked: Option<bool>,
    /// Rules that ask for something.
    pub(crate) rules: Vec<&'p Rule>,
    /// A filter that cannot be filled in, and what it lacks.
    pub(crate) lacking: Vec<(&'p Rule, String)>,
}

/// What came of a rule that hides data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hiding {
    /// Nothing that is read is meant.
    Nothing,
    /// Something is.
    Something,
    /// It is not known what is read.
    Unknown,
}

impl<'p, 'f> Gathered<'p, 'f> {
    /// Adds what a rule hides, which holds or may hold for the statement as far as that does not depend on columns.
    pub(crate) fn hide(
        &mut self,
        rule: &'p Rule,
        view: &View<'_>,
        reading: &Reading<'f>,
    ) -> Hiding {
        if !knows(reading) {
            return Hiding::Unknown;
        }
        let mut found = false;
        for (reachable, classes) in reading
            .facts
            .reachable
            .iter()
            .zip(reading.reachable_classes())
            .filter(|(_, classes)| rule.may_mean(classes))
        {
            found |= self.hide_column(
                rule,
                view,
                reading,
                &reachable.column,
                &reachable.bases,
                classes,
            );
            // A view's own query is rewritten where its rows depend on what is hidden, so its bases are named too.
            for base in &reachable.bases {
                let classes = view.classifier.column(base);
                found |= self.hide_column(rule, view, reading, base, &[], &classes);
            }
        }
        if !found {
            return Hiding::Nothing;
        }
        self.rules.push(rule);
        Hiding::Something
    }

    fn hide_column(
        &mut self,
        rule: &'p Rule,
        view: &View<'_>,
        reading: &Reading<'_>,
        column: &'f ColumnName,
        bases: &'f [ColumnName],
        classes: &Bits,
    ) -> bool {
        if is_system(&column.schema) {
            return false;
        }
        let named = |bases| {
            let column = ColumnView {
                column,
                bases,
                classes,
            };
            rule.selects(&view.focused(Focus::Column(&column)))
        };
        let mask = rule.masking.mask(classes).filter(|_| named(bases));
        if let Some(mask) = mask {
            let strictest = self.masks.entry(column).or_insert(mask);
            *strictest = mask.max(*strictest);
            // What is in reach and not used is not stored either.
            if uses(reading, column) {
                let stores = rule.effects.on_write.is_some();
                self.store_masked = Some(self.store_masked.unwrap_or(true) && stores);
            }
        }
        // The condition is over the columns of the very relation that the rule means, not of a view over it.
        let Some(template) = rule.filter.as_ref().filter(|_| named(&[])) else {
            return mask.is_some();
        };
        match template.fill(view.actor) {
            Ok(condition) => {
                self.filters.insert(RowFilter {
                    schema: column.schema.clone(),
                    relation: column.relation.clone(),
                    condition,
                });
            }
            Err(claim) => self.lacking.push((rule, claim.to_owned())),
        }
        true
    }

    /// Adds a rule's limits.
    pub(crate) fn limit(&mut self, rule: &'p Rule) {
        if let Some(cap) = &rule.effects.cap {
            self.max_rows = least(self.max_rows, cap.rows);
            self.max_bytes = least(self.max_bytes, cap.bytes);
        }
        if let Some(budget) = &rule.effects.budget {
            self.budgets.insert(Budget {
                rule: rule.id.clone(),
                rows: budget.rows,
                bytes: budget.bytes,
                statements: budget.statements,
                per: budget.per,
                window_s: budget.window.as_secs(),
            });
        }
        self.rules.push(rule);
    }

    pub(crate) fn rule_ids(&self) -> impl Iterator<Item = RuleId> {
        self.rules.iter().map(|rule| rule.id.clone())
    }

    pub(crate) fn settle(self) -> Obligations {
        Obligations {
            masks: self
                .masks
                .into_iter()
                .map(|(column, mask)| ColumnMask {
                    column: column.clone(),
                    mask,
                })
                .collect(),
            filters: self.filters.into_iter().collect(),
            max_rows: self.max_rows,
            max_bytes: self.max_bytes,
            store_masked: self.store_masked == Some(true),
            budgets: self.budgets.into_iter().collect(),
        }
    }
}

/// Whether it is known what the text reads.
pub(crate) fn knows(reading: &Reading<'_>) -> bool {
    reading.facts.confidence < Confidence::Opaque && reading.resolved()
}

/// Whether the statement uses the column for anything.
fn uses(reading: &Reading<'_>, column: &ColumnName) -> bool {
    let columns = &reading.facts.columns;
    let at = columns.partition_point(|used| used.column < *column);
    columns.get(at).is_some_and(|used| used.column == *column)
}

fn least(a: Option<u64>, b: Option<u64>) -> Option<u64> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

#[cfg(test)]
mod tests;
