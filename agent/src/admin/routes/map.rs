//! The live map: identity → process → table, as it happens.

use std::{
    convert::Infallible,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::response::{
    IntoResponse as _, Response,
    sse::{Event, KeepAlive, Sse},
};
use maud::{Markup, html};
use tokio::{sync::OwnedSemaphorePermit, time::timeout};

use crate::{
    admin::{
        Role,
        error::Error,
        live::{Flow, Picture},
        page::{Column, heads, time},
        request::{self, Ask, Connection, Web},
        visits::VisitKey,
    },
    control::peer::Peer,
};

/// `GET /`
pub(super) async fn page(ask: Ask) -> Result<Response, Error> {
    let picture = ask.web.live.now().await;
    Ok(ask.answer("Live map", &*picture, || draw(&picture)))
}

fn draw(picture: &Picture) -> Markup {
    html! {
        p.lead { "Who reaches which table through which program, over the last quarter of an hour." }
        section.card.map aria-label="Map" {
            div.maphead {
                ul.legend aria-label="What the colours mean" {
                    @for (effect, words) in EFFECTS { li { span class={ "dot " (effect) } {} (words) } }
                    li { span."dot classified" {} "classified data" }
                    li { span."dot unknown" {} "unidentified" }
                }
                p { span #map-count { (sessions(picture.sessions)) } " " span #map-state role="status" { "Shown as of now." } }
                button #map-pause type="button" hidden { "Pause" }
            }
            div #map data-events="/api/events" hidden[picture.flows.is_empty()] {}
            p #map-none.quiet hidden[!picture.flows.is_empty()] { "Nobody has asked a database anything." }
        }
        section.card.sheet.flows aria-labelledby="flows" hidden[picture.flows.is_empty()] {
            details #map-table open {
                summary { h2 #flows { "The same as a table" } }
                div.scroll tabindex="0" role="region" aria-label="Flows" {
                    table {
                        thead { tr { (heads(COLUMNS)) } }
                        tbody #map-rows {
                            @for flow in &picture.flows { (row(flow)) }
                        }
                    }
                }
                p #map-more.none hidden[picture.left_out == 0] { (more(picture.left_out)) }
            }
        }
        script src="/assets/map.js" defer {}
    }
}

fn row(flow: &Flow) -> Markup {
    html! {
        tr {
            td data-name="who" { (flow.identity) }
            td.mono data-name="program" { span { (flow.process) } }
            td.empty[flow.database.is_empty()] data-name="database" { (flow.database) }
            td.empty[flow.table.is_empty()] data-name="table" { (flow.table) }
            td.empty[flow.classes.is_empty()] data-name="classes" { (flow.classes.join(", ")) }
            td data-name="effect" { span class={ "tag " (flow.effect()) } { (flow.effect()) } }
            td.number data-name="statements" { (flow.statements) }
            td.number.empty[flow.denied == 0] data-name="refused" { (flow.denied) }
            td.number.empty[flow.masked == 0] data-name="masked" { (flow.masked) }
            td.number.empty[flow.sessions == 0] data-name="open sessions" { (flow.sessions) }
            td.time.empty[flow.last_ns == 0] data-name="last (UTC)" { (last(flow)) }
        }
    }
}

/// When it was used last; empty when nothing was asked.
fn last(flow: &Flow) -> String {
    if flow.last_ns > 0 {
        time(flow.last_ns)
    } else {
        String::new()
    }
}

fn sessions(count: usize) -> String {
    match count {
        0 => "No session is open.".to_owned(),
        1 => "1 session is open.".to_owned(),
        count => format!("{count} sessions are open."),
    }
}

fn more(left_out: usize) -> String {
    format!("{left_out} older flows are left out.")
}

/// `GET /events`: a picture each time it changes, until the visit ends, or the process that follows may view no more.
pub(super) async fn events(ask: Ask) -> Result<Response, Error> {
    let permit = Arc::clone(&ask.web.streams)
        .try_acquire_owned()
        .map_err(|_| Error::too_often(Duration::from_secs(10)))?;
    let pictures = ask.web.live.watch();
    let following = Following {
        web: Arc::clone(&ask.web),
        who: match (ask.visitor.visit, &ask.connection) {
            (Some(visit), _) => Follower::Visit(visit),
            (None, Connection::Socket(peer)) => Follower::Process(Arc::clone(peer)),
            (None, Connection::Tls(_)) => return Err(Error::not_found()),
        },
        looked: Instant::now(),
        pictures,
        first: true,
        _permit: permit,
    };
    let stream = futures_util::stream::unfold(following, |mut following| async move {
        let event = following.next().await?;
        Some((Ok::<_, Infallible>(event), following))
    });
    Ok(Sse::new(stream)
        .keep_alive(KeepAlive::new().interval(Duration::from_secs(15)))
        .into_response())
}

struct Following {
    web: Arc<Web>,
    who: Follower,
    /// When it was asked last whether the process may view.
    looked: Instant,
    pictures: tokio::sync::watch::Receiver<Option<Arc<Picture>>>,
    first: bool,
    _permit: OwnedSemaphorePermit,
}

enum Follower {
    /// A browser that is logged in.
    Visit(VisitKey),
    /// A process of this host: who it is may end while its connection lasts.
    Process(Arc<Peer>),
}

impl Following {
    fn may_go_on(&mut self) -> bool {
        match &self.who {
            Follower::Visit(visit) => self.web.visits.is_live(visit),
            // Looking at a process costs more, and pictures may come many a second.
            Follower::Process(_) if self.looked.elapsed() < LOOK_AGAIN => true,
            Follower::Process(peer) => {
                self.looked = Instant::now();
                request::of_process(&self.web, peer)
                    .is_ok_and(|visitor| visitor.roles.may(Role::Viewer))
            }
        }
    }

    async fn next(&mut self) -> Option<Event> {
        loop {
            let is_new = std::mem::take(&mut self.first)
                || match timeout(LOOK_AGAIN, self.pictures.changed()).await {
                    Ok(Ok(())) => true,
                    Ok(Err(_)) => return None,
                    // Only to see whether they may go on.
                    Err(_) => false,
                };
            // After the wait: that may have been long, and what comes is not for who may view no more.
            if !self.may_go_on() {
                return None;
            }
            if !is_new {
                continue;
            }
            let picture = self.pictures.borrow_and_update().clone();
            if let Some(picture) = picture {
                let rows: Vec<_> = picture
                    .flows
                    .iter()
                    .map(|flow| {
                        let mut row = serde_json::to_value(flow).unwrap_or_default();
                        row["effect"] = flow.effect().into();
                        row["last"] = last(flow).into();
                        row
                    })
                    .collect();
                let data = serde_json::json!({
                    "sessions": sessions(picture.sessions),
                    "flows": rows,
                    "more": (picture.left_out > 0).then(|| more(picture.left_out)),
                });
                return Some(Event::default().event("picture").data(data.to_string()));
            }
        }
    }
}

const LOOK_AGAIN: Duration = Duration::from_secs(2);
const EFFECTS: &[(&str, &str)] = &[
    ("allowed", "allowed"),
    ("masked", "masked or filtered"),
    ("refused", "refused"),
    ("idle", "connected, nothing asked"),
];
const COLUMNS: &[Column] = &[
    Column::Text("who"),
    Column::Text("program"),
    Column::Text("database"),
    Column::Text("table"),
    Column::Text("classes"),
    Column::Text("effect"),
    Column::Number("statements"),
    Column::Number("refused"),
    Column::Number("masked"),
    Column::Number("open sessions"),
    Column::Text("last (UTC)"),
];
