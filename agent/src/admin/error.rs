//! Why a request is not answered, for the person or script that asked.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use maud::html;
use serde_json::json;

use super::{page, request::Wants};
use crate::{holds::DecideError, telemetry};

/// A refusal in words. Nothing of what was sent is repeated in it.
#[derive(Debug)]
pub(super) struct Error {
    status: StatusCode,
    message: String,
    hint: String,
    retry_after_s: Option<u64>,
}

impl Error {
    pub(super) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
            hint: String::new(),
            retry_after_s: None,
        }
    }

    pub(super) fn hint(self, hint: impl Into<String>) -> Self {
        Self {
            hint: hint.into(),
            ..self
        }
    }

    pub(super) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "there is nothing here")
    }

    pub(super) fn bad(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// Something of weir's own failed: the log says what.
    pub(super) fn internal(what: &str, error: &dyn std::error::Error) -> Self {
        tracing::error!(error = telemetry::chain(error), "{what}");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, what).hint("weir's log says why")
    }

    pub(super) fn too_often(wait: std::time::Duration) -> Self {
        Self {
            retry_after_s: Some(wait.as_secs().max(1)),
            ..Self::new(
                StatusCode::TOO_MANY_REQUESTS,
                "too many requests: wait a little",
            )
        }
    }

    pub(super) fn render(self, wants: Wants) -> Response {
        let status = self.status;
        let retry = self.retry_after_s;
        let mut response = match wants {
            Wants::Json => {
                let mut error = json!({ "message": self.message });
                if !self.hint.is_empty() {
                    error["hint"] = json!(self.hint);
                }
                page::json(status, &json!({ "error": error }))
            }
            Wants::Page => page::bare(
                status,
                status.canonical_reason().unwrap_or("Error"),
                &html! {
                    p { (self.message) }
                    @if !self.hint.is_empty() { p.quiet { (self.hint) } }
                    p { a href="/" { "To the start" } }
                },
            )
            .into_response(),
        };
        if let Some(seconds) = retry {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl From<&DecideError> for Error {
    fn from(error: &DecideError) -> Self {
        let status = match error {
            DecideError::Gone { .. } | DecideError::NoGrant { .. } => StatusCode::NOT_FOUND,
            DecideError::Record(_) | DecideError::Keep(_) => StatusCode::INTERNAL_SERVER_ERROR,
            DecideError::Again { .. } => StatusCode::CONFLICT,
            DecideError::Reason { .. } | DecideError::TooLong { .. } => StatusCode::BAD_REQUEST,
            _ => StatusCode::FORBIDDEN,
        };
        let told = Self::new(status, telemetry::chain(error));
        match error.hint() {
            Some(hint) => told.hint(hint),
            None => told,
        }
    }
}
