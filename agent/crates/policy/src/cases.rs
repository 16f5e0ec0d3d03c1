//! `cases.yaml`: what a pack promises, as examples that are decided again whenever it changes.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};
use serde_saphyr::Spanned;
use weir_sql::{Confidence, Facts, Kind, SessionModes};

use crate::{
    decide::Question,
    decision::{Decision, Effect},
    finding::{Finding, Place, suggest},
    pack::{Pack, check_version, parse},
    principal::{Actor, Identity, Principal, PrincipalKind, Process, Strength, Target},
    schema::Answer,
    source::CASES,
};

/// A pack's promises.
#[derive(Debug, Default)]
pub struct Cases {
    people: BTreeMap<String, Option<Identity>>,
    cases: Vec<CaseText>,
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
            people.insert(name.clone(), person.identity(name, principal));
        }
        for case in &file.cases {
            if !people.contains_key(&case.who.value) {
                findings.push(unknown(&case.who));
            }
            if case.sql.is_some() == case.request.is_some() {
                findings.push(Place::new(CASES, case.name.referenced).error(
                    format!("`{}` asks for nothing, or for two things", case.name.value),
                    "give either `sql:` or `request:`",
                ));
            }
        }
        let cases = file
            .cases
            .into_iter()
            .map(|mut case| {
                case.on = case.on.or(&file.target);
                case
            })
            .collect();
        Self { people, cases }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.cases.len()
    }

    /// Whether the pack promises nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.cases.is_empty()
    }

    /// Holds every promise against the pack. `analyse` says what a text does; `now` is since the epoch.
    pub fn run(
        &self,
        pack: &Pack,
        now: Duration,
        analyse: impl Fn(&[u8], SessionModes) -> Facts,
    ) -> Vec<CaseResult> {
        self.cases
            .iter()
            .map(|case| CaseResult {
                name: case.name.value.clone(),
                place: Place::new(CASES, case.name.referenced),
                failure: self
                    .decide(case, pack, now, &analyse)
                    .and_then(|decision| case.compare(&decision)),
            })
            .collect()
    }

    fn decide(
        &self,
        case: &CaseText,
        pack: &Pack,
        now: Duration,
        analyse: impl Fn(&[u8], SessionModes) -> Facts,
    ) -> Option<Decision> {
        let identity = self.people.get(&case.who.value)?.as_ref();
        let process = &case.process.process();
        let target = &case.on.target();
        let text = case.sql.as_deref().unwrap_or_default().as_bytes();
        let mut facts = analyse(text, SessionModes::default());
        match case.request {
            Some(RequestText::Connect) => return Some(pack.admit(identity, process, target, now)),
            Some(RequestText::Replication) => facts.kinds = vec![Kind::Replication],
            Some(RequestText::FunctionCall) => {
                facts.kinds = vec![Kind::FunctionCall];
                facts.confidence = Confidence::Opaque;
            }
            None => {}
        }
        Some(pack.decide(&Question {
            identity,
            process,
            target,
            facts: &facts,
            now,
        }))
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CaseFile {
    version: Spanned<u32>,
    people: BTreeMap<String, PersonText>,
    /// Where a case does not say otherwise.
    #[serde(default)]
    target: TargetText,
    cases: Vec<CaseText>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PersonText {
    kind: PersonKind,
    #[serde(default)]
    groups: Vec<String>,
    #[serde(default = "yes")]
    groups_complete: bool,
    #[serde(rename = "for")]
    on_behalf_of: Option<Spanned<String>>,
    purpose: Option<String>,
    #[serde(default)]
    issuer: String,
    #[serde(default)]
    claims: BTreeMap<String, String>,
    #[serde(default = "strong")]
    strength: Strength,
    run: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum PersonKind {
    Human,
    Workload,
    Agent,
    Unidentified,
}

#[derive(Debug, Default, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct TargetText {
    endpoint: Option<String>,
    environment: Option<String>,
    engine: Option<String>,
    database: Option<String>,
    database_user: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ProcessText {
    exe: String,
    cgroup: String,
    uid: u32,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CaseText {
    name: Spanned<String>,
    #[serde(rename = "as")]
    who: Spanned<String>,
    #[serde(default)]
    on: TargetText,
    #[serde(default)]
    process: ProcessText,
    sql: Option<String>,
    request: Option<RequestText>,
    expect: Answer,
    rules: Option<Vec<String>>,
    would: Option<Vec<String>>,
    tags: Option<Vec<String>>,
    /// Part of the text that the client reads.
    reason: Option<String>,
}

/// What is not a text.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum RequestText {
    Connect,
    Replication,
    FunctionCall,
}

impl PersonText {
    fn identity(&self, name: &str, principal: Option<(&str, &Self)>) -> Option<Identity> {
        let kind = match self.kind {
            PersonKind::Unidentified => return None,
            PersonKind::Human => PrincipalKind::Human,
            PersonKind::Workload => PrincipalKind::Workload,
            PersonKind::Agent => PrincipalKind::Agent,
        };
        if let Some((of, principal)) = principal {
            let mut identity = principal.identity(of, None)?;
            identity.actors.push(Actor {
                issuer: self.issuer.clone(),
                subject: name.to_owned(),
                client_id: None,
                run_id: self.run.clone(),
            });
            identity.purpose.clone_from(&self.purpose);
            return Some(identity);
        }
        Some(Identity {
            principal: Principal {
                issuer: self.issuer.clone(),
                subject: name.to_owned(),
                kind,
                display: name.to_owned(),
                groups: self.groups.clone(),
                groups_complete: self.groups_complete,
                auth_time: None,
                acr: None,
                claims: self.claims.clone(),
            },
            actors: Vec::new(),
            method: "case".to_owned(),
            strength: self.strength,
            purpose: self.purpose.clone(),
        })
    }
}

impl TargetText {
    fn or(self, other: &Self) -> Self {
        let or = |own: Option<String>, other: &Option<String>| own.or_else(|| other.clone());
        Self {
            endpoint: or(self.endpoint, &other.endpoint),
            environment: or(self.environment, &other.environment),
            engine: or(self.engine, &other.engine),
            database: or(self.database, &other.database),
            database_user: or(self.database_user, &other.database_user),
        }
    }

    fn target(&self) -> Target {
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        Target {
            endpoint: text(&self.endpoint),
            environment: text(&self.environment),
            engine: text(&self.engine),
            database: text(&self.database),
            database_user: text(&self.database_user),
        }
    }
}

impl ProcessText {
    fn process(&self) -> Process {
        Process {
            exe: self.exe.clone(),
            cgroup: self.cgroup.clone(),
            uid: self.uid,
        }
    }
}

impl CaseText {
    fn compare(&self, decision: &Decision) -> Option<String> {
        let rules: Vec<_> = decision.rules.iter().map(|id| id.0.as_str()).collect();
        let would: Vec<_> = decision.would.iter().map(|id| id.0.as_str()).collect();
        let tags: Vec<_> = decision.tags.iter().map(String::as_str).collect();
        let by = rules.join(", ");
        match (&decision.effect, self.expect) {
            (Effect::Allow, Answer::Deny) => {
                return Some(format!("expected deny, but it is allowed by {by}"));
            }
            (Effect::Deny { reason }, Answer::Allow) => {
                return Some(format!("expected allow, but {by} denies it: {reason}"));
            }
            (Effect::Deny { reason }, Answer::Deny) => {
                if let Some(part) = self
                    .reason
                    .as_ref()
                    .filter(|part| !reason.contains(part.as_str()))
                {
                    return Some(format!(
                        "expected a reason with \"{part}\", found \"{reason}\""
                    ));
                }
            }
            (Effect::Allow, Answer::Allow) => {}
        }
        differ("rules", self.rules.as_ref(), &rules)
            .or_else(|| differ("would", self.would.as_ref(), &would))
            .or_else(|| differ("tags", self.tags.as_ref(), &tags))
    }
}

fn differ(what: &str, expected: Option<&Vec<String>>, found: &[&str]) -> Option<String> {
    let mut expected: Vec<_> = expected?.iter().map(String::as_str).collect();
    let mut found = found.to_vec();
    expected.sort_unstable();
    found.sort_unstable();
    (expected != found).then(|| {
        format!(
            "expected {what} [{}], found [{}]",
            expected.join(", "),
            found.join(", ")
        )
    })
}

fn yes() -> bool {
    true
}

fn strong() -> Strength {
    Strength::Strong
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::{schema::Mode, source::Sources};

    const RULES: &str = "version: 1\nrules:\n  - { id: people, match: { actor.kind: human }, effect: allow }\n  - { id: mark, match: { actor.kind: human }, effect: { tag: seen } }\n";

    #[test]
    fn a_broken_promise_is_reported_with_what_differs() {
        assert_eq!(
            run("as: ann, sql: x, expect: allow, rules: [people], tags: [seen], would: []"),
            None
        );
        let broken = [
            (
                "as: ann, sql: x, expect: deny",
                "expected deny, but it is allowed by people",
            ),
            (
                "as: ann, sql: x, expect: allow, rules: [other]",
                "expected rules [other], found [people]",
            ),
            (
                "as: ann, sql: x, expect: allow, tags: []",
                "expected tags [], found [seen]",
            ),
            (
                "as: ann, sql: x, expect: allow, would: [people]",
                "expected would [people], found []",
            ),
            (
                "as: bot, sql: x, expect: allow",
                "expected allow, but default denies it: no rule allows this",
            ),
            (
                "as: nobody, request: connect, expect: allow",
                "expected allow, but default denies it",
            ),
            (
                "as: nobody, request: connect, expect: deny, reason: because",
                "expected a reason with \"because\"",
            ),
        ];
        for (case, expected) in broken {
            let failure = run(case).expect(case);
            assert!(failure.starts_with(expected), "{case}: {failure}");
        }
    }

    #[test]
    fn a_case_needs_somebody_known_and_one_request() {
        assert!(
            error("as: an, sql: x, expect: allow")
                .contains("nobody here is called `an`; did you mean `ann`?")
        );
        assert!(error("as: ann, expect: allow").contains("asks for nothing, or for two things"));
        assert!(
            error("as: ann, sql: x, request: connect, expect: allow")
                .contains("asks for nothing, or for two things")
        );
    }

    fn run(case: &str) -> Option<String> {
        let pack = compile(case).expect("a pack");
        let mut results = pack.cases().run(&pack, Duration::ZERO, |_, _| facts());
        assert_eq!(results.len(), 1);
        results.remove(0).failure
    }

    fn error(case: &str) -> String {
        compile(case).expect_err("refused").to_string()
    }

    fn compile(case: &str) -> Result<Pack, crate::finding::PackError> {
        let cases = format!(
            "version: 1\npeople: {{ ann: {{ kind: human }}, bot: {{ kind: agent, for: ann }}, nobody: {{ kind: unidentified }} }}\ncases: [{{ name: one, {case} }}]\n"
        );
        let files = vec![
            ("cases.yaml".to_owned(), cases),
            ("rules.yaml".to_owned(), RULES.to_owned()),
        ];
        Pack::compile(
            &Sources::from_files(Path::new("pack"), files),
            Mode::Enforce,
        )
    }

    fn facts() -> Facts {
        serde_json::from_value(serde_json::json!({
            "kinds": ["select"], "relations": [], "functions": [], "statement_count": 1,
            "has_where": null, "limit": null, "confidence": "exact", "parse_error": null,
            "changes_session": false, "fingerprint": 0, "normalised": "", "claimed": [], "literal_free": false,
        }))
        .expect("facts")
    }
}
