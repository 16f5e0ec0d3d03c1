//! What marks the types, operators and functions of pgvector in a text.

use pg_query::NodeEnum;
use pg_query::protobuf::{AExpr, AExprKind, Node, TypeName};

use super::walk::text_of;

/// What a text does with vectors.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Vectors {
    /// Distances are computed.
    pub(super) searched: bool,
    /// Vectors are written.
    pub(super) written: bool,
}

/// Whether the operator is called like one of pgvector's distances; other extensions use some of the names too.
pub(super) fn is_distance_operator(expr: &AExpr) -> bool {
    expr.kind == AExprKind::AexprOp as i32
        && matches!(
            expr.name.last().and_then(text_of),
            Some("<->" | "<#>" | "<=>" | "<+>" | "<~>" | "<%>")
        )
}

/// Whether a function computes a distance or similarity when it is given vectors.
pub(super) fn is_distance_function(name: &str) -> bool {
    matches!(
        name,
        "cosine_distance"
            | "halfvec_negative_inner_product"
            | "hamming_distance"
            | "inner_product"
            | "jaccard_distance"
            | "l1_distance"
            | "l2_distance"
            | "sparsevec_negative_inner_product"
            | "vector_negative_inner_product"
            | "vector_spherical_distance"
    )
}

/// Whether the text itself says that a value is a vector: `'[1,2]'::vector`.
pub(super) fn is_vector(node: &Node) -> bool {
    match &node.node {
        Some(NodeEnum::TypeCast(cast)) => cast.type_name.as_ref().is_some_and(is_vector_type),
        _ => false,
    }
}

pub(super) fn is_vector_type(name: &TypeName) -> bool {
    matches!(
        name.names.last().and_then(text_of),
        Some("vector" | "halfvec" | "sparsevec")
    )
}

/// Whether a value comes from outside of the text.
pub(super) fn is_parameter(node: &Node) -> bool {
    matches!(node.node, Some(NodeEnum::ParamRef(_)))
}

/// Whether an operator computes a distance of vectors, as far as the text alone can tell.
pub(super) fn is_search(expr: &AExpr) -> bool {
    is_distance_operator(expr)
        && [&expr.lexpr, &expr.rexpr]
            .into_iter()
            .filter_map(Option::as_deref)
            .any(|side| is_vector(side) || is_parameter(side))
}
