//! What a pack says that is hardly meant: rules that never fire, rules that another one cancels, groups misspelt.

mod data;

use std::collections::BTreeMap;

use weir_sql::Kind;

use crate::{
    bits::Bits,
    classes::ClassTree,
    conditions::{Attribute, Conditions, Groups, Matcher},
    finding::{Finding, Place},
    pack::Compiled,
    principal::Method,
    rule::Rule,
    schema::{Answer, Mode},
    view::{AGENT, HUMAN, WORKLOAD, kind_actions, kind_bits},
};

/// Everything about the pack that deserves a warning.
pub(crate) fn warnings(pack: &Compiled, tree: &ClassTree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for rule in &pack.rules {
        findings.extend(never_fires(rule, tree));
        findings.extend(data::warnings(rule, pack, tree));
        findings.extend(rule.all_matchers().flat_map(|matcher| match matcher {
            Matcher::Means(means) => means.misspelt(&rule.place),
            _ => Vec::new(),
        }));
        if rule.effects.allow {
            findings.extend(shadowed(rule, pack));
        }
    }
    findings.extend(misspelt_groups(pack));
    findings.sort_by(|a, b| a.place.cmp(&b.place));
    findings
}

fn never_fires(rule: &Rule, tree: &ClassTree) -> Option<Finding> {
    let id = &rule.id.0;
    let excluded =
        rule.matching.matchers.iter().any(
            |matcher| matches!(matcher, Matcher::Classes(set) if set.contradicts_itself(tree)),
        );
    if excluded {
        return Some(rule.place.warning(
            format!("`{id}` can never fire: `classes` leaves out all that it asks for"),
            "name narrower classes under `none`",
        ));
    }
    if let Some(field) = rule
        .matching
        .matchers
        .iter()
        .find_map(|matcher| match matcher {
            Matcher::Means(means) if means.contradicts_itself() => Some(matcher.field()),
            _ => None,
        })
    {
        return Some(rule.place.warning(
            format!("`{id}` can never fire: `{field}` leaves out what it asks for"),
            "remove one of the two",
        ));
    }
    if let Some((a, b)) = contradiction(&rule.matching).or_else(|| ageless(rule)) {
        return Some(rule.place.warning(
            format!("`{id}` can never fire: `{a}` and `{b}` exclude each other"),
            "remove one of the two",
        ));
    }
    let unless = rule.unless.as_ref()?;
    implies_all(&rule.matching, unless).then(|| {
        rule.place.warning(
            format!("`{id}` can never fire: whatever it matches, its `unless` excepts"),
            "narrow `unless`",
        )
    })
}

/// A grant to services alone that asks for the time of their log-in, which they do not have.
fn ageless(rule: &Rule) -> Option<(&'static str, &'static str)> {
    let matchers = &rule.matching.matchers;
    let services = matchers.contains(&Matcher::ActorKind(WORKLOAD));
    let aged = |matcher: &Matcher| matches!(matcher, Matcher::MaxAuthAge(_));
    (rule.effects.allow && services && matchers.iter().any(aged))
        .then_some(("actor.kind", "actor.max_auth_age"))
}

/// Whether nobody of these kinds can be bound by one of these methods.
fn excludes_kinds(methods: &[Method], kinds: u8) -> bool {
    let of = |method: &Method| match method {
        Method::Workload => WORKLOAD,
        // The principal is asked as well.
        Method::Exec => HUMAN | WORKLOAD | AGENT,
        Method::Login | Method::Code | Method::Device | Method::Token => HUMAN | WORKLOAD,
    };
    methods.iter().all(|method| of(method) & kinds == 0)
}

/// Two fields that no question can meet together.
fn contradiction(conditions: &Conditions) -> Option<(&'static str, &'static str)> {
    let matchers = &conditions.matchers;
    let kinds = matchers.iter().find_map(|matcher| match matcher {
        Matcher::Kinds { mask, written } => Some((*mask, written)),
        _ => None,
    });
    let unidentified = matchers.contains(&Matcher::Identified(false));
    let actors = matchers.iter().find_map(|matcher| match matcher {
        Matcher::ActorKind(mask) => Some(*mask),
        _ => None,
    });
    matchers.iter().find_map(|matcher| {
        let field = matcher.field();
        let excluded = |with: bool, other| with.then_some((field, other));
        match (matcher, kinds) {
            (Matcher::Methods(methods), _)
                if actors.is_some_and(|kinds| excludes_kinds(methods, kinds)) =>
            {
                excluded(true, "actor.kind")
            }
            (
                Matcher::ActorKind(_)
                | Matcher::Methods(_)
                | Matcher::Delegations(_)
                | Matcher::Strengths(_)
                | Matcher::Stale(true)
                | Matcher::Named(
                    Attribute::Subject | Attribute::Issuer | Attribute::Purpose | Attribute::Acr,
                    _,
                ),
                _,
            ) => excluded(unidentified, "actor.identified"),
            (Matcher::Groups(groups), _) => excluded(
                unidentified && (groups.any.is_some() || groups.all.is_some()),
                "actor.identified",
            ),
            (Matcher::HasWhere(_), Some((mask, _))) => excluded(
                mask & (kind_bits(Kind::Update) | kind_bits(Kind::Delete)) == 0,
                "kind",
            ),
            (Matcher::LimitAbove(_) | Matcher::LimitAtMost(_), Some((mask, _))) => {
                excluded(mask & kind_bits(Kind::Select) == 0, "kind")
            }
            (Matcher::Actions { mask, .. }, Some((_, kinds))) => {
                let done = kinds
                    .iter()
                    .fold(0, |done, &kind| done | kind_actions(kind));
                // A kind that does nothing by itself stands beside one that does.
                excluded(done != 0 && mask & done == 0, "kind")
            }
            _ => None,
        }
    })
}

fn shadowed(allow: &Rule, pack: &Compiled) -> Option<Finding> {
    let id = &allow.id.0;
    let denial = pack.rules.iter().find(|rule| {
        rule.effects.deny.is_some()
            && rule.mode == Mode::Enforce
            && rule.unless.is_none()
            && rule.exemptions.is_empty()
            && implies_all(&allow.matching, &rule.matching)
    });
    if let Some(denial) = denial {
        return Some(allow.place.warning(
            format!(
                "`{id}` allows nothing: `{}` denies all that it matches",
                denial.id.0
            ),
            "add an `unless` to the rule that denies, or remove this one",
        ));
    }
    let by_default = pack.defaults.effect == Answer::Allow
        && (pack.defaults.on_opaque == Answer::Allow || !allow.names_confidence());
    by_default.then(|| {
        allow.place.warning(
            format!("`{id}` changes nothing: the default allows already"),
            "remove it, or set `defaults: { effect: deny }`",
        )
    })
}

/// Whether what meets `narrow` meets every field of `wide` too.
fn implies_all(narrow: &Conditions, wide: &Conditions) -> bool {
    wide.matchers
        .iter()
        .all(|wanted| narrow.matchers.iter().any(|given| implies(given, wanted)))
}

fn implies(given: &Matcher, wanted: &Matcher) -> bool {
    match (given, wanted) {
        (Matcher::ActorKind(_), Matcher::Identified(true)) => true,
        (Matcher::ActorKind(a), Matcher::ActorKind(b))
        | (Matcher::Confidence { mask: a, .. }, Matcher::Confidence { mask: b, .. })
        | (Matcher::Actions { mask: a, .. }, Matcher::Actions { mask: b, .. }) => a & !b == 0,
        (Matcher::Kinds { mask: a, .. }, Matcher::Kinds { mask: b, .. }) => a & !b == 0,
        (Matcher::LimitAbove(a), Matcher::LimitAbove(b)) => a >= b,
        (Matcher::LimitAtMost(a), Matcher::LimitAtMost(b)) => a <= b,
        (Matcher::Groups(a), Matcher::Groups(b)) => groups_imply(a, b),
        (Matcher::Named(a, given), Matcher::Named(b, wanted)) => {
            a == b && given.iter().all(|g| wanted.iter().any(|w| w.covers(g)))
        }
        (Matcher::Relations(given), Matcher::Relations(wanted))
        | (Matcher::Functions(given), Matcher::Functions(wanted)) => {
            given.iter().all(|g| wanted.iter().any(|w| w.covers(g)))
        }
        (
            Matcher::Columns {
                patterns: given, ..
            },
            Matcher::Columns {
                patterns: wanted, ..
            },
        ) => given.iter().all(|g| wanted.iter().any(|w| w.covers(g))),
        (Matcher::Classes(a), Matcher::Classes(b)) => a.implies(b),
        (Matcher::Uids(a), Matcher::Uids(b)) => a.iter().all(|uid| b.contains(uid)),
        (Matcher::Time(a), Matcher::Time(b)) => a == b,
        (Matcher::When(a), Matcher::When(b)) => a == b,
        (Matcher::Joins(a), Matcher::Joins(b)) => a == b,
        (Matcher::Strengths(a), Matcher::Strengths(b)) => a.iter().all(|s| b.contains(s)),
        (Matcher::Methods(a), Matcher::Methods(b)) => a.iter().all(|m| b.contains(m)),
        (Matcher::Delegations(a), Matcher::Delegations(b)) => a.iter().all(|d| b.contains(d)),
        (Matcher::Hashes(a), Matcher::Hashes(b)) => a.iter().all(|h| b.contains(h)),
        (Matcher::Means(a), Matcher::Means(b)) => a == b,
        (Matcher::MaxAuthAge(a), Matcher::MaxAuthAge(b)) => a <= b,
        (Matcher::Claimed(a), Matcher::Claimed(b)) | (Matcher::Claims(a), Matcher::Claims(b)) => {
            a == b
        }
        (Matcher::Identified(a), Matcher::Identified(b))
        | (Matcher::Stale(a), Matcher::Stale(b))
        | (Matcher::HasWhere(a), Matcher::HasWhere(b)) => a == b,
        _ => false,
    }
}

fn groups_imply(given: &Groups, wanted: &Groups) -> bool {
    type Set = Option<(Bits, Vec<String>)>;
    let meets = |wanted: &Set, given: &Set, holds: fn(&Bits, &Bits) -> bool| match (wanted, given) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some((wanted, _)), Some((given, _))) => holds(wanted, given),
    };
    meets(&wanted.any, &given.any, Bits::contains_all)
        && meets(&wanted.all, &given.all, |wanted, given| {
            given.contains_all(wanted)
        })
        && meets(&wanted.none, &given.none, |wanted, given| {
            given.contains_all(wanted)
        })
}

/// Groups that differ from another one only in case or punctuation, or by one letter and are named once.
fn misspelt_groups(pack: &Compiled) -> Vec<Finding> {
    let mut uses: BTreeMap<&str, (usize, &Place)> = BTreeMap::new();
    for rule in &pack.rules {
        let exemptions = rule.exemptions.iter().map(|exemption| &exemption.matching);
        let conditions = std::iter::once(&rule.matching)
            .chain(&rule.unless)
            .chain(exemptions);
        for matcher in conditions.flat_map(|conditions| &conditions.matchers) {
            let Matcher::Groups(groups) = matcher else {
                continue;
            };
            for (_, names) in [&groups.any, &groups.all, &groups.none]
                .into_iter()
                .flatten()
            {
                for name in names {
                    uses.entry(name).or_insert((0, &rule.place)).0 += 1;
                }
            }
        }
    }
    let mut findings = Vec::new();
    for (name, (count, place)) in &uses {
        let twin = uses.iter().find(|(other, (others, _))| {
            let rarer = (count, name) < (others, other);
            let alike = folded(name) == folded(other)
                || (*count == 1
                    && *others > 1
                    && name.len() > 4
                    && strsim::damerau_levenshtein(name, other) == 1);
            other != &name && rarer && alike
        });
        if let Some((other, (others, _))) = twin {
            findings.push(place.warning(
                format!("group `{name}` looks like `{other}`, which is named {others} times"),
                "spell it as the identity provider does; groups are compared exactly",
            ));
        }
    }
    findings
}

fn folded(group: &str) -> String {
    group
        .chars()
        .filter(|c| c.is_alphanumeric())
        .flat_map(char::to_lowercase)
        .collect()
}
