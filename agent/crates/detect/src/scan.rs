//! One pass over the bytes of a cell: words and numbers are cut by a table of byte classes, and the few that could be
//! something are shown to the recognisers.
//!
//! Time is linear in the bytes: every look back and every look ahead is bounded, and what was looked at as a whole is not
//! looked at again.

use crate::{
    cues::{Cue, Cues},
    kind::{Kind, Kinds},
    number::{Number, digits_end},
    text::{Text, is_sign, sign_width},
    values::{
        card, crypto, date, domain, email, iban, ip, jwt, key, mac, national, pem, phone, ssn,
    },
};

/// A value that was found: what it is and where, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Finding {
    /// What it is.
    pub kind: Kind,
    /// Where it begins.
    pub start: usize,
    /// Where it ends.
    pub end: usize,
    /// How sure that is, in percent; nothing below 50 is reported.
    pub confidence: u8,
}

/// Finds sensitive values in bytes. One serves any number of threads.
#[derive(Debug)]
pub struct Scanner {
    cues: Cues,
}

impl Default for Scanner {
    fn default() -> Self {
        Self::new()
    }
}

impl Scanner {
    /// A scanner for all kinds.
    #[must_use]
    pub fn new() -> Self {
        Self { cues: Cues::new() }
    }

    /// Appends what `bytes` holds to `out`, in order of position and without overlaps. The bytes may be any.
    pub fn scan(&self, bytes: &[u8], out: &mut Vec<Finding>) {
        let text = Text::new(bytes, &self.cues);
        Pass::new(&text, out).run();
    }

    /// What a whole cell is and could be, surrounding white space aside. `scratch` is emptied; it only saves allocating.
    pub fn whole(&self, cell: &[u8], scratch: &mut Vec<Finding>) -> Whole {
        let cell = cell.trim_ascii();
        if cell.is_empty() || cell.len() > MAX_WHOLE_BYTES {
            return Whole::default();
        }
        let mut whole = Whole::default();
        let as_written = Text::new(cell, &self.cues);
        whole.sure = covering(&as_written, SURE_PERCENT, scratch);
        let assumed = Text::assumed(cell, &self.cues);
        whole.possible = covering(&assumed, SURE_PERCENT, scratch);
        add_numbers(&assumed, &mut whole.possible);
        whole
    }
}

/// What a whole cell is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Whole {
    /// What its form alone says it is.
    pub sure: Kinds,
    /// Every kind whose rules it follows: for bare digits often several.
    pub possible: Kinds,
}

/// The kinds of the findings that cover a text from end to end.
fn covering(text: &Text<'_>, least_percent: u8, scratch: &mut Vec<Finding>) -> Kinds {
    scratch.clear();
    Pass::new(text, scratch).run();
    let mut kinds = Kinds::default();
    for found in scratch.iter() {
        if found.start == 0 && found.end == text.bytes.len() && found.confidence >= least_percent {
            kinds.add(found.kind);
        }
    }
    kinds
}

/// Adds every kind whose rules a text that is one number follows.
fn add_numbers(text: &Text<'_>, kinds: &mut Kinds) {
    let Some(first) = text.bytes.iter().position(u8::is_ascii_digit) else {
        return;
    };
    let whole = Number::read(text, first)
        .filter(|number| number.start == 0 && number.end() == text.bytes.len());
    let Some(number) = whole.filter(|number| !number.has_plus) else {
        return;
    };
    let last = number.count - 1;
    for kind in national::possible(number.digits(0, last)).iter() {
        kinds.add(kind);
    }
    if card::judge(text, &number, 0, last) >= SURE_PERCENT {
        kinds.add(Kind::Card);
    }
    if ssn::judge(text, &number, 0, last) > 0 {
        kinds.add(Kind::Ssn);
    }
    if phone::read(text, &number, 0).is_some_and(|phone| phone.last == last) {
        kinds.add(Kind::Phone);
    }
    if last == 2 && date::is_date(&number, 0) {
        kinds.add(Kind::BirthDate);
    }
}

/// One run over one text.
struct Pass<'a> {
    text: &'a Text<'a>,
    out: &'a mut Vec<Finding>,
    /// Findings before this one are of other texts.
    base: usize,
    /// Where a look back has to stop: the end of the last finding.
    floor: usize,
    /// Dots before this position were looked at.
    dots_seen: usize,
}

/// What stands at a group of a number.
struct Hit {
    last: usize,
    end: usize,
    found: Option<(Kind, u8)>,
}

impl<'a> Pass<'a> {
    fn new(text: &'a Text<'a>, out: &'a mut Vec<Finding>) -> Self {
        let base = out.len();
        Self {
            text,
            out,
            base,
            floor: 0,
            dots_seen: 0,
        }
    }

    fn run(&mut self) {
        let mut at = 0;
        while let Some(byte) = self.text.bytes.get(at) {
            at = match CLASSES[usize::from(*byte)] {
                Class::Other => at + 1,
                Class::Digit | Class::Letter => self.word(at),
                Class::At => self.at_sign(at),
                Class::Dot => self.dot(at),
                Class::Colon => self.colon(at),
                Class::Dash => self.dash(at),
            };
        }
    }

    /// A run of letters and digits; returns where to go on.
    fn word(&mut self, start: usize) -> usize {
        let mut has_digit = false;
        let mut has_letter = false;
        let mut end = start;
        let rest = self.text.bytes.get(start..).unwrap_or_default();
        let sign = sign_width(rest, 0);
        if sign > 0 {
            return start + sign;
        }
        for (at, byte) in rest.iter().enumerate() {
            match CLASSES[usize::from(*byte)] {
                Class::Digit => has_digit = true,
                // A separator of a number, or a quote or dash after a word.
                Class::Letter
                    if *byte >= 0x80 && (is_sign(rest, at) || !has_letter && has_digit) =>
                {
                    break;
                }
                Class::Letter => has_letter = true,
                _ => break,
            }
            end += 1;
        }
        if !has_letter {
            if let Some(next) = self.hexadecimal(start, end) {
                return next;
            }
            let may_have_letters = matches!(end - start, 6 | 8)
                && matches!(self.text.at(end), b'-' | b'+')
                && self.text.before(start) != b'-';
            if may_have_letters
                && let Some((end, scheme, confidence)) =
                    national::with_letters(self.text, start, end)
            {
                return self.found(Kind::NationalId(scheme), start, end, confidence);
            }
            return self.number(start, end);
        }
        if let Some(next) = self.mixed(start, end, has_digit) {
            return next;
        }
        let digits = digits_end(self.text, start);
        let is_extended = digits - start >= 7 && matches!(self.text.at(digits), b'x' | b'X' | b'e');
        if is_extended {
            return self.number(start, digits).max(end);
        }
        end
    }

    /// A word with letters in it; `None` when it is nothing of ours.
    fn mixed(&mut self, start: usize, end: usize, has_digit: bool) -> Option<usize> {
        let text = self.text;
        let first = text.at(start);
        let length = end - start;
        if key::may_begin_with(first)
            && (has_digit || length >= 20 || matches!(text.at(end), b'-' | b'.'))
            && let Some((key_end, confidence)) = key::read(text, start)
        {
            return Some(self.found(Kind::ApiKey, start, key_end, confidence));
        }
        if first == b'e'
            && length >= 8
            && let Some(end) = jwt::end(text, start)
        {
            return Some(self.found(Kind::Jwt, start, end, 99));
        }
        if let Some(next) = self.hexadecimal(start, end) {
            return Some(next);
        }
        let is_pair = length == 2 && text.at(end) == b' ' && text.at(end + 1).is_ascii_digit();
        if !has_digit && !is_pair {
            return None;
        }
        let is_glued = matches!(text.before(start), b'-' | b'_' | b'.') && start > self.floor && {
            let before = text.before(start - 1);
            before.is_ascii_alphanumeric()
        };
        if !is_glued {
            if text.at(start + 2).is_ascii_digit()
                && text.at(start + 3).is_ascii_digit()
                && let Some(end) = iban::end(text, start)
            {
                return Some(self.found(Kind::Iban, start, end, 99));
            }
            if let Some((end, scheme, confidence)) = national::with_letters(text, start, end) {
                return Some(self.found(Kind::NationalId(scheme), start, end, confidence));
            }
            let confidence = crypto::judge(text, start, end);
            if confidence > 0 {
                return Some(self.found(Kind::CryptoAddress, start, end, confidence));
            }
        }
        if length >= 16
            && let Some((end, confidence)) = key::read(text, start)
        {
            return Some(self.found(Kind::ApiKey, start, end, confidence));
        }
        None
    }

    /// A hardware address, an IPv6 address, or the parts of a UUID, which are none of the things they look like.
    fn hexadecimal(&mut self, start: usize, end: usize) -> Option<usize> {
        let text = self.text;
        match (end - start, text.at(end)) {
            (2, b':' | b'-') | (4, b'.') => {
                if let Some(end) = mac::end(text, start) {
                    return Some(self.found(Kind::Mac, start, end, 95));
                }
            }
            (8, b'-') => return uuid_end(text, start),
            _ => {}
        }
        if end - start <= 4 && text.at(end) == b':' && text.at(start).is_ascii_hexdigit() {
            let end = ip::v6_end(text, start)?;
            return Some(self.found(Kind::Ip, start, end, 95));
        }
        None
    }

    fn number(&mut self, start: usize, end: usize) -> usize {
        let text = self.text;
        let Some(number) = Number::read(text, start) else {
            return end;
        };
        if number.count == 1 && end - start < 7 {
            return end;
        }
        let mut next = number.end();
        let mut group = 0;
        while group < number.count {
            let Some(hit) = self.group(&number, group) else {
                group += 1;
                continue;
            };
            let from = if group == 0 {
                number.start
            } else {
                number.group(group).start
                    - usize::from(number.separator(group) == crate::number::Separator::Open)
            };
            if let Some((kind, confidence)) = hit.found {
                self.found(kind, from, hit.end, confidence);
            }
            next = next.max(hit.end);
            group = hit.last + 1;
        }
        if number.is_cut {
            // What crosses the cut is seen from the middle on.
            let middle = number.group(number.count / 2).start;
            return middle.max(self.floor.min(next)).max(end);
        }
        next.max(end)
    }

    /// What begins with a group of a number.
    fn group(&self, number: &Number, first: usize) -> Option<Hit> {
        let text = self.text;
        let hit = |last: usize, kind: Kind, confidence: u8| {
            Some(Hit {
                last,
                end: number.group(last).end,
                found: Some((kind, confidence)),
            })
        };
        let address = ip::judge(text, number, first);
        if address > 0 {
            return hit(first + 3, Kind::Ip, address);
        }
        if is_glued(text, number, first) {
            return None;
        }
        if let Some((last, scheme, confidence)) = national::read(text, number, first)
            && !(last == first + 2 && card::is_card(number.digits(first, last)))
        {
            return hit(last, Kind::NationalId(scheme), confidence);
        }
        if date::is_date(number, first) {
            let is_birth = text.last_speaks_of(Cue::Birth, number.start);
            return Some(Hit {
                last: first + 2,
                end: number.group(first + 2).end,
                found: is_birth.then_some((Kind::BirthDate, 85)),
            });
        }
        let most = number.count.min(first + 6);
        for last in (first..most).rev() {
            if last + 1 == number.count && goes_on(text, number.group(last).end) {
                continue;
            }
            let card = card::judge(text, number, first, last);
            if card >= 50 {
                return hit(last, Kind::Card, card);
            }
            let security = ssn::judge(text, number, first, last);
            if security >= 50 {
                return hit(last, Kind::Ssn, security);
            }
        }
        let phone = phone::read(text, number, first).filter(|phone| phone.confidence >= 50)?;
        Some(Hit {
            last: phone.last,
            end: phone.end,
            found: Some((Kind::Phone, phone.confidence)),
        })
    }

    fn at_sign(&mut self, at: usize) -> usize {
        match email::around(self.text, at, self.email_floor(at)) {
            Some((start, end)) => self.found(Kind::Email, start, end, 97),
            None => at + 1,
        }
    }

    /// A local part may hold what was taken for something else; another address it may not.
    fn email_floor(&self, at: usize) -> usize {
        let own = self.out.get(self.base..).unwrap_or_default();
        let last = own.iter().rev().find(|found| found.kind == Kind::Email);
        last.map_or(0, |found| found.end).min(at)
    }

    fn dot(&mut self, at: usize) -> usize {
        if at < self.dots_seen {
            return at + 1;
        }
        let (found, run_end) = domain::around(self.text, at, self.floor);
        self.dots_seen = run_end;
        match found {
            // The local part of an e-mail address may look like a host's name.
            Some((start, end, confidence)) if self.text.at(end) != b'@' => {
                self.found(Kind::Domain, start, end, confidence)
            }
            _ => at + 1,
        }
    }

    fn colon(&mut self, at: usize) -> usize {
        if let Some((start, end)) = domain::url_around(self.text, at, self.floor) {
            let url = self.text.bytes.get(start..end).unwrap_or_default();
            return if domain::has_password(url) {
                self.found(Kind::ApiKey, start, end, 95)
            } else {
                self.found(Kind::Url, start, end, 95)
            };
        }
        if self.text.at(at + 1) == b':'
            && !self.text.before(at).is_ascii_alphanumeric()
            && let Some(end) = ip::v6_end(self.text, at)
        {
            return self.found(Kind::Ip, at, end, 80);
        }
        at + 1
    }

    fn dash(&mut self, at: usize) -> usize {
        match pem::end(self.text, at) {
            Some(end) => self.found(Kind::PrivateKey, at, end, 99),
            None => at + 1,
        }
    }

    /// Notes a finding unless a surer or longer one stands there; returns where to go on.
    fn found(&mut self, kind: Kind, start: usize, end: usize, confidence: u8) -> usize {
        while let Some(last) = self.out.get(self.base..).and_then(<[Finding]>::last) {
            if last.end <= start {
                break;
            }
            if (last.confidence, last.end - last.start) > (confidence, end - start) {
                return end;
            }
            self.out.pop();
        }
        self.floor = end;
        self.out.push(Finding {
            kind,
            start,
            end,
            confidence,
        });
        end
    }
}

/// Whether a number is the tail of a longer word: of a UUID, a version, a product's name.
fn is_glued(text: &Text<'_>, number: &Number, first: usize) -> bool {
    if first > 0 {
        return false;
    }
    let before = text.before(number.start);
    let further = text.before(number.start.saturating_sub(1));
    match before {
        b'-' => further.is_ascii_alphabetic() || further == b'_' || further.is_ascii_digit(),
        // The seconds of a time, a decimal part.
        b'.' | b',' | b':' => further.is_ascii_digit(),
        b'_' => true,
        _ => before.is_ascii_alphabetic(),
    }
}

/// Whether letters or a decimal part go on right after the digits.
fn goes_on(text: &Text<'_>, end: usize) -> bool {
    let next = text.at(end);
    next.is_ascii_alphabetic() || next == b'_' || next == b',' && text.at(end + 1).is_ascii_digit()
}

/// The end of the UUID that begins at `start`.
fn uuid_end(text: &Text<'_>, start: usize) -> Option<usize> {
    let uuid = text.bytes.get(start..start + 36)?;
    let is_uuid = uuid.iter().enumerate().all(|(place, byte)| match place {
        8 | 13 | 18 | 23 => *byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    });
    is_uuid.then_some(start + 36)
}

/// What a byte begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Other,
    Digit,
    Letter,
    At,
    Dot,
    Colon,
    Dash,
}

/// Letters are ASCII letters, the underscore, and all bytes beyond ASCII.
const CLASSES: [Class; 256] = {
    let mut classes = [Class::Other; 256];
    let mut byte = 0;
    while byte < 256 {
        classes[byte] = match byte {
            0x30..=0x39 => Class::Digit,
            0x41..=0x5A | 0x61..=0x7A | 0x5F | 0x80..=0xFF => Class::Letter,
            0x40 => Class::At,
            0x2E => Class::Dot,
            0x3A => Class::Colon,
            0x2D => Class::Dash,
            _ => Class::Other,
        };
        byte += 1;
    }
    classes
};

/// From here on a finding speaks for itself.
const SURE_PERCENT: u8 = 70;

/// No value of one kind is longer, private keys included.
const MAX_WHOLE_BYTES: usize = 16 * 1024;

#[cfg(test)]
mod tests;
