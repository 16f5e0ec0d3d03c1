//! What a rule says of data that is hardly meant: classes nobody has, masks that cannot fit, masks that change nothing.

use weir_sql::Mask;

use crate::{
    classes::ClassTree,
    conditions::Matcher,
    finding::{Finding, suggest},
    masking::DEFAULT,
    pack::Compiled,
    rule::Rule,
    schema::Mode,
};

use super::implies_all;

pub(super) fn warnings(rule: &Rule, pack: &Compiled, tree: &ClassTree) -> Vec<Finding> {
    let mut findings = unknown_classes(rule, pack, tree);
    findings.extend(misfits(rule));
    findings.extend(changes_nothing(rule, pack));
    findings.extend(believes_claims(rule));
    findings
}

/// A pack without `classes.yaml` leaves it to detection what data is; one that has it names what there is.
fn unknown_classes(rule: &Rule, pack: &Compiled, tree: &ClassTree) -> Vec<Finding> {
    let given = pack.given_classes();
    if given.is_empty() {
        return Vec::new();
    }
    let known = |class: &str| given.iter().any(|given| tree.is_part(given, class));
    let mut unknown: Vec<_> = rule
        .class_names()
        .filter(|class| !known(class))
        .cloned()
        .collect();
    unknown.sort_unstable();
    unknown.dedup();
    unknown
        .into_iter()
        .map(|class| {
            rule.place.warning(
                format!(
                    "`{}` speaks of the class `{class}`, which classes.yaml gives to nothing",
                    rule.id.0
                ),
                suggest(&class, given),
            )
        })
        .collect()
}

/// Masks that keep a part of a value which such a value hardly has.
fn misfits(rule: &Rule) -> Vec<Finding> {
    let fits = |class: &str, mask: Mask| {
        let last = class.rsplit('.').next().unwrap_or_default();
        let named = |words: &[&str]| words.iter().any(|word| last.contains(word));
        match mask {
            Mask::DomainOnly => named(&["mail", "url", "domain", "contact", "user"]),
            Mask::ShiftDate => named(&["date", "birth", "dob", "time", "day", "expir"]),
            Mask::Last4 => !named(&["mail", "date", "birth", "dob", "name", "password"]),
            _ => true,
        }
    };
    rule.effects
        .mask
        .iter()
        .filter(|(class, mask)| *class != DEFAULT && !fits(class, **mask))
        .map(|(class, mask)| {
            rule.place.warning(
                format!(
                    "`{}` masks `{class}` by {mask:?}, which hardly fits such values",
                    rule.id.0
                ),
                "use partial, hash or redact, which fit any",
            )
        })
        .collect()
}

/// A mask or cap beside one that is at least as strict for at least as much.
fn changes_nothing(rule: &Rule, pack: &Compiled) -> Option<Finding> {
    if rule.mode == Mode::Observe || !only_masks(rule) {
        return None;
    }
    let strictest = rule.effects.mask.values().max()?;
    let stricter = pack.rules.iter().find(|other| {
        let own = std::ptr::eq(*other, rule);
        let always = other.unless.is_none() && other.exemptions.is_empty();
        let weakest = other.effects.mask.values().min();
        !own && always
            && other.mode == Mode::Enforce
            && other.effects.mask.contains_key(DEFAULT)
            && weakest.is_some_and(|weakest| weakest >= strictest)
            // Of two that say the same, one is enough to be told of.
            && (weakest > Some(strictest) || other.id < rule.id)
            && implies_all(&rule.matching, &other.matching)
    })?;
    Some(rule.place.warning(
        format!(
            "`{}` changes nothing: `{}` masks all that it matches at least as strictly",
            rule.id.0, stricter.id.0
        ),
        "add an `unless` to the stricter rule, or remove this one",
    ))
}

fn only_masks(rule: &Rule) -> bool {
    let effects = &rule.effects;
    !effects.mask.is_empty()
        && effects.filter.is_none()
        && !effects.limits()
        && !effects.stops()
        && effects.tags.is_empty()
}

/// Whoever writes the statement writes its comments too.
fn believes_claims(rule: &Rule) -> Option<Finding> {
    let claimed = |matcher: &Matcher| matches!(matcher, Matcher::Claimed(_));
    let lifts = rule
        .all_matchers()
        .skip(rule.matching.matchers.len())
        .any(claimed);
    let grants = rule.effects.allow && rule.matching.matchers.iter().any(claimed);
    (lifts || grants).then(|| {
        rule.place.warning(
            format!(
                "`{}` believes what a statement claims of itself, and anybody can write that",
                rule.id.0
            ),
            "use `purpose` or `actor.*`, which are verified; `claimed` is good for restricting and marking",
        )
    })
}
