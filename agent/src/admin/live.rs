//! Who uses which table just now: the journal's last records as they come, folded into flows from identity over process
//! to table. Nobody pays for it while nobody looks, and statements never do: the records are read from the journal's file.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use serde::Serialize;
use tokio::{
    sync::{Notify, watch},
    task::spawn_blocking,
    time::{sleep, timeout},
};

use super::Reach;
use crate::{
    audit::{
        journal::reader::{Position, ReadError, Reader, Record, last_segments},
        record::{Ending, Entry, SessionOpened, StatementDecided, Via},
    },
    clock,
    sessions::shown_identity,
};

/// How far back a flow is shown.
const WINDOW: Duration = Duration::from_mins(15);
/// Flows that are remembered, and those of them that are shown.
const MOST_FLOWS: usize = 2_000;
const SHOWN_FLOWS: usize = 300;
/// Requests under way that are remembered; of those beyond it a late refusal does not show.
const MOST_ASKED: usize = 10_000;
/// Between two looks at the journal.
const STEP: Duration = Duration::from_millis(250);
/// Records of one look: the first has a whole segment before it.
const RECORDS: usize = 100_000;
/// Without anybody who looks, what was read is forgotten after so long.
const LINGER: Duration = Duration::from_secs(30);
/// For the first look.
const FIRST: Duration = Duration::from_secs(10);

/// What statements of one process did to one table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Flow {
    /// Who, and through whom.
    pub(super) identity: String,
    /// Whether the provider says so.
    pub(super) identified: bool,
    /// The program's file.
    pub(super) process: String,
    /// Empty while nothing was asked.
    pub(super) database: String,
    /// Empty for what names no table.
    pub(super) table: String,
    /// Of the columns that were used.
    pub(super) classes: Vec<String>,
    pub(super) statements: u64,
    pub(super) denied: u64,
    /// Answered with less than the data.
    pub(super) masked: u64,
    /// Sessions of the process that are open now.
    pub(super) sessions: usize,
    /// Nanoseconds since the epoch; zero when nothing was asked.
    pub(super) last_ns: u64,
}

impl Flow {
    /// The strictest of what happened.
    pub(super) fn effect(&self) -> &'static str {
        match self {
            Self { denied: 1.., .. } => "refused",
            Self { masked: 1.., .. } => "masked",
            Self { statements: 0, .. } => "idle",
            _ => "allowed",
        }
    }
}

/// All that is shown at once.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(super) struct Picture {
    /// Sessions that are open now.
    pub(super) sessions: usize,
    /// Latest first.
    pub(super) flows: Vec<Flow>,
    /// Flows that did not fit.
    pub(super) left_out: usize,
}

/// The door to the picture.
pub(super) struct Live {
    reach: Reach,
    picture: watch::Sender<Option<Arc<Picture>>>,
    looked_for: Notify,
}

impl Live {
    pub(super) fn new(reach: Reach) -> Self {
        Self {
            reach,
            picture: watch::Sender::new(None),
            looked_for: Notify::new(),
        }
    }

    /// Each picture from now on; the present one first.
    pub(super) fn watch(&self) -> watch::Receiver<Option<Arc<Picture>>> {
        let receiver = self.picture.subscribe();
        self.looked_for.notify_one();
        receiver
    }

    /// The picture as it is now.
    pub(super) async fn now(&self) -> Arc<Picture> {
        let mut pictures = self.watch();
        let first = timeout(FIRST, pictures.wait_for(Option::is_some)).await;
        match first {
            Ok(Ok(picture)) => picture.clone().unwrap_or_default(),
            _ => Arc::default(),
        }
    }
}

/// Keeps the picture true while somebody looks at it.
pub(super) async fn keep(live: Arc<Live>) {
    loop {
        live.looked_for.notified().await;
        let mut tail = Box::new(Tail::default());
        let mut looked = Instant::now();
        while looked.elapsed() < LINGER {
            if live.picture.receiver_count() > 0 {
                looked = Instant::now();
            }
            let reach = live.reach.clone();
            let step = spawn_blocking(move || {
                let caught_up = tail.step(&reach);
                let picture = tail.picture(&reach);
                (tail, caught_up, picture)
            });
            let Ok((same, caught_up, picture)) = step.await else {
                tracing::error!("the live map cannot be made");
                return;
            };
            tail = same;
            if !caught_up {
                continue;
            }
            live.picture.send_if_modified(|shown| {
                if shown.as_deref() == Some(&picture) {
                    return false;
                }
                *shown = Some(Arc::new(picture));
                true
            });
            sleep(STEP).await;
        }
        live.picture.send_replace(None);
    }
}

type Key = (String, String, String, String);

/// The journal's end, as far as it was read.
#[derive(Default)]
struct Tail {
    reader: Option<Reader>,
    segment: u64,
    sessions: HashMap<u64, Who>,
    statements: HashMap<u64, What>,
    /// Requests that rules let pass and that have not ended, each with its session and statement.
    asked: BTreeMap<u64, (u64, u64)>,
    flows: BTreeMap<Key, Flow>,
}

struct Who {
    identity: String,
    identified: bool,
    process: String,
    database: String,
}

struct What {
    tables: Vec<(String, Vec<String>)>,
    denied: bool,
    masked: bool,
}

impl Tail {
    /// Reads on; `false` when there is more to read.
    fn step(&mut self, reach: &Reach) -> bool {
        for _ in 0..RECORDS {
            match self.next(reach) {
                Ok(Some(record)) => self.take(record, reach),
                Ok(None) => return true,
                Err(error) => {
                    tracing::warn!(%error, "the live map passes over a part of the journal");
                    let skipped = self.reader.as_mut().map(Reader::skip_broken);
                    if !matches!(skipped, Some(Ok(true))) {
                        // From its present end, at the next look.
                        self.reader = None;
                        return true;
                    }
                }
            }
        }
        false
    }

    fn next(&mut self, reach: &Reach) -> Result<Option<Record>, ReadError> {
        let reader = if let Some(reader) = &mut self.reader {
            reader
        } else {
            let dir = reach.journal.folder();
            let from = last_segments(dir, 1)?.unwrap_or(Position::START);
            self.reader.insert(Reader::new(dir, from))
        };
        let record = reader.next()?;
        let segment = reader.position().segment;
        if segment != self.segment {
            // A segment repeats what its records refer to.
            self.segment = segment;
            self.sessions.clear();
            self.statements.clear();
            self.asked.clear();
        }
        Ok(record)
    }

    fn take(&mut self, record: Record, reach: &Reach) {
        match record.entry {
            Entry::SessionOpened(opened) => {
                self.sessions.insert(opened.session, who(*opened));
            }
            Entry::StatementDecided(decided) => {
                self.statements.insert(decided.id, what(&decided, reach));
            }
            Entry::Requested(request) => {
                let (Some(who), Some(what)) = (
                    self.sessions.get(&request.session),
                    self.statements.get(&request.statement),
                ) else {
                    return;
                };
                // Nothing runs by being prepared; a refusal shows there already.
                if request.via == Via::Parse && !what.denied {
                    return;
                }
                count(&mut self.flows, who, what, record.time_ns);
                if !what.denied {
                    self.asked
                        .insert(record.seq, (request.session, request.statement));
                    while self.asked.len() > MOST_ASKED {
                        self.asked.pop_first();
                    }
                }
            }
            Entry::Outcome(outcome) => {
                let asked = self.asked.remove(&outcome.request);
                if outcome.ending == Ending::Denied
                    && let Some((session, statement)) = asked
                    && let Some(who) = self.sessions.get(&session)
                    && let Some(what) = self.statements.get(&statement)
                {
                    refuse(&mut self.flows, who, what);
                }
            }
            Entry::Event(_) => {}
        }
    }

    fn picture(&mut self, reach: &Reach) -> Picture {
        let since = clock::now().saturating_sub(WINDOW).as_nanos();
        self.flows
            .retain(|_, flow| u128::from(flow.last_ns) >= since);
        let open = reach.sessions.list();
        let mut processes: BTreeMap<(String, String), (bool, usize)> = BTreeMap::new();
        for session in &open {
            let key = (session.identity.clone(), session.process.clone());
            processes.entry(key).or_insert((session.identified, 0)).1 += 1;
        }
        let mut flows: Vec<Flow> = self.flows.values().cloned().collect();
        for flow in &mut flows {
            let key = (flow.identity.clone(), flow.process.clone());
            flow.sessions = processes.get(&key).map_or(0, |(_, count)| *count);
        }
        let idle = processes.into_iter().filter(|((identity, process), _)| {
            !self
                .flows
                .values()
                .any(|flow| flow.identity == *identity && flow.process == *process)
        });
        let idle: Vec<Flow> = idle
            .map(|((identity, process), (identified, sessions))| Flow {
                identity,
                identified,
                process,
                database: String::new(),
                table: String::new(),
                classes: Vec::new(),
                statements: 0,
                denied: 0,
                masked: 0,
                sessions,
                last_ns: 0,
            })
            .collect();
        flows.sort_by_key(|flow| std::cmp::Reverse(flow.last_ns));
        flows.extend(idle);
        let left_out = flows.len().saturating_sub(SHOWN_FLOWS);
        flows.truncate(SHOWN_FLOWS);
        Picture {
            sessions: open.len(),
            flows,
            left_out,
        }
    }
}

fn count(flows: &mut BTreeMap<Key, Flow>, who: &Who, what: &What, time_ns: u64) {
    for (table, classes) in &what.tables {
        let key = key(who, table);
        if flows.len() >= MOST_FLOWS && !flows.contains_key(&key) {
            forget_oldest(flows);
        }
        let flow = flows.entry(key).or_insert_with(|| Flow {
            identity: who.identity.clone(),
            identified: who.identified,
            process: who.process.clone(),
            database: who.database.clone(),
            table: table.clone(),
            classes: Vec::new(),
            statements: 0,
            denied: 0,
            masked: 0,
            sessions: 0,
            last_ns: 0,
        });
        flow.statements += 1;
        flow.denied += u64::from(what.denied);
        flow.masked += u64::from(what.masked);
        flow.last_ns = time_ns;
        for class in classes {
            if !flow.classes.contains(class) {
                flow.classes.push(class.clone());
            }
        }
    }
}

/// What was counted was refused after all: by an approver, or on its way.
fn refuse(flows: &mut BTreeMap<Key, Flow>, who: &Who, what: &What) {
    for (table, _) in &what.tables {
        if let Some(flow) = flows.get_mut(&key(who, table)) {
            flow.denied += 1;
        }
    }
}

fn key(who: &Who, table: &str) -> Key {
    (
        who.identity.clone(),
        who.process.clone(),
        who.database.clone(),
        table.to_owned(),
    )
}

/// A quarter of them, so that this is rare.
fn forget_oldest(flows: &mut BTreeMap<Key, Flow>) {
    let mut times: Vec<u64> = flows.values().map(|flow| flow.last_ns).collect();
    times.sort_unstable();
    let limit = times.get(times.len() / 4).copied().unwrap_or(u64::MAX);
    flows.retain(|_, flow| flow.last_ns > limit);
}

fn who(opened: SessionOpened) -> Who {
    Who {
        identity: shown_identity(opened.identity.as_ref()),
        identified: opened.identity.is_some(),
        process: opened.evidence.exe_path,
        database: opened.target.database,
    }
}

fn what(decided: &StatementDecided, reach: &Reach) -> What {
    let pack = &reach.policy.current().pack;
    let facts = &decided.facts;
    let obligations = &decided.decision.obligations;
    let mut tables: Vec<(String, Vec<String>)> = Vec::new();
    for used in &facts.relations {
        let relation = &used.relation;
        let name = decided.name_of(relation);
        if tables.iter().any(|(known, _)| *known == name) {
            continue;
        }
        let mut classes: Vec<String> = facts
            .columns
            .iter()
            .filter(|column| column.column.relation == relation.name)
            .flat_map(|column| pack.classes_of(&column.column))
            .collect();
        classes.sort();
        classes.dedup();
        tables.push((name, classes));
    }
    if tables.is_empty() {
        tables.push((String::new(), Vec::new()));
    }
    What {
        tables,
        denied: !decided.decision.permits(),
        masked: obligations.shown_masks(facts).next().is_some() || !obligations.filters.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn somebody(process: &str) -> Who {
        Who {
            identity: "alice".to_owned(),
            identified: true,
            process: process.to_owned(),
            database: "shop".to_owned(),
        }
    }

    fn reads(table: &str, denied: bool) -> What {
        What {
            tables: vec![(table.to_owned(), vec!["pii".to_owned()])],
            denied,
            masked: false,
        }
    }

    #[test]
    fn statements_of_one_process_on_one_table_are_one_flow() {
        let mut flows = BTreeMap::new();
        let who = somebody("/usr/bin/psql");
        count(&mut flows, &who, &reads("app.orders", false), 1);
        count(&mut flows, &who, &reads("app.orders", true), 2);
        count(&mut flows, &who, &reads("app.people", false), 3);
        assert_eq!(flows.len(), 2);
        let orders = flows
            .values()
            .find(|flow| flow.table == "app.orders")
            .expect("a flow");
        assert_eq!(
            (orders.statements, orders.denied, orders.last_ns),
            (2, 1, 2)
        );
        assert_eq!(
            (orders.effect(), orders.classes.as_slice()),
            ("refused", &["pii".to_owned()][..])
        );
    }

    #[test]
    fn what_an_approver_refuses_shows_as_refused() {
        let mut flows = BTreeMap::new();
        let who = somebody("/usr/bin/psql");
        let what = reads("app.orders", false);
        count(&mut flows, &who, &what, 1);
        count(&mut flows, &who, &what, 2);
        refuse(&mut flows, &who, &what);
        let flow = flows.values().next().expect("a flow");
        assert_eq!(
            (flow.statements, flow.denied, flow.effect()),
            (2, 1, "refused")
        );
    }

    #[test]
    fn memory_is_bounded_and_the_oldest_go_first() {
        let mut flows = BTreeMap::new();
        let who = somebody("/usr/bin/psql");
        for at in 0..=MOST_FLOWS {
            let at_ns = u64::try_from(at).expect("small");
            count(&mut flows, &who, &reads(&format!("t{at}"), false), at_ns);
        }
        assert!(flows.len() <= MOST_FLOWS);
        assert!(flows.values().all(|flow| flow.table != "t0"));
        assert!(
            flows
                .values()
                .any(|flow| flow.table == format!("t{MOST_FLOWS}"))
        );
    }
}
