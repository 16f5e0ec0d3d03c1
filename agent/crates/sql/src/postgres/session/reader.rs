//! One text's statements, read for what they do to the session's naming.

use pg_query::NodeEnum;
use pg_query::protobuf::{
    DiscardMode, DropStmt, ExplainStmt, FuncCall, IntoClause, ObjectType, OnCommitAction, RangeVar,
    SelectStmt, TransactionStmt, TransactionStmtKind, VariableSetKind, VariableSetStmt,
};

use super::Step;
use super::values::{boolean, constant_text, identifiers};
use crate::postgres::children::{Field as _, Visitor, each_child, each_clause};
use crate::postgres::walk::{into_of, text_of};

/// Collects steps.
#[derive(Default)]
pub(super) struct Reader {
    pub(super) steps: Vec<Step>,
}

impl Reader {
    pub(super) fn statement(&mut self, node: &NodeEnum) {
        match node {
            NodeEnum::VariableSetStmt(set) => self.set(set),
            NodeEnum::TransactionStmt(transaction) => self.transaction(transaction),
            NodeEnum::DiscardStmt(discard) => match DiscardMode::try_from(discard.target) {
                Ok(DiscardMode::DiscardAll) => {
                    self.steps.push(Step::DropTemporary);
                    self.authorise(None, false);
                    self.path(None, false);
                }
                Ok(DiscardMode::DiscardTemp) => self.steps.push(Step::DropTemporary),
                _ => {}
            },
            NodeEnum::DoStmt(_) | NodeEnum::CallStmt(_) => {
                self.steps.extend([Step::LoseTrack, Step::LoseRole]);
            }
            NodeEnum::CreateStmt(create) => {
                self.makes(create.relation.as_ref(), create.oncommit);
            }
            NodeEnum::CreateTableAsStmt(create) => {
                self.into(create.into.as_deref());
                self.calls(node);
            }
            NodeEnum::ViewStmt(view) => {
                self.makes(view.view.as_ref(), 0);
                self.lurks(node);
            }
            NodeEnum::PrepareStmt(_) | NodeEnum::DeclareCursorStmt(_) => self.lurks(node),
            NodeEnum::CreateSeqStmt(sequence) => self.makes(sequence.sequence.as_ref(), 0),
            NodeEnum::DropStmt(drop) => self.drops(drop),
            NodeEnum::RenameStmt(rename) => {
                let old = rename.relation.as_ref();
                if rename.subname.is_empty() && old.is_some_and(may_be_temporary) {
                    // Whether the renamed one was temporary is not in the text.
                    self.steps.push(Step::LoseTrack);
                }
            }
            NodeEnum::ExplainStmt(explain) => self.explain(explain),
            NodeEnum::SelectStmt(select) => self.query(node, select),
            other => self.calls(other),
        }
    }

    fn query(&mut self, node: &NodeEnum, select: &SelectStmt) {
        self.into(into_of(select));
        if !is_alone(select) {
            return self.calls(node);
        }
        for target in &select.target_list {
            let call = match &target.node {
                Some(NodeEnum::ResTarget(target)) => target.val.as_deref(),
                _ => None,
            };
            match call.and_then(|node| node.node.as_ref()) {
                Some(NodeEnum::FuncCall(call)) if is_set_config(call) => self.call(call),
                _ => {
                    let mut found = Found::default();
                    target.hand(&mut found);
                    self.lose_track(&found);
                }
            }
        }
    }

    fn explain(&mut self, explain: &ExplainStmt) {
        let Some(inner) = explain.query.as_ref().and_then(|query| query.node.as_ref()) else {
            return;
        };
        let runs = explain.options.iter().any(
            |option| matches!(&option.node, Some(NodeEnum::DefElem(option)) if option.defname == "analyze"),
        );
        if runs && !matches!(inner, NodeEnum::SelectStmt(select) if is_alone(select)) {
            self.statement(inner);
        } else if runs {
            self.calls(inner);
        }
    }

    /// A call of `set_config` that runs exactly once.
    fn call(&mut self, call: &FuncCall) {
        let mut texts = call.args.iter().map(constant_text);
        let (name, value) = (texts.next().flatten(), texts.next().flatten());
        let Some(name) = name else {
            return self.steps.extend([Step::LoseTrack, Step::LoseRole]);
        };
        if !moves_names(&name) {
            return;
        }
        // The third argument: without a constant it could be either.
        let (Some(value), Some(local)) = (value, call.args.get(2).and_then(boolean)) else {
            return self.steps.extend([Step::LoseTrack, Step::LoseRole]);
        };
        match name.to_ascii_lowercase().as_str() {
            "search_path" => self.path(identifiers(&value), local),
            "role" => self.role(Some(value), local),
            "session_authorization" => self.authorise(Some(value), local),
            _ => self.steps.push(Step::LoseTrack),
        }
    }

    fn set(&mut self, set: &VariableSetStmt) {
        let kind = VariableSetKind::try_from(set.kind).unwrap_or_default();
        if kind == VariableSetKind::VarResetAll {
            return self.path(None, false);
        }
        let name = set.name.to_ascii_lowercase();
        if !moves_names(&name) {
            return;
        }
        let values: Option<Vec<String>> = set.args.iter().map(constant_text).collect();
        let local = set.is_local;
        match (kind, values, name.as_str()) {
            (VariableSetKind::VarSetValue, Some(path), "search_path") => {
                self.path(Some(path), local);
            }
            (VariableSetKind::VarSetValue, Some(values), name) => match values.as_slice() {
                [role] if name == "role" => self.role(Some(role.clone()), local),
                [role] => self.authorise(Some(role.clone()), local),
                _ => self.steps.push(Step::LoseTrack),
            },
            (VariableSetKind::VarSetDefault | VariableSetKind::VarReset, _, name) => match name {
                "search_path" => self.path(None, local),
                "role" => self.role(None, local),
                _ => self.authorise(None, local),
            },
            _ => self.steps.push(Step::LoseTrack),
        }
    }

    fn path(&mut self, path: Option<Vec<String>>, local: bool) {
        self.steps.push(Step::SearchPath { path, local });
    }

    fn role(&mut self, name: Option<String>, local: bool) {
        let name = name.filter(|name| name != "none");
        self.steps.push(Step::Role { name, local });
    }

    fn authorise(&mut self, name: Option<String>, local: bool) {
        let name = name.filter(|name| name != "default");
        self.steps.push(Step::Authorise { name, local });
    }

    fn transaction(&mut self, transaction: &TransactionStmt) {
        let name = || transaction.savepoint_name.clone();
        let chain = transaction.chain;
        let step = match TransactionStmtKind::try_from(transaction.kind).unwrap_or_default() {
            TransactionStmtKind::TransStmtBegin | TransactionStmtKind::TransStmtStart => {
                Step::Begin
            }
            TransactionStmtKind::TransStmtCommit => Step::Commit { chain },
            TransactionStmtKind::TransStmtRollback => Step::Rollback { chain },
            TransactionStmtKind::TransStmtSavepoint => Step::Savepoint(name()),
            TransactionStmtKind::TransStmtRelease => Step::Release(name()),
            TransactionStmtKind::TransStmtRollbackTo => Step::RollbackTo(name()),
            // A transaction that made temporary relations cannot be prepared; one that set a path ends here.
            TransactionStmtKind::TransStmtPrepare => Step::Commit { chain: false },
            _ => return,
        };
        self.steps.push(step);
    }

    fn into(&mut self, into: Option<&IntoClause>) {
        if let Some(into) = into {
            self.makes(into.rel.as_ref(), into.on_commit);
        }
    }

    fn makes(&mut self, relation: Option<&RangeVar>, on_commit: i32) {
        let Some(relation) = relation else { return };
        if relation.relpersistence == "t" || relation.schemaname == TEMPORARY_SCHEMA {
            self.steps.push(Step::Make {
                name: relation.relname.clone(),
                until_commit: on_commit == OnCommitAction::OncommitDrop as i32,
            });
        }
    }

    fn drops(&mut self, drop: &DropStmt) {
        let rows = [
            ObjectType::ObjectTable,
            ObjectType::ObjectView,
            ObjectType::ObjectSequence,
        ];
        if !rows.iter().any(|kind| *kind as i32 == drop.remove_type) {
            return;
        }
        for object in &drop.objects {
            let Some(NodeEnum::List(list)) = &object.node else {
                continue;
            };
            let parts: Vec<&str> = list.items.iter().filter_map(text_of).collect();
            match parts.as_slice() {
                [name] | [TEMPORARY_SCHEMA, name] => {
                    self.steps.push(Step::Drop((*name).to_owned()));
                }
                _ => {}
            }
        }
    }

    /// Calls whose number and order nobody knows.
    fn calls(&mut self, node: &NodeEnum) {
        self.lose_track(&Found::within(node));
    }

    fn lose_track(&mut self, found: &Found) {
        if found.moving {
            self.steps.extend([Step::LoseTrack, Step::LoseRole]);
        }
    }

    /// Calls that run later.
    fn lurks(&mut self, node: &NodeEnum) {
        if Found::within(node).moving {
            self.steps.push(Step::Lurk);
        }
    }
}

/// Looks everywhere for calls that could change how names are read.
#[derive(Default)]
struct Found {
    moving: bool,
}

impl Found {
    fn within(node: &NodeEnum) -> Self {
        let mut found = Self::default();
        match node {
            NodeEnum::SelectStmt(select) => each_clause(select, &mut found),
            other => each_child(other, &mut found),
        }
        found
    }
}

impl<'a> Visitor<'a> for Found {
    fn node(&mut self, node: &'a NodeEnum) {
        if let NodeEnum::FuncCall(call) = node {
            self.moving |= is_set_config(call)
                && call
                    .args
                    .first()
                    .and_then(constant_text)
                    .is_none_or(|name| moves_names(&name));
        }
        each_child(node, self);
    }

    fn relation(&mut self, _: &'a RangeVar) {}

    fn select(&mut self, select: &'a SelectStmt) {
        each_clause(select, self);
    }
}

/// Whether a query is its list and no more: then each item of it runs exactly once, in order.
pub(in crate::postgres) fn is_alone(select: &SelectStmt) -> bool {
    let lists = [
        &select.distinct_clause,
        &select.from_clause,
        &select.group_clause,
        &select.window_clause,
        &select.values_lists,
        &select.sort_clause,
        &select.locking_clause,
    ];
    let conditions = [
        &select.where_clause,
        &select.having_clause,
        &select.limit_offset,
        &select.limit_count,
    ];
    lists.iter().all(|list| list.is_empty())
        && conditions.iter().all(|condition| condition.is_none())
        && select.into_clause.is_none()
        && select.with_clause.is_none()
        && select.larg.is_none()
}

/// Whether a setting decides which relation a name means.
pub(in crate::postgres) fn moves_names(setting: &str) -> bool {
    ["search_path", "role", "session_authorization"]
        .iter()
        .any(|name| setting.eq_ignore_ascii_case(name))
}

fn is_set_config(call: &FuncCall) -> bool {
    call.funcname.last().and_then(text_of) == Some("set_config")
}

fn may_be_temporary(relation: &RangeVar) -> bool {
    relation.schemaname.is_empty() || relation.schemaname == TEMPORARY_SCHEMA
}

const TEMPORARY_SCHEMA: &str = "pg_temp";
