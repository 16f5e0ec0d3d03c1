//! Ids of traces and spans: made of the journal's id and a record's number, so that what is sent again is the same span.

use crate::audit::chain::sha256;

/// Where a span is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ids {
    /// Sixteen bytes, hex.
    pub(super) trace: String,
    /// Eight bytes, hex.
    pub(super) span: String,
}

impl Ids {
    /// A session's own trace.
    pub(super) fn session(journal: &str, session: u64) -> Self {
        Self::new(journal, "session", session)
    }

    /// A statement's own trace, by the number of its request.
    pub(super) fn statement(journal: &str, request: u64) -> Self {
        Self::new(journal, "statement", request)
    }

    /// The trace of a wait for an approval.
    pub(super) fn approval(journal: &str, approval: u64) -> Self {
        Self::new(journal, "approval", approval)
    }

    fn new(journal: &str, what: &str, number: u64) -> Self {
        let parts = [journal.as_bytes(), what.as_bytes(), &number.to_be_bytes()];
        let hash = sha256(&parts);
        Self {
            trace: hex::encode(&hash[..16]),
            span: hex::encode(&hash[16..24]),
        }
    }

    /// What a client says of its own trace: `traceparent` of W3C, version 00.
    /// <https://www.w3.org/TR/trace-context/#traceparent-header>
    pub(super) fn claimed(traceparent: &str) -> Option<Self> {
        let mut parts = traceparent.split('-');
        let fields = [parts.next()?, parts.next()?, parts.next()?, parts.next()?];
        let [version, trace, span, flags] = fields;
        let hex = |text: &str, length| {
            let digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
            text.len() == length && text.bytes().all(digit)
        };
        let real = |text: &str, length| hex(text, length) && text.bytes().any(|byte| byte != b'0');
        let whole = version == "00"
            && parts.next().is_none()
            && real(trace, 32)
            && real(span, 16)
            && hex(flags, 2);
        whole.then(|| Self {
            trace: trace.to_owned(),
            span: span.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_the_same_each_time_and_differ_for_different_things() {
        let ids = Ids::statement("j", 7);
        assert_eq!(ids, Ids::statement("j", 7));
        assert!(ids.trace.len() == 32 && ids.span.len() == 16);
        for other in [
            Ids::statement("j", 8),
            Ids::statement("k", 7),
            Ids::session("j", 7),
            Ids::approval("j", 7),
        ] {
            assert!(
                other.trace != ids.trace && other.span != ids.span,
                "{other:?}"
            );
        }
    }

    #[test]
    fn only_a_traceparent_that_the_standard_has_is_taken() {
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        let span = "00f067aa0ba902b7";
        let claimed = Ids::claimed(&format!("00-{trace}-{span}-01")).expect("taken");
        assert_eq!(
            (claimed.trace.as_str(), claimed.span.as_str()),
            (trace, span)
        );
        let zeros = "0".repeat(32);
        for wrong in [
            String::new(),
            format!("01-{trace}-{span}-01"),
            format!("00-{trace}-{span}"),
            format!("00-{trace}-{span}-01-"),
            format!("00-{zeros}-{span}-01"),
            format!("00-{trace}-{}-01", "0".repeat(16)),
            format!("00-{}-{span}-01", trace.to_uppercase()),
            format!("00-{trace}-{span}-0"),
            format!("00-{trace}é-{span}-01"),
        ] {
            assert_eq!(Ids::claimed(&wrong), None, "{wrong}");
        }
    }
}
