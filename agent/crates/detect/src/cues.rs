//! Words before a number that say what it is.
//!
//! Looked up only where a number is ambiguous without them, in the bytes just before it.

use aho_corasick::{AhoCorasick, AhoCorasickBuilder, AhoCorasickKind};

/// What a word speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cue {
    Phone,
    Card,
    Ssn,
    Bsn,
    TaxId,
    Pesel,
    Personal,
    Aadhaar,
    Cpf,
    Sin,
    Nir,
    Nino,
    Birth,
    Secret,
    Version,
    Iban,
    /// A number that is none of ours: of an order, an invoice, a ticket.
    OtherNumber,
}

/// What the words before a position speak of.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Nearby {
    all: u32,
    pub(crate) nearest: Option<Cue>,
}

impl Nearby {
    pub(crate) const fn has(self, cue: Cue) -> bool {
        self.all & (1 << cue as u32) != 0
    }
}

/// All the words, in one automaton.
#[derive(Debug)]
pub(crate) struct Cues {
    automaton: Option<AhoCorasick>,
}

impl Cues {
    pub(crate) fn new() -> Self {
        let words = WORDS.iter().map(|(word, _)| *word);
        Self {
            // It fails only on far more words than there are; without them fewer numbers are found, none wrongly.
            automaton: AhoCorasickBuilder::new()
                .kind(Some(AhoCorasickKind::DFA))
                .ascii_case_insensitive(true)
                .build(words)
                .ok(),
        }
    }

    /// What the words in the bytes before `position` speak of.
    pub(crate) fn before(&self, bytes: &[u8], position: usize) -> Nearby {
        let from = position.saturating_sub(REACH_BYTES);
        let mut nearby = Nearby::default();
        let (Some(automaton), Some(window)) = (&self.automaton, bytes.get(from..position)) else {
            return nearby;
        };
        for found in automaton.find_overlapping_iter(window) {
            let (word, cue) = WORDS[found.pattern().as_usize()];
            if is_whole(word, window, found.start(), found.end()) {
                nearby.all |= 1 << cue as u32;
                nearby.nearest = Some(cue);
            }
        }
        nearby
    }
}

/// A word counts when no letter stands before it, and a short one when none stands after it either.
fn is_whole(word: &str, window: &[u8], start: usize, end: usize) -> bool {
    let before = start.checked_sub(1).and_then(|at| window.get(at));
    let after = window.get(end);
    let is_letter = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphabetic);
    !is_letter(before) && (word.len() > SHORT_BYTES || !is_letter(after))
}

/// Far enough for "please call me back tomorrow at", near enough not to reach another field.
const REACH_BYTES: usize = 48;

/// Longer words may go on: `phones`, `calling`, `Telefonnummer`.
const SHORT_BYTES: usize = 3;

const WORDS: &[(&str, Cue)] = &[
    ("phone", Cue::Phone),
    ("telephone", Cue::Phone),
    ("telefon", Cue::Phone),
    ("téléphone", Cue::Phone),
    ("teléfono", Cue::Phone),
    ("tel", Cue::Phone),
    ("tél", Cue::Phone),
    ("mobile", Cue::Phone),
    ("mobil", Cue::Phone),
    ("móvil", Cue::Phone),
    ("cellulare", Cue::Phone),
    ("handy", Cue::Phone),
    ("cell", Cue::Phone),
    ("fax", Cue::Phone),
    ("desk", Cue::Phone),
    ("office", Cue::Phone),
    ("call", Cue::Phone),
    ("dial", Cue::Phone),
    ("ring", Cue::Phone),
    ("reach", Cue::Phone),
    ("contact", Cue::Phone),
    ("text", Cue::Phone),
    ("sms", Cue::Phone),
    ("message", Cue::Phone),
    ("whatsapp", Cue::Phone),
    ("signal", Cue::Phone),
    ("answering", Cue::Phone),
    ("voicemail", Cue::Phone),
    ("hotline", Cue::Phone),
    ("callback", Cue::Phone),
    ("msisdn", Cue::Phone),
    ("card", Cue::Card),
    ("credit", Cue::Card),
    ("debit", Cue::Card),
    ("visa", Cue::Card),
    ("mastercard", Cue::Card),
    ("maestro", Cue::Card),
    ("amex", Cue::Card),
    ("kreditkarte", Cue::Card),
    ("carte", Cue::Card),
    ("tarjeta", Cue::Card),
    ("pan", Cue::Card),
    ("cc", Cue::Card),
    ("ssn", Cue::Ssn),
    ("social security", Cue::Ssn),
    ("soc sec", Cue::Ssn),
    ("bsn", Cue::Bsn),
    ("burgerservicenummer", Cue::Bsn),
    ("sofinummer", Cue::Bsn),
    ("steuer", Cue::TaxId),
    ("idnr", Cue::TaxId),
    ("tax id", Cue::TaxId),
    ("pesel", Cue::Pesel),
    ("personnummer", Cue::Personal),
    ("fødselsnummer", Cue::Personal),
    ("fodselsnummer", Cue::Personal),
    ("rijksregister", Cue::Personal),
    ("registre national", Cue::Personal),
    ("aadhaar", Cue::Aadhaar),
    ("aadhar", Cue::Aadhaar),
    ("uidai", Cue::Aadhaar),
    ("cpf", Cue::Cpf),
    ("social insurance", Cue::Sin),
    ("nir", Cue::Nir),
    ("sécurité sociale", Cue::Nir),
    ("securite sociale", Cue::Nir),
    ("insee", Cue::Nir),
    ("nino", Cue::Nino),
    ("national insurance", Cue::Nino),
    ("born", Cue::Birth),
    ("birth", Cue::Birth),
    ("dob", Cue::Birth),
    ("d.o.b", Cue::Birth),
    ("geboren", Cue::Birth),
    ("geburtsdatum", Cue::Birth),
    ("geburtstag", Cue::Birth),
    ("geboortedatum", Cue::Birth),
    ("né le", Cue::Birth),
    ("née le", Cue::Birth),
    ("naissance", Cue::Birth),
    ("nacimiento", Cue::Birth),
    ("nascita", Cue::Birth),
    ("nascimento", Cue::Birth),
    ("password", Cue::Secret),
    ("passwd", Cue::Secret),
    ("secret", Cue::Secret),
    ("token", Cue::Secret),
    ("api key", Cue::Secret),
    ("api_key", Cue::Secret),
    ("apikey", Cue::Secret),
    ("api-key", Cue::Secret),
    ("access key", Cue::Secret),
    ("access_key", Cue::Secret),
    ("private key", Cue::Secret),
    ("bearer", Cue::Secret),
    ("credential", Cue::Secret),
    ("version", Cue::Version),
    ("release", Cue::Version),
    ("build", Cue::Version),
    ("firmware", Cue::Version),
    ("oid", Cue::Version),
    ("iban", Cue::Iban),
    ("order", Cue::OtherNumber),
    ("invoice", Cue::OtherNumber),
    ("ticket", Cue::OtherNumber),
    ("case number", Cue::OtherNumber),
    ("case no", Cue::OtherNumber),
    ("reference", Cue::OtherNumber),
    ("ref", Cue::OtherNumber),
    ("isbn", Cue::OtherNumber),
    ("issn", Cue::OtherNumber),
    ("ean", Cue::OtherNumber),
    ("upc", Cue::OtherNumber),
    ("gtin", Cue::OtherNumber),
    ("sku", Cue::OtherNumber),
    ("serial", Cue::OtherNumber),
    ("tracking", Cue::OtherNumber),
    ("license", Cue::OtherNumber),
    ("licence", Cue::OtherNumber),
    ("passport", Cue::OtherNumber),
    ("policy", Cue::OtherNumber),
    ("account", Cue::OtherNumber),
    ("amount", Cue::OtherNumber),
    ("population", Cue::OtherNumber),
    ("price", Cue::OtherNumber),
    ("total", Cue::OtherNumber),
    ("zip", Cue::OtherNumber),
    ("postal", Cue::OtherNumber),
    ("timestamp", Cue::OtherNumber),
    ("bestellung", Cue::OtherNumber),
    ("rechnung", Cue::OtherNumber),
];
