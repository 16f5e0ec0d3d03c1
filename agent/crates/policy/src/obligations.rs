//! What an allowed request is subject to, gathered rule by rule: masks, filters, limits.

use std::collections::{BTreeMap, BTreeSet};

use weir_sql::{ColumnMask, ColumnName, Confidence, Facts, Kind, Mask, RowFilter, Use};

use crate::{
    bits::Bits,
    classes::is_system,
    conditions::{ColumnView, Focus},
    decision::{Approval, Budget, Obligations, RuleId},
    rule::Rule,
    schema::InTransaction,
    view::{Reading, View},
};

/// What all rules together ask for; the strictest of each.
#[derive(Default)]
pub(crate) struct Gathered<'p, 'f> {
    /// Beside the columns within reach.
    masks: Vec<Option<Mask>>,
    base_masks: BTreeMap<&'f ColumnName, Mask>,
    filters: BTreeSet<RowFilter>,
    max_rows: Option<u64>,
    max_bytes: Option<u64>,
    budgets: BTreeSet<Budget>,
    approvals: BTreeSet<Approval>,
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
        let columns = reading
            .facts
            .reachable
            .iter()
            .zip(reading.reachable_classes());
        for (at, (reachable, classes)) in columns.enumerate() {
            if !rule.may_mean(classes) {
                continue;
            }
            let column = ColumnView {
                column: &reachable.column,
                bases: &reachable.bases,
                classes,
            };
            if let Some(mask) = mask(rule, view, &column) {
                found = true;
                self.mask(at, mask, reading.facts.reachable.len());
                // What is in reach and not used is not stored either.
                if reading.uses(at) {
                    let stores = rule.effects.on_write.is_some();
                    self.store_masked = Some(self.store_masked.unwrap_or(true) && stores);
                }
            }
            // The condition is over the columns of the very relation that the rule means, not of a view over it.
            found |= self.filter(rule, view, column.column, classes);
            // A view's own query is rewritten where its rows depend on what is hidden, so its bases are named too.
            for base in &reachable.bases {
                let classes = view.classifier.column(base);
                let column = ColumnView {
                    column: base,
                    bases: &[],
                    classes: &classes,
                };
                if let Some(mask) = mask(rule, view, &column) {
                    found = true;
                    let strictest = self.base_masks.entry(base).or_insert(mask);
                    *strictest = mask.max(*strictest);
                }
                found |= self.filter(rule, view, base, &classes);
            }
        }
        match self.filter_targets(rule, view, reading) {
            Hiding::Unknown => return Hiding::Unknown,
            targets => found |= targets == Hiding::Something,
        }
        if !found {
            return Hiding::Nothing;
        }
        self.rules.push(rule);
        Hiding::Something
    }

    fn mask(&mut self, at: usize, mask: Mask, columns: usize) {
        self.masks.resize(columns, None);
        if let Some(strictest) = self.masks.get_mut(at) {
            *strictest = Some(strictest.map_or(mask, |strictest| strictest.max(mask)));
        }
    }

    /// Rows that may not be seen may not be changed either, and a statement can change rows without reading a column.
    fn filter_targets(&mut self, rule: &'p Rule, view: &View<'_>, reading: &Reading<'f>) -> Hiding {
        let mut found = Hiding::Nothing;
        if rule.filter.is_none() || !reading.changes_rows() {
            return found;
        }
        let targets = reading.facts.relations.iter();
        for target in targets.filter(|used| used.usage != Use::Read) {
            let name = &target.relation.name;
            let written = target.relation.schema.iter().map(String::as_str);
            let mut schemas = written.chain(reading.schemas_of(name)).peekable();
            if schemas.peek().is_none() && rule.may_mean_relation(name) {
                return Hiding::Unknown;
            }
            for schema in schemas {
                let row = ColumnName {
                    schema: schema.to_owned(),
                    relation: name.clone(),
                    column: String::new(),
                };
                let classes = view.classifier.column(&row);
                if rule.may_mean(&classes) && self.filter(rule, view, &row, &classes) {
                    found = Hiding::Something;
                }
            }
        }
        found
    }

    fn filter(
        &mut self,
        rule: &'p Rule,
        view: &View<'_>,
        column: &ColumnName,
        classes: &Bits,
    ) -> bool {
        let Some(template) = &rule.filter else {
            return false;
        };
        let row = ColumnView {
            column,
            bases: &[],
            classes,
        };
        if is_system(&column.schema) || !rule.selects(&view.focused(Focus::Column(&row))) {
            return false;
        }
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

    /// Adds who has to agree before what a rule is about goes on.
    pub(crate) fn hold(&mut self, rule: &'p Rule) {
        let Some(approve) = &rule.effects.approve else {
            return;
        };
        self.approvals.insert(Approval {
            rule: rule.id.clone(),
            why: rule.why.clone(),
            groups: approve.groups.clone(),
            quorum: approve.quorum,
            ttl_s: approve.ttl.as_secs(),
            reuse_s: approve.reuse.map(|reuse| reuse.as_secs()),
            not_in_transaction: approve.in_transaction == InTransaction::Deny,
            break_glass: approve.break_glass.clone(),
        });
        self.rules.push(rule);
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

    pub(crate) fn settle(self, facts: &'f Facts) -> Obligations {
        let mut masks = self.base_masks;
        for (reachable, mask) in facts.reachable.iter().zip(self.masks) {
            let Some(mask) = mask else {
                continue;
            };
            let strictest = masks.entry(&reachable.column).or_insert(mask);
            *strictest = mask.max(*strictest);
        }
        Obligations {
            masks: masks
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
            approvals: self.approvals.into_iter().collect(),
        }
    }
}

/// Whether it is known what the text reads.
pub(crate) fn knows(reading: &Reading<'_>) -> bool {
    let facts = reading.facts;
    facts.confidence < Confidence::Opaque
        && !facts.kinds.contains(&Kind::Unknown)
        && reading.resolved()
}

fn mask(rule: &Rule, view: &View<'_>, column: &ColumnView<'_>) -> Option<Mask> {
    let mask = rule.masking.mask(column.classes)?;
    let meant =
        !is_system(&column.column.schema) && rule.selects(&view.focused(Focus::Column(column)));
    meant.then_some(mask)
}

fn least(a: Option<u64>, b: Option<u64>) -> Option<u64> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

#[cfg(test)]
mod tests;
