//! `weir audit tail`: the journal's last records, as they come.

use std::{collections::VecDeque, process::ExitCode, time::Duration};

use anyhow::Context;
use serde_json::{Value, json};
use weir_policy::Effect;

use super::StateDir;
use crate::{
    audit::{
        journal::{
            FOLDER,
            dictionary::Dictionary,
            reader::{Position, ReadError, Reader, Record, last_segments},
        },
        record::{Entry, SessionOpened, StatementDecided},
        reports::period::rfc3339,
    },
    terminal::visible_line,
};

const POLL: Duration = Duration::from_millis(100);

/// Show the journal's last records; with --follow, new ones as they come.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit codes: 0 shown, 1 the journal cannot be read.\n\nExamples:\n  weir audit tail -n 50\n  weir audit tail --follow --json | jq 'select(.effect == \"deny\")'"
)]
pub(super) struct Args {
    #[command(flatten)]
    state_dir: StateDir,
    /// How many records
    #[arg(short = 'n', long = "lines", default_value_t = 20, value_name = "N")]
    lines: usize,
    /// Go on as records come
    #[arg(short, long)]
    follow: bool,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let dir = args.state_dir.find().join(FOLDER);
    if !dir.is_dir() {
        anyhow::bail!("there is no journal at {}", dir.display());
    }
    // The last segment alone may have just begun.
    let from = last_segments(&dir, 2).context("cannot read the journal")?;
    let mut reader = Reader::new(&dir, from.unwrap_or(Position::START));
    let mut words = Dictionary::default();
    let mut last = VecDeque::new();
    while let Some(record) = next(&mut reader)? {
        words.learn(&record);
        last.push_back(record);
        if last.len() > args.lines {
            last.pop_front();
        }
    }
    let lines: String = last
        .iter()
        .map(|record| words.line(record, args.json))
        .collect();
    super::print(&lines)?;
    if args.follow {
        follow(&mut reader, &mut words, args.json)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The next record; one that this version does not know is passed over, and said.
fn next(reader: &mut Reader) -> Result<Option<Record>, ReadError> {
    loop {
        match reader.next() {
            Err(error @ ReadError::Unknown { .. }) => eprintln!("weir: {error}"),
            read => return read,
        }
    }
}

/// Prints records as they come, until nobody reads them any more.
fn follow(reader: &mut Reader, words: &mut Dictionary, as_json: bool) -> anyhow::Result<()> {
    loop {
        let Some(record) = next(reader)? else {
            std::thread::sleep(POLL);
            continue;
        };
        words.learn(&record);
        if super::print_on(&words.line(&record, as_json))?.is_break() {
            return Ok(());
        }
    }
}

impl Dictionary {
    fn line(&self, record: &Record, as_json: bool) -> String {
        let time = rfc3339(record.time_ns);
        if as_json {
            let mut object = self.object(&record.entry);
            object["seq"] = json!(record.seq);
            object["time"] = json!(time);
            return format!("{object}\n");
        }
        let time = time.replace('T', " ").replace('Z', "");
        let words = visible_line(&self.words(&record.entry));
        format!("{:>8}  {time}  {words}\n", record.seq)
    }

    fn words(&self, entry: &Entry) -> String {
        match entry {
            Entry::SessionOpened(opened) => {
                let to = if opened.unread {
                    "relayed unread"
                } else {
                    &opened.target.database
                };
                format!("session {}  {} → {to}", opened.session, who(opened))
            }
            Entry::StatementDecided(decided) => {
                format!("statement {}  {}", decided.id, decided.facts.normalised)
            }
            Entry::Requested(request) => {
                let session = self.sessions.get(&request.session);
                let statement = self.statements.get(&request.statement);
                format!(
                    "request  {}  {}  {}",
                    session.map_or_else(
                        || format!("session {}", request.session),
                        |opened| who(opened)
                    ),
                    statement.map_or("?", |decided| effect(decided)),
                    statement.map_or("?", |decided| decided.facts.normalised.as_str()),
                )
            }
            Entry::Outcome(outcome) => format!(
                "outcome of {}  {} {}  {} rows  {} bytes  {:.1?}",
                outcome.request,
                json!(outcome.ending).as_str().unwrap_or_default(),
                String::from_utf8_lossy(&outcome.sqlstate).trim_matches('\0'),
                outcome.rows,
                outcome.bytes,
                Duration::from_nanos(outcome.duration_ns),
            ),
            Entry::Event(event) => json!(event).to_string(),
        }
    }

    fn object(&self, entry: &Entry) -> Value {
        match entry {
            Entry::SessionOpened(opened) => {
                json!({ "record": "session_opened", "session": opened })
            }
            Entry::StatementDecided(decided) => {
                json!({ "record": "statement_decided", "statement": decided })
            }
            Entry::Requested(request) => {
                let session = self.sessions.get(&request.session);
                let statement = self.statements.get(&request.statement);
                json!({
                    "record": "requested",
                    "session": request.session,
                    "principal": session.map(|opened| principal(opened)),
                    "exe": session.map(|opened| &opened.evidence.exe_path),
                    "uid": session.map(|opened| opened.evidence.uid),
                    "identity": session.map(|opened| &opened.identity),
                    "binding": session.map(|opened| &opened.proof),
                    "evidence": session.map(|opened| &opened.evidence),
                    "database": session.map(|opened| &opened.target.database),
                    "statement": request.statement,
                    "kinds": statement.map(|decided| &decided.facts.kinds),
                    "relations": statement.map(|decided| &decided.facts.relations),
                    "text": statement.map(|decided| &decided.facts.normalised),
                    "effect": statement.map(|decided| effect(decided)),
                    "rules": statement.map(|decided| &decided.decision.rules),
                    "via": request.via,
                    "parameters_hash": format!("{:016x}", request.parameters_hash),
                    "request_bytes": request.request_bytes,
                })
            }
            Entry::Outcome(outcome) => json!({
                "record": "outcome",
                "request": outcome.request,
                "ending": outcome.ending,
                "rows": outcome.rows,
                "bytes": outcome.bytes,
                "duration_ns": outcome.duration_ns,
                "sqlstate": String::from_utf8_lossy(&outcome.sqlstate).trim_matches('\0'),
            }),
            Entry::Event(event) => json!({ "record": "event", "body": event }),
        }
    }
}

fn principal(opened: &SessionOpened) -> &str {
    opened.identity.as_ref().map_or("unidentified", |identity| {
        identity.principal.subject.as_str()
    })
}

fn who(opened: &SessionOpened) -> String {
    let mut words = principal(opened).to_owned();
    for actor in opened.identity.iter().flat_map(|identity| &identity.actors) {
        words.push_str(" via ");
        words.push_str(&actor.subject);
    }
    let evidence = &opened.evidence;
    format!("{words} uid {} {}", evidence.uid, evidence.exe_path)
}

fn effect(decided: &StatementDecided) -> &'static str {
    match decided.decision.effect {
        Effect::Deny { .. } => "deny",
        Effect::Allow => "allow",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::record::Event;

    #[test]
    fn a_record_is_one_line_that_cannot_steer_the_terminal_and_json_stays_exact() {
        let what = "fine\n  9  a forged line\u{202e}\u{9b}2K";
        let record = Record {
            seq: 8,
            time_ns: 0,
            entry: Entry::Event(Box::new(Event::Incident {
                what: what.to_owned(),
            })),
        };
        let words = Dictionary::default();
        let line = words.line(&record, false);
        assert_eq!(line.lines().count(), 1, "{line}");
        assert!(!line.contains(['\u{202e}', '\u{9b}']), "{line}");
        let json: Value = serde_json::from_str(&words.line(&record, true)).expect("JSON");
        assert!(json.to_string().contains('\u{202e}'), "{json}");
    }
}
