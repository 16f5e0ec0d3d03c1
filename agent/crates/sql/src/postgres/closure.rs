//! What no rewriting reaches, refused to whoever something is hidden from: code that the text does not show, views of the
//! server's own on data, statistics and other sessions, and definitions through which data would come back unmasked.
//!
//! Everything is refused that is not known to be harmless.

mod bodies;
mod names;
mod settings;
mod statements;
mod words;

pub use settings::is_harmless_setting;

use pg_query::NodeEnum;
use pg_query::protobuf::{AExpr, FuncCall, Node, RangeVar, RawStmt, SelectStmt};

pub(super) use self::bodies::{
    Called, calls_of_body, calls_of_view, is_operator_of_users, relations_called,
};
use super::children::{Field, Visitor, each_child};
use super::functions::{self, Reach};
use super::govern::{Context, Obstacle, Orders};
use super::rewrite::Scan;
use super::rewrite::governed::Governing;
use super::rewrite::removals;
use super::rewrite::resolve::{Meaning, resolve};
use super::session;
use super::walk::text_of;
use crate::catalog::{Naming, Relation};

/// What is refused, and by what it is judged.
pub(super) struct Closure<'a> {
    pub(super) context: &'a Context<'a>,
    pub(super) orders: &'a Orders,
    pub(super) governing: &'a Governing<'a>,
    pub(super) scan: &'a Scan<'a>,
    /// How names are read in each statement; empty when it is the same for all.
    pub(super) namings: &'a [Naming],
}

impl<'a> Closure<'a> {
    /// Looks through all statements of a text.
    ///
    /// # Errors
    ///
    /// [`Obstacle`] with the first thing that is refused.
    pub(super) fn check(&self, statements: &[RawStmt]) -> Result<(), Obstacle> {
        let mut walk = Walk {
            closure: self,
            statement: 0,
            alone: false,
            refused: None,
        };
        for (number, statement) in statements.iter().enumerate() {
            walk.statement = number;
            if let Some(node) = statement
                .stmt
                .as_deref()
                .and_then(|stmt| stmt.node.as_ref())
            {
                walk.alone =
                    matches!(node, NodeEnum::SelectStmt(select) if session::is_alone(select));
                walk.statement(node);
                let naming = self.namings.get(number).unwrap_or(self.context.naming);
                walk.refuse(self.removed(naming, statement));
            }
        }
        match walk.refused {
            Some(obstacle) => Err(obstacle),
            None => self.views(),
        }
    }

    /// What views call is called by whoever reads them.
    fn views(&self) -> Result<(), Obstacle> {
        for (relation, _) in self.relations_read() {
            for name in bodies::calls_of_view(self.context.catalog, relation) {
                self.function(&[name.as_str()])
                    .map_err(|obstacle| Obstacle {
                        reason: format!(
                            "{}.{} calls {name}: {}",
                            relation.schema, relation.name, obstacle.reason
                        ),
                        ..obstacle
                    })?;
            }
        }
        Ok(())
    }

    /// Whether a function may be called, by the parts of its name.
    fn function(&self, parts: &[&str]) -> Result<(), Obstacle> {
        let (schema, name) = match parts {
            [name] => (None, *name),
            [.., schema, name] => (Some(*schema), *name),
            [] => return Ok(()),
        };
        let made = self
            .context
            .catalog
            .functions
            .get(name)
            .map_or(&[][..], Vec::as_slice);
        let mut known = false;
        for function in made {
            if schema.is_none_or(|schema| schema == function.schema) {
                known = true;
                bodies::is_clean(self, function)?;
            }
        }
        match schema {
            // What shadows the server's own is clean; the server's own has to be harmless too.
            None | Some("pg_catalog") if is_harmless(name) || self.reviewed("pg_catalog", name) => {
                Ok(())
            }
            Some("information_schema") if name.starts_with("_pg_") => Ok(()),
            _ if known => Ok(()),
            _ if name.starts_with("pg_sleep") => Err(refused(
                "a function that waits could tell hidden data by the time it takes",
                "wait in the client",
            )),
            _ => Err(refused(
                &format!("the function {name} is not known to leave hidden data alone"),
                "have it reviewed and listed in the policy's reviewed_functions",
            )),
        }
    }

    /// Whether writing a relation runs or reads anything that would show what is hidden.
    fn written(&self, target: &RangeVar, statement: usize) -> Result<(), Obstacle> {
        let catalog = self.context.catalog;
        for relation in self.meant(target, statement) {
            for function in catalog
                .functions
                .values()
                .flatten()
                .filter(|function| relation.writing_runs.contains(&function.oid))
            {
                bodies::is_clean(self, function)?;
            }
            for read in &relation.rules_read {
                if let Some(read) = catalog.relations.get(read)
                    && !self.governing.of(read)?.is_nothing()
                {
                    return Err(refused(
                        &format!(
                            "a rule on {}.{} reads data that is hidden from you",
                            relation.schema, relation.name
                        ),
                        "have somebody write it who may see that data",
                    ));
                }
            }
        }
        Ok(())
    }

    /// Whether rows would go with the rest that whoever asks does not even see.
    fn removed(&self, naming: &Naming, statement: &RawStmt) -> Result<(), Obstacle> {
        for relation in removals::removed(self.context.catalog, naming, statement) {
            if !self.governing.of(relation)?.filters.is_empty() {
                return Err(refused(
                    &format!(
                        "rows of {}.{} that are hidden from you would be lost",
                        relation.schema, relation.name
                    ),
                    "DELETE the rows that you see, or ask somebody from whom nothing is hidden",
                ));
            }
        }
        Ok(())
    }

    fn reviewed(&self, schema: &str, name: &str) -> bool {
        let full = format!("{schema}.{name}");
        self.orders
            .reviewed_functions
            .iter()
            .any(|glob| names::matches(glob, &full))
    }

    /// Whether an operator may be used.
    fn operator(&self, parts: &[Node]) -> Result<(), Obstacle> {
        let names: Vec<_> = parts.iter().filter_map(text_of).collect();
        let (qualifier, name) = match names.as_slice() {
            [name] => (None, *name),
            [.., schema, name] => (Some(*schema), *name),
            [] => return Ok(()),
        };
        if qualifier == Some("pg_catalog") {
            return Ok(());
        }
        for oid in self
            .context
            .catalog
            .operators
            .get(name)
            .into_iter()
            .flatten()
        {
            bodies::is_clean_operator(self, name, *oid)?;
        }
        Ok(())
    }

    /// The relations a name can mean.
    fn meant(&self, relation: &RangeVar, statement: usize) -> Vec<&'a Relation> {
        let catalog = self.context.catalog;
        let naming = self.namings.get(statement).unwrap_or(self.context.naming);
        match resolve(catalog, naming, relation).meaning {
            Meaning::Relation(found) => vec![found],
            Meaning::OffPath | Meaning::Ambiguous => catalog.named(&relation.relname).collect(),
            Meaning::Temporary | Meaning::Unknown => Vec::new(),
        }
    }

    /// The relations that are read, and by which statement.
    fn relations_read(&self) -> impl Iterator<Item = (&'a Relation, usize)> {
        self.scan.read_names().flat_map(|(relation, statement)| {
            self.meant(relation, statement)
                .into_iter()
                .map(move |found| (found, statement))
        })
    }

    /// Whether anything of a relation is hidden, by its name.
    fn is_governed(&self, relation: &RangeVar, statement: usize) -> Result<bool, Obstacle> {
        for found in self.meant(relation, statement) {
            if !self.governing.of(found)?.is_nothing() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// A walk over one text.
struct Walk<'c> {
    closure: &'c Closure<'c>,
    statement: usize,
    /// The statement is a list of results and no more, so that each call in it runs once.
    alone: bool,
    refused: Option<Obstacle>,
}

impl Walk<'_> {
    fn refuse(&mut self, result: Result<(), Obstacle>) {
        if let Err(obstacle) = result {
            self.refused.get_or_insert(obstacle);
        }
    }

    fn deny(&mut self, reason: &str, hint: &str) {
        self.refuse(Err(refused(reason, hint)));
    }

    fn call(&mut self, call: &FuncCall) {
        let parts: Vec<_> = call.funcname.iter().filter_map(text_of).collect();
        let Some(name) = parts.last().copied() else {
            return;
        };
        if name == "set_config" && matches!(parts.as_slice(), [_] | ["pg_catalog", _]) {
            return self.set_config(call);
        }
        if self.is_attribute(call, &parts) {
            return;
        }
        let result = self.closure.function(&parts);
        self.refuse(result);
    }

    fn set_config(&mut self, call: &FuncCall) {
        if !settings::is_harmless_call(call) {
            self.deny(
                "set_config with this setting could make hidden data readable",
                "set it by SET, with a constant",
            );
        }
        // Where it could run at another time, or not at all, later names would be read otherwise than weir thinks.
        if !self.alone && settings::moves_names(call) {
            self.deny(
                "set_config of search_path is followed only where it stands alone",
                "write SET search_path, or SELECT set_config(…) and nothing else",
            );
        }
        for function in self
            .closure
            .context
            .catalog
            .functions
            .get("set_config")
            .into_iter()
            .flatten()
        {
            let result = bodies::is_clean(self.closure, function);
            self.refuse(result);
        }
    }

    /// `ssn(c)`, which is `c.ssn`.
    fn is_attribute(&self, call: &FuncCall, parts: &[&str]) -> bool {
        let ([name], [arg]) = (parts, call.args.as_slice()) else {
            return false;
        };
        let closure = self.closure;
        matches!(arg.node, Some(NodeEnum::ColumnRef(_)))
            && !closure.context.catalog.functions.contains_key(*name)
            && functions::reach(&[name]) == Reach::Unknown
            && closure
                .relations_read()
                .any(|(relation, _)| relation.column(name).is_some())
    }

    /// `c.tell`, which is `tell(c)` where `c` has no such column.
    fn attribute(&mut self, name: Option<&str>) {
        let closure = self.closure;
        let Some((name, functions)) =
            name.and_then(|name| closure.context.catalog.functions.get_key_value(name))
        else {
            return;
        };
        for function in functions {
            self.refuse(bodies::is_clean(closure, function));
        }
        // It gets the whole row, also of a relation none of whose masked columns the text names.
        for (relation, _) in closure.relations_read() {
            if relation.column(name).is_some() {
                continue;
            }
            match closure.governing.of(relation) {
                Ok(hidden) if hidden.is_nothing() => {}
                Ok(_) => self.deny(
                    &format!("{name} may be a function that gets whole rows with hidden data"),
                    "write it as a function call",
                ),
                Err(obstacle) => self.refuse(Err(obstacle)),
            }
        }
    }

    fn expression(&mut self, expr: &AExpr) {
        let result = self.closure.operator(&expr.name);
        self.refuse(result);
    }
}

impl<'a> Visitor<'a> for Walk<'_> {
    fn node(&mut self, node: &'a NodeEnum) {
        if self.refused.is_some() {
            return;
        }
        match node {
            NodeEnum::InsertStmt(_)
            | NodeEnum::UpdateStmt(_)
            | NodeEnum::DeleteStmt(_)
            | NodeEnum::MergeStmt(_) => return self.write(node),
            NodeEnum::FuncCall(call) => self.call(call),
            NodeEnum::AExpr(expr) => self.expression(expr),
            NodeEnum::ColumnRef(column) if column.fields.len() > 1 => {
                self.attribute(column.fields.last().and_then(text_of));
            }
            NodeEnum::AIndirection(of) => {
                for part in &of.indirection {
                    self.attribute(text_of(part));
                }
            }
            NodeEnum::SubLink(link) => {
                let result = self.closure.operator(&link.oper_name);
                self.refuse(result);
            }
            NodeEnum::SortBy(sort) => {
                let result = self.closure.operator(&sort.use_op);
                self.refuse(result);
            }
            _ => {}
        }
        each_child(node, self);
    }

    fn relation(&mut self, relation: &'a RangeVar) {
        if names::tells_of_data(&relation.schemaname, &relation.relname) {
            self.deny(
                &format!(
                    "{} shows data, or statements, that are hidden",
                    relation.relname
                ),
                "leave it out",
            );
        }
    }

    fn select(&mut self, select: &'a SelectStmt) {
        if self.refused.is_some() {
            return;
        }
        // The table of children keeps no select apart.
        select.larg.hand(self);
        select.rarg.hand(self);
        select.with_clause.hand(self);
        select.distinct_clause.hand(self);
        select.target_list.hand(self);
        select.from_clause.hand(self);
        select.where_clause.hand(self);
        select.group_clause.hand(self);
        select.having_clause.hand(self);
        select.window_clause.hand(self);
        select.values_lists.hand(self);
        select.sort_clause.hand(self);
        select.limit_offset.hand(self);
        select.limit_count.hand(self);
    }
}

fn is_harmless(name: &str) -> bool {
    !names::DENIED.contains(&name)
        && (functions::reach(&[name]) == Reach::Value
            || names::HARMLESS.binary_search(&name).is_ok())
}

fn refused(reason: &str, hint: &str) -> Obstacle {
    Obstacle {
        reason: reason.to_owned(),
        hint: hint.to_owned(),
    }
}
