//! A pack: a folder of rules, compiled whole or refused whole.

use std::{collections::HashMap, path::Path, sync::Arc, time::Duration};

use serde_saphyr::Spanned;
use weir_sql::{Catalog, ColumnName, Facts};

use crate::{
    analysis,
    bits::Names,
    cases::Cases,
    classes::{Classed, Classifier},
    conditions::{Gate, Known, written_classes, written_groups},
    finding::{Finding, PackError, Place, Severity, from_yaml},
    masking,
    rule::Rule,
    schema::{Answer, Classes, MatchText, Mode, RuleFile, RuleText, VERSION},
    source::{CASES, CLASSES, Sources},
};

/// The rules that decide, with what holds where none of them speaks.
#[derive(Debug)]
pub struct Pack {
    pub(crate) compiled: Arc<Compiled>,
    pub(crate) classifier: Classifier,
}

/// All of a pack that its files say.
#[derive(Debug)]
pub(crate) struct Compiled {
    pub(crate) rules: Vec<Rule>,
    /// One for each rule, side by side, so that most rules are ruled out without being looked at.
    pub(crate) gates: Vec<Gate>,
    pub(crate) groups: Names,
    pub(crate) defaults: Resolved,
    classes: Classes,
    given_classes: Vec<String>,
    cases: Cases,
    reviewed_functions: Vec<String>,
    /// Ages of a log-in at which some rule changes its answer, sorted.
    auth_age_limits: Vec<Duration>,
    warnings: Vec<Finding>,
}

/// The defaults of all files together: where two disagree, the stricter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Resolved {
    pub(crate) effect: Answer,
    pub(crate) on_opaque: Answer,
    pub(crate) on_audit_failure: Answer,
    pub(crate) mode: Mode,
}

impl Pack {
    /// Whether anything is refused at all; else everything passes and is recorded.
    #[must_use]
    pub fn enforces(&self) -> bool {
        self.compiled.defaults.mode == Mode::Enforce
    }

    /// Reads and compiles the folder.
    ///
    /// # Errors
    ///
    /// [`PackError`] when a file cannot be read, or with all that is wrong with them.
    pub fn load(folder: &Path) -> Result<Self, PackError> {
        Self::compile(&Sources::read(folder)?, Mode::Enforce)
    }

    /// Compiles files that have been read. With [`Mode::Observe`] no rule acts, whatever its own mode.
    ///
    /// # Errors
    ///
    /// [`PackError::Refused`] with all that is wrong with them.
    pub fn compile(sources: &Sources, mode: Mode) -> Result<Self, PackError> {
        let mut findings = Vec::new();
        let mut files: Vec<(&str, RuleFile)> = Vec::new();
        for (name, text) in sources.rule_files() {
            if let Some(file) = parse(name, text, &mut findings) {
                files.push((name, file));
            }
        }
        let classes: Classes = sources
            .file(CLASSES)
            .and_then(|text| parse(CLASSES, text, &mut findings))
            .unwrap_or(Classes {
                version: VERSION,
                ..Classes::default()
            });
        if classes.version != VERSION {
            let place = Place {
                file: CLASSES.to_owned(),
                ..Place::default()
            };
            findings.push(unknown_version(&place, classes.version));
        }
        let cases = sources
            .file(CASES)
            .map(|text| Cases::parse(text, &mut findings))
            .unwrap_or_default();
        if files.is_empty() && findings.is_empty() {
            return Err(PackError::Empty {
                path: sources.path().to_owned(),
            });
        }
        let groups = Names::new(
            files
                .iter()
                .flat_map(|(_, file)| &file.rules)
                .flat_map(named_groups),
        );
        let classifier = Classifier::new(
            &classes,
            files
                .iter()
                .flat_map(|(_, file)| &file.rules)
                .flat_map(named_classes),
        );
        let known = Known {
            groups: &groups,
            classes: classifier.tree(),
        };
        let defaults = Resolved::join(&files, mode);
        let mut rules = Vec::new();
        let mut reviewed_functions = Vec::new();
        for (name, file) in files {
            reviewed_functions.extend(file.reviewed_functions);
            check_version(name, &file.version, &mut findings);
            let of_file = file.defaults.mode.unwrap_or_default();
            for text in file.rules {
                let mode = match mode {
                    Mode::Enforce => text.value.mode.unwrap_or(of_file),
                    Mode::Observe => Mode::Observe,
                };
                rules.push(Rule::compile(text.value, mode, &known, name, &mut findings));
            }
        }
        check_unique(&rules, &mut findings);
        if findings
            .iter()
            .any(|finding| finding.severity == Severity::Error)
        {
            findings.sort_by(|a, b| a.place.cmp(&b.place));
            return Err(PackError::Refused(findings));
        }
        let gates = rules
            .iter()
            .map(|rule| Gate::new(&rule.matching, rule.stance()))
            .collect();
        let mut auth_age_limits: Vec<_> = rules.iter().flat_map(Rule::auth_age_limits).collect();
        auth_age_limits.sort_unstable();
        auth_age_limits.dedup();
        let mut compiled = Compiled {
            rules,
            gates,
            groups,
            defaults,
            given_classes: given_classes(&classes),
            classes,
            cases,
            reviewed_functions,
            auth_age_limits,
            warnings: Vec::new(),
        };
        compiled.warnings = analysis::warnings(&compiled, classifier.tree());
        Ok(Self {
            compiled: Arc::new(compiled),
            classifier,
        })
    }

    /// The same rules, with classes that were found at run time beside those that `classes.yaml` gives.
    #[must_use]
    pub fn with_assigned(&self, assigned: &[(ColumnName, String)]) -> Self {
        Self {
            compiled: Arc::clone(&self.compiled),
            classifier: self.classifier.with_assigned(assigned),
        }
    }

    /// The classes that a column has by its own name, of those that the pack speaks of, with all that they are part of.
    #[must_use]
    pub fn classes_of(&self, column: &ColumnName) -> Vec<String> {
        let bits = self.classifier.column(column);
        let names = &self.classifier.tree().names;
        names.of(&bits).cloned().collect()
    }

    /// How many columns of a database have a class, of their own or by what they are made of.
    #[must_use]
    pub fn governed_columns(&self, catalog: &Catalog) -> usize {
        let classed = |column: &ColumnName| !self.classifier.column(column).is_empty();
        let relations = catalog.relations.values();
        relations
            .filter(|relation| !relation.system)
            .flat_map(|relation| {
                let columns = relation.columns.iter();
                columns.map(move |column| (relation, column))
            })
            .filter(|(relation, column)| {
                classed(&relation.column_name(column)) || column.bases.iter().any(classed)
            })
            .count()
    }

    /// Whether some rule depends on what the database holds: then statements are to be decided with its catalog.
    #[must_use]
    pub fn needs_catalog(&self) -> bool {
        self.compiled.rules.iter().any(Rule::needs_catalog)
    }

    /// What of the data that a statement uses has which classes.
    #[must_use]
    pub fn classified(&self, facts: &Facts) -> Vec<Classed> {
        self.classifier.of(facts)
    }

    /// The rules, in no order that matters.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.compiled.rules
    }

    /// What works, but hardly as meant. What depends on the time is in [`Pack::expired`].
    #[must_use]
    pub fn warnings(&self) -> &[Finding] {
        &self.compiled.warnings
    }

    /// Exemptions that have ended; `now` since the epoch.
    #[must_use]
    pub fn expired(&self, now: Duration) -> Vec<Finding> {
        self.exemptions()
            .filter(|(_, exemption)| exemption.expires <= now)
            .map(|(rule, exemption)| {
                exemption.place.warning(
                    format!(
                        "an exemption of `{}` has expired ({})",
                        rule.id.0, exemption.reason
                    ),
                    "remove it, or renew it with a new date",
                )
            })
            .collect()
    }

    /// When the next exemption ends or a rule's time begins or ends, since the epoch: decisions taken before may differ
    /// from then on.
    #[must_use]
    pub fn next_expiry(&self, now: Duration) -> Option<Duration> {
        let exemptions = self
            .exemptions()
            .map(|(_, exemption)| exemption.expires)
            .filter(|expires| *expires > now);
        let windows = self
            .compiled
            .rules
            .iter()
            .filter_map(|rule| rule.next_change(now));
        exemptions.chain(windows).min()
    }

    /// Ages of a log-in, sorted, of which some rule asks whether it is older: a decision for it is good until it gets past
    /// the next one.
    #[must_use]
    pub fn auth_age_limits(&self) -> &[Duration] {
        &self.compiled.auth_age_limits
    }

    /// What the pack says data is.
    #[must_use]
    pub fn classes(&self) -> &Classes {
        &self.compiled.classes
    }

    /// Functions, as globs over `schema.name`, that may be called although what they do is not seen through.
    #[must_use]
    pub fn reviewed_functions(&self) -> &[String] {
        &self.compiled.reviewed_functions
    }

    /// What the pack promises; empty when it has no `cases.yaml`.
    #[must_use]
    pub fn cases(&self) -> &Cases {
        &self.compiled.cases
    }

    /// What happens to statements that cannot be recorded.
    #[must_use]
    pub fn on_audit_failure(&self) -> Answer {
        self.compiled.defaults.on_audit_failure
    }

    fn exemptions(&self) -> impl Iterator<Item = (&Rule, &crate::rule::Exemption)> {
        self.compiled.rules.iter().flat_map(|rule| {
            rule.exemptions
                .iter()
                .map(move |exemption| (rule, exemption))
        })
    }
}

impl Compiled {
    /// The classes that `classes.yaml` gives to something, or puts in its tree.
    pub(crate) fn given_classes(&self) -> &[String] {
        &self.given_classes
    }
}

impl Resolved {
    fn join(files: &[(&str, RuleFile)], mode: Mode) -> Self {
        let defaults = || files.iter().map(|(_, file)| &file.defaults);
        let strictest = |answers: &mut dyn Iterator<Item = Answer>| {
            let mut answers = answers.peekable();
            if answers.peek().is_some() && answers.all(|answer| answer == Answer::Allow) {
                Answer::Allow
            } else {
                Answer::Deny
            }
        };
        let mut modes = defaults().filter_map(|d| d.mode).peekable();
        let observes = modes.peek().is_some() && modes.all(|mode| mode == Mode::Observe);
        Self {
            effect: strictest(&mut defaults().filter_map(|d| d.effect)),
            on_opaque: strictest(&mut defaults().filter_map(|d| d.on_opaque)),
            on_audit_failure: strictest(&mut defaults().filter_map(|d| d.on_audit_failure)),
            mode: if observes { Mode::Observe } else { mode },
        }
    }
}

/// Reads one file strictly: unknown fields and duplicate keys are errors.
pub(crate) fn parse<T: serde::de::DeserializeOwned>(
    name: &str,
    text: &str,
    findings: &mut Vec<Finding>,
) -> Option<T> {
    let options = serde_saphyr::options! {
        strict_booleans: true,
        with_snippet: false,
        merge_keys: serde_saphyr::options::MergeKeyPolicy::Error,
    };
    match serde_saphyr::from_str_with_options(text, options) {
        Ok(parsed) => Some(parsed),
        Err(error) => {
            findings.push(from_yaml(name, &error));
            None
        }
    }
}

pub(crate) fn check_version(file: &str, version: &Spanned<u32>, findings: &mut Vec<Finding>) {
    if version.value != VERSION {
        findings.push(unknown_version(
            &Place::new(file, version.referenced),
            version.value,
        ));
    }
}

fn unknown_version(place: &Place, version: u32) -> Finding {
    place.error(
        format!("version {version} of the format is not known"),
        format!("write `version: {VERSION}`"),
    )
}

fn check_unique(rules: &[Rule], findings: &mut Vec<Finding>) {
    let mut seen: HashMap<&str, &Place> = HashMap::new();
    for rule in rules {
        if let Some(first) = seen.insert(&rule.id.0, &rule.place) {
            findings.push(rule.place.error(
                format!("rule id `{}` is taken ({first})", rule.id.0),
                "give each rule an id of its own",
            ));
        }
    }
}

fn given_classes(classes: &Classes) -> Vec<String> {
    let given = classes.columns.values().chain(classes.relations.values());
    let tree = classes.tree.iter().flat_map(|(class, of)| [class, of]);
    let mut given: Vec<_> = given.chain(tree).cloned().collect();
    given.sort_unstable();
    given.dedup();
    given
}

fn named_classes(rule: &Spanned<RuleText>) -> impl Iterator<Item = String> {
    let masks = rule.value.effect.value.mask.keys();
    conditions(rule)
        .flat_map(written_classes)
        .chain(masks.filter(|class| *class != masking::DEFAULT))
        .cloned()
}

fn named_groups(rule: &Spanned<RuleText>) -> impl Iterator<Item = String> {
    conditions(rule).flat_map(written_groups).cloned()
}

fn conditions(rule: &Spanned<RuleText>) -> impl Iterator<Item = &MatchText> {
    let rule = &rule.value;
    let exempt = rule.exempt.iter().map(|exempt| &exempt.value.matching);
    std::iter::once(&rule.matching)
        .chain(&rule.unless)
        .chain(exempt)
        .map(|text| &text.value)
}

#[cfg(test)]
mod tests;
