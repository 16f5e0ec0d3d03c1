//! What data a statement touches: classes, columns, and classes that meet in a join.

use weir_sql::ColumnName;

use crate::{
    bits::Bits,
    classes::{ClassTree, Classifier},
    finding::{Finding, Place},
    pattern::ColumnPattern,
    schema::{JoinsText, SetText},
    view::{Reading, View},
};

use super::{ColumnView, Matcher, Stance};

/// `classes:`, as bits to decide with and as words to show.
///
/// `any` and `none` are asked of each column by itself: `{ any: [pii], none: [pii.email] }` meets a statement that
/// touches other personal data than e-mail, whether or not it touches e-mail too. `all` may be met by several columns.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ClassSet {
    pub(crate) any: Option<(Bits, Vec<String>)>,
    pub(crate) all: Option<(Bits, Vec<String>)>,
    pub(crate) none: Option<(Bits, Vec<String>)>,
    /// What the columns must be used for.
    pub(crate) usages: u8,
}

/// `joins:`, classes that columns of different relations have.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Joins {
    pub(crate) all: Vec<(Bits, String)>,
    pub(crate) any: Vec<(Bits, String)>,
}

impl ClassSet {
    pub(crate) fn new(set: &SetText, tree: &ClassTree, usages: u8) -> Self {
        let bits = |classes: &Option<Vec<String>>| {
            classes
                .as_ref()
                .map(|classes| (tree.names.bits(classes), classes.clone()))
        };
        Self {
            any: bits(&set.any),
            all: bits(&set.all),
            none: bits(&set.none),
            usages,
        }
    }

    pub(crate) fn holds_for_statement(&self, reading: &Reading<'_>, stance: Stance) -> bool {
        let touched = || reading.touched(self.usages);
        match stance {
            Stance::Restrict => {
                touched().any(|classes| self.admits(classes))
                    && self.all.as_ref().is_none_or(|(all, _)| {
                        let mut met = Bits::default();
                        touched().for_each(|classes| met.add(classes));
                        met.contains_all(all)
                    })
            }
            Stance::Grant => {
                let mut touched = touched().peekable();
                touched.peek().is_some() && touched.all(|classes| self.admits_whole(classes))
            }
        }
    }

    fn holds_for_column(
        &self,
        column: &ColumnView<'_>,
        classifier: &Classifier,
        stance: Stance,
    ) -> bool {
        if stance == Stance::Restrict || column.bases.is_empty() {
            return self.admits_whole(column.classes);
        }
        // Values of which only a part is excepted are not, whatever a view calls them.
        self.excludes_none(column.classes)
            && column
                .bases
                .iter()
                .all(|base| self.admits_whole(&classifier.column(base)))
    }

    /// Whether a statement that touches one column with these classes could be meant.
    pub(crate) fn admits_alone(&self, classes: &Bits) -> bool {
        self.admits(classes)
            && self
                .all
                .as_ref()
                .is_none_or(|(all, _)| classes.intersects(all))
    }

    /// Whether no column can be meant, because what is asked for is left out again.
    pub(crate) fn contradicts_itself(&self, tree: &ClassTree) -> bool {
        let Some((_, none)) = &self.none else {
            return false;
        };
        self.any.as_ref().is_some_and(|(_, any)| {
            any.iter()
                .all(|class| none.iter().any(|of| tree.is_part(class, of)))
        })
    }

    /// Whether what meets this set certainly meets the other, whatever the columns are used for.
    pub(crate) fn implies(&self, other: &Self) -> bool {
        let within =
            |given: &Option<(Bits, Vec<String>)>, wanted: &Option<(Bits, Vec<String>)>| match (
                given, wanted,
            ) {
                (_, None) => true,
                (None, Some(_)) => false,
                (Some((given, _)), Some((wanted, _))) => wanted.contains_all(given),
            };
        self.usages & !other.usages == 0
            && within(&self.any, &other.any)
            && other.all == self.all
            && other.none == self.none
    }

    fn admits(&self, classes: &Bits) -> bool {
        self.any
            .as_ref()
            .is_none_or(|(any, _)| classes.intersects(any))
            && self.excludes_none(classes)
    }

    fn admits_whole(&self, classes: &Bits) -> bool {
        self.admits(classes)
            && self
                .all
                .as_ref()
                .is_none_or(|(all, _)| classes.contains_all(all))
    }

    fn excludes_none(&self, classes: &Bits) -> bool {
        self.none
            .as_ref()
            .is_none_or(|(none, _)| !classes.intersects(none))
    }
}

impl Joins {
    pub(crate) fn compile(
        text: &JoinsText,
        tree: &ClassTree,
        place: &Place,
        findings: &mut Vec<Finding>,
    ) -> Self {
        let bits = |classes: &Option<Vec<String>>| {
            classes
                .iter()
                .flatten()
                .map(|class| (tree.names.bits(std::slice::from_ref(class)), class.clone()))
                .collect::<Vec<_>>()
        };
        let joins = Self {
            all: bits(&text.all),
            any: bits(&text.any),
        };
        if joins.any.is_empty() && joins.all.len() < 2 {
            findings.push(place.error(
                "`joins` names nothing that could meet",
                "write joins: { all: [one, other] } for two classes that must not meet, or { any: [one] } for one that must not meet anything",
            ));
        }
        joins
    }

    /// Whether columns of these classes, of different relations, are touched by the same statement.
    pub(crate) fn hold(&self, reading: &Reading<'_>) -> bool {
        let relations = reading.touched_by_relation();
        let has = |class: &Bits| {
            relations
                .iter()
                .enumerate()
                .filter(|(_, touched)| touched.intersects(class))
                .map(|(at, _)| at)
                .collect::<Vec<_>>()
        };
        let meet = |a: &[usize], b: &[usize]| a.iter().any(|a| b.iter().any(|b| a != b));
        let all: Vec<_> = self.all.iter().map(|(class, _)| has(class)).collect();
        let all_meet = all
            .iter()
            .enumerate()
            .all(|(at, a)| all[at + 1..].iter().all(|b| meet(a, b)));
        let any_meets = self.any.is_empty()
            || (relations.len() > 1 && self.any.iter().any(|(class, _)| !has(class).is_empty()));
        all_meet && any_meets
    }
}

impl Matcher {
    /// Whether a field that selects columns selects this one.
    pub(crate) fn holds_for_column(
        &self,
        column: &ColumnView<'_>,
        view: &View<'_>,
        stance: Stance,
    ) -> bool {
        match self {
            Self::Classes(set) => set.holds_for_column(column, view.classifier, stance),
            Self::Columns { patterns, .. } => origins(column, stance, |name| {
                patterns.iter().any(|pattern| pattern.matches(name))
            }),
            Self::Relations(patterns) => origins(column, stance, |name| {
                patterns
                    .iter()
                    .any(|pattern| pattern.matches(&name.schema, &name.relation))
            }),
            _ => true,
        }
    }
}

/// A restriction on a column holds for what is made of it; an exception only for what is made of nothing else.
fn origins(
    column: &ColumnView<'_>,
    stance: Stance,
    mut holds: impl FnMut(&ColumnName) -> bool,
) -> bool {
    match stance {
        Stance::Restrict => holds(column.column) || column.bases.iter().any(holds),
        Stance::Grant => holds(column.column) && column.bases.iter().all(holds),
    }
}

/// Whether the statement touches a column that one of the globs names.
pub(crate) fn touches(
    patterns: &[ColumnPattern],
    usages: u8,
    reading: &Reading<'_>,
    stance: Stance,
) -> bool {
    let matches = |name: &ColumnName| patterns.iter().any(|pattern| pattern.matches(name));
    let mut used = reading.used(usages).peekable();
    match stance {
        Stance::Restrict => {
            used.any(|used| matches(&used.column) || used.bases.iter().any(matches))
        }
        Stance::Grant => {
            used.peek().is_some()
                && used.all(|used| matches(&used.column) && used.bases.iter().all(matches))
        }
    }
}
