//! The parse tree's facts: kinds, relations, functions.
//!
//! Queries and writes are read here, with the scopes of their common table expressions; all other
//! statements in `utility`. Whatever neither names passes through the table in `children`.

use pg_query::NodeEnum;
use pg_query::protobuf::{
    CommonTableExpr, DeleteStmt, FuncCall, InsertStmt, IntoClause, LimitOption, MergeStmt, Node,
    RangeVar, RawStmt, ReturningClause, SelectStmt, UpdateStmt, WithClause, a_const,
};

use super::children::{Field, Visitor, each_child};
use super::functions::{self, Reach};
use super::predicate;
use super::vectors::{self, Vectors};
use crate::facts::{Confidence, Kind, RelationName, RelationUse, Use};

/// What a walk has found so far.
#[derive(Default)]
pub(super) struct Walk<'a> {
    pub(super) kinds: Vec<Kind>,
    pub(super) relations: Vec<RelationUse>,
    pub(super) functions: Vec<String>,
    pub(super) has_where: Option<bool>,
    pub(super) limit: Option<u64>,
    pub(super) confidence: Option<Confidence>,
    pub(super) changes_session: bool,
    /// A literal could change the facts, or what the statement names.
    pub(super) literals_matter: bool,
    /// Offsets of words that are values.
    pub(super) values: Vec<usize>,
    /// As far as the text alone shows.
    pub(super) vectors: Vectors,
    /// What naming a relation means where the walk is.
    pub(super) usage: Option<Use>,
    /// Names of the common table expressions in sight, the nearest last.
    ctes: Vec<&'a str>,
    /// Whether the walk is inside the arguments of a function that may do anything with a text.
    in_unknown_call: bool,
    /// Column references seen, to tell a write that reads from one that does not.
    columns_seen: usize,
}

impl<'a> Walk<'a> {
    /// Reads all statements of a text.
    pub(super) fn statements(&mut self, statements: &'a [RawStmt]) {
        let mut limits = Vec::new();
        for statement in statements {
            let Some(node) = statement
                .stmt
                .as_deref()
                .and_then(|stmt| stmt.node.as_ref())
            else {
                continue;
            };
            if let NodeEnum::SelectStmt(select) = node {
                limits.push(constant_limit(select));
            }
            self.statement(node);
        }
        // A vector that is made in a write is what it writes, unless others are compared with it.
        let writes = [Kind::Insert, Kind::Update, Kind::Merge];
        self.vectors.written &=
            !self.vectors.searched && self.kinds.iter().any(|kind| writes.contains(kind));
        // One unlimited query among limited ones leaves the text unlimited.
        self.limit = limits
            .into_iter()
            .collect::<Option<Vec<u64>>>()
            .and_then(|limits| limits.into_iter().min());
    }

    /// Reads one whole statement; also the ones inside `EXPLAIN`, `PREPARE` and the like.
    pub(super) fn statement(&mut self, node: &'a NodeEnum) {
        match node {
            NodeEnum::SelectStmt(select) => self.select(select),
            NodeEnum::InsertStmt(insert) => self.insert(insert),
            NodeEnum::UpdateStmt(update) => self.update(update),
            NodeEnum::DeleteStmt(delete) => self.delete(delete),
            NodeEnum::MergeStmt(merge) => self.merge(merge),
            other => {
                self.literals_matter = true;
                let outer = self.usage.replace(Use::Define);
                self.utility(other);
                self.usage = outer;
            }
        }
    }

    pub(super) fn kind(&mut self, kind: Kind) {
        self.kinds.push(kind);
    }

    /// Lowers the confidence to `confidence`, never raises it.
    pub(super) fn doubt(&mut self, confidence: Confidence) {
        self.confidence = self.confidence.max(Some(confidence));
    }

    /// Notes a use of `relation`, which is never a common table expression.
    pub(super) fn uses(&mut self, relation: Option<&RangeVar>, usage: Use) {
        if let Some(relation) = relation {
            let schema = (!relation.schemaname.is_empty()).then(|| relation.schemaname.clone());
            self.uses_name(schema, relation.relname.clone(), usage);
        }
    }

    pub(super) fn uses_name(&mut self, schema: Option<String>, name: String, usage: Use) {
        self.relations.push(RelationUse {
            relation: RelationName { schema, name },
            usage,
        });
    }

    /// Visits whatever `field` holds.
    pub(super) fn inside(&mut self, field: &'a impl Field) {
        field.hand(self);
    }

    /// `INTO t` and `CREATE TABLE t AS`.
    pub(super) fn makes(&mut self, into: Option<&'a IntoClause>) {
        if let Some(into) = into {
            self.kind(Kind::Create);
            self.literals_matter = true;
            self.uses(into.rel.as_ref(), Use::Define);
            self.inside(&into.options);
        }
    }

    /// Notes a function by its name, as the text has it.
    pub(super) fn calls(&mut self, name: &[Node]) -> Reach {
        let parts: Vec<&str> = name.iter().filter_map(text_of).collect();
        let reach = functions::reach(&parts);
        match reach {
            Reach::Value => {}
            Reach::Session => {
                self.kind(Kind::Set);
                self.changes_session = true;
            }
            Reach::Unknown => self.doubt(Confidence::Tainted),
            Reach::Text => self.doubt(Confidence::Opaque),
        }
        self.functions.push(parts.join("."));
        reach
    }

    fn select_scope(&mut self, select: &'a SelectStmt) {
        let scope = self.with(select.with_clause.as_ref());
        // The names of locked relations are aliases of this query, so they are left out.
        self.inside(&select.larg);
        self.inside(&select.rarg);
        self.inside(&select.distinct_clause);
        self.inside(&select.target_list);
        self.makes(select.into_clause.as_deref());
        self.inside(&select.from_clause);
        self.inside(&select.where_clause);
        self.inside(&select.group_clause);
        self.inside(&select.having_clause);
        self.inside(&select.window_clause);
        self.inside(&select.values_lists);
        self.inside(&select.sort_clause);
        self.inside(&select.limit_offset);
        self.inside(&select.limit_count);
        self.ctes.truncate(scope);
    }

    /// Reads a `WITH` clause and brings its names into sight; returns what to truncate to after it.
    fn with(&mut self, with: Option<&'a WithClause>) -> usize {
        let scope = self.ctes.len();
        let Some(with) = with else {
            return scope;
        };
        let ctes = || with.ctes.iter().filter_map(cte_of);
        if with.recursive {
            self.ctes.extend(ctes().map(|cte| cte.ctename.as_str()));
        }
        for cte in ctes() {
            let outer = self.usage.replace(Use::Read);
            if let Some(query) = cte
                .ctequery
                .as_deref()
                .and_then(|query| query.node.as_ref())
            {
                self.statement(query);
            }
            self.inside(&cte.cycle_clause);
            self.usage = outer;
            if !with.recursive {
                self.ctes.push(&cte.ctename);
            }
        }
        scope
    }

    fn insert(&mut self, insert: &'a InsertStmt) {
        self.kind(Kind::Insert);
        let outer = self.usage.replace(Use::Read);
        let scope = self.with(insert.with_clause.as_ref());
        self.uses(insert.relation.as_ref(), Use::Write);
        self.inside(&insert.cols);
        match insert
            .select_stmt
            .as_deref()
            .and_then(|select| select.node.as_ref())
        {
            // `VALUES` is the row to insert, not a query of its own.
            Some(NodeEnum::SelectStmt(values)) if !values.values_lists.is_empty() => {
                self.select_scope(values);
            }
            Some(NodeEnum::SelectStmt(select)) => self.select(select),
            _ => {}
        }
        if let Some(conflict) = insert.on_conflict_clause.as_deref() {
            self.inside(&conflict.infer);
            let before = self.columns_seen;
            self.inside(&conflict.target_list);
            self.inside(&conflict.where_clause);
            self.returning(insert.returning_clause.as_ref());
            self.reads_target_since(before, insert.relation.as_ref());
        } else {
            // What comes back is what the statement itself has written.
            self.returning(insert.returning_clause.as_ref());
        }
        self.ctes.truncate(scope);
        self.usage = outer;
    }

    fn update(&mut self, update: &'a UpdateStmt) {
        self.kind(Kind::Update);
        self.filtered(update.where_clause.as_deref());
        let outer = self.usage.replace(Use::Read);
        let scope = self.with(update.with_clause.as_ref());
        self.uses(update.relation.as_ref(), Use::Write);
        let before = self.columns_seen;
        self.inside(&update.target_list);
        self.inside(&update.from_clause);
        self.inside(&update.where_clause);
        self.returning(update.returning_clause.as_ref());
        self.reads_target_since(before, update.relation.as_ref());
        self.ctes.truncate(scope);
        self.usage = outer;
    }

    fn delete(&mut self, delete: &'a DeleteStmt) {
        self.kind(Kind::Delete);
        self.filtered(delete.where_clause.as_deref());
        let outer = self.usage.replace(Use::Read);
        let scope = self.with(delete.with_clause.as_ref());
        self.uses(delete.relation.as_ref(), Use::Write);
        let before = self.columns_seen;
        self.inside(&delete.using_clause);
        self.inside(&delete.where_clause);
        self.returning(delete.returning_clause.as_ref());
        self.reads_target_since(before, delete.relation.as_ref());
        self.ctes.truncate(scope);
        self.usage = outer;
    }

    fn merge(&mut self, merge: &'a MergeStmt) {
        self.kind(Kind::Merge);
        let outer = self.usage.replace(Use::Read);
        let scope = self.with(merge.with_clause.as_ref());
        self.uses(merge.relation.as_ref(), Use::Write);
        let before = self.columns_seen;
        self.inside(&merge.source_relation);
        self.inside(&merge.join_condition);
        self.inside(&merge.merge_when_clauses);
        self.returning(merge.returning_clause.as_ref());
        self.reads_target_since(before, merge.relation.as_ref());
        self.ctes.truncate(scope);
        self.usage = outer;
    }

    fn returning(&mut self, returning: Option<&'a ReturningClause>) {
        if let Some(returning) = returning {
            self.inside(&returning.exprs);
        }
    }

    /// A write whose expressions name columns reads its target too, as the server's own
    /// privilege check has it.
    fn reads_target_since(&mut self, before: usize, target: Option<&RangeVar>) {
        if self.columns_seen > before {
            self.uses(target, Use::Read);
        }
    }

    fn filtered(&mut self, condition: Option<&Node>) {
        let real = condition.is_some_and(predicate::depends_on_the_row);
        self.has_where = Some(self.has_where.unwrap_or(true) && real);
    }

    fn call(&mut self, call: &'a FuncCall) {
        let reach = self.calls(&call.funcname);
        let name = call.funcname.last().and_then(text_of).unwrap_or_default();
        self.vectors.searched |= vectors::is_distance_function(name)
            && (call.args.iter()).any(|arg| vectors::is_vector(arg) || vectors::is_parameter(arg));
        let outer = self.in_unknown_call;
        self.in_unknown_call |= reach != Reach::Value;
        self.inside(&call.args);
        self.in_unknown_call = outer;
        self.inside(&call.agg_order);
        self.inside(&call.agg_filter);
        self.inside(&call.over);
    }
}

impl<'a> Visitor<'a> for Walk<'a> {
    fn node(&mut self, node: &'a NodeEnum) {
        match node {
            NodeEnum::InsertStmt(_)
            | NodeEnum::UpdateStmt(_)
            | NodeEnum::DeleteStmt(_)
            | NodeEnum::MergeStmt(_) => self.statement(node),
            NodeEnum::FuncCall(call) => self.call(call),
            NodeEnum::ColumnRef(_) => self.columns_seen += 1,
            NodeEnum::AExpr(expr) => {
                self.vectors.searched |= vectors::is_search(expr);
                each_child(node, self);
            }
            NodeEnum::TypeCast(cast) => {
                self.vectors.written |=
                    cast.type_name.as_ref().is_some_and(vectors::is_vector_type);
                each_child(node, self);
            }
            NodeEnum::AConst(constant) => {
                if self.in_unknown_call && matches!(constant.val, Some(a_const::Val::Sval(_))) {
                    self.literals_matter = true;
                }
            }
            // An alias, not a relation.
            NodeEnum::LockingClause(_) => {}
            _ => each_child(node, self),
        }
    }

    fn relation(&mut self, relation: &'a RangeVar) {
        let usage = self.usage.unwrap_or(Use::Read);
        let hidden = usage == Use::Read
            && relation.schemaname.is_empty()
            && self.ctes.contains(&relation.relname.as_str());
        if !hidden {
            self.uses(Some(relation), usage);
        }
    }

    fn select(&mut self, select: &'a SelectStmt) {
        self.kind(Kind::Select);
        let outer = self.usage.replace(Use::Read);
        self.select_scope(select);
        self.usage = outer;
    }
}

/// The identifier in a name's part.
pub(super) fn text_of(node: &Node) -> Option<&str> {
    match &node.node {
        Some(NodeEnum::String(text)) => Some(&text.sval),
        _ => None,
    }
}

/// `INTO` stands in the first arm of a union.
pub(super) fn into_of(select: &SelectStmt) -> Option<&IntoClause> {
    let mut at = select;
    loop {
        if let Some(into) = at.into_clause.as_deref() {
            return Some(into);
        }
        at = at.larg.as_deref()?;
    }
}

/// The common table expression that a node is.
pub(super) fn cte_of(node: &Node) -> Option<&CommonTableExpr> {
    match &node.node {
        Some(NodeEnum::CommonTableExpr(cte)) => Some(cte),
        _ => None,
    }
}

/// The number of rows a query is limited to by a constant; `WITH TIES` may give more.
fn constant_limit(select: &SelectStmt) -> Option<u64> {
    if select.limit_option == LimitOption::WithTies as i32 {
        return None;
    }
    let Some(NodeEnum::AConst(constant)) = &select.limit_count.as_deref()?.node else {
        return None;
    };
    match &constant.val {
        Some(a_const::Val::Ival(number)) => u64::try_from(number.ival).ok(),
        // Numbers past 32 bits.
        Some(a_const::Val::Fval(number)) => number.fval.parse().ok(),
        _ => None,
    }
}
