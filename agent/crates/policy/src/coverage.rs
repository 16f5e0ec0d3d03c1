//! Which rules speak of whom, of what data, doing what: a pack at a glance.

use serde::Serialize;

use crate::{
    bits::Bits,
    conditions::{Conditions, Matcher},
    decision::RuleId,
    pack::Pack,
    rule::Rule,
    schema::{Action, Answer, Mode},
    view::{self, action_bit, kind_actions},
};

/// One kind of subject, one class of data, one action.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cell {
    /// `human`, `workload`, `agent` or `unidentified`.
    pub actor: &'static str,
    /// The class; of data that no rule speaks of, nothing.
    pub class: String,
    /// What is done.
    pub action: Action,
    /// Whether some rule, or the default, could allow it.
    pub allowed: bool,
    /// Rules that could refuse, mask, filter or limit it, wherever the data is.
    pub rules: Vec<RuleId>,
    /// Whether it is allowed and no rule restricts it.
    pub uncovered: bool,
}

impl Pack {
    /// What could happen to each class of data in the hands of each kind of subject. What a cell does not say (groups,
    /// places, times) counts as met, and exceptions as not: a rule in a cell *could* hold there.
    #[must_use]
    pub fn coverage(&self) -> Vec<Cell> {
        let tree = self.classifier.tree();
        let mut cells = Vec::new();
        for (kind, actor) in KINDS {
            for class in tree.names.as_slice() {
                let classes = tree.closure(class);
                for action in [Action::Read, Action::Write, Action::Define] {
                    cells.push(self.cell(*kind, actor, class, &classes, action));
                }
            }
        }
        cells
    }

    fn cell(
        &self,
        kind: u8,
        actor: &'static str,
        class: &str,
        classes: &Bits,
        action: Action,
    ) -> Cell {
        let defaults = &self.compiled.defaults;
        let rules = self.compiled.rules.iter();
        let in_force = rules.filter(|rule| {
            rule.mode == Mode::Enforce && meets(&rule.matching, kind, classes, action)
        });
        let (allowing, others): (Vec<&Rule>, Vec<&Rule>) =
            in_force.partition(|rule| rule.effects.allow);
        let mut rules: Vec<_> = others
            .into_iter()
            .filter(|rule| rule.effects.restricts() && !names_objects(rule))
            .map(|rule| rule.id.clone())
            .collect();
        rules.sort_unstable();
        let allowed = defaults.effect == Answer::Allow
            || defaults.mode == Mode::Observe
            || !allowing.is_empty();
        Cell {
            actor,
            class: class.to_owned(),
            action,
            allowed,
            uncovered: allowed && rules.is_empty(),
            rules,
        }
    }
}

/// Whether the rule is about certain relations, columns or functions, and not about a class wherever it is.
fn names_objects(rule: &Rule) -> bool {
    rule.matching.matchers.iter().any(|matcher| {
        matches!(
            matcher,
            Matcher::Relations(_) | Matcher::Columns { .. } | Matcher::Functions(_)
        )
    })
}

/// Whether nothing in the conditions rules the cell out.
fn meets(conditions: &Conditions, kind: u8, classes: &Bits, action: Action) -> bool {
    conditions.matchers.iter().all(|matcher| match matcher {
        Matcher::ActorKind(mask) => kind & mask != 0,
        Matcher::Identified(identified) => (kind != view::UNIDENTIFIED) == *identified,
        Matcher::Groups(groups) => {
            kind != view::UNIDENTIFIED || (groups.any.is_none() && groups.all.is_none())
        }
        Matcher::Actions { mask, .. } => mask & action_bit(action) != 0,
        Matcher::Kinds { written, .. } => {
            let done = written
                .iter()
                .fold(0, |done, &kind| done | kind_actions(kind));
            done == 0 || done & action_bit(action) != 0
        }
        Matcher::Classes(set) => set.admits_alone(classes),
        Matcher::Joins(joins) => joins
            .all
            .iter()
            .chain(&joins.any)
            .any(|(class, _)| classes.intersects(class)),
        _ => true,
    })
}

const KINDS: &[(u8, &str)] = &[
    (view::HUMAN, "human"),
    (view::WORKLOAD, "workload"),
    (view::AGENT, "agent"),
    (view::UNIDENTIFIED, "unidentified"),
];

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::source::Sources;

    #[test]
    fn a_cell_lists_what_could_hold_there_and_says_when_nothing_does() {
        let rules = "version: 1\nrules:\n  - { id: staff, match: { actor.identified: true }, effect: allow }\n  - { id: pii, match: { action: [read], classes: { any: [pii] } }, effect: { mask: { default: redact } } }\n  - { id: bots, match: { actor.kind: [agent], kind: [insert] }, effect: { deny: x } }\n";
        let classes = "version: 1\ncolumns: { '*.*.ssn': pii.ssn, '*.*.pay': pay }\n";
        let files = vec![
            ("rules.yaml".to_owned(), rules.to_owned()),
            ("classes.yaml".to_owned(), classes.to_owned()),
        ];
        let pack = Pack::compile(&Sources::from_files(Path::new("p"), files), Mode::Enforce)
            .expect("a pack");
        let cells = pack.coverage();
        assert_eq!(cells.len(), 4 * 3 * 3);
        let cell = |actor: &str, class: &str, action: Action| {
            let cell = cells
                .iter()
                .find(|cell| {
                    (cell.actor, cell.class.as_str(), cell.action) == (actor, class, action)
                })
                .expect("a cell");
            let rules: Vec<_> = cell.rules.iter().map(|id| id.0.as_str()).collect();
            (cell.allowed, cell.uncovered, rules)
        };
        assert_eq!(
            cell("human", "pii.ssn", Action::Read),
            (true, false, vec!["pii"])
        );
        assert_eq!(cell("human", "pay", Action::Read), (true, true, vec![]));
        assert_eq!(
            cell("agent", "pay", Action::Write),
            (true, false, vec!["bots"])
        );
        assert_eq!(
            cell("unidentified", "pay", Action::Read),
            (false, false, vec![])
        );
    }
}
