//! Made-up texts with labels, the same in every run: what the benchmark reads when it is given no data.
//!
//! Values are built forwards (a card gets its check digit, an IBAN its remainder) by code of its own, so that a mistake in a
//! recogniser does not repeat itself here. Half of the texts hold numbers that look like something and are not.

use std::ops::Range;

use crate::kind::Kind;

/// A text and what is in it.
#[derive(Debug, Clone)]
pub struct Made {
    /// Which template it was made from.
    pub template: u64,
    /// The text.
    pub text: String,
    /// What is where, in bytes.
    pub spans: Vec<(Kind, Range<usize>)>,
}

/// Makes `count` texts.
#[must_use]
pub fn texts(count: usize) -> Vec<Made> {
    let mut chance = Chance(0x9E37_79B9_7F4A_7C15);
    (0..count)
        .map(|at| {
            let template = at % TEMPLATES.len();
            fill(template, &mut chance)
        })
        .collect()
}

/// Replaces each `{word}` of a template by a value, and labels those that have a kind.
fn fill(template: usize, chance: &mut Chance) -> Made {
    let mut text = String::new();
    let mut spans = Vec::new();
    for part in TEMPLATES[template].split_inclusive('}') {
        let Some((before, word)) = part.split_once('{') else {
            text.push_str(part);
            continue;
        };
        text.push_str(before);
        let (value, kind) = value(word.trim_end_matches('}'), chance);
        let start = text.len();
        text.push_str(&value);
        if let Some(kind) = kind {
            spans.push((kind, start..text.len()));
        }
    }
    Made {
        template: template as u64,
        text,
        spans,
    }
}

fn value(word: &str, chance: &mut Chance) -> (String, Option<Kind>) {
    match word {
        "card" => (card(chance), Some(Kind::Card)),
        "email" => (email(chance), Some(Kind::Email)),
        "iban" => (iban(chance), Some(Kind::Iban)),
        "ip" => (ip(chance), Some(Kind::Ip)),
        "phone" => (pattern(chance, PHONES), Some(Kind::Phone)),
        "ssn" => (ssn(chance), Some(Kind::Ssn)),
        "url" => (url(chance), Some(Kind::Url)),
        "domain" => (domain(chance), Some(Kind::Domain)),
        "name" => ((*chance.pick(NAMES)).to_owned(), None),
        "order" => (pattern(chance, ORDERS), None),
        "amount" => (pattern(chance, AMOUNTS), None),
        "version" => (pattern(chance, VERSIONS), None),
        "street" => (pattern(chance, STREETS), None),
        "uuid" => (uuid(chance), None),
        "date" => (date(chance), None),
        other => (other.to_owned(), None),
    }
}

fn card(chance: &mut Chance) -> String {
    let (prefix, length) = *chance.pick(CARDS);
    let mut digits: Vec<u8> = prefix.bytes().map(|byte| byte - b'0').collect();
    while digits.len() + 1 < length {
        digits.push(chance.digit());
    }
    let mut sum = 0;
    for (place, digit) in digits.iter().rev().enumerate() {
        let doubled = if place.is_multiple_of(2) {
            digit * 2
        } else {
            *digit
        };
        sum += u32::from(doubled / 10 + doubled % 10);
    }
    digits.push(u8::try_from((10 - sum % 10) % 10).unwrap_or(0));
    let separator = *chance.pick(&["", "", " ", "-"]);
    let mut text = String::new();
    for (place, digit) in digits.iter().enumerate() {
        if place > 0 && place.is_multiple_of(4) && length == 16 {
            text.push_str(separator);
        }
        text.push(char::from(b'0' + digit));
    }
    text
}

fn iban(chance: &mut Chance) -> String {
    let (country, bank, digits) = *chance.pick(IBANS);
    let mut body = bank.to_owned();
    for _ in 0..digits {
        body.push(char::from(b'0' + chance.digit()));
    }
    let mut remainder = 0_u64;
    for character in format!("{body}{country}00").chars() {
        let value = u64::from(character.to_digit(36).unwrap_or(0));
        remainder = (remainder * if value > 9 { 100 } else { 10 } + value) % 97;
    }
    let whole = format!("{country}{:02}{body}", 98 - remainder);
    if chance.below(3) > 0 {
        return whole;
    }
    let groups: Vec<&str> = whole
        .as_bytes()
        .chunks(4)
        .filter_map(|group| std::str::from_utf8(group).ok())
        .collect();
    groups.join(" ")
}

fn ip(chance: &mut Chance) -> String {
    if chance.below(4) == 0 {
        let groups: Vec<String> = (0..8)
            .map(|_| format!("{:x}", chance.below(0x1_0000)))
            .collect();
        return groups.join(":");
    }
    let octets: Vec<String> = (0..4)
        .map(|_| (chance.below(255) + 1).to_string())
        .collect();
    octets.join(".")
}

fn ssn(chance: &mut Chance) -> String {
    let area = chance.below(664) + 1;
    let group = chance.below(98) + 1;
    let serial = chance.below(9998) + 1;
    format!("{area:03}-{group:02}-{serial:04}")
}

fn email(chance: &mut Chance) -> String {
    let (first, last) = (*chance.pick(NAMES), *chance.pick(NAMES));
    let at = domain(chance);
    match chance.below(3) {
        0 => format!("{first}.{last}@{at}"),
        1 => format!("{first}+{}@{at}", chance.below(100)),
        _ => format!("{first}_{last}{}@{at}", chance.below(100)),
    }
}

fn domain(chance: &mut Chance) -> String {
    let (name, top) = (*chance.pick(HOSTS), *chance.pick(TOPS));
    if chance.below(3) == 0 {
        format!("www.{name}.{top}")
    } else {
        format!("{name}.{top}")
    }
}

fn url(chance: &mut Chance) -> String {
    let scheme = *chance.pick(&["http", "https"]);
    let path = *chance.pick(&["", "/", "/about", "/p/17?q=1"]);
    format!("{scheme}://{}{path}", domain(chance))
}

fn uuid(chance: &mut Chance) -> String {
    let mut hex = |digits: usize| -> String {
        (0..digits)
            .map(|_| char::from_digit(chance.below(16), 16).unwrap_or('0'))
            .collect()
    };
    format!("{}-{}-{}-{}-{}", hex(8), hex(4), hex(4), hex(4), hex(12))
}

fn date(chance: &mut Chance) -> String {
    let (year, month, day) = (
        1940 + chance.below(90),
        1 + chance.below(12),
        1 + chance.below(28),
    );
    match chance.below(4) {
        0 => format!("{year}-{month:02}-{day:02} 12:00:00"),
        1 => format!("{day:02}.{month:02}.{year}"),
        2 => format!("{month}/{day}/{year}"),
        _ => format!("{day:02}-{month:02}-{year}"),
    }
}

/// A pattern with a digit for each `#` and a digit from 2 to 9 for each `N`.
fn pattern(chance: &mut Chance, patterns: &[&str]) -> String {
    let pattern = *chance.pick(patterns);
    pattern
        .chars()
        .map(|character| match character {
            '#' => char::from(b'0' + chance.digit()),
            'N' => char::from(b'2' + chance.digit() % 8),
            other => other,
        })
        .collect()
}

/// A generator of numbers that look random and are the same in every run (xorshift).
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: u32) -> u32 {
        u32::try_from((self.next() >> 16) % u64::from(limit.max(1))).unwrap_or(0)
    }

    fn digit(&mut self) -> u8 {
        u8::try_from(self.below(10)).unwrap_or(0)
    }

    fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        let count = u32::try_from(choices.len()).unwrap_or(1);
        &choices[self.below(count) as usize]
    }
}

const TEMPLATES: &[&str] = &[
    "Please block card {card}, it was stolen yesterday",
    "Charge it to {card} and send the receipt to {email}.",
    "{name} paid {amount} with {card}",
    "You can reach {name} at {phone} after five",
    "Phone: {phone}\nFax: {phone}\nMail: {email}",
    "call me back on {phone}",
    "Transfer {amount} to {iban} today",
    "IBAN: {iban}",
    "The social security number on file is {ssn}",
    "{name}, SSN {ssn}, born {date}",
    "Login from {ip} was refused",
    "client {ip} asked for {url}",
    "See {url} for details",
    "Our new site is {domain}, have a look",
    "write to {email} or visit {url}",
    "Order {order} was shipped on {date}",
    "invoice {order} over {amount} is due",
    "{name} lives at {street}",
    "We meet at {street} on {date}.",
    "request {uuid} failed after 1200 ms",
    "upgraded from {version} to {version}",
    "{name} wrote main.rs and lib.rs in 2021",
    "select id from public.orders where id = {order}",
    "There were 12 000 000 people in 1998 and {amount} later",
    "{date} {ip} user={name} id={uuid}",
    "The room is 4.12, the code is {order}",
];

const CARDS: &[(&str, usize)] = &[
    ("4", 16),
    ("4", 13),
    ("51", 16),
    ("55", 16),
    ("2221", 16),
    ("34", 15),
    ("37", 15),
    ("6011", 16),
    ("65", 16),
    ("3530", 16),
    ("305", 14),
    ("62", 16),
    ("6304", 12),
    ("5018", 13),
    ("2200", 16),
];

const IBANS: &[(&str, &str, usize)] = &[
    ("DE", "", 18),
    ("GB", "WEST", 14),
    ("NL", "ABNA", 10),
    ("FR", "", 23),
    ("ES", "", 20),
    ("NO", "", 11),
    ("CH", "", 17),
];

const PHONES: &[&str] = &[
    "NN#-N##-####",
    "(NN#) N##-####",
    "+1 NN# N## ####",
    "+1-NN#-N##-####x###",
    "NN#.N##.#### ext. ##",
    "+44 20 7### ####",
    "020 7### ####",
    "07N## ######",
    "+49 30 N#######",
    "030/N######",
    "0171 N######",
    "+33 1 N# ## ## ##",
    "06 N# ## ## ##",
    "06.N#.##.##.##",
    "+34 6## ### ###",
    "+39 06 N### ####",
    "06-N#######",
    "+31 (0)20 N## ####",
    "0041 44 N## ## ##",
    "N##-####",
];

const ORDERS: &[&str] = &[
    "10######",
    "ORD-20##-######",
    "A####-##",
    "#####",
    "R#########Q",
    "17########",
    "2270-##-15##",
];
const AMOUNTS: &[&str] = &[
    "$1#,###.##",
    "1# ### EUR",
    "€N##.##",
    "1.###,## EUR",
    "N## dollars",
];
const VERSIONS: &[&str] = &["1.#.#", "v2.#.1#", "15.#", "2.#.#.1#-rc1"];
const STREETS: &[&str] = &[
    "1### Oak Street",
    "N## Main St Apt. ###",
    "Hauptstrasse 1#, 10### Berlin",
    "12### 34## Rue de Lille",
];
const NAMES: &[&str] = &[
    "anna", "bruno", "chen", "dilek", "émile", "fatou", "gita", "hana", "ivan", "jose",
];
const HOSTS: &[&str] = &[
    "example",
    "test-shop",
    "acme",
    "blue-river",
    "northwind",
    "contoso",
    "my24",
];
const TOPS: &[&str] = &["com", "org", "de", "co.uk", "fr", "net", "com.au", "nl"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Finding, Scanner};

    #[test]
    fn nearly_all_that_was_put_in_is_found_and_little_else() {
        let scanner = Scanner::new();
        let (mut right, mut wrong, mut missed) = (0, 0, 0);
        let mut findings = Vec::new();
        for made in texts(2000) {
            findings.clear();
            scanner.scan(made.text.as_bytes(), &mut findings);
            let is_labelled = |found: &&Finding| {
                made.spans
                    .iter()
                    .any(|(kind, range)| *kind == found.kind && *range == (found.start..found.end))
            };
            let hits = findings.iter().filter(is_labelled).count();
            let others = findings
                .iter()
                .filter(|found| found.kind != Kind::BirthDate);
            wrong += others.filter(|found| !is_labelled(found)).count();
            right += hits.min(made.spans.len());
            missed += made.spans.len().saturating_sub(hits);
        }
        assert!(right > 1500, "{right} right");
        assert!(wrong * 50 < right, "{wrong} wrong, {right} right");
        assert!(missed * 20 < right, "{missed} missed, {right} right");
    }

    #[test]
    fn every_run_makes_the_same_texts() {
        let (first, second) = (texts(50), texts(50));
        assert!(first.iter().zip(&second).all(|(a, b)| a.text == b.text));
    }
}
