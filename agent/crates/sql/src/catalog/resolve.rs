//! Which relation a name means.

use super::{Catalog, Naming, Relation};

/// What a relation's name means to a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolved<'c> {
    /// A temporary relation that the session made; the catalog does not know its columns.
    Temporary,
    /// This one.
    One(&'c Relation),
    /// One of these; which, only the server knows.
    Several(Vec<&'c Relation>),
    /// None that the catalog knows.
    Unknown,
}

impl<'c> Resolved<'c> {
    /// All that it could be.
    #[must_use]
    pub fn candidates(&self) -> &[&'c Relation] {
        match self {
            Self::One(relation) => std::slice::from_ref(relation),
            Self::Several(relations) => relations,
            Self::Temporary | Self::Unknown => &[],
        }
    }
}

impl Catalog {
    /// Reads a relation's name as a session does: temporary ones first, then the server's own, then along the search path.
    ///
    /// Where the search path is not certain, or none of its schemas has the name although another has, every relation of that
    /// name is a candidate.
    #[must_use]
    pub fn resolve(&self, naming: &Naming, schema: Option<&str>, name: &str) -> Resolved<'_> {
        match schema {
            Some(schema) if schema == "pg_temp" || schema.starts_with("pg_temp_") => {
                Resolved::Temporary
            }
            Some(schema) => match self.relation(schema, name) {
                Some(relation) => Resolved::One(relation),
                None => Resolved::Unknown,
            },
            None if naming.temporary.contains(name) => Resolved::Temporary,
            None => self.along_the_path(naming, name),
        }
    }

    fn along_the_path(&self, naming: &Naming, name: &str) -> Resolved<'_> {
        let path = || naming.search_path.iter().map(String::as_str);
        // `pg_catalog` comes first unless the path names it.
        let implied = (!path().any(|schema| schema == "pg_catalog")).then_some("pg_catalog");
        if naming.certain {
            let first = implied
                .into_iter()
                .chain(path())
                .find_map(|schema| self.relation(schema, name));
            if let Some(relation) = first {
                return Resolved::One(relation);
            }
        }
        let all: Vec<_> = self.named(name).collect();
        match all.as_slice() {
            [] => Resolved::Unknown,
            [relation] => Resolved::One(relation),
            _ => Resolved::Several(all),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catalog() -> Catalog {
        Catalog::from_tables(
            [
                ("app.customers", vec![("id", "int")]),
                ("crm.customers", vec![("id", "int")]),
                ("crm.leads", vec![("id", "int")]),
            ],
            [],
        )
        .expect("a good catalog")
    }

    fn naming(path: &[&str], certain: bool) -> Naming {
        Naming {
            search_path: path.iter().map(|&schema| schema.to_owned()).collect(),
            certain,
            temporary: ["drafts".to_owned()].into(),
            veiled: false,
        }
    }

    fn schemas(resolved: &Resolved<'_>) -> Vec<String> {
        let mut schemas: Vec<_> = resolved
            .candidates()
            .iter()
            .map(|relation| relation.schema.clone())
            .collect();
        schemas.sort();
        schemas
    }

    #[test]
    fn the_first_schema_of_the_path_wins() {
        let catalog = catalog();
        for (path, expected) in [(["app", "crm"], "app"), (["crm", "app"], "crm")] {
            let found = catalog.resolve(&naming(&path, true), None, "customers");
            assert_eq!(schemas(&found), [expected]);
        }
    }

    #[test]
    fn an_uncertain_path_leaves_all_candidates() {
        let catalog = catalog();
        let found = catalog.resolve(&naming(&["app"], false), None, "customers");
        assert_eq!(schemas(&found), ["app", "crm"]);
        let elsewhere = catalog.resolve(&naming(&["public"], true), None, "leads");
        assert_eq!(schemas(&elsewhere), ["crm"]);
    }

    #[test]
    fn temporary_and_unknown_names_are_no_relation_of_the_catalog() {
        let catalog = catalog();
        let naming = naming(&["app"], true);
        assert_eq!(
            catalog.resolve(&naming, None, "drafts"),
            Resolved::Temporary
        );
        assert_eq!(
            catalog.resolve(&naming, Some("pg_temp"), "customers"),
            Resolved::Temporary
        );
        assert_eq!(catalog.resolve(&naming, None, "nothing"), Resolved::Unknown);
        assert_eq!(
            catalog.resolve(&naming, Some("app"), "leads"),
            Resolved::Unknown
        );
    }
}
