//! What is wrong with a pack, where, and what to do about it.

use std::{fmt, io, path::PathBuf};

use serde::Serialize;
use serde_saphyr::Location;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Works, but hardly as meant.
    Warning,
    /// The pack is refused.
    Error,
}

/// One thing that is wrong with a pack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad.
    pub severity: Severity,
    /// Where.
    #[serde(flatten)]
    pub place: Place,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub remedy: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Warning => "warning",
            Severity::Error => "error",
        };
        write!(
            f,
            "{}: {severity}: {}; {}",
            self.place, self.message, self.remedy
        )
    }
}

/// A place in a pack's file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default, Serialize)]
pub struct Place {
    /// The file's name within the pack.
    pub file: String,
    /// From 1; 0 when unknown.
    pub line: u64,
    /// From 1; 0 when unknown.
    pub column: u64,
}

impl Place {
    pub(crate) fn new(file: &str, at: Location) -> Self {
        Self {
            file: file.to_owned(),
            line: at.line(),
            column: at.column(),
        }
    }

    pub(crate) fn error(&self, message: impl Into<String>, remedy: impl Into<String>) -> Finding {
        self.finding(Severity::Error, message.into(), remedy.into())
    }

    pub(crate) fn warning(&self, message: impl Into<String>, remedy: impl Into<String>) -> Finding {
        self.finding(Severity::Warning, message.into(), remedy.into())
    }

    fn finding(&self, severity: Severity, message: String, remedy: String) -> Finding {
        Finding {
            severity,
            place: self.clone(),
            message,
            remedy,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file)?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        Ok(())
    }
}

/// Why a folder is not a pack.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// The folder or a file in it cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The folder has no rules.
    #[error("{} has no *.yaml file with rules", path.display())]
    Empty {
        /// Which.
        path: PathBuf,
    },
    /// Something in it is wrong: the pack is refused whole.
    #[error("the pack is refused:\n{}", lines(.0))]
    Refused(Vec<Finding>),
}

impl PackError {
    /// The findings, where the files could be read at all.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        match self {
            Self::Refused(findings) => findings,
            Self::Read { .. } | Self::Empty { .. } => &[],
        }
    }
}

/// Turns what the YAML reader says into a finding with a remedy.
pub(crate) fn from_yaml(file: &str, error: &serde_saphyr::Error) -> Finding {
    use serde_saphyr::Error as Yaml;

    let place = error.location().map_or_else(
        || Place {
            file: file.to_owned(),
            ..Place::default()
        },
        |at| Place::new(file, at),
    );
    match error.without_snippet() {
        Yaml::SerdeUnknownField {
            field, expected, ..
        } => place.error(format!("unknown field `{field}`"), suggest(field, expected)),
        Yaml::SerdeUnknownVariant {
            variant, expected, ..
        } => place.error(
            format!("unknown word `{variant}`"),
            suggest(variant, expected),
        ),
        Yaml::SerdeMissingField { field, .. } => place.error(
            format!("field `{field}` is missing"),
            format!("add `{field}:`"),
        ),
        Yaml::DuplicateMappingKey { key, .. } => place.error(
            match key {
                Some(key) => format!("`{key}` is given twice"),
                None => "a key is given twice".to_owned(),
            },
            "keep one of the two",
        ),
        Yaml::SerdeInvalidType {
            unexpected,
            expected,
            ..
        }
        | Yaml::SerdeInvalidValue {
            unexpected,
            expected,
            ..
        } => place.error(format!("found {unexpected}"), format!("write {expected}")),
        Yaml::Message { msg, .. } => match msg.split_once("; ") {
            Some((message, remedy)) => place.error(message, remedy),
            None => place.error(msg.clone(), "see the format in the pack of the baseline"),
        },
        other => place.error(
            other.render().lines().next().unwrap_or_default().to_owned(),
            "correct the YAML here",
        ),
    }
}

/// The closest of the known words, else all of them.
pub(crate) fn suggest<S: AsRef<str>>(word: &str, known: &[S]) -> String {
    let closest = known
        .iter()
        .map(|known| (strsim::damerau_levenshtein(word, known.as_ref()), known))
        .min_by_key(|(distance, _)| *distance);
    match closest {
        Some((distance, known)) if distance <= word.chars().count().div_ceil(3) => {
            format!("did you mean `{}`?", known.as_ref())
        }
        _ => {
            let known: Vec<_> = known.iter().map(|k| format!("`{}`", k.as_ref())).collect();
            format!("known are {}", known.join(", "))
        }
    }
}

fn lines(findings: &[Finding]) -> String {
    let lines: Vec<_> = findings.iter().map(ToString::to_string).collect();
    lines.join("\n")
}
