//! What a rule does when it matches.

use std::{collections::BTreeMap, fmt, time::Duration};

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{self, MapAccess, Visitor, value::MapAccessDeserializer},
};

use weir_sql::Mask;

use super::words::OneOrMany;

/// A rule's effect: `allow` alone, or one or more restrictions together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Effects {
    /// Lifts the default; stands alone.
    pub allow: bool,
    /// Refuses, with the text that the client reads.
    pub deny: Option<String>,
    /// Marks the record.
    pub tags: Vec<String>,
    /// Limits what comes back.
    pub cap: Option<Cap>,
    /// Limits what comes back over a time.
    pub budget: Option<BudgetText>,
    /// A condition that rows must meet.
    pub filter: Option<String>,
    /// Class to mask; `default` for the rest.
    pub mask: BTreeMap<String, Mask>,
    /// Whether masked values may be stored.
    pub on_write: Option<OnWrite>,
    /// Holds until somebody agrees.
    pub approve: Option<Approve>,
}

impl Effects {
    /// What the rule does, as the format spells it.
    #[must_use]
    pub fn words(&self) -> Vec<&'static str> {
        let words = [
            (self.allow, "allow"),
            (self.deny.is_some(), "deny"),
            (self.approve.is_some(), "approve"),
            (!self.mask.is_empty(), "mask"),
            (self.filter.is_some(), "filter"),
            (self.cap.is_some(), "cap"),
            (self.budget.is_some(), "budget"),
            (self.on_write.is_some(), "on_write"),
            (!self.tags.is_empty(), "tag"),
        ];
        words
            .into_iter()
            .filter_map(|(is, word)| is.then_some(word))
            .collect()
    }

    /// Whether it refuses, changes or limits anything.
    #[must_use]
    pub fn restricts(&self) -> bool {
        self.stops() || self.hides() || self.limits()
    }

    /// Whether it does something about a statement as a whole.
    pub(crate) fn judges(&self) -> bool {
        self.allow || self.stops() || self.limits() || !self.tags.is_empty()
    }

    /// What it leaves out that it cannot do without.
    fn problem(&self) -> Option<&'static str> {
        let empty = |is: Option<bool>| is == Some(true);
        if empty(
            self.cap
                .as_ref()
                .map(|cap| cap.rows.or(cap.bytes).is_none()),
        ) {
            return Some("a cap without a limit; give `rows` or `bytes`");
        }
        let budget = self.budget.as_ref();
        if empty(budget.map(|b| b.rows.or(b.bytes).or(b.statements).is_none())) {
            return Some("a budget without a limit; give `rows`, `bytes` or `statements`");
        }
        if empty(budget.map(|budget| budget.window.is_zero())) {
            return Some("a budget over no time; give a `window` such as 1h");
        }
        let approve = self.approve.as_ref();
        if empty(approve.map(|a| a.groups.is_empty())) {
            return Some("an approval that nobody can give; name at least one group");
        }
        if empty(approve.map(|a| a.quorum == 0)) {
            return Some("an approval by nobody; give a `quorum` of one or more");
        }
        if empty(approve.map(|a| a.ttl.is_zero())) {
            return Some("an approval that nobody has time for; give a `ttl` such as 15m");
        }
        if self.deny.is_some() && self.approve.is_some() {
            return Some("`deny` leaves nothing to approve; give one of the two");
        }
        if self.on_write.is_some() && self.mask.is_empty() {
            return Some("`on_write` says how masked values are stored; give a `mask` too");
        }
        None
    }

    /// Whether a statement does not simply go on: it is refused, or waits until somebody agrees.
    #[must_use]
    pub fn stops(&self) -> bool {
        self.deny.is_some() || self.approve.is_some()
    }

    /// Whether it changes what is read.
    #[must_use]
    pub fn hides(&self) -> bool {
        !self.mask.is_empty() || self.filter.is_some()
    }

    /// Whether it limits how much comes back.
    #[must_use]
    pub fn limits(&self) -> bool {
        self.cap.is_some() || self.budget.is_some()
    }
}

/// Limits what a request may return.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cap {
    /// At most so many rows.
    pub rows: Option<u64>,
    /// At most so many bytes; written `65536`, `64KiB`, `50MiB`, `1GiB`.
    #[serde(default, deserialize_with = "bytes")]
    pub bytes: Option<u64>,
}

/// Limits what may come back over a time, all statements together.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BudgetText {
    /// At most so many rows.
    pub rows: Option<u64>,
    /// At most so many bytes, written as in [`Cap`].
    #[serde(default, deserialize_with = "bytes")]
    pub bytes: Option<u64>,
    /// At most so many statements.
    pub statements: Option<u64>,
    /// Whose statements count together.
    pub per: Per,
    /// Over how long; written `90s`, `15m`, `2h`, `1d`.
    #[serde(deserialize_with = "some_duration")]
    pub window: Duration,
}

/// Whose statements count together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Per {
    /// One run of an agent; without one, the one who acts.
    Run,
    /// The one who acts, over all runs.
    Actor,
    /// The person or service on whose behalf, over all actors.
    Principal,
}

/// Who must agree before the request goes on.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approve {
    /// Members of any of these may agree, but never who asks.
    pub groups: Vec<String>,
    /// How many must.
    #[serde(default = "one")]
    pub quorum: u32,
    /// How long the request waits; written `90s`, `15m`, `2h`, `1d`.
    #[serde(default = "quarter", deserialize_with = "some_duration")]
    pub ttl: Duration,
    /// For how long, at most, an approver may allow the same statement again, whatever its values; absent, only this once.
    #[serde(default, deserialize_with = "duration")]
    pub reuse: Option<Duration>,
    /// What becomes of a statement inside a transaction, whose locks would be held for as long as it waits.
    #[serde(default)]
    pub in_transaction: InTransaction,
    /// Members of any of these may let it run at once in an emergency, their own statements too; it is alarmed.
    #[serde(default)]
    pub break_glass: Vec<String>,
}

/// What becomes of a statement that needs an approval inside a transaction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InTransaction {
    /// It waits like any other.
    #[default]
    Hold,
    /// It is refused, with the hint to run it outside.
    Deny,
}

/// What happens to masked values that a statement would store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnWrite {
    /// They are stored masked: a sanitised copy.
    Masked,
}

impl<'de> Deserialize<'de> for Effects {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(EffectsVisitor)
    }
}

struct EffectsVisitor;

impl<'de> Visitor<'de> for EffectsVisitor {
    type Value = Effects;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`allow`, or a map such as { deny: \"why, and what to do\" }")
    }

    fn visit_str<E: de::Error>(self, word: &str) -> Result<Effects, E> {
        match word {
            "allow" => Ok(Effects {
                allow: true,
                ..Effects::default()
            }),
            "deny" => Err(E::custom(
                "a denial needs a text for the client; write { deny: \"why, and what to do\" }",
            )),
            other => Err(E::custom(format!(
                "unknown effect `{other}`; write `allow`, or a map of {}",
                FIELDS.join(", ")
            ))),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Effects, A::Error> {
        let written = Written::deserialize(MapAccessDeserializer::new(map))?;
        let effects = Effects {
            allow: false,
            deny: written.deny,
            tags: written.tag.map_or_else(Vec::new, |tags| tags.0),
            cap: written.cap,
            budget: written.budget,
            filter: written.filter,
            mask: written
                .mask
                .into_iter()
                .map(|(class, mask)| (class, mask.unwrap_or(Mask::Null)))
                .collect(),
            on_write: written.on_write,
            approve: written.approve,
        };
        if effects == Effects::default() {
            return Err(de::Error::custom(format!(
                "the effect does nothing; give at least one of {}",
                FIELDS.join(", ")
            )));
        }
        if let Some(problem) = effects.problem() {
            return Err(de::Error::custom(problem));
        }
        if effects
            .deny
            .as_deref()
            .is_some_and(|text| text.trim().is_empty())
        {
            return Err(de::Error::custom(
                "a denial needs a text for the client; write why, and what to do",
            ));
        }
        Ok(effects)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    deny: Option<String>,
    tag: Option<OneOrMany<String>>,
    cap: Option<Cap>,
    budget: Option<BudgetText>,
    filter: Option<String>,
    /// YAML reads the mask's name `null` as no value.
    #[serde(default)]
    mask: BTreeMap<String, Option<Mask>>,
    on_write: Option<OnWrite>,
    approve: Option<Approve>,
}

fn one() -> u32 {
    1
}

fn quarter() -> Duration {
    Duration::from_mins(15)
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse_duration(&text).map(Some).ok_or_else(|| {
        de::Error::custom(format!("`{text}` is no duration; write 90s, 15m, 2h or 1d"))
    })
}

fn some_duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    duration(deserializer)?
        .ok_or_else(|| de::Error::custom("no duration; write 90s, 15m, 2h or 1d"))
}

fn bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    struct Size;

    impl Visitor<'_> for Size {
        type Value = u64;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a number of bytes such as 65536, 64KiB or 50MiB")
        }

        fn visit_u64<E: de::Error>(self, bytes: u64) -> Result<u64, E> {
            Ok(bytes)
        }

        fn visit_i64<E: de::Error>(self, bytes: i64) -> Result<u64, E> {
            u64::try_from(bytes).map_err(|_| E::custom("a negative size; write 65536 or 64KiB"))
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<u64, E> {
            parse_bytes(text).ok_or_else(|| {
                E::custom(format!(
                    "`{text}` is no size; write 65536, 64KiB, 50MiB or 1GiB"
                ))
            })
        }
    }

    deserializer.deserialize_any(Size).map(Some)
}

fn parse_bytes(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let factor: u64 = match unit.trim_start() {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "KB" | "kB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

/// Reads `90s`, `15m`, `2h` or `1d`.
#[must_use]
pub fn parse_duration(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return None,
    };
    number
        .parse::<u64>()
        .ok()?
        .checked_mul(seconds)
        .map(Duration::from_secs)
}

/// Writes a duration as [`parse_duration`] reads it, in the largest unit that it is a multiple of.
pub(crate) fn show_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (number, unit) = [(86_400, 'd'), (3_600, 'h'), (60, 'm')]
        .into_iter()
        .find(|(unit, _)| seconds > 0 && seconds.is_multiple_of(*unit))
        .map_or((seconds, 's'), |(unit, name)| (seconds / unit, name));
    format!("{number}{unit}")
}

const FIELDS: &[&str] = &[
    "deny", "tag", "cap", "budget", "filter", "mask", "on_write", "approve",
];
