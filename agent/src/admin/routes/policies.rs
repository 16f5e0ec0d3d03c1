//! What decides, and why a recorded request was decided as it was.

use axum::{http::StatusCode, response::Response};
use maud::{Markup, html};
use serde_json::json;
use weir_policy::{Effect, Explanation, RuleTrace};

use crate::{
    admin::{
        Role,
        error::Error,
        page::{Column, heads, moment},
        request::Ask,
    },
    audit::{past::Past, reports::period::rfc3339},
    policy::Snapshot,
    sessions::shown_identity,
};

const COLUMNS: &[Column] = &[
    Column::Text("rule"),
    Column::Text("effect"),
    Column::Text("mode"),
    Column::Text("why"),
    Column::Text("place"),
];

/// `GET /policies`
pub(super) async fn page(ask: Ask) -> Result<Response, Error> {
    let snapshot = ask.web.reach.policy.current();
    let problem = ask.web.reach.health.policy_problem();
    let rules: Vec<_> = snapshot
        .pack
        .rules()
        .iter()
        .map(|rule| {
            json!({
                "rule": rule.id, "why": rule.why, "mode": rule.mode,
                "effects": rule.effects.words(), "place": rule.place.to_string(),
            })
        })
        .collect();
    let data = json!({
        "path": snapshot.path, "digest": snapshot.digest, "enforces": snapshot.pack.enforces(),
        "problem": problem, "rules": rules,
    });
    let may_explain = ask.visitor.roles.may(Role::Auditor);
    Ok(ask.answer("Policies", &data, || {
        draw(&snapshot, problem.as_deref(), may_explain)
    }))
}

fn draw(snapshot: &Snapshot, problem: Option<&str>, may_explain: bool) -> Markup {
    html! {
        p.lead { "All rules are evaluated, order never matters, and the strictest answer holds." }
        @if let Some(problem) = problem {
            ul.notes aria-label="What is wrong" { li { "The folder's present content is not in force: " (problem) } }
        }
        section.card aria-label="In force" {
            dl.facts {
                div { dt { "Folder" } dd.mono { (snapshot.path.display()) } }
                div { dt { "Mode" } dd { @if snapshot.pack.enforces() { "enforce" } @else { "observe: nothing is refused" } } }
                div.wide { dt { "Digest" } dd.mono { (snapshot.digest) } }
            }
        }
        @if may_explain {
            section.card aria-labelledby="explain" {
                h2 #explain { "Explain a recorded request" }
                form.pick method="get" action="/policies/explain" {
                    label { "Number of its record " input type="number" name="seq" min="1" required; }
                    button type="submit" { "Explain" }
                }
            }
        }
        section.card.sheet aria-labelledby="rules" {
            h2 #rules { "Rules" }
            div.scroll tabindex="0" role="region" aria-label="Rules" {
                table {
                    thead { tr { (heads(COLUMNS)) } }
                    tbody {
                        @for rule in snapshot.pack.rules() {
                            tr {
                                td data-name="rule" { (rule.id.0) }
                                td data-name="effect" { (rule.effects.words().join(", ")) }
                                td data-name="mode" { (word(&rule.mode)) }
                                td data-name="why" { (rule.why.as_deref().unwrap_or_default()) }
                                td.mono data-name="place" { span { (rule.place) } }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn word(value: &impl serde::Serialize) -> String {
    let value = serde_json::to_value(value).unwrap_or_default();
    value.as_str().unwrap_or_default().to_owned()
}

/// `GET /policies/explain?seq=…`
pub(super) async fn explain(ask: Ask) -> Result<Response, Error> {
    let seq = ask.query("seq").and_then(|seq| seq.parse().ok());
    let seq: u64 = seq.ok_or_else(|| Error::bad("seq is the number of a record"))?;
    let past = ask
        .work(move |web| {
            Past::of_record(web.reach.journal.folder(), seq)
                .map_err(|error| Error::internal("the journal cannot be read", &error))?
                .ok_or_else(|| {
                    Error::new(StatusCode::NOT_FOUND, format!("record {seq} is no request"))
                        .hint("`weir audit tail --json` shows the numbers of requests")
                })
        })
        .await?;
    let pack = &ask.web.reach.policy.current().pack;
    let now = past.explain(pack);
    let data = json!({
        "seq": seq, "time": rfc3339(past.time_ns),
        "identity": shown_identity(past.session.identity.as_ref()),
        "statement": past.decided.facts.normalised,
        "recorded": { "decision": past.decided.decision, "policy": past.decided.policy },
        "today": now,
    });
    Ok(ask.answer(&format!("Record {seq}"), &data, || drawn(&past, &now)))
}

fn drawn(past: &Past, today: &Explanation) -> Markup {
    let decision = &past.decided.decision;
    let effect = |effect: &Effect| match effect {
        Effect::Allow => "allow".to_owned(),
        Effect::Deny { reason } => format!("deny: {reason}"),
    };
    let rules = |rules: &[weir_policy::RuleId]| {
        rules
            .iter()
            .map(|rule| rule.0.as_str())
            .collect::<Vec<_>>()
            .join(", ")
    };
    html! {
        section.card aria-label="As recorded" {
            dl.facts {
                div { dt { "When" } dd { (moment(past.time_ns)) } }
                div { dt { "Who" } dd { (shown_identity(past.session.identity.as_ref())) } }
                div { dt { "Program" } dd.mono { (past.session.evidence.exe_path) } }
                div { dt { "Database" } dd { (past.session.target.database) " as " (past.session.target.database_user) } }
                div.wide { dt { "Statement, literals replaced" } dd.mono { (past.decided.facts.normalised) } }
                div { dt { "Decided then" } dd { (effect(&decision.effect)) } }
                div { dt { "By" } dd { (rules(&decision.rules)) } }
                div.wide { dt { "Policy then" } dd.mono { (past.decided.policy) } }
                div { dt { "Today's policy says" } dd { (effect(&today.decision.effect)) } }
                div { dt { "By" } dd { (rules(&today.decision.rules)) } }
            }
            p.quiet { "Today's answer is from what was recorded of the statement. What else was in reach of it is not, so masks may be missing." }
        }
        (traces("Rules that match", &today.matched))
        (traces("Rules that nearly match", &today.near_misses))
    }
}

fn traces(title: &str, traces: &[RuleTrace]) -> Markup {
    html! {
        section.card aria-label=(title) {
            h2 { (title) }
            @if traces.is_empty() { p.quiet { "None." } }
            @for trace in traces {
                details {
                    summary { (trace.rule.0) " (" (trace.effect) ", " (trace.place) ")" }
                    @if let Some(why) = &trace.why { p { (why) } }
                    ul {
                        @for check in &trace.checks {
                            li { @if check.holds { "holds: " } @else { "does not hold: " } (check.field) " wants " (check.wanted) ", is " (check.found) }
                        }
                        @for hidden in &trace.hidden { li { "hides " (hidden) } }
                    }
                }
            }
        }
    }
}
