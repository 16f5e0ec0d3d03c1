//! JSON Web Tokens: two segments of base64url that begin an object, and a signature.

use crate::text::Text;

/// The end of the token that begins at `start`.
pub(crate) fn end(text: &Text<'_>, start: usize) -> Option<usize> {
    let is_object = |at: usize| text.at(at) == b'e' && matches!(text.at(at + 1), b'y' | b'w');
    let header = segment_end(text, start);
    if !is_object(start) || header < start + MIN_SEGMENT || text.at(header) != b'.' {
        return None;
    }
    let payload = segment_end(text, header + 1);
    let is_payload = is_object(header + 1) && payload >= header + 1 + MIN_SEGMENT;
    if !is_payload || text.at(payload) != b'.' {
        return None;
    }
    let end = segment_end(text, payload + 1);
    (!text.is_word(end)).then_some(end)
}

fn segment_end(text: &Text<'_>, start: usize) -> usize {
    let rest = text.bytes.get(start..).unwrap_or_default();
    let is_base64 = |byte: &&u8| byte.is_ascii_alphanumeric() || matches!(**byte, b'-' | b'_');
    start + rest.iter().take(MAX_SEGMENT).take_while(is_base64).count()
}

const MIN_SEGMENT: usize = 8;
const MAX_SEGMENT: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cues::Cues;

    #[test]
    fn three_segments_are_a_token_and_two_are_not() {
        let cues = Cues::new();
        let end_in = |text: &str| end(&Text::new(text.as_bytes(), &cues), 0);
        let token = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl";
        assert_eq!(end_in(token), Some(token.len()));
        assert_eq!(end_in("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0"), None);
        assert_eq!(end_in("eyJhbGciOiJIUzI1NiJ9.not-an-object.x"), None);
    }
}
