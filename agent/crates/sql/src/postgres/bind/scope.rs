//! What a name can refer to at a place in a statement.

use pg_query::protobuf::Node;

use super::Binder;
use super::lineage::{Base, Lineage, Out, Outs};
use crate::catalog::Relation;
use crate::postgres::walk::text_of;

/// One level of a query: its `FROM` items.
#[derive(Debug, Default)]
pub(super) struct Scope<'a> {
    pub(super) items: Vec<Item<'a>>,
    /// The items before this are out of sight: a join's condition sees the join alone.
    pub(super) from: usize,
    /// Whether no item is in sight: what is not `LATERAL` sees only the levels outside.
    pub(super) hidden: bool,
    /// The windows defined at this level: names, and what they are made of.
    pub(super) windows: Vec<(&'a str, Lineage)>,
}

/// An item of a `FROM` clause, or a write's target.
#[derive(Debug, Clone)]
pub(super) struct Item<'a> {
    /// Its alias or name; empty when it has none.
    pub(super) name: &'a str,
    /// The schema it is in, where the item is called as the relation is.
    pub(super) schema: Option<&'a str>,
    pub(super) columns: Columns<'a>,
    /// Whether `item.column` can refer to it.
    pub(super) by_name: bool,
    /// Whether `column` alone can refer to its columns.
    pub(super) bare: bool,
}

/// The columns of an item.
#[derive(Debug, Clone)]
pub(super) enum Columns<'a> {
    /// Those of a relation, or of each it could be; the first may have other names here.
    Relations {
        relations: Relations<'a>,
        renamed: &'a [Node],
        source: u32,
    },
    /// Those of a query, a function or a join.
    Derived(Outs<'a>),
}

/// A relation, or all that a name could mean.
#[derive(Debug, Clone)]
pub(super) enum Relations<'a> {
    One(&'a Relation),
    Several(Vec<&'a Relation>),
}

impl<'a> Relations<'a> {
    pub(super) fn as_slice(&self) -> &[&'a Relation] {
        match self {
            Self::One(relation) => std::slice::from_ref(relation),
            Self::Several(relations) => relations,
        }
    }
}

/// Whether an item has a column of some name.
pub(super) enum Hit {
    Yes(Lineage),
    /// It may have one, made of this.
    Perhaps(Lineage),
    No,
}

/// What a name alone refers to.
pub(super) enum Meaning<'a> {
    Column(Lineage),
    /// A whole row.
    Row(Item<'a>),
    Nothing,
}

impl<'a> Scope<'a> {
    pub(super) fn of(item: Item<'a>) -> Self {
        Self {
            items: vec![item],
            ..Self::default()
        }
    }

    pub(super) fn visible(&self) -> &[Item<'a>] {
        if self.hidden {
            return &[];
        }
        self.items.get(self.from..).unwrap_or_default()
    }
}

impl<'a> Columns<'a> {
    pub(super) fn find(&self, name: &str) -> Hit {
        match self {
            Self::Derived(outs) => {
                let mut found: Option<Lineage> = None;
                for out in outs.list.iter().filter(|out| out.name == name) {
                    match &mut found {
                        Some(found) => found.add(&out.lineage),
                        None => found = Some(out.lineage.clone()),
                    }
                }
                match (found, &outs.open) {
                    (Some(lineage), _) => Hit::Yes(lineage),
                    (None, Some(open)) => Hit::Perhaps(open.clone()),
                    (None, None) => Hit::No,
                }
            }
            Self::Relations {
                relations,
                renamed,
                source,
            } => find_in(relations.as_slice(), renamed, *source, name),
        }
    }

    /// What the column of that name is made of, as far as there is one.
    pub(super) fn column(&self, name: &str) -> Lineage {
        match self.find(name) {
            Hit::Yes(lineage) | Hit::Perhaps(lineage) => lineage,
            Hit::No => Lineage::default(),
        }
    }

    /// All columns, in order.
    pub(super) fn all(&self) -> Outs<'a> {
        let (relations, renamed, source) = match self {
            Self::Derived(outs) => return outs.clone(),
            Self::Relations {
                relations,
                renamed,
                source,
            } => (relations.as_slice(), renamed, *source),
        };
        let mut outs = Outs::default();
        for relation in relations {
            for (index, column) in (0..).zip(&relation.columns) {
                let lineage = Lineage::copy_of(Base {
                    relation: relation.oid,
                    column: index,
                    source,
                });
                let name = renamed.get(usize::from(index)).and_then(text_of);
                outs.list.push(Out {
                    name: name.unwrap_or(&column.name),
                    lineage,
                });
            }
        }
        if relations.len() > 1 || relations.iter().any(|relation| relation.system) {
            outs.open = Some(outs.whole());
        }
        outs
    }

    pub(super) fn whole(&self) -> Lineage {
        self.all().whole()
    }

    /// The first columns, as many as `count`: what an `INSERT` without a column list writes.
    pub(super) fn first(&self, count: usize) -> Vec<Out<'a>> {
        let outs = self.all();
        let count = if outs.open.is_some() {
            outs.list.len()
        } else {
            count
        };
        outs.list.into_iter().take(count).collect()
    }
}

fn find_in(relations: &[&Relation], renamed: &[Node], source: u32, name: &str) -> Hit {
    let mut lineage = Lineage::default();
    let mut missing = false;
    for relation in relations {
        let by_alias = renamed
            .iter()
            .position(|alias| text_of(alias) == Some(name));
        let index = by_alias.or_else(|| {
            let rest = relation.columns.get(renamed.len()..)?;
            let index = rest.iter().position(|column| column.name == name)?;
            Some(index + renamed.len())
        });
        let index = index.filter(|&index| index < relation.columns.len());
        match index.and_then(|index| u16::try_from(index).ok()) {
            Some(column) => {
                let base = Base {
                    relation: relation.oid,
                    column,
                    source,
                };
                if lineage.bases.is_empty() {
                    lineage = Lineage::copy_of(base);
                } else {
                    lineage.add(&Lineage::copy_of(base));
                }
            }
            // No column of a table, but found in every one.
            None if SYSTEM_COLUMNS.contains(&name) => {}
            None => missing = true,
        }
    }
    match (missing, lineage.bases.is_empty()) {
        (false, _) => Hit::Yes(lineage),
        (true, false) => Hit::Perhaps(lineage.changed()),
        (true, true) if relations.iter().any(|relation| relation.system) => {
            Hit::Perhaps(Lineage::default())
        }
        (true, true) => Hit::No,
    }
}

impl<'a> Binder<'a> {
    /// Reads a name alone: a column of the nearest level that has it, else a whole row.
    pub(super) fn meaning(&self, name: &str) -> Meaning<'a> {
        let mut perhaps: Option<Lineage> = None;
        for scope in self.scopes.iter().rev() {
            let mut found: Option<Lineage> = None;
            let mut maybe: Option<Lineage> = None;
            for item in scope.visible().iter().filter(|item| item.bare) {
                match item.columns.find(name) {
                    Hit::Yes(lineage) => match &mut found {
                        Some(found) => found.add(&lineage),
                        None => found = Some(lineage),
                    },
                    Hit::Perhaps(lineage) => maybe.get_or_insert_default().add(&lineage),
                    Hit::No => {}
                }
            }
            if let Some(found) = found {
                return Meaning::Column(match perhaps {
                    Some(mut perhaps) => {
                        perhaps.add(&found);
                        perhaps.changed()
                    }
                    None => found,
                });
            }
            if let Some(maybe) = maybe {
                perhaps.get_or_insert_default().add(&maybe);
            }
        }
        match (self.item(None, name), perhaps) {
            (Some(item), None) => Meaning::Row(item.clone()),
            (Some(item), Some(mut perhaps)) => {
                perhaps.add(&item.columns.whole());
                Meaning::Column(perhaps.changed())
            }
            (None, Some(perhaps)) => Meaning::Column(perhaps.changed()),
            (None, None) => Meaning::Nothing,
        }
    }

    /// Whether the innermost level alone has a column of that name.
    pub(super) fn is_local(&self, name: &str) -> bool {
        self.scopes.last().is_some_and(|scope| {
            scope
                .visible()
                .iter()
                .filter(|item| item.bare)
                .any(|item| !matches!(item.columns.find(name), Hit::No))
        })
    }

    /// The item of that name on the nearest level that has one.
    pub(super) fn item(&self, schema: Option<&str>, name: &str) -> Option<&Item<'a>> {
        self.scopes.iter().rev().find_map(|scope| {
            scope.visible().iter().find(|item| {
                item.by_name && item.name == name && (schema.is_none() || item.schema == schema)
            })
        })
    }
}

/// <https://www.postgresql.org/docs/current/ddl-system-columns.html>
const SYSTEM_COLUMNS: &[&str] = &["ctid", "xmin", "cmin", "xmax", "cmax", "tableoid"];
