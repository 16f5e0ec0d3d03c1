//! What an expression can ask for, and of which type it is.

use std::fmt;

/// What a value can be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Type {
    Bool,
    Number,
    Text,
    Bytes,
    Null,
    List(Box<Type>),
    /// From text to something.
    Map(Box<Type>),
    /// One of the names that an expression can begin with.
    Root(Root),
    /// That, or null.
    Optional(Box<Type>),
    /// What an empty list holds.
    Any,
}

/// The names that an expression can begin with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Root {
    Statement,
    Actor,
    Process,
    Target,
    /// Has no fields: seconds since the epoch, of the beginning of the minute.
    Now,
}

#[derive(Debug, Clone, Copy)]
enum Field {
    Bool,
    Number,
    Text,
    Texts,
    Map,
    OptionalBool,
    OptionalNumber,
    OptionalText,
}

impl Root {
    pub(super) const ALL: [Self; 5] = [
        Self::Statement,
        Self::Actor,
        Self::Process,
        Self::Target,
        Self::Now,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Statement => "stmt",
            Self::Actor => "actor",
            Self::Process => "process",
            Self::Target => "target",
            Self::Now => "now",
        }
    }

    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|root| root.name() == name)
    }

    /// Its field of that name, with the name as it is kept.
    pub(super) fn field(self, name: &str) -> Option<(&'static str, Type)> {
        self.fields()
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(known, field)| (*known, field.of()))
    }

    pub(super) fn field_names(self) -> Vec<&'static str> {
        self.fields().iter().map(|(name, _)| *name).collect()
    }

    fn fields(self) -> &'static [(&'static str, Field)] {
        match self {
            Self::Statement => &[
                ("kinds", Field::Texts),
                ("actions", Field::Texts),
                ("limit", Field::OptionalNumber),
                ("has_where", Field::OptionalBool),
                ("relations", Field::Texts),
                ("functions", Field::Texts),
                ("columns", Field::Texts),
                ("classes", Field::Texts),
                ("normalised", Field::Text),
                ("statements", Field::Number),
                ("confidence", Field::Text),
                ("claimed", Field::Map),
            ],
            Self::Actor => &[
                ("kind", Field::Text),
                ("identified", Field::Bool),
                ("id", Field::OptionalText),
                ("subject", Field::OptionalText),
                ("issuer", Field::OptionalText),
                ("groups", Field::Texts),
                ("purpose", Field::OptionalText),
                ("client", Field::OptionalText),
                ("run", Field::OptionalText),
                ("strength", Field::OptionalText),
                ("claims", Field::Map),
                ("method", Field::OptionalText),
                ("delegation", Field::OptionalText),
                ("acr", Field::OptionalText),
                ("amr", Field::Texts),
                ("auth_age", Field::OptionalNumber),
                ("stale", Field::Bool),
            ],
            Self::Process => &[
                ("exe", Field::Text),
                ("cgroup", Field::Text),
                ("uid", Field::Number),
                ("exe_sha256", Field::OptionalText),
                ("unit", Field::OptionalText),
                ("container", Field::OptionalText),
            ],
            Self::Target => &[
                ("endpoint", Field::Text),
                ("environment", Field::Text),
                ("engine", Field::Text),
                ("database", Field::Text),
                ("database_user", Field::Text),
            ],
            Self::Now => &[],
        }
    }
}

impl Field {
    fn of(self) -> Type {
        let optional = |of| Type::Optional(Box::new(of));
        match self {
            Self::Bool => Type::Bool,
            Self::Number => Type::Number,
            Self::Text => Type::Text,
            Self::Texts => Type::List(Box::new(Type::Text)),
            Self::Map => Type::Map(Box::new(Type::Text)),
            Self::OptionalBool => optional(Type::Bool),
            Self::OptionalNumber => optional(Type::Number),
            Self::OptionalText => optional(Type::Text),
        }
    }
}

impl Type {
    /// What both can be taken for; `None` when they have nothing in common.
    pub(super) fn common(&self, other: &Self) -> Option<Self> {
        Some(match (self, other) {
            (Self::Any, of) | (of, Self::Any) => of.clone(),
            (Self::Null, Self::Null) => Self::Null,
            (Self::Null, Self::Optional(of)) | (Self::Optional(of), Self::Null) => {
                Self::Optional(of.clone())
            }
            (Self::Optional(a), Self::Optional(b)) => Self::Optional(Box::new(a.common(b)?)),
            (Self::Optional(of), other) | (other, Self::Optional(of)) => {
                Self::Optional(Box::new(of.common(other)?))
            }
            (Self::List(a), Self::List(b)) => Self::List(Box::new(a.common(b)?)),
            (Self::Map(a), Self::Map(b)) => Self::Map(Box::new(a.common(b)?)),
            (Self::Root(_), _) | (_, Self::Root(_)) => return None,
            (a, b) if a == b => a.clone(),
            _ => return None,
        })
    }

    /// The type without null: asking more of null fails when it is evaluated, which leaves the rule in doubt.
    pub(super) fn present(&self) -> &Self {
        match self {
            Self::Optional(of) => of,
            of => of,
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool => f.write_str("true or false"),
            Self::Number => f.write_str("a number"),
            Self::Text => f.write_str("a text"),
            Self::Bytes => f.write_str("bytes"),
            Self::Null => f.write_str("null"),
            Self::List(of) => write!(f, "a list of {of}"),
            Self::Map(of) => write!(f, "a map to {of}"),
            Self::Root(root) => write!(f, "`{}` itself", root.name()),
            Self::Optional(of) => write!(f, "{of} or null"),
            Self::Any => f.write_str("nothing known"),
        }
    }
}
