//! Whether a condition chooses rows, or only looks as if it did.

use pg_query::NodeEnum;
use pg_query::protobuf::{AExpr, AExprKind, BoolExprType, Node};

/// Whether the condition can differ from row to row (or by a parameter).
///
/// `false` for a missing condition in disguise: no column, sub-select or parameter in it, a column
/// compared with itself, or an `OR` with such an arm. Values of literals never matter: `1=0` counts
/// as constant as `1=1` does, and so the answer is the same for every text of a shape.
pub(super) fn depends_on_the_row(condition: &Node) -> bool {
    chooses(condition, Sense::Plain)
}

/// Whether an odd number of `NOT`s is around.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sense {
    Plain,
    Negated,
}

fn chooses(condition: &Node, sense: Sense) -> bool {
    let Some(node) = &condition.node else {
        return false;
    };
    match node {
        NodeEnum::BoolExpr(expr) => match BoolExprType::try_from(expr.boolop) {
            Ok(BoolExprType::NotExpr) => {
                let inner = match sense {
                    Sense::Plain => Sense::Negated,
                    Sense::Negated => Sense::Plain,
                };
                expr.args.iter().any(|arg| chooses(arg, inner))
            }
            // Any arm of an OR that is always true makes it true; under NOT it is the AND's turn.
            Ok(BoolExprType::OrExpr) if sense == Sense::Plain => every(&expr.args, sense),
            Ok(BoolExprType::AndExpr) if sense == Sense::Negated => every(&expr.args, sense),
            _ => expr.args.iter().any(|arg| chooses(arg, sense)),
        },
        NodeEnum::AExpr(expr) if compares_with_itself(expr) => false,
        NodeEnum::BooleanTest(test) => test.arg.as_deref().is_some_and(|arg| chooses(arg, sense)),
        _ => varies(condition),
    }
}

fn every(arms: &[Node], sense: Sense) -> bool {
    !arms.is_empty() && arms.iter().all(|arm| chooses(arm, sense)) && !covers_all_values(arms)
}

/// `a = a`, `a IS NOT DISTINCT FROM a`, `a <= a`, `$1 = $1`.
fn compares_with_itself(expr: &AExpr) -> bool {
    let operator_may_hold = match AExprKind::try_from(expr.kind) {
        Ok(AExprKind::AexprOp) => {
            matches!(
                operator(expr),
                Some("=" | "<=" | ">=" | "~=" | "@>" | "<@" | "~" | "~*")
            )
        }
        Ok(
            AExprKind::AexprNotDistinct
            | AExprKind::AexprLike
            | AExprKind::AexprIlike
            | AExprKind::AexprSimilar,
        ) => true,
        Ok(AExprKind::AexprDistinct) => true,
        _ => false,
    };
    operator_may_hold
        && match (expr.lexpr.as_deref(), expr.rexpr.as_deref()) {
            (Some(left), Some(right)) => same_source(left, right),
            _ => false,
        }
}

fn operator(expr: &AExpr) -> Option<&str> {
    expr.name.last().and_then(super::walk::text_of)
}

/// Whether both are the same column or the same parameter.
fn same_source(left: &Node, right: &Node) -> bool {
    match (&left.node, &right.node) {
        (Some(NodeEnum::ColumnRef(left)), Some(NodeEnum::ColumnRef(right))) => {
            left.fields == right.fields
        }
        (Some(NodeEnum::ParamRef(left)), Some(NodeEnum::ParamRef(right))) => {
            left.number == right.number
        }
        (Some(NodeEnum::TypeCast(left)), Some(NodeEnum::TypeCast(right))) => {
            match (left.arg.as_deref(), right.arg.as_deref()) {
                (Some(left), Some(right)) => same_source(left, right),
                _ => false,
            }
        }
        _ => false,
    }
}

/// `a IS NULL OR a IS NOT NULL`.
fn covers_all_values(arms: &[Node]) -> bool {
    let tests: Vec<_> = arms
        .iter()
        .filter_map(|arm| match &arm.node {
            Some(NodeEnum::NullTest(test)) => Some((test.arg.as_deref()?, test.nulltesttype)),
            _ => None,
        })
        // Enough to see it in what people write; all pairs of a long list would be slow.
        .take(MAX_NULL_TESTS)
        .collect();
    tests.iter().enumerate().any(|(index, (arg, kind))| {
        tests
            .iter()
            .skip(index + 1)
            .any(|(other, other_kind)| kind != other_kind && same_source(arg, other))
    })
}

const MAX_NULL_TESTS: usize = 16;

/// Whether a column, a sub-select, a parameter or a cursor's position is anywhere inside.
fn varies(node: &Node) -> bool {
    let mut search = Search { found: false };
    super::children::Field::hand(node, &mut search);
    search.found
}

struct Search {
    found: bool,
}

impl<'a> super::children::Visitor<'a> for Search {
    fn node(&mut self, node: &'a NodeEnum) {
        self.found |= matches!(
            node,
            NodeEnum::ColumnRef(_)
                | NodeEnum::SubLink(_)
                | NodeEnum::ParamRef(_)
                | NodeEnum::CurrentOfExpr(_)
        );
        if !self.found {
            super::children::each_child(node, self);
        }
    }

    fn relation(&mut self, _: &'a pg_query::protobuf::RangeVar) {}

    fn select(&mut self, _: &'a pg_query::protobuf::SelectStmt) {
        self.found = true;
    }
}
