//! A catalog written by hand: for tests, and for the cases of a policy pack.

use super::builder::CatalogError;
use super::{Catalog, Column, Relation, RelationKind, lineage};

impl Catalog {
    /// A catalog of tables (`schema.name` with columns and types) and views (`schema.name` with their queries).
    ///
    /// Types are written as SQL has them; those of other makers are taken as they come. A view's columns are found in its
    /// query: a copied column has its table's type, any other is `text`. Views may read tables and the views before them;
    /// names in their queries need a schema where several schemas have one.
    ///
    /// # Errors
    ///
    /// [`CatalogError`] when a name has no schema or comes twice, or a view's query cannot be read.
    pub fn from_tables<'a, C>(
        tables: impl IntoIterator<Item = (&'a str, C)>,
        views: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, CatalogError>
    where
        C: IntoIterator<Item = (&'a str, &'a str)>,
    {
        let mut catalog = Self {
            server_version: 150_000,
            ..Self::default()
        };
        let mut made_up = FIRST_MADE_UP_TYPE;
        for (name, columns) in tables {
            let columns = columns
                .into_iter()
                .zip(1..)
                .map(|((name, type_sql), number)| column(number, name, type_sql, &mut made_up))
                .inspect(|column| {
                    if is_vector(&column.type_sql) {
                        catalog.vector_types.insert(column.base_type);
                    }
                })
                .collect();
            catalog.add(name, RelationKind::Table, columns, None)?;
        }
        for (name, query) in views {
            let columns = lineage::outputs(&catalog, query)
                .map_err(|reason| CatalogError::View {
                    view: name.to_owned(),
                    reason,
                })?
                .into_iter()
                .zip(1..)
                .map(|((name, copied), number)| match copied {
                    Some(column) => Column {
                        number,
                        name,
                        generated_from: None,
                        ..column
                    },
                    None => column(number, &name, "text", &mut made_up),
                })
                .collect();
            catalog.add(name, RelationKind::View, columns, Some(query.to_owned()))?;
            lineage::trace(&mut catalog);
        }
        lineage::trace(&mut catalog);
        Ok(catalog)
    }

    /// Makes a table of [`from_tables`](Self::from_tables) a child or partition of another.
    ///
    /// # Errors
    ///
    /// [`CatalogError::Name`] when one of them is not there.
    pub fn with_child(mut self, child: &str, parent: &str) -> Result<Self, CatalogError> {
        let child = self.oid_of(child)?;
        let parent = self.oid_of(parent)?;
        if let Some(relation) = self.relations.get_mut(&child) {
            relation.parents.push(parent);
        }
        self.children.entry(parent).or_default().push(child);
        lineage::trace(&mut self);
        Ok(self)
    }

    fn oid_of(&self, name: &str) -> Result<u32, CatalogError> {
        name.split_once('.')
            .and_then(|(schema, name)| self.relation(schema, name))
            .map(|relation| relation.oid)
            .ok_or_else(|| bad_name(name))
    }

    fn add(
        &mut self,
        name: &str,
        kind: RelationKind,
        columns: Vec<Column>,
        definition: Option<String>,
    ) -> Result<(), CatalogError> {
        let (schema, relation) = name.split_once('.').ok_or_else(|| bad_name(name))?;
        if self.relation(schema, relation).is_some() {
            return Err(bad_name(name));
        }
        let oid = self
            .relations
            .keys()
            .max()
            .map_or(FIRST_MADE_UP_RELATION, |oid| oid + 1);
        let primary_key = columns
            .first()
            .filter(|column| kind == RelationKind::Table && column.name == "id")
            .map(|column| column.number)
            .into_iter()
            .collect();
        self.insert(Relation {
            oid,
            schema: schema.to_owned(),
            name: relation.to_owned(),
            kind,
            columns,
            parents: Vec::new(),
            primary_key,
            definition,
            row_bases: Vec::new(),
            reads: Vec::new(),
            rules_read: Vec::new(),
            writing_runs: Vec::new(),
            system: false,
        });
        Ok(())
    }
}

fn bad_name(name: &str) -> CatalogError {
    CatalogError::Name {
        name: name.to_owned(),
    }
}

fn column(number: i16, name: &str, type_sql: &str, made_up: &mut u32) -> Column {
    let (type_oid, type_sql, category) = known_type(type_sql).unwrap_or_else(|| {
        *made_up += 1;
        let category = if type_sql.ends_with("[]") { 'A' } else { 'U' };
        (*made_up, type_sql.to_owned(), category)
    });
    Column {
        number,
        name: name.to_owned(),
        type_oid,
        type_sql,
        base_type: type_oid,
        category,
        bases: Vec::new(),
        exact: true,
        generated_from: None,
    }
}

fn is_vector(type_sql: &str) -> bool {
    let name = type_sql.split('(').next().unwrap_or_default();
    matches!(
        name.rsplit('.').next(),
        Some("vector" | "halfvec" | "sparsevec")
    )
}

/// Number, full text and category of one of the server's own types.
fn known_type(written: &str) -> Option<(u32, String, char)> {
    let written = written.trim().to_ascii_lowercase();
    let (element, is_array) = match written.strip_suffix("[]") {
        Some(element) => (element, true),
        None => (written.as_str(), false),
    };
    let (name, modifier) = match (element.find('('), element.find(')')) {
        (Some(open), Some(close)) if open < close => {
            let name = format!("{}{}", &element[..open], &element[close + 1..]);
            (name, &element[open..=close])
        }
        _ => (element.to_owned(), ""),
    };
    let &(_, oid, array, canonical, category) = TYPES
        .iter()
        .find(|(short, _, _, canonical, _)| *short == name.trim() || *canonical == name.trim())?;
    let text = match canonical.split_once(" with") {
        Some((first, rest)) if !modifier.is_empty() => format!("{first}{modifier} with{rest}"),
        _ => format!("{canonical}{modifier}"),
    };
    Some(if is_array {
        (array, format!("{text}[]"), 'A')
    } else {
        (oid, text, category)
    })
}

/// Short name, number, number of its array, full name, category.
/// <https://github.com/postgres/postgres/blob/master/src/include/catalog/pg_type.dat>
const TYPES: &[(&str, u32, u32, &str, char)] = &[
    ("bool", 16, 1000, "boolean", 'B'),
    ("bytea", 17, 1001, "bytea", 'U'),
    ("name", 19, 1003, "name", 'S'),
    ("int8", 20, 1016, "bigint", 'N'),
    ("int2", 21, 1005, "smallint", 'N'),
    ("int4", 23, 1007, "integer", 'N'),
    ("int", 23, 1007, "integer", 'N'),
    ("serial", 23, 1007, "integer", 'N'),
    ("bigserial", 20, 1016, "bigint", 'N'),
    ("text", 25, 1009, "text", 'S'),
    ("oid", 26, 1028, "oid", 'N'),
    ("json", 114, 199, "json", 'U'),
    ("xml", 142, 143, "xml", 'U'),
    ("float4", 700, 1021, "real", 'N'),
    ("float8", 701, 1022, "double precision", 'N'),
    ("money", 790, 791, "money", 'N'),
    ("macaddr", 829, 1040, "macaddr", 'U'),
    ("cidr", 650, 651, "cidr", 'I'),
    ("inet", 869, 1041, "inet", 'I'),
    ("bpchar", 1042, 1014, "character", 'S'),
    ("char", 1042, 1014, "character", 'S'),
    ("varchar", 1043, 1015, "character varying", 'S'),
    ("date", 1082, 1182, "date", 'D'),
    ("time", 1083, 1183, "time without time zone", 'D'),
    ("timestamp", 1114, 1115, "timestamp without time zone", 'D'),
    ("timestamptz", 1184, 1185, "timestamp with time zone", 'D'),
    ("interval", 1186, 1187, "interval", 'T'),
    ("timetz", 1266, 1270, "time with time zone", 'D'),
    ("bit", 1560, 1561, "bit", 'V'),
    ("varbit", 1562, 1563, "bit varying", 'V'),
    ("numeric", 1700, 1231, "numeric", 'N'),
    ("decimal", 1700, 1231, "numeric", 'N'),
    ("uuid", 2950, 2951, "uuid", 'U'),
    ("jsonb", 3802, 3807, "jsonb", 'U'),
    ("tsvector", 3614, 3643, "tsvector", 'U'),
    ("int4range", 3904, 3905, "int4range", 'R'),
    ("numrange", 3906, 3907, "numrange", 'R'),
    ("tsrange", 3908, 3909, "tsrange", 'R'),
    ("tstzrange", 3910, 3911, "tstzrange", 'R'),
    ("daterange", 3912, 3913, "daterange", 'R'),
    ("int8range", 3926, 3927, "int8range", 'R'),
];

/// Numbers that no server gives within a test's lifetime.
const FIRST_MADE_UP_TYPE: u32 = 900_000;
const FIRST_MADE_UP_RELATION: u32 = 16_400;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_read_as_sql_writes_them() {
        for (written, oid, text, category) in [
            ("int", 23, "integer", 'N'),
            ("varchar(20)", 1043, "character varying(20)", 'S'),
            ("TEXT[]", 1009, "text[]", 'A'),
            ("numeric(10,2)", 1700, "numeric(10,2)", 'N'),
            (
                "timestamp(3) with time zone",
                1184,
                "timestamp(3) with time zone",
                'D',
            ),
            ("timestamptz", 1184, "timestamp with time zone", 'D'),
            ("double precision", 701, "double precision", 'N'),
        ] {
            assert_eq!(
                known_type(written),
                Some((oid, text.to_owned(), category)),
                "{written}"
            );
        }
        assert_eq!(known_type("vector(3)"), None);
    }

    #[test]
    fn names_without_schema_and_doubles_are_refused() {
        let one = |name| Catalog::from_tables([(name, vec![("id", "int")])], []);
        assert!(one("app.t").is_ok());
        assert!(one("t").is_err());
        let twice = [("app.t", vec![("id", "int")]), ("app.t", vec![])];
        assert!(Catalog::from_tables(twice, []).is_err());
        let broken = [("app.v", "SELEC 1")];
        let tables: [(&str, Vec<(&str, &str)>); 0] = [];
        assert!(matches!(
            Catalog::from_tables(tables, broken),
            Err(CatalogError::View { .. })
        ));
    }

    #[test]
    fn vectors_are_known_by_their_types_name() {
        let catalog = Catalog::from_tables([("app.docs", vec![("e", "public.vector(3)")])], [])
            .expect("a good catalog");
        let column = &catalog.relation("app", "docs").expect("a table").columns[0];
        assert!(catalog.vector_types.contains(&column.base_type));
    }
}
