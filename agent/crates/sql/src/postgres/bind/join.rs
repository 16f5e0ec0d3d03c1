//! Joins: whose columns they merge, and what they hide.

use pg_query::protobuf::{Alias, JoinExpr};

use super::Binder;
use super::from::derived;
use super::lineage::{Lineage, Out, Outs};
use super::scope::{Hit, Item};
use crate::facts::ColumnUsage;
use crate::postgres::walk::text_of;

impl<'a> Binder<'a> {
    pub(super) fn join(&mut self, join: &'a JoinExpr) {
        let start = self.item_count();
        if let Some(left) = join.larg.as_deref() {
            self.source_item(left);
        }
        let middle = self.item_count();
        if let Some(right) = join.rarg.as_deref() {
            self.source_item(right);
        }
        let shared = if join.is_natural {
            self.shared_names(start, middle)
        } else {
            join.using_clause.iter().filter_map(text_of).collect()
        };
        let merged = self.merge_columns(&shared, start);
        if let Some(condition) = join.quals.as_deref() {
            let from = self.narrow(start);
            self.condition(condition);
            self.narrow(from);
        }
        let using_alias = join.join_using_alias.as_ref();
        if let Some(alias) = using_alias {
            let outs = Outs {
                list: merged.clone(),
                open: None,
            };
            self.add(Item {
                bare: false,
                ..derived(outs, Some(alias), "")
            });
        }
        if !merged.is_empty() || join.alias.is_some() {
            self.cover(join.alias.as_ref(), merged, start);
        }
    }

    /// Puts the items since `start` under one that has all their columns, the merged ones first.
    fn cover(&mut self, alias: Option<&'a Alias>, merged: Vec<Out<'a>>, start: usize) {
        let Some(scope) = self.scopes.last_mut() else {
            return;
        };
        let mut outs = Outs {
            list: merged,
            open: None,
        };
        let shared: Vec<&str> = outs.list.iter().map(|out| out.name).collect();
        for item in scope.items.iter_mut().skip(start) {
            if item.bare {
                let all = item.columns.all();
                let rest = all.list.into_iter();
                outs.list
                    .extend(rest.filter(|out| !shared.contains(&out.name)));
                if let Some(open) = &all.open {
                    outs.open_with(open);
                }
            }
            item.bare = false;
            item.by_name &= alias.is_none();
        }
        self.add_derived(outs, alias, "");
    }

    /// The names that both sides of a natural join have.
    fn shared_names(&self, start: usize, middle: usize) -> Vec<&'a str> {
        let Some(scope) = self.scopes.last() else {
            return Vec::new();
        };
        let right: Vec<_> = bare(scope.items.get(middle..)).collect();
        let mut names = Vec::new();
        for item in bare(scope.items.get(start..middle)) {
            for out in item.columns.all().list {
                let both = right
                    .iter()
                    .any(|item| matches!(item.columns.find(out.name), Hit::Yes(_)));
                if both && !names.contains(&out.name) {
                    names.push(out.name);
                }
            }
        }
        names
    }

    /// The columns that a join merges, each made of one from either side.
    fn merge_columns(&mut self, names: &[&'a str], start: usize) -> Vec<Out<'a>> {
        let mut merged = Vec::new();
        for &name in names {
            let mut lineage = Lineage::default();
            if let Some(scope) = self.scopes.last() {
                for item in bare(scope.items.get(start..)) {
                    lineage.add(&item.columns.column(name));
                }
            }
            self.touch(&lineage, ColumnUsage::Join);
            merged.push(Out { name, lineage });
        }
        merged
    }

    fn item_count(&self) -> usize {
        self.scopes.last().map_or(0, |scope| scope.items.len())
    }

    fn narrow(&mut self, from: usize) -> usize {
        self.scopes
            .last_mut()
            .map_or(0, |scope| std::mem::replace(&mut scope.from, from))
    }
}

fn bare<'s, 'a>(items: Option<&'s [Item<'a>]>) -> impl Iterator<Item = &'s Item<'a>> {
    items.unwrap_or_default().iter().filter(|item| item.bare)
}
