//! `FROM`: tables, queries and functions; joins are in `join`.

use pg_query::NodeEnum;
use pg_query::protobuf::{Alias, Node, RangeFunction, RangeVar};

use super::Binder;
use super::lineage::{Lineage, Out, Outs};
use super::scope::{Columns, Item, Relations};
use crate::catalog::Resolved;
use crate::postgres::walk::text_of;

impl<'a> Binder<'a> {
    /// Reads an item and adds it to the innermost level.
    pub(super) fn source_item(&mut self, node: &'a Node) {
        match &node.node {
            Some(NodeEnum::RangeVar(relation)) => {
                let item = self.range_var(relation);
                self.add(item);
            }
            Some(NodeEnum::RangeSubselect(subselect)) => {
                let outs = self.apart(subselect.lateral, |binder| {
                    binder.nested(subselect.subquery.as_deref())
                });
                self.add_derived(outs, subselect.alias.as_ref(), "");
            }
            Some(NodeEnum::JoinExpr(join)) => self.join(join),
            Some(NodeEnum::RangeFunction(function)) => self.function(function),
            Some(NodeEnum::RangeTableSample(sample)) => {
                if let Some(relation) = sample.relation.as_deref() {
                    self.source_item(relation);
                }
                for node in sample.args.iter().chain(sample.repeatable.as_deref()) {
                    self.expression(node);
                }
            }
            Some(NodeEnum::RangeTableFunc(table)) => {
                let mut lineage = Lineage::default();
                for node in [&table.docexpr, &table.rowexpr]
                    .into_iter()
                    .filter_map(Option::as_deref)
                {
                    lineage.add(&self.expression(node));
                }
                let mut outs = Outs::default();
                for node in &table.columns {
                    lineage.add(&self.expression(node));
                    if let Some(NodeEnum::RangeTableFuncCol(column)) = &node.node {
                        outs.list.push(Out {
                            name: &column.colname,
                            lineage: Lineage::default(),
                        });
                    }
                }
                made_of(&mut outs, &lineage);
                self.add_derived(outs, table.alias.as_ref(), "xmltable");
            }
            Some(NodeEnum::JsonTable(table)) => {
                // Its columns may nest; the names are found by whoever asks for them.
                let mut lineage = Lineage::default();
                if let Some(context) = table.context_item.as_deref()
                    && let Some(raw) = context.raw_expr.as_deref()
                {
                    lineage.add(&self.expression(raw));
                }
                for node in table.passing.iter().chain(&table.columns) {
                    lineage.add(&self.expression(node));
                }
                let outs = Outs {
                    list: Vec::new(),
                    open: Some(lineage.changed()),
                };
                self.add_derived(outs, table.alias.as_ref(), "json_table");
            }
            _ => {}
        }
    }

    /// A relation or a common table expression.
    pub(super) fn range_var(&mut self, relation: &'a RangeVar) -> Item<'a> {
        if relation.schemaname.is_empty()
            && let Some(mut outs) = self.cte(&relation.relname)
        {
            outs.rename(&names_of(relation.alias.as_ref()));
            return Item {
                name: called(relation),
                schema: None,
                columns: Columns::Derived(outs),
                by_name: true,
                bare: true,
            };
        }
        self.table(relation)
    }

    /// A relation that is read.
    pub(super) fn table(&mut self, relation: &'a RangeVar) -> Item<'a> {
        let (item, relations) = self.resolved(relation);
        self.reads.extend(relations);
        item
    }

    /// A relation that is written; it counts as read once a column of it is.
    pub(super) fn target(&mut self, relation: &'a RangeVar) -> Item<'a> {
        let (item, relations) = self.resolved(relation);
        let source = self.sources;
        self.targets
            .extend(relations.into_iter().map(|oid| (source, oid)));
        item
    }

    fn resolved(&mut self, relation: &'a RangeVar) -> (Item<'a>, Vec<u32>) {
        let source = self.next_source();
        let schema = (!relation.schemaname.is_empty()).then_some(relation.schemaname.as_str());
        let found = match self.catalog.resolve(self.naming, schema, &relation.relname) {
            Resolved::One(relation) => Some(Relations::One(relation)),
            Resolved::Several(relations) => Some(Relations::Several(relations)),
            Resolved::Temporary | Resolved::Unknown => None,
        };
        let oids = found
            .iter()
            .flat_map(Relations::as_slice)
            .map(|relation| relation.oid)
            .collect();
        let schema = match (&relation.alias, &found) {
            (None, Some(Relations::One(relation))) => Some(relation.schema.as_str()),
            (None, _) => schema,
            (Some(_), _) => None,
        };
        let columns = match found {
            Some(relations) => Columns::Relations {
                relations,
                renamed: relation
                    .alias
                    .as_ref()
                    .map(|alias| alias.colnames.as_slice())
                    .unwrap_or_default(),
                source,
            },
            None => Columns::Derived(Outs {
                list: Vec::new(),
                open: Some(Lineage::default()),
            }),
        };
        let item = Item {
            name: called(relation),
            schema,
            columns,
            by_name: true,
            bare: true,
        };
        (item, oids)
    }

    /// Reads something that sees the items before it only when it is lateral.
    fn apart<T>(&mut self, lateral: bool, read: impl FnOnce(&mut Self) -> T) -> T {
        let depth = self.scopes.len();
        let was_hidden = self.hide(depth, !lateral);
        let result = read(self);
        self.hide(depth, was_hidden);
        result
    }

    fn hide(&mut self, depth: usize, hidden: bool) -> bool {
        let scope = depth
            .checked_sub(1)
            .and_then(|index| self.scopes.get_mut(index));
        scope.is_some_and(|scope| std::mem::replace(&mut scope.hidden, hidden))
    }

    fn function(&mut self, function: &'a RangeFunction) {
        let mut lineage = Lineage::default();
        let mut called = "";
        let mut returned = None;
        for node in &function.functions {
            lineage.add(&self.expression(node));
            if let Some(NodeEnum::List(call)) = &node.node
                && let Some(call) = call.items.first()
            {
                called = super::result_name::name_of(call);
                returned = self.returned(call);
            }
        }
        if let (Some(mut outs), [_], false) =
            (returned, function.functions.as_slice(), function.ordinality)
        {
            for out in &mut outs.list {
                out.lineage.add(&lineage);
            }
            return self.add_derived(outs, function.alias.as_ref(), called);
        }
        let lineage = lineage.changed();
        let alias = function.alias.as_ref();
        let mut outs = Outs {
            list: Vec::new(),
            // It may give a row of any columns.
            open: Some(lineage.clone()),
        };
        let names = names_of(alias);
        if names.is_empty() {
            let name = alias.map_or(called, |alias| alias.aliasname.as_str());
            outs.list.push(Out {
                name,
                lineage: lineage.clone(),
            });
        }
        if function.ordinality {
            outs.list.push(Out {
                name: "ordinality",
                lineage: Lineage::default(),
            });
        }
        outs.list.extend(
            function
                .coldeflist
                .iter()
                .filter_map(|node| match &node.node {
                    Some(NodeEnum::ColumnDef(column)) => Some(Out {
                        name: column.colname.as_str(),
                        lineage: lineage.clone(),
                    }),
                    _ => None,
                }),
        );
        if !function.coldeflist.is_empty() {
            outs.open = None;
        }
        self.add_derived(outs, alias, called);
    }

    /// The columns of a function that returns rows of a relation: the relation counts as read.
    pub(super) fn returned(&mut self, node: &Node) -> Option<Outs<'a>> {
        let Some(NodeEnum::FuncCall(call)) = &node.node else {
            return None;
        };
        let name = call.funcname.last().and_then(text_of)?;
        let catalog = self.catalog;
        let functions = catalog.functions.get(name)?;
        let relations: Vec<_> = functions
            .iter()
            .filter_map(|function| catalog.relations.get(&function.returns?))
            .collect();
        if relations.is_empty() {
            return None;
        }
        self.reads
            .extend(relations.iter().map(|relation| relation.oid));
        let columns = Columns::Relations {
            relations: Relations::Several(relations),
            renamed: &[],
            source: self.next_source(),
        };
        let mut outs = columns.all();
        if functions.len() > 1 {
            // Which of them is called depends on the types of arguments.
            let whole = outs.whole();
            outs.open_with(&whole);
        }
        Some(outs)
    }

    pub(super) fn add(&mut self, item: Item<'a>) {
        if let Some(scope) = self.scopes.last_mut() {
            scope.items.push(item);
        }
    }

    pub(super) fn add_derived(
        &mut self,
        outs: Outs<'a>,
        alias: Option<&'a Alias>,
        called: &'a str,
    ) {
        self.add(derived(outs, alias, called));
    }
}

pub(super) fn derived<'a>(
    mut outs: Outs<'a>,
    alias: Option<&'a Alias>,
    called: &'a str,
) -> Item<'a> {
    outs.rename(&names_of(alias));
    let name = alias.map_or(called, |alias| alias.aliasname.as_str());
    Item {
        name,
        schema: None,
        columns: Columns::Derived(outs),
        by_name: !name.is_empty(),
        bare: true,
    }
}

fn made_of(outs: &mut Outs<'_>, lineage: &Lineage) {
    for out in &mut outs.list {
        out.lineage = lineage.clone().changed();
    }
}

fn called(relation: &RangeVar) -> &str {
    relation
        .alias
        .as_ref()
        .map_or(relation.relname.as_str(), |alias| alias.aliasname.as_str())
}

fn names_of(alias: Option<&Alias>) -> Vec<&str> {
    alias
        .into_iter()
        .flat_map(|alias| alias.colnames.iter().filter_map(text_of))
        .collect()
}
