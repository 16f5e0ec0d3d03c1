//! Whether weir does its job, for whoever watches: open, so it says what is wrong in a word only.

use axum::{http::StatusCode, response::Response};
use serde_json::json;

use crate::{
    admin::{error::Error, page, request::Ask},
    capture::Finding,
};

/// `GET /healthz`
pub(super) async fn get(ask: Ask) -> Result<Response, Error> {
    let reach = &ask.web.reach;
    let hooks = reach.health.hooks();
    let hooks_hold = !hooks.is_empty() && !hooks.iter().any(Finding::is_bad);
    let parts = [
        ("hooks", hooks_hold),
        ("journal", reach.journal.health().failure.is_none()),
        ("policy", reach.health.policy_problem().is_none()),
    ];
    let bad: Vec<_> = parts
        .iter()
        .filter(|(_, holds)| !holds)
        .map(|(name, _)| *name)
        .collect();
    let status = if bad.is_empty() {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    Ok(page::json(
        status,
        &json!({ "ok": bad.is_empty(), "failing": bad }),
    ))
}
