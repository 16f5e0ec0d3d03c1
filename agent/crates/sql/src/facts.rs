//! What a request does, in words that policy and audit share.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use crate::catalog::ColumnName;

/// What a statement is, as policies name it.
///
/// `Ddl` never appears in [`Facts`]: it stands for any of create, alter, drop and truncate in a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Kind {
    /// `SELECT`, `TABLE`, `VALUES`, and a cursor's declaration.
    Select,
    /// `INSERT`.
    Insert,
    /// `UPDATE`.
    Update,
    /// `DELETE`.
    Delete,
    /// `MERGE`.
    Merge,
    /// In rules only: create, alter, drop or truncate.
    Ddl,
    /// Makes an object, `CREATE TABLE AS` and `SELECT INTO` included.
    Create,
    /// Changes an object: `ALTER`, `COMMENT`, `REINDEX`, `RENAME`, `CLUSTER`, `REFRESH`, ownership.
    Alter,
    /// `DROP` of any object, `DROP OWNED` included.
    Drop,
    /// `TRUNCATE`.
    Truncate,
    /// `GRANT`, `REVOKE`, `CREATE ROLE`, default privileges, role membership, security labels.
    Grant,
    /// `COPY … FROM`.
    CopyIn,
    /// `COPY … TO`.
    CopyOut,
    /// `CALL`.
    Call,
    /// `DO`.
    Do,
    /// `EXPLAIN` (the explained statement's kinds are listed too).
    Explain,
    /// `SET`, `RESET`, `DISCARD`, and `set_config`.
    Set,
    /// `BEGIN`, `COMMIT`, `ROLLBACK`, savepoints, two-phase commit.
    Transaction,
    /// The protocol's fast-path function call.
    FunctionCall,
    /// A replication session or command.
    Replication,
    /// Everything else that reads or writes no table: `SHOW`, `LISTEN`, `NOTIFY`, `VACUUM`, `FETCH`, …
    Utility,
    /// Nearest-neighbour search over vectors.
    VectorSearch,
    /// A write of vectors.
    EmbeddingWrite,
    /// Not understood.
    Unknown,
}

/// How sure the facts are; the order is from sure to not at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Confidence {
    /// Everything the statement names is listed.
    Exact,
    /// Something it names could mean more than what is listed.
    Tainted,
    /// It runs code that the text does not show (`DO`, `CALL`).
    Opaque,
    /// It could not be parsed.
    Unparsed,
}

/// A relation as the statement names it; the schema is absent where the text has none.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RelationName {
    /// The schema, where the text names one.
    pub schema: Option<String>,
    /// The relation, folded as the server folds it.
    pub name: String,
}

/// As the statement writes it.
impl fmt::Display for RelationName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.schema {
            Some(schema) => write!(f, "{schema}.{}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// What is done with a relation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Use {
    /// Rows are read.
    Read,
    /// Rows are written.
    Write,
    /// The object itself is made, changed or removed.
    Define,
}

/// One relation and what is done with it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RelationUse {
    /// Which.
    pub relation: RelationName,
    /// What for.
    pub usage: Use,
}

/// What a column is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ColumnUsage {
    /// Its values, or what is made of them, come back or are stored.
    Output,
    /// It decides which rows there are: `WHERE`, `HAVING`, `DISTINCT`, grouping, order, limits.
    Predicate,
    /// It joins two relations.
    Join,
    /// It is written.
    Write,
}

/// One column and what it is used for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ColumnUse {
    /// Which.
    pub column: ColumnName,
    /// The tables' columns it is made of, where it is a view's.
    #[serde(default)]
    pub bases: Vec<ColumnName>,
    /// What for.
    pub usage: ColumnUsage,
}

/// A column of a relation that the text reads, whether or not the text names it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reachable {
    /// Which.
    pub column: ColumnName,
    /// The tables' columns it is made of, where it is a view's; for a partition or a child also the parent's column.
    pub bases: Vec<ColumnName>,
}

/// What one request (a simple query with all its statements, or one `Parse`) does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// Sorted, without repetition.
    pub kinds: Vec<Kind>,
    /// Sorted, without repetition; CTE names are not relations.
    pub relations: Vec<RelationUse>,
    /// Functions called, `schema.name` where qualified; sorted, without repetition. A `COPY` of the
    /// server's files or programs adds the predefined role whose power it takes
    /// (`pg_read_server_files`, `pg_write_server_files`, `pg_execute_server_program`).
    pub functions: Vec<String>,
    /// How many statements the text holds.
    pub statement_count: usize,
    /// `Some(false)` when an `UPDATE` or `DELETE` anywhere in the text has no `WHERE`, or one that
    /// is true for every row (`WHERE 1=1`, `WHERE true`); `Some(true)` when each has a real one;
    /// `None` when there is no such statement.
    pub has_where: Option<bool>,
    /// The smallest constant `LIMIT` of a top-level `SELECT`; `None` when one of several has none.
    pub limit: Option<u64>,
    /// How sure all this is.
    pub confidence: Confidence,
    /// Why the text could not be parsed: the server's own words.
    pub parse_error: Option<String>,
    /// Whether the text changes what later texts mean: lexing modes, `search_path`, role.
    pub changes_session: bool,
    /// A hash of the text with literals removed: equal for equal shapes. Zero when unparsed.
    pub fingerprint: u64,
    /// The text with literals replaced; never a literal, also when unparsed.
    pub normalised: String,
    /// Claimed tags of a sqlcommenter comment (`/*application='x'*/`), never verified.
    pub claimed: Vec<(String, String)>,
    /// Whether names were looked up in a catalog: only then do `columns` and `reachable` list what they say.
    #[serde(default)]
    pub resolved: bool,
    /// Columns used, where the catalog is known; where a name could be several columns, all of them. Sorted, without
    /// repetition.
    #[serde(default)]
    pub columns: Vec<ColumnUse>,
    /// Every column of every relation read, where the catalog is known: what masks are decided over.
    #[serde(skip)]
    pub reachable: Vec<Reachable>,
    /// Whether every text of the same [`Shape`](crate::postgres::Shape) has the same facts.
    #[serde(default)]
    pub literal_free: bool,
}

impl Facts {
    /// The schemas of relations that the text names without one, by relation. Known from columns, so only where names were
    /// looked up in a catalog; what could be in several schemas is left out, and so are temporary ones.
    #[must_use]
    pub fn schemas(&self) -> BTreeMap<String, String> {
        let bare = self.relations.iter().map(|used| &used.relation);
        bare.filter(|relation| relation.schema.is_none())
            .filter_map(|relation| {
                let reached = self.reachable.iter().map(|reached| &reached.column);
                let used = self.columns.iter().map(|used| &used.column);
                let mut schemas = reached
                    .chain(used)
                    .filter(|column| column.relation == relation.name)
                    .map(|column| &column.schema);
                let schema = schemas.next()?;
                let is_clear =
                    !schema.starts_with("pg_temp") && schemas.all(|other| other == schema);
                is_clear.then(|| (relation.name.clone(), schema.clone()))
            })
            .collect()
    }

    /// Whether the statement itself uses a column.
    #[must_use]
    pub fn uses(&self, column: &ColumnName) -> bool {
        self.columns.iter().any(|used| used.column == *column)
    }
}

impl Default for Facts {
    /// The facts of a text without a statement.
    fn default() -> Self {
        Self {
            kinds: Vec::new(),
            relations: Vec::new(),
            functions: Vec::new(),
            statement_count: 0,
            has_where: None,
            limit: None,
            confidence: Confidence::Exact,
            parse_error: None,
            changes_session: false,
            fingerprint: 0,
            normalised: String::new(),
            claimed: Vec::new(),
            resolved: false,
            columns: Vec::new(),
            reachable: Vec::new(),
            literal_free: false,
        }
    }
}

/// The session's modes that change how a text is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct SessionModes {
    /// The session has `standard_conforming_strings = off`.
    pub backslash_in_strings: bool,
    /// The session's `client_encoding` is neither UTF-8 nor a superset of ASCII that is safe byte by byte.
    pub foreign_encoding: bool,
}
