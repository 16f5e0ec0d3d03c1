//! Principal and facts to a decision.
//!
//! A [`Pack`] is a folder of typed rules. Every rule is held against a [`Question`]; their order never matters, and the
//! strictest answer holds. What is in doubt is refused: a restriction is met by what *may* meet it, a grant only covers
//! what certainly is covered. Knows no sockets, files of a running agent, or clocks: what it needs arrives as arguments.

mod analysis;
mod bits;
pub mod cases;
mod classes;
mod conditions;
pub mod coverage;
pub mod database;
pub mod decide;
pub mod decision;
pub mod explain;
pub mod finding;
mod masking;
mod obligations;
pub mod pack;
mod pattern;
pub mod principal;
pub mod rule;
pub mod schema;
pub mod source;
mod template;
mod view;

pub use cases::{CaseResult, Cases, Person};
pub use classes::Classed;
pub use conditions::{Check, StepUp};
pub use database::Database;
pub use decide::Question;
pub use decision::{Approval, Budget, Decision, Effect, Obligations, RuleId};
pub use explain::{Explanation, RuleTrace};
pub use finding::{Finding, PackError, Place, Severity};
pub use pack::Pack;
pub use principal::{
    Actor, Delegation, Identity, Method, Principal, PrincipalKind, Process, Strength, Target,
};
pub use rule::Rule;
pub use schema::{Answer, Classes, Effects, Mode, Per};
pub use source::Sources;
