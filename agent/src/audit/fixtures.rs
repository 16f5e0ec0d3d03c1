//! Sessions and statements for the tests of this folder.

use std::{path::Path, sync::Arc};

use weir_policy::{
    Actor, Decision, Effect, Identity, Principal, PrincipalKind, RuleId, Strength, Target,
};
use weir_sql::{Confidence, Facts, Kind, RelationName, RelationUse, Use};

use super::{
    Journal, JournalError, NewSession, Session, Settings, Statement,
    journal::reader::{Position, Reader, Record},
    record::{Ending, Outcome, Via},
};
use crate::{
    capture::Origin,
    clock,
    identity::{Evidence, Proof},
};

/// Small segments, so that tests meet their ends.
pub(crate) fn settings() -> Settings {
    Settings {
        segment_mib: 1,
        reserve_mib: 0,
        ..Settings::default()
    }
}

pub(crate) fn open(state_dir: &Path) -> Arc<Journal> {
    Journal::open(state_dir, &settings()).expect("a journal").0
}

/// Where a test does not care about the time.
impl Journal {
    pub(crate) fn requested(
        &self,
        session: &Session,
        statement: &Statement,
        via: Via,
        parameters_hash: u64,
        request_bytes: u64,
    ) -> Result<u64, JournalError> {
        let now = clock::now_ns();
        self.requested_at(now, session, statement, via, parameters_hash, request_bytes)
    }

    pub(crate) fn outcome(&self, outcome: &Outcome) -> Result<(), JournalError> {
        self.outcome_at(clock::now_ns(), outcome)
    }
}

/// A session of `who`, nobody when empty, with the program `exe`.
pub(crate) fn new_session(who: &str, exe: &str) -> NewSession {
    NewSession {
        origin: Origin {
            destination: "127.0.0.1:5432".parse().expect("an address"),
            tgid: 4242,
            start_boottime_ns: 1,
            uid: 1000,
            audit_session: u32::MAX,
            loginuid: u32::MAX,
            cgroup_id: 7,
            netns_cookie: 1,
            endpoint: 0,
            connected_at_ns: 5,
            socket_cookie: 0,
        },
        evidence: Evidence {
            tgid: 4242,
            comm: "client".to_owned(),
            exe_path: exe.to_owned(),
            uid: 1000,
            cgroup_path: "/user.slice".to_owned(),
            ..Evidence::default()
        },
        identity: (!who.is_empty()).then(|| identity(who)),
        proof: (!who.is_empty()).then(|| Proof {
            key: "audit session 7 of boot b".to_owned(),
            token_fingerprint: format!("fingerprint of {who}'s token"),
            issued_s: 1_700_000_000,
            not_after_s: 1_700_003_600,
            last_verified_s: 1_700_000_060,
            stale: false,
            development: true,
        }),
        target: Target {
            endpoint: "shop".to_owned(),
            environment: "production".to_owned(),
            engine: "postgres".to_owned(),
            database: "shop".to_owned(),
            database_user: "app".to_owned(),
        },
        application_name: Some("test".to_owned()),
        unread: false,
    }
}

/// `bot/bob` is the agent `bot` that acts for `bob`.
fn identity(who: &str) -> Identity {
    let (actor, subject) = who
        .split_once('/')
        .map_or((None, who), |(actor, subject)| (Some(actor), subject));
    Identity {
        principal: Principal {
            issuer: "https://issuer.example".to_owned(),
            subject: subject.to_owned(),
            kind: PrincipalKind::Human,
            display: subject.to_owned(),
            groups: vec!["dba".to_owned()],
            groups_complete: true,
            auth_time: None,
            acr: None,
            amr: Vec::new(),
            claims: std::collections::BTreeMap::new(),
        },
        actors: actor
            .map(|actor| Actor {
                issuer: "https://issuer.example".to_owned(),
                subject: actor.to_owned(),
                client_id: None,
                run_id: None,
            })
            .into_iter()
            .collect(),
        method: "login".to_owned(),
        strength: Strength::Strong,
        purpose: None,
        delegation: None,
    }
}

pub(crate) fn facts(kind: Kind, relations: &[(&str, Use)]) -> Facts {
    Facts {
        kinds: vec![kind],
        relations: relations
            .iter()
            .map(|(name, usage)| RelationUse {
                relation: RelationName {
                    schema: None,
                    name: (*name).to_owned(),
                },
                usage: *usage,
            })
            .collect(),
        functions: Vec::new(),
        statement_count: 1,
        has_where: None,
        limit: None,
        confidence: Confidence::Exact,
        parse_error: None,
        changes_session: false,
        fingerprint: 9,
        normalised: format!("{kind:?} {relations:?}"),
        claimed: Vec::new(),
        resolved: false,
        columns: Vec::new(),
        reachable: Vec::new(),
        literal_free: true,
    }
}

pub(crate) fn allowed() -> Decision {
    Decision {
        effect: Effect::Allow,
        rules: vec![RuleId("default".to_owned())],
        would: Vec::new(),
        tags: Vec::new(),
        obligations: weir_policy::Obligations::default(),
        step_up: None,
    }
}

pub(crate) fn denied() -> Decision {
    Decision {
        effect: Effect::Deny {
            reason: "no".to_owned(),
        },
        rules: vec![RuleId("no-drop".to_owned())],
        would: Vec::new(),
        tags: Vec::new(),
        obligations: weir_policy::Obligations::default(),
        step_up: None,
    }
}

pub(crate) fn outcome(request: u64, ending: Ending, rows: u64, bytes: u64) -> Outcome {
    Outcome {
        request,
        ending,
        rows,
        bytes,
        duration_ns: 1000,
        sqlstate: *b"00000",
    }
}

/// Everything that a journal holds.
pub(crate) fn read_all(state_dir: &Path) -> Vec<Record> {
    let mut reader = Reader::new(&state_dir.join(super::journal::FOLDER), Position::START);
    let mut records = Vec::new();
    while let Some(record) = reader.next().expect("a whole journal") {
        records.push(record);
    }
    records
}
