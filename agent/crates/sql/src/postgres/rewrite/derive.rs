//! The derived table that takes a reference's place.

use std::fmt::Write as _;

use pg_query::NodeEnum;
use pg_query::protobuf::{RangeTableSample, RangeVar};

use super::edits::{Edits, Name};
use super::governed::{Hidden, shown};
use super::names::name_of;
use super::places::{Span, quoted};
use super::scan::{Read, Scan};
use super::{MAX_VIEWS, Pass, Task, filter, misplaced, views};
use crate::catalog::{Column, Relation, RelationKind};
use crate::postgres::govern::{Obstacle, Outcome};
use crate::postgres::{closure, lexer, mask_sql, nesting, parse};

impl Pass<'_> {
    pub(super) fn derive(
        &self,
        read: &Read<'_>,
        relation: &Relation,
        hidden: &Hidden<'_>,
        needed: &Needed<'_>,
        edits: &mut Edits,
    ) -> Result<(), Obstacle> {
        let place = self.place(read.relation)?;
        let mut names = Vec::new();
        let source = Source {
            relation,
            only: !read.relation.inh,
            sample: read
                .sample
                .map(|sample| self.sample(sample, edits))
                .transpose()?,
            fenced: self.is_leaky(read.statement),
        };
        let mut text = String::new();
        if self.is_table_command(place) {
            text.push_str("SELECT * FROM ");
        }
        let _ = write!(
            text,
            "({})",
            derived_table(self.task, &source, hidden, needed, &mut names)?
        );
        if read.relation.alias.is_none() {
            let _ = write!(text, " AS {}", quoted(&read.relation.relname));
        }
        let first = if self.is_table_command(place) {
            place.first - 1
        } else {
            place.first
        };
        let range = self
            .places
            .range(Span {
                first,
                last: place.last,
            })
            .ok_or_else(|| misplaced("a relation"))?;
        edits.replace(range, text);
        edits.renamed(&name_of(read.relation), names);
        Ok(())
    }

    /// Whether anything in a statement, or around this text, could tell of rows that it is shown and that are not the
    /// reader's: what somebody made may do so by any name.
    fn is_leaky(&self, statement: usize) -> bool {
        let catalog = self.task.context.catalog;
        let made = |name: &&str| {
            catalog.functions.contains_key(*name) || closure::is_operator_of_users(catalog, name)
        };
        self.task.fenced
            || self
                .scan
                .statements
                .get(statement)
                .is_none_or(|statement| statement.leaky)
            || self.scan.called.iter().any(made)
    }

    /// From `ONLY` to the last word of the name, a `*` included.
    pub(super) fn place(&self, relation: &RangeVar) -> Result<Span, Obstacle> {
        let unplaced = || misplaced("a relation");
        let mut first = self.places.at(relation.location).ok_or_else(unplaced)?;
        let mut last = self
            .places
            .name(first)
            .and_then(|parts| parts.last().copied())
            .ok_or_else(unplaced)?
            .last;
        if self.places.is_symbol(last + 1, b'*') {
            last += 1;
        }
        if !relation.inh {
            let before = first.checked_sub(1).ok_or_else(unplaced)?;
            if self.places.is_symbol(before, b'(') && self.places.is_symbol(last + 1, b')') {
                first = before.checked_sub(1).ok_or_else(unplaced)?;
                last += 1;
            } else {
                first = before;
            }
            if !self.places.is_word(first, "only") {
                return Err(unplaced());
            }
        }
        Ok(Span { first, last })
    }

    fn is_table_command(&self, place: Span) -> bool {
        place
            .first
            .checked_sub(1)
            .is_some_and(|before| self.places.is_word(before, "table"))
    }

    /// Takes a `TABLESAMPLE` clause out of its place and gives its text.
    fn sample(&self, sample: &RangeTableSample, edits: &mut Edits) -> Result<String, Obstacle> {
        let unplaced = || misplaced("TABLESAMPLE");
        let plain = sample
            .args
            .iter()
            .chain(sample.repeatable.as_deref())
            .all(|arg| matches!(&arg.node, Some(NodeEnum::AConst(_) | NodeEnum::ParamRef(_))));
        if !plain {
            return Err(Obstacle {
                reason: "a sample of a masked table needs plain arguments".to_owned(),
                hint: "give TABLESAMPLE constants or parameters".to_owned(),
            });
        }
        let method = self.places.at(sample.location).ok_or_else(unplaced)?;
        let first = method.checked_sub(1).ok_or_else(unplaced)?;
        let open = self
            .places
            .name(method)
            .and_then(|parts| parts.last().copied())
            .ok_or_else(unplaced)?
            .last
            + 1;
        let mut last = self.places.closing(open).ok_or_else(unplaced)?;
        if self.places.is_word(last + 1, "repeatable") {
            last = self.places.closing(last + 2).ok_or_else(unplaced)?;
        }
        if !self.places.is_word(first, "tablesample") {
            return Err(unplaced());
        }
        let span = Span { first, last };
        let text = self.places.slice(span).ok_or_else(unplaced)?.to_owned();
        edits.replace(self.places.range(span).ok_or_else(unplaced)?, String::new());
        Ok(text)
    }
}

/// What a reference needs.
pub(super) struct Needed<'a> {
    pub(super) columns: Vec<&'a Column>,
    pub(super) system: Vec<&'static str>,
}

/// What a derived table reads.
pub(super) struct Source<'a> {
    pub(super) relation: &'a Relation,
    pub(super) only: bool,
    pub(super) sample: Option<String>,
    /// What is around it could tell of rows that it is shown.
    pub(super) fenced: bool,
}

/// The query that stands for a relation, without brackets around it.
pub(super) fn derived_table(
    task: &Task<'_>,
    source: &Source<'_>,
    hidden: &Hidden<'_>,
    needed: &Needed<'_>,
    names: &mut Vec<Name>,
) -> Result<String, Obstacle> {
    let relation = source.relation;
    let inline = inlines(relation, hidden, needed);
    if relation.kind == RelationKind::MaterialisedView && hidden.rows {
        return Err(Obstacle {
            reason: format!(
                "which rows {} holds depends on data that is hidden from you",
                shown(relation)
            ),
            hint: "read the tables it was made from".to_owned(),
        });
    }
    // What is below the view is masked there.
    let masks = if inline { &hidden.own } else { &hidden.masks };
    let mut text = "SELECT ".to_owned();
    for (number, column) in needed.columns.iter().enumerate() {
        let name = quoted(&column.name);
        let comma = if number == 0 { "" } else { ", " };
        let _ = match masks.get(column.name.as_str()) {
            Some(mask) => {
                let masked = mask_sql::expression(*mask, column, &name, &task.orders.key);
                write!(text, "{comma}{masked} AS {name}")
            }
            None => write!(text, "{comma}{name}"),
        };
    }
    for name in &needed.system {
        let comma = if text.len() == "SELECT ".len() {
            ""
        } else {
            ", "
        };
        let _ = write!(text, "{comma}{name}");
    }
    text.push_str(" FROM ");
    if inline {
        let definition = inlined(task, relation, source.fenced, names)?;
        let columns: Vec<_> = relation
            .columns
            .iter()
            .map(|column| quoted(&column.name))
            .collect();
        let _ = write!(
            text,
            "({definition}) AS {}({})",
            quoted(&relation.name),
            columns.join(", ")
        );
    } else {
        let only = if source.only && relation.kind == RelationKind::Table {
            "ONLY "
        } else {
            ""
        };
        let _ = write!(
            text,
            "{only}{}.{}",
            quoted(&relation.schema),
            quoted(&relation.name)
        );
        names.push((relation.schema.clone(), relation.name.clone()));
    }
    if let Some(sample) = &source.sample {
        let _ = write!(text, " {sample}");
    }
    if !hidden.filters.is_empty() {
        let _ = write!(text, " WHERE {}", condition(task, relation, hidden, "")?);
        if source.fenced {
            text.push_str(" OFFSET 0");
        }
    }
    Ok(text)
}

/// Whether a view's definition has to stand in its place: its own columns do not tell enough apart.
pub(super) fn inlines(relation: &Relation, hidden: &Hidden<'_>, needed: &Needed<'_>) -> bool {
    relation.kind == RelationKind::View
        && (hidden.rows
            || needed
                .columns
                .iter()
                .any(|column| hidden.computed.contains(column.name.as_str())))
}

/// All filters of a relation, its columns qualified by `qualifier`, which ends with a point or is empty.
pub(super) fn condition(
    task: &Task<'_>,
    relation: &Relation,
    hidden: &Hidden<'_>,
    qualifier: &str,
) -> Result<String, Obstacle> {
    let mut parts = Vec::new();
    for filter in &hidden.filters {
        let read = filter::filter(
            filter,
            relation,
            qualifier,
            task.context.catalog,
            task.context.modes,
        )?;
        parts.push(format!("({read})"));
    }
    Ok(parts.join(" AND "))
}

/// A view's definition, rewritten by the same orders.
fn inlined(
    task: &Task<'_>,
    view: &Relation,
    fenced: bool,
    names: &mut Vec<Name>,
) -> Result<String, Obstacle> {
    let impossible = || Obstacle {
        reason: format!("{} cannot be replaced by its definition", shown(view)),
        hint: "read the tables below it".to_owned(),
    };
    let modes = task.context.modes;
    let definition = views::definition(view)?;
    if task.depth >= MAX_VIEWS
        || !views::is_complete(task.context.catalog, view)
        || (modes.backslash_in_strings && definition.contains('\\'))
    {
        return Err(impossible());
    }
    // Definitions name everything in full, under any search path.
    let naming = crate::catalog::Naming {
        search_path: Vec::new(),
        certain: true,
        ..Default::default()
    };
    let context = crate::postgres::govern::Context {
        modes,
        catalog: task.context.catalog,
        naming: &naming,
    };
    let tokens = lexer::tokens(definition, modes.backslash_in_strings);
    let depth = nesting::bound(definition, &tokens);
    let made = parse::with_tree(definition, modes, depth, |statements| {
        let inner = Task {
            text: definition,
            tokens: &tokens,
            statements,
            context: &context,
            orders: task.orders,
            depth: task.depth + 1,
            fenced,
        };
        let made = super::rewrite(&inner, &Scan::of(statements))?;
        let text = match made.outcome {
            Outcome::Unchanged => definition.to_owned(),
            Outcome::Rewritten(rewritten) => rewritten.text,
        };
        Ok::<_, Obstacle>(text)
    })
    .map_err(|_| impossible())??;
    let text_tokens = lexer::tokens(&made, modes.backslash_in_strings);
    let depth = nesting::bound(&made, &text_tokens);
    let found = parse::with_tree(&made, modes, depth, |statements| Scan::of(statements).names)
        .map_err(|_| impossible())?;
    names.extend(found);
    Ok(made)
}
