//! What a database holds, as of one epoch: the names that statements are resolved by.
//!
//! Pure: rows of the server's catalog come in as text, an immutable [`Catalog`] comes out. Who reads them, and when they
//! are read again, is the agent's to say.

use std::collections::{BTreeSet, HashMap};

use serde::{Deserialize, Serialize};

/// A column by name: the key of classes, masks and records.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ColumnName {
    /// The schema; empty when unknown.
    pub schema: String,
    /// The relation.
    pub relation: String,
    /// The column.
    pub column: String,
}

/// All that rewriting and lineage need to know of one database.
#[derive(Debug, Default)]
pub struct Catalog {
    /// `150018` for 15.18.
    pub server_version: u32,
    /// By OID.
    pub relations: HashMap<u32, Relation>,
    /// OIDs by relation name, all schemas.
    pub by_name: HashMap<String, Vec<u32>>,
    /// Functions, procedures and aggregates that somebody made, by name, all schemas; the server's own are not here.
    pub functions: HashMap<String, Vec<Function>>,
    /// Operators that somebody made: name to the OIDs of what they call.
    pub operators: HashMap<String, Vec<u32>>,
    /// `search_path` as set for roles and databases: role (empty for all) to its text.
    pub search_paths: HashMap<String, String>,
}

/// A table, view, or what else holds rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relation {
    /// Its number; a recreated relation has another.
    pub oid: u32,
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: RelationKind,
    /// Live columns in order.
    pub columns: Vec<Column>,
    /// Direct parents: inheritance and partitioning.
    pub parents: Vec<u32>,
    /// Columns of the primary key, by number.
    pub primary_key: Vec<i16>,
    /// A view's query, every name qualified.
    pub definition: Option<String>,
}

/// What holds the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RelationKind {
    /// An ordinary or partitioned table.
    Table,
    /// A view.
    View,
    /// A materialised view.
    MaterialisedView,
    /// A foreign table.
    Foreign,
    /// A sequence.
    Sequence,
}

/// One column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// `attnum`.
    pub number: i16,
    /// Its name.
    pub name: String,
    /// Its type's number; a domain's own.
    pub type_oid: u32,
    /// The type with its modifier, qualified where it is not the server's own: ready for a cast.
    pub type_sql: String,
    /// The number of the type below all domains.
    pub base_type: u32,
    /// `typcategory` of the base type: `S` string, `N` number, `A` array, `E` enum, `R` range, …
    pub category: char,
    /// Of which columns, directly or through views, the values are made; empty for a table's own column.
    pub bases: Vec<ColumnName>,
}

/// A function somebody made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Function {
    /// Its number.
    pub oid: u32,
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// `sql`, `plpgsql`, `c`, …
    pub language: String,
    /// Its source, where that is text.
    pub body: Option<String>,
}

/// How a session's unqualified names are read.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Naming {
    /// Schemas in the order they are searched, `$user` filled in.
    pub search_path: Vec<String>,
    /// Whether that is known for sure.
    pub certain: bool,
    /// Temporary relations that the session has made.
    pub temporary: BTreeSet<String>,
}

impl Catalog {
    /// The relation of that name in that schema.
    #[must_use]
    pub fn relation(&self, schema: &str, name: &str) -> Option<&Relation> {
        self.named(name).find(|relation| relation.schema == schema)
    }

    /// All relations of that name.
    pub fn named(&self, name: &str) -> impl Iterator<Item = &Relation> {
        self.by_name
            .get(name)
            .into_iter()
            .flatten()
            .filter_map(|oid| self.relations.get(oid))
    }
}
