//! What must hold for every text, tried on random changes of the corpus.

use std::collections::HashMap;

use super::corpus::STATEMENTS;
use super::*;
use crate::postgres::lexer::{TokenKind, tokens};
use crate::{Catalog, Naming};

/// A small generator with a fixed seed: a failure comes back on every run.
struct Random(u64);

impl Random {
    /// A number below `end`.
    fn below(&mut self, end: usize) -> usize {
        // xorshift64*: <https://vigna.di.unimi.it/ftp/papers/xorshift.pdf>
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let number = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(number).expect("31 bits") % end
    }

    fn pick<'t, T: ?Sized>(&mut self, items: &[&'t T]) -> &'t T {
        items[self.below(items.len())]
    }
}

/// Facts with the columns of tables that the corpus names.
fn facts_of(text: &[u8], modes: SessionModes, catalog: &Catalog) -> Facts {
    let naming = Naming {
        search_path: vec!["app".to_owned()],
        certain: true,
        ..Naming::default()
    };
    let context = Context {
        modes,
        catalog,
        naming: &naming,
    };
    analyse_in(text, &context)
}

fn catalog() -> Catalog {
    let columns = || ["a", "b", "c", "d", "id", "x"].map(|name| (name, "text"));
    let tables = [
        "app.t",
        "app.u",
        "app.s",
        "app.a",
        "app.customers",
        "app.orders",
    ];
    Catalog::from_tables(
        tables.map(|name| (name, columns())),
        [("app.v", "SELECT a, b || c AS b FROM app.t WHERE d = x")],
    )
    .expect("a good catalog")
}

/// Remembers the facts of each shape and holds every later text of it against them.
struct Shapes {
    catalog: Catalog,
    seen: HashMap<(Vec<u8>, bool), (String, Facts)>,
    compared: usize,
}

impl Shapes {
    fn new() -> Self {
        Self {
            catalog: catalog(),
            seen: HashMap::new(),
            compared: 0,
        }
    }

    fn check(&mut self, text: &str, modes: SessionModes) {
        let mut one = Shape::new();
        if !shape(text.as_bytes(), modes, &mut one) {
            return;
        }
        let facts = facts_of(text.as_bytes(), modes, &self.catalog);
        let key = (one.as_bytes().to_vec(), modes.backslash_in_strings);
        match self.seen.get(&key) {
            Some((first, expected)) => {
                if expected.literal_free || facts.literal_free {
                    assert_eq!(expected, &facts, "{first}\nand\n{text}");
                    self.compared += 1;
                }
            }
            None => {
                self.seen.insert(key, (text.to_owned(), facts));
            }
        }
    }
}

const LITERALS: &[&str] = &[
    "0",
    "1",
    "5",
    "42",
    "007",
    "2147483647",
    "2147483648",
    "99999999999999999999",
    "1.5",
    "0.0",
    "3.",
    ".5",
    "1e5",
    "0x1f",
    "1_000",
    "-1",
    "'a'",
    "''",
    "'it''s'",
    "'%'",
    "'--'",
    "'/*'",
    "'\\'",
    "'$1'",
    "'5'",
    "'é'",
    "E'x'",
    "$$x$$",
    "null",
    "true",
    "$1",
    "''''",
    "'a' 'b'",
    "'a'\n'b'",
    "x",
    "\"x\"",
    "(5)",
    "'SELECT 1'",
    "'search_path'",
];

#[test]
fn texts_of_one_shape_have_the_same_facts() {
    let mut random = Random(0x5eed);
    let mut shapes = Shapes::new();
    for text in STATEMENTS {
        let pieces = tokens(text, false);
        for _ in 0..60 {
            let mut varied = String::new();
            for piece in &pieces {
                let literal = matches!(piece.kind, TokenKind::Text | TokenKind::Number);
                if literal && random.below(3) > 0 {
                    varied.push_str(random.pick(LITERALS));
                } else {
                    varied.push_str(&text[piece.start..piece.end]);
                }
            }
            for backslash_in_strings in [false, true] {
                let modes = SessionModes {
                    backslash_in_strings,
                    ..SessionModes::default()
                };
                shapes.check(&varied, modes);
            }
        }
    }
    assert!(shapes.compared > 500, "only {} pairs", shapes.compared);
}

#[test]
fn random_changes_are_harmless() {
    let mut random = Random(0xf00d);
    let mut shapes = Shapes::new();
    for _ in 0..20_000 {
        let mut bytes = random.pick(STATEMENTS).as_bytes().to_vec();
        for _ in 0..=random.below(4) {
            mutate(&mut bytes, &mut random);
        }
        let modes = SessionModes {
            backslash_in_strings: random.below(4) == 0,
            foreign_encoding: random.below(8) == 0,
        };
        let facts = facts_of(&bytes, modes, &shapes.catalog);
        assert_eq!(
            facts.confidence == Confidence::Unparsed,
            facts.parse_error.is_some()
        );
        assert!(
            !facts.normalised.contains("sesame") || !bytes.windows(8).any(|at| at == b"'sesame'")
        );
        if let Ok(text) = std::str::from_utf8(&bytes) {
            shapes.check(text, modes);
        }
    }
}

fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    let at = random.below(bytes.len() + 1);
    match random.below(5) {
        0 => bytes.truncate(at),
        1 => {
            let other = random.pick(STATEMENTS).as_bytes();
            let from = random.below(other.len());
            let to = from + random.below(other.len() - from) + 1;
            bytes.splice(at..at, other[from..to].iter().copied());
        }
        2 if at < bytes.len() => {
            bytes.remove(at);
        }
        3 => {
            let random_byte = u8::try_from(random.below(256)).expect("below 256");
            bytes.insert(at, random_byte);
        }
        _ => {
            let piece = random.pick(&[
                "'", "\"", "$$", "--", "/*", "*/", ";", "(", ")", "\\", "'\n'", " LIMIT ",
                " FETCH ", ".", "1", "&", " AND ", " OR ", "U&", "e'", "\r", "::", "$1", ",", "-",
                "{", "float(", "\0",
            ]);
            bytes.splice(at..at, piece.bytes());
        }
    }
}

#[test]
fn the_lexer_finds_literals_and_comments_where_the_servers_scanner_does() {
    use pg_query::protobuf::Token;
    let mut random = Random(0xbee);
    let mut compared = 0;
    for round in 0..4_000 {
        let mut bytes = random.pick(STATEMENTS).as_bytes().to_vec();
        for _ in 0..round % 3 {
            mutate(&mut bytes, &mut random);
        }
        let Ok(text) = String::from_utf8(bytes) else {
            continue;
        };
        // The scanner stops at the first error; only the grammar tells which texts are valid.
        if pg_query::parse(&text, 0).is_err() {
            continue;
        }
        let expected: Vec<_> = pg_query::scan_tokens(&text)
            .expect("a valid text is scanned")
            .iter()
            .filter_map(|token| {
                let kind = match token.token() {
                    Token::Sconst | Token::Usconst | Token::Bconst | Token::Xconst => {
                        TokenKind::Text
                    }
                    Token::Iconst | Token::Fconst => TokenKind::Number,
                    Token::Param => TokenKind::Param,
                    Token::SqlComment | Token::CComment => TokenKind::Comment,
                    _ => return None,
                };
                Some((
                    kind,
                    usize::try_from(token.start).ok()?,
                    usize::try_from(token.end).ok()?,
                ))
            })
            .collect();
        let found: Vec<_> = tokens(&text, false)
            .iter()
            .filter(|token| {
                matches!(
                    token.kind,
                    TokenKind::Text | TokenKind::Number | TokenKind::Param | TokenKind::Comment
                )
            })
            .map(|token| (token.kind, token.start, token.end))
            .collect();
        assert_eq!(found, expected, "{text}");
        compared += 1;
    }
    assert!(compared > 1_500, "only {compared} texts");
}
