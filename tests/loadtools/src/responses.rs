//! Walks a server's messages in bounded memory: bodies are skipped, never collected.

use std::ops::ControlFlow;

/// Follows the messages of a server through any split of its bytes.
///
/// Holds at most one header and the beginning of one error text, however large the result is.
#[derive(Debug, Default)]
pub struct Responses {
    header: [u8; HEADER_BYTES],
    header_filled: usize,
    body_left: usize,
    error_text: Vec<u8>,
}

/// Why a response cannot be followed to its end.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResponseError {
    /// The server answered with an `ErrorResponse`; its fields are joined by spaces.
    #[error("the server answered with an error: {0}")]
    Refused(String),
    /// A message claims a length that cannot hold the length field itself.
    #[error("a message of type {tag:#04x} claims a length of {length} bytes")]
    Length {
        /// The type byte of the message.
        tag: u8,
        /// The length it claims.
        length: usize,
    },
}

impl Responses {
    /// Takes the next bytes of the server; breaks after the `ReadyForQuery` that ends a response.
    ///
    /// # Errors
    ///
    /// [`ResponseError`] when the server reports an error or a header makes no sense. The
    /// connection is of no further use then.
    pub fn take(&mut self, mut bytes: &[u8]) -> Result<ControlFlow<()>, ResponseError> {
        loop {
            if self.header_filled == HEADER_BYTES {
                let now = self.body_left.min(bytes.len());
                let (body, rest) = bytes.split_at(now);
                self.keep_error_text(body);
                self.body_left -= now;
                bytes = rest;
                if self.body_left > 0 {
                    return Ok(ControlFlow::Continue(()));
                }
                self.header_filled = 0;
                match self.header[0] {
                    b'E' => return Err(ResponseError::Refused(self.error_message())),
                    b'Z' => return Ok(ControlFlow::Break(())),
                    _ => {}
                }
            }
            let now = (HEADER_BYTES - self.header_filled).min(bytes.len());
            let (head, rest) = bytes.split_at(now);
            self.header[self.header_filled..self.header_filled + now].copy_from_slice(head);
            self.header_filled += now;
            bytes = rest;
            if self.header_filled < HEADER_BYTES {
                return Ok(ControlFlow::Continue(()));
            }
            let [tag, a, b, c, d] = self.header;
            let length = u32::from_be_bytes([a, b, c, d]) as usize;
            self.body_left = length
                .checked_sub(LENGTH_BYTES)
                .ok_or(ResponseError::Length { tag, length })?;
        }
    }

    fn keep_error_text(&mut self, body: &[u8]) {
        if self.header[0] == b'E' {
            let room = ERROR_TEXT_BYTES - self.error_text.len();
            self.error_text
                .extend_from_slice(&body[..body.len().min(room)]);
        }
    }

    fn error_message(&self) -> String {
        let fields = self
            .error_text
            .split(|byte| *byte == 0)
            .filter(|field| !field.is_empty());
        let texts: Vec<_> = fields.map(|field| String::from_utf8_lossy(field)).collect();
        texts.join(" ")
    }
}

/// A type byte and a length that counts itself but not the type byte.
/// <https://www.postgresql.org/docs/current/protocol-message-formats.html>
const HEADER_BYTES: usize = 1 + LENGTH_BYTES;
const LENGTH_BYTES: usize = 4;

/// Enough for the severity, the code and the first sentence.
const ERROR_TEXT_BYTES: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    const ROW_THEN_READY: &[u8] = b"D\0\0\0\x0b\0\x01\0\0\0\x01ZC\0\0\0\x0dSELECT 1\0Z\0\0\0\x05I";

    #[test]
    fn every_split_ends_at_the_same_byte() {
        for at in 0..ROW_THEN_READY.len() {
            let (head, tail) = ROW_THEN_READY.split_at(at);
            let mut responses = Responses::default();
            assert_eq!(
                responses.take(head),
                Ok(ControlFlow::Continue(())),
                "split at {at}"
            );
            assert_eq!(
                responses.take(tail),
                Ok(ControlFlow::Break(())),
                "split at {at}"
            );
        }
    }

    #[test]
    fn the_next_response_starts_afresh() {
        let mut responses = Responses::default();
        for _ in 0..3 {
            assert_eq!(responses.take(ROW_THEN_READY), Ok(ControlFlow::Break(())));
        }
    }

    #[test]
    fn an_error_is_reported_with_its_fields() {
        let mut body = b"SERROR\0C42501\0Mno\0\0".to_vec();
        let length = u8::try_from(body.len() + 4).expect("the body is short");
        let mut bytes = vec![b'E', 0, 0, 0, length];
        bytes.append(&mut body);
        let refused = Responses::default().take(&bytes);
        assert_eq!(
            refused,
            Err(ResponseError::Refused("SERROR C42501 Mno".to_owned()))
        );
    }

    #[test]
    fn a_long_error_text_is_cut() {
        let mut responses = Responses::default();
        assert!(
            responses
                .take(b"E\0\x01\0\0")
                .is_ok_and(|flow| flow.is_continue())
        );
        assert!(
            responses
                .take(&vec![b'x'; 60_000])
                .is_ok_and(|flow| flow.is_continue())
        );
        assert_eq!(responses.error_text.len(), ERROR_TEXT_BYTES);
    }

    #[test]
    fn an_impossible_length_is_an_error() {
        let refused = Responses::default().take(b"D\0\0\0\x03");
        assert_eq!(
            refused,
            Err(ResponseError::Length {
                tag: b'D',
                length: 3
            })
        );
    }
}
