//! One reference that is read, and the derived table that takes its place.

use std::fmt::Write as _;

use pg_query::NodeEnum;
use pg_query::protobuf::{CopyStmt, RangeTableSample, RangeVar};

use super::edits::{Edits, Name};
use super::governed::{Hidden, shown};
use super::places::{Span, quoted};
use super::resolve::{Meaning, Resolved, resolve};
use super::scan::{Read, Scan, Statement};
use super::{MAX_VIEWS, Pass, Task, misplaced, views};
use crate::catalog::{Column, Relation, RelationKind};
use crate::postgres::govern::{Obstacle, Outcome};
use crate::postgres::walk::text_of;
use crate::postgres::{lexer, mask_sql, nesting, parse};

/// A reference that became a derived table.
pub(super) struct Derived<'a> {
    pub(super) read: usize,
    pub(super) relation: &'a Relation,
    /// The columns it gives.
    pub(super) columns: Vec<&'a Column>,
    /// Columns of the server's own that it gives too, so that `*` would show them.
    pub(super) system: Vec<&'static str>,
}

/// What a reference needs.
struct Needed<'a> {
    columns: Vec<&'a Column>,
    system: Vec<&'static str>,
}

impl<'a> Pass<'a> {
    /// Replaces what has to be replaced among the relations that are read.
    pub(super) fn reads(&self, edits: &mut Edits) -> Result<Vec<Derived<'a>>, Obstacle> {
        let mut derived = Vec::new();
        for (number, read) in self.scan.reads.iter().enumerate() {
            let resolved = self.meaning(read.relation, read.statement, edits)?;
            let Meaning::Relation(relation) = resolved.meaning else {
                self.settle(read.relation, resolved, edits)?;
                continue;
            };
            let hidden = self.governing.of(relation)?;
            let needed = self.needed(read, relation);
            let masked = needed
                .columns
                .iter()
                .any(|column| hidden.masks.contains_key(column.name.as_str()));
            if !masked && hidden.filters.is_empty() && !hidden.rows {
                self.settle(read.relation, resolved, edits)?;
                continue;
            }
            self.may_be_read(read, relation, &hidden, &needed)?;
            self.derive(read, relation, &hidden, &needed, edits)?;
            derived.push(Derived {
                read: number,
                relation,
                columns: needed.columns,
                system: needed.system,
            });
        }
        Ok(derived)
    }

    /// What a name means, with those that mean nothing certain refused.
    pub(super) fn meaning(
        &self,
        relation: &RangeVar,
        statement: usize,
        edits: &mut Edits,
    ) -> Result<Resolved<'a>, Obstacle> {
        let resolved = self.resolved(relation, statement);
        match resolved.meaning {
            Meaning::Ambiguous => Err(Obstacle {
                reason: format!(
                    "{} could be one of several relations, as the search path is not known",
                    relation.relname
                ),
                hint: "write it with its schema".to_owned(),
            }),
            Meaning::Unknown => {
                edits.unknown.push(relation.relname.clone());
                Ok(resolved)
            }
            _ => Ok(resolved),
        }
    }

    /// What a name means in one of the text's statements.
    pub(super) fn resolved(&self, relation: &RangeVar, statement: usize) -> Resolved<'a> {
        let context = self.task.context;
        let naming = self.namings.get(statement).unwrap_or(context.naming);
        resolve(context.catalog, naming, relation)
    }

    /// Writes out what a governed name means that stays a name.
    pub(super) fn settle_surely(
        &self,
        relation: &RangeVar,
        resolved: Resolved<'_>,
        edits: &mut Edits,
    ) -> Result<(), Obstacle> {
        let unsure = Resolved {
            unsure: true,
            ..resolved
        };
        self.settle(relation, unsure, edits)
    }

    /// Writes out what a name means that stays a name, where the server could read it differently.
    pub(super) fn settle(
        &self,
        relation: &RangeVar,
        resolved: Resolved<'_>,
        edits: &mut Edits,
    ) -> Result<(), Obstacle> {
        let schema = match resolved.meaning {
            Meaning::Relation(found) if resolved.unsure && relation.schemaname.is_empty() => {
                found.schema.as_str()
            }
            Meaning::Temporary if resolved.unsure && relation.schemaname.is_empty() => "pg_temp",
            Meaning::OffPath => self
                .task
                .context
                .naming
                .search_path
                .first()
                .map(String::as_str)
                .ok_or_else(|| Obstacle {
                    reason: format!("{} is in no schema of the search path", relation.relname),
                    hint: "write it with its schema".to_owned(),
                })?,
            _ => return Ok(()),
        };
        let token = self
            .places
            .at(relation.location)
            .ok_or_else(|| misplaced("a relation"))?;
        let at = self
            .places
            .start(token)
            .ok_or_else(|| misplaced("a relation"))?;
        edits.insert(at, format!("{}.", quoted(schema)));
        edits.renamed(
            &name_of(relation),
            vec![(schema.to_owned(), relation.relname.clone())],
        );
        Ok(())
    }

    /// The columns that the statement can reach through a reference, by their names.
    fn needed(&self, read: &Read<'a>, relation: &'a Relation) -> Needed<'a> {
        let none = Statement::default();
        let statement = self.scan.statements.get(read.statement).unwrap_or(&none);
        let level = self.scan.levels.get(read.level);
        let alias = read.alias();
        let all = statement.natural
            || statement.starred.contains(alias)
            || statement.columns.contains(alias)
            || level.is_some_and(|level| level.star || level.joined)
            || read
                .relation
                .alias
                .as_ref()
                .is_some_and(|alias| !alias.colnames.is_empty())
            || self.is_argument(alias, relation);
        let columns = relation
            .columns
            .iter()
            .filter(|column| all || statement.columns.contains(column.name.as_str()))
            .collect();
        let system = if matches!(relation.kind, RelationKind::View) {
            Vec::new()
        } else {
            SYSTEM_COLUMNS
                .iter()
                .filter(|name| statement.columns.contains(*name))
                .copied()
                .collect()
        };
        Needed { columns, system }
    }

    /// Whether `alias.x` stands anywhere where `x` is no column of the relation: then `x` is a function, and the whole row
    /// its argument.
    fn is_argument(&self, alias: &str, relation: &Relation) -> bool {
        self.scan.columns.iter().any(|column| {
            let parts = column.parts();
            matches!(
                parts.as_slice(),
                [.., Some(qualifier), Some(name)] if *qualifier == alias && is_function(name, relation)
            )
        })
    }

    fn may_be_read(
        &self,
        read: &Read<'_>,
        relation: &Relation,
        hidden: &Hidden<'_>,
        needed: &Needed<'_>,
    ) -> Result<(), Obstacle> {
        let masks: Vec<_> = needed
            .columns
            .iter()
            .filter_map(|column| Some((column, *hidden.masks.get(column.name.as_str())?)))
            .collect();
        let masked = !masks.is_empty() || hidden.rows;
        if masked && !self.task.orders.store_masked && self.is_stored(read) {
            return Err(Obstacle {
                reason: format!(
                    "masked values of {} would be stored or decide what is written",
                    shown(relation)
                ),
                hint: "name only columns that are not masked, or write to a temporary table"
                    .to_owned(),
            });
        }
        let below = || {
            inlines(relation, hidden, needed)
                && self
                    .task
                    .orders
                    .masks
                    .iter()
                    .any(|mask| mask_sql::is_keyed(mask.mask))
        };
        if read.explained && (masks.iter().any(|(_, mask)| mask_sql::is_keyed(*mask)) || below()) {
            return Err(keyed(relation));
        }
        Ok(())
    }

    /// Whether what is read ends up where others can read it.
    fn is_stored(&self, read: &Read<'_>) -> bool {
        let lasting = |write: usize| {
            self.scan
                .writes
                .get(write)
                .is_some_and(|write| !self.is_temporary(write.relation, write.statement))
        };
        let beside_a_write = || {
            self.scan
                .writes
                .iter()
                .enumerate()
                .any(|(number, write)| write.statement == read.statement && lasting(number))
        };
        read.stored || read.in_write.is_some_and(lasting) || (read.in_cte && beside_a_write())
    }

    /// Whether a relation is the session's own.
    pub(super) fn is_temporary(&self, relation: &RangeVar, statement: usize) -> bool {
        matches!(
            self.resolved(relation, statement).meaning,
            Meaning::Temporary
        )
    }

    fn derive(
        &self,
        read: &Read<'_>,
        relation: &Relation,
        hidden: &Hidden<'_>,
        needed: &Needed<'_>,
        edits: &mut Edits,
    ) -> Result<(), Obstacle> {
        let place = self.place(read.relation)?;
        let mut names = Vec::new();
        let leaky = self
            .scan
            .statements
            .get(read.statement)
            .is_none_or(|statement| statement.leaky);
        let source = Source {
            relation,
            only: !read.relation.inh,
            sample: read
                .sample
                .map(|sample| self.sample(sample, edits))
                .transpose()?,
            fenced: leaky,
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

    /// `COPY t TO` becomes `COPY (SELECT …) TO`.
    pub(super) fn copies(&self, edits: &mut Edits) -> Result<(), Obstacle> {
        for &(copy, statement) in &self.scan.copies {
            let Some(written) = &copy.relation else {
                continue;
            };
            let resolved = self.meaning(written, statement, edits)?;
            let Meaning::Relation(relation) = resolved.meaning else {
                self.settle(written, resolved, edits)?;
                continue;
            };
            let hidden = self.governing.of(relation)?;
            let columns = copied(copy, relation);
            let masked = columns
                .iter()
                .any(|column| hidden.masks.contains_key(column.name.as_str()));
            // The server refuses to copy views; it may say so itself.
            if (!masked && hidden.filters.is_empty()) || relation.kind == RelationKind::View {
                self.settle(written, resolved, edits)?;
                continue;
            }
            let place = self.place(written)?;
            let mut last = place.last;
            if !copy.attlist.is_empty() {
                last = self
                    .places
                    .closing(last + 1)
                    .ok_or_else(|| misplaced("the columns of COPY"))?;
            }
            let source = Source {
                relation,
                // Rows of children are not copied with their parent.
                only: true,
                sample: None,
                fenced: false,
            };
            let needed = Needed {
                columns,
                system: Vec::new(),
            };
            let mut names = Vec::new();
            let query = derived_table(self.task, &source, &hidden, &needed, &mut names)?;
            let range = self
                .places
                .range(Span {
                    first: place.first,
                    last,
                })
                .ok_or_else(|| misplaced("a relation"))?;
            edits.replace(range, format!("({query})"));
            edits.renamed(&name_of(written), names);
        }
        Ok(())
    }
}

/// Whether a name behind a relation's is no column of it, nor one of the server's own.
pub(super) fn is_function(name: &str, relation: &Relation) -> bool {
    relation.column(name).is_none() && !SYSTEM_COLUMNS.contains(&name)
}

/// Columns of the server's own, which every table has.
pub(super) const SYSTEM_COLUMNS: &[&str] = &["ctid", "xmin", "xmax", "cmin", "cmax", "tableoid"];

/// The name as the text has it.
pub(super) fn name_of(relation: &RangeVar) -> Name {
    (relation.schemaname.clone(), relation.relname.clone())
}

/// A statement whose plan would show a secret.
pub(super) fn keyed(relation: &Relation) -> Obstacle {
    Obstacle {
        reason: format!(
            "the plan would show how columns of {} are masked",
            shown(relation)
        ),
        hint: "EXPLAIN a statement that does not name masked columns".to_owned(),
    }
}

fn copied<'a>(copy: &CopyStmt, relation: &'a Relation) -> Vec<&'a Column> {
    if copy.attlist.is_empty() {
        // What is computed is left out, as the server does.
        let stored = |column: &&Column| column.generated_from.is_none();
        return relation.columns.iter().filter(stored).collect();
    }
    copy.attlist
        .iter()
        .filter_map(text_of)
        .filter_map(|name| relation.columns.iter().find(|column| column.name == name))
        .collect()
}

/// What a derived table reads.
struct Source<'a> {
    relation: &'a Relation,
    only: bool,
    sample: Option<String>,
    fenced: bool,
}

/// The query that stands for a relation, without brackets around it.
fn derived_table(
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
        let definition = inlined(task, relation, names)?;
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
fn inlines(relation: &Relation, hidden: &Hidden<'_>, needed: &Needed<'_>) -> bool {
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
        let read = super::columns::filter(filter, relation, qualifier, task.context.modes)?;
        parts.push(format!("({read})"));
    }
    Ok(parts.join(" AND "))
}

/// A view's definition, rewritten by the same orders.
fn inlined(task: &Task<'_>, view: &Relation, names: &mut Vec<Name>) -> Result<String, Obstacle> {
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
