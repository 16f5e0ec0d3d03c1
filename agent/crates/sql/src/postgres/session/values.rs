//! Constants of settings: texts, truth values, lists of names.

use pg_query::NodeEnum;
use pg_query::protobuf::{Node, a_const};

/// A constant's text, casts of it included.
pub(in crate::postgres) fn constant_text(node: &Node) -> Option<String> {
    match node.node.as_ref()? {
        NodeEnum::AConst(constant) => match constant.val.as_ref()? {
            a_const::Val::Sval(text) => Some(text.sval.clone()),
            _ => None,
        },
        NodeEnum::TypeCast(cast) => constant_text(cast.arg.as_deref()?),
        _ => None,
    }
}

pub(super) fn boolean(node: &Node) -> Option<bool> {
    match node.node.as_ref()? {
        NodeEnum::AConst(constant) => match constant.val.as_ref()? {
            a_const::Val::Boolval(value) => Some(value.boolval),
            _ => None,
        },
        NodeEnum::TypeCast(cast) => {
            let arg = cast.arg.as_deref()?;
            boolean(arg).or_else(|| match constant_text(arg)?.as_str() {
                "t" | "true" => Some(true),
                "f" | "false" => Some(false),
                _ => None,
            })
        }
        _ => None,
    }
}

/// A setting's text as the list of names that it is; `None` when it is none.
#[must_use]
pub fn identifiers(text: &str) -> Option<Vec<String>> {
    let mut names = Vec::new();
    let mut rest = text.trim();
    if rest.is_empty() {
        return Some(names);
    }
    loop {
        let (name, after) = identifier(rest)?;
        names.push(name);
        rest = after.trim_start();
        match rest.strip_prefix(',') {
            Some(more) => rest = more.trim_start(),
            None => return rest.is_empty().then_some(names),
        }
    }
}

fn identifier(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text
            .find(|letter: char| letter == ',' || letter.is_whitespace())
            .unwrap_or(text.len());
        let (name, rest) = text.split_at_checked(end)?;
        return (!name.is_empty()).then(|| (name.to_ascii_lowercase(), rest));
    };
    let mut name = String::new();
    let mut letters = quoted.char_indices().peekable();
    while let Some((at, letter)) = letters.next() {
        if letter != '"' {
            name.push(letter);
        } else if letters.next_if(|(_, next)| *next == '"').is_some() {
            name.push('"');
        } else {
            return quoted.get(at + 1..).map(|rest| (name, rest));
        }
    }
    None
}
