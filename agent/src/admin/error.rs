//! Why a request is not answered, for the person or script that asked.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::Response,
};
use maud::{Markup, html};
use serde_json::json;

use super::{
    Role,
    access::{RoleSet, Visitor},
    page,
    request::Wants,
};
use crate::{holds::DecideError, telemetry};

/// A refusal in words. Nothing of what was sent is repeated in it.
#[derive(Debug)]
pub(super) struct Error {
    status: StatusCode,
    message: String,
    hint: String,
    retry_after_s: Option<u64>,
    /// To whom the page is shown, where that is known, and at which path.
    frame: Option<Box<(Visitor, String)>>,
}

impl Error {
    pub(super) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
            hint: String::new(),
            retry_after_s: None,
            frame: None,
        }
    }

    pub(super) fn hint(self, hint: impl Into<String>) -> Self {
        Self {
            hint: hint.into(),
            ..self
        }
    }

    /// Shown as a page like the others, which leads on.
    pub(super) fn to(self, visitor: Visitor, path: &str) -> Self {
        Self {
            frame: Some(Box::new((visitor, path.to_owned()))),
            ..self
        }
    }

    pub(super) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "there is nothing here")
    }

    /// Somebody whose groups have only the roles `held` asks for what `role` may.
    pub(super) fn without_role(role: Role, held: RoleSet) -> Self {
        let held = match held.to_string() {
            none if none.is_empty() => "none".to_owned(),
            held => held,
        };
        Self::new(
            StatusCode::FORBIDDEN,
            format!("this is for the role {}", role.word()),
        )
        .hint(format!(
            "your groups have the roles: {held}; [admin] roles says whose have more"
        ))
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
            Wants::Page => self.draw(),
        };
        if let Some(seconds) = retry {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }

    fn draw(&self) -> Response {
        let title = self.status.canonical_reason().unwrap_or("Error");
        let Some(frame) = &self.frame else {
            let content = html! { (self.told()) p { a href="/" { "To the start" } } };
            return page::bare(self.status, title, &content);
        };
        let (visitor, path) = &**frame;
        let content = html! { section.card aria-label="What is wrong" { (self.told()) } };
        let mut response = page::framed(visitor, path, title, &content);
        *response.status_mut() = self.status;
        response
    }

    /// In words, for a part of a page.
    pub(super) fn told(&self) -> Markup {
        html! {
            p { (sentence(&self.message)) }
            @if !self.hint.is_empty() { p.quiet { (sentence(&self.hint)) } }
        }
    }
}

/// Messages begin as the rest of a sentence does, for whoever puts something in front of them.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| {
        let end = if text.ends_with(['.', '?']) { "" } else { "." };
        format!("{}{}{end}", first.to_uppercase(), letters.as_str())
    })
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
        match hint(error) {
            Some(hint) => told.hint(hint),
            None => told,
        }
    }
}

/// What to do on a page, where that is not what it is on the command line.
fn hint(error: &DecideError) -> Option<&'static str> {
    match error {
        DecideError::Gone { .. } => {
            Some("it was decided, given up or taken back: the report of approvals says which")
        }
        DecideError::NoGrant { .. } => Some("the page of approvals lists them"),
        DecideError::Reason { .. } => None,
        error => error.hint(),
    }
}
