//! Which statements may be run at all where data is hidden.

use pg_query::NodeEnum;
use pg_query::protobuf::{
    ConstrType, Constraint, CopyStmt, CreateStmt, CreateTableAsStmt, Node, ObjectType, RangeVar,
    ViewStmt,
};

use super::{Walk, settings};
use crate::postgres::children::{Field, Visitor, each_child};
use crate::postgres::walk::text_of;

impl Walk<'_> {
    /// Looks at one whole statement; also the ones inside `EXPLAIN`, `PREPARE` and the like.
    pub(super) fn statement(&mut self, statement: &NodeEnum) {
        match statement {
            NodeEnum::SelectStmt(select) => self.select(select),
            NodeEnum::InsertStmt(_)
            | NodeEnum::UpdateStmt(_)
            | NodeEnum::DeleteStmt(_)
            | NodeEnum::MergeStmt(_) => self.write(statement),
            NodeEnum::ExplainStmt(explain) => self.inner(explain.query.as_deref()),
            NodeEnum::PrepareStmt(prepare) => self.inner(prepare.query.as_deref()),
            NodeEnum::DeclareCursorStmt(cursor) => self.inner(cursor.query.as_deref()),
            NodeEnum::CreateTableAsStmt(create) => self.create_as(create),
            NodeEnum::CopyStmt(copy) => self.copy(copy),
            NodeEnum::VariableSetStmt(set) => {
                if !settings::is_harmless(set) {
                    self.deny(
                        &format!("setting {} could make hidden data readable", set.name),
                        "leave it as it is",
                    );
                }
            }
            NodeEnum::CreateStmt(create) => self.create(create),
            NodeEnum::ViewStmt(view) => self.view(view),
            NodeEnum::CreateSchemaStmt(create) => {
                for element in &create.schema_elts {
                    self.inner(Some(element));
                }
            }
            NodeEnum::CreateDomainStmt(domain) if !domain.constraints.is_empty() => {
                self.deny(CODE, BY_OTHERS);
            }
            _ if is_plain(statement) => each_child(statement, self),
            _ if defines(statement) => self.definition(statement),
            _ => self.deny(CODE, BY_OTHERS),
        }
    }

    fn inner(&mut self, statement: Option<&Node>) {
        if let Some(statement) = statement.and_then(|node| node.node.as_ref()) {
            self.statement(statement);
        }
    }

    /// The server lets its own catalog be updated in places, to change settings.
    pub(super) fn write(&mut self, statement: &NodeEnum) {
        let target = match statement {
            NodeEnum::InsertStmt(insert) => insert.relation.as_ref(),
            NodeEnum::UpdateStmt(update) => update.relation.as_ref(),
            NodeEnum::DeleteStmt(delete) => delete.relation.as_ref(),
            NodeEnum::MergeStmt(merge) => merge.relation.as_ref(),
            _ => None,
        };
        if target.is_some_and(|target| {
            target.schemaname == "pg_catalog"
                || (target.schemaname.is_empty() && target.relname.starts_with("pg_"))
        }) {
            self.deny("the server's own catalog would be written", BY_OTHERS);
        }
        if let Some(target) = target {
            let result = self.closure.written(target, self.statement);
            self.refuse(result);
        }
        each_child(statement, self);
    }

    fn create_as(&mut self, create: &CreateTableAsStmt) {
        let into = create.into.as_deref().and_then(|into| into.rel.as_ref());
        let temporary =
            into.is_some_and(|into| into.relpersistence == "t" || into.schemaname == "pg_temp");
        let query = create
            .query
            .as_deref()
            .and_then(|query| query.node.as_ref());
        if matches!(query, Some(NodeEnum::ExecuteStmt(_))) && !temporary {
            self.deny(
                "what a prepared statement gives would be stored",
                "write to a temporary table, or write the query here",
            );
        }
        if create.objtype == ObjectType::ObjectMatview as i32 {
            self.reads_nothing_hidden(STORED_QUERY);
        }
        self.inner(create.query.as_deref());
    }

    /// A query that is stored runs again without weir in between.
    fn view(&mut self, view: &ViewStmt) {
        self.reads_nothing_hidden(STORED_QUERY);
        self.inner(view.query.as_deref());
    }

    fn reads_nothing_hidden(&mut self, reason: &str) {
        let closure = self.closure;
        let harmless = closure
            .relations_read()
            .filter(|(_, statement)| *statement == self.statement)
            .all(|(relation, _)| {
                closure
                    .governing
                    .of(relation)
                    .is_ok_and(|hidden| hidden.is_nothing())
            });
        if !harmless {
            self.deny(reason, "use a common table expression or a temporary table");
        }
    }

    fn copy(&mut self, copy: &CopyStmt) {
        if copy.is_program || !copy.filename.is_empty() {
            self.deny(
                "files and programs of the server could show hidden data",
                "use COPY with STDIN or STDOUT",
            );
        }
        if let Some(relation) = &copy.relation {
            self.relation(relation);
        }
        self.inner(copy.query.as_deref());
        copy.where_clause.hand(self);
    }

    fn create(&mut self, create: &CreateStmt) {
        for parent in &create.inh_relations {
            self.named(parent);
        }
        let temporary = create
            .relation
            .as_ref()
            .is_some_and(|relation| relation.relpersistence == "t");
        for element in &create.table_elts {
            match &element.node {
                // Its columns without its rows; in a temporary table there is nothing more to it.
                Some(NodeEnum::TableLikeClause(like)) if !temporary => {
                    if let Some(relation) = &like.relation {
                        self.may_define(relation);
                    }
                }
                Some(NodeEnum::TableLikeClause(_)) => {}
                Some(NodeEnum::ColumnDef(column)) => {
                    for constraint in &column.constraints {
                        self.constraint(constraint);
                    }
                    column.raw_default.hand(self);
                }
                _ => self.constraint(element),
            }
        }
        for constraint in &create.constraints {
            self.constraint(constraint);
        }
        create.partspec.hand(self);
    }

    /// A foreign key asks whether values are there.
    fn constraint(&mut self, node: &Node) {
        let Some(NodeEnum::Constraint(constraint)) = &node.node else {
            node.hand(self);
            return;
        };
        if constraint.contype == ConstrType::ConstrForeign as i32 {
            self.foreign_key(constraint);
        } else {
            constraint.raw_expr.hand(self);
            constraint.exclusions.hand(self);
            constraint.where_clause.hand(self);
        }
    }

    fn foreign_key(&mut self, constraint: &Constraint) {
        let Some(table) = &constraint.pktable else {
            return;
        };
        let columns: Vec<_> = constraint.pk_attrs.iter().filter_map(text_of).collect();
        let closure = self.closure;
        for relation in closure.meant(table, self.statement) {
            let key = relation.primary_key.iter().filter_map(|number| {
                relation
                    .columns
                    .iter()
                    .find(|column| column.number == *number)
                    .map(|column| column.name.as_str())
            });
            let columns: Vec<&str> = if columns.is_empty() {
                key.collect()
            } else {
                columns.clone()
            };
            let asks = closure.governing.of(relation).map_or(true, |hidden| {
                !hidden.filters.is_empty()
                    || columns
                        .iter()
                        .any(|column| hidden.masks.contains_key(column))
            });
            if asks {
                self.deny(
                    "a foreign key would tell which hidden values there are",
                    "refer to columns that are not masked",
                );
            }
        }
    }

    /// A definition that may not touch anything hidden.
    fn definition(&mut self, statement: &NodeEnum) {
        match statement {
            NodeEnum::AlterTableStmt(alter) => {
                if let Some(relation) = &alter.relation {
                    self.may_define(relation);
                }
                for command in &alter.cmds {
                    if let Some(NodeEnum::AlterTableCmd(command)) = &command.node {
                        self.alteration(command.def.as_deref());
                    }
                }
            }
            NodeEnum::RenameStmt(rename) => match &rename.relation {
                Some(relation) => self.may_define(relation),
                // A schema by another name would be another for every rule.
                None => self.deny(CODE, BY_OTHERS),
            },
            NodeEnum::AlterObjectSchemaStmt(alter) => self.maybe_define(alter.relation.as_ref()),
            NodeEnum::AlterOwnerStmt(alter) => self.maybe_define(alter.relation.as_ref()),
            NodeEnum::ClusterStmt(cluster) => self.maybe_define(cluster.relation.as_ref()),
            NodeEnum::RefreshMatViewStmt(refresh) => self.maybe_define(refresh.relation.as_ref()),
            NodeEnum::IndexStmt(index) => {
                self.maybe_define(index.relation.as_ref());
                each_child(statement, self);
            }
            _ => each_child(statement, self),
        }
    }

    fn alteration(&mut self, definition: Option<&Node>) {
        let Some(definition) = definition else {
            return;
        };
        match &definition.node {
            Some(NodeEnum::PartitionCmd(partition)) => self.maybe_define(partition.name.as_ref()),
            Some(NodeEnum::RangeVar(relation)) => self.may_define(relation),
            Some(NodeEnum::ColumnDef(column)) => {
                for constraint in &column.constraints {
                    self.constraint(constraint);
                }
                column.raw_default.hand(self);
            }
            _ => self.constraint(definition),
        }
    }

    fn named(&mut self, node: &Node) {
        if let Some(NodeEnum::RangeVar(relation)) = &node.node {
            self.may_define(relation);
        }
    }

    fn maybe_define(&mut self, relation: Option<&RangeVar>) {
        if let Some(relation) = relation {
            self.may_define(relation);
        }
    }

    fn may_define(&mut self, relation: &RangeVar) {
        match self.closure.is_governed(relation, self.statement) {
            Ok(false) => self.relation(relation),
            Ok(true) => self.deny(
                &format!(
                    "{} hides data from you, so its definition may not be changed or used",
                    relation.relname
                ),
                BY_OTHERS,
            ),
            Err(obstacle) => self.refuse(Err(obstacle)),
        }
    }
}

const CODE: &str = "this statement brings or runs code that could show hidden data";
const STORED_QUERY: &str = "a stored query over hidden data would give it unmasked";
const BY_OTHERS: &str = "ask somebody from whom nothing is hidden";

/// Statements that do nothing but what their expressions do.
fn is_plain(statement: &NodeEnum) -> bool {
    matches!(
        statement,
        NodeEnum::ExecuteStmt(_)
            | NodeEnum::FetchStmt(_)
            | NodeEnum::ClosePortalStmt(_)
            | NodeEnum::DeallocateStmt(_)
            | NodeEnum::TransactionStmt(_)
            | NodeEnum::ConstraintsSetStmt(_)
            | NodeEnum::VariableShowStmt(_)
            | NodeEnum::ListenStmt(_)
            | NodeEnum::UnlistenStmt(_)
            | NodeEnum::NotifyStmt(_)
            | NodeEnum::LockStmt(_)
            | NodeEnum::VacuumStmt(_)
            | NodeEnum::CheckPointStmt(_)
            | NodeEnum::DiscardStmt(_)
            | NodeEnum::TruncateStmt(_)
            | NodeEnum::DropStmt(_)
            | NodeEnum::CommentStmt(_)
            | NodeEnum::CreateSeqStmt(_)
            | NodeEnum::AlterSeqStmt(_)
            | NodeEnum::CreateEnumStmt(_)
            | NodeEnum::AlterEnumStmt(_)
            | NodeEnum::CompositeTypeStmt(_)
            | NodeEnum::CreateDomainStmt(_)
            | NodeEnum::GrantStmt(_)
            | NodeEnum::AlterDefaultPrivilegesStmt(_)
            | NodeEnum::ReindexStmt(_)
            | NodeEnum::DropdbStmt(_)
            | NodeEnum::DropRoleStmt(_)
    )
}

/// Definitions that are harmless where they touch nothing hidden.
fn defines(statement: &NodeEnum) -> bool {
    matches!(
        statement,
        NodeEnum::AlterTableStmt(_)
            | NodeEnum::RenameStmt(_)
            | NodeEnum::AlterObjectSchemaStmt(_)
            | NodeEnum::AlterOwnerStmt(_)
            | NodeEnum::ClusterStmt(_)
            | NodeEnum::RefreshMatViewStmt(_)
            | NodeEnum::IndexStmt(_)
    )
}
