//! `mask:`, from a column's classes to what becomes of its values.

use std::collections::BTreeMap;

use weir_sql::Mask;

use crate::{bits::Bits, classes::ClassTree};

/// A rule's masks by class.
#[derive(Debug, Default)]
pub(crate) struct MaskPlan {
    entries: Vec<Entry>,
    default: Option<Mask>,
}

#[derive(Debug)]
struct Entry {
    class: usize,
    mask: Mask,
    /// Entries whose class is part of this one's: where one of them holds, this one does not speak.
    narrower: Vec<usize>,
}

impl MaskPlan {
    pub(crate) fn new(masks: &BTreeMap<String, Mask>, tree: &ClassTree) -> Self {
        let named: Vec<_> = masks
            .iter()
            .filter(|(class, _)| *class != DEFAULT)
            .filter_map(|(class, mask)| Some((class, tree.names.position(class)?, *mask)))
            .collect();
        let entries = named
            .iter()
            .map(|(class, position, mask)| Entry {
                class: *position,
                mask: *mask,
                narrower: named
                    .iter()
                    .enumerate()
                    .filter(|(_, (other, ..))| other != class && tree.is_part(other, class))
                    .map(|(at, _)| at)
                    .collect(),
            })
            .collect();
        Self {
            entries,
            default: masks.get(DEFAULT).copied(),
        }
    }

    /// What becomes of a column with these classes: by the most specific class that is named, the strictest where
    /// several are.
    pub(crate) fn mask(&self, classes: &Bits) -> Option<Mask> {
        let holds = |entry: &Entry| classes.contains(entry.class);
        self.entries
            .iter()
            .filter(|entry| {
                holds(entry)
                    && !entry
                        .narrower
                        .iter()
                        .any(|at| self.entries.get(*at).is_some_and(holds))
            })
            .map(|entry| entry.mask)
            .max()
            .or(self.default)
    }
}

/// In place of a class: for the rest.
pub(crate) const DEFAULT: &str = "default";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{classes::Classifier, schema::Classes};

    #[test]
    fn the_most_specific_class_decides_and_the_strictest_of_several() {
        let masks: BTreeMap<_, _> = [
            ("default", Mask::Redact),
            ("pii", Mask::Partial),
            ("pii.contact.email", Mask::DomainOnly),
            ("health", Mask::Null),
        ]
        .into_iter()
        .map(|(class, mask)| (class.to_owned(), mask))
        .collect();
        let classifier = Classifier::new(&Classes::default(), masks.keys().cloned());
        let tree = classifier.tree();
        let plan = MaskPlan::new(&masks, tree);
        let mask = |classes: &[&str]| {
            let mut bits = Bits::default();
            for class in classes {
                bits.add(&tree.closure(class));
            }
            plan.mask(&bits)
        };
        assert_eq!(mask(&["pii.contact.email"]), Some(Mask::DomainOnly));
        assert_eq!(mask(&["pii.contact.phone"]), Some(Mask::Partial));
        assert_eq!(mask(&["pii.contact.email", "health"]), Some(Mask::Null));
        assert_eq!(mask(&["confidential"]), Some(Mask::Redact));
        assert_eq!(mask(&[]), Some(Mask::Redact));
    }
}
