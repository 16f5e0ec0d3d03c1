//! Globs as rules write them: anchored at both ends, `*` and `?` only.

use std::fmt;

use weir_sql::ColumnName;

/// One glob. `*` stands for any run of characters, `?` for one; neither crosses the separator, where there is one. `**` crosses it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pattern {
    text: String,
    separator: Option<u8>,
    /// Bytes before the first wildcard.
    literal_bytes: usize,
    /// Whether anything may follow them.
    open: bool,
}

impl Pattern {
    /// For names without inner structure.
    pub(crate) fn name(text: &str) -> Self {
        Self::new(text, None)
    }

    /// For paths: `*` stays within one component.
    pub(crate) fn path(text: &str) -> Self {
        Self::new(text, Some(b'/'))
    }

    fn new(text: &str, separator: Option<u8>) -> Self {
        let literal_bytes = text.find(['*', '?']).unwrap_or(text.len());
        let rest = &text[literal_bytes..];
        Self {
            text: text.to_owned(),
            separator,
            literal_bytes,
            open: rest == "**" || (separator.is_none() && rest == "*"),
        }
    }

    pub(crate) fn matches(&self, value: &str) -> bool {
        if self.is_literal() {
            return self.text == value;
        }
        let (literal, rest) = self.text.as_bytes().split_at(self.literal_bytes);
        value
            .as_bytes()
            .strip_prefix(literal)
            .is_some_and(|value| self.open || glob(rest, value, self.separator))
    }

    /// Whether everything that `other` matches is certainly matched by this one too.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        self == other || self.is_any() || (other.is_literal() && self.matches(&other.text))
    }

    fn is_any(&self) -> bool {
        self.open && self.literal_bytes == 0
    }

    fn is_literal(&self) -> bool {
        self.literal_bytes == self.text.len()
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A glob over `schema.name`; without a dot it holds for the name in any schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct QualifiedPattern {
    schema: Option<Pattern>,
    name: Pattern,
}

/// How a qualified glob and a name as the statement wrote it agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Agreement {
    No,
    /// The name agrees, but the text leaves the schema to the session's `search_path`.
    UpToSchema,
    Yes,
}

impl QualifiedPattern {
    pub(crate) fn new(text: &str) -> Self {
        match text.split_once('.') {
            Some((schema, name)) => Self {
                schema: Some(Pattern::name(schema)),
                name: Pattern::name(name),
            },
            None => Self {
                schema: None,
                name: Pattern::name(text),
            },
        }
    }

    pub(crate) fn agreement(&self, schema: Option<&str>, name: &str) -> Agreement {
        let agreement = match (&self.schema, schema) {
            (None, _) => Agreement::Yes,
            (Some(pattern), _) if pattern.is_any() => Agreement::Yes,
            (Some(_), None) => Agreement::UpToSchema,
            (Some(pattern), Some(schema)) if pattern.matches(schema) => Agreement::Yes,
            (Some(_), Some(_)) => return Agreement::No,
        };
        if self.name.is_any() || self.name.matches(name) {
            agreement
        } else {
            Agreement::No
        }
    }

    /// Whether a relation whose schema is known is meant.
    pub(crate) fn matches(&self, schema: &str, name: &str) -> bool {
        self.agreement(Some(schema), name) == Agreement::Yes
    }

    pub(crate) fn covers(&self, other: &Self) -> bool {
        let schema = match (&self.schema, &other.schema) {
            (None, _) => true,
            (Some(pattern), None) => pattern.is_any(),
            (Some(pattern), Some(other)) => pattern.covers(other),
        };
        schema && self.name.covers(&other.name)
    }
}

impl fmt::Display for QualifiedPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.schema {
            Some(schema) => write!(f, "{schema}.{}", self.name),
            None => write!(f, "{}", self.name),
        }
    }
}

/// A glob over `schema.table.column`; what is left out in front holds anywhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ColumnPattern {
    schema: Option<Pattern>,
    relation: Option<Pattern>,
    column: Pattern,
}

impl ColumnPattern {
    pub(crate) fn new(text: &str) -> Self {
        let mut parts = text.rsplitn(3, '.').map(Pattern::name);
        let column = parts.next().unwrap_or_else(|| Pattern::name(""));
        let relation = parts.next().filter(|pattern| !pattern.is_any());
        let schema = parts.next().filter(|pattern| !pattern.is_any());
        Self {
            schema,
            relation,
            column,
        }
    }

    pub(crate) fn matches(&self, name: &ColumnName) -> bool {
        let part = |pattern: &Option<Pattern>, value: &str| {
            pattern
                .as_ref()
                .is_none_or(|pattern| pattern.matches(value))
        };
        self.column.matches(&name.column)
            && part(&self.relation, &name.relation)
            && part(&self.schema, &name.schema)
    }

    pub(crate) fn covers(&self, other: &Self) -> bool {
        let part = |wide: &Option<Pattern>, narrow: &Option<Pattern>| match (wide, narrow) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(wide), Some(narrow)) => wide.covers(narrow),
        };
        part(&self.schema, &other.schema)
            && part(&self.relation, &other.relation)
            && self.column.covers(&other.column)
    }
}

impl fmt::Display for ColumnPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in [&self.schema, &self.relation] {
            match part {
                Some(pattern) => write!(f, "{pattern}.")?,
                None => f.write_str("*.")?,
            }
        }
        write!(f, "{}", self.column)
    }
}

/// Two-finger matching with one point of return per kind of star: linear for `*`, at most quadratic with `**`.
fn glob(pattern: &[u8], value: &[u8], separator: Option<u8>) -> bool {
    let (mut p, mut v) = (0, 0);
    let mut narrow: Option<(usize, usize)> = None;
    let mut wide: Option<(usize, usize)> = None;
    loop {
        if pattern[p..].starts_with(b"**") {
            p += 2;
            wide = Some((p, v));
            narrow = None;
            continue;
        }
        match pattern.get(p) {
            Some(b'*') => {
                p += 1;
                narrow = Some((p, v));
                continue;
            }
            None if v == value.len() => return true,
            Some(b'?') if v < value.len() && Some(value[v]) != separator => {
                p += 1;
                // A character, not a byte: the rest of it is skipped.
                v += 1;
                while v < value.len() && value[v] & 0xC0 == 0x80 {
                    v += 1;
                }
                continue;
            }
            Some(&byte) if byte != b'?' && v < value.len() && value[v] == byte => {
                p += 1;
                v += 1;
                continue;
            }
            _ => {}
        }
        if let Some((after, from)) = narrow
            && from < value.len()
            && Some(value[from]) != separator
        {
            narrow = Some((after, from + 1));
            (p, v) = (after, from + 1);
        } else if let Some((after, from)) = wide
            && from < value.len()
        {
            wide = Some((after, from + 1));
            narrow = None;
            (p, v) = (after, from + 1);
        } else {
            return false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stays_within_a_path_component_and_two_stars_do_not() {
        let unit = Pattern::path("/system.slice/*.service");
        assert!(unit.matches("/system.slice/billing.service"));
        assert!(!unit.matches("/system.slice/a/billing.service"));
        assert!(!unit.matches("/x/system.slice/billing.service"));
        assert!(!unit.matches("/system.slice/billing.service/child"));
        let below = Pattern::path("/user.slice/**/app-*.scope");
        assert!(below.matches("/user.slice/u/v/app-1.scope"));
        assert!(!below.matches("/user.slice/u/v/app-1/x.scope"));
        assert!(Pattern::path("/a/**").matches("/a/b/c"));
    }

    #[test]
    fn a_star_in_a_name_matches_anything() {
        assert!(Pattern::name("shop*").matches("shop/eu"));
        assert!(Pattern::name("*a*b*c").matches("xxaxbbxc"));
        assert!(!Pattern::name("*a*b*c").matches("xxaxbbxcd"));
        assert!(Pattern::name("?x").matches("éx"));
        assert!(!Pattern::name("?").matches(""));
        assert!(Pattern::name("*").matches(""));
        assert!(!Pattern::name("").matches("a"));
    }

    #[test]
    fn a_name_without_a_schema_agrees_up_to_the_schema() {
        let orders = QualifiedPattern::new("public.orders");
        assert_eq!(orders.agreement(Some("public"), "orders"), Agreement::Yes);
        assert_eq!(orders.agreement(Some("secret"), "orders"), Agreement::No);
        assert_eq!(orders.agreement(None, "orders"), Agreement::UpToSchema);
        assert_eq!(
            QualifiedPattern::new("orders").agreement(None, "orders"),
            Agreement::Yes
        );
        assert_eq!(
            QualifiedPattern::new("*.orders").agreement(None, "orders"),
            Agreement::Yes
        );
    }

    #[test]
    fn a_column_glob_holds_anywhere_for_what_it_leaves_out() {
        let column = |schema: &str, relation: &str, column: &str| ColumnName {
            schema: schema.to_owned(),
            relation: relation.to_owned(),
            column: column.to_owned(),
        };
        let ssn = column("app", "customers", "ssn");
        for glob in [
            "ssn",
            "customers.ssn",
            "app.customers.ssn",
            "*.*.ssn",
            "app.*.s*",
            "*.cust*.ssn",
        ] {
            assert!(ColumnPattern::new(glob).matches(&ssn), "{glob}");
        }
        for glob in [
            "sn",
            "orders.ssn",
            "public.*.ssn",
            "*.*.ssn2",
            "app.customers",
        ] {
            assert!(!ColumnPattern::new(glob).matches(&ssn), "{glob}");
        }
        assert!(ColumnPattern::new("*.*.s*").covers(&ColumnPattern::new("app.*.ssn")));
        assert!(!ColumnPattern::new("app.*.ssn").covers(&ColumnPattern::new("ssn")));
    }

    #[test]
    fn covering_is_only_claimed_where_it_is_certain() {
        assert!(Pattern::name("*").covers(&Pattern::name("a?")));
        assert!(Pattern::name("a*").covers(&Pattern::name("ab")));
        assert!(!Pattern::name("a*").covers(&Pattern::name("ab*")));
        assert!(QualifiedPattern::new("*.t").covers(&QualifiedPattern::new("t")));
        assert!(!QualifiedPattern::new("s.t").covers(&QualifiedPattern::new("t")));
    }
}
