//! `filter:`, a condition with places for what is known of the one who asks.

use weir_sql::{Confidence, Kind, SessionModes, postgres};

use crate::{
    finding::{Finding, Place},
    view::ActorView,
};

/// A condition over a relation's columns, ready to be filled in.
#[derive(Debug)]
pub(crate) struct Template {
    parts: Vec<Part>,
    pub(crate) written: String,
}

#[derive(Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Value(Value),
}

#[derive(Debug, PartialEq, Eq)]
enum Value {
    Subject,
    Issuer,
    Purpose,
    /// A list: for `= ANY ({{actor.groups}})`.
    Groups,
    Claim(String),
}

impl Template {
    /// Reads the template; what is wrong with it is added to `findings`.
    pub(crate) fn compile(written: &str, place: &Place, findings: &mut Vec<Finding>) -> Self {
        let mut parts = Vec::new();
        let mut rest = written;
        while let Some((text, after)) = rest.split_once("{{") {
            parts.push(Part::Text(text.to_owned()));
            let Some((name, after)) = after.split_once("}}") else {
                findings.push(place.error(
                    "a place in the filter does not end",
                    "write {{actor.region}}, with two braces on both sides",
                ));
                break;
            };
            match value(name.trim()) {
                Some(value) => parts.push(Part::Value(value)),
                None => findings.push(place.error(
                    format!("`{}` is nothing a filter can ask for", name.trim()),
                    "write {{actor.subject}}, {{actor.groups}}, or {{actor.CLAIM}} with the name of a claim",
                )),
            }
            rest = after;
        }
        parts.push(Part::Text(rest.to_owned()));
        let template = Self {
            parts,
            written: written.to_owned(),
        };
        template.check(place, findings);
        template
    }

    /// The condition for one who asks.
    ///
    /// # Errors
    ///
    /// The claim that is missing.
    pub(crate) fn fill(&self, actor: &ActorView<'_>) -> Result<String, &str> {
        let mut condition = String::with_capacity(self.written.len() + 16);
        for part in &self.parts {
            match part {
                Part::Text(text) => condition.push_str(text),
                Part::Value(value) => condition.push_str(&value.literal(actor)?),
            }
        }
        Ok(condition)
    }

    /// A condition must be one expression by itself: what is around it is not its to change.
    fn check(&self, place: &Place, findings: &mut Vec<Finding>) {
        let sample: String = self
            .parts
            .iter()
            .map(|part| match part {
                Part::Text(text) => text.as_str(),
                Part::Value(Value::Groups) => "ARRAY['x']::pg_catalog.text[]",
                Part::Value(_) => "'x'",
            })
            .collect();
        for text in [
            format!("SELECT 1 FROM x.y WHERE {sample}"),
            format!("SELECT 1 FROM x.y WHERE ({sample}) AND true"),
        ] {
            let facts = postgres::analyse(text.as_bytes(), SessionModes::default());
            if facts.confidence > Confidence::Tainted
                || facts.statement_count != 1
                || facts.kinds != [Kind::Select]
            {
                let why = facts
                    .parse_error
                    .unwrap_or_else(|| "it is more than one expression".to_owned());
                findings.push(place.error(
                    format!("the filter `{}` is no condition: {why}", self.written),
                    "write what could stand after WHERE, such as region = {{actor.region}}",
                ));
                return;
            }
        }
        // The same reading that rewriting does: what it refuses would leave every statement on the relation refused.
        if let Err(why) = postgres::filter_columns(&sample) {
            findings.push(place.error(
                format!("the filter `{}` {why}, so no row could be filtered by it", self.written),
                "write one condition over columns of the relation itself, by their bare names; values from elsewhere come as claims",
            ));
        }
    }
}

impl Value {
    fn literal(&self, actor: &ActorView<'_>) -> Result<String, &str> {
        let text = |value: Option<&str>, name: &'static str| {
            value
                .filter(|value| !value.contains('\0'))
                .map(literal)
                .ok_or(name)
        };
        match self {
            Self::Subject => text(actor.subject, "subject"),
            Self::Issuer => text(actor.issuer, "issuer"),
            Self::Purpose => text(actor.purpose, "purpose"),
            // A list that was cut off would let a condition such as `<> ALL` through.
            Self::Groups if actor.subject.is_none() || !actor.groups_complete => Err("groups"),
            Self::Groups => Ok(format!(
                "ARRAY[{}]::pg_catalog.text[]",
                actor
                    .group_names
                    .iter()
                    .map(|group| literal(group))
                    .collect::<Vec<_>>()
                    .join(", ")
            )),
            Self::Claim(name) => actor
                .claims
                .and_then(|claims| claims.get(name))
                .filter(|value| !value.contains('\0'))
                .map(|value| literal(value))
                .ok_or(name.as_str()),
        }
    }
}

fn value(name: &str) -> Option<Value> {
    Some(match name.strip_prefix("actor.")? {
        "subject" => Value::Subject,
        "issuer" => Value::Issuer,
        "purpose" => Value::Purpose,
        "groups" => Value::Groups,
        claim
            if !claim.is_empty()
                && claim
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"_-.:/".contains(&b)) =>
        {
            Value::Claim(claim.to_owned())
        }
        _ => return None,
    })
}

/// A string constant that says the same under every setting of the session.
fn literal(value: &str) -> String {
    let quoted = value.replace('\'', "''");
    if quoted.contains('\\') {
        format!(" E'{}'", quoted.replace('\\', "\\\\"))
    } else {
        format!("'{quoted}'")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{
        bits::Names,
        principal::{Identity, Principal, PrincipalKind, Strength},
        view::actors,
    };

    fn identity(region: &str) -> Identity {
        Identity {
            principal: Principal {
                issuer: "https://idp.example".to_owned(),
                subject: "o'hara".to_owned(),
                kind: PrincipalKind::Human,
                display: String::new(),
                groups: vec!["a".to_owned(), "b'".to_owned()],
                groups_complete: true,
                auth_time: None,
                acr: None,
                amr: Vec::new(),
                claims: BTreeMap::from([("region".to_owned(), region.to_owned())]),
            },
            actors: Vec::new(),
            method: "login".to_owned(),
            strength: Strength::Strong,
            purpose: None,
            delegation: None,
        }
    }

    fn fill(template: &str, identity: &Identity) -> Result<String, String> {
        let mut findings = Vec::new();
        let template = Template::compile(template, &Place::default(), &mut findings);
        assert!(findings.is_empty(), "{findings:?}");
        let actor = actors(Some(identity), &Names::default())
            .next()
            .expect("one");
        template.fill(&actor).map_err(str::to_owned)
    }

    #[test]
    fn values_are_filled_in_as_constants() {
        let eu = identity("eu");
        assert_eq!(
            fill("region = {{actor.region}}", &eu).as_deref(),
            Ok("region = 'eu'")
        );
        assert_eq!(
            fill(
                "owner = {{ actor.subject }} OR team = ANY ({{actor.groups}})",
                &eu
            )
            .as_deref(),
            Ok("owner = 'o''hara' OR team = ANY (ARRAY['a', 'b''']::pg_catalog.text[])")
        );
    }

    #[test]
    fn no_value_gets_out_of_its_constant() {
        for (value, expected) in [
            ("' OR true --", "r = ''' OR true --'"),
            ("\\' OR true --", "r =  E'\\\\'' OR true --'"),
        ] {
            assert_eq!(
                fill("r = {{actor.region}}", &identity(value)).as_deref(),
                Ok(expected)
            );
        }
    }

    #[test]
    fn what_is_not_known_is_named() {
        let mut known = identity("eu");
        assert_eq!(
            fill("x = {{actor.country}}", &known),
            Err("country".to_owned())
        );
        known.principal.groups_complete = false;
        assert_eq!(
            fill("x <> ALL ({{actor.groups}})", &known),
            Err("groups".to_owned())
        );
    }

    #[test]
    fn a_template_must_be_one_condition() {
        for wrong in [
            "region = {{actor.region}",
            "region = {{user}}",
            "true) OR (true",
            "true; DELETE FROM t",
            "true -- and more",
            "true ORDER BY 1",
            "id IN (SELECT id FROM mine)",
            "id IN (SELECT id FROM app.mine)",
            "EXISTS (SELECT FROM app.mine)",
            "orders.region = 'eu'",
            "region = $1",
            "true, true",
            "DISTINCT true",
            "true AS x",
            "",
        ] {
            let mut findings = Vec::new();
            Template::compile(wrong, &Place::default(), &mut findings);
            assert!(!findings.is_empty(), "{wrong}");
        }
    }
}
