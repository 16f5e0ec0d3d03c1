//! Messages that clients send: reading what weir needs of them, and making the frames that stand in for denied ones.

use super::Plan;

/// Tags of frontend messages.
pub mod tag {
    #![expect(missing_docs, reason = "the names are the manual's")]
    pub const BIND: u8 = b'B';
    pub const CLOSE: u8 = b'C';
    pub const COPY_DATA: u8 = b'd';
    pub const COPY_DONE: u8 = b'c';
    pub const COPY_FAIL: u8 = b'f';
    pub const DESCRIBE: u8 = b'D';
    pub const EXECUTE: u8 = b'E';
    pub const FLUSH: u8 = b'H';
    pub const FUNCTION_CALL: u8 = b'F';
    pub const PARSE: u8 = b'P';
    pub const PASSWORD: u8 = b'p';
    pub const QUERY: u8 = b'Q';
    pub const SYNC: u8 = b'S';
    pub const TERMINATE: u8 = b'X';
}

/// The longest statement that is analysed; longer ones are never held in memory.
pub const MAX_STATEMENT_BYTES: usize = 1024 * 1024;

/// How each frontend message is to be cut.
///
/// The limits for small messages are the server's own (`PQ_SMALL_MESSAGE_LIMIT`).
#[must_use]
#[inline]
pub fn plan(tag: u8, total: usize) -> Plan {
    match tag {
        tag::QUERY | tag::PARSE if total <= MAX_STATEMENT_BYTES + 1024 => Plan::Whole,
        tag::BIND | tag::FUNCTION_CALL if total <= WHOLE_BIND_BYTES => Plan::Whole,
        tag::QUERY | tag::PARSE | tag::BIND | tag::FUNCTION_CALL => {
            Plan::Pieces { head: NAMES_BYTES }
        }
        tag::COPY_DATA => Plan::Pieces { head: 0 },
        // A SASL response or a Kerberos ticket; the server's own limit is 65,535.
        tag::PASSWORD if total <= 65_536 => Plan::Whole,
        tag::EXECUTE
        | tag::DESCRIBE
        | tag::CLOSE
        | tag::SYNC
        | tag::FLUSH
        | tag::TERMINATE
        | tag::COPY_DONE
        | tag::COPY_FAIL
            if total <= SMALL_MESSAGE_BYTES =>
        {
            Plan::Whole
        }
        _ => Plan::Refuse,
    }
}

const SMALL_MESSAGE_BYTES: usize = 10_001;
/// Larger ones are streamed once their names are known.
const WHOLE_BIND_BYTES: usize = 64 * 1024;
/// Portal and statement names must end within this many bytes of a `Bind` that is streamed.
const NAMES_BYTES: usize = 8 * 1024;

/// Takes a NUL-terminated string off the front: the string without its NUL, and the rest.
#[must_use]
#[inline]
pub fn take_string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = memchr::memchr(0, bytes)?;
    Some((bytes.get(..end)?, bytes.get(end + 1..)?))
}

/// Two strings, and the rest.
#[inline]
pub(super) fn take_two(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (one, rest) = take_string(bytes)?;
    let (other, rest) = take_string(rest)?;
    Some((one, other, rest))
}

/// A `Query`'s text: exactly one string that its NUL ends.
#[must_use]
#[inline]
pub fn query_text(body: &[u8]) -> Option<&[u8]> {
    match take_string(body)? {
        (text, []) => Some(text),
        _ => None,
    }
}

/// A `Parse`'s statement name and text.
#[must_use]
#[inline]
pub fn parse(body: &[u8]) -> Option<(&[u8], &[u8])> {
    let (name, text, _) = take_two(body)?;
    Some((name, text))
}

/// A `Query` with another text.
#[must_use]
pub fn query_with(text: &[u8]) -> Vec<u8> {
    message(tag::QUERY, &[text, b"\0"])
}

/// A `Parse` with another text; name and parameter types stay. `None` when it is not well-formed.
#[must_use]
pub fn parse_with(body: &[u8], text: &[u8]) -> Option<Vec<u8>> {
    let (name, _, types) = take_two(body)?;
    Some(message(tag::PARSE, &[name, b"\0", text, b"\0", types]))
}

/// The longest text that takes another's place: a statement grows with the columns it reads, not without end.
pub const MAX_REPLACEMENT_BYTES: usize = 16 * 1024 * 1024;

/// A `Bind`'s portal name, statement name, and what follows (formats and values, as far as they are there).
#[must_use]
#[inline]
pub fn bind(body: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    take_two(body)
}

/// The portal that an `Execute` names.
#[must_use]
#[inline]
pub fn execute(body: &[u8]) -> Option<&[u8]> {
    take_string(body).map(|(portal, _)| portal)
}

/// What `Describe` and `Close` name: `S`tatement or `P`ortal, and the name.
#[must_use]
#[inline]
pub fn target(body: &[u8]) -> Option<(u8, &[u8])> {
    let (kind, rest) = body.split_first()?;
    take_string(rest).map(|(name, _)| (*kind, name))
}

/// The function that a `FunctionCall` names.
#[must_use]
pub fn function_oid(body: &[u8]) -> Option<u32> {
    body.first_chunk().map(|oid| u32::from_be_bytes(*oid))
}

/// The text that takes a denied statement's place: no parser accepts it, so nothing runs, and the server itself
/// aborts what it must and skips what it must. It shows in the server's log.
pub const POISON: &[u8] = b"weir_denied";

/// A `Query` that cannot parse.
#[must_use]
pub fn poison_query() -> Vec<u8> {
    message(tag::QUERY, &[POISON, b"\0"])
}

/// A `Parse` that cannot parse. It has a name, so that the client's unnamed statement stays alive.
#[must_use]
pub fn poison_parse() -> Vec<u8> {
    message(tag::PARSE, &[b"__weir\0", POISON, b"\0\0\0"])
}

/// A message of these parts.
#[must_use]
pub fn message(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length = 4 + parts.iter().map(|part| part.len()).sum::<usize>();
    let mut out = Vec::with_capacity(1 + length);
    out.push(tag);
    out.extend(u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
    for part in parts {
        out.extend_from_slice(part);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_exactly_one_string() {
        assert_eq!(query_text(b"SELECT 1\0"), Some(&b"SELECT 1"[..]));
        assert_eq!(query_text(b"SELECT\x001\0"), None);
        assert_eq!(query_text(b"SELECT 1"), None);
        assert_eq!(query_text(b""), None);
    }

    #[test]
    fn another_text_leaves_name_and_types() {
        let body = b"name\0SELECT $1\0\0\x01\0\0\0\x17";
        let frame = parse_with(body, b"SELECT 22").expect("well-formed");
        assert_eq!(&frame[5..], b"name\0SELECT 22\0\0\x01\0\0\0\x17");
        assert_eq!(frame[4] as usize, frame.len() - 1);
        assert_eq!(parse_with(b"name\0SELECT 1", b""), None);
        assert_eq!(query_with(b"x"), b"Q\0\0\0\x06x\0");
    }

    #[test]
    fn poison_is_a_well_formed_message() {
        let query = poison_query();
        assert_eq!(query.len() - 1, 16);
        assert_eq!(&query[..5], b"Q\0\0\0\x10");
        let parse = poison_parse();
        assert_eq!(super::parse(&parse[5..]), Some((&b"__weir"[..], POISON)));
    }

    #[test]
    fn oversized_small_messages_are_refused_as_the_server_refuses_them() {
        assert_eq!(plan(tag::SYNC, 20_000), Plan::Refuse);
        assert_eq!(plan(b'?', 5), Plan::Refuse);
        assert_eq!(
            plan(tag::QUERY, 2 << 20),
            Plan::Pieces { head: NAMES_BYTES }
        );
    }
}
