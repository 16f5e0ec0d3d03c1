//! Messages that servers send: reading what weir needs of them, and making errors in their place.

use super::{
    Plan, Refusal,
    frontend::{message, take_string, take_two},
};

/// Tags of backend messages.
pub mod tag {
    #![expect(missing_docs, reason = "the names are the manual's")]
    pub const AUTHENTICATION: u8 = b'R';
    pub const BACKEND_KEY_DATA: u8 = b'K';
    pub const BIND_COMPLETE: u8 = b'2';
    pub const CLOSE_COMPLETE: u8 = b'3';
    pub const COMMAND_COMPLETE: u8 = b'C';
    pub const COPY_BOTH_RESPONSE: u8 = b'W';
    pub const COPY_DATA: u8 = b'd';
    pub const COPY_DONE: u8 = b'c';
    pub const COPY_IN_RESPONSE: u8 = b'G';
    pub const COPY_OUT_RESPONSE: u8 = b'H';
    pub const DATA_ROW: u8 = b'D';
    pub const EMPTY_QUERY_RESPONSE: u8 = b'I';
    pub const ERROR_RESPONSE: u8 = b'E';
    pub const FUNCTION_CALL_RESPONSE: u8 = b'V';
    pub const NEGOTIATE_PROTOCOL_VERSION: u8 = b'v';
    pub const NO_DATA: u8 = b'n';
    pub const NOTICE_RESPONSE: u8 = b'N';
    pub const NOTIFICATION_RESPONSE: u8 = b'A';
    pub const PARAMETER_DESCRIPTION: u8 = b't';
    pub const PARAMETER_STATUS: u8 = b'S';
    pub const PARSE_COMPLETE: u8 = b'1';
    pub const PORTAL_SUSPENDED: u8 = b's';
    pub const READY_FOR_QUERY: u8 = b'Z';
    pub const ROW_DESCRIPTION: u8 = b'T';
}

/// How each backend message is to be cut: what weir reads is given whole, data as it comes.
#[must_use]
#[inline]
pub fn plan(tag: u8, total: usize) -> Plan {
    match tag {
        tag::ERROR_RESPONSE
        | tag::READY_FOR_QUERY
        | tag::COMMAND_COMPLETE
        | tag::PARAMETER_STATUS
        | tag::BACKEND_KEY_DATA
        | tag::AUTHENTICATION
        | tag::NEGOTIATE_PROTOCOL_VERSION
        | tag::NOTICE_RESPONSE
        | tag::NOTIFICATION_RESPONSE
        | tag::ROW_DESCRIPTION
            if total <= MAX_WHOLE_BYTES =>
        {
            Plan::Whole
        }
        tag::READY_FOR_QUERY => Plan::Refuse,
        // The state is among the first fields.
        tag::ERROR_RESPONSE => Plan::Pieces { head: 1024 },
        _ => Plan::Pieces { head: 0 },
    }
}

/// How a row is to be cut whose cells are masked on the way: whole, and so within bounds.
#[must_use]
pub fn plan_edited_row(total: usize) -> Plan {
    if total <= MAX_EDITED_ROW_BYTES {
        Plan::Whole
    } else {
        Plan::Refuse
    }
}

/// How a row is to be cut that weir asked for itself: whole, unless it is too long to be of use.
#[must_use]
pub fn plan_looked_row(total: usize) -> Plan {
    if total <= MAX_EDITED_ROW_BYTES {
        Plan::Whole
    } else {
        Plan::Pieces { head: 0 }
    }
}

/// Rewriting hides values before they get here: only what it missed is ever held so.
const MAX_EDITED_ROW_BYTES: usize = 16 * 1024 * 1024;

/// An error with a large statement in it may be long; beyond this it passes unread.
const MAX_WHOLE_BYTES: usize = 1024 * 1024;

/// The message of an `ErrorResponse`; empty when it has none.
#[must_use]
pub fn error_message(body: &[u8]) -> &[u8] {
    field(body, b'M')
}

/// The severity of an `ErrorResponse` or `NoticeResponse`, in English where the server gives it so.
#[must_use]
pub fn severity(body: &[u8]) -> &[u8] {
    match field(body, b'V') {
        b"" => field(body, b'S'),
        severity => severity,
    }
}

fn field(body: &[u8], wanted: u8) -> &[u8] {
    let mut rest = body;
    while let Some((&field, after)) = rest.split_first() {
        let Some((value, after)) = take_string(after).filter(|_| field != 0) else {
            break;
        };
        if field == wanted {
            return value;
        }
        rest = after;
    }
    b""
}

/// The SQLSTATE of an `ErrorResponse`, and whether it ends the session.
#[must_use]
pub fn error_state(body: &[u8]) -> ([u8; 5], bool) {
    let mut state = *b"XX000";
    let mut fatal = false;
    let mut rest = body;
    while let Some((&field, after)) = rest.split_first() {
        if field == 0 {
            break;
        }
        let Some((value, after)) = take_string(after) else {
            break;
        };
        match field {
            b'C' => state = value.first_chunk().copied().unwrap_or(state),
            b'V' => fatal = value == b"FATAL" || value == b"PANIC",
            _ => {}
        }
        rest = after;
    }
    (state, fatal)
}

/// How many rows a `CommandComplete` says were touched, when it is not a `SELECT` or `FETCH`, whose rows were counted as they passed.
#[must_use]
#[inline]
pub fn rows_touched(body: &[u8]) -> u64 {
    let tag = body.strip_suffix(b"\0").unwrap_or(body);
    if tag.starts_with(b"SELECT") || tag.starts_with(b"FETCH") {
        return 0;
    }
    let digits = tag.rsplit(|byte| *byte == b' ').next().unwrap_or_default();
    std::str::from_utf8(digits)
        .ok()
        .and_then(|digits| digits.parse().ok())
        .unwrap_or(0)
}

/// A `ParameterStatus`'s name and value.
#[must_use]
pub fn parameter_status(body: &[u8]) -> Option<(&[u8], &[u8])> {
    let (name, value, _) = take_two(body)?;
    Some((name, value))
}

/// The request in an `Authentication…` message.
#[must_use]
pub fn authentication_request(body: &[u8]) -> Option<u32> {
    body.first_chunk().map(|code| u32::from_be_bytes(*code))
}

/// `AuthenticationOk`.
pub const AUTHENTICATION_OK: u32 = 0;
/// `AuthenticationSASL`, with the list of mechanisms.
pub const AUTHENTICATION_SASL: u32 = 10;

/// An `AuthenticationSASL` without the mechanisms that bind to the TLS channel, for a client whose own leg has none.
///
/// `None` when there is nothing to take out, or nothing would be left.
#[must_use]
pub fn without_channel_binding(body: &[u8]) -> Option<Vec<u8>> {
    if authentication_request(body)? != AUTHENTICATION_SASL {
        return None;
    }
    let mut list = Vec::new();
    let mut found = false;
    let mut rest = body.get(4..)?;
    while let Some((mechanism, after)) = take_string(rest) {
        if mechanism.is_empty() {
            break;
        }
        if mechanism.ends_with(b"-PLUS") {
            found = true;
        } else {
            list.extend_from_slice(mechanism);
            list.push(0);
        }
        rest = after;
    }
    if !found || list.is_empty() {
        return None;
    }
    let code = AUTHENTICATION_SASL.to_be_bytes();
    Some(message(tag::AUTHENTICATION, &[&code, &list, b"\0"]))
}

/// An `ErrorResponse` with weir's refusal; `FATAL` ends the session, `ERROR` does not.
#[must_use]
pub fn error_response(severity: &str, refusal: &Refusal) -> Vec<u8> {
    let mut fields = words(severity, &NoticeFields::from(refusal));
    if refusal.sqlstate == STALE_PLAN_STATE && refusal.message == STALE_PLAN {
        // The JDBC driver prepares again only when the error comes from here.
        push_field(&mut fields, b'R', "RevalidateCachedQuery");
    }
    message(tag::ERROR_RESPONSE, &[&fields, b"\0"])
}

/// What a notice of weir's says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoticeFields<'a> {
    /// Five characters; `00000` where nothing is wrong.
    pub sqlstate: &'a str,
    /// One line.
    pub message: &'a str,
    /// Rule and request.
    pub detail: Option<&'a str>,
    /// What to do.
    pub hint: Option<&'a str>,
}

impl<'a> From<&'a Refusal> for NoticeFields<'a> {
    fn from(refusal: &'a Refusal) -> Self {
        Self {
            sqlstate: &refusal.sqlstate,
            message: &refusal.message,
            detail: refusal.detail.as_deref(),
            hint: refusal.hint.as_deref(),
        }
    }
}

/// A `NoticeResponse` of severity `NOTICE`: clients show it or collect it, and none takes it for the end of an answer.
///
/// Where it may stand, [`Conversation::may_notice`](super::Conversation::may_notice) says.
#[must_use]
pub fn notice(fields: &NoticeFields<'_>) -> Vec<u8> {
    message(tag::NOTICE_RESPONSE, &[&words("NOTICE", fields), b"\0"])
}

/// The fields that errors and notices have in common, without the end of their list.
fn words(severity: &str, said: &NoticeFields<'_>) -> Vec<u8> {
    let mut fields = Vec::with_capacity(128 + said.message.len());
    let given = [
        (b'S', Some(severity)),
        (b'V', Some(severity)),
        (b'C', Some(said.sqlstate)),
        (b'M', Some(said.message)),
        (b'D', said.detail),
        (b'H', said.hint),
    ];
    for (tag, value) in given {
        if let Some(value) = value {
            push_field(&mut fields, tag, value);
        }
    }
    fields
}

fn push_field(fields: &mut Vec<u8>, tag: u8, value: &str) {
    fields.push(tag);
    // A NUL would end the field early.
    fields.extend(value.bytes().filter(|byte| *byte != 0));
    fields.push(0);
}

/// What the server says of a prepared statement whose columns have changed: drivers prepare again when they read it.
pub const STALE_PLAN: &str = "cached plan must not change result type";
/// `feature_not_supported`.
pub const STALE_PLAN_STATE: &str = "0A000";

/// A request to cancel what the process in a `BackendKeyData` is doing; for a connection of its own.
#[must_use]
pub fn cancel_request(key_data: &[u8]) -> Vec<u8> {
    let length = u32::try_from(8 + key_data.len()).unwrap_or(u32::MAX);
    let parts = [
        &length.to_be_bytes()[..],
        &CANCEL_CODE.to_be_bytes(),
        key_data,
    ];
    parts.concat()
}

const CANCEL_CODE: u32 = 80_877_102;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cancel_request_carries_keys_of_any_length() {
        for key in [4, 32, 256] {
            let packet = cancel_request(&vec![7; 4 + key]);
            let taken = crate::postgres::startup::take(&packet);
            assert!(matches!(
                taken,
                Ok(Some(crate::postgres::startup::Startup::Cancel { .. }))
            ));
        }
    }

    #[test]
    fn sqlstate_and_severity_are_read() {
        let body = b"SERROR\0VERROR\0C42601\0Msyntax error\0\0";
        assert_eq!(error_state(body), (*b"42601", false));
        assert_eq!(
            error_state(b"SFATAL\0VFATAL\0C57P01\0\0"),
            (*b"57P01", true)
        );
        assert_eq!(error_state(b"C4"), (*b"XX000", false));
    }

    #[test]
    fn a_notice_has_its_severity_twice_and_every_field_ends() {
        let fields = NoticeFields {
            sqlstate: "00000",
            message: "wait\0ing",
            detail: None,
            hint: Some("be patient"),
        };
        assert_eq!(
            notice(&fields)[5..],
            *b"SNOTICE\0VNOTICE\0C00000\0Mwaiting\0Hbe patient\0\0"
        );
        assert_eq!(notice(&fields)[0], tag::NOTICE_RESPONSE);
    }

    #[test]
    fn touched_rows_come_from_the_tag() {
        assert_eq!(rows_touched(b"INSERT 0 12\0"), 12);
        assert_eq!(rows_touched(b"COPY 7\0"), 7);
        assert_eq!(rows_touched(b"SELECT 5\0"), 0);
        assert_eq!(rows_touched(b"BEGIN\0"), 0);
    }

    #[test]
    fn only_channel_binding_is_taken_out() {
        let body = b"\0\0\0\x0aSCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0";
        let out = without_channel_binding(body).expect("changed");
        assert_eq!(&out[5..], b"\0\0\0\x0aSCRAM-SHA-256\0\0");
        assert_eq!(out[4] as usize, out.len() - 1);
        assert_eq!(
            without_channel_binding(b"\0\0\0\x0aSCRAM-SHA-256\0\0"),
            None
        );
        assert_eq!(
            without_channel_binding(b"\0\0\0\x0aSCRAM-SHA-256-PLUS\0\0"),
            None
        );
        assert_eq!(without_channel_binding(b"\0\0\0\0"), None);
    }
}
