//! Holding an expression against the schema before it is ever evaluated.

use std::collections::BTreeSet;

use cel::{
    IdedExpr,
    common::ast::{
        CallExpr, ComprehensionExpr, EntryExpr, Expr, LiteralValue, MapExpr, SelectExpr,
        operators as op,
    },
};

use crate::finding::suggest;

use super::schema::{Root, Type};

/// What is known of a sound expression.
pub(super) struct Checked {
    pub(super) of: Type,
    pub(super) uses: BTreeSet<(Root, &'static str)>,
    pub(super) nodes: usize,
    pub(super) degree: u32,
}

/// What is wrong with one.
pub(super) struct Mistake {
    pub(super) message: String,
    pub(super) remedy: String,
}

pub(super) fn check(expression: &IdedExpr) -> Result<Checked, Mistake> {
    let mut checker = Checker::default();
    let (of, degree) = checker.expression(expression)?;
    Ok(Checked {
        of,
        uses: checker.uses,
        nodes: checker.nodes,
        degree,
    })
}

#[derive(Default)]
struct Checker {
    uses: BTreeSet<(Root, &'static str)>,
    nodes: usize,
    /// Names that loops give to what they go through.
    scope: Vec<(String, Type)>,
}

/// A type, and how often a list is gone through within another to get there.
type Found = Result<(Type, u32), Mistake>;

impl Checker {
    fn expression(&mut self, expression: &IdedExpr) -> Found {
        self.nodes += 1;
        match &expression.expr {
            Expr::Literal(literal) => Ok((literal_type(literal), 0)),
            Expr::Ident(name) => self.name(name),
            Expr::Select(select) => self.select(select),
            Expr::Call(call) => self.call(call),
            Expr::List(list) => self.list(list.elements.iter()),
            Expr::Map(map) => self.map(map),
            Expr::Comprehension(comprehension) => self.comprehension(comprehension),
            Expr::Struct(_) | Expr::Unspecified => {
                Err(mistake("messages are not known here", "use lists and maps"))
            }
        }
    }

    fn name(&mut self, name: &str) -> Found {
        if let Some((_, of)) = self.scope.iter().rev().find(|(known, _)| known == name) {
            return Ok((of.clone(), 0));
        }
        match Root::named(name) {
            Some(Root::Now) => {
                self.uses.insert((Root::Now, ""));
                Ok((Type::Number, 0))
            }
            Some(root) => Ok((Type::Root(root), 0)),
            None => Err(Mistake {
                message: format!("`{name}` is not known"),
                remedy: suggest(name, &Root::ALL.map(Root::name)),
            }),
        }
    }

    fn select(&mut self, select: &SelectExpr) -> Found {
        let (of, degree) = self.expression(&select.operand)?;
        match of {
            Type::Root(root) => {
                let Some((name, field)) = root.field(&select.field) else {
                    return Err(Mistake {
                        message: format!("`{}` has no `{}`", root.name(), select.field),
                        remedy: suggest(&select.field, &root.field_names()),
                    });
                };
                if select.test {
                    return Err(mistake(
                        &format!("`{}.{name}` is always there", root.name()),
                        "compare it with null instead of asking has()",
                    ));
                }
                self.uses.insert((root, name));
                Ok((field, degree))
            }
            Type::Map(_) if select.test => Ok((Type::Bool, degree)),
            Type::Map(of) => Ok((*of, degree)),
            other => Err(Mistake {
                message: format!("{other} has no field `{}`", select.field),
                remedy: "fields are those of stmt, actor, process and target, and of maps"
                    .to_owned(),
            }),
        }
    }

    fn list<'e>(&mut self, elements: impl Iterator<Item = &'e IdedExpr>) -> Found {
        let mut all = Type::Any;
        let mut deepest = 0;
        for element in elements {
            let (of, degree) = self.expression(element)?;
            deepest = deepest.max(degree);
            all = all.common(&of).ok_or_else(|| {
                mistake(
                    &format!("a list holds {all} and {of}"),
                    "keep to one type in a list",
                )
            })?;
        }
        Ok((Type::List(Box::new(all)), deepest))
    }

    fn map(&mut self, map: &MapExpr) -> Found {
        let mut all = Type::Any;
        let mut deepest = 0;
        for entry in &map.entries {
            let EntryExpr::MapEntry(entry) = &entry.expr else {
                return Err(mistake("messages are not known here", "use lists and maps"));
            };
            let (key, key_degree) = self.expression(&entry.key)?;
            let (of, degree) = self.expression(&entry.value)?;
            deepest = deepest.max(degree).max(key_degree);
            if key != Type::Text {
                return Err(mistake(
                    &format!("a map's key is {key}"),
                    "keys are texts here",
                ));
            }
            all = all.common(&of).ok_or_else(|| {
                mistake(
                    &format!("a map holds {all} and {of}"),
                    "keep to one type in a map",
                )
            })?;
        }
        Ok((Type::Map(Box::new(all)), deepest))
    }

    fn comprehension(&mut self, loops: &ComprehensionExpr) -> Found {
        let (range, range_degree) = self.expression(&loops.iter_range)?;
        let element = match range {
            Type::List(of) => *of,
            Type::Map(_) => Type::Text,
            other => {
                return Err(mistake(
                    &format!("{other} cannot be gone through"),
                    "use exists, all, filter or map on a list",
                ));
            }
        };
        let (initial, _) = self.expression(&loops.accu_init)?;
        // A list that grows is copied each time.
        let grows = matches!(initial, Type::List(_));
        self.scope.push((loops.iter_var.clone(), element.clone()));
        if let Some(second) = &loops.iter_var2 {
            self.scope.push((second.clone(), element));
        }
        self.scope.push((loops.accu_var.clone(), initial.clone()));
        let inner = self.body(loops, &initial);
        let depth = self.scope.len() - 2 - usize::from(loops.iter_var2.is_some());
        self.scope.truncate(depth);
        let (result, degree) = inner?;
        Ok((result, range_degree.max(degree + 1 + u32::from(grows))))
    }

    fn body(&mut self, loops: &ComprehensionExpr, initial: &Type) -> Found {
        let (_, in_condition) = self.expression(&loops.loop_cond)?;
        let (step, in_step) = self.expression(&loops.loop_step)?;
        let grown = initial.common(&step).ok_or_else(|| {
            mistake(
                &format!("a loop gives {step}"),
                "exists, all and filter need a condition",
            )
        })?;
        if let Some((_, accumulated)) = self.scope.last_mut() {
            *accumulated = grown;
        }
        let (result, in_result) = self.expression(&loops.result)?;
        Ok((result, in_condition.max(in_step).max(in_result)))
    }

    fn call(&mut self, call: &CallExpr) -> Found {
        let mut types = Vec::new();
        let mut deepest = 0;
        for argument in call.target.iter().map(AsRef::as_ref).chain(&call.args) {
            let (of, degree) = self.expression(argument)?;
            deepest = deepest.max(degree);
            types.push(of);
        }
        let through_list = match (call.func_name.as_str(), types.as_slice()) {
            (op::IN | op::EQUALS | op::NOT_EQUALS, [_, Type::List(_)])
            | (op::EQUALS | op::NOT_EQUALS, [Type::List(_), _]) => 1,
            _ => 0,
        };
        let of = result_of(&call.func_name, &types)?;
        Ok((of, deepest + through_list))
    }
}

/// What an operator or function gives for arguments of these types.
fn result_of(name: &str, types: &[Type]) -> Result<Type, Mistake> {
    let present: Vec<_> = types.iter().map(Type::present).collect();
    let all = |wanted: &Type| present.iter().all(|of| *of == wanted || **of == Type::Any);
    let numbers_or_texts = || all(&Type::Number) || all(&Type::Text);
    let of = match (name, present.as_slice()) {
        (op::LOGICAL_AND | op::LOGICAL_OR, [_, _])
        | (op::LOGICAL_NOT | op::NOT_STRICTLY_FALSE, [_])
            if all(&Type::Bool) =>
        {
            Some(Type::Bool)
        }
        (op::EQUALS | op::NOT_EQUALS, [_, _]) => types[0].common(&types[1]).map(|_| Type::Bool),
        (op::LESS | op::LESS_EQUALS | op::GREATER | op::GREATER_EQUALS, [_, _])
            if numbers_or_texts() =>
        {
            Some(Type::Bool)
        }
        (op::ADD, [Type::List(a), Type::List(b)]) => a.common(b).map(|of| Type::List(Box::new(of))),
        (op::ADD, [_, _]) if all(&Type::Text) => Some(Type::Text),
        (op::ADD | op::SUBSTRACT | op::MULTIPLY | op::DIVIDE | op::MODULO, [_, _])
        | (op::NEGATE, [_])
            if all(&Type::Number) =>
        {
            Some(Type::Number)
        }
        (op::IN, [of, Type::List(element)]) => of.common(element).map(|_| Type::Bool),
        (op::IN, [Type::Text, Type::Map(_)])
        | ("contains" | "startsWith" | "endsWith", [Type::Text, Type::Text]) => Some(Type::Bool),
        (op::CONDITIONAL, [Type::Bool, _, _]) => types[1].common(&types[2]),
        (op::INDEX, [Type::List(of), Type::Number] | [Type::Map(of), Type::Text]) => {
            Some(Type::clone(of))
        }
        ("size", [Type::Text | Type::Bytes | Type::List(_) | Type::Map(_)])
        | ("int" | "double", [Type::Number | Type::Text]) => Some(Type::Number),
        ("string", [Type::Number | Type::Text]) => Some(Type::Text),
        _ => None,
    };
    of.ok_or_else(|| refusal(name, types))
}

fn refusal(name: &str, types: &[Type]) -> Mistake {
    let shown: Vec<_> = types.iter().map(ToString::to_string).collect();
    let operator = name.trim_matches(['_', '@']);
    let known = KNOWN.contains(&name) || !name.bytes().all(|b| b.is_ascii_alphanumeric());
    if known {
        mistake(
            &format!("`{operator}` of {}", shown.join(" and ")),
            "compare like with like, and a list with `in`, exists or all",
        )
    } else {
        Mistake {
            message: format!("the function `{name}` is not known"),
            remedy: suggest(name, KNOWN),
        }
    }
}

fn literal_type(literal: &LiteralValue) -> Type {
    match literal {
        LiteralValue::Boolean(_) => Type::Bool,
        LiteralValue::Bytes(_) => Type::Bytes,
        LiteralValue::Double(_) | LiteralValue::Int(_) | LiteralValue::UInt(_) => Type::Number,
        LiteralValue::Null => Type::Null,
        LiteralValue::String(_) => Type::Text,
    }
}

fn mistake(message: &str, remedy: &str) -> Mistake {
    Mistake {
        message: message.to_owned(),
        remedy: remedy.to_owned(),
    }
}

/// The functions of CEL that are at hand here; loops are written `exists`, `all`, `exists_one`, `filter` and `map`.
const KNOWN: &[&str] = &[
    "size",
    "contains",
    "startsWith",
    "endsWith",
    "string",
    "int",
    "double",
    "has",
    "exists",
    "all",
    "exists_one",
    "filter",
    "map",
];
