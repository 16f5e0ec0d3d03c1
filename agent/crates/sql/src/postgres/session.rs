//! What statements do to the way a session's names are read, and a tracker that keeps account of it.
//!
//! Conservative: where it is not known what the search path becomes, it is not certain any more.

use std::collections::BTreeSet;

use pg_query::NodeEnum;
use pg_query::protobuf::{
    CreateStmt, DiscardMode, DropStmt, FuncCall, IntoClause, Node, ObjectType, OnCommitAction,
    RangeVar, SelectStmt, TransactionStmt, TransactionStmtKind, VariableSetKind, VariableSetStmt,
    a_const,
};

use super::children::{Field, Visitor, each_child};
use super::walk::text_of;
use crate::catalog::Naming;

/// What a statement that succeeds does to the session's names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NamingEffect {
    /// The search path is set.
    Path {
        /// The schemas, `"$user"` as it is written.
        schemas: Vec<String>,
        /// For the transaction only.
        local: bool,
    },
    /// The search path is what it was when the session began.
    ResetPath,
    /// The search path may be anything.
    UnknownPath,
    /// A temporary relation is made.
    Created {
        /// Its name.
        name: String,
        /// It goes with the transaction.
        until_commit: bool,
    },
    /// A relation is removed; it is a temporary one where there is one of that name.
    Dropped {
        /// Its name.
        name: String,
    },
    /// A relation has another name.
    Renamed {
        /// What it was called.
        from: String,
        /// What it is called.
        to: String,
    },
    /// All temporary relations are gone.
    DiscardedTemporary,
    /// A transaction begins.
    Begin,
    /// It is committed.
    Commit,
    /// It is undone.
    Rollback,
    /// A savepoint is set.
    Savepoint(String),
    /// A savepoint is let go.
    Release(String),
    /// All since a savepoint is undone.
    RollbackTo(String),
}

/// What one statement does to names.
pub(super) fn effects(statement: &NodeEnum) -> Vec<NamingEffect> {
    let mut search = Search::default();
    search.statement(statement);
    search.effects
}

#[derive(Default)]
struct Search {
    effects: Vec<NamingEffect>,
}

impl Search {
    fn statement(&mut self, statement: &NodeEnum) {
        match statement {
            NodeEnum::VariableSetStmt(set) => self.set(set),
            NodeEnum::DiscardStmt(discard) => {
                let target = DiscardMode::try_from(discard.target);
                if matches!(
                    target,
                    Ok(DiscardMode::DiscardAll | DiscardMode::DiscardTemp)
                ) {
                    self.effects.push(NamingEffect::DiscardedTemporary);
                }
                if target == Ok(DiscardMode::DiscardAll) {
                    self.effects.push(NamingEffect::ResetPath);
                }
            }
            NodeEnum::TransactionStmt(transaction) => self.transaction(transaction),
            NodeEnum::CreateStmt(create) => self.create(create),
            NodeEnum::CreateTableAsStmt(create) => {
                self.into(create.into.as_deref());
                each_child(statement, self);
            }
            NodeEnum::ViewStmt(view) => self.made(view.view.as_ref(), false),
            NodeEnum::CreateSeqStmt(sequence) => self.made(sequence.sequence.as_ref(), false),
            NodeEnum::DropStmt(drop) => self.dropped(drop),
            NodeEnum::RenameStmt(rename) => {
                if let Some(relation) = rename.relation.as_ref().filter(|_| {
                    rename.rename_type == rename.relation_type || is_relation(rename.rename_type)
                }) {
                    self.effects.push(NamingEffect::Renamed {
                        from: relation.relname.clone(),
                        to: rename.newname.clone(),
                    });
                }
            }
            // Code that weir does not see, or has seen under another name.
            NodeEnum::DoStmt(_) | NodeEnum::CallStmt(_) => {
                self.effects.push(NamingEffect::UnknownPath);
            }
            NodeEnum::SelectStmt(select) => self.select_statement(select),
            _ => each_child(statement, self),
        }
    }

    fn set(&mut self, set: &VariableSetStmt) {
        let kind = VariableSetKind::try_from(set.kind);
        match kind {
            Ok(VariableSetKind::VarResetAll) => self.effects.push(NamingEffect::ResetPath),
            _ if set.name.eq_ignore_ascii_case("role")
                || set.name.eq_ignore_ascii_case("session_authorization") =>
            {
                // "$user" is somebody else then.
                self.effects.push(NamingEffect::UnknownPath);
            }
            _ if !set.name.eq_ignore_ascii_case("search_path") => {}
            Ok(VariableSetKind::VarSetDefault | VariableSetKind::VarReset) => {
                self.effects.push(if set.is_local {
                    NamingEffect::UnknownPath
                } else {
                    NamingEffect::ResetPath
                });
            }
            Ok(VariableSetKind::VarSetValue) => {
                let schemas: Option<Vec<String>> = set.args.iter().map(constant_text).collect();
                self.effects.push(match schemas {
                    Some(schemas) => NamingEffect::Path {
                        schemas: schemas
                            .into_iter()
                            // `SET search_path = ''` names no schema.
                            .filter(|schema| !schema.is_empty())
                            .collect(),
                        local: set.is_local,
                    },
                    None => NamingEffect::UnknownPath,
                });
            }
            _ => self.effects.push(NamingEffect::UnknownPath),
        }
    }

    fn transaction(&mut self, transaction: &TransactionStmt) {
        let name = || transaction.savepoint_name.clone();
        let effect = match TransactionStmtKind::try_from(transaction.kind) {
            Ok(TransactionStmtKind::TransStmtBegin | TransactionStmtKind::TransStmtStart) => {
                NamingEffect::Begin
            }
            // What is prepared takes its tables along; temporary ones cannot be prepared.
            Ok(TransactionStmtKind::TransStmtCommit | TransactionStmtKind::TransStmtPrepare) => {
                NamingEffect::Commit
            }
            Ok(TransactionStmtKind::TransStmtRollback) => NamingEffect::Rollback,
            Ok(TransactionStmtKind::TransStmtSavepoint) => NamingEffect::Savepoint(name()),
            Ok(TransactionStmtKind::TransStmtRelease) => NamingEffect::Release(name()),
            Ok(TransactionStmtKind::TransStmtRollbackTo) => NamingEffect::RollbackTo(name()),
            _ => return,
        };
        self.effects.push(effect);
        if transaction.chain {
            self.effects.push(NamingEffect::Begin);
        }
    }

    fn create(&mut self, create: &CreateStmt) {
        let until_commit = create.oncommit == OnCommitAction::OncommitDrop as i32;
        self.made(create.relation.as_ref(), until_commit);
    }

    fn into(&mut self, into: Option<&IntoClause>) {
        if let Some(into) = into {
            let until_commit = into.on_commit == OnCommitAction::OncommitDrop as i32;
            self.made(into.rel.as_ref(), until_commit);
        }
    }

    fn made(&mut self, relation: Option<&RangeVar>, until_commit: bool) {
        if let Some(relation) = relation
            && (relation.relpersistence == "t" || relation.schemaname == "pg_temp")
        {
            self.effects.push(NamingEffect::Created {
                name: relation.relname.clone(),
                until_commit,
            });
        }
    }

    fn dropped(&mut self, drop: &DropStmt) {
        if !is_relation(drop.remove_type) {
            return;
        }
        for object in &drop.objects {
            let Some(NodeEnum::List(list)) = &object.node else {
                continue;
            };
            let parts: Vec<_> = list.items.iter().filter_map(text_of).collect();
            match parts.as_slice() {
                [name] | ["pg_temp", name] => self.effects.push(NamingEffect::Dropped {
                    name: (*name).to_owned(),
                }),
                _ => {}
            }
        }
    }

    fn select_statement(&mut self, select: &SelectStmt) {
        self.into(select.into_clause.as_deref());
        // `hand` would come back here.
        for child in [select.larg.as_deref(), select.rarg.as_deref()]
            .into_iter()
            .flatten()
        {
            self.select_statement(child);
        }
        select.target_list.hand(self);
        select.from_clause.hand(self);
        select.where_clause.hand(self);
        select.group_clause.hand(self);
        select.having_clause.hand(self);
        select.window_clause.hand(self);
        select.values_lists.hand(self);
        select.sort_clause.hand(self);
        select.distinct_clause.hand(self);
        select.limit_offset.hand(self);
        select.limit_count.hand(self);
        select.with_clause.hand(self);
    }

    /// `set_config('search_path', …)`, wherever it is called.
    fn call(&mut self, call: &FuncCall) {
        if call.funcname.last().and_then(text_of) != Some("set_config") {
            return;
        }
        let mut args = call.args.iter();
        let name = args.next().and_then(constant_text);
        if name.as_deref().is_some_and(|name| {
            !matches!(
                name.to_ascii_lowercase().as_str(),
                "search_path" | "role" | "session_authorization"
            )
        }) {
            return;
        }
        let value = args.next().and_then(constant_text);
        let local = args.next().and_then(constant_bool);
        let schemas = value.as_deref().and_then(path_of);
        self.effects.push(match (name, schemas, local) {
            (Some(name), Some(schemas), Some(local))
                if name.eq_ignore_ascii_case("search_path") =>
            {
                NamingEffect::Path { schemas, local }
            }
            _ => NamingEffect::UnknownPath,
        });
    }
}

impl<'a> Visitor<'a> for Search {
    fn node(&mut self, node: &'a NodeEnum) {
        if let NodeEnum::FuncCall(call) = node {
            self.call(call);
        }
        each_child(node, self);
    }

    fn relation(&mut self, _: &'a RangeVar) {}

    fn select(&mut self, select: &'a SelectStmt) {
        self.select_statement(select);
    }
}

fn is_relation(kind: i32) -> bool {
    matches!(
        ObjectType::try_from(kind),
        Ok(ObjectType::ObjectTable
            | ObjectType::ObjectView
            | ObjectType::ObjectMatview
            | ObjectType::ObjectSequence
            | ObjectType::ObjectForeignTable)
    )
}

/// The text of a string constant, casts around it aside.
pub(super) fn constant_text(node: &Node) -> Option<String> {
    match &node.node {
        Some(NodeEnum::AConst(constant)) => match &constant.val {
            Some(a_const::Val::Sval(text)) => Some(text.sval.clone()),
            _ => None,
        },
        Some(NodeEnum::TypeCast(cast)) => cast.arg.as_deref().and_then(constant_text),
        _ => None,
    }
}

fn constant_bool(node: &Node) -> Option<bool> {
    match &node.node {
        Some(NodeEnum::AConst(constant)) => match &constant.val {
            Some(a_const::Val::Boolval(value)) => Some(value.boolval),
            Some(a_const::Val::Sval(text)) => match text.sval.to_ascii_lowercase().as_str() {
                "t" | "true" | "on" | "yes" | "1" => Some(true),
                "f" | "false" | "off" | "no" | "0" => Some(false),
                _ => None,
            },
            _ => None,
        },
        Some(NodeEnum::TypeCast(cast)) => cast.arg.as_deref().and_then(constant_bool),
        _ => None,
    }
}

/// The schemas of a search path as settings write it: names between commas, in double quotes or folded to lower case.
#[must_use]
pub fn path_of(text: &str) -> Option<Vec<String>> {
    let mut schemas = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (name, after) = if let Some(quoted) = rest.strip_prefix('"') {
            let mut name = String::new();
            let mut letters = quoted.char_indices().peekable();
            let mut end = None;
            while let Some((at, letter)) = letters.next() {
                if letter != '"' {
                    name.push(letter);
                } else if letters.next_if(|(_, next)| *next == '"').is_some() {
                    name.push('"');
                } else {
                    end = Some(at + 1);
                    break;
                }
            }
            (name, quoted.get(end?..)?)
        } else {
            let end = rest.find(',').unwrap_or(rest.len());
            let (name, after) = rest.split_at(end);
            let name = name.trim();
            if name.is_empty()
                || name.contains(|letter: char| letter == '"' || letter.is_whitespace())
            {
                return None;
            }
            (name.to_lowercase(), after)
        };
        if !name.is_empty() {
            schemas.push(name);
        }
        rest = after.trim_start();
        if !rest.is_empty() {
            rest = rest.strip_prefix(',')?.trim_start();
            if rest.is_empty() {
                return None;
            }
        }
    }
    Some(schemas)
}

/// Keeps account of a session's names.
///
/// The owner applies the effects of each statement that has succeeded, and says when the server's transaction status
/// tells more than the statements did.
#[derive(Debug, Clone)]
pub struct Tracker {
    user: String,
    initial: Names,
    now: Names,
    /// What `SET LOCAL` hides until the transaction ends.
    lasting: Option<(Vec<String>, bool)>,
    /// The state that `ROLLBACK` brings back.
    before: Option<Box<Tracker>>,
    savepoints: Vec<(String, Box<Tracker>)>,
    until_commit: BTreeSet<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Names {
    path: Vec<String>,
    certain: bool,
    temporary: BTreeSet<String>,
}

impl Tracker {
    /// A session that begins with this search path, `"$user"` as it is written; `certain` when that is known.
    #[must_use]
    pub fn new(user: &str, path: Vec<String>, certain: bool) -> Self {
        let names = Names {
            path,
            certain,
            temporary: BTreeSet::new(),
        };
        Self {
            user: user.to_owned(),
            initial: names.clone(),
            now: names,
            lasting: None,
            before: None,
            savepoints: Vec::new(),
            until_commit: BTreeSet::new(),
        }
    }

    /// How names are read now.
    #[must_use]
    pub fn naming(&self) -> Naming {
        Naming {
            search_path: self
                .now
                .path
                .iter()
                .map(|schema| match schema.as_str() {
                    "$user" => self.user.clone(),
                    _ => schema.clone(),
                })
                .collect(),
            certain: self.now.certain,
            temporary: self.now.temporary.clone(),
        }
    }

    /// Takes in what a statement did.
    pub fn apply(&mut self, effect: &NamingEffect) {
        match effect {
            NamingEffect::Path {
                schemas,
                local: false,
            } => self.path(schemas.clone(), true),
            NamingEffect::Path {
                schemas,
                local: true,
            } => {
                // Outside a transaction it is over before the next statement.
                if self.before.is_some() {
                    let lasting = (self.now.path.clone(), self.now.certain);
                    self.lasting.get_or_insert(lasting);
                    self.now.path.clone_from(schemas);
                    self.now.certain = true;
                }
            }
            NamingEffect::ResetPath => {
                self.path(self.initial.path.clone(), self.initial.certain);
            }
            NamingEffect::UnknownPath => {
                self.now.certain = false;
                self.lasting = None;
            }
            NamingEffect::Created { name, until_commit } => {
                if *until_commit {
                    // Outside a transaction it is gone at once.
                    if self.before.is_none() {
                        return;
                    }
                    self.until_commit.insert(name.clone());
                }
                self.now.temporary.insert(name.clone());
            }
            NamingEffect::Dropped { name } => {
                self.now.temporary.remove(name);
            }
            NamingEffect::Renamed { from, to } => {
                if self.now.temporary.remove(from) {
                    self.now.temporary.insert(to.clone());
                }
            }
            NamingEffect::DiscardedTemporary => self.now.temporary.clear(),
            NamingEffect::Begin => self.begin(),
            NamingEffect::Commit => self.end(true),
            NamingEffect::Rollback => self.end(false),
            NamingEffect::Savepoint(name) => {
                let state = Box::new(Self {
                    before: None,
                    savepoints: Vec::new(),
                    ..self.clone()
                });
                self.savepoints.push((name.clone(), state));
            }
            NamingEffect::Release(name) => {
                if let Some(at) = self.savepoint(name) {
                    self.savepoints.truncate(at);
                }
            }
            NamingEffect::RollbackTo(name) => {
                if let Some(at) = self.savepoint(name) {
                    self.savepoints.truncate(at + 1);
                    if let Some((_, state)) = self.savepoints.last() {
                        let state = state.clone();
                        self.now = state.now;
                        self.lasting = state.lasting;
                        self.until_commit = state.until_commit;
                    }
                }
            }
        }
    }

    /// Whether the tracker thinks that a transaction is open.
    #[must_use]
    pub fn in_transaction(&self) -> bool {
        self.before.is_some()
    }

    /// A transaction block has begun; nothing happens where one is open.
    pub fn begin(&mut self) {
        if self.before.is_none() {
            self.before = Some(Box::new(self.clone()));
        }
    }

    /// The transaction has ended; nothing happens where none is open.
    pub fn end(&mut self, committed: bool) {
        let Some(before) = self.before.take() else {
            return;
        };
        if committed {
            if let Some((path, certain)) = self.lasting.take() {
                self.now.path = path;
                self.now.certain = certain;
            }
            for name in std::mem::take(&mut self.until_commit) {
                self.now.temporary.remove(&name);
            }
        } else {
            self.now = before.now;
            self.lasting = None;
            self.until_commit.clear();
        }
        self.savepoints.clear();
    }

    fn path(&mut self, schemas: Vec<String>, certain: bool) {
        self.now.path = schemas;
        self.now.certain = certain;
        self.lasting = None;
    }

    fn savepoint(&self, name: &str) -> Option<usize> {
        self.savepoints
            .iter()
            .rposition(|(savepoint, _)| savepoint == name)
    }
}

/// How names are read after some statements of the same text, without what only the session's history tells.
pub(super) fn after(naming: &Naming, effects: &[NamingEffect]) -> Naming {
    let mut naming = naming.clone();
    for effect in effects {
        match effect {
            NamingEffect::Path { schemas, .. } => {
                let own = schemas.iter().any(|schema| schema == "$user");
                naming.search_path.clone_from(schemas);
                naming.certain = !own;
            }
            NamingEffect::Created { name, .. } => {
                naming.temporary.insert(name.clone());
            }
            NamingEffect::Dropped { name } => {
                naming.temporary.remove(name);
            }
            NamingEffect::Renamed { from, to } => {
                if naming.temporary.remove(from) {
                    naming.temporary.insert(to.clone());
                }
            }
            NamingEffect::DiscardedTemporary => naming.temporary.clear(),
            NamingEffect::ResetPath
            | NamingEffect::UnknownPath
            | NamingEffect::Rollback
            | NamingEffect::RollbackTo(_) => naming.certain = false,
            // What was `SET LOCAL` ends; whether it was is not told here.
            NamingEffect::Commit => {
                naming.certain &= effects
                    .iter()
                    .all(|effect| !matches!(effect, NamingEffect::Path { local: true, .. }))
            }
            NamingEffect::Begin | NamingEffect::Savepoint(_) | NamingEffect::Release(_) => {}
        }
    }
    naming
}
