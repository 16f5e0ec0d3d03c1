//! The server's lexical rules, as far as they say where a token begins and ends.
//!
//! The grammar library's own scanner knows neither the session's modes nor how to go on after an
//! error; this one does both, and a test holds it against that scanner. It decides nothing about
//! what a statement does: it finds literals, comments, and how deeply a text nests.

/// What a piece of text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TokenKind {
    /// White space.
    Space,
    /// A comment of either form.
    Comment,
    /// A keyword or an unquoted identifier.
    Word,
    /// An identifier in double quotes.
    QuotedWord,
    /// A string of any form, dollar-quoted ones and continuations over lines included.
    Text,
    /// A number.
    Number,
    /// `$1`.
    Param,
    /// Any other single byte: operators and punctuation.
    Symbol,
}

/// One piece of the text, by byte offsets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) kind: TokenKind,
    pub(super) start: usize,
    pub(super) end: usize,
}

impl Token {
    /// The bytes of this token.
    pub(super) fn of<'t>(&self, text: &'t str) -> &'t [u8] {
        text.as_bytes()
            .get(self.start..self.end)
            .unwrap_or_default()
    }
}

/// Cuts `text` into tokens without a gap; a literal that never ends reaches to the end.
pub(super) fn tokens(text: &str, backslash_in_strings: bool) -> Vec<Token> {
    let mut lexer = Lexer {
        bytes: text.as_bytes(),
        at: 0,
        backslash_in_strings,
    };
    // Most tokens of real statements are three to four bytes long, the space before them included.
    let mut tokens = Vec::with_capacity(text.len() / 3 + 1);
    while lexer.at < lexer.bytes.len() {
        let start = lexer.at;
        let kind = lexer.take();
        // A token of no bytes would make this loop endless.
        lexer.at = lexer.at.max(start + 1).min(lexer.bytes.len());
        tokens.push(Token {
            kind,
            start,
            end: lexer.at,
        });
    }
    tokens
}

/// Whether a byte may begin an identifier.
pub(super) fn begins_word(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte >= 0x80
}

/// Whether a byte may continue an identifier.
pub(super) fn continues_word(byte: u8) -> bool {
    begins_word(byte) || byte.is_ascii_digit() || byte == b'$'
}

struct Lexer<'t> {
    bytes: &'t [u8],
    at: usize,
    backslash_in_strings: bool,
}

/// Whether a backslash inside a string hides the byte after it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Backslash {
    Escapes,
    Plain,
}

impl Lexer<'_> {
    /// The byte `ahead` of the current one; zero past the end (the text holds no NUL).
    fn peek(&self, ahead: usize) -> u8 {
        self.bytes.get(self.at + ahead).copied().unwrap_or(0)
    }

    fn skip_while(&mut self, accept: impl Fn(u8) -> bool) {
        while self.bytes.get(self.at).is_some_and(|&byte| accept(byte)) {
            self.at += 1;
        }
    }

    fn take(&mut self) -> TokenKind {
        match self.peek(0) {
            byte if is_space(byte) => {
                self.skip_while(is_space);
                TokenKind::Space
            }
            b'-' if self.peek(1) == b'-' => {
                self.skip_while(|byte| !is_newline(byte));
                TokenKind::Comment
            }
            b'/' if self.peek(1) == b'*' => {
                self.block_comment();
                TokenKind::Comment
            }
            b'\'' => self.string(0, self.plain()),
            b'e' | b'E' if self.peek(1) == b'\'' => self.string(1, Backslash::Escapes),
            b'n' | b'N' if self.peek(1) == b'\'' => self.string(1, self.plain()),
            b'b' | b'B' | b'x' | b'X' if self.peek(1) == b'\'' => self.string(1, Backslash::Plain),
            b'u' | b'U' if self.peek(1) == b'&' && self.peek(2) == b'\'' => {
                self.string(2, Backslash::Plain)
            }
            b'u' | b'U' if self.peek(1) == b'&' && self.peek(2) == b'"' => {
                self.at += 2;
                self.quoted_word()
            }
            b'"' => self.quoted_word(),
            b'$' => self.dollar(),
            byte if byte.is_ascii_digit() => self.number(),
            b'.' if self.peek(1).is_ascii_digit() => self.number(),
            byte if begins_word(byte) => {
                self.skip_while(continues_word);
                TokenKind::Word
            }
            _ => {
                self.at += 1;
                TokenKind::Symbol
            }
        }
    }

    fn plain(&self) -> Backslash {
        if self.backslash_in_strings {
            Backslash::Escapes
        } else {
            Backslash::Plain
        }
    }

    fn block_comment(&mut self) {
        let mut depth = 0_usize;
        while self.at < self.bytes.len() {
            match (self.peek(0), self.peek(1)) {
                (b'/', b'*') => {
                    depth += 1;
                    self.at += 2;
                }
                (b'*', b'/') => {
                    depth -= 1;
                    self.at += 2;
                    if depth == 0 {
                        return;
                    }
                }
                _ => self.at += 1,
            }
        }
    }

    /// A string whose opening quote is `prefix` bytes ahead, with its continuations.
    fn string(&mut self, prefix: usize, backslash: Backslash) -> TokenKind {
        self.at += prefix;
        loop {
            self.at += 1;
            self.string_body(backslash);
            match self.continuation() {
                Some(quote) => self.at = quote,
                None => return TokenKind::Text,
            }
        }
    }

    /// Goes behind the closing quote. A doubled quote needs no rule of its own: for the place of
    /// the end, two strings side by side are the same as one, except that a backslash counts in both.
    fn string_body(&mut self, backslash: Backslash) {
        while let Some(&byte) = self.bytes.get(self.at) {
            self.at += 1;
            match byte {
                b'\\' if backslash == Backslash::Escapes => {
                    self.at = (self.at + 1).min(self.bytes.len());
                }
                b'\'' if self.peek(0) == b'\'' => self.at += 1,
                b'\'' => return,
                _ => {}
            }
        }
    }

    /// Where the string goes on, if it does: after white space that holds a line's end.
    fn continuation(&self) -> Option<usize> {
        let mut at = self.at;
        let mut new_line = false;
        loop {
            match self.bytes.get(at)? {
                b'\'' if new_line => return Some(at),
                b'-' if self.bytes.get(at + 1) == Some(&b'-') => {
                    let rest = self.bytes.get(at..)?;
                    at += rest.iter().position(|&byte| is_newline(byte))?;
                }
                &byte if is_space(byte) => {
                    new_line |= is_newline(byte);
                    at += 1;
                }
                _ => return None,
            }
        }
    }

    fn quoted_word(&mut self) -> TokenKind {
        self.at += 1;
        while let Some(&byte) = self.bytes.get(self.at) {
            self.at += 1;
            if byte == b'"' {
                if self.peek(0) != b'"' {
                    break;
                }
                self.at += 1;
            }
        }
        TokenKind::QuotedWord
    }

    fn dollar(&mut self) -> TokenKind {
        if self.peek(1).is_ascii_digit() {
            self.at += 1;
            self.skip_while(continues_word);
            return TokenKind::Param;
        }
        let tag = self.bytes.get(self.at + 1..).unwrap_or_default();
        let length = tag
            .iter()
            .position(|&byte| byte == b'$' || !continues_word(byte))
            .filter(|&length| tag.get(length) == Some(&b'$'));
        let Some(length) = length else {
            self.at += 1;
            return TokenKind::Symbol;
        };
        let delimiter = self
            .bytes
            .get(self.at..self.at + length + 2)
            .unwrap_or_default();
        let body = self.at + delimiter.len();
        let rest = self.bytes.get(body..).unwrap_or_default();
        self.at = memchr::memmem::find(rest, delimiter)
            .map_or(self.bytes.len(), |end| body + end + delimiter.len());
        TokenKind::Text
    }

    /// A number with whatever is stuck to it; the server refuses the latter.
    fn number(&mut self) -> TokenKind {
        self.skip_while(is_digit);
        if self.peek(0) == b'.' && self.peek(1) != b'.' {
            self.at += 1;
            self.skip_while(is_digit);
        }
        if matches!(self.peek(0), b'e' | b'E') {
            let sign = usize::from(matches!(self.peek(1), b'+' | b'-'));
            if self.peek(1 + sign).is_ascii_digit() {
                self.at += 1 + sign;
            }
        }
        self.skip_while(continues_word);
        TokenKind::Number
    }
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}

fn is_newline(byte: u8) -> bool {
    matches!(byte, b'\n' | b'\r')
}

fn is_digit(byte: u8) -> bool {
    byte.is_ascii_digit() || byte == b'_'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> Vec<(TokenKind, &str)> {
        tokens(text, false)
            .iter()
            .filter(|token| token.kind != TokenKind::Space)
            .map(|token| (token.kind, &text[token.start..token.end]))
            .collect()
    }

    #[test]
    fn strings_of_every_form_are_one_token_each() {
        for text in [
            "'it''s'",
            "E'a\\'b'",
            "e'\\\\'",
            "N'x'",
            "B'01'",
            "x'ff'",
            "U&'\\0041'",
            "$$a'b$$",
            "$tag$ $$ $tag$",
            "'a'\n'b'",
            "'a' -- why\n 'b'",
            "E'a'\n'b\\'c'",
            "'\\'",
            "''",
        ] {
            assert_eq!(kinds(text), [(TokenKind::Text, text)], "{text}");
        }
    }

    #[test]
    fn a_backslash_hides_a_quote_only_when_the_session_says_so() {
        let text = r"'\''; DELETE FROM customers; --'";
        assert_eq!(tokens(text, false).len(), 1);
        assert!(tokens(text, true).len() > 5);
    }

    #[test]
    fn strings_on_one_line_do_not_join() {
        assert_eq!(kinds("'a' 'b'").len(), 2);
        assert_eq!(kinds("'a' /* \n */ 'b'").len(), 3);
    }

    #[test]
    fn a_dollar_inside_a_word_opens_nothing() {
        assert_eq!(
            kinds("a$b$; x"),
            [
                (TokenKind::Word, "a$b$"),
                (TokenKind::Symbol, ";"),
                (TokenKind::Word, "x")
            ]
        );
    }

    #[test]
    fn comments_nest_and_a_carriage_return_ends_a_line() {
        assert_eq!(kinds("/* a /* b */ c */").len(), 1);
        assert_eq!(kinds("--\r; DELETE").len(), 3);
    }

    #[test]
    fn tokens_cover_the_text_without_a_gap() {
        for text in [
            "", "'", "E'\\", "$a$", "/*", "--", "\"", "1e", "1..2", "é'é'", "$", "U&",
        ] {
            let mut at = 0;
            for token in tokens(text, false) {
                assert_eq!(token.start, at, "{text}");
                at = token.end;
            }
            assert_eq!(at, text.len(), "{text}");
        }
    }

    #[test]
    fn numbers_end_where_the_server_ends_them() {
        assert_eq!(kinds("1..2").first(), Some(&(TokenKind::Number, "1")));
        assert_eq!(
            kinds("1.5e-10+x").first(),
            Some(&(TokenKind::Number, "1.5e-10"))
        );
        assert_eq!(kinds("0x_ff").first(), Some(&(TokenKind::Number, "0x_ff")));
    }
}
