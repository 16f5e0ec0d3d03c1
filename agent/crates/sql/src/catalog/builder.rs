//! Rows of the server's catalog, as text, to a [`Catalog`].

use std::collections::HashMap;

use super::queries::QUERIES;
use super::{Cast, Catalog, Column, Function, Relation, RelationKind};
use crate::postgres::Movers;

/// Why a row of the server's catalog cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CatalogError {
    /// No query of that name is asked.
    #[error("no catalog query is called {query}")]
    UnknownQuery {
        /// The name.
        query: String,
    },
    /// A cell is absent or NULL where it must not be.
    #[error("a row of the catalog query {query} has nothing in cell {cell}")]
    Missing {
        /// The query's name.
        query: &'static str,
        /// Which cell, counted from zero.
        cell: usize,
    },
    /// A cell is not what the query gives.
    #[error("a row of the catalog query {query} has {text:?} in cell {cell}")]
    Malformed {
        /// The query's name.
        query: &'static str,
        /// Which cell, counted from zero.
        cell: usize,
        /// What it holds.
        text: String,
    },
    /// A type that only the server could explain.
    #[error("the type {type_sql:?} of {column} is not known")]
    UnknownType {
        /// The column.
        column: String,
        /// The type as given.
        type_sql: String,
    },
    /// A relation's name without its schema, or twice the same.
    #[error("{name:?} must be the name of one relation, with its schema")]
    Name {
        /// The name as given.
        name: String,
    },
    /// A view whose query cannot be read.
    #[error("the query of the view {view} cannot be read: {reason}")]
    View {
        /// The view.
        view: String,
        /// The parser's words.
        reason: String,
    },
}

/// Collects the rows of [`QUERIES`], in any order.
#[derive(Debug, Default)]
pub struct Builder {
    catalog: Catalog,
    domains: HashMap<u32, Domain>,
    columns: Vec<(u32, Column)>,
    generated: Vec<(u32, i16, Vec<i16>)>,
    effects: Vec<(u32, char, u32)>,
    inherits: Vec<(u32, u32)>,
    keys: Vec<(u32, Vec<i16>)>,
    references: Vec<(u32, u32)>,
    views: Vec<(u32, String)>,
}

/// What is below a domain.
#[derive(Debug)]
struct Domain {
    base_type: u32,
    category: char,
}

impl Builder {
    /// A builder without rows.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes one row of the query called `query`.
    ///
    /// # Errors
    ///
    /// [`CatalogError`] when there is no such query, or the row is not one of its.
    pub fn row(&mut self, query: &str, cells: &[Option<&str>]) -> Result<(), CatalogError> {
        let Some(&(query, _)) = QUERIES.iter().find(|(name, _)| *name == query) else {
            return Err(CatalogError::UnknownQuery {
                query: query.to_owned(),
            });
        };
        let row = Row { query, cells };
        match query {
            "version" => self.catalog.server_version = row.number(0)?,
            "relations" => self.relation(row)?,
            "domains" => {
                let domain = Domain {
                    base_type: row.number(1)?,
                    category: row.letter(2)?,
                };
                self.domains.insert(row.number(0)?, domain);
            }
            "vectors" => {
                self.catalog.vector_types.insert(row.number(0)?);
            }
            "columns" => self.columns.push((row.number(0)?, column(row)?)),
            "generated" => {
                let of = (row.number(0)?, row.number(1)?, row.numbers(2)?);
                self.generated.push(of);
            }
            "effects" => {
                let of = (row.number(0)?, row.letter(1)?, row.number(2)?);
                self.effects.push(of);
            }
            "inherits" => self.inherits.push((row.number(0)?, row.number(1)?)),
            "keys" => self.keys.push((row.number(0)?, row.numbers(1)?)),
            "references" => self.references.push((row.number(0)?, row.number(1)?)),
            "views" => {
                // The server answers nothing for a view that has just been dropped.
                if let Some(definition) = row.optional(1) {
                    self.views.push((row.number(0)?, definition.to_owned()));
                }
            }
            "functions" => self.function(row)?,
            "operators" => {
                let functions = self
                    .catalog
                    .operators
                    .entry(row.text(0)?.to_owned())
                    .or_default();
                functions.push(row.number(1)?);
            }
            "casts" => self.catalog.casts.push(Cast {
                source: row.number(0)?,
                target: row.number(1)?,
                function: Some(row.number(2)?).filter(|&function| function != 0),
            }),
            _ => {
                let role = row.optional(0).unwrap_or_default().to_owned();
                self.catalog
                    .search_paths
                    .insert(role, row.text(1)?.to_owned());
            }
        }
        Ok(())
    }

    /// Puts the rows together and works out what views and children are made of.
    #[must_use]
    pub fn finish(self) -> Catalog {
        let Self {
            mut catalog,
            domains,
            columns,
            generated,
            effects,
            inherits,
            keys,
            references,
            views,
        } = self;
        for (oid, mut column) in columns {
            if let Some(domain) = domains.get(&column.type_oid) {
                column.base_type = domain.base_type;
                column.category = domain.category;
            }
            // Absent when the relation was made between two queries; the next reading has it.
            if let Some(relation) = catalog.relations.get_mut(&oid) {
                relation.columns.push(column);
            }
        }
        for relation in catalog.relations.values_mut() {
            relation.columns.sort_by_key(|column| column.number);
        }
        for (oid, number, sources) in generated {
            let relation = catalog.relations.get_mut(&oid);
            let mut columns = relation.into_iter().flat_map(|found| &mut found.columns);
            if let Some(column) = columns.find(|column| column.number == number) {
                column.generated_from = Some(sources);
            }
        }
        for (oid, kind, other) in effects {
            if let Some(relation) = catalog.relations.get_mut(&oid) {
                match kind {
                    'r' => relation.rules_read.push(other),
                    _ => relation.writing_runs.push(other),
                }
            }
        }
        for (child, parent) in inherits {
            if let Some(relation) = catalog.relations.get_mut(&child) {
                relation.parents.push(parent);
                catalog.children.entry(parent).or_default().push(child);
            }
        }
        for (oid, key) in keys {
            if let Some(relation) = catalog.relations.get_mut(&oid) {
                relation.primary_key = key;
            }
        }
        for (from, to) in references {
            catalog.referred.entry(to).or_default().push(from);
        }
        for (oid, definition) in views {
            if let Some(relation) = catalog.relations.get_mut(&oid) {
                relation.definition = Some(definition);
            }
        }
        super::lineage::trace(&mut catalog);
        catalog.movers = Movers::of(&catalog);
        catalog
    }

    fn relation(&mut self, row: Row<'_>) -> Result<(), CatalogError> {
        let oid = row.number(0)?;
        let kind = match row.letter(3)? {
            'v' => RelationKind::View,
            'm' => RelationKind::MaterialisedView,
            'f' => RelationKind::Foreign,
            'S' => RelationKind::Sequence,
            _ => RelationKind::Table,
        };
        let columns = if kind == RelationKind::Sequence {
            sequence_columns()
        } else {
            Vec::new()
        };
        self.catalog.insert(Relation {
            oid,
            schema: row.text(1)?.to_owned(),
            name: row.text(2)?.to_owned(),
            kind,
            columns,
            parents: Vec::new(),
            primary_key: Vec::new(),
            definition: None,
            row_bases: Vec::new(),
            reads: Vec::new(),
            rules_read: Vec::new(),
            writing_runs: Vec::new(),
            system: oid < FIRST_USER_OID,
        });
        Ok(())
    }

    fn function(&mut self, row: Row<'_>) -> Result<(), CatalogError> {
        let name = row.text(2)?.to_owned();
        let function = Function {
            oid: row.number(0)?,
            schema: row.text(1)?.to_owned(),
            name: name.clone(),
            language: row.text(3)?.to_owned(),
            body: row.optional(4).map(str::to_owned),
            kind: row.letter(5)?,
            volatility: row.letter(6)?,
            security_definer: row.text(7)? == "t",
            calls: row
                .numbers(8)?
                .into_iter()
                .filter(|&called| called != 0)
                .collect(),
            returns: Some(row.number(9)?).filter(|&relation| relation != 0),
            extension: row.optional(10).map(str::to_owned),
            is_trigger: row.optional(11) == Some("t"),
            settings: row
                .optional(12)
                .unwrap_or_default()
                .lines()
                .filter_map(|setting| setting.split_once('='))
                .map(|(name, _)| name.to_owned())
                .collect(),
        };
        self.catalog
            .functions
            .entry(name)
            .or_default()
            .push(function);
        Ok(())
    }
}

fn column(row: Row<'_>) -> Result<Column, CatalogError> {
    let type_oid = row.number(3)?;
    Ok(Column {
        number: row.number(1)?,
        name: row.text(2)?.to_owned(),
        type_oid,
        type_sql: row.text(4)?.to_owned(),
        base_type: type_oid,
        category: row.letter(5)?,
        bases: Vec::new(),
        exact: true,
        generated_from: None,
    })
}

/// The columns of every sequence.
fn sequence_columns() -> Vec<Column> {
    [
        ("last_value", 20, "bigint", 'N'),
        ("log_cnt", 20, "bigint", 'N'),
        ("is_called", 16, "boolean", 'B'),
    ]
    .into_iter()
    .zip(1..)
    .map(|((name, type_oid, type_sql, category), number)| Column {
        number,
        name: name.to_owned(),
        type_oid,
        type_sql: type_sql.to_owned(),
        base_type: type_oid,
        category,
        bases: Vec::new(),
        exact: true,
        generated_from: None,
    })
    .collect()
}

/// One row, with the name of its query for errors.
#[derive(Clone, Copy)]
struct Row<'r> {
    query: &'static str,
    cells: &'r [Option<&'r str>],
}

impl<'r> Row<'r> {
    fn optional(self, cell: usize) -> Option<&'r str> {
        self.cells.get(cell).copied().flatten()
    }

    fn text(self, cell: usize) -> Result<&'r str, CatalogError> {
        self.optional(cell).ok_or(CatalogError::Missing {
            query: self.query,
            cell,
        })
    }

    fn malformed(self, cell: usize, text: &str) -> CatalogError {
        CatalogError::Malformed {
            query: self.query,
            cell,
            text: text.to_owned(),
        }
    }

    fn number<T: std::str::FromStr>(self, cell: usize) -> Result<T, CatalogError> {
        let text = self.text(cell)?;
        text.parse().map_err(|_| self.malformed(cell, text))
    }

    /// Numbers with spaces between.
    fn numbers<T: std::str::FromStr>(self, cell: usize) -> Result<Vec<T>, CatalogError> {
        self.optional(cell)
            .unwrap_or_default()
            .split_ascii_whitespace()
            .map(|text| text.parse().map_err(|_| self.malformed(cell, text)))
            .collect()
    }

    fn letter(self, cell: usize) -> Result<char, CatalogError> {
        let text = self.text(cell)?;
        text.chars()
            .next()
            .ok_or_else(|| self.malformed(cell, text))
    }
}

/// Below are the objects that a new cluster has.
/// <https://www.postgresql.org/docs/current/system-catalog-initial-data.html#SYSTEM-CATALOG-OID-ASSIGNMENT>
const FIRST_USER_OID: u32 = 16_384;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_become_relations_with_columns_keys_and_parents() {
        let mut builder = Builder::new();
        for (query, cells) in [
            ("inherits", &["20002", "20001"][..]),
            ("relations", &["20001", "app", "orders", "p"]),
            ("relations", &["20002", "app", "orders_1", "r"]),
            ("relations", &["1259", "pg_catalog", "pg_class", "r"]),
            ("relations", &["20003", "app", "orders_id_seq", "S"]),
            ("columns", &["20001", "2", "ssn", "20100", "app.ssn", "S"]),
            ("columns", &["20001", "1", "id", "23", "integer", "N"]),
            ("columns", &["20002", "1", "id", "23", "integer", "N"]),
            ("columns", &["29999", "1", "id", "23", "integer", "N"]),
            ("domains", &["20100", "25", "S", "text"]),
            ("keys", &["20001", "1 2"]),
            ("search_paths", &["alice", "app, public"]),
            ("version", &["150018"]),
        ] {
            let cells: Vec<_> = cells.iter().map(|&cell| Some(cell)).collect();
            builder.row(query, &cells).expect("a good row");
        }
        let catalog = builder.finish();
        let orders = catalog.relation("app", "orders").expect("it is there");
        let names: Vec<_> = orders.columns.iter().map(|c| c.name.as_str()).collect();
        assert_eq!(names, ["id", "ssn"]);
        assert_eq!(orders.columns[1].base_type, 25);
        assert_eq!(orders.columns[1].type_oid, 20_100);
        assert_eq!(orders.primary_key, [1, 2]);
        assert!(!orders.system);
        assert!(catalog.relations[&1259].system);
        assert_eq!(catalog.relations[&20_003].columns.len(), 3);
        let part = &catalog.relations[&20_002];
        assert_eq!(part.parents, [20_001]);
        assert_eq!(part.columns[0].bases[0].relation, "orders");
        assert_eq!(catalog.search_paths["alice"], "app, public");
        assert_eq!(catalog.server_version, 150_018);
    }

    #[test]
    fn rows_that_are_not_the_querys_are_refused() {
        let mut builder = Builder::new();
        assert!(matches!(
            builder.row("nonsense", &[]),
            Err(CatalogError::UnknownQuery { .. })
        ));
        assert!(matches!(
            builder.row("relations", &[Some("1"), None]),
            Err(CatalogError::Missing { cell: 3, .. })
        ));
        assert!(matches!(
            builder.row("inherits", &[Some("x"), Some("1")]),
            Err(CatalogError::Malformed { cell: 0, .. })
        ));
    }
}
