//! Statements that wait for an approval: what may be seen before deciding, and the decision. The exact text and values are
//! shown to who may decide, when asked for, and never before.

use axum::response::Response;
use maud::{Markup, html};
use serde_json::json;
use weir_policy::Identity;

use crate::{
    admin::{
        Role,
        error::Error,
        page::{self, Column, csrf, heads, moment, time},
        request::{Ask, Wants},
    },
    audit::record::Verdict,
    holds::{Choices, Decision, Demand, Estimate, Exact, Grant, Summary, View},
};

/// `GET /approvals`
pub(super) async fn list(ask: Ask) -> Result<Response, Error> {
    let holds = &ask.web.reach.holds;
    let viewer = viewer(&ask)?;
    let waiting = holds.list(viewer);
    let mut lasting = holds.grants();
    if let Some(viewer) = viewer {
        lasting.retain(|grant| grant.concerns(viewer));
    }
    let data = json!({ "waiting": waiting, "lasting": lasting });
    Ok(ask.answer("Approvals", &data, || draw(&ask, &waiting, &lasting)))
}

/// For whom approvals are shown, as on the control socket: people see what they ask for or may decide about, and who
/// reads the record all of it.
fn viewer(ask: &Ask) -> Result<Option<&Identity>, Error> {
    if ask.visitor.roles.may(Role::Auditor) {
        return Ok(None);
    }
    let identity = ask.visitor.identity.as_ref();
    identity.map(Some).ok_or_else(Error::not_found)
}

fn draw(ask: &Ask, waiting: &[Summary], lasting: &[Grant]) -> Markup {
    html! {
        p.lead { "Statements that rules hold until somebody agrees. " a href="/approvals" { "Look again" } }
        section.card.sheet aria-labelledby="waiting" {
            h2 #waiting { "Waiting" }
            @if waiting.is_empty() { p.none { "Nothing waits." } }
            @else {
                div.scroll tabindex="0" role="region" aria-label="Waiting" {
                    table {
                        thead { tr { (heads(WAITING)) } }
                        tbody {
                            @for one in waiting {
                                tr {
                                    td data-name="approval" { a href={ "/approvals/" (one.id) } { "Approval " (one.id) } }
                                    td data-name="who" { (one.requester) }
                                    td data-name="database" { (one.database) " as " (one.database_user) }
                                    td.mono.long data-name="statement" { span { (one.text) } }
                                    td data-name="rules" { (one.rules.join(", ")) }
                                    td.time data-name="until (UTC)" { (time(one.expires_ns)) }
                                }
                            }
                        }
                    }
                }
            }
        }
        section.card.sheet aria-labelledby="lasting" {
            h2 #lasting { "Approvals that last" }
            @if lasting.is_empty() { p.none { "There are none." } }
            @else {
                div.scroll tabindex="0" role="region" aria-label="Approvals that last" {
                    table {
                        thead { tr {
                            (heads(LASTING))
                            @if ask.visitor.roles.may(Role::Approver) { th scope="col" { "take back" } }
                        } }
                        tbody { @for grant in lasting { (grant_row(ask, grant)) } }
                    }
                }
            }
        }
    }
}

fn grant_row(ask: &Ask, grant: &Grant) -> Markup {
    html! {
        tr {
            td data-name="approval" { (grant.approval) }
            td data-name="who" { (grant.requester) }
            td.mono.long data-name="statement" { span { (grant.repeated.text) } }
            td data-name="by" { (grant.approvers.join(", ")) }
            td data-name="reason" { (grant.reason) }
            td.time data-name="until (UTC)" { (time(grant.until_ns)) }
            @if ask.visitor.roles.may(Role::Approver) {
                td data-name="take back" {
                    form method="post" action={ "/approvals/" (grant.approval) "/revoke" } {
                        (csrf(ask))
                        input type="text" name="reason" required maxlength="500" size="14" placeholder="why" aria-label={ "Why approval " (grant.approval) " is taken back" };
                        " " button.danger type="submit" aria-label={ "Take back approval " (grant.approval) } { "Take back" }
                    }
                }
            }
        }
    }
}

/// `GET /approvals/{id}`
pub(super) async fn show(ask: Ask) -> Result<Response, Error> {
    let id = ask.number("id")?;
    let view = ask.web.reach.holds.show(id, viewer(&ask)?).ok_or_else(|| {
        Error::not_found().hint(
            "it may have been decided, given up or taken back: the report of approvals says which",
        )
    })?;
    Ok(ask.answer(&format!("Approval {id}"), &view, || shown(&ask, &view)))
}

fn shown(ask: &Ask, view: &View) -> Markup {
    let summary = &view.summary;
    html! {
        section.card aria-label="What waits" {
            dl.facts {
                div.wide { dt { "Statement, literals replaced" } dd.mono { (summary.text) } }
                div.wide { dt { "Why it is held" } dd { (summary.reason) } }
                div { dt { "Who asks" } dd { (summary.requester) } }
                div { dt { "Waits until" } dd { (moment(summary.expires_ns)) } }
                div { dt { "Purpose" } dd { (view.purpose.as_deref().unwrap_or("none given")) } }
                div { dt { "Database" } dd { (summary.endpoint) ", " (summary.database) " as " (summary.database_user) } }
                div { dt { "Does" } dd { (view.kinds.join(", ")) } }
                div { dt { "Touches" } dd { (view.relations.join(", ")) } }
                div.wide { dt { "Columns" } dd { (view.columns.join(", ")) } }
                div { dt { "The server expects" } dd { (estimate(view.estimate.as_ref())) } }
                @if view.rewritten {
                    div { dt { "Hidden" } dd { "the server gets it with data masked or filtered" } }
                }
                div { dt { "In a transaction" } dd { @if view.in_transaction { "yes: its locks are held meanwhile" } @else { "no" } } }
                div { dt { "Program" } dd.mono { (summary.process) } }
                div { dt { "Bound values" } dd { (view.values_bytes) " bytes" } }
                div.wide { dt { "Processes, child first" } dd.mono { (view.lineage.join(" ← ")) } }
                div.wide { dt { "Cgroup" } dd.mono { (view.cgroup) } }
                div.wide { dt { "SHA-256 of the exact text" } dd.mono { (view.text_sha256) } }
            }
        }
        section.card aria-labelledby="demands" {
            h2 #demands { "Who has to agree" }
            ul { @for demand in &summary.demands { li { (wanted(demand)) } } }
        }
        @match choices(ask, summary.id) {
            Ok(choices) => (forms(ask, summary, &choices)),
            Err(why) => (obstacle(&why)),
        }
    }
}

/// What the visitor may do about it.
fn choices(ask: &Ask, id: u64) -> Result<Choices, Error> {
    let roles = ask.visitor.roles;
    if !roles.may(Role::Approver) {
        return Err(Error::without_role(Role::Approver, roles));
    }
    let choices = ask.web.reach.holds.choices(id, &ask.approver()?);
    choices.map_err(|error| Error::from(&error))
}

/// Why the visitor may not decide.
fn obstacle(why: &Error) -> Markup {
    html! {
        section.card aria-labelledby="decide" {
            h2 #decide { "You cannot decide about it" }
            (why.told())
        }
    }
}

fn forms(ask: &Ask, summary: &Summary, choices: &Choices) -> Markup {
    let lasts = summary
        .demands
        .iter()
        .all(|demand| demand.reuse_s.is_some());
    let action = format!("/approvals/{}/decide", summary.id);
    html! {
        @match (&choices.approve, &choices.refuse) {
            (_, Err(why)) => (obstacle(&Error::from(why))),
            (approve, Ok(())) => section.card aria-labelledby="decide" {
                h2 #decide { "Decide" }
                @if let Err(why) = approve { (Error::from(why).told()) }
                form.decide method="post" action=(action) {
                    (csrf(ask))
                    p { label { "Why, in one line " input type="text" name="reason" required maxlength="500" size="60"; } }
                    @if lasts && approve.is_ok() {
                        p { label { "The same statement may run again for " input type="text" name="for" size="6" placeholder="1h"; } }
                    }
                    p {
                        @if approve.is_ok() { button.main type="submit" name="verdict" value="approved" { "Approve" } " " }
                        button.danger type="submit" name="verdict" value="denied" { "Refuse" }
                    }
                }
            },
        }
        @if choices.emergency {
            section.card aria-labelledby="emergency" {
                h2 #emergency { "In an emergency" }
                p { "The rules are set aside for this statement, at once. That is recorded, and raises an alarm." }
                form.decide method="post" action=(action) {
                    (csrf(ask))
                    input type="hidden" name="break_glass" value="yes";
                    p { label { "What the emergency is " input type="text" name="reason" required maxlength="500" size="60"; } }
                    p { button.danger type="submit" name="verdict" value="approved" { "Set the rules aside" } }
                }
            }
        }
        @if choices.is_any() {
            section.card aria-labelledby="values" {
                h2 #values { "Exact text and values" }
                p { "They may be anybody's personal data. That you saw them is recorded." }
                form method="post" action={ "/approvals/" (summary.id) "/values" } {
                    (csrf(ask))
                    button type="submit" { "Show them to me" }
                }
            }
        }
    }
}

fn wanted(demand: &Demand) -> String {
    let given = match demand.given.as_slice() {
        [] => "nobody has yet".to_owned(),
        given => format!("{} agreed", given.join(", ")),
    };
    format!(
        "{}: {} of {}; {given}",
        demand.rule,
        demand.quorum,
        demand.groups.join(", ")
    )
}

fn estimate(estimate: Option<&Estimate>) -> String {
    match estimate {
        None => "not known yet".to_owned(),
        Some(Estimate::None(why)) => format!("unknown: {why}"),
        Some(Estimate::Plan { rows, cost, step }) => {
            let rows = match rows {
                1 => "1 row".to_owned(),
                rows => format!("{rows} rows"),
            };
            format!("{step}, {rows}, cost {cost}")
        }
    }
}

/// `POST /approvals/{id}/decide`
pub(super) async fn decide(ask: Ask) -> Result<Response, Error> {
    let id = ask.number("id")?;
    let verdict = match ask.form("verdict") {
        Some("approved") => Verdict::Approved,
        Some("denied") => Verdict::Denied,
        _ => return Err(Error::bad("verdict is approved or denied")),
    };
    let lasting = ask
        .form("for")
        .map(|text| {
            weir_policy::schema::parse_duration(text)
                .ok_or_else(|| Error::bad("for is a duration: 90s, 15m, 2h or 1d"))
        })
        .transpose()?;
    let decision = Decision {
        verdict,
        reason: ask.form("reason").unwrap_or_default().to_owned(),
        lasting,
        break_glass: ask.form("break_glass") == Some("yes"),
    };
    let decided = ask
        .web
        .reach
        .holds
        .decide(id, &ask.approver()?, &decision)
        .map_err(|error| Error::from(&error))?;
    let to = if decided.over {
        "/approvals".to_owned()
    } else {
        format!("/approvals/{id}")
    };
    Ok(ask.done(&to, &decided))
}

/// `POST /approvals/{id}/values`
pub(super) async fn values(ask: Ask) -> Result<Response, Error> {
    let id = ask.number("id")?;
    let exact = ask
        .web
        .reach
        .holds
        .exact(id, &ask.approver()?)
        .map_err(|error| Error::from(&error))?;
    Ok(match ask.wants {
        Wants::Json => page::json(axum::http::StatusCode::OK, &exact),
        Wants::Page => page::whole(
            &ask,
            &format!("Approval {id}, exactly"),
            &exactly(id, &exact),
        ),
    })
}

fn exactly(id: u64, exact: &Exact) -> Markup {
    html! {
        p.lead { "That you saw this is recorded. " a href={ "/approvals/" (id) } { "Back to the decision" } }
        section.card aria-labelledby="text" {
            h2 #text { "Text" }
            pre.mono tabindex="0" { (exact.text) }
        }
        @if !exact.values.is_empty() {
            section.card aria-labelledby="bound" {
                h2 #bound { "Values, in order" }
                ol { @for value in &exact.values { li.mono { (value.as_deref().unwrap_or("NULL")) } } }
            }
        }
    }
}

/// `POST /approvals/{id}/revoke`
pub(super) async fn revoke(ask: Ask) -> Result<Response, Error> {
    let id = ask.number("id")?;
    let reason = ask.form("reason").unwrap_or_default();
    let grant = ask
        .web
        .reach
        .holds
        .revoke(id, &ask.approver()?, reason)
        .map_err(|error| Error::from(&error))?;
    Ok(ask.done("/approvals", &grant))
}

const WAITING: &[Column] = &[
    Column::Text("approval"),
    Column::Text("who"),
    Column::Text("database"),
    Column::Text("statement"),
    Column::Text("rules"),
    Column::Text("until (UTC)"),
];
const LASTING: &[Column] = &[
    Column::Text("approval"),
    Column::Text("who"),
    Column::Text("statement"),
    Column::Text("by"),
    Column::Text("reason"),
    Column::Text("until (UTC)"),
];
