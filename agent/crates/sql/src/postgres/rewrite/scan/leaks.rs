//! What tells nothing of the rows that it is shown, so that a row filter needs no fence around it.

use pg_query::NodeEnum;

/// Operators that tell nothing of their operands but the answer.
pub(super) const LEAKPROOF: &[&str] = &[
    "=",
    "<>",
    "!=",
    "<",
    ">",
    "<=",
    ">=",
    "BETWEEN",
    "NOT BETWEEN",
    "IN",
];

/// Aggregates run over the rows that are left.
pub(super) const AGGREGATES: &[&str] = &["count", "sum", "min", "max", "avg", "row_number", "rank"];

/// Whether a node neither fails nor runs anything by what it is given; calls and operators are judged by their names.
pub(super) fn keeps_to_itself(node: &NodeEnum) -> bool {
    match node {
        // The value of a constant says nothing about rows.
        NodeEnum::TypeCast(cast) => matches!(
            cast.arg.as_deref().and_then(|arg| arg.node.as_ref()),
            Some(NodeEnum::AConst(_) | NodeEnum::ParamRef(_))
        ),
        NodeEnum::AConst(_)
        | NodeEnum::AArrayExpr(_)
        | NodeEnum::AStar(_)
        | NodeEnum::Alias(_)
        | NodeEnum::BoolExpr(_)
        | NodeEnum::Boolean(_)
        | NodeEnum::BooleanTest(_)
        | NodeEnum::CaseExpr(_)
        | NodeEnum::CaseWhen(_)
        | NodeEnum::CoalesceExpr(_)
        | NodeEnum::CollateClause(_)
        | NodeEnum::CommonTableExpr(_)
        | NodeEnum::CopyStmt(_)
        | NodeEnum::DeclareCursorStmt(_)
        | NodeEnum::DefElem(_)
        | NodeEnum::Float(_)
        | NodeEnum::GroupingFunc(_)
        | NodeEnum::GroupingSet(_)
        | NodeEnum::Integer(_)
        | NodeEnum::IntoClause(_)
        | NodeEnum::JoinExpr(_)
        | NodeEnum::List(_)
        | NodeEnum::MinMaxExpr(_)
        | NodeEnum::NullTest(_)
        | NodeEnum::ParamRef(_)
        | NodeEnum::PrepareStmt(_)
        | NodeEnum::RangeSubselect(_)
        | NodeEnum::RangeTableSample(_)
        | NodeEnum::ResTarget(_)
        | NodeEnum::RowExpr(_)
        | NodeEnum::SetToDefault(_)
        | NodeEnum::SortBy(_)
        | NodeEnum::SqlvalueFunction(_)
        | NodeEnum::String(_)
        | NodeEnum::TypeName(_)
        | NodeEnum::WindowDef(_)
        | NodeEnum::WithClause(_) => true,
        _ => false,
    }
}
