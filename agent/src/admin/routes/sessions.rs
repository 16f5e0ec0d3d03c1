//! Live sessions, and ending one.

use axum::{http::StatusCode, response::Response};
use maud::{Markup, html};
use serde_json::json;

use crate::{
    admin::{
        Role,
        error::Error,
        page::{Column, csrf, heads},
        request::Ask,
    },
    holds::check_reason,
    sessions::{EndError, EndOrder, Summary},
};

/// Rows of the page; programs get all of them.
const SHOWN: usize = 500;

const COLUMNS: &[Column] = &[
    Column::Text("session"),
    Column::Text("who"),
    Column::Text("program"),
    Column::Number("pid"),
    Column::Text("destination"),
    Column::Text("database"),
    Column::Number("requests"),
    Column::Number("refused"),
    Column::Number("masked"),
];

/// `GET /sessions`
pub(super) async fn list(ask: Ask) -> Result<Response, Error> {
    let sessions = ask.web.reach.sessions.list();
    let data = json!({ "sessions": sessions, "totals": ask.web.reach.sessions.totals() });
    Ok(ask.answer("Sessions", &data, || draw(&ask, &sessions)))
}

fn draw(ask: &Ask, sessions: &[Summary]) -> Markup {
    let totals = ask.web.reach.sessions.totals();
    let may_end = ask.visitor.roles.may(Role::Admin);
    html! {
        p.lead { "Connections to databases that are open now, each with who is behind it. " a href="/sessions" { "Look again" } }
        section.tiles aria-label="Counts since the agent's start" {
            @for (count, name) in [(totals.live as u64, "open"), (totals.opened, "opened"), (totals.refused, "connections refused"),
                                   (totals.requests, "requests"), (totals.denied, "refused"), (totals.masked, "masked")] {
                div.tile { b { (count) } span { (name) } }
            }
        }
        section.card.sheet aria-labelledby="open" {
            h2 #open { "Open sessions" }
            @if sessions.is_empty() {
                p.none { "No session is open." }
            } @else {
                div.scroll tabindex="0" role="region" aria-label="Open sessions" {
                    table {
                        thead { tr {
                            (heads(COLUMNS))
                            @if may_end { th scope="col" { "end" } }
                        } }
                        tbody {
                            @for session in sessions.iter().take(SHOWN) { (row(ask, session, may_end)) }
                        }
                    }
                }
                @if sessions.len() > SHOWN { p.none { (sessions.len() - SHOWN) " more are left out." } }
            }
        }
    }
}

fn row(ask: &Ask, session: &Summary, may_end: bool) -> Markup {
    html! {
        tr {
            td data-name="session" { (session.session) }
            td data-name="who" { (session.identity) }
            td.mono data-name="program" { span { (session.process) } }
            td.number data-name="pid" { (session.pid) }
            td data-name="destination" { (session.destination) }
            td data-name="database" { (session.database) }
            td.number data-name="requests" { (session.requests) }
            td.number data-name="refused" { (session.denied) }
            td.number data-name="masked" { (session.masked) }
            @if may_end {
                td data-name="end" {
                    form method="post" action={ "/sessions/" (session.session) "/end" } {
                        (csrf(ask))
                        input type="text" name="reason" required maxlength="500" size="14" placeholder="why" aria-label={ "Why session " (session.session) " is ended" };
                        " " button.danger type="submit" aria-label={ "End session " (session.session) " of " (session.identity) } { "End" }
                    }
                }
            }
        }
    }
}

/// `POST /sessions/{id}/end`
pub(super) async fn end(ask: Ask) -> Result<Response, Error> {
    let session = ask.number("id")?;
    let reason = ask.form("reason").unwrap_or_default();
    check_reason(reason).map_err(|error| Error::from(&error))?;
    let order = EndOrder {
        session,
        administrator: ask.visitor.identity.clone(),
        evidence: ask.visitor.evidence.as_deref().cloned(),
        reason: reason.to_owned(),
    };
    let reach = &ask.web.reach;
    match reach.sessions.end_by_order(order, &reach.journal) {
        Ok(()) => Ok(ask.done("/sessions", &json!({ "ended": session }))),
        Err(error @ EndError::NoSession { .. }) => {
            Err(Error::new(StatusCode::NOT_FOUND, error.to_string())
                .hint("it may have ended by itself"))
        }
        Err(error @ EndError::Unrecorded { .. }) => Err(Error::internal(
            "the session was ended, and this could not be recorded",
            &error,
        )),
    }
}
