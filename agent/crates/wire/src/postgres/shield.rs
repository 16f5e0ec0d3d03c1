//! Errors, notices and notifications without what they could carry of hidden values.
//!
//! A statement that reads was rewritten: what its errors quote is masked already. A statement that writes meets constraints,
//! triggers and indexes, which see what is really stored and say so in details, context and, from functions, in the message.

mod conditions;

use super::{
    Shield,
    backend::tag,
    frontend::{message, take_string},
};

/// One field of an `ErrorResponse` or `NoticeResponse`.
type Field<'a> = (u8, &'a [u8]);

/// An `ErrorResponse` as the client may read it; `None` when it may pass as it is.
///
/// `position` maps a position in the server's text to the client's, or to nothing.
#[must_use]
pub fn error(
    body: &[u8],
    shield: Shield,
    position: impl Fn(usize) -> Option<usize>,
) -> Option<Vec<u8>> {
    rewrite(tag::ERROR_RESPONSE, body, shield, position)
}

/// A `NoticeResponse` as the client may read it; `None` when it may pass as it is.
#[must_use]
pub fn notice(
    body: &[u8],
    shield: Shield,
    position: impl Fn(usize) -> Option<usize>,
) -> Option<Vec<u8>> {
    rewrite(tag::NOTICE_RESPONSE, body, shield, position)
}

/// A `NotificationResponse` without its payload, which another session chose; `None` when it has none.
#[must_use]
pub fn notification(body: &[u8]) -> Option<Vec<u8>> {
    let process = body.get(..4)?;
    let (channel, payload) = take_string(body.get(4..)?)?;
    if payload == b"\0" {
        return None;
    }
    Some(message(
        tag::NOTIFICATION_RESPONSE,
        &[process, channel, b"\0\0"],
    ))
}

/// What takes the place of an error that is too long to be read.
#[must_use]
pub fn oversized_error(sqlstate: [u8; 5]) -> Vec<u8> {
    let text: &[u8] = b"\0Mweir: the server's message is too long to be looked into, and something is hidden from this session\0\0";
    message(
        tag::ERROR_RESPONSE,
        &[b"SERROR\0VERROR\0C", &sqlstate, text],
    )
}

fn rewrite(
    tag: u8,
    body: &[u8],
    shield: Shield,
    position: impl Fn(usize) -> Option<usize>,
) -> Option<Vec<u8>> {
    let fields = Fields::read(body);
    let mut changed = false;
    let mut out = Vec::new();
    for &(name, value) in &fields.list {
        let kept = match name {
            b'P' => {
                let mapped = decimal(value).and_then(&position);
                changed |= mapped != decimal(value);
                if let Some(position) = mapped {
                    push(&mut out, name, position.to_string().as_bytes());
                }
                continue;
            }
            _ => fields.keeps(name, shield, tag),
        };
        if kept {
            push(&mut out, name, value);
            continue;
        }
        changed = true;
        if name == b'M' {
            push(&mut out, name, fields.condition().as_bytes());
        }
    }
    changed.then(|| message(tag, &[&out, b"\0"]))
}

fn push(out: &mut Vec<u8>, name: u8, value: &[u8]) {
    out.push(name);
    out.extend_from_slice(value);
    out.push(0);
}

fn decimal(value: &[u8]) -> Option<usize> {
    std::str::from_utf8(value).ok()?.parse().ok()
}

struct Fields<'a> {
    list: Vec<Field<'a>>,
    sqlstate: &'a [u8],
    severity: &'a [u8],
    /// A function was running: the message may be of its making.
    in_function: bool,
}

impl<'a> Fields<'a> {
    fn read(body: &'a [u8]) -> Self {
        let mut fields = Self {
            list: Vec::new(),
            sqlstate: b"",
            severity: b"",
            in_function: false,
        };
        let mut rest = body;
        while let Some((&name, after)) = rest.split_first() {
            let Some((value, after)) = take_string(after).filter(|_| name != 0) else {
                break;
            };
            match name {
                b'C' => fields.sqlstate = value,
                b'V' => fields.severity = value,
                // Translated, and the only one before 9.6.
                b'S' if fields.severity.is_empty() => fields.severity = value,
                b'W' => fields.in_function = true,
                _ => {}
            }
            fields.list.push((name, value));
            rest = after;
        }
        fields
    }

    fn keeps(&self, name: u8, shield: Shield, tag: u8) -> bool {
        if shield == Shield::Off {
            return true;
        }
        let log = tag == tag::NOTICE_RESPONSE && !matches!(self.severity, b"NOTICE" | b"WARNING");
        match name {
            b'S' | b'V' | b'C' => true,
            // Plans, durations, statements: meant for the server's log.
            _ if log => false,
            // Context quotes rows, the internal query and its position belong to texts that the client did not write.
            b'W' | b'q' | b'p' => false,
            b'D' => self.is_analysis(),
            b'F' | b'L' | b'R' => true,
            // In a read, a function's message is made of masked values only.
            _ if shield == Shield::Reads => true,
            b'M' => !self.in_function && self.is_plain(),
            // Hints, and the names of schemas, tables, columns, types and constraints: a function may put anything there.
            _ => !self.in_function,
        }
    }

    /// Class 42, of the analyser: it knows the text and the catalog, and no rows.
    fn is_analysis(&self) -> bool {
        self.sqlstate.starts_with(b"42") && !self.in_function
    }

    /// Whether the server's own messages of this class name objects at most: a class 22 message quotes values.
    fn is_plain(&self) -> bool {
        let class = self.sqlstate.get(..2).unwrap_or_default();
        !matches!(class, b"22" | b"P0" | b"XX" | b"38" | b"39" | b"44" | b"")
    }

    fn condition(&self) -> String {
        let name = conditions::name(self.sqlstate).unwrap_or("message");
        format!("{name} (weir withholds the server's words: something is hidden from this session)")
    }
}

#[cfg(test)]
mod tests;
