//! Relations that a statement empties or removes as a whole, rows that nobody sees among them.

use pg_query::NodeEnum;
use pg_query::protobuf::{DropBehavior, DropStmt, Node, ObjectType, RangeVar, RawStmt};

use super::resolve::{Meaning, resolve};
use crate::catalog::{Catalog, Naming, Relation};
use crate::postgres::walk::text_of;

/// All of them in one statement; where a name could be several relations, all count.
pub(in crate::postgres) fn removed<'c>(
    catalog: &'c Catalog,
    naming: &Naming,
    statement: &RawStmt,
) -> Vec<&'c Relation> {
    let node = statement
        .stmt
        .as_deref()
        .and_then(|stmt| stmt.node.as_ref());
    let mut found = match node {
        Some(NodeEnum::TruncateStmt(truncate)) => {
            let mut found = truncated(catalog, naming, &truncate.relations);
            if truncate.behavior == DropBehavior::DropCascade as i32 {
                add_referring(catalog, &mut found);
            }
            found
        }
        Some(NodeEnum::DropStmt(drop)) => dropped(catalog, naming, drop),
        _ => Vec::new(),
    };
    found.sort_by_key(|relation| relation.oid);
    found.dedup_by_key(|relation| relation.oid);
    found
}

fn truncated<'c>(catalog: &'c Catalog, naming: &Naming, relations: &[Node]) -> Vec<&'c Relation> {
    let names = relations.iter().filter_map(|node| match &node.node {
        Some(NodeEnum::RangeVar(relation)) => Some(relation),
        _ => None,
    });
    names
        .flat_map(|relation| meant(catalog, naming, relation))
        .collect()
}

/// `CASCADE` empties what refers to it, and what refers to that.
fn add_referring<'c>(catalog: &'c Catalog, found: &mut Vec<&'c Relation>) {
    let mut at = 0;
    while let Some(relation) = found.get(at).copied() {
        at += 1;
        for oid in catalog.referred.get(&relation.oid).into_iter().flatten() {
            if let Some(referring) = catalog.relations.get(oid)
                && !found.iter().any(|seen| seen.oid == referring.oid)
            {
                found.push(referring);
            }
        }
    }
}

fn dropped<'c>(catalog: &'c Catalog, naming: &Naming, drop: &DropStmt) -> Vec<&'c Relation> {
    let kind = ObjectType::try_from(drop.remove_type).unwrap_or_default();
    let mut found = Vec::new();
    for object in &drop.objects {
        let parts: Vec<&str> = match &object.node {
            Some(NodeEnum::List(list)) => list.items.iter().filter_map(text_of).collect(),
            Some(NodeEnum::String(text)) => vec![text.sval.as_str()],
            _ => continue,
        };
        match (kind, parts.as_slice()) {
            (ObjectType::ObjectTable | ObjectType::ObjectMatview, [.., name]) => {
                let relation = RangeVar {
                    schemaname: parts
                        .len()
                        .checked_sub(2)
                        .and_then(|at| parts.get(at))
                        .map_or_else(String::new, |schema| (*schema).to_owned()),
                    relname: (*name).to_owned(),
                    ..RangeVar::default()
                };
                found.extend(meant(catalog, naming, &relation));
            }
            (ObjectType::ObjectSchema, [schema]) => found.extend(
                catalog
                    .relations
                    .values()
                    .filter(|relation| relation.schema == *schema),
            ),
            _ => {}
        }
    }
    found
}

fn meant<'c>(catalog: &'c Catalog, naming: &Naming, relation: &RangeVar) -> Vec<&'c Relation> {
    match resolve(catalog, naming, relation).meaning {
        Meaning::Relation(found) => vec![found],
        Meaning::OffPath | Meaning::Ambiguous => catalog.named(&relation.relname).collect(),
        Meaning::Temporary | Meaning::Unknown => Vec::new(),
    }
}
