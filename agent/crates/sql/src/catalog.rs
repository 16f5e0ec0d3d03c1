//! What a database holds, as of one epoch: the names that statements are resolved by.
//!
//! Pure: rows of the server's catalog come in as text, an immutable [`Catalog`] comes out. Who reads them, and when they
//! are read again, is the agent's to say.

mod builder;
mod lineage;
mod queries;
mod resolve;
mod tables;

pub use builder::{Builder, CatalogError};
pub use queries::{FINGERPRINT, QUERIES};
pub use resolve::Resolved;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::postgres::Movers;

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

impl fmt::Display for ColumnName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.schema, self.relation, self.column)
    }
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
    /// Casts that somebody made.
    pub casts: Vec<Cast>,
    /// The types of pgvector, where it is installed.
    pub vector_types: HashSet<u32>,
    /// Direct children by parent: inheritance and partitioning.
    pub children: HashMap<u32, Vec<u32>>,
    /// `search_path` as set for roles and databases: role (empty for all) to its text.
    pub search_paths: HashMap<String, String>,
    /// Direct references of foreign keys: the relation referred to, to those that refer to it.
    pub referred: HashMap<u32, Vec<u32>>,
    /// Functions that change how a session's names are read.
    pub(crate) movers: Movers,
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
    /// A view's: columns of tables that decide which rows it has, how they are grouped or in which order they come.
    pub row_bases: Vec<ColumnName>,
    /// A view's: the relations that its query reads, other views as they are.
    pub reads: Vec<u32>,
    /// Relations that rules on it read or write when its rows are written.
    pub rules_read: Vec<u32>,
    /// Functions made by users that rules on it and defaults of its columns call when its rows are written.
    pub writing_runs: Vec<u32>,
    /// Whether the server brought it along: `pg_catalog`, `information_schema`. Its columns are not listed then.
    pub system: bool,
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
    /// Of which tables' columns, through any number of views, the values are made; empty for a table's own column. A child's
    /// or a partition's column has its parent's here.
    pub bases: Vec<ColumnName>,
    /// Whether the values are those of one table's column as they are: that of the first of `bases`, or its own. The rest of
    /// `bases` are then that column's in the table's parents.
    pub exact: bool,
    /// Of a generated column, the numbers of the columns it is computed from.
    pub generated_from: Option<Vec<i16>>,
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
    /// Its source, where that is text; of a body that the server keeps parsed (`BEGIN ATOMIC`), the whole `CREATE FUNCTION`.
    pub body: Option<String>,
    /// `prokind`: `f` function, `p` procedure, `a` aggregate, `w` window function.
    pub kind: char,
    /// `provolatile`: `i` immutable, `s` stable, `v` volatile.
    pub volatility: char,
    /// Whether it runs with the rights of its owner.
    pub security_definer: bool,
    /// What an aggregate calls: numbers of functions, the server's own among them.
    pub calls: Vec<u32>,
    /// The extension that brought it.
    pub extension: Option<String>,
    /// The relation, or composite type, whose rows it returns.
    pub returns: Option<u32>,
    /// Whether triggers call it.
    pub is_trigger: bool,
    /// Names of the settings that hold while it runs.
    pub settings: Vec<String>,
}

/// A cast somebody made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cast {
    /// The type cast from.
    pub source: u32,
    /// The type cast to.
    pub target: u32,
    /// The function called; `None` when the bytes stay or pass through text.
    pub function: Option<u32>,
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
    /// It may have made others before anybody looked: a name without a schema could mean one of them.
    pub veiled: bool,
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

    /// Adds a relation that is not there yet, without working out lineage.
    pub(crate) fn insert(&mut self, relation: Relation) {
        let oids = self.by_name.entry(relation.name.clone()).or_default();
        if !oids.contains(&relation.oid) {
            oids.push(relation.oid);
        }
        self.relations.insert(relation.oid, relation);
    }

    /// All relations below `oid`, the nearest first.
    pub(crate) fn descendants(&self, oid: u32) -> Vec<u32> {
        let mut found = Vec::new();
        let mut next = vec![oid];
        while let Some(parent) = next.pop() {
            for &child in self.children.get(&parent).into_iter().flatten() {
                if child != oid && !found.contains(&child) {
                    found.push(child);
                    next.push(child);
                }
            }
        }
        found
    }
}

impl Relation {
    /// The live column of that name.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// The full name of its column.
    #[must_use]
    pub fn column_name(&self, column: &Column) -> ColumnName {
        ColumnName {
            schema: self.schema.clone(),
            relation: self.name.clone(),
            column: column.name.clone(),
        }
    }
}
