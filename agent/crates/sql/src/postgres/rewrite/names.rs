//! Which relation each name of a text means, and the names that stay written out so that the server reads them alike.

use pg_query::protobuf::RangeVar;

use super::edits::{Edits, Name};
use super::places::quoted;
use super::resolve::{Meaning, Resolved, resolve};
use super::{Pass, misplaced};
use crate::catalog::Naming;
use crate::postgres::govern::Obstacle;

impl<'a> Pass<'a> {
    /// What a name means, with those that mean nothing certain refused.
    pub(super) fn meaning(
        &self,
        relation: &RangeVar,
        statement: usize,
        edits: &mut Edits,
    ) -> Result<Resolved<'a>, Obstacle> {
        let resolved = self.resolved(relation, statement);
        match resolved.meaning {
            Meaning::Ambiguous => Err(Obstacle {
                reason: format!(
                    "{} could be one of several relations, as the search path is not known",
                    relation.relname
                ),
                hint: "write it with its schema".to_owned(),
            }),
            Meaning::Unknown => {
                edits.unknown.push(relation.relname.clone());
                Ok(resolved)
            }
            _ => Ok(resolved),
        }
    }

    /// What a name means in one of the text's statements.
    pub(super) fn resolved(&self, relation: &RangeVar, statement: usize) -> Resolved<'a> {
        resolve(self.task.context.catalog, self.naming(statement), relation)
    }

    /// How names are read in one of the text's statements.
    fn naming(&self, statement: usize) -> &Naming {
        self.namings
            .get(statement)
            .unwrap_or(self.task.context.naming)
    }

    /// Writes out what a governed name means that stays a name.
    pub(super) fn settle_surely(
        &self,
        relation: &RangeVar,
        statement: usize,
        resolved: Resolved<'_>,
        edits: &mut Edits,
    ) -> Result<(), Obstacle> {
        let unsure = Resolved {
            unsure: true,
            ..resolved
        };
        self.settle(relation, statement, unsure, edits)
    }

    /// Writes out what a name means that stays a name, where the server could read it differently.
    pub(super) fn settle(
        &self,
        relation: &RangeVar,
        statement: usize,
        resolved: Resolved<'_>,
        edits: &mut Edits,
    ) -> Result<(), Obstacle> {
        let schema = match resolved.meaning {
            Meaning::Relation(found) if resolved.unsure && relation.schemaname.is_empty() => {
                found.schema.as_str()
            }
            Meaning::Temporary if resolved.unsure && relation.schemaname.is_empty() => "pg_temp",
            // In none of the schemas that this very statement searches, so the server finds nothing there either.
            Meaning::OffPath => self
                .naming(statement)
                .search_path
                .iter()
                .find(|schema| !schema.is_empty())
                .map(String::as_str)
                .ok_or_else(|| Obstacle {
                    reason: format!("{} is in no schema of the search path", relation.relname),
                    hint: "write it with its schema".to_owned(),
                })?,
            _ => return Ok(()),
        };
        let token = self
            .places
            .at(relation.location)
            .ok_or_else(|| misplaced("a relation"))?;
        let at = self
            .places
            .start(token)
            .ok_or_else(|| misplaced("a relation"))?;
        edits.insert(at, format!("{}.", quoted(schema)));
        edits.renamed(
            &name_of(relation),
            vec![(schema.to_owned(), relation.relname.clone())],
        );
        Ok(())
    }
}

/// The name as the text has it.
pub(super) fn name_of(relation: &RangeVar) -> Name {
    (relation.schemaname.clone(), relation.relname.clone())
}
