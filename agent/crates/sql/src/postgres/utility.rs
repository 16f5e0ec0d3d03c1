//! Statements that are neither query nor write: definitions, sessions, copies, procedures.
//!
//! A relation named here is `Define` unless said otherwise; a query inside is read as one.

use pg_query::NodeEnum;
use pg_query::protobuf::{
    CopyStmt, DropStmt, Node, ObjectType, VariableSetKind, VariableSetStmt, ViewStmt, a_const,
};

use super::children::each_child;
use super::walk::{Walk, text_of};
use crate::facts::{Confidence, Kind, Use};

impl<'a> Walk<'a> {
    /// Reads a statement that is no query and no write.
    pub(super) fn utility(&mut self, node: &'a NodeEnum) {
        match node {
            NodeEnum::ExplainStmt(explain) => {
                self.kind(Kind::Explain);
                self.inner_statement(explain.query.as_deref());
            }
            NodeEnum::PrepareStmt(prepare) => {
                self.kind(Kind::Utility);
                self.inner_statement(prepare.query.as_deref());
            }
            NodeEnum::DeclareCursorStmt(cursor) => self.inner_statement(cursor.query.as_deref()),
            NodeEnum::CreateTableAsStmt(create) => {
                self.makes(create.into.as_deref());
                self.inner_statement(create.query.as_deref());
            }
            NodeEnum::ViewStmt(view) => self.view(view),
            NodeEnum::CopyStmt(copy) => self.copy(copy),
            NodeEnum::VariableSetStmt(set) => self.set(set),
            NodeEnum::DropStmt(drop) => self.drop_objects(drop),
            NodeEnum::CommentStmt(comment) => {
                self.kind(Kind::Alter);
                self.object(comment.objtype, comment.object.as_deref());
            }
            NodeEnum::SecLabelStmt(label) => {
                self.kind(Kind::Grant);
                self.object(label.objtype, label.object.as_deref());
            }
            NodeEnum::TruncateStmt(truncate) => {
                self.kind(Kind::Truncate);
                for relation in &truncate.relations {
                    if let Some(NodeEnum::RangeVar(relation)) = &relation.node {
                        self.uses(Some(relation), Use::Write);
                    }
                }
            }
            NodeEnum::DoStmt(_) => {
                self.kind(Kind::Do);
                self.doubt(Confidence::Opaque);
            }
            NodeEnum::CallStmt(call) => {
                self.kind(Kind::Call);
                self.doubt(Confidence::Opaque);
                if let Some(function) = call.funccall.as_deref() {
                    self.calls(&function.funcname);
                    self.inside(&function.args);
                }
            }
            NodeEnum::RuleStmt(rule) => {
                self.kind(Kind::Create);
                self.uses(rule.relation.as_ref(), Use::Define);
            }
            // Bodies run later and elsewhere.
            NodeEnum::CreateFunctionStmt(_) => self.kind(Kind::Create),
            // These name something whose text was judged, or not, at another time.
            NodeEnum::ExecuteStmt(_) | NodeEnum::FetchStmt(_) => {
                self.kind(Kind::Utility);
                self.doubt(Confidence::Tainted);
                each_child(node, self);
            }
            NodeEnum::LoadStmt(_) => {
                self.kind(Kind::Utility);
                self.doubt(Confidence::Opaque);
            }
            NodeEnum::CreateExtensionStmt(_) | NodeEnum::AlterExtensionStmt(_) => {
                self.kind(kind_of(node));
                self.doubt(Confidence::Tainted);
            }
            NodeEnum::DiscardStmt(_) => {
                self.kind(Kind::Set);
                self.changes_session = true;
            }
            NodeEnum::AlterRoleSetStmt(alter) => {
                self.kind(Kind::Alter);
                self.values_of(alter.setstmt.as_ref());
            }
            NodeEnum::AlterDatabaseSetStmt(alter) => {
                self.kind(Kind::Alter);
                self.values_of(alter.setstmt.as_ref());
            }
            NodeEnum::AlterSystemStmt(alter) => {
                self.kind(Kind::Alter);
                self.values_of(alter.setstmt.as_ref());
            }
            other => {
                let kind = kind_of(other);
                if kind == Kind::Unknown {
                    self.doubt(Confidence::Tainted);
                }
                self.kind(kind);
                each_child(other, self);
            }
        }
    }

    fn inner_statement(&mut self, query: Option<&'a Node>) {
        if let Some(node) = query.and_then(|query| query.node.as_ref()) {
            self.statement(node);
        }
    }

    fn view(&mut self, view: &'a ViewStmt) {
        self.kind(Kind::Create);
        self.uses(view.view.as_ref(), Use::Define);
        self.inner_statement(view.query.as_deref());
    }

    fn copy(&mut self, copy: &'a CopyStmt) {
        let (kind, usage, file_role) = if copy.is_from {
            (Kind::CopyIn, Use::Write, "pg_read_server_files")
        } else {
            (Kind::CopyOut, Use::Read, "pg_write_server_files")
        };
        self.kind(kind);
        self.uses(copy.relation.as_ref(), usage);
        self.inner_statement(copy.query.as_deref());
        self.usage = Some(Use::Read);
        self.inside(&copy.where_clause);
        // Reaches beyond the database: named by the role whose power it takes.
        if copy.is_program {
            self.functions.push("pg_execute_server_program".to_owned());
            self.doubt(Confidence::Opaque);
        } else if !copy.filename.is_empty() {
            self.functions.push(file_role.to_owned());
        }
    }

    fn set(&mut self, set: &'a VariableSetStmt) {
        // What follows is one transaction's own.
        if set.kind == VariableSetKind::VarSetMulti as i32 && set.name == "TRANSACTION" {
            self.kind(Kind::Transaction);
            return;
        }
        self.kind(Kind::Set);
        self.changes_session = true;
        self.values_of(Some(set));
    }

    /// Unquoted words given to a custom setting are values (`SET app.token TO abc`).
    fn values_of(&mut self, set: Option<&VariableSetStmt>) {
        let Some(set) = set.filter(|set| set.name.contains('.')) else {
            return;
        };
        for arg in &set.args {
            if let Some(NodeEnum::AConst(constant)) = &arg.node
                && matches!(constant.val, Some(a_const::Val::Sval(_)))
            {
                self.values.extend(usize::try_from(constant.location));
            }
        }
    }

    fn drop_objects(&mut self, drop: &DropStmt) {
        self.kind(Kind::Drop);
        for object in &drop.objects {
            self.object(drop.remove_type, Some(object));
        }
    }

    /// Notes the relation that an object is, or belongs to, where its name says so.
    fn object(&mut self, kind: i32, object: Option<&Node>) {
        let Some(Some(NodeEnum::List(list))) = object.map(|object| &object.node) else {
            return;
        };
        let parts: Vec<&str> = list.items.iter().filter_map(text_of).collect();
        let relation = match ObjectType::try_from(kind) {
            Ok(
                ObjectType::ObjectTable
                | ObjectType::ObjectView
                | ObjectType::ObjectMatview
                | ObjectType::ObjectForeignTable
                | ObjectType::ObjectIndex
                | ObjectType::ObjectSequence,
            ) => parts.as_slice(),
            // The last part is the column's, trigger's, … own name.
            Ok(
                ObjectType::ObjectColumn
                | ObjectType::ObjectTrigger
                | ObjectType::ObjectRule
                | ObjectType::ObjectPolicy
                | ObjectType::ObjectTabconstraint,
            ) => parts.split_last().map_or(&[][..], |(_, relation)| relation),
            _ => &[],
        };
        if let Some((name, before)) = relation.split_last() {
            let schema = before.last().map(|&schema| schema.to_owned());
            self.uses_name(schema, (*name).to_owned(), Use::Define);
        }
    }
}

/// The kind of a statement that needs nothing else said about it.
fn kind_of(node: &NodeEnum) -> Kind {
    match node {
        NodeEnum::CreateStmt(_)
        | NodeEnum::CreateSchemaStmt(_)
        | NodeEnum::CreateTableSpaceStmt(_)
        | NodeEnum::CreateExtensionStmt(_)
        | NodeEnum::CreateFdwStmt(_)
        | NodeEnum::CreateForeignServerStmt(_)
        | NodeEnum::CreateForeignTableStmt(_)
        | NodeEnum::CreateUserMappingStmt(_)
        | NodeEnum::ImportForeignSchemaStmt(_)
        | NodeEnum::CreatePolicyStmt(_)
        | NodeEnum::CreateAmStmt(_)
        | NodeEnum::CreateTrigStmt(_)
        | NodeEnum::CreateEventTrigStmt(_)
        | NodeEnum::CreatePlangStmt(_)
        | NodeEnum::CreateSeqStmt(_)
        | NodeEnum::DefineStmt(_)
        | NodeEnum::CreateDomainStmt(_)
        | NodeEnum::CreateOpClassStmt(_)
        | NodeEnum::CreateOpFamilyStmt(_)
        | NodeEnum::IndexStmt(_)
        | NodeEnum::CreateStatsStmt(_)
        | NodeEnum::CompositeTypeStmt(_)
        | NodeEnum::CreateEnumStmt(_)
        | NodeEnum::CreateRangeStmt(_)
        | NodeEnum::CreatedbStmt(_)
        | NodeEnum::CreateConversionStmt(_)
        | NodeEnum::CreateCastStmt(_)
        | NodeEnum::CreateTransformStmt(_)
        | NodeEnum::CreatePublicationStmt(_)
        | NodeEnum::CreateSubscriptionStmt(_) => Kind::Create,
        NodeEnum::AlterTableStmt(_)
        | NodeEnum::AlterCollationStmt(_)
        | NodeEnum::AlterDomainStmt(_)
        | NodeEnum::AlterTableSpaceOptionsStmt(_)
        | NodeEnum::AlterTableMoveAllStmt(_)
        | NodeEnum::AlterExtensionStmt(_)
        | NodeEnum::AlterExtensionContentsStmt(_)
        | NodeEnum::AlterFdwStmt(_)
        | NodeEnum::AlterForeignServerStmt(_)
        | NodeEnum::AlterUserMappingStmt(_)
        | NodeEnum::AlterPolicyStmt(_)
        | NodeEnum::AlterEventTrigStmt(_)
        | NodeEnum::AlterRoleStmt(_)
        | NodeEnum::AlterSeqStmt(_)
        | NodeEnum::AlterOpFamilyStmt(_)
        | NodeEnum::AlterStatsStmt(_)
        | NodeEnum::AlterFunctionStmt(_)
        | NodeEnum::RenameStmt(_)
        | NodeEnum::AlterObjectDependsStmt(_)
        | NodeEnum::AlterObjectSchemaStmt(_)
        | NodeEnum::AlterOwnerStmt(_)
        | NodeEnum::AlterOperatorStmt(_)
        | NodeEnum::AlterTypeStmt(_)
        | NodeEnum::AlterEnumStmt(_)
        | NodeEnum::AlterDatabaseStmt(_)
        | NodeEnum::AlterDatabaseRefreshCollStmt(_)
        | NodeEnum::ClusterStmt(_)
        | NodeEnum::RefreshMatViewStmt(_)
        | NodeEnum::ReindexStmt(_)
        | NodeEnum::ReassignOwnedStmt(_)
        | NodeEnum::AlterTsdictionaryStmt(_)
        | NodeEnum::AlterTsconfigurationStmt(_)
        | NodeEnum::AlterPublicationStmt(_)
        | NodeEnum::AlterSubscriptionStmt(_) => Kind::Alter,
        NodeEnum::DropTableSpaceStmt(_)
        | NodeEnum::DropUserMappingStmt(_)
        | NodeEnum::DropRoleStmt(_)
        | NodeEnum::DropdbStmt(_)
        | NodeEnum::DropOwnedStmt(_)
        | NodeEnum::DropSubscriptionStmt(_) => Kind::Drop,
        // A new role comes with rights: SUPERUSER, memberships, a password.
        NodeEnum::CreateRoleStmt(_)
        | NodeEnum::GrantStmt(_)
        | NodeEnum::GrantRoleStmt(_)
        | NodeEnum::AlterDefaultPrivilegesStmt(_) => Kind::Grant,
        NodeEnum::TransactionStmt(_) | NodeEnum::ConstraintsSetStmt(_) => Kind::Transaction,
        NodeEnum::VariableShowStmt(_)
        | NodeEnum::NotifyStmt(_)
        | NodeEnum::ListenStmt(_)
        | NodeEnum::UnlistenStmt(_)
        | NodeEnum::VacuumStmt(_)
        | NodeEnum::LockStmt(_)
        | NodeEnum::ClosePortalStmt(_)
        | NodeEnum::DeallocateStmt(_)
        | NodeEnum::CheckPointStmt(_) => Kind::Utility,
        _ => Kind::Unknown,
    }
}
