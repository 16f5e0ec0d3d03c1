//! Which types can hold which classes.

/// What a column's type can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// Strings.
    Text,
    /// JSON, XML: strings inside.
    Document,
    /// Whole numbers, wide enough for numbers of people.
    Number,
    Date,
    Network,
    Bytes,
    Point,
    /// A list of strings.
    List,
    /// What cannot hold anything of ours: truth values, UUIDs, small numbers.
    Closed,
}

impl Shape {
    /// Of a type as `format_type` writes it.
    pub(super) fn of(type_name: &str) -> Self {
        if let Some(element) = type_name.strip_suffix("[]") {
            return match Self::of(element) {
                Self::Text => Self::List,
                _ => Self::Closed,
            };
        }
        let bare = type_name.split('(').next().unwrap_or(type_name).trim();
        let bare = bare.rsplit('.').next().unwrap_or(bare);
        match bare {
            "text" | "character varying" | "character" | "varchar" | "bpchar" | "name"
            | "citext" | "char" => Self::Text,
            "json" | "jsonb" | "xml" | "hstore" | "tsvector" => Self::Document,
            "bigint" | "int8" | "numeric" | "integer" | "int4" | "money" | "double precision"
            | "real" => Self::Number,
            "date" => Self::Date,
            "inet" | "cidr" | "macaddr" | "macaddr8" => Self::Network,
            "bytea" => Self::Bytes,
            "point" | "geometry" | "geography" => Self::Point,
            _ if bare.starts_with("timestamp") => Self::Date,
            "boolean" | "uuid" | "smallint" | "oid" | "interval" | "bit" | "bit varying" => {
                Self::Closed
            }
            _ if bare.starts_with("time") => Self::Closed,
            // Domains and enumerations: the server writes them as strings.
            _ => Self::Text,
        }
    }
}

/// Whether a column of that shape can be of the class.
pub(super) fn fits(class: &str, shape: Shape) -> bool {
    match class {
        "pii.birth_date" | "pci.expiry" => matches!(shape, Shape::Date | Shape::Text),
        "pii.phone" | "pii.ssn" | "pii.national_id" | "pii.tax_id" | "pci.pan" | "pci.cvv"
        | "finance.account" => {
            matches!(shape, Shape::Text | Shape::Number | Shape::List)
        }
        "finance.income" => matches!(shape, Shape::Number | Shape::Text),
        "pii.location" => matches!(shape, Shape::Number | Shape::Point | Shape::Text),
        "network.ip" | "network.mac" => matches!(shape, Shape::Text | Shape::Network),
        "secret.password" | "secret.api_key" | "secret.token" | "secret.private_key" => {
            matches!(shape, Shape::Text | Shape::Bytes)
        }
        "pii.name" | "pii.email" => matches!(shape, Shape::Text | Shape::List),
        "pii.address" | "pii.special" => {
            matches!(shape, Shape::Text | Shape::Document | Shape::List)
        }
        _ => shape == Shape::Text,
    }
}
