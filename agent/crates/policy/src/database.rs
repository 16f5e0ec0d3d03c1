//! A database written by hand: what statements are read against where no server can be asked.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use weir_sql::{
    Catalog, Facts, Naming, SessionModes,
    postgres::{self, Context},
};

use crate::{
    finding::{Finding, PackError, Place},
    pack::parse,
    schema::OneOrMany,
};

/// Tables and views, and how names without a schema are read.
#[derive(Debug)]
pub struct Database {
    catalog: Catalog,
    naming: Naming,
}

/// `tables: { app.customers: { id: int, ssn: text } }`, `views: { app.v: select … }`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DatabaseText {
    tables: Ordered<Ordered<String>>,
    #[serde(default)]
    views: Ordered<String>,
    /// Children and partitions to what they are of.
    #[serde(default)]
    children: Ordered<String>,
    search_path: Option<OneOrMany<String>>,
}

/// A map in the order in which it is written: a view may read the views before it.
#[derive(Debug)]
struct Ordered<T>(Vec<(String, T)>);

impl Database {
    /// Reads a file of its own, as the `catalog:` of `cases.yaml` has it; `name` is only shown.
    ///
    /// # Errors
    ///
    /// [`PackError::Refused`] with what is wrong with it.
    pub fn parse(name: &str, text: &str) -> Result<Self, PackError> {
        let mut findings = Vec::new();
        let place = Place {
            file: name.to_owned(),
            ..Place::default()
        };
        let written: Option<DatabaseText> = parse(name, text, &mut findings);
        let database = written.and_then(|written| Self::new(&written, &place, &mut findings));
        database.ok_or(PackError::Refused(findings))
    }

    pub(crate) fn new(
        text: &DatabaseText,
        place: &Place,
        findings: &mut Vec<Finding>,
    ) -> Option<Self> {
        let tables = text.tables.0.iter().map(|(name, columns)| {
            let columns = columns.0.iter();
            (
                name.as_str(),
                columns.map(|(column, of)| (column.as_str(), of.as_str())),
            )
        });
        let views = text.views.0.iter();
        let views = views.map(|(name, query)| (name.as_str(), query.as_str()));
        let mut children = text.children.0.iter();
        let catalog = Catalog::from_tables(tables, views).and_then(|catalog| {
            children.try_fold(catalog, |catalog, (child, parent)| {
                catalog.with_child(child, parent)
            })
        });
        let catalog = match catalog {
            Ok(catalog) => catalog,
            Err(error) => {
                findings.push(place.error(
                    error.to_string(),
                    "write tables: { app.t: { id: int } } and views: { app.v: select id from app.t }",
                ));
                return None;
            }
        };
        let search_path = text
            .search_path
            .as_ref()
            .map_or_else(|| vec!["public".to_owned()], |path| path.0.clone());
        Some(Self {
            catalog,
            naming: Naming {
                search_path,
                certain: true,
                ..Naming::default()
            },
        })
    }

    /// What a statement does on this database.
    #[must_use]
    pub fn analyse(&self, text: &[u8]) -> Facts {
        let context = Context {
            modes: SessionModes::default(),
            catalog: &self.catalog,
            naming: &self.naming,
        };
        postgres::analyse_in(text, &context)
    }

    /// What it holds.
    #[must_use]
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// How names without a schema are read.
    #[must_use]
    pub fn naming(&self) -> &Naming {
        &self.naming
    }
}

impl<T> Default for Ordered<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Ordered<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(OrderedVisitor(PhantomData))
    }
}

struct OrderedVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for OrderedVisitor<T> {
    type Value = Ordered<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Ordered<T>, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Ordered(entries))
    }
}
