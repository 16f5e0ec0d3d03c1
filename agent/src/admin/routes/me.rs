//! Who asks, and what their changes have to carry.

use axum::{http::StatusCode, response::Response};
use serde_json::json;

use crate::admin::{Role, error::Error, page, request::Ask};

/// `GET /api/me`
pub(super) async fn get(ask: Ask) -> Result<Response, Error> {
    Ok(page::json(
        StatusCode::OK,
        &json!({
            "name": ask.visitor.name,
            "roles": ask.visitor.roles.held().map(Role::word).collect::<Vec<_>>(),
            "csrf": ask.visitor.csrf,
        }),
    ))
}
