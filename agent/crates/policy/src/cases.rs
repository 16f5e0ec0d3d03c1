//! `cases.yaml`: what a pack promises, as examples that are decided again whenever it changes.

mod compare;
mod text;

use std::{collections::BTreeMap, time::Duration};

use serde::Serialize;
use serde_saphyr::Spanned;
use weir_sql::{Confidence, Facts, Kind, SessionModes, postgres};

use crate::{
    database::Database,
    decide::Question,
    decision::Decision,
    finding::{Finding, Place, suggest},
    pack::{Pack, check_version, parse},
    principal::{Identity, Target},
    rule::parse_instant,
    schema::parse_duration,
    source::CASES,
};

use text::{CaseFile, CaseText, RequestText};

/// A pack's promises.
#[derive(Debug, Default)]
pub struct Cases {
    people: BTreeMap<String, Person>,
    promises: Vec<CaseText>,
    database: Option<Database>,
    target: Target,
}

/// Somebody who asks in cases.
#[derive(Debug, Clone, Default)]
pub struct Person {
    identity: Option<Identity>,
    auth_age: Option<Duration>,
    /// Whether the provider could not be asked lately.
    pub stale: bool,
}

impl Person {
    /// Who it is at this time, since the epoch; `None` for somebody unidentified.
    #[must_use]
    pub fn identity(&self, now: Duration) -> Option<Identity> {
        let mut identity = self.identity.clone()?;
        let seconds = |time: Duration| i64::try_from(time.as_secs()).ok();
        identity.principal.auth_time = self
            .auth_age
            .and_then(|age| seconds(now)?.checked_sub(seconds(age)?));
        Some(identity)
    }
}

/// How one case went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CaseResult {
    /// The case's name.
    pub name: String,
    /// Where it is written.
    pub place: Place,
    /// What differs from the promise; `None` when it holds.
    pub failure: Option<String>,
}

impl Cases {
    pub(crate) fn parse(text: &str, findings: &mut Vec<Finding>) -> Self {
        let Some(file) = parse::<CaseFile>(CASES, text, findings) else {
            return Self::default();
        };
        check_version(CASES, &file.version, findings);
        let names: Vec<_> = file.people.keys().cloned().collect();
        let unknown = |name: &Spanned<String>| {
            Place::new(CASES, name.referenced).error(
                format!("nobody here is called `{}`", name.value),
                suggest(&name.value, &names),
            )
        };
        let mut people = BTreeMap::new();
        for (name, person) in &file.people {
            let principal = person
                .on_behalf_of
                .as_ref()
                .map(|on| (on, file.people.get(&on.value)));
            if let Some((on, None)) = principal {
                findings.push(unknown(on));
            }
            let principal =
                principal.and_then(|(on, found)| found.map(|found| (on.value.as_str(), found)));
            // Whoever acts for somebody acts by that one's log-in.
            let logged_in = principal.map_or(person, |(_, principal)| principal);
            let identity = person.identity(name, principal);
            let auth_age = logged_in.auth_age.as_ref().and_then(|age| {
                let parsed = parse_duration(&age.value);
                if parsed.is_none() {
                    findings.push(Place::new(CASES, age.referenced).error(
                        format!("`{}` is no duration", age.value),
                        "write 90s, 15m, 2h or 1d",
                    ));
                }
                parsed
            });
            let person = Person {
                identity,
                auth_age,
                stale: person.stale || logged_in.stale,
            };
            people.insert(name.clone(), person);
        }
        for case in &file.cases {
            if !people.contains_key(&case.who.value) {
                findings.push(unknown(&case.who));
            }
            if let Some(at) = &case.at
                && parse_instant(&at.value).is_none()
            {
                findings.push(Place::new(CASES, at.referenced).error(
                    format!("`{}` is no time", at.value),
                    "write 2030-01-31, or 2030-01-31T18:00:00Z",
                ));
            }
            if case.sql.is_some() == case.request.is_some() {
                findings.push(Place::new(CASES, case.name.referenced).error(
                    format!("`{}` asks for nothing, or for two things", case.name.value),
                    "give either `sql:` or `request:`",
                ));
            }
        }
        let target = file.target.target();
        let cases = file
            .cases
            .into_iter()
            .map(|mut case| {
                case.on = case.on.or(&file.target);
                case
            })
            .collect();
        let database = file.catalog.and_then(|written| {
            let place = Place::new(CASES, written.referenced);
            Database::new(&written.value, &place, findings)
        });
        Self {
            people,
            promises: cases,
            database,
            target,
        }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.promises.len()
    }

    /// Whether the pack promises nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.promises.is_empty()
    }

    /// One of its people; `None` when nobody here is called so.
    #[must_use]
    pub fn person(&self, name: &str) -> Option<&Person> {
        self.people.get(name)
    }

    /// What its people are called.
    pub fn people(&self) -> impl Iterator<Item = &str> {
        self.people.keys().map(String::as_str)
    }

    /// The database that they ask.
    #[must_use]
    pub fn database(&self) -> Option<&Database> {
        self.database.as_ref()
    }

    /// Where they ask, unless a case says otherwise.
    #[must_use]
    pub fn target(&self) -> Target {
        self.target.clone()
    }

    /// Holds every promise against the pack; `now` is since the epoch, for cases that do not say when they are asked.
    #[must_use]
    pub fn run(&self, pack: &Pack, now: Duration) -> Vec<CaseResult> {
        self.promises
            .iter()
            .map(|case| CaseResult {
                name: case.name.value.clone(),
                place: Place::new(CASES, case.name.referenced),
                failure: self
                    .decide(case, pack, now)
                    .and_then(|(decision, facts)| case.compare(&decision, &facts)),
            })
            .collect()
    }

    fn decide(&self, case: &CaseText, pack: &Pack, now: Duration) -> Option<(Decision, Facts)> {
        let now = case
            .at
            .as_ref()
            .and_then(|at| parse_instant(&at.value))
            .unwrap_or(now);
        let person = self.people.get(&case.who.value)?;
        let identity = person.identity(now);
        let identity = identity.as_ref();
        let process = &case.process.process();
        let target = &case.on.target();
        let text = case.sql.as_deref().unwrap_or_default().as_bytes();
        let mut facts = self.analyse(text);
        match case.request {
            Some(RequestText::Connect) => {
                return Some((pack.admit(identity, process, target, now), facts));
            }
            Some(RequestText::Replication) => facts.kinds = vec![Kind::Replication],
            Some(RequestText::FunctionCall) => {
                facts.kinds = vec![Kind::FunctionCall];
                facts.confidence = Confidence::Opaque;
            }
            None => {}
        }
        let decision = pack.decide(&Question {
            identity,
            process,
            target,
            facts: &facts,
            now,
            stale: person.stale,
        });
        Some((decision, facts))
    }

    fn analyse(&self, text: &[u8]) -> Facts {
        match &self.database {
            Some(database) => database.analyse(text),
            None => postgres::analyse(text, SessionModes::default()),
        }
    }
}

#[cfg(test)]
mod tests;
