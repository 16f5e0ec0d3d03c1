//! Which relation a name means, as the session's server would read it.

use pg_query::protobuf::RangeVar;

use crate::catalog::{Catalog, Naming, Relation};

/// What a name means.
#[derive(Debug, Clone, Copy)]
pub(in crate::postgres) enum Meaning<'c> {
    /// A relation of the catalog.
    Relation(&'c Relation),
    /// A temporary relation of the session.
    Temporary,
    /// Nothing the catalog knows.
    Unknown,
    /// The catalog knows relations of that name, but in no schema that is searched.
    OffPath,
    /// One of several, and which is not known.
    Ambiguous,
}

/// A name's meaning, and whether the server could read it differently than weir did.
#[derive(Debug, Clone, Copy)]
pub(in crate::postgres) struct Resolved<'c> {
    pub(in crate::postgres) meaning: Meaning<'c>,
    /// Without a schema it could mean something else.
    pub(in crate::postgres) unsure: bool,
}

/// Reads a relation's name.
pub(in crate::postgres) fn resolve<'c>(
    catalog: &'c Catalog,
    naming: &Naming,
    relation: &RangeVar,
) -> Resolved<'c> {
    let (schema, name) = (relation.schemaname.as_str(), relation.relname.as_str());
    if !schema.is_empty() {
        let meaning = match catalog.relation(schema, name) {
            _ if is_temporary(schema) => Meaning::Temporary,
            Some(found) => Meaning::Relation(found),
            None => Meaning::Unknown,
        };
        return Resolved {
            meaning,
            unsure: false,
        };
    }
    let temporary = naming.temporary.contains(name);
    let count = catalog.named(name).count() + usize::from(temporary);
    let several = count > 1;
    let meaning = if count == 0 {
        Meaning::Unknown
    } else if several && !naming.certain {
        Meaning::Ambiguous
    } else {
        on_path(catalog, naming, name)
    };
    let meaning = match meaning {
        // The path may be another than weir thinks, but there is only one it could lead to.
        Meaning::OffPath if count == 1 && !naming.certain => catalog
            .named(name)
            .next()
            .map_or(Meaning::Temporary, Meaning::Relation),
        meaning => meaning,
    };
    Resolved {
        meaning,
        unsure: several || naming.veiled,
    }
}

fn on_path<'c>(catalog: &'c Catalog, naming: &Naming, name: &str) -> Meaning<'c> {
    let listed = |schema: &str| naming.search_path.iter().any(|listed| listed == schema);
    let implicit = ["pg_temp", "pg_catalog"]
        .into_iter()
        .filter(|schema| !listed(schema));
    for schema in implicit.chain(naming.search_path.iter().map(String::as_str)) {
        if schema == "pg_temp" {
            if naming.temporary.contains(name) {
                return Meaning::Temporary;
            }
        } else if let Some(found) = catalog.relation(schema, name) {
            return Meaning::Relation(found);
        }
    }
    Meaning::OffPath
}

/// Whether a schema is the session's own.
pub(in crate::postgres) fn is_temporary(schema: &str) -> bool {
    schema == "pg_temp" || schema.starts_with("pg_temp_")
}
