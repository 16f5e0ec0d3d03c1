//! `weir policy replay` and `diff`: recorded statements, decided again by other packs.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::Context as _;
use serde::Serialize;
use serde_json::json;
use weir_policy::{Database, Decision, Identity, Pack, Process, Question, Target};
use weir_sql::{ColumnUsage, Confidence, Facts, facts::Reachable};

use super::{changes, exit, open, refused};
use crate::{
    audit::{
        journal::{
            FOLDER,
            reader::{Position, Reader, Record},
        },
        record::{Entry, SessionOpened, StatementDecided},
        reports::period::Period,
    },
    cli::{audit::StateDir, output::print},
    clock,
    policy::Settings,
};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit codes: 0 replayed, 1 changes with --fail-on-change, a pack that is refused, or a journal that cannot be read, 2 bad usage or a folder that cannot be read.\n\nExample:\n  weir policy replay --policy policies/pii --since 7d"
)]
pub(super) struct Args {
    /// The pack that decides again.
    #[arg(long, visible_alias = "policy", value_name = "DIR", default_value_os_t = Settings::default().dir)]
    pack: PathBuf,
    #[command(flatten)]
    record: RecordArgs,
}

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit codes: as of replay.\n\nExample:\n  weir policy diff policies/baseline policies/production --since 24h --json"
)]
pub(super) struct DiffArgs {
    /// The pack that decides first.
    before: PathBuf,
    /// The pack that decides then.
    after: PathBuf,
    #[command(flatten)]
    record: RecordArgs,
}

#[derive(Debug, clap::Args)]
struct RecordArgs {
    #[command(flatten)]
    state_dir: StateDir,
    /// From when on: 24h, 7d, 2026-01-31 or 2026-01-31T12:00:00Z; rounded to the hour
    #[arg(long, default_value = "24h", value_name = "TIME")]
    since: String,
    /// Until when [default: now]
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// What the database holds, for statements that were recorded without it: YAML as under `catalog:` in cases.yaml
    #[arg(long, value_name = "FILE")]
    catalog: Option<PathBuf>,
    /// Exits with 1 when something would change
    #[arg(long)]
    fail_on_change: bool,
    /// Prints one JSON object
    #[arg(long)]
    json: bool,
}

/// Who asked, with which program, on which database.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Asker {
    identity: Option<Identity>,
    process: Process,
    target: Target,
}

/// One statement of one asker, as often as it was asked.
struct Asked {
    asker: usize,
    statement: u64,
    requests: u64,
    /// The last time, since the epoch.
    at: Duration,
}

/// What the journal says of the period.
#[derive(Default)]
struct Recorded {
    askers: Vec<Asker>,
    statements: HashMap<u64, StatementDecided>,
    asked: Vec<Asked>,
}

/// One change for one asker.
#[derive(Debug, Serialize)]
struct Change {
    requests: u64,
    principal: String,
    what: String,
    statement: String,
}

/// Replays what is recorded by one pack beside what was decided then.
///
/// # Errors
///
/// When the journal, the catalog's file or the period cannot be read.
pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let pack = match open(args.pack.clone()) {
        Ok(loaded) => loaded.pack,
        Err(error) => return refused(&args.pack, &error),
    };
    compare(&args.record, &[&pack], |_, decided, _| {
        decided.decision.clone()
    })
}

/// Replays what is recorded by two packs.
///
/// # Errors
///
/// As [`run`].
pub(super) fn diff(args: &DiffArgs) -> anyhow::Result<ExitCode> {
    let mut packs = Vec::new();
    for dir in [&args.before, &args.after] {
        match open(dir.clone()) {
            Ok(loaded) => packs.push(loaded.pack),
            Err(error) => return refused(dir, &error),
        }
    }
    let [before, after] = packs.as_slice() else {
        return Ok(exit(false));
    };
    compare(&args.record, &[after, before], |asked, _, facts| {
        decide(before, asked, facts)
    })
}

/// Compares the first pack's decisions with those that `before` gives, and says what differs.
fn compare(
    args: &RecordArgs,
    packs: &[&Pack],
    before: impl Fn(&Moment<'_>, &StatementDecided, &Facts) -> Decision,
) -> anyhow::Result<ExitCode> {
    let Some(after) = packs.first() else {
        return Ok(exit(false));
    };
    let database = args.catalog.as_deref().map(read_catalog).transpose()?;
    let period = Period::parse(&args.since, args.until.as_deref(), clock::now().as_secs())?;
    let recorded = read(&args.state_dir.find().join(FOLDER), period)?;
    let known = Known {
        database: database.as_ref(),
        needed: packs.iter().any(|pack| pack.needs_catalog()),
    };
    let found = recorded.changes(&known, before, |moment, facts| decide(after, moment, facts));
    report(args, &found)?;
    Ok(exit(!args.fail_on_change || found.changes.is_empty()))
}

/// What is known of what the databases hold.
struct Known<'a> {
    database: Option<&'a Database>,
    /// Whether a pack asks for it.
    needed: bool,
}

/// What differs.
#[derive(Debug, Serialize)]
struct Found {
    requests: u64,
    /// Requests whose columns nobody knows any more.
    unknown: u64,
    changes: Vec<Change>,
}

impl Recorded {
    fn changes(
        &self,
        known: &Known<'_>,
        before: impl Fn(&Moment<'_>, &StatementDecided, &Facts) -> Decision,
        after: impl Fn(&Moment<'_>, &Facts) -> Decision,
    ) -> Found {
        let (mut requests, mut unknown) = (0, 0);
        let mut counts: BTreeMap<(String, String, String), u64> = BTreeMap::new();
        for asked in &self.asked {
            let (Some(asker), Some(decided)) = (
                self.askers.get(asked.asker),
                self.statements.get(&asked.statement),
            ) else {
                continue;
            };
            requests += asked.requests;
            let facts = facts(decided, known.database);
            if known.needed && !facts.resolved && !facts.relations.is_empty() {
                unknown += asked.requests;
                continue;
            }
            let at = asked.at;
            let moment = Moment { asker, at };
            let (old, new) = (before(&moment, decided, &facts), after(&moment, &facts));
            for change in changes::between(&old, &new, &facts) {
                let statement = decided.facts.normalised.clone();
                let key = (change, principal(asker), statement);
                *counts.entry(key).or_default() += asked.requests;
            }
        }
        let mut changes: Vec<_> = counts
            .into_iter()
            .map(|((what, principal, statement), requests)| Change {
                requests,
                principal,
                what,
                statement,
            })
            .collect();
        changes.sort_by_key(|change| std::cmp::Reverse(change.requests));
        Found {
            requests,
            unknown,
            changes,
        }
    }
}

/// Who asked, and when last.
struct Moment<'a> {
    asker: &'a Asker,
    at: Duration,
}

fn decide(pack: &Pack, moment: &Moment<'_>, facts: &Facts) -> Decision {
    pack.decide(&Question {
        identity: moment.asker.identity.as_ref(),
        process: &moment.asker.process,
        target: &moment.asker.target,
        facts,
        now: moment.at,
        stale: false,
    })
}

/// The facts as recorded, and what can be known again of what was in reach: with a catalog all of it, else what the
/// statement used.
fn facts(decided: &StatementDecided, database: Option<&Database>) -> Facts {
    let mut facts = decided.facts.clone();
    if let Some(database) = database {
        let again = database.analyse(facts.normalised.as_bytes());
        if again.confidence != Confidence::Unparsed {
            facts.resolved = true;
            facts.columns = again.columns;
            facts.reachable = again.reachable;
            return facts;
        }
    }
    facts.reachable = facts
        .columns
        .iter()
        .filter(|used| used.usage != ColumnUsage::Write)
        .map(|used| Reachable {
            column: used.column.clone(),
            bases: used.bases.clone(),
        })
        .collect();
    facts.reachable.sort_unstable();
    facts.reachable.dedup();
    facts
}

fn read(dir: &Path, period: Period) -> anyhow::Result<Recorded> {
    if !dir.is_dir() {
        anyhow::bail!("there is no journal at {}", dir.display());
    }
    let (from, until) = period.hours();
    let hours = from..until;
    let mut recorded = Recorded::default();
    let mut askers: HashMap<Asker, usize> = HashMap::new();
    let mut sessions: HashMap<u64, usize> = HashMap::new();
    let mut counts: HashMap<(usize, u64), Asked> = HashMap::new();
    let mut reader = Reader::new(dir, Position::START);
    while let Some(record) = next(&mut reader)? {
        match record.entry {
            Entry::SessionOpened(opened) => {
                let session = opened.session;
                let asker = asker(*opened);
                let at = *askers.entry(asker).or_insert_with_key(|asker| {
                    recorded.askers.push(asker.clone());
                    recorded.askers.len() - 1
                });
                sessions.insert(session, at);
            }
            Entry::StatementDecided(decided) => {
                recorded.statements.insert(decided.id, *decided);
            }
            Entry::Requested(request) if hours.contains(&(record.time_ns / HOUR_NS)) => {
                let Some(&asker) = sessions.get(&request.session) else {
                    continue;
                };
                let at = Duration::from_nanos(record.time_ns);
                let entry = counts
                    .entry((asker, request.statement))
                    .or_insert_with(|| Asked {
                        asker,
                        statement: request.statement,
                        requests: 0,
                        at,
                    });
                entry.requests += 1;
                entry.at = at;
            }
            _ => {}
        }
    }
    recorded.asked = counts.into_values().collect();
    Ok(recorded)
}

/// The next record; what is broken is passed over, segment by segment, and said.
fn next(reader: &mut Reader) -> anyhow::Result<Option<Record>> {
    loop {
        match reader.next() {
            Ok(record) => return Ok(record),
            Err(error) => {
                eprintln!("weir: {error}; going on behind it");
                if !reader.skip_broken().context("cannot read the journal")? {
                    return Ok(None);
                }
            }
        }
    }
}

fn asker(opened: SessionOpened) -> Asker {
    Asker {
        identity: opened.identity,
        process: Process::from(&opened.evidence),
        target: opened.target,
    }
}

fn principal(asker: &Asker) -> String {
    let Some(identity) = &asker.identity else {
        return "unidentified".to_owned();
    };
    let principal = &identity.principal.display;
    identity
        .actors
        .iter()
        .fold(principal.clone(), |text, actor| {
            format!("{} for {text}", actor.subject)
        })
}

fn read_catalog(path: &Path) -> anyhow::Result<Database> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the catalog {}", path.display()))?;
    Ok(Database::parse(&path.display().to_string(), &text)?)
}

fn report(args: &RecordArgs, found: &Found) -> anyhow::Result<()> {
    if args.json {
        return print(&format!("{:#}\n", json!(found)));
    }
    let mut text = String::new();
    for change in &found.changes {
        let Change {
            requests,
            principal,
            what,
            statement,
        } = change;
        let statement = shortened(statement);
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{requests:>8}  {principal}  {what}\n          {statement}"
        );
    }
    let _ = writeln!(
        text,
        "{} requests, {} changes",
        found.requests,
        found.changes.len()
    );
    if found.unknown > 0 {
        let _ = writeln!(
            text,
            "{} of them were recorded without the database's catalog, so their columns are not known; give --catalog FILE",
            found.unknown
        );
    }
    print(&text)
}

/// One line that fits a screen.
fn shortened(statement: &str) -> String {
    let line = statement.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(LINE_CHARACTERS) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line,
    }
}

const HOUR_NS: u64 = 3_600_000_000_000;
const LINE_CHARACTERS: usize = 100;

#[cfg(test)]
mod tests;
