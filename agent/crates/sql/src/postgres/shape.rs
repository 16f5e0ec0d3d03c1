//! The shape of a text: the text with plain literals taken out, in one pass and without parsing.
//!
//! An application that writes its values into the text sends a new text every time, but the same
//! few shapes. The lexer here gives up on everything unusual, so that two texts of equal shape
//! differ in nothing but the values of numbers and strings.

use super::MAX_STATEMENT_BYTES;
use super::lexer::continues_word;
use crate::facts::SessionModes;

/// A text without its plain literals; a buffer that is used again and again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Shape {
    bytes: Vec<u8>,
}

impl Shape {
    /// An empty shape, to be filled by [`shape`].
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The shape's bytes: equal for equal shapes. Not text; never a literal except after `LIMIT`.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// Writes the shape of `text` into `out`; `false` when the text has none.
///
/// Two texts with equal shapes under the same `modes` have equal [`Facts`](crate::Facts), provided
/// that the facts of one of them say `literal_free`. A constant `LIMIT` stays in the shape. After
/// `false`, what is in `out` means nothing.
pub fn shape(text: &[u8], modes: SessionModes, out: &mut Shape) -> bool {
    out.bytes.clear();
    if text.len() > MAX_STATEMENT_BYTES {
        return false;
    }
    out.bytes.reserve(text.len());
    Pass {
        text,
        at: 0,
        out: &mut out.bytes,
        backslash_in_strings: modes.backslash_in_strings,
        word: Last::Other,
    }
    .run()
    .is_some()
}

/// Stand for what was taken out; no text that has a shape contains such bytes.
const INTEGER: u8 = 1;
const NUMERIC: u8 = 2;
const STRING: u8 = 3;

/// What the last token was, as far as it bears on a literal after it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Last {
    /// `LIMIT`: its number is a fact.
    Limit,
    /// `FLOAT`: its number chooses a type, and some are errors.
    Float,
    /// A literal; two side by side have rules of their own.
    Literal,
    Other,
}

struct Pass<'t> {
    text: &'t [u8],
    at: usize,
    out: &'t mut Vec<u8>,
    backslash_in_strings: bool,
    word: Last,
}

impl Pass<'_> {
    /// Copies and replaces up to the end; `None` gives up.
    fn run(&mut self) -> Option<()> {
        while let Some(&byte) = self.text.get(self.at) {
            match CLASS[usize::from(byte)] {
                Class::Space => self.copy(1),
                Class::Word => self.word()?,
                Class::Digit => self.number()?,
                Class::Quote => self.string()?,
                Class::DoubleQuote => self.quoted_word()?,
                Class::Dollar => self.param()?,
                Class::Semicolon => return self.last_semicolon(),
                Class::Symbol => self.symbol(byte)?,
                Class::Strange => return None,
            }
        }
        (self.word != Last::Limit).then_some(())
    }

    fn peek(&self, ahead: usize) -> u8 {
        self.text.get(self.at + ahead).copied().unwrap_or(0)
    }

    fn copy(&mut self, count: usize) {
        let piece = self.text.get(self.at..self.at + count).unwrap_or_default();
        self.out.extend_from_slice(piece);
        self.at += count;
    }

    fn run_length(&self, from: usize, accept: impl Fn(u8) -> bool) -> usize {
        self.text
            .get(self.at + from..)
            .unwrap_or_default()
            .iter()
            .take_while(|&&byte| accept(byte))
            .count()
    }

    fn word(&mut self) -> Option<()> {
        let length = self.run_length(0, continues_word);
        let word = self.text.get(self.at..self.at + length).unwrap_or_default();
        self.word = match word.len() {
            5 if word.eq_ignore_ascii_case(b"limit") => Last::Limit,
            // Its number is a fact too, but stands behind other words: rare enough to leave.
            5 if word.eq_ignore_ascii_case(b"fetch") => return None,
            5 if word.eq_ignore_ascii_case(b"float") => Last::Float,
            _ => Last::Other,
        };
        self.copy(length);
        Some(())
    }

    fn number(&mut self) -> Option<()> {
        let whole = self.run_length(0, |byte| byte.is_ascii_digit());
        let fraction = match (self.peek(whole), self.peek(whole + 1)) {
            (b'.', digit) if digit.is_ascii_digit() => {
                1 + self.run_length(whole + 1, |byte| byte.is_ascii_digit())
            }
            (b'.', _) => return None,
            _ => 0,
        };
        let length = whole + fraction;
        self.literal_may_stand(length)?;
        if self.word == Last::Limit {
            self.copy(length);
            self.word = Last::Literal;
            return Some(());
        }
        let digits = self.text.get(self.at..self.at + whole)?;
        let placeholder = if fraction == 0 && fits_integer(digits)? {
            INTEGER
        } else {
            NUMERIC
        };
        self.replace(length, placeholder);
        Some(())
    }

    fn string(&mut self) -> Option<()> {
        if self.word == Last::Limit {
            return None;
        }
        let mut length = 1;
        loop {
            let rest = self.text.get(self.at + length..)?;
            length += rest.iter().position(|&byte| {
                byte == b'\''
                    || byte >= 0x80
                    || byte == 0
                    || (byte == b'\\' && self.backslash_in_strings)
            })? + 1;
            match (self.peek(length - 1), self.peek(length)) {
                (b'\'', b'\'') => length += 1,
                (b'\'', _) => break,
                _ => return None,
            }
        }
        self.literal_may_stand(length)?;
        self.replace(length, STRING);
        Some(())
    }

    /// A literal must be apart from words, names and other literals on both sides.
    fn literal_may_stand(&self, length: usize) -> Option<()> {
        let before = self
            .at
            .checked_sub(1)
            .and_then(|at| self.text.get(at).copied())
            .unwrap_or(b' ');
        let after = self.peek(length);
        let apart =
            |byte: u8| !continues_word(byte) && !matches!(byte, b'\'' | b'"' | b'.' | b'&' | b'\\');
        (self.word != Last::Literal && apart(before) && apart(after)).then_some(())
    }

    fn replace(&mut self, length: usize, placeholder: u8) {
        self.out.push(placeholder);
        self.at += length;
        self.word = Last::Literal;
    }

    fn quoted_word(&mut self) -> Option<()> {
        let body = self.run_length(1, |byte| {
            (b' '..0x7f).contains(&byte) && byte != b'"' && byte != b'\\'
        });
        let before = self
            .at
            .checked_sub(1)
            .and_then(|at| self.text.get(at).copied())
            .unwrap_or(b' ');
        let after = self.peek(body + 2);
        if body == 0
            || self.peek(body + 1) != b'"'
            || before == b'&'
            || continues_word(before)
            || continues_word(after)
            || matches!(after, b'"' | b'\'' | b'&')
        {
            return None;
        }
        self.copy(body + 2);
        self.word = Last::Other;
        Some(())
    }

    fn param(&mut self) -> Option<()> {
        let digits = self.run_length(1, |byte| byte.is_ascii_digit());
        let after = self.peek(1 + digits);
        if digits == 0 || continues_word(after) || matches!(after, b'\'' | b'"' | b'.') {
            return None;
        }
        self.copy(1 + digits);
        self.word = Last::Other;
        Some(())
    }

    fn symbol(&mut self, byte: u8) -> Option<()> {
        let comment = matches!((byte, self.peek(1)), (b'-', b'-') | (b'/', b'*'));
        if comment || self.word == Last::Limit || (self.word == Last::Float && byte == b'(') {
            return None;
        }
        self.copy(1);
        self.word = Last::Other;
        Some(())
    }

    /// Nothing but white space may follow.
    fn last_semicolon(&mut self) -> Option<()> {
        let rest = self.text.get(self.at + 1..)?;
        if self.word == Last::Limit
            || !rest
                .iter()
                .all(|&byte| CLASS[usize::from(byte)] == Class::Space)
        {
            return None;
        }
        self.copy(1 + rest.len());
        Some(())
    }
}

/// Whether the server reads these digits as a 32-bit integer; `None` where that takes a closer look.
fn fits_integer(digits: &[u8]) -> Option<bool> {
    match digits.len() {
        0 => None,
        1..=9 => Some(true),
        _ if digits.starts_with(b"0") => None,
        10 => Some(digits <= b"2147483647".as_slice()),
        _ => Some(false),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Space,
    Word,
    Digit,
    Quote,
    DoubleQuote,
    Dollar,
    Semicolon,
    Symbol,
    Strange,
}

/// The class of each byte where a token begins.
static CLASS: [Class; 256] = classes();

const fn classes() -> [Class; 256] {
    let mut classes = [Class::Strange; 256];
    let mut byte = 0_u8;
    while byte < 0x80 {
        classes[byte as usize] = match byte {
            b' ' | b'\t' | b'\n' | b'\r' => Class::Space,
            b'0'..=b'9' => Class::Digit,
            b'\'' => Class::Quote,
            b'"' => Class::DoubleQuote,
            b'$' => Class::Dollar,
            b';' => Class::Semicolon,
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => Class::Word,
            b'(' | b')' | b'[' | b']' | b',' | b'.' | b':' | b'+' | b'-' | b'*' | b'/' | b'<'
            | b'>' | b'=' | b'~' | b'!' | b'@' | b'#' | b'%' | b'^' | b'&' | b'|' | b'`' | b'?' => {
                Class::Symbol
            }
            _ => Class::Strange,
        };
        byte += 1;
    }
    classes
}
