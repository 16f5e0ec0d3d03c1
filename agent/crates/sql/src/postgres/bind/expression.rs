//! Expressions: what each is made of, and what it touches on the way.

use pg_query::NodeEnum;
use pg_query::protobuf::{
    AExpr, AIndirection, ColumnRef, FuncCall, Node, RangeVar, SelectStmt, SubLink, SubLinkType,
    WindowDef,
};

use super::Binder;
use super::lineage::{Lineage, Outs};
use super::scope::{Hit, Meaning};
use crate::facts::ColumnUsage;
use crate::postgres::children::{Visitor, each_child};
use crate::postgres::functions::{self, Reach};
use crate::postgres::vectors;
use crate::postgres::walk::text_of;

impl<'a> Binder<'a> {
    /// Reads an expression: what it names is touched, what it is made of returned.
    pub(super) fn expression(&mut self, node: &'a Node) -> Lineage {
        match &node.node {
            Some(node) => self.value(node),
            None => Lineage::default(),
        }
    }

    fn value(&mut self, node: &'a NodeEnum) -> Lineage {
        match node {
            NodeEnum::ColumnRef(column) => self.column(column),
            NodeEnum::AIndirection(indirection) => self.indirection(indirection),
            NodeEnum::SubLink(link) => self.sub_link(link),
            NodeEnum::FuncCall(call) => self.call(call),
            NodeEnum::AExpr(expr) if vectors::is_distance_operator(expr) => self.distance(expr),
            NodeEnum::SelectStmt(select) => self.query(select).whole(),
            NodeEnum::WindowDef(window) => self.window(window),
            NodeEnum::CollateClause(collate) => match collate.arg.as_deref() {
                Some(arg) => self.expression(arg),
                None => Lineage::default(),
            },
            NodeEnum::AConst(_)
            | NodeEnum::ParamRef(_)
            | NodeEnum::String(_)
            | NodeEnum::TypeName(_) => Lineage::default(),
            _ => self.parts(node),
        }
    }

    /// Reads all that a node holds.
    pub(super) fn parts(&mut self, node: &'a NodeEnum) -> Lineage {
        let mut parts = Parts {
            binder: self,
            lineage: Lineage::default(),
        };
        each_child(node, &mut parts);
        parts.lineage.changed()
    }

    fn all_of(&mut self, nodes: &'a [Node]) -> Lineage {
        let mut lineage = Lineage::default();
        for node in nodes {
            lineage.add(&self.expression(node));
        }
        lineage.changed()
    }

    /// Reads a condition, each comparison for itself: one in which columns of several items meet joins them.
    pub(super) fn condition(&mut self, node: &'a Node) {
        if let Some(NodeEnum::BoolExpr(expr)) = &node.node {
            for arg in &expr.args {
                self.condition(arg);
            }
            return;
        }
        let outer = self.comparison.replace(Vec::new());
        let usage = std::mem::replace(&mut self.usage, ColumnUsage::Predicate);
        self.expression(node);
        self.usage = usage;
        let touched = std::mem::replace(&mut self.comparison, outer).unwrap_or_default();
        let mut sources = touched
            .iter()
            .filter_map(|&index| self.touched.get(index))
            .map(|touch| touch.base.source);
        let first = sources.next();
        if sources.any(|source| Some(source) != first) {
            for index in touched {
                if let Some(touch) = self.touched.get_mut(index)
                    && touch.usage == ColumnUsage::Predicate
                {
                    touch.usage = ColumnUsage::Join;
                }
            }
        }
    }

    fn column(&mut self, column: &'a ColumnRef) -> Lineage {
        // `ROW(item.*)`, `f(item.*)`.
        if let Some(outs) = self.star_of(column) {
            let usage = self.usage;
            self.touch_all(&outs, usage);
            return outs.whole();
        }
        let lineage = match column.fields.as_slice() {
            [name] => match text_of(name).map(|name| self.meaning(name)) {
                Some(Meaning::Column(lineage)) => lineage,
                Some(Meaning::Row(item)) => item.columns.whole(),
                Some(Meaning::Nothing) | None => Lineage::default(),
            },
            [.., item, name] => {
                let schema = match column.fields.as_slice() {
                    [.., schema, _, _] => text_of(schema),
                    _ => None,
                };
                match (text_of(item), text_of(name)) {
                    (Some(item), Some(name)) => self.column_of(schema, item, name),
                    _ => Lineage::default(),
                }
            }
            [] => Lineage::default(),
        };
        let usage = self.usage;
        self.touch(&lineage, usage);
        lineage
    }

    /// `item.name`: a column, else a function of the whole row.
    fn column_of(&self, schema: Option<&str>, item: &str, name: &str) -> Lineage {
        let Some(item) = self.item(schema, item) else {
            return Lineage::default();
        };
        match item.columns.find(name) {
            Hit::Yes(lineage) | Hit::Perhaps(lineage) => lineage,
            Hit::No => item.columns.whole(),
        }
    }

    /// `*`, `item.*` and `(value).*`; what they stand for is touched.
    pub(super) fn star(&mut self, node: &'a Node) -> Option<Outs<'a>> {
        let outs = match &node.node {
            Some(NodeEnum::ColumnRef(column)) => self.star_of(column)?,
            Some(NodeEnum::AIndirection(indirection))
                if indirection.indirection.last().is_some_and(is_star) =>
            {
                if let Some(outs) = self.row_of(indirection.arg.as_deref()) {
                    outs
                } else {
                    let lineage = self.indirection(indirection);
                    return Some(Outs {
                        list: Vec::new(),
                        open: Some(lineage),
                    });
                }
            }
            _ => return None,
        };
        let usage = self.usage;
        self.touch_all(&outs, usage);
        Some(outs)
    }

    /// `*` and `item.*`.
    fn star_of(&self, column: &'a ColumnRef) -> Option<Outs<'a>> {
        let (last, rest) = column.fields.split_last()?;
        if !is_star(last) {
            return None;
        }
        let item = match rest {
            [] => return Some(self.bare_columns()),
            [item] => self.item(None, text_of(item)?),
            [.., schema, item] => self.item(text_of(schema), text_of(item)?),
        };
        Some(item.map(|item| item.columns.all()).unwrap_or_default())
    }

    /// All that `*` stands for here.
    fn bare_columns(&self) -> Outs<'a> {
        let mut outs = Outs::default();
        let Some(scope) = self.scopes.last() else {
            return outs;
        };
        for item in scope.visible().iter().filter(|item| item.bare) {
            let all = item.columns.all();
            outs.list.extend(all.list);
            if let Some(open) = &all.open {
                outs.open_with(open);
            }
        }
        outs
    }

    /// The columns of a whole row that is named alone or returned by a function.
    fn row_of(&mut self, node: Option<&'a Node>) -> Option<Outs<'a>> {
        if let Some(node) = node
            && let Some(outs) = self.returned(node)
        {
            self.expression(node);
            return Some(outs);
        }
        let Some(NodeEnum::ColumnRef(column)) = node.and_then(|node| node.node.as_ref()) else {
            return None;
        };
        let [name] = column.fields.as_slice() else {
            return None;
        };
        match self.meaning(text_of(name)?) {
            Meaning::Row(item) => Some(item.columns.all()),
            Meaning::Column(_) | Meaning::Nothing => None,
        }
    }

    /// The column `name` of a whole row that is named alone.
    fn field_of_row(&mut self, row: Option<&'a Node>, name: &str) -> Option<Lineage> {
        let outs = self.row_of(row)?;
        let mut found: Option<Lineage> = None;
        for out in outs.list.iter().filter(|out| out.name == name) {
            found.get_or_insert_default().add(&out.lineage);
        }
        let lineage = found?;
        let usage = self.usage;
        self.touch(&lineage, usage);
        Some(lineage.changed())
    }

    /// `(value).field`, `value[index]`.
    fn indirection(&mut self, indirection: &'a AIndirection) -> Lineage {
        let field = indirection.indirection.first().and_then(text_of);
        let of_row = field.and_then(|field| self.field_of_row(indirection.arg.as_deref(), field));
        let mut lineage = match (of_row, indirection.arg.as_deref()) {
            (Some(lineage), _) => lineage,
            (None, Some(arg)) => self.expression(arg),
            (None, None) => Lineage::default(),
        };
        for node in &indirection.indirection {
            if !is_star(node) {
                lineage.add(&self.expression(node));
            }
        }
        lineage.changed()
    }

    fn sub_link(&mut self, link: &'a SubLink) -> Lineage {
        let start = self.touched.len();
        if let Some(test) = link.testexpr.as_deref() {
            self.expression(test);
        }
        // Whether rows exist does not compare what they hold.
        let around = if link.sub_link_type == SubLinkType::ExistsSublink as i32 {
            self.comparison.take()
        } else {
            None
        };
        self.nested(link.subselect.as_deref());
        if around.is_some() {
            self.comparison = around;
        }
        // Its value depends on all that was touched to find it.
        let mut lineage = Lineage::default();
        for touch in self.touched.get(start..).unwrap_or_default() {
            lineage.bases.push(touch.base);
        }
        lineage.bases.sort_unstable();
        lineage.bases.dedup();
        lineage
    }

    fn call(&mut self, call: &'a FuncCall) -> Lineage {
        if let ([name], [arg]) = (call.funcname.as_slice(), call.args.as_slice())
            && let Some(name) = text_of(name)
            && functions::reach(&[name]) == Reach::Unknown
            && !self.catalog.functions.contains_key(name)
            && let Some(lineage) = self.field_of_row(Some(arg), name)
        {
            return lineage;
        }
        let mut lineage = Lineage::default();
        let mut vectors = false;
        for arg in &call.args {
            let made_of = self.expression(arg);
            vectors |= vectors::is_vector(arg) || self.has_vector(&made_of);
            lineage.add(&made_of);
        }
        let name = call.funcname.last().and_then(text_of).unwrap_or_default();
        self.vectors.searched |= vectors && vectors::is_distance_function(name);
        lineage.add(&self.all_of(&call.agg_order));
        if let Some(filter) = call.agg_filter.as_deref() {
            lineage.add(&self.expression(filter));
        }
        if let Some(window) = call.over.as_deref() {
            lineage.add(&self.window(window));
        }
        lineage.changed()
    }

    /// A window, with the one it refers to.
    pub(super) fn window(&mut self, window: &'a WindowDef) -> Lineage {
        let mut lineage = self.all_of(&window.partition_clause);
        lineage.add(&self.all_of(&window.order_clause));
        for node in [&window.start_offset, &window.end_offset]
            .into_iter()
            .filter_map(Option::as_deref)
        {
            lineage.add(&self.expression(node));
        }
        if let Some(scope) = self.scopes.last() {
            for (name, made_of) in &scope.windows {
                if *name == window.refname || *name == window.name {
                    lineage.add(made_of);
                }
            }
        }
        lineage.changed()
    }

    /// A distance between two vectors, or an operator that is called like one.
    fn distance(&mut self, expr: &'a AExpr) -> Lineage {
        let mut lineage = Lineage::default();
        let mut unknown = 0;
        let mut parameters = 0;
        for side in [&expr.lexpr, &expr.rexpr]
            .into_iter()
            .filter_map(Option::as_deref)
        {
            let made_of = self.expression(side);
            self.vectors.searched |= vectors::is_vector(side) || self.has_vector(&made_of);
            if vectors::is_parameter(side) {
                parameters += 1;
            } else if made_of.bases.is_empty() {
                unknown += 1;
            }
            lineage.add(&made_of);
        }
        // A parameter takes the type of the other side; where nothing is known of that, it may be a vector.
        self.vectors.searched |= parameters == 2 || (parameters == 1 && unknown == 1);
        lineage.changed()
    }

    fn has_vector(&self, lineage: &Lineage) -> bool {
        lineage.bases.iter().any(|&base| self.is_vector(base))
    }

    /// Columns and expressions of an index, or of what `ON CONFLICT` infers one from.
    pub(super) fn index_elements(&mut self, elements: &'a [Node]) {
        for node in elements {
            let Some(NodeEnum::IndexElem(element)) = &node.node else {
                continue;
            };
            if let Some(expr) = element.expr.as_deref() {
                self.expression(expr);
            } else if let Meaning::Column(lineage) = self.meaning(&element.name) {
                let usage = self.usage;
                self.touch(&lineage, usage);
            }
        }
    }
}

/// Reads the children of a node as expressions.
struct Parts<'b, 'a> {
    binder: &'b mut Binder<'a>,
    lineage: Lineage,
}

impl<'a> Visitor<'a> for Parts<'_, 'a> {
    fn node(&mut self, node: &'a NodeEnum) {
        let made_of = self.binder.value(node);
        self.lineage.add(&made_of);
    }

    fn relation(&mut self, _: &'a RangeVar) {}

    fn select(&mut self, select: &'a SelectStmt) {
        let made_of = self.binder.query(select).whole();
        self.lineage.add(&made_of);
    }
}

fn is_star(node: &Node) -> bool {
    matches!(node.node, Some(NodeEnum::AStar(_)))
}
