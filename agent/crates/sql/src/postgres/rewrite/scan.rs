//! What a text reads and writes, scope by scope, with the places in the text.
//!
//! Nothing is resolved here. Names are collected generously: what a name could mean is what it is taken to mean.

mod leaks;
mod writes;

use std::collections::HashSet;

use pg_query::NodeEnum;
use pg_query::protobuf::{
    ColumnRef, CopyStmt, IntoClause, Node, RangeTableSample, RangeVar, RawStmt, SelectStmt,
    WithClause,
};

pub(super) use self::writes::{Write, WriteNode};
use crate::postgres::children::{Field, Visitor, each_child};
use crate::postgres::walk::{cte_of, into_of, text_of};

/// A text as the rewriting sees it.
#[derive(Default)]
pub(in crate::postgres) struct Scan<'a> {
    pub(super) levels: Vec<Level<'a>>,
    pub(super) reads: Vec<Read<'a>>,
    pub(super) writes: Vec<Write<'a>>,
    pub(super) columns: Vec<ColumnUse<'a>>,
    /// What is copied out, and by which statement.
    pub(super) copies: Vec<(&'a CopyStmt, usize)>,
    pub(super) statements: Vec<Statement<'a>>,
    /// Every relation's name in the text, whatever it is used for, as `schema.name`.
    pub(super) names: Vec<(String, String)>,
    /// Relations that are named and neither read nor written, and by which statement.
    pub(super) mentions: Vec<(&'a RangeVar, usize)>,
    /// Names of functions called, and of operators used, without their schemas.
    pub(super) called: HashSet<&'a str>,
    ctes: Vec<&'a str>,
    /// The level the walk is in.
    level: Option<usize>,
    within: Within,
    /// The statement is explained, not run.
    explained: bool,
}

/// What surrounds the place where the walk is.
#[derive(Default, Clone, Copy)]
struct Within {
    cte: bool,
    write: Option<usize>,
    /// What is read is stored under a name that others can read too.
    stored: bool,
    returning: bool,
}

/// One statement of a text.
#[derive(Default)]
pub(super) struct Statement<'a> {
    /// Last parts of column references, and columns that joins merge.
    pub(super) columns: HashSet<&'a str>,
    /// What stands before `.*`.
    pub(super) starred: HashSet<&'a str>,
    /// Some join is natural: then columns are named without being written.
    pub(super) natural: bool,
    /// Something is called or compared that could tell of rows that it is shown.
    pub(super) leaky: bool,
}

/// One `SELECT`, or one write, with its own `FROM`.
#[derive(Default)]
pub(super) struct Level<'a> {
    pub(super) parent: Option<usize>,
    pub(super) select: Option<&'a SelectStmt>,
    /// The list holds a bare `*`.
    pub(super) star: bool,
    /// A join has a name of its own, which may stand for all columns inside.
    pub(super) joined: bool,
    /// How many items of `FROM` there are; a join counts its parts.
    pub(super) items: usize,
    /// Some of them are no relation, so that their columns are not known.
    pub(super) opaque: bool,
    pub(super) reads: Vec<usize>,
}

/// A relation that is read.
pub(super) struct Read<'a> {
    pub(super) relation: &'a RangeVar,
    pub(super) level: usize,
    pub(super) statement: usize,
    pub(super) sample: Option<&'a RangeTableSample>,
    /// It is part of a write.
    pub(super) in_write: Option<usize>,
    /// It is part of a common table expression.
    pub(super) in_cte: bool,
    /// Its rows make a table.
    pub(super) stored: bool,
    pub(super) explained: bool,
}

impl<'a> Read<'a> {
    /// What its columns are qualified by.
    pub(super) fn alias(&self) -> &'a str {
        alias_of(self.relation)
    }
}

/// The name by which a relation's columns are qualified.
pub(super) fn alias_of(relation: &RangeVar) -> &str {
    relation
        .alias
        .as_ref()
        .map_or(relation.relname.as_str(), |alias| alias.aliasname.as_str())
}

/// A column reference and where it stands.
pub(super) struct ColumnUse<'a> {
    pub(super) reference: &'a ColumnRef,
    pub(super) level: Option<usize>,
    /// It stands in a list of what a write gives back.
    pub(super) returning: bool,
    /// It is a whole item of a list, and has no name of its own.
    pub(super) bare_item: bool,
}

impl<'a> ColumnUse<'a> {
    /// Its parts; a `*` is `None`.
    pub(super) fn parts(&self) -> Vec<Option<&'a str>> {
        self.reference.fields.iter().map(text_of).collect()
    }
}

impl<'a> Scan<'a> {
    /// Reads all statements of a text.
    pub(in crate::postgres) fn of(statements: &'a [RawStmt]) -> Self {
        let mut scan = Self::default();
        for statement in statements {
            scan.statements.push(Statement::default());
            scan.ctes.clear();
            scan.within = Within::default();
            scan.explained = false;
            scan.level = None;
            statement.stmt.hand(&mut scan);
        }
        scan
    }

    /// The names that are read, and by which statement.
    pub(in crate::postgres) fn read_names(&self) -> impl Iterator<Item = (&'a RangeVar, usize)> {
        let copies = self
            .copies
            .iter()
            .filter_map(|(copy, statement)| Some((copy.relation.as_ref()?, *statement)));
        self.reads
            .iter()
            .map(|read| (read.relation, read.statement))
            .chain(copies)
    }

    /// Whether a level is inside another, or the same.
    pub(super) fn is_within(&self, inner: Option<usize>, outer: usize) -> bool {
        let mut at = inner;
        while let Some(level) = at {
            if level == outer {
                return true;
            }
            at = self.levels.get(level).and_then(|level| level.parent);
        }
        false
    }

    fn statement(&mut self) -> Option<&mut Statement<'a>> {
        self.statements.last_mut()
    }

    /// Something of the statement could tell of rows that it is shown.
    fn tells(&mut self) {
        if let Some(statement) = self.statement() {
            statement.leaky = true;
        }
    }

    fn statement_number(&self) -> usize {
        self.statements.len().saturating_sub(1)
    }

    fn enter(&mut self, level: Level<'a>) -> usize {
        let number = self.levels.len();
        self.levels.push(Level {
            parent: self.level,
            ..level
        });
        self.level = Some(number);
        number
    }

    fn here(&mut self) -> Option<&mut Level<'a>> {
        self.level.and_then(|level| self.levels.get_mut(level))
    }

    fn visit_select(&mut self, select: &'a SelectStmt) {
        let outer = (self.level, self.within, self.ctes.len());
        let made = into_of(select);
        self.within.stored |= made.is_some_and(|into| !is_temporary(into));
        self.with(select.with_clause.as_ref());
        self.enter(Level {
            select: Some(select),
            ..Level::default()
        });
        select.larg.hand(self);
        select.rarg.hand(self);
        for item in &select.from_clause {
            self.read_item(item);
        }
        select.distinct_clause.hand(self);
        self.list(&select.target_list);
        if let Some(into) = select.into_clause.as_deref() {
            into.hand(self);
        }
        select.where_clause.hand(self);
        select.group_clause.hand(self);
        select.having_clause.hand(self);
        select.window_clause.hand(self);
        select.values_lists.hand(self);
        select.sort_clause.hand(self);
        select.limit_offset.hand(self);
        select.limit_count.hand(self);
        self.ctes.truncate(outer.2);
        (self.level, self.within) = (outer.0, outer.1);
    }

    /// A list of results: of a query, or of what a write gives back.
    fn list(&mut self, items: &'a [Node]) {
        for item in items {
            let Some(NodeEnum::ResTarget(target)) = &item.node else {
                item.hand(self);
                continue;
            };
            match target.val.as_deref().and_then(|val| val.node.as_ref()) {
                Some(NodeEnum::ColumnRef(reference)) => {
                    self.column(reference, target.name.is_empty());
                }
                _ => target.val.hand(self),
            }
        }
    }

    fn column(&mut self, reference: &'a ColumnRef, bare_item: bool) {
        let (level, returning) = (self.level, self.within.returning);
        let parts: Vec<_> = reference.fields.iter().map(text_of).collect();
        match parts.as_slice() {
            [None] => {
                if let Some(level) = self.here() {
                    level.star = true;
                }
            }
            [.., Some(qualifier), None] => {
                if let Some(statement) = self.statement() {
                    statement.starred.insert(qualifier);
                }
            }
            [.., Some(name)] => {
                if let Some(statement) = self.statement() {
                    statement.columns.insert(name);
                }
                // `c.tell` is `tell(c)` where `c` has no such column.
                if parts.len() > 1 {
                    self.called.insert(name);
                }
            }
            _ => {}
        }
        self.columns.push(ColumnUse {
            reference,
            level,
            returning,
            bare_item,
        });
    }

    fn read_item(&mut self, item: &'a Node) {
        match &item.node {
            Some(NodeEnum::RangeVar(relation)) => self.read(relation, None),
            Some(NodeEnum::RangeTableSample(sample)) => {
                if let Some(NodeEnum::RangeVar(relation)) = sample
                    .relation
                    .as_deref()
                    .and_then(|relation| relation.node.as_ref())
                {
                    self.read(relation, Some(sample));
                }
                sample.args.hand(self);
                sample.repeatable.hand(self);
            }
            Some(NodeEnum::JoinExpr(join)) => {
                for side in [&join.larg, &join.rarg].into_iter().flatten() {
                    self.read_item(side);
                }
                if join.alias.is_some()
                    && let Some(level) = self.here()
                {
                    level.joined = true;
                }
                if let Some(statement) = self.statement() {
                    statement.natural |= join.is_natural;
                    statement
                        .columns
                        .extend(join.using_clause.iter().filter_map(text_of));
                }
                join.quals.hand(self);
            }
            _ => {
                if let Some(level) = self.here() {
                    level.opaque = true;
                    level.items += 1;
                }
                item.hand(self);
            }
        }
    }

    fn read(&mut self, relation: &'a RangeVar, sample: Option<&'a RangeTableSample>) {
        let is_cte =
            relation.schemaname.is_empty() && self.ctes.contains(&relation.relname.as_str());
        self.names
            .push((relation.schemaname.clone(), relation.relname.clone()));
        let number = self.reads.len();
        let Some(level) = self.level else {
            return;
        };
        if let Some(level) = self.here() {
            level.items += 1;
            if is_cte {
                level.opaque = true;
                return;
            }
            level.reads.push(number);
        }
        self.reads.push(Read {
            relation,
            level,
            statement: self.statement_number(),
            sample,
            in_write: self.within.write,
            in_cte: self.within.cte,
            stored: self.within.stored,
            explained: self.explained,
        });
    }

    /// Reads a `WITH` clause and brings its names into sight.
    fn with(&mut self, with: Option<&'a WithClause>) {
        let Some(with) = with else {
            return;
        };
        let ctes = || with.ctes.iter().filter_map(cte_of);
        if with.recursive {
            self.ctes.extend(ctes().map(|cte| cte.ctename.as_str()));
        }
        for cte in ctes() {
            let within = self.within;
            self.within.cte = true;
            self.within.returning = false;
            cte.ctequery.hand(self);
            cte.cycle_clause.hand(self);
            self.within = within;
            if !with.recursive {
                self.ctes.push(&cte.ctename);
            }
        }
    }

    fn copy(&mut self, copy: &'a CopyStmt) {
        if let Some(relation) = &copy.relation {
            self.names
                .push((relation.schemaname.clone(), relation.relname.clone()));
            if !copy.is_from {
                self.copies.push((copy, self.statement_number()));
            }
        }
        copy.query.hand(self);
    }
}

impl<'a> Visitor<'a> for Scan<'a> {
    fn node(&mut self, node: &'a NodeEnum) {
        match node {
            NodeEnum::InsertStmt(insert) => self.write(
                insert.relation.as_ref(),
                insert.with_clause.as_ref(),
                WriteNode::Insert(insert),
            ),
            NodeEnum::UpdateStmt(update) => self.write(
                update.relation.as_ref(),
                update.with_clause.as_ref(),
                WriteNode::Update(update),
            ),
            NodeEnum::DeleteStmt(delete) => self.write(
                delete.relation.as_ref(),
                delete.with_clause.as_ref(),
                WriteNode::Delete(delete),
            ),
            NodeEnum::MergeStmt(merge) => self.write(
                merge.relation.as_ref(),
                merge.with_clause.as_ref(),
                WriteNode::Merge(merge),
            ),
            NodeEnum::ColumnRef(reference) => self.column(reference, false),
            NodeEnum::CopyStmt(copy) => self.copy(copy),
            NodeEnum::ExplainStmt(_) => {
                self.explained = true;
                each_child(node, self);
            }
            NodeEnum::CreateTableAsStmt(create) => {
                self.within.stored |= create
                    .into
                    .as_deref()
                    .is_some_and(|into| !is_temporary(into));
                each_child(node, self);
            }
            NodeEnum::FuncCall(call) => {
                let name = call.funcname.last().and_then(text_of);
                // Attribute notation: `ssn(c)` is `c.ssn`.
                self.called.extend(name);
                if let (Some(name), Some(statement)) = (name, self.statement()) {
                    statement.columns.insert(name);
                    statement.leaky |= !leaks::AGGREGATES.contains(&name);
                }
                each_child(node, self);
            }
            NodeEnum::AExpr(expr) => {
                let name = expr.name.last().and_then(text_of).unwrap_or_default();
                self.called.insert(name);
                if !leaks::LEAKPROOF.contains(&name) {
                    self.tells();
                }
                each_child(node, self);
            }
            NodeEnum::AIndirection(of) => {
                // `(c).tell` like `c.tell`.
                self.called
                    .extend(of.indirection.iter().filter_map(text_of));
                self.tells();
                each_child(node, self);
            }
            // Names aliases of its query.
            NodeEnum::LockingClause(_) => {}
            NodeEnum::SubLink(link) => {
                let name = link.oper_name.last().and_then(text_of);
                self.called.extend(name);
                if name.is_some_and(|name| !leaks::LEAKPROOF.contains(&name)) {
                    self.tells();
                }
                each_child(node, self);
            }
            _ => {
                if !leaks::keeps_to_itself(node) {
                    self.tells();
                }
                each_child(node, self);
            }
        }
    }

    fn relation(&mut self, relation: &'a RangeVar) {
        self.mentions.push((relation, self.statement_number()));
        self.names
            .push((relation.schemaname.clone(), relation.relname.clone()));
    }

    fn select(&mut self, select: &'a SelectStmt) {
        let returning = std::mem::take(&mut self.within.returning);
        self.visit_select(select);
        self.within.returning = returning;
    }
}

fn is_temporary(into: &IntoClause) -> bool {
    into.rel
        .as_ref()
        .is_some_and(|relation| relation.relpersistence == "t" || is_temporary_schema(relation))
}

/// Whether the text says that the relation is the session's own.
pub(super) fn is_temporary_schema(relation: &RangeVar) -> bool {
    relation.schemaname == "pg_temp"
}
