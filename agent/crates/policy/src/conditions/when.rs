//! `when:`, a CEL expression for what the typed fields cannot say.
//!
//! It is held against a declared schema when the pack is loaded, and what it may cost is bounded by its size and by how
//! deep its loops nest. It is asked last, when all typed fields agree. Where it cannot be evaluated the answer is in
//! doubt: a restriction holds then, a grant does not.

mod check;
mod schema;
mod values;

use std::{
    collections::BTreeSet,
    panic::{self, AssertUnwindSafe},
    sync::Arc,
};

use cel::{Context, Env, Program, Value};

use crate::{
    finding::{Finding, Place},
    view::View,
};

use super::Truth;
use schema::{Root, Type};

/// A compiled expression.
pub(crate) struct When {
    pub(crate) written: String,
    program: Program,
    env: Arc<Env>,
    /// Which fields it asks for.
    uses: BTreeSet<(Root, &'static str)>,
    /// How often a list is gone through within another.
    degree: u32,
    nodes: usize,
}

impl When {
    /// Reads and checks an expression; what is wrong with it is added to `findings`.
    pub(crate) fn compile(
        written: &str,
        place: &Place,
        findings: &mut Vec<Finding>,
    ) -> Option<Self> {
        let mut wrong = |message: String, remedy: &str| {
            findings.push(place.error(message, remedy));
            None
        };
        if written.len() > MAX_BYTES {
            return wrong(
                format!("the expression has more than {MAX_BYTES} bytes"),
                "say what you can in `match`, or split the rule",
            );
        }
        // The reader of expressions is a foreign one, and a pack is also read while statements are decided.
        let program = match panic::catch_unwind(AssertUnwindSafe(|| Program::compile(written))) {
            Ok(Ok(program)) => program,
            Ok(Err(errors)) => {
                let first = errors.errors.first();
                let message = first.map_or("it cannot be read", |error| error.msg.as_str());
                return wrong(
                    format!("`when` is no CEL expression: {message}"),
                    "write for example stmt.limit == null && actor.purpose != 'backup'",
                );
            }
            Err(_) => {
                return wrong(
                    "`when` is no CEL expression".to_owned(),
                    "write for example stmt.limit == null && actor.purpose != 'backup'",
                );
            }
        };
        let checked = match check::check(program.expression()) {
            Ok(checked) => checked,
            Err(mistake) => {
                return wrong(format!("in `when`: {}", mistake.message), &mistake.remedy);
            }
        };
        if checked.of != Type::Bool {
            return wrong(
                format!("`when` gives {}, not true or false", checked.of),
                "compare it with something",
            );
        }
        if checked.nodes > MAX_NODES || checked.degree > MAX_DEGREE {
            return wrong(
                format!(
                    "the expression is too costly: {} operations (at most {MAX_NODES}), lists within lists {} deep (at most {MAX_DEGREE})",
                    checked.nodes, checked.degree
                ),
                "say what you can in `match`, or split the rule",
            );
        }
        Some(Self {
            written: written.to_owned(),
            program,
            env: Arc::new(Env::stdlib()),
            uses: checked.uses,
            degree: checked.degree,
            nodes: checked.nodes,
        })
    }

    pub(crate) fn evaluate(&self, view: &View<'_>) -> Truth {
        match self.value(view) {
            Ok(Some(holds)) => holds.into(),
            Ok(None) | Err(_) => Truth::Maybe,
        }
    }

    /// Whether it asks for the time: then no decision that rests on it is good for long.
    pub(crate) fn asks_for_now(&self) -> bool {
        let ages = |(root, field): &(Root, &str)| *root == Root::Actor && *field == "auth_age";
        self.uses
            .iter()
            .any(|used| used.0 == Root::Now || ages(used))
    }

    pub(crate) fn show(&self, view: &View<'_>) -> String {
        match self.value(view) {
            Ok(Some(holds)) => holds.to_string(),
            Ok(None) => "no statement yet".to_owned(),
            Err(error) => format!("cannot be evaluated: {error}"),
        }
    }

    /// `None` while what it asks for is not known.
    fn value(&self, view: &View<'_>) -> Result<Option<bool>, String> {
        let about_text = self.uses.iter().any(|(root, _)| *root == Root::Statement);
        let unknown = view.reading.is_none_or(|reading| !reading.parsed());
        if about_text && unknown {
            return Ok(None);
        }
        let mut context = Context::with_env(Arc::clone(&self.env));
        let mut longest = 1;
        for (root, value) in values::of(&self.uses, view, &mut longest)? {
            context.add_variable_from_value(root.name(), value);
        }
        let steps = longest
            .checked_pow(self.degree)
            .and_then(|rounds| rounds.checked_mul(self.nodes));
        if steps.is_none_or(|steps| steps > MAX_STEPS) {
            return Err(format!("lists of {longest} are too long for it"));
        }
        match self.program.execute(&context) {
            Ok(Value::Bool(holds)) => Ok(Some(holds)),
            Ok(_) => Err("it is neither true nor false".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }
}

impl std::fmt::Debug for When {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("When").field(&self.written).finish()
    }
}

/// Equal texts say the same.
impl PartialEq for When {
    fn eq(&self, other: &Self) -> bool {
        self.written == other.written
    }
}

impl Eq for When {}

/// Longer ones are programs, which do not belong into a rule.
const MAX_BYTES: usize = 4096;
const MAX_NODES: usize = 256;
const MAX_DEGREE: u32 = 2;
/// Some milliseconds.
const MAX_STEPS: usize = 100_000;

#[cfg(test)]
mod tests;
