//! `cargo xtask bench detect`: what the detectors find in labelled texts, and how fast they read.
//!
//! **Data.** `--data` names a JSON array of texts with labelled spans (`full_text`, `template_id`, `spans` of `entity_type`,
//! `start_position`, `end_position` in characters), as presidio-research makes them; without it, texts made up by
//! `weir-detect` itself. Templates with an even number are for tuning, the odd ones are reported.
//!
//! **Counting.** A finding is right when it and a label of its type overlap by at least half of what they cover together; each
//! label counts once. Kinds that the data has no labels for (national ids, keys) are left out. Totals are over all types.
//!
//! **Speed.** All texts of the data one after the other, each scanned as a cell of its own, by one thread on one processor, by
//! that thread's own processor time: the median of the rounds.

use std::fs;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};
use weir_detect::{Finding, Kind, Scanner, corpus};

/// Which templates are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Half {
    /// Even templates.
    Tuning,
    /// Odd templates.
    Reporting,
}

/// Measures the detectors.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Labelled texts [default: made-up ones].
    #[arg(long, value_name = "FILE")]
    data: Option<PathBuf>,
    /// Which templates to count.
    #[arg(long, value_enum, default_value = "reporting")]
    half: Half,
    /// Prints what was missed and what was wrongly found; of the tuning half only, so that the other stays unseen.
    #[arg(long)]
    mistakes: bool,
    /// Rounds of reading all texts.
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Writes the figures to a file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Fails when a goal is missed: F1 0.93, precision 0.97, 50 MB/s.
    #[arg(long)]
    gate: bool,
}

/// Scans, counts, times, prints.
pub(crate) fn run(options: &Args) -> Result<ExitCode> {
    ensure!(
        !options.mistakes || options.half == Half::Tuning,
        "mistakes are shown of the tuning half only: --half tuning"
    );
    let texts = match &options.data {
        Some(file) => read(file)?,
        None => made_up(),
    };
    let wanted = u64::from(options.half == Half::Reporting);
    let counted: Vec<&Labelled> = texts
        .iter()
        .filter(|it| it.template % 2 == wanted)
        .collect();
    let scanner = Scanner::new();
    let mut scores = TYPES.map(Score::new);
    for labelled in &counted {
        for (text, found, span) in count(&scanner, labelled, &mut scores) {
            if options.mistakes {
                let what = if found { "wrongly found" } else { "missed" };
                let part = text.get(span.start..span.end).unwrap_or_default();
                println!("{what} {}: {part:?} in {text:?}", span.name);
            }
        }
    }
    let speed = speed(&scanner, &texts, options.rounds);
    let report = Report::of(counted.len(), &scores, speed);
    report.print();
    if let Some(file) = &options.json {
        let text = serde_json::to_string_pretty(&report).context("writing the figures as JSON")?;
        fs::write(file, text + "\n").with_context(|| format!("writing {}", file.display()))?;
    }
    let passed = report.total.f1 >= GOAL_F1
        && report.total.precision >= GOAL_PRECISION
        && report.megabytes_per_second >= GOAL_SPEED;
    Ok(if options.gate && !passed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// A text with what is in it, positions in bytes.
#[derive(Debug)]
struct Labelled {
    template: u64,
    text: String,
    spans: Vec<Span>,
}

#[derive(Clone, Copy, Debug)]
struct Span {
    name: &'static str,
    start: usize,
    end: usize,
}

impl Span {
    /// How much two spans share of what they cover together.
    fn overlap(&self, other: &Self) -> f64 {
        let shared = self
            .end
            .min(other.end)
            .saturating_sub(self.start.max(other.start));
        let covered = self.end.max(other.end) - self.start.min(other.start);
        ratio(shared, covered)
    }
}

/// Compares findings with labels; returns each mistake: the text, whether it was a finding, and where.
fn count<'a>(
    scanner: &Scanner,
    labelled: &'a Labelled,
    scores: &mut [Score],
) -> Vec<(&'a str, bool, Span)> {
    let mut findings = Vec::new();
    scanner.scan(labelled.text.as_bytes(), &mut findings);
    let mut open = labelled.spans.clone();
    let mut mistakes = Vec::new();
    for found in findings.iter().filter_map(as_span) {
        let Some(score) = scores.iter_mut().find(|score| score.name == found.name) else {
            continue;
        };
        let label = open
            .iter()
            .position(|label| label.name == found.name && label.overlap(&found) >= 0.5);
        if let Some(at) = label {
            open.swap_remove(at);
            score.right += 1;
        } else {
            score.wrong += 1;
            mistakes.push((labelled.text.as_str(), true, found));
        }
    }
    for label in open {
        if let Some(score) = scores.iter_mut().find(|score| score.name == label.name) {
            score.missed += 1;
            mistakes.push((labelled.text.as_str(), false, label));
        }
    }
    mistakes
}

fn as_span(found: &Finding) -> Option<Span> {
    Some(Span {
        name: type_of(found.kind)?,
        start: found.start,
        end: found.end,
    })
}

fn type_of(kind: Kind) -> Option<&'static str> {
    Some(match kind {
        Kind::Card => "CREDIT_CARD",
        Kind::Email => "EMAIL",
        Kind::Iban => "IBAN",
        Kind::Ip => "IP",
        Kind::Phone => "PHONE",
        Kind::Ssn => "SSN",
        Kind::Url | Kind::Domain => "DOMAIN",
        _ => return None,
    })
}

/// The types that are counted, and how the data names them.
const TYPES: [&str; 7] = [
    "CREDIT_CARD",
    "EMAIL",
    "IBAN",
    "IP",
    "PHONE",
    "SSN",
    "DOMAIN",
];

fn type_named(name: &str) -> Option<&'static str> {
    let name = match name {
        "EMAIL_ADDRESS" => "EMAIL",
        "IBAN_CODE" => "IBAN",
        "IP_ADDRESS" => "IP",
        "PHONE_NUMBER" => "PHONE",
        "US_SSN" => "SSN",
        "DOMAIN_NAME" | "URL" => "DOMAIN",
        other => other,
    };
    TYPES.into_iter().find(|known| *known == name)
}

/// What was found of one type.
#[derive(Clone, Copy, Debug, Serialize)]
struct Score {
    name: &'static str,
    right: usize,
    wrong: usize,
    missed: usize,
    precision: f64,
    recall: f64,
    f1: f64,
}

impl Score {
    fn new(name: &'static str) -> Self {
        Self {
            name,
            right: 0,
            wrong: 0,
            missed: 0,
            precision: 1.0,
            recall: 1.0,
            f1: 1.0,
        }
    }

    fn settled(mut self) -> Self {
        self.precision = ratio(self.right, self.right + self.wrong);
        self.recall = ratio(self.right, self.right + self.missed);
        self.f1 = ratio(2 * self.right, 2 * self.right + self.wrong + self.missed);
        self
    }
}

/// All figures.
#[derive(Debug, Serialize)]
struct Report {
    texts: usize,
    types: Vec<Score>,
    total: Score,
    megabytes_per_second: f64,
}

impl Report {
    fn of(texts: usize, scores: &[Score], megabytes_per_second: f64) -> Self {
        let mut total = Score::new("total");
        for score in scores {
            total.right += score.right;
            total.wrong += score.wrong;
            total.missed += score.missed;
        }
        Self {
            texts,
            types: scores.iter().copied().map(Score::settled).collect(),
            total: total.settled(),
            megabytes_per_second,
        }
    }

    fn print(&self) {
        println!(
            "{:<12} {:>6} {:>6} {:>6}  {:>9} {:>6} {:>6}",
            "type", "right", "wrong", "missed", "precision", "recall", "F1"
        );
        for score in self.types.iter().chain([&self.total]) {
            println!(
                "{:<12} {:>6} {:>6} {:>6}  {:>9.3} {:>6.3} {:>6.3}",
                score.name,
                score.right,
                score.wrong,
                score.missed,
                score.precision,
                score.recall,
                score.f1
            );
        }
        println!(
            "{} texts; {:.0} MB/s on one processor",
            self.texts, self.megabytes_per_second
        );
    }
}

/// Megabytes (10^6) a second, one thread.
fn speed(scanner: &Scanner, texts: &[Labelled], rounds: u32) -> f64 {
    let pinned = pin();
    let bytes: usize = texts.iter().map(|labelled| labelled.text.len()).sum();
    let repeats = (BYTES_PER_ROUND / bytes.max(1)).max(1);
    let mut findings = Vec::new();
    let mut times: Vec<Duration> = (0..rounds)
        .map(|_| {
            let start = processor_time();
            for _ in 0..repeats {
                for labelled in texts {
                    findings.clear();
                    scanner.scan(black_box(labelled.text.as_bytes()), &mut findings);
                    black_box(&findings);
                }
            }
            processor_time().saturating_sub(start)
        })
        .collect();
    drop(pinned);
    times.sort_unstable();
    let median = times.get(times.len() / 2).copied().unwrap_or_default();
    #[expect(clippy::cast_precision_loss, reason = "megabytes, not exact bytes")]
    let read = (bytes * repeats) as f64;
    read / 1e6 / median.as_secs_f64().max(f64::MIN_POSITIVE)
}

/// The processor time this thread has used.
fn processor_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}

/// Keeps this thread on the processor it runs on; where that is not allowed, it wanders.
fn pin() -> Option<Unpin> {
    let before = sched_getaffinity(Pid::from_raw(0)).ok()?;
    let first = (0..CpuSet::count()).find(|cpu| before.is_set(*cpu).unwrap_or(false))?;
    let mut one = CpuSet::new();
    one.set(first).ok()?;
    sched_setaffinity(Pid::from_raw(0), &one).ok()?;
    Some(Unpin(before))
}

/// Gives the thread its processors back.
struct Unpin(CpuSet);

impl Drop for Unpin {
    fn drop(&mut self) {
        // The process ends soon after; a thread that stays where it is does no harm.
        let _ = sched_setaffinity(Pid::from_raw(0), &self.0);
    }
}

#[derive(Debug, Deserialize)]
struct Sample {
    full_text: String,
    template_id: u64,
    spans: Vec<SampleSpan>,
}

#[derive(Debug, Deserialize)]
struct SampleSpan {
    entity_type: String,
    start_position: usize,
    end_position: usize,
}

fn read(file: &Path) -> Result<Vec<Labelled>> {
    let text = fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
    let samples: Vec<Sample> = serde_json::from_str(&text)
        .with_context(|| format!("reading the labels of {}", file.display()))?;
    Ok(samples.into_iter().map(Labelled::from).collect())
}

impl From<Sample> for Labelled {
    fn from(sample: Sample) -> Self {
        let text = sample.full_text;
        let byte = |character: usize| {
            let place = text.char_indices().nth(character);
            place.map_or(text.len(), |(byte, _)| byte)
        };
        let spans = sample
            .spans
            .iter()
            .filter_map(|span| {
                Some(Span {
                    name: type_named(&span.entity_type)?,
                    start: byte(span.start_position),
                    end: byte(span.end_position),
                })
            })
            .collect();
        Self {
            template: sample.template_id,
            spans,
            text,
        }
    }
}

fn made_up() -> Vec<Labelled> {
    let texts = corpus::texts(MADE_UP_TEXTS);
    texts
        .into_iter()
        .map(|made| Labelled {
            template: made.template,
            spans: made
                .spans
                .iter()
                .filter_map(|(kind, range)| {
                    Some(Span {
                        name: type_of(*kind)?,
                        start: range.start,
                        end: range.end,
                    })
                })
                .collect(),
            text: made.text,
        })
        .collect()
}

fn ratio(part: usize, whole: usize) -> f64 {
    let part = f64::from(u32::try_from(part).unwrap_or(u32::MAX));
    let whole = f64::from(u32::try_from(whole).unwrap_or(u32::MAX));
    if whole == 0.0 { 1.0 } else { part / whole }
}

const MADE_UP_TEXTS: usize = 3000;
const BYTES_PER_ROUND: usize = 8_000_000;
const GOAL_F1: f64 = 0.93;
const GOAL_PRECISION: f64 = 0.97;
const GOAL_SPEED: f64 = 50.0;
