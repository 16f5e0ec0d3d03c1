//! What a rule does when it matches.

use std::{collections::BTreeMap, fmt, time::Duration};

use serde::{
    Deserialize, Deserializer,
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
    /// The effects in here that this version can parse but not enforce.
    #[must_use]
    pub fn unenforceable(&self) -> Vec<&'static str> {
        let mut names = Vec::new();
        let mut note = |is: bool, name| {
            if is {
                names.push(name);
            }
        };
        note(self.cap.is_some(), "cap");
        note(self.filter.is_some(), "filter");
        note(!self.mask.is_empty(), "mask");
        note(self.on_write.is_some(), "on_write");
        note(self.approve.is_some(), "approve");
        names
    }
}

/// Limits what a request may return.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cap {
    /// At most so many rows.
    pub rows: u64,
}

/// Who must agree before the request goes on.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approve {
    /// Members of any of these may agree.
    pub groups: Vec<String>,
    /// How many must.
    #[serde(default = "one")]
    pub quorum: u32,
    /// How long the request waits; written `90s`, `15m`, `2h`, `1d`.
    #[serde(default, deserialize_with = "duration")]
    pub ttl: Option<Duration>,
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

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse_duration(&text).map(Some).ok_or_else(|| {
        de::Error::custom(format!("`{text}` is no duration; write 90s, 15m, 2h or 1d"))
    })
}

fn parse_duration(text: &str) -> Option<Duration> {
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

const FIELDS: &[&str] = &[
    "deny", "tag", "cap", "filter", "mask", "on_write", "approve",
];
