//! National numbers of people: each with its country's own check.
//!
//! Those written in a form of their own stand alone. Bare digits pass a check by chance one time in ten or so: they count where
//! the words before them say what they are, or where a whole column of them passes.

use crate::{
    cues::Cue,
    kind::{Kind, Kinds, Scheme},
    number::{Number, Separator},
    text::Text,
    values::ssn,
};

mod checks;
mod letters;

pub(crate) use checks::luhn;
pub(crate) use letters::read as with_letters;

/// The national number that begins with group `first`: its last group, scheme and confidence.
pub(crate) fn read(text: &Text<'_>, number: &Number, first: usize) -> Option<(usize, Scheme, u8)> {
    if number.has_plus && first == 0 {
        return None;
    }
    let most = number.count.min(first + MAX_GROUPS);
    (first..most).rev().find_map(|last| {
        let (scheme, confidence) = grade(text, number, first, last)?;
        Some((last, scheme, confidence))
    })
}

/// Every scheme whose rules the digits follow, however they are written.
pub(crate) fn possible(digits: &[u8]) -> Kinds {
    let mut kinds = Kinds::default();
    for (scheme, check) in checks::ALL {
        if check(digits) {
            kinds.add(Kind::NationalId(*scheme));
        }
    }
    if ssn::is_itin(digits) {
        kinds.add(Kind::NationalId(Scheme::UsItin));
    }
    kinds
}

fn grade(text: &Text<'_>, number: &Number, first: usize, last: usize) -> Option<(Scheme, u8)> {
    let digits = number.digits(first, last);
    if !(9..=15).contains(&digits.len()) {
        return None;
    }
    let written = written(number, first, last);
    let scheme = written.filter(|scheme| is(*scheme, digits));
    if let Some(scheme) = scheme {
        return Some((scheme, 92));
    }
    if !number.stands_alone(first, last) {
        return None;
    }
    let named = NAMED
        .iter()
        .find(|(cue, scheme)| is(*scheme, digits) && text.last_speaks_of(*cue, number.start));
    named.map(|(_, scheme)| (*scheme, 90))
}

/// The scheme whose own way of writing the groups follow.
fn written(number: &Number, first: usize, last: usize) -> Option<Scheme> {
    use Separator::{Dash, Dot, Slash, Space};
    let inner = number.inner(first, last);
    let scheme = match (number.widths(first, last), inner) {
        ([3, 3, 3, 2], [Dot, Dot, Dash]) => Scheme::BrCpf,
        ([2, 2, 2, 3, 2], [Dot, Dot, Dash | Space, Dot | Space]) => Scheme::BeRegister,
        ([3, 4, 4, 2], [Dot, Dot, Dot]) => Scheme::ChAhv,
        ([6 | 8, 4], [Dash]) => Scheme::SePersonal,
        ([2, 3, 3, 3], [Space | Slash, Space | Slash, Space | Slash]) => Scheme::DeTaxId,
        ([4, 4, 4], [Space, Space]) => Scheme::InAadhaar,
        ([1, 2, 2, 2, 3, 3] | [1, 2, 2, 2, 3, 3, 2], _)
            if number.is_all(first, last, Space) || number.is_all(first, last, Dot) =>
        {
            Scheme::FrNir
        }
        ([3, 2, 4], [Dash, Dash]) => Scheme::UsItin,
        _ => return None,
    };
    number.stands_alone(first, last).then_some(scheme)
}

fn is(scheme: Scheme, digits: &[u8]) -> bool {
    if scheme == Scheme::UsItin {
        return ssn::is_itin(digits);
    }
    checks::ALL
        .iter()
        .any(|(known, check)| *known == scheme && check(digits))
}

/// The words that say which number it is.
const NAMED: &[(Cue, Scheme)] = &[
    (Cue::Bsn, Scheme::NlBsn),
    (Cue::TaxId, Scheme::DeTaxId),
    (Cue::TaxId, Scheme::NlBsn),
    (Cue::Pesel, Scheme::PlPesel),
    (Cue::Personal, Scheme::SePersonal),
    (Cue::Personal, Scheme::NoBirthNumber),
    (Cue::Personal, Scheme::BeRegister),
    (Cue::Aadhaar, Scheme::InAadhaar),
    (Cue::Cpf, Scheme::BrCpf),
    (Cue::Sin, Scheme::CaSin),
    (Cue::Nir, Scheme::FrNir),
];

const MAX_GROUPS: usize = 7;
