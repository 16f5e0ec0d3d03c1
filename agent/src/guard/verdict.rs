//! What was decided about one text, and the words a client gets.

use std::{hash::Hash, sync::Arc};

use weir_policy::{Decision, Effect, Obligations, StepUp};
use weir_sql::{
    Confidence, Facts, RelationName,
    postgres::{Edit, Step},
};
use weir_wire::postgres::Refusal;

use super::{KnownNaming, governed::Judged};
use crate::{audit, holds::Clearance};

/// What was decided about one text.
#[derive(Debug, Clone)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "they are independent answers, each read by itself"
)]
pub struct Verdict {
    /// The journal's entry for it.
    pub statement: Arc<audit::Statement>,
    /// What the client is told when it may not run.
    pub refusal: Option<Refusal>,
    /// Whether it may change how later texts are read.
    pub changes_session: bool,
    /// Whether its record must be on disk before it leaves.
    pub strict: bool,
    /// What goes on in place of the client's text; `None` is the text as it came.
    pub replacement: Option<Replacement>,
    /// What the answer is subject to.
    pub obligations: Obligations,
    /// Whether something may be hidden from whoever asked: messages are sanitised then.
    pub protect: bool,
    /// Whether it makes, changes or removes objects: see [`Link`](crate::catalog::Link).
    pub defines: bool,
    /// Whether it names a relation that the catalog does not know: see [`Link::unknown_seen`](crate::catalog::Link::unknown_seen).
    pub unknown: bool,
    /// What it does to how the session's names are read; empty where that does not matter.
    pub steps: Vec<Step>,
    /// Whether it changes how names are read, or as which role, until the session is at an end.
    pub moves: Moves,
    /// Columns within reach that this decision leaves as they are, by relation and number, sorted.
    pub(super) cleared: Box<[(u32, i16)]>,
    /// For whom: [`Scope`](super::Scope)'s number.
    pub(super) scope: u64,
    pub(super) epoch: u64,
    /// How the log-in stood.
    pub(super) standing: u32,
    /// The catalog's epoch, zero when there was none; `None` where it played no part.
    pub(super) catalog: Option<u64>,
    /// How the text's names were read; `None` where that played no part.
    pub(super) naming: Option<Arc<KnownNaming>>,
    /// Whether it gives names to queries in SQL, or makes views that only its session sees.
    pub names: bool,
    /// What approved it, where that was needed and given.
    pub clearance: Option<Arc<Clearance>>,
    pub(super) text: Box<[u8]>,
}

/// What a text changes about how the texts after it are understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Moves {
    /// Where names are looked up, or what they mean.
    pub names: bool,
    /// As which role the session acts.
    pub role: bool,
}

impl Moves {
    /// Of what the steps of a text say.
    pub(super) fn of(steps: &[Step]) -> Self {
        let mut moves = Self::default();
        for step in steps {
            match step {
                Step::Role { .. } | Step::Authorise { .. } | Step::LoseRole => moves.role = true,
                Step::Begin
                | Step::Commit { .. }
                | Step::Rollback { .. }
                | Step::Savepoint(_)
                | Step::Release(_)
                | Step::RollbackTo(_) => {}
                _ => moves.names = true,
            }
        }
        moves
    }

    /// Whether it changes anything.
    #[must_use]
    pub fn any(self) -> bool {
        self.names || self.role
    }
}

/// The text that goes on in place of the client's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replacement {
    /// What the server gets.
    pub text: Box<[u8]>,
    /// What was replaced, for positions in the server's errors.
    pub edits: Vec<Edit>,
}

impl Verdict {
    /// The text that was decided, to be decided again under another policy; empty when it was none.
    #[must_use]
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// The same with an approval, for the one that was approved.
    #[must_use]
    pub fn approved(&self, clearance: Clearance) -> Arc<Self> {
        Arc::new(Self {
            clearance: Some(Arc::new(clearance)),
            ..self.clone()
        })
    }

    /// Whether it was decided as the other was: for the same, by the same rules, of the same catalog, with names read alike,
    /// and to the same end.
    #[must_use]
    pub fn stands_as(&self, other: &Self) -> bool {
        self.basis() == other.basis()
            && self.obligations == other.obligations
            && self.sends_the_same_as(other)
    }

    /// For whom, by which rules, of which catalog, and with names read how it was decided.
    pub(super) fn basis(&self) -> impl Hash + Eq + use<> {
        let naming = self.naming.as_ref().map(|naming| naming.id);
        (self.scope, self.epoch, self.standing, self.catalog, naming)
    }

    /// Which reading of the catalog it rests on; `None` where that played no part.
    #[must_use]
    pub fn catalog(&self) -> Option<u64> {
        self.catalog
    }

    /// For whom, and under which policy, it was decided.
    #[must_use]
    pub fn rules(&self) -> (u64, u64) {
        (self.scope, self.epoch)
    }

    /// Whether the server would get the same as by another verdict on the same text: what was prepared by one may be
    /// executed by the other.
    #[must_use]
    pub fn sends_the_same_as(&self, other: &Self) -> bool {
        match (&self.replacement, &other.replacement) {
            (None, None) => true,
            (Some(one), Some(other)) => one.text == other.text,
            _ => false,
        }
    }
}

pub(super) fn refusal(judged: &Judged) -> Option<Refusal> {
    let (facts, decision) = (&judged.facts, &judged.decision);
    let Effect::Deny { reason } = &decision.effect else {
        return judged.unknown.as_ref().map(not_there);
    };
    if facts.confidence == Confidence::Unparsed
        && let Some(error) = facts
            .parse_error
            .as_deref()
            .filter(|text| is_syntax_error(text))
    {
        // A typo is a typo: the developer sees the parser's own words.
        return Some(Refusal {
            sqlstate: "42601".into(),
            message: error.to_owned(),
            detail: Some(
                "weir could not read the statement, so it was not sent to the server".into(),
            ),
            hint: None,
        });
    }
    let unread = facts
        .parse_error
        .as_ref()
        .filter(|error| !reason.contains(error.as_str()))
        .map_or_else(String::new, |error| format!(" ({error})"));
    Some(Refusal {
        sqlstate: "42501".into(),
        message: format!("weir: {reason}{unread}"),
        detail: Some(rules(decision)),
        hint: judged
            .obstacle
            .as_ref()
            .map(|obstacle| obstacle.hint.clone())
            .filter(|hint| !hint.is_empty())
            .or_else(|| decision.step_up.as_ref().map(StepUp::hint))
            .or_else(|| Some(HINT.into())),
    })
}

/// The parser's words quote the text where it stumbled, which may be a literal: who sent it is told, the record is not.
pub(super) fn forget_quotes(facts: &mut Facts, decision: &mut Decision) {
    let Some(said) = facts.parse_error.as_mut() else {
        return;
    };
    let (Some(first), Some(last)) = (said.find('"'), said.rfind('"')) else {
        return;
    };
    let mut kept = said.clone();
    kept.replace_range(first..=last, "\"…\"");
    if let Effect::Deny { reason } = &mut decision.effect {
        *reason = reason.replace(said.as_str(), &kept);
    }
    *said = kept;
}

/// As the server says it: most often that is what it would say.
fn not_there(relation: &RelationName) -> Refusal {
    Refusal {
        sqlstate: "42P01".into(),
        message: format!("relation \"{relation}\" does not exist"),
        detail: None,
        hint: Some("if it was made a moment ago, run this again: weir looks for it now".into()),
    }
}

/// What a client is told when its connection is refused.
#[must_use]
pub fn admission_refusal(decision: &Decision, identified: bool) -> Refusal {
    let reason = match &decision.effect {
        Effect::Deny { reason } => reason.as_str(),
        Effect::Allow => "",
    };
    let hint = if identified {
        HINT.to_owned()
    } else {
        "nobody vouches for this process: run \"weir login\", or ask for a workload entry"
            .to_owned()
    };
    Refusal {
        sqlstate: "28000".into(),
        message: format!("weir: {reason}"),
        detail: Some(rules(decision)),
        hint: Some(hint),
    }
}

fn rules(decision: &Decision) -> String {
    let ids: Vec<&str> = decision.rules.iter().map(|rule| rule.0.as_str()).collect();
    format!("rule {}", ids.join(", "))
}

fn is_syntax_error(text: &str) -> bool {
    text.starts_with("syntax error")
        || text.starts_with("unterminated")
        || text.contains("at or near")
}

const HINT: &str = "\"weir policy explain\" shows which rule decided and why";

#[cfg(test)]
mod tests {
    use weir_sql::{SessionModes, postgres};

    use super::*;
    use crate::audit::fixtures::denied;

    #[test]
    fn nothing_is_quoted_of_a_text_that_cannot_be_parsed() {
        for text in [
            "select 1 'pin-4711'",
            "select 'pin-4711",
            "select $a$ pin-4711",
            "select E'\\",
            "select pin 4711 4711",
        ] {
            let mut facts = postgres::analyse(text.as_bytes(), SessionModes::default());
            let said = facts.parse_error.clone().expect("it cannot be parsed");
            let mut decision = denied();
            decision.effect = Effect::Deny {
                reason: format!("the statement cannot be parsed: {said}"),
            };
            forget_quotes(&mut facts, &mut decision);
            let kept = format!("{facts:?} {decision:?}");
            assert!(!kept.contains("4711") && !kept.contains('\''), "{kept}");
            assert!(kept.contains("the statement cannot be parsed: "), "{kept}");
        }
    }
}
