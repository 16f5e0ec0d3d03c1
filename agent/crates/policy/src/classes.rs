//! What data is: columns to classes, by the pack's globs and by what was found at run time.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::{Arc, PoisonError, RwLock},
};

use serde::{Deserialize, Serialize};
use weir_sql::{ColumnName, Facts};

use crate::{
    bits::{Bits, Names},
    pattern::{ColumnPattern, QualifiedPattern},
    schema::Classes,
};

/// A column, or a relation as a whole, that has classes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Classed {
    /// `schema.relation.column` or `schema.relation`.
    pub name: String,
    /// Its classes, with all that they are part of.
    pub classes: Vec<String>,
}

/// Tells the classes of columns, and remembers them.
#[derive(Debug)]
pub(crate) struct Classifier {
    tree: Arc<ClassTree>,
    globs: Arc<Globs>,
    assigned: HashMap<ColumnName, Bits>,
    /// Names come from the databases' catalogs, so there are as many as those have columns.
    known: RwLock<HashMap<ColumnName, Arc<Bits>>>,
    known_relations: RwLock<HashMap<(String, String), Arc<Bits>>>,
}

/// The classes that a pack speaks of, and what each is part of.
#[derive(Debug, Default)]
pub(crate) struct ClassTree {
    pub(crate) names: Names,
    /// For each class itself and all that it is part of.
    closures: Vec<Bits>,
    parents: HashMap<String, String>,
}

#[derive(Debug, Default)]
struct Globs {
    columns: Vec<(ColumnPattern, Bits)>,
    relations: Vec<(QualifiedPattern, Bits)>,
}

impl Classifier {
    /// From `classes.yaml` and the classes that rules name.
    pub(crate) fn new(classes: &Classes, named: impl IntoIterator<Item = String>) -> Self {
        let tree = ClassTree::new(classes, named);
        let globs = Globs {
            columns: classes
                .columns
                .iter()
                .map(|(glob, class)| (ColumnPattern::new(glob), tree.closure(class)))
                .collect(),
            relations: classes
                .relations
                .iter()
                .map(|(glob, class)| (QualifiedPattern::new(glob), tree.closure(class)))
                .collect(),
        };
        Self::over(Arc::new(tree), Arc::new(globs), HashMap::new())
    }

    /// The same globs, with classes that were found at run time.
    pub(crate) fn with_assigned(&self, assigned: &[(ColumnName, String)]) -> Self {
        let mut by_column: HashMap<ColumnName, Bits> = HashMap::new();
        for (column, class) in assigned {
            by_column
                .entry(column.clone())
                .or_insert_with(|| self.tree.names.none())
                .add(&self.tree.closure(class));
        }
        Self::over(Arc::clone(&self.tree), Arc::clone(&self.globs), by_column)
    }

    fn over(tree: Arc<ClassTree>, globs: Arc<Globs>, assigned: HashMap<ColumnName, Bits>) -> Self {
        Self {
            tree,
            globs,
            assigned,
            known: RwLock::default(),
            known_relations: RwLock::default(),
        }
    }

    pub(crate) fn tree(&self) -> &ClassTree {
        &self.tree
    }

    /// Whether a whole relation can have a class.
    pub(crate) fn classes_relations(&self) -> bool {
        !self.globs.relations.is_empty()
    }

    /// The classes of a column by its own name.
    pub(crate) fn column(&self, column: &ColumnName) -> Arc<Bits> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(bits) = known.get(column) {
            return Arc::clone(bits);
        }
        drop(known);
        self.learn(column)
    }

    /// The classes of a column and of all that its values are made of.
    pub(crate) fn with_bases(&self, column: &ColumnName, bases: &[ColumnName]) -> Arc<Bits> {
        let own = self.column(column);
        if bases.is_empty() {
            return own;
        }
        let mut all = Bits::clone(&own);
        for base in bases {
            all.add(&self.column(base));
        }
        Arc::new(all)
    }

    /// As [`Self::with_bases`], of many at once.
    pub(crate) fn all_with_bases<'a>(
        &self,
        columns: impl Iterator<Item = (&'a ColumnName, &'a [ColumnName])>,
    ) -> Vec<Arc<Bits>> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let found: Vec<_> = columns
            .map(|(column, bases)| {
                let plain = bases.is_empty().then(|| known.get(column)).flatten();
                plain.map(Arc::clone).ok_or((column, bases))
            })
            .collect();
        drop(known);
        found
            .into_iter()
            .map(|found| found.unwrap_or_else(|(column, bases)| self.with_bases(column, bases)))
            .collect()
    }

    /// What of the data that a statement uses has classes: columns by their own name and by what they are made of, and
    /// relations that have some as a whole.
    pub(crate) fn of(&self, facts: &Facts) -> Vec<Classed> {
        let mut found = BTreeMap::new();
        for used in &facts.columns {
            let bits = self.with_bases(&used.column, &used.bases);
            if !bits.is_empty() {
                found.insert(used.column.to_string(), bits);
            }
        }
        if self.classes_relations() {
            for (schema, relation) in relations(facts) {
                let bits = self.relation(schema, relation);
                if !bits.is_empty() {
                    found.insert(format!("{schema}.{relation}"), bits);
                }
            }
        }
        found
            .into_iter()
            .map(|(name, bits)| Classed {
                name,
                classes: self.tree.names.of(&bits).cloned().collect(),
            })
            .collect()
    }

    fn learn(&self, column: &ColumnName) -> Arc<Bits> {
        let bits = Arc::new(self.look_up(column));
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MAX_KNOWN {
            known.clear();
        }
        known.insert(column.clone(), Arc::clone(&bits));
        bits
    }

    /// The classes that a relation has as a whole.
    pub(crate) fn relation(&self, schema: &str, relation: &str) -> Arc<Bits> {
        let key = (schema.to_owned(), relation.to_owned());
        let known = self
            .known_relations
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(bits) = known.get(&key) {
            return Arc::clone(bits);
        }
        drop(known);
        let bits = Arc::new(self.look_up_relation(schema, relation));
        let mut known = self
            .known_relations
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MAX_KNOWN {
            known.clear();
        }
        known.insert(key, Arc::clone(&bits));
        bits
    }

    fn look_up(&self, column: &ColumnName) -> Bits {
        if is_system(&column.schema) {
            return self.tree.names.none();
        }
        let mut bits = self.look_up_relation(&column.schema, &column.relation);
        for (pattern, classes) in &self.globs.columns {
            if pattern.matches(column) {
                bits.add(classes);
            }
        }
        if let Some(classes) = self.assigned.get(column) {
            bits.add(classes);
        }
        bits
    }

    fn look_up_relation(&self, schema: &str, relation: &str) -> Bits {
        let mut bits = self.tree.names.none();
        if is_system(schema) {
            return bits;
        }
        for (pattern, classes) in &self.globs.relations {
            if pattern.matches(schema, relation) {
                bits.add(classes);
            }
        }
        bits
    }
}

impl ClassTree {
    fn new(classes: &Classes, named: impl IntoIterator<Item = String>) -> Self {
        let mut all: HashSet<String> = named.into_iter().collect();
        all.extend(classes.columns.values().cloned());
        all.extend(classes.relations.values().cloned());
        for (class, parent) in &classes.tree {
            all.insert(class.clone());
            all.insert(parent.clone());
        }
        for class in all.clone() {
            all.extend(dotted_parents(&class).map(str::to_owned));
        }
        let mut tree = Self {
            names: Names::new(all),
            closures: Vec::new(),
            parents: classes
                .tree
                .iter()
                .map(|(class, parent)| (class.clone(), parent.clone()))
                .collect(),
        };
        tree.closures = tree
            .names
            .as_slice()
            .iter()
            .map(|class| tree.ancestors(class))
            .collect();
        tree
    }

    /// The class and all that it is part of; of a class that nothing speaks of, what it is part of.
    pub(crate) fn closure(&self, class: &str) -> Bits {
        match self.names.position(class) {
            Some(at) => self.closures.get(at).cloned().unwrap_or_default(),
            None => self.ancestors(class),
        }
    }

    fn ancestors(&self, class: &str) -> Bits {
        let mut bits = self.names.none();
        let mut seen: HashSet<&str> = HashSet::new();
        let mut open = vec![class];
        while let Some(class) = open.pop() {
            if !seen.insert(class) {
                continue;
            }
            if let Some(at) = self.names.position(class) {
                bits.set(at);
            }
            open.extend(dotted_parents(class));
            open.extend(self.parents.get(class).map(String::as_str));
        }
        bits
    }

    /// Whether `class` is part of `of`, or the same.
    pub(crate) fn is_part(&self, class: &str, of: &str) -> bool {
        self.names
            .position(of)
            .is_some_and(|at| self.closure(class).contains(at))
    }
}

/// What a statement reaches: as the catalog knows it, and otherwise as the text names it.
fn relations(facts: &Facts) -> BTreeSet<(&str, &str)> {
    if facts.reachable.is_empty() {
        let named = facts.relations.iter();
        return named
            .filter_map(|used| Some((used.relation.schema.as_deref()?, &*used.relation.name)))
            .collect();
    }
    facts
        .reachable
        .iter()
        .flat_map(|reachable| std::iter::once(&reachable.column).chain(&reachable.bases))
        .map(|column| (&*column.schema, &*column.relation))
        .collect()
}

/// `pii.contact` and `pii` for `pii.contact.email`.
fn dotted_parents(class: &str) -> impl Iterator<Item = &str> {
    class.rmatch_indices('.').map(|(at, _)| &class[..at])
}

/// The server's own relations describe data and hold none that anybody classified.
pub(crate) fn is_system(schema: &str) -> bool {
    matches!(schema, "pg_catalog" | "information_schema" | "pg_toast")
}

/// Columns that are remembered; far more than a database has as a rule.
const MAX_KNOWN: usize = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn classifier() -> Classifier {
        let classes = Classes {
            version: 1,
            columns: [
                ("*.*.ssn", "pii.ssn"),
                ("app.customers.e*", "pii.contact.email"),
                ("*.*.pan", "card"),
            ]
            .into_iter()
            .map(|(glob, class)| (glob.to_owned(), class.to_owned()))
            .collect(),
            relations: [("pay.*".to_owned(), "confidential".to_owned())].into(),
            tree: [("card".to_owned(), "pci.chd".to_owned())].into(),
        };
        Classifier::new(&classes, [])
    }

    fn column(name: &str) -> ColumnName {
        let mut parts = name.split('.').map(str::to_owned);
        let mut next = || parts.next().unwrap_or_default();
        ColumnName {
            schema: next(),
            relation: next(),
            column: next(),
        }
    }

    fn classes(classifier: &Classifier, name: &str) -> Vec<String> {
        let bits = classifier.column(&column(name));
        classifier.tree().names.of(&bits).cloned().collect()
    }

    #[test]
    fn a_class_is_part_of_what_its_dots_and_the_tree_say() {
        let classifier = classifier();
        assert_eq!(classes(&classifier, "x.y.ssn"), ["pii", "pii.ssn"]);
        assert_eq!(
            classes(&classifier, "app.customers.email"),
            ["pii", "pii.contact", "pii.contact.email"]
        );
        assert_eq!(
            classes(&classifier, "pay.cards.pan"),
            ["card", "confidential", "pci", "pci.chd"]
        );
        assert!(classes(&classifier, "app.orders.email").is_empty());
        assert!(classes(&classifier, "pg_catalog.pg_x.ssn").is_empty());
    }

    #[test]
    fn assigned_classes_add_to_the_globs_and_leave_the_rest() {
        let classifier = classifier().with_assigned(&[
            (column("app.t.c"), "pii.unheard_of".to_owned()),
            (column("app.t.ssn"), "confidential".to_owned()),
        ]);
        assert_eq!(classes(&classifier, "app.t.c"), ["pii"]);
        assert_eq!(
            classes(&classifier, "app.t.ssn"),
            ["confidential", "pii", "pii.ssn"]
        );
        assert_eq!(classes(&classifier, "x.y.ssn"), ["pii", "pii.ssn"]);
    }

    #[test]
    fn a_tree_that_bites_its_tail_ends() {
        let classes = Classes {
            version: 1,
            tree: [("a", "b"), ("b", "a")]
                .into_iter()
                .map(|(class, parent)| (class.to_owned(), parent.to_owned()))
                .collect(),
            ..Classes::default()
        };
        let classifier = Classifier::new(&classes, []);
        assert!(classifier.tree().is_part("a", "b"));
        assert!(classifier.tree().is_part("b", "a"));
    }
}
