//! A row filter's condition: read with the server's grammar, and written out with its columns qualified.

use pg_query::NodeEnum;
use pg_query::protobuf::{ColumnRef, Node, RangeVar, SelectStmt};

use crate::catalog::{Catalog, Relation};
use crate::facts::SessionModes;
use crate::postgres::children::{Field, Visitor, each_child};
use crate::postgres::govern::Obstacle;
use crate::postgres::walk::text_of;
use crate::postgres::{closure, lexer, nesting, parse};

/// Reads a row filter as it will be read when rows are filtered, values filled in, and gives the columns it names.
///
/// # Errors
///
/// Why no statement could be filtered by it, in words that follow "the filter".
pub fn filter_columns(condition: &str) -> Result<Vec<String>, &'static str> {
    let condition = Condition::read(condition, SessionModes::default())?;
    Ok(condition
        .columns
        .into_iter()
        .map(|(name, _)| name)
        .collect())
}

/// A row filter, read and written out with its columns qualified.
///
/// # Errors
///
/// [`Obstacle`] when it is no single condition over columns of `relation`, or could be read otherwise by a session.
pub(super) fn filter(
    condition: &str,
    relation: &Relation,
    qualifier: &str,
    catalog: &Catalog,
    modes: SessionModes,
) -> Result<String, Obstacle> {
    let broken = |why: &str| Obstacle {
        reason: format!(
            "the row filter of {}.{} {why}",
            relation.schema, relation.name
        ),
        hint: "ask whoever wrote the policy".to_owned(),
    };
    let read = Condition::read(condition, modes).map_err(broken)?;
    if let Some(name) = read.names.iter().find(|name| is_made_anew(catalog, name)) {
        return Err(broken(&format!(
            "uses {name}, which somebody has made anew: it needs its schema"
        )));
    }
    let mut out = read.text;
    for (name, place) in read.columns.iter().rev() {
        if relation.column(name).is_none() {
            return Err(broken("names a column that the relation does not have"));
        }
        if !out.is_char_boundary(*place) {
            return Err(broken("cannot be parsed"));
        }
        out.insert_str(*place, qualifier);
    }
    Ok(out.split_off(PREFIX.len()))
}

/// What the condition is read behind.
const PREFIX: &str = "SELECT ";

/// Whether the session's search path could choose something else than the server's own function or operator.
fn is_made_anew(catalog: &Catalog, name: &str) -> bool {
    let functions = catalog.functions.get(name).into_iter().flatten();
    functions
        .into_iter()
        .any(|function| function.extension.is_none())
        || closure::is_operator_of_users(catalog, name)
}

/// A condition that was read.
struct Condition {
    /// Behind [`PREFIX`].
    text: String,
    /// Columns and where their names begin, in order.
    columns: Vec<(String, usize)>,
    /// Functions and operators without their schemas.
    names: Vec<String>,
}

impl Condition {
    fn read(condition: &str, modes: SessionModes) -> Result<Self, &'static str> {
        if modes.backslash_in_strings && condition.contains('\\') {
            return Err("cannot be read with standard_conforming_strings off");
        }
        let text = format!("{PREFIX}{condition}");
        let tokens = lexer::tokens(&text, modes.backslash_in_strings);
        if tokens
            .iter()
            .any(|token| token.kind == lexer::TokenKind::Comment)
        {
            return Err("holds a comment");
        }
        let depth = nesting::bound(&text, &tokens);
        let found = parse::with_tree(&text, modes, depth, |statements| {
            let [statement] = statements else {
                return Err("is not one condition");
            };
            let node = statement
                .stmt
                .as_deref()
                .and_then(|stmt| stmt.node.as_ref());
            let mut found = Found::default();
            condition_of(node)?.hand(&mut found);
            if found.nested {
                return Err("holds a query or a parameter");
            }
            let columns = found.columns()?;
            Ok((columns, found.names))
        });
        let (columns, names) = found.map_err(|_| "cannot be parsed")??;
        Ok(Self {
            text,
            columns,
            names,
        })
    }
}

/// The one item of a list that is the whole statement.
fn condition_of(node: Option<&NodeEnum>) -> Result<&Node, &'static str> {
    let Some(NodeEnum::SelectStmt(select)) = node else {
        return Err("is not a condition");
    };
    let [item] = select.target_list.as_slice() else {
        return Err("is not one condition");
    };
    let plain = SelectStmt {
        target_list: select.target_list.clone(),
        limit_option: select.limit_option,
        op: select.op,
        ..Default::default()
    };
    if **select != plain {
        return Err("is more than a condition");
    }
    match &item.node {
        Some(NodeEnum::ResTarget(target)) if target.name.is_empty() => {
            target.val.as_deref().ok_or("is not a condition")
        }
        Some(NodeEnum::ResTarget(_)) => Err("has a name"),
        _ => Err("is not a condition"),
    }
}

#[derive(Default)]
struct Found<'a> {
    columns: Vec<&'a ColumnRef>,
    names: Vec<String>,
    nested: bool,
}

impl Found<'_> {
    fn columns(&self) -> Result<Vec<(String, usize)>, &'static str> {
        let mut columns = Vec::new();
        for column in &self.columns {
            let [name] = column.fields.as_slice() else {
                return Err("qualifies a column");
            };
            let name = text_of(name).ok_or("names all columns")?;
            let place = usize::try_from(column.location).map_err(|_| "cannot be parsed")?;
            columns.push((name.to_owned(), place));
        }
        columns.sort_unstable_by_key(|(_, place)| *place);
        Ok(columns)
    }

    fn name(&mut self, parts: &[Node]) {
        if let [name] = parts {
            self.names.extend(text_of(name).map(str::to_owned));
        }
    }
}

impl<'a> Visitor<'a> for Found<'a> {
    fn node(&mut self, node: &'a NodeEnum) {
        match node {
            NodeEnum::ColumnRef(column) => return self.columns.push(column),
            NodeEnum::ParamRef(_) => self.nested = true,
            NodeEnum::FuncCall(call) => self.name(&call.funcname),
            NodeEnum::AExpr(expr) => self.name(&expr.name),
            _ => {}
        }
        each_child(node, self);
    }

    fn relation(&mut self, _: &'a RangeVar) {
        self.nested = true;
    }

    fn select(&mut self, _: &'a SelectStmt) {
        self.nested = true;
    }
}
