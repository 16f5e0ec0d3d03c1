//! What is asked of a log-in: how long ago it was, by which means, and whether the provider still vouches for it.
//!
//! What the provider did not say restricts and never grants: a log-in of unknown age is too old for whoever wants a fresh
//! one.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    finding::{Finding, Place, suggest},
    pattern::Pattern,
    schema::SetText,
    view::{ActorView, View},
};

use super::{Attribute, Conditions, Matcher, Stance, Truth};

/// `actor.amr`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Means {
    pub(crate) any: Option<Vec<String>>,
    pub(crate) all: Option<Vec<String>>,
    pub(crate) none: Option<Vec<String>>,
}

/// What a new log-in would have to bring for the request to be allowed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepUp {
    /// It may be so old at most, seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age_s: Option<u64>,
    /// Context classes, one of which the provider must state.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub acr: Vec<String>,
    /// Means of which the provider must state some.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub amr: Vec<String>,
}

impl StepUp {
    /// What to do, for the client to read.
    #[must_use]
    pub fn hint(&self) -> String {
        let mut command = "weir login".to_owned();
        if let Some(seconds) = self.max_age_s {
            command.extend([" --max-age ", &seconds.to_string()]);
        }
        let asked = match self.acr.as_slice() {
            [acr] if !acr.contains(['*', '?', ' ']) => {
                command.extend([" --acr ", acr]);
                true
            }
            _ => false,
        };
        let stated: Vec<_> = [("acr", &self.acr), ("amr", &self.amr)]
            .into_iter()
            .filter(|(claim, values)| !(values.is_empty() || asked && *claim == "acr"))
            .map(|(claim, values)| format!("{claim} {}", values.join(" or ")))
            .collect();
        if stated.is_empty() {
            format!("run \"{command}\"")
        } else {
            format!(
                "run \"{command}\"; the identity provider must state {}",
                stated.join(" and ")
            )
        }
    }

    /// What meets both.
    pub(crate) fn and(mut self, other: Self) -> Self {
        self.max_age_s = match (self.max_age_s, other.max_age_s) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        for (own, more) in [(&mut self.acr, other.acr), (&mut self.amr, other.amr)] {
            own.extend(more);
            own.sort_unstable();
            own.dedup();
        }
        self
    }
}

impl Means {
    pub(crate) fn new(set: &SetText) -> Self {
        Self {
            any: set.any.clone(),
            all: set.all.clone(),
            none: set.none.clone(),
        }
    }

    pub(crate) fn hold(&self, used: &[String], stance: Stance) -> bool {
        if used.is_empty() {
            return stance == Stance::Restrict;
        }
        let has = |word: &String| used.contains(word);
        self.any.as_ref().is_none_or(|any| any.iter().any(has))
            && self.all.as_ref().is_none_or(|all| all.iter().all(has))
            && self.none.as_ref().is_none_or(|none| !none.iter().any(has))
    }

    /// Whether no log-in can be meant.
    pub(crate) fn contradicts_itself(&self) -> bool {
        let excluded = |word: &String| self.none.as_ref().is_some_and(|none| none.contains(word));
        self.any
            .as_ref()
            .is_some_and(|any| any.iter().all(excluded))
            || self
                .all
                .as_ref()
                .is_some_and(|all| all.iter().any(excluded))
    }

    pub(crate) fn words(&self) -> impl Iterator<Item = &String> {
        [&self.any, &self.all, &self.none]
            .into_iter()
            .flatten()
            .flatten()
    }

    /// Words that look like a registered one. Providers have words of their own as well.
    pub(crate) fn misspelt(&self, place: &Place) -> Vec<Finding> {
        self.words()
            .filter(|word| !REGISTERED.contains(&word.as_str()))
            .filter_map(|word| {
                let folded = word.to_ascii_lowercase();
                let close = |known: &&&str| {
                    folded == ***known
                        || (known.len() > 3 && strsim::damerau_levenshtein(&folded, known) == 1)
                };
                REGISTERED.iter().find(close).map(|known| {
                    place.warning(
                        format!("`actor.amr` names `{word}`, which looks like `{known}`"),
                        suggest(word, &[known]),
                    )
                })
            })
            .collect()
    }
}

impl ActorView<'_> {
    /// Seconds since the log-in; `None` when the provider did not say, or said what cannot be.
    pub(crate) fn auth_age_s(&self, now: Duration) -> Option<u64> {
        let now_s = i64::try_from(now.as_secs()).ok()?;
        let age = now_s.checked_sub(self.auth_time?)?;
        (age >= -SKEW_S).then(|| u64::try_from(age).unwrap_or(0))
    }
}

/// Whether the log-in is at most so old. Of a whole connection it is not known: it ages.
pub(super) fn is_fresh(limit: Duration, view: &View<'_>, stance: Stance) -> Truth {
    if view.stale.is_none() {
        return Truth::Maybe;
    }
    view.actor
        .auth_age_s(view.now)
        .map_or(stance == Stance::Restrict, |age| age <= limit.as_secs())
        .into()
}

/// Whether it is as stale as this; the unidentified have nothing that could be.
pub(super) fn is_stale(wanted: bool, view: &View<'_>) -> Truth {
    match view.stale {
        None => Truth::Maybe,
        Some(stale) => (stale == wanted).into(),
    }
}

/// An unknown hash restricts and never grants.
pub(super) fn has_hash(hashes: &[String], view: &View<'_>, stance: Stance) -> bool {
    view.process
        .exe_sha256
        .as_ref()
        .map_or(stance == Stance::Restrict, |hash| hashes.contains(hash))
}

impl Conditions {
    /// What a log-in would have to bring for these to hold, where nothing else keeps them from it.
    pub(crate) fn step_up(&self, view: &View<'_>) -> Option<StepUp> {
        let mut wanted: Option<StepUp> = None;
        for matcher in &self.matchers {
            if matcher.evaluate(view, Stance::Grant) == Truth::Yes {
                continue;
            }
            let more = match matcher {
                Matcher::MaxAuthAge(limit) => StepUp {
                    max_age_s: Some(limit.as_secs()),
                    ..StepUp::default()
                },
                Matcher::Named(Attribute::Acr, patterns) => StepUp {
                    acr: patterns.iter().map(Pattern::to_string).collect(),
                    ..StepUp::default()
                },
                Matcher::Means(means) => StepUp {
                    amr: means
                        .any
                        .iter()
                        .chain(&means.all)
                        .flatten()
                        .cloned()
                        .collect(),
                    ..StepUp::default()
                },
                _ => return None,
            };
            wanted = Some(wanted.unwrap_or_default().and(more));
        }
        wanted
    }
}

/// As far as clocks may differ.
const SKEW_S: i64 = 60;

/// <https://www.iana.org/assignments/authentication-method-reference-values>
const REGISTERED: &[&str] = &[
    "face", "fpt", "geo", "hwk", "iris", "kba", "mca", "mfa", "otp", "pin", "pop", "pwd", "rba",
    "retina", "sc", "sms", "swk", "tel", "user", "vbm", "wia",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn words(list: &[&str]) -> Vec<String> {
        list.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn means_that_are_not_stated_restrict_and_do_not_grant() {
        let means = Means {
            any: Some(words(&["mfa", "hwk"])),
            all: None,
            none: Some(words(&["sms"])),
        };
        assert!(means.hold(&words(&["pwd", "mfa"]), Stance::Grant));
        assert!(!means.hold(&words(&["pwd", "mfa", "sms"]), Stance::Grant));
        assert!(!means.hold(&[], Stance::Grant) && means.hold(&[], Stance::Restrict));
    }

    #[test]
    fn two_steps_up_are_met_by_the_stricter() {
        let one = StepUp {
            max_age_s: Some(900),
            ..StepUp::default()
        };
        let other = StepUp {
            max_age_s: Some(3_600),
            amr: words(&["mfa"]),
            ..StepUp::default()
        };
        assert_eq!(one.hint(), "run \"weir login --max-age 900\"");
        assert_eq!(
            one.and(other).hint(),
            "run \"weir login --max-age 900\"; the identity provider must state amr mfa"
        );
    }
}
