//! The record's chain: how far it is written, and whether it holds.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{http::StatusCode, response::Response};
use maud::{Markup, html};
use serde::Serialize;
use serde_json::json;

use crate::{
    admin::{
        Role,
        error::Error,
        login::record,
        page::{Column, csrf, heads},
        request::Ask,
    },
    audit::{
        JournalHealth,
        chain::{
            key::PublicKey,
            seal::Seal,
            verify::{Verification, verify_by_step},
        },
        journal::segments,
        reports::period::rfc3339,
    },
    clock, telemetry,
};

/// Segments that are listed, the latest.
const LISTED: usize = 50;

const COLUMNS: &[Column] = &[
    Column::Text("segment"),
    Column::Text("records"),
    Column::Text("sealed (UTC)"),
    Column::Text("Merkle root"),
];

/// One verification at a time, beside the requests.
#[derive(Debug, Default)]
pub(in crate::admin) struct Verifier {
    state: Mutex<State>,
}

#[derive(Debug, Default, Clone, Serialize)]
struct State {
    /// Segments done and all of them, while one runs.
    running: Option<(u64, u64)>,
    last: Option<Verified>,
}

#[derive(Debug, Clone, Serialize)]
struct Verified {
    at: String,
    found: Option<Verification>,
    problem: Option<String>,
}

impl Verifier {
    fn state(&self) -> State {
        self.lock().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `false` when one runs already.
    fn begin(self: &Arc<Self>, state_dir: &Path) -> std::io::Result<bool> {
        if self.lock().running.is_some() {
            return Ok(false);
        }
        self.lock().running = Some((0, 0));
        let (verifier, state_dir) = (Arc::clone(self), state_dir.to_owned());
        // Not among those that answer pages: a large journal takes minutes.
        let thread = std::thread::Builder::new().name("weir-verify".to_owned());
        let spawned = thread.spawn(move || verifier.run(&state_dir));
        if spawned.is_err() {
            self.lock().running = None;
        }
        spawned.map(|_| true)
    }

    fn run(&self, state_dir: &Path) {
        let step = |done, all| self.lock().running = Some((done, all));
        let outcome = PublicKey::open(state_dir)
            .map_err(|error| telemetry::chain(&error))
            .and_then(|key| {
                verify_by_step(state_dir, &key, None, &step)
                    .map_err(|error| telemetry::chain(&error))
            });
        let (found, problem) = match outcome {
            Ok(found) => (Some(found), None),
            Err(problem) => (None, Some(problem)),
        };
        let mut state = self.lock();
        state.running = None;
        state.last = Some(Verified {
            at: rfc3339(clock::now_ns()),
            found,
            problem,
        });
    }
}

#[derive(Debug, Serialize)]
struct Listed {
    segment: u64,
    /// The first and last record, and when it was sealed; `None` while it is written.
    sealed: Option<(u64, u64, String)>,
    root: String,
}

/// `GET /chain`
pub(super) async fn page(ask: Ask) -> Result<Response, Error> {
    let health = ask.web.reach.journal.health();
    let state = ask.web.verifier.state();
    let listed = ask
        .work(|web| {
            list(&web.reach.state_dir, web.reach.journal.folder())
                .map_err(|error| Error::internal("the journal's folder cannot be read", &*error))
        })
        .await?;
    let data = json!({ "journal": health, "verification": state, "segments": listed });
    Ok(ask.answer("Chain", &data, || draw(&ask, &health, &state, &listed)))
}

fn list(
    state_dir: &Path,
    dir: &Path,
) -> Result<Vec<Listed>, Box<dyn std::error::Error + Send + Sync>> {
    let key = PublicKey::open(state_dir)?;
    let mut listed = Vec::new();
    for segment in segments(dir)?.into_iter().rev().take(LISTED) {
        // One that is broken shows as unsealed here; verification says what is wrong with it.
        let seal = Seal::read(dir, segment, &key).ok().flatten();
        listed.push(Listed {
            segment,
            root: seal
                .as_ref()
                .map(|seal| hex::encode(seal.root))
                .unwrap_or_default(),
            sealed: seal.map(|seal| (seal.first_seq, seal.last_seq, rfc3339(seal.sealed_ns))),
        });
    }
    Ok(listed)
}

fn draw(ask: &Ask, health: &JournalHealth, state: &State, listed: &[Listed]) -> Markup {
    html! {
        p.lead { "Records are hash-chained and signed. A key on this host proves that nothing changed after publication elsewhere, no more." }
        @if let Some(failure) = &health.failure { ul.notes aria-label="What is wrong" { li { "Nothing can be recorded: " (failure) } } }
        section.tiles aria-label="The journal" {
            @for (count, name) in [(health.seq, "last record"), (health.synced_seq, "on disk up to"), (health.chained_seq, "chained up to"),
                                   (health.indexed_seq, "indexed up to"), (health.free_mib, "MiB free")] {
                div.tile { b { (count) } span { (name) } }
            }
        }
        section.card aria-labelledby="verification" {
            h2 #verification { "Verification" }
            div role="status" { (said(state)) }
            @if let Some((done, all)) = state.running {
                p { progress aria-label="Segments verified" value=(done) max=(all.max(1)) {} " " a href="/chain" { "Look again" } }
            } @else if ask.visitor.roles.may(Role::Auditor) {
                form method="post" action="/chain/verify" { (csrf(ask)) button type="submit" { "Verify now" } }
            }
        }
        section.card.sheet aria-labelledby="segments" {
            h2 #segments { "Segments" }
            div.scroll tabindex="0" role="region" aria-label="Segments" {
                table {
                    thead { tr { (heads(COLUMNS)) } }
                    tbody {
                        @for one in listed {
                            tr {
                                td data-name="segment" { (one.segment) }
                                @if let Some((first, last, at)) = &one.sealed {
                                    td data-name="records" { (first) " to " (last) }
                                    td.time data-name="sealed (UTC)" { (at.replace('T', " ").replace('Z', "")) }
                                } @else {
                                    td data-name="records" { "being written" }
                                    td data-name="sealed (UTC)" { "not yet" }
                                }
                                td.mono.empty[one.root.is_empty()] data-name="Merkle root" { span { (one.root) } }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn said(state: &State) -> Markup {
    if let Some((done, all)) = state.running {
        return html! { p { "Running: " (done) " of " (all) " segments." } };
    }
    let Some(last) = &state.last else {
        return html! { p { "Not verified since the agent's start." } };
    };
    let at = last.at.replace('T', " ").replace('Z', " UTC");
    html! {
        @match (&last.found, &last.problem) {
            (Some(found), _) => {
                @if found.intact { p { b { "Intact" } ", verified " (at) "." } }
                @for fault in &found.faults {
                    p.broken { b { "BROKEN" } ", verified " (at) ": segment " (fault.segment) ", from record "
                        (fault.first_seq) ": " (fault.what) "." }
                }
                dl.facts {
                    div { dt { "Records" } dd { (found.retired_seq + 1) " to " (found.covered_seq) } }
                    div.wide { dt { "Chain head" } dd.mono { (found.head) } }
                }
            }
            (None, problem) => p.broken { "Could not be verified " (at) ": " (problem.as_deref().unwrap_or_default()) "." },
        }
    }
}

/// `POST /chain/verify`
pub(super) async fn verify(ask: Ask) -> Result<Response, Error> {
    record(&ask, "verification", ask.visitor.identity.clone())?;
    let begun = ask
        .web
        .verifier
        .begin(&ask.web.reach.state_dir)
        .map_err(|error| Error::internal("the verification cannot be started", &error))?;
    if !begun {
        return Err(Error::new(
            StatusCode::CONFLICT,
            "a verification runs already",
        ));
    }
    Ok(ask.done("/chain", &json!({ "running": true })))
}
