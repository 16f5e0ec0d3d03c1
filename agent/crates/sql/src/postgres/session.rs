//! What a text does to how later texts' names are read: `search_path`, temporary relations, transactions.
//!
//! [`steps`] reads one text, a [`Tracker`] adds them up for a session. What cannot be followed leaves the naming
//! uncertain, never wrong in silence.

mod tracker;

use pg_query::NodeEnum;
use pg_query::protobuf::{
    DiscardMode, DropStmt, FuncCall, IntoClause, Node, ObjectType, OnCommitAction, RangeVar,
    SelectStmt, TransactionStmt, TransactionStmtKind, VariableSetKind, VariableSetStmt, a_const,
};

use super::children::{Field as _, Visitor, each_child};
use super::walk::text_of;
use super::{lexer, nesting, parse, readable};
use crate::catalog::Naming;
use crate::facts::SessionModes;

pub use tracker::Tracker;

/// One thing a text does to the session's naming, in the order of the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// `SET search_path`.
    SearchPath {
        /// As written, `$user` not filled in; `None` is the session's default.
        path: Option<Vec<String>>,
        /// Until the transaction ends.
        local: bool,
    },
    /// A temporary relation is made.
    Make {
        /// Its name.
        name: String,
        /// It goes when the transaction commits.
        until_commit: bool,
    },
    /// A relation is dropped that may be a temporary one.
    Drop(String),
    /// All temporary relations go.
    DropTemporary,
    /// A transaction begins.
    Begin,
    /// It is to be committed; with `AND CHAIN` the next begins.
    Commit {
        /// Whether another begins.
        chain: bool,
    },
    /// It is rolled back.
    Rollback {
        /// Whether another begins.
        chain: bool,
    },
    /// A savepoint is set.
    Savepoint(String),
    /// A savepoint is forgotten.
    Release(String),
    /// Back to a savepoint.
    RollbackTo(String),
    /// How names are read cannot be followed any more.
    LoseTrack,
}

/// What a text does to how names are read, in order; empty for almost every text.
#[must_use]
pub fn steps(text: &[u8], modes: SessionModes) -> Vec<Step> {
    let Ok(text) = readable(text, modes) else {
        return vec![Step::LoseTrack];
    };
    let tokens = lexer::tokens(text, modes.backslash_in_strings);
    let depth = nesting::bound(text, &tokens);
    parse::with_tree(text, modes, depth, |statements| {
        let mut reader = Reader::default();
        for node in statements.iter().filter_map(|raw| raw.stmt.as_deref()) {
            if let Some(node) = &node.node {
                reader.statement(node);
            }
        }
        reader.steps
    })
    // What the grammar refuses does not run.
    .unwrap_or_default()
}

/// What one statement of a text does.
pub(super) fn of_statement(node: &NodeEnum) -> Vec<Step> {
    let mut reader = Reader::default();
    reader.statement(node);
    reader.steps
}

/// How names are read after statements of the same text, without what only the session's history tells.
pub(super) fn after(naming: &Naming, steps: &[Step]) -> Naming {
    let mut naming = naming.clone();
    for step in steps {
        match step {
            Step::SearchPath {
                path: Some(path), ..
            } => {
                naming.search_path.clone_from(path);
                naming.certain = path.iter().all(|name| name != "$user");
            }
            Step::Make { name, .. } => {
                naming.temporary.insert(name.clone());
            }
            Step::Drop(name) => {
                naming.temporary.remove(name);
            }
            Step::DropTemporary => naming.temporary.clear(),
            Step::Begin | Step::Savepoint(_) | Step::Release(_) => {}
            Step::SearchPath { path: None, .. }
            | Step::Commit { .. }
            | Step::Rollback { .. }
            | Step::RollbackTo(_)
            | Step::LoseTrack => naming.certain = false,
        }
    }
    naming
}

#[derive(Default)]
struct Reader {
    steps: Vec<Step>,
}

impl Reader {
    fn statement(&mut self, node: &NodeEnum) {
        match node {
            NodeEnum::VariableSetStmt(set) => self.set(set),
            NodeEnum::TransactionStmt(transaction) => self.transaction(transaction),
            NodeEnum::DiscardStmt(discard) => match DiscardMode::try_from(discard.target) {
                Ok(DiscardMode::DiscardAll) => {
                    self.steps.push(Step::DropTemporary);
                    self.path(None, false);
                }
                Ok(DiscardMode::DiscardTemp) => self.steps.push(Step::DropTemporary),
                _ => {}
            },
            NodeEnum::DoStmt(_) | NodeEnum::CallStmt(_) => self.steps.push(Step::LoseTrack),
            NodeEnum::CreateStmt(create) => {
                self.makes(create.relation.as_ref(), create.oncommit);
            }
            NodeEnum::CreateTableAsStmt(create) => self.into(create.into.as_deref()),
            NodeEnum::ViewStmt(view) => self.makes(view.view.as_ref(), 0),
            NodeEnum::CreateSeqStmt(sequence) => self.makes(sequence.sequence.as_ref(), 0),
            NodeEnum::DropStmt(drop) => self.drops(drop),
            NodeEnum::RenameStmt(rename) => {
                let old = rename.relation.as_ref();
                if rename.subname.is_empty() && old.is_some_and(may_be_temporary) {
                    // Whether the renamed one was temporary is not in the text.
                    self.steps.push(Step::LoseTrack);
                }
            }
            NodeEnum::ExplainStmt(explain) => {
                if let Some(inner) = explain.query.as_ref().and_then(|query| query.node.as_ref()) {
                    self.statement(inner);
                }
            }
            NodeEnum::SelectStmt(select) => self.query(select),
            other => each_child(other, &mut Calls(self)),
        }
    }

    fn query(&mut self, select: &SelectStmt) {
        self.into(select.into_clause.as_deref());
        let plain = select.from_clause.is_empty() && select.where_clause.is_none();
        for target in &select.target_list {
            let call = match &target.node {
                Some(NodeEnum::ResTarget(target)) => target.val.as_deref(),
                _ => None,
            };
            // Alone in a list without FROM it runs exactly once.
            match call.and_then(|node| node.node.as_ref()) {
                Some(NodeEnum::FuncCall(call)) if plain => self.call(call),
                _ => target.hand(&mut Calls(self)),
            }
        }
        let mut calls = Calls(self);
        select.from_clause.hand(&mut calls);
        select.where_clause.hand(&mut calls);
        select.with_clause.hand(&mut calls);
        select.having_clause.hand(&mut calls);
        select.sort_clause.hand(&mut calls);
        select.limit_count.hand(&mut calls);
        select.limit_offset.hand(&mut calls);
        select.values_lists.hand(&mut calls);
        for arm in [&select.larg, &select.rarg].into_iter().flatten() {
            self.query(arm);
        }
    }

    /// A call that runs exactly once.
    fn call(&mut self, call: &FuncCall) {
        if !is_set_config(call) {
            call.args.hand(&mut Calls(self));
            return;
        }
        let mut texts = call.args.iter().map(constant_text);
        match (texts.next().flatten(), texts.next().flatten()) {
            (Some(name), Some(value)) if name.eq_ignore_ascii_case("search_path") => {
                // The third argument: without a constant it could be either.
                match call.args.get(2).and_then(boolean) {
                    Some(local) => self.path(identifiers(&value), local),
                    None => self.steps.push(Step::LoseTrack),
                }
            }
            (Some(name), _) if !moves_names(&name) => {}
            _ => self.steps.push(Step::LoseTrack),
        }
    }

    fn set(&mut self, set: &VariableSetStmt) {
        let kind = VariableSetKind::try_from(set.kind).unwrap_or_default();
        if kind == VariableSetKind::VarResetAll {
            return self.path(None, false);
        }
        if !moves_names(&set.name) {
            return;
        }
        if !set.name.eq_ignore_ascii_case("search_path") {
            // Another role is another `$user`.
            return self.steps.push(Step::LoseTrack);
        }
        match kind {
            VariableSetKind::VarSetValue => {
                let path: Option<Vec<String>> = set.args.iter().map(constant_text).collect();
                match path {
                    Some(path) => self.path(Some(path), set.is_local),
                    None => self.steps.push(Step::LoseTrack),
                }
            }
            VariableSetKind::VarSetDefault | VariableSetKind::VarReset => {
                self.path(None, set.is_local);
            }
            _ => self.steps.push(Step::LoseTrack),
        }
    }

    fn path(&mut self, path: Option<Vec<String>>, local: bool) {
        self.steps.push(Step::SearchPath { path, local });
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
}

/// Looks for calls that could change how names are read, where it is not known whether and how often they run.
struct Calls<'r>(&'r mut Reader);

impl<'a> Visitor<'a> for Calls<'_> {
    fn node(&mut self, node: &'a NodeEnum) {
        if let NodeEnum::FuncCall(call) = node
            && is_set_config(call)
            && call
                .args
                .first()
                .and_then(constant_text)
                .is_none_or(|name| moves_names(&name))
        {
            self.0.steps.push(Step::LoseTrack);
        }
        each_child(node, self);
    }

    fn relation(&mut self, _: &'a RangeVar) {}

    fn select(&mut self, select: &'a SelectStmt) {
        select.target_list.hand(self);
        select.from_clause.hand(self);
        select.where_clause.hand(self);
        select.with_clause.hand(self);
        select.having_clause.hand(self);
        select.values_lists.hand(self);
        for arm in [&select.larg, &select.rarg].into_iter().flatten() {
            self.select(arm);
        }
    }
}

/// Whether a setting decides which relation a name means.
fn moves_names(setting: &str) -> bool {
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

/// A constant's text, casts of it included.
pub(super) fn constant_text(node: &Node) -> Option<String> {
    match node.node.as_ref()? {
        NodeEnum::AConst(constant) => match constant.val.as_ref()? {
            a_const::Val::Sval(text) => Some(text.sval.clone()),
            _ => None,
        },
        NodeEnum::TypeCast(cast) => constant_text(cast.arg.as_deref()?),
        _ => None,
    }
}

fn boolean(node: &Node) -> Option<bool> {
    match node.node.as_ref()? {
        NodeEnum::AConst(constant) => match constant.val.as_ref()? {
            a_const::Val::Boolval(value) => Some(value.boolval),
            _ => None,
        },
        NodeEnum::TypeCast(cast) => {
            let arg = cast.arg.as_deref()?;
            boolean(arg).or_else(|| match constant_text(arg)?.as_str() {
                "t" | "true" => Some(true),
                "f" | "false" => Some(false),
                _ => None,
            })
        }
        _ => None,
    }
}

/// A setting's text as the list of names that it is; `None` when it is none.
#[must_use]
pub fn identifiers(text: &str) -> Option<Vec<String>> {
    let mut names = Vec::new();
    let mut rest = text.trim();
    if rest.is_empty() {
        return Some(names);
    }
    loop {
        let (name, after) = identifier(rest)?;
        names.push(name);
        rest = after.trim_start();
        match rest.strip_prefix(',') {
            Some(more) => rest = more.trim_start(),
            None => return rest.is_empty().then_some(names),
        }
    }
}

fn identifier(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text
            .find(|letter: char| letter == ',' || letter.is_whitespace())
            .unwrap_or(text.len());
        let (name, rest) = text.split_at_checked(end)?;
        return (!name.is_empty()).then(|| (name.to_ascii_lowercase(), rest));
    };
    let mut name = String::new();
    let mut letters = quoted.char_indices().peekable();
    while let Some((at, letter)) = letters.next() {
        if letter != '"' {
            name.push(letter);
        } else if letters.next_if(|(_, next)| *next == '"').is_some() {
            name.push('"');
        } else {
            return quoted.get(at + 1..).map(|rest| (name, rest));
        }
    }
    None
}

const TEMPORARY_SCHEMA: &str = "pg_temp";

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Vec<Step> {
        steps(text.as_bytes(), SessionModes::default())
    }

    fn path(names: &[&str], local: bool) -> Step {
        Step::SearchPath {
            path: Some(names.iter().map(|&name| name.to_owned()).collect()),
            local,
        }
    }

    #[test]
    fn a_search_path_is_read_however_it_is_set() {
        assert_eq!(
            of("SET search_path = app, public"),
            [path(&["app", "public"], false)]
        );
        assert_eq!(
            of("SET LOCAL search_path TO \"App\""),
            [path(&["App"], true)]
        );
        assert_eq!(of("SET SCHEMA 'app'"), [path(&["app"], false)]);
        assert_eq!(
            of("SET search_path = 'app, public'"),
            [path(&["app, public"], false)],
            "one quoted name"
        );
        assert_eq!(
            of("SELECT pg_catalog.set_config('search_path', 'App, \"B b\"', false)"),
            [path(&["app", "B b"], false)]
        );
        assert_eq!(
            of("SELECT set_config('search_path', '', true)"),
            [path(&[], true)]
        );
        let default = Step::SearchPath {
            path: None,
            local: false,
        };
        for text in [
            "RESET search_path",
            "SET search_path TO DEFAULT",
            "RESET ALL",
        ] {
            assert_eq!(of(text), std::slice::from_ref(&default), "{text}");
        }
        assert_eq!(of("DISCARD ALL"), [Step::DropTemporary, default]);
    }

    #[test]
    fn what_cannot_be_followed_is_said() {
        for text in [
            "DO $$begin end$$",
            "CALL p()",
            "SET ROLE bob",
            "SELECT set_config('search_path', x, false) FROM t",
            "SELECT set_config(n, 'x', false)",
            "SELECT CASE WHEN a THEN set_config('search_path', 'x', false) END FROM t",
            "SELECT 1 WHERE set_config('search_path', 'x', false) = 'x'",
            "INSERT INTO t SELECT set_config('role', 'x', false)",
        ] {
            assert!(
                of(text).contains(&Step::LoseTrack),
                "{text}: {:?}",
                of(text)
            );
        }
    }

    #[test]
    fn ordinary_texts_do_nothing() {
        for text in [
            "SELECT 1",
            "SELECT set_config('TimeZone', 'UTC', false)",
            "SET TimeZone = 'UTC'",
            "INSERT INTO t VALUES (1)",
            "CREATE TABLE t (a int)",
            "DROP INDEX i",
            "broken broken",
        ] {
            assert_eq!(of(text), [], "{text}");
        }
    }

    #[test]
    fn temporary_relations_come_and_go() {
        let make = |name: &str, until_commit| Step::Make {
            name: name.to_owned(),
            until_commit,
        };
        assert_eq!(of("CREATE TEMP TABLE a (x int)"), [make("a", false)]);
        assert_eq!(of("CREATE TABLE pg_temp.a (x int)"), [make("a", false)]);
        assert_eq!(
            of("CREATE TEMP TABLE a ON COMMIT DROP AS SELECT 1"),
            [make("a", true)]
        );
        assert_eq!(of("SELECT 1 INTO TEMP a"), [make("a", false)]);
        assert_eq!(of("CREATE TEMP VIEW v AS SELECT 1"), [make("v", false)]);
        assert_eq!(
            of("DROP TABLE a, app.b, pg_temp.c"),
            [Step::Drop("a".to_owned()), Step::Drop("c".to_owned())]
        );
        assert_eq!(
            of("EXPLAIN ANALYZE CREATE TEMP TABLE a AS SELECT 1"),
            [make("a", false)]
        );
    }

    #[test]
    fn a_setting_is_a_list_of_identifiers() {
        let list = |text| identifiers(text).map(|names| names.join("|"));
        assert_eq!(list("\"$user\", Public").as_deref(), Some("$user|public"));
        assert_eq!(list("").as_deref(), Some(""));
        assert_eq!(list("\"a\"\"b\"").as_deref(), Some("a\"b"));
        assert_eq!(list("a b"), None);
        assert_eq!(list("\"a"), None);
        assert_eq!(list("a,,b"), None);
    }
}
