//! What class a column is of: a vote of its name, its type and sampled values.
//!
//! A name alone may propose, values alone may too where their form is unmistakable, and one can overrule the other: a column
//! `email` full of yes and no is no address, a column `ref` full of card numbers is. Bare digits never propose by themselves.
//!
//! | class | what it holds |
//! |---|---|
//! | `pii.email`, `pii.phone` | how a person is reached |
//! | `pii.name`, `pii.address`, `pii.location` | who and where a person is |
//! | `pii.birth_date`, `pii.gender` | what a person was born with |
//! | `pii.ssn`, `pii.national_id`, `pii.passport`, `pii.driver_license`, `pii.tax_id` | numbers of a state |
//! | `pii.special` | health, religion, origin, politics, sexuality |
//! | `pci.pan`, `pci.cvv`, `pci.expiry` | payment cards |
//! | `finance.iban`, `finance.account`, `finance.income`, `finance.crypto_address` | money |
//! | `network.ip`, `network.mac`, `network.url`, `network.domain` | machines |
//! | `secret.password`, `secret.api_key`, `secret.token`, `secret.private_key` | what opens doors |

use serde::{Deserialize, Serialize};

use crate::{Finding, Kind, Scanner};

use names::Named;
use types::{Shape, fits};

mod names;
mod types;

/// What is known of a column without its values.
#[derive(Debug, Clone, Copy)]
pub struct ColumnFacts<'a> {
    /// Its schema.
    pub schema: &'a str,
    /// Its relation.
    pub relation: &'a str,
    /// Its name.
    pub name: &'a str,
    /// Its type, as `format_type` writes it.
    pub type_name: &'a str,
    /// What somebody wrote about it.
    pub comment: Option<&'a str>,
}

/// A class that a column seems to be of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proposal {
    /// The class.
    pub class: String,
    /// Whether a value is of the class or has it inside.
    pub extent: Extent,
    /// How sure that is, in percent.
    pub confidence: u8,
    /// Other classes found inside the values of a column of text.
    pub also: Vec<String>,
    /// Why.
    pub evidence: Evidence,
}

/// How much of a value is of a class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Extent {
    /// All of it.
    Whole,
    /// Some of it: notes, messages, documents.
    Within,
}

/// Why a class is proposed; holds no value.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Evidence {
    /// The words of the column's name or comment that speak for it.
    pub name: Option<String>,
    /// The column's type, which the class can have.
    pub type_name: String,
    /// How many values were looked at, those that are empty or NULL left out.
    pub sampled: usize,
    /// How many of them were what, most first.
    pub values: Vec<Count>,
}

/// How many values were of a kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// The kind in one word.
    pub kind: String,
    /// How many values.
    pub values: usize,
}

/// Proposes the class of a column from samples of its values, as the server writes them in text; `None` when nothing
/// speaks for any.
pub fn propose<'a>(
    scanner: &Scanner,
    column: &ColumnFacts<'_>,
    samples: impl Iterator<Item = &'a [u8]>,
) -> Option<Proposal> {
    let shape = Shape::of(column.type_name);
    if shape == Shape::Closed {
        return None;
    }
    let tally = Tally::of(scanner, samples);
    let whole = by_name(column, shape, &tally)
        .into_iter()
        .chain(by_values(column, shape, &tally))
        .max_by_key(|vote| vote.confidence)
        .filter(|vote| vote.confidence >= LEAST_PERCENT);
    if let Some(vote) = whole {
        return Some(vote.proposal(column, &tally));
    }
    inside(column, shape, &tally)
}

/// A class with what speaks for it.
struct Vote {
    class: &'static str,
    confidence: u8,
    name: Option<&'static str>,
}

impl Vote {
    fn proposal(self, column: &ColumnFacts<'_>, tally: &Tally) -> Proposal {
        Proposal {
            class: self.class.to_owned(),
            extent: Extent::Whole,
            confidence: self.confidence,
            also: Vec::new(),
            evidence: Evidence {
                name: self.name.map(str::to_owned),
                type_name: column.type_name.to_owned(),
                sampled: tally.cells,
                values: tally.counts(|count| count.possible),
            },
        }
    }
}

/// What the name says, raised or lowered by what the values are.
fn by_name(column: &ColumnFacts<'_>, shape: Shape, tally: &Tally) -> Option<Vote> {
    let named = names::of_column(column.relation, column.name)
        .or_else(|| column.comment.and_then(names::of_comment))
        .filter(|named| fits(named.class, shape))?;
    let confidence = match tally.agreement(&named) {
        Agreement::Unknown => named.percent.saturating_sub(5),
        Agreement::Agrees(percent) => (named.percent + percent / 5).clamp(named.percent, 99),
        Agreement::Unclear => named.percent.saturating_sub(15),
        Agreement::Contradicts => named.percent.saturating_sub(45),
    };
    Some(Vote {
        class: named.class,
        confidence,
        name: Some(named.words),
    })
}

/// What the values are by themselves.
fn by_values(column: &ColumnFacts<'_>, shape: Shape, tally: &Tally) -> Option<Vote> {
    if shape == Shape::Network && !names::is_of_a_machine_alone(column.name) {
        let class = if column.type_name.starts_with("macaddr") {
            Kind::Mac.class()
        } else {
            Kind::Ip.class()
        };
        return Some(Vote {
            class,
            confidence: 80,
            name: None,
        });
    }
    if shape != Shape::Text || tally.cells < FEW_CELLS {
        return None;
    }
    let votes = Kind::ALL.into_iter().filter_map(|kind| {
        let sure = tally.percent(tally.count(kind).sure);
        let least = match kind {
            // Addresses of pages are public more often than not, and hosts' names are words with dots.
            Kind::Url | Kind::Domain | Kind::BirthDate => return None,
            // The checks of these pass by chance; a whole column of them does not.
            Kind::Card | Kind::Phone | Kind::NationalId(_) => 90,
            _ => 80,
        };
        let confidence = 55 + u8::try_from(sure * 40 / 100).unwrap_or(0);
        (sure >= least).then_some(Vote {
            class: kind.class(),
            confidence,
            name: None,
        })
    });
    votes.max_by_key(|vote| vote.confidence)
}

/// Classes found inside longer texts.
fn inside(column: &ColumnFacts<'_>, shape: Shape, tally: &Tally) -> Option<Proposal> {
    if !matches!(shape, Shape::Text | Shape::Document) || tally.cells < FEW_CELLS {
        return None;
    }
    let mut classes: Vec<(&'static str, usize)> = Vec::new();
    for kind in Kind::ALL {
        let cells = tally.count(kind).within;
        let is_public = matches!(kind, Kind::Url | Kind::Domain);
        if is_public || cells < FEW_FINDINGS || tally.percent(cells) < 3 {
            continue;
        }
        match classes.iter_mut().find(|(class, _)| *class == kind.class()) {
            Some((_, most)) => *most = cells.max(*most),
            None => classes.push((kind.class(), cells)),
        }
    }
    classes.sort_by_key(|(_, cells)| std::cmp::Reverse(*cells));
    let ((class, cells), rest) = classes.split_first()?;
    let percent = u8::try_from(tally.percent(*cells)).unwrap_or(100);
    Some(Proposal {
        class: (*class).to_owned(),
        extent: Extent::Within,
        confidence: (60 + percent / 3).min(90),
        also: rest.iter().map(|(class, _)| (*class).to_owned()).collect(),
        evidence: Evidence {
            name: None,
            type_name: column.type_name.to_owned(),
            sampled: tally.cells,
            values: tally.counts(|count| count.within),
        },
    })
}

/// Counts over all sampled values.
struct Tally {
    cells: usize,
    counts: Vec<(Kind, Counts)>,
    /// Values with a digit in them, and values of letters and spaces alone.
    with_digit: usize,
    wordy: usize,
}

#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    sure: usize,
    possible: usize,
    within: usize,
}

/// What values say about a name.
enum Agreement {
    /// There are no values.
    Unknown,
    /// So many of a hundred are what the name says.
    Agrees(u8),
    /// There is no telling.
    Unclear,
    /// They are something else.
    Contradicts,
}

impl Tally {
    fn of<'a>(scanner: &Scanner, samples: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut tally = Self {
            cells: 0,
            counts: Kind::ALL.map(|kind| (kind, Counts::default())).to_vec(),
            with_digit: 0,
            wordy: 0,
        };
        let mut scratch: Vec<Finding> = Vec::new();
        for cell in samples.filter(|cell| !cell.trim_ascii().is_empty()) {
            tally.cells += 1;
            let whole = scanner.whole(cell, &mut scratch);
            scratch.clear();
            scanner.scan(cell, &mut scratch);
            for (kind, counts) in &mut tally.counts {
                counts.sure += usize::from(whole.sure.has(*kind));
                counts.possible += usize::from(whole.possible.has(*kind) || whole.sure.has(*kind));
                let is_within = scratch
                    .iter()
                    .any(|found| found.kind == *kind && found.confidence >= SURE_PERCENT);
                counts.within += usize::from(is_within);
            }
            let has_digit = cell.iter().any(u8::is_ascii_digit);
            let is_wordy = cell.len() < 80
                && cell.iter().all(|byte| {
                    byte.is_ascii_alphabetic() || *byte >= 0x80 || b" .-',".contains(byte)
                });
            tally.with_digit += usize::from(has_digit);
            tally.wordy += usize::from(is_wordy);
        }
        tally
    }

    fn count(&self, kind: Kind) -> Counts {
        let known = self.counts.iter().find(|(known, _)| *known == kind);
        known.map_or_else(Counts::default, |(_, counts)| *counts)
    }

    fn percent(&self, cells: usize) -> usize {
        cells * 100 / self.cells.max(1)
    }

    /// The kinds with any value, most first.
    fn counts(&self, of: impl Fn(Counts) -> usize) -> Vec<Count> {
        let mut counts: Vec<Count> = self
            .counts
            .iter()
            .filter(|(_, counts)| of(*counts) > 0)
            .map(|(kind, counts)| Count {
                kind: kind.as_str().to_owned(),
                values: of(*counts),
            })
            .collect();
        counts.sort_by_key(|count| std::cmp::Reverse(count.values));
        counts
    }

    fn agreement(&self, named: &Named) -> Agreement {
        if self.cells == 0 {
            return Agreement::Unknown;
        }
        let most = Kind::ALL
            .into_iter()
            .filter(|kind| kind.class() == named.class)
            .map(|kind| self.percent(self.count(kind).possible))
            .max();
        match named.class {
            "pii.name" => self.by_look(self.wordy, 60),
            "pii.address" => self.by_look(self.with_digit.max(self.wordy), 30),
            // A national number of a country that has no check here cannot be told.
            "pii.national_id" | "secret.api_key" | "secret.token" | "pii.birth_date" => {
                match most.and_then(|percent| u8::try_from(percent).ok()) {
                    Some(percent @ 50..) => Agreement::Agrees(percent),
                    _ => Agreement::Unclear,
                }
            }
            _ => match most.and_then(|percent| u8::try_from(percent).ok()) {
                Some(percent @ 50..) => Agreement::Agrees(percent),
                Some(20..) => Agreement::Unclear,
                // One value may be a mistake.
                Some(_) if self.cells >= FEW_CELLS => Agreement::Contradicts,
                Some(_) | None => Agreement::Unclear,
            },
        }
    }

    fn by_look(&self, cells: usize, least: usize) -> Agreement {
        let percent = self.percent(cells);
        // What looks like a word may be an address or a number of another kind.
        let is_other = [Kind::Email, Kind::Ip, Kind::Mac, Kind::Url]
            .into_iter()
            .any(|kind| self.percent(self.count(kind).sure) >= 50);
        if is_other {
            Agreement::Contradicts
        } else if percent >= least {
            Agreement::Agrees(u8::try_from(percent).unwrap_or(100) / 2)
        } else {
            Agreement::Contradicts
        }
    }
}

const LEAST_PERCENT: u8 = 50;
const SURE_PERCENT: u8 = 70;
/// Fewer values prove nothing.
const FEW_CELLS: usize = 5;
const FEW_FINDINGS: usize = 2;

#[cfg(test)]
mod tests;
