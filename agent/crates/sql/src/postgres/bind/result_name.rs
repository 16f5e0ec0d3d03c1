//! The names of results that have none in the text.

use pg_query::NodeEnum;
use pg_query::protobuf::{AExprKind, MinMaxOp, Node, SqlValueFunctionOp, SubLinkType};

use crate::postgres::walk::text_of;

/// What the server calls a result that has no name of its own.
pub(super) fn name_of(node: &Node) -> &str {
    figured(node).unwrap_or("?column?")
}

fn figured(node: &Node) -> Option<&str> {
    match node.node.as_ref()? {
        NodeEnum::ColumnRef(column) => column.fields.iter().rev().find_map(text_of),
        NodeEnum::AIndirection(indirection) => indirection
            .indirection
            .iter()
            .rev()
            .find_map(text_of)
            .or_else(|| figured(indirection.arg.as_deref()?)),
        NodeEnum::FuncCall(call) => call.funcname.last().and_then(text_of),
        NodeEnum::AExpr(expr) => {
            let is_nullif = expr.kind == AExprKind::AexprNullif as i32;
            is_nullif.then_some("nullif")
        }
        NodeEnum::TypeCast(cast) => figured(cast.arg.as_deref()?).or_else(|| {
            let names = &cast.type_name.as_ref()?.names;
            names.last().and_then(text_of)
        }),
        NodeEnum::CollateClause(collate) => figured(collate.arg.as_deref()?),
        NodeEnum::SubLink(link) => match SubLinkType::try_from(link.sub_link_type) {
            Ok(SubLinkType::ExistsSublink) => Some("exists"),
            Ok(SubLinkType::ArraySublink) => Some("array"),
            Ok(SubLinkType::ExprSublink) => first_result(link.subselect.as_deref()?),
            _ => None,
        },
        NodeEnum::CaseExpr(case) => case.defresult.as_deref().and_then(figured).or(Some("case")),
        NodeEnum::AArrayExpr(_) => Some("array"),
        NodeEnum::RowExpr(_) => Some("row"),
        NodeEnum::CoalesceExpr(_) => Some("coalesce"),
        NodeEnum::GroupingFunc(_) => Some("grouping"),
        NodeEnum::MinMaxExpr(expr) => {
            let greatest = expr.op == MinMaxOp::IsGreatest as i32;
            Some(if greatest { "greatest" } else { "least" })
        }
        NodeEnum::SqlvalueFunction(function) => value_function(function.op),
        _ => None,
    }
}

fn first_result(node: &Node) -> Option<&str> {
    match node.node.as_ref()? {
        NodeEnum::SelectStmt(select) => match select.target_list.first()?.node.as_ref()? {
            NodeEnum::ResTarget(target) if !target.name.is_empty() => Some(&target.name),
            NodeEnum::ResTarget(target) => figured(target.val.as_deref()?),
            _ => None,
        },
        _ => None,
    }
}

fn value_function(op: i32) -> Option<&'static str> {
    use SqlValueFunctionOp as Op;
    Some(match Op::try_from(op).ok()? {
        Op::SvfopCurrentDate => "current_date",
        Op::SvfopCurrentTime | Op::SvfopCurrentTimeN => "current_time",
        Op::SvfopCurrentTimestamp | Op::SvfopCurrentTimestampN => "current_timestamp",
        Op::SvfopLocaltime | Op::SvfopLocaltimeN => "localtime",
        Op::SvfopLocaltimestamp | Op::SvfopLocaltimestampN => "localtimestamp",
        Op::SvfopCurrentRole => "current_role",
        Op::SvfopCurrentUser => "current_user",
        Op::SvfopUser => "user",
        Op::SvfopSessionUser => "session_user",
        Op::SvfopCurrentCatalog => "current_catalog",
        Op::SvfopCurrentSchema => "current_schema",
        Op::SqlvalueFunctionOpUndefined => return None,
    })
}
