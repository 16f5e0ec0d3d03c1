//! The part of a rule that rules it out most often, as two masks.

use crate::view::View;

use super::{Conditions, Matcher, Stance};

/// Who and what a rule can be about at all.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Gate {
    kinds: u32,
    actors: u8,
    stance: Stance,
}

impl Gate {
    pub(crate) fn new(conditions: &Conditions, stance: Stance) -> Self {
        let mut gate = Self {
            kinds: u32::MAX,
            actors: u8::MAX,
            stance,
        };
        for matcher in &conditions.matchers {
            match matcher {
                Matcher::ActorKind(mask) => gate.actors &= mask,
                Matcher::Kinds { mask, .. } => gate.kinds &= mask,
                _ => {}
            }
        }
        gate
    }

    /// Whether the rule is worth evaluating; a rule that matches always passes.
    pub(crate) fn passes(self, view: &View<'_>) -> bool {
        if view.actor.kind & self.actors == 0 {
            return false;
        }
        let Some(reading) = view.reading.filter(|reading| reading.parsed()) else {
            return true;
        };
        match self.stance {
            Stance::Grant => reading.kinds & !self.kinds == 0,
            Stance::Restrict => self.kinds == u32::MAX || reading.kinds & self.kinds != 0,
        }
    }
}
