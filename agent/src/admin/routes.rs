//! The table of all routes: method, path, the least that somebody must have, and who answers.

mod approvals;
pub(super) mod chain;
mod health;
mod map;
mod me;
mod metrics;
mod policies;
mod reports;
mod sessions;
mod usage;

use std::pin::Pin;

use axum::{http::Method, response::Response};

use super::{Need, Role, assets, error::Error, login, request::Ask};

type Answer = Pin<Box<dyn Future<Output = Result<Response, Error>> + Send>>;

/// One route.
#[derive(Clone, Copy)]
pub struct Route {
    is_change: bool,
    path: &'static str,
    twin: Option<&'static str>,
    pub(super) need: Need,
    pub(super) handler: fn(Ask) -> Answer,
}

impl std::fmt::Debug for Route {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{} {} ({:?})", self.method(), self.path, self.need)
    }
}

impl Route {
    /// `GET`, or `POST` for what changes something.
    #[must_use]
    pub fn method(&self) -> &'static Method {
        if self.is_change {
            &Method::POST
        } else {
            &Method::GET
        }
    }

    /// Where it is: the page, and the same for programs.
    #[must_use]
    pub fn paths(&self) -> Vec<String> {
        std::iter::once(self.path)
            .chain(self.twin)
            .map(str::to_owned)
            .collect()
    }

    /// Whether a browser may be sent to `path` as a page of this one, for people who are logged in.
    fn is_page_at(&self, path: &str) -> bool {
        let is_page = !self.is_change
            && matches!(self.need, Need::Role(_))
            && !self.path.starts_with("/api/")
            && self.path != EVENTS;
        let (mut wanted, mut given) = (self.path.split('/'), path.split('/'));
        is_page
            && loop {
                match (wanted.next(), given.next()) {
                    (None, None) => break true,
                    (Some(wanted), Some(given)) if wanted == given => {}
                    (Some(wanted), Some(given)) if wanted.starts_with('{') && is_name(given) => {}
                    _ => break false,
                }
            }
    }

    /// The least that somebody must have.
    #[must_use]
    pub fn need(&self) -> Need {
        self.need
    }
}

/// What stands for a parameter in the path of a page: numbers and kinds of reports.
fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

/// What the map's script listens to.
const EVENTS: &str = "/events";

/// `text` as the address of a page of this site, with or without a query; `None` for everything else. Whoever writes links
/// chooses it: it must lead nowhere else.
pub(super) fn page_at(text: &str) -> Option<&str> {
    let (path, _) = text.split_once('?').unwrap_or((text, ""));
    let is_plain = text.len() <= LONGEST_ADDRESS
        && text
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'\\' | b'#' | b'"' | b'\''));
    (is_plain && all().iter().any(|route| route.is_page_at(path))).then_some(text)
}

/// Bytes; addresses of pages are kept while people log in.
const LONGEST_ADDRESS: usize = 1_024;

macro_rules! table {
    ($($method:ident $path:literal $(= $twin:literal)?, $need:expr => $handler:path;)*) => {
        vec![$(Route {
            is_change: table!(@$method),
            path: $path,
            twin: [$($twin)?].into_iter().next(),
            need: $need,
            handler: |ask| Box::pin($handler(ask)),
        }),*]
    };
    (@get) => { false };
    (@post) => { true };
}

/// All of them.
#[must_use]
pub fn all() -> Vec<Route> {
    const VIEWER: Need = Need::Role(Role::Viewer);
    const APPROVER: Need = Need::Role(Role::Approver);
    const AUDITOR: Need = Need::Role(Role::Auditor);
    const ADMIN: Need = Need::Role(Role::Admin);
    table! {
        get "/" = "/api/map", VIEWER => map::page;
        get "/events" = "/api/events", VIEWER => map::events;
        get "/sessions" = "/api/sessions", VIEWER => sessions::list;
        post "/sessions/{id}/end" = "/api/sessions/{id}/end", ADMIN => sessions::end;
        get "/approvals" = "/api/approvals", VIEWER => approvals::list;
        get "/approvals/{id}" = "/api/approvals/{id}", VIEWER => approvals::show;
        post "/approvals/{id}/decide" = "/api/approvals/{id}/decide", APPROVER => approvals::decide;
        post "/approvals/{id}/values" = "/api/approvals/{id}/values", APPROVER => approvals::values;
        post "/approvals/{id}/revoke" = "/api/approvals/{id}/revoke", APPROVER => approvals::revoke;
        get "/usage" = "/api/usage", VIEWER => usage::page;
        get "/policies" = "/api/policies", VIEWER => policies::page;
        get "/policies/explain" = "/api/policies/explain", AUDITOR => policies::explain;
        get "/chain" = "/api/chain", VIEWER => chain::page;
        post "/chain/verify" = "/api/chain/verify", AUDITOR => chain::verify;
        get "/reports", AUDITOR => reports::list;
        get "/reports/{kind}" = "/api/reports/{kind}", AUDITOR => reports::page;
        get "/api/me", VIEWER => me::get;
        get "/login", Need::Nothing => login::page;
        get "/login/start", Need::Nothing => login::start;
        get "/login/callback", Need::Nothing => login::callback;
        post "/logout" = "/api/logout", VIEWER => login::logout;
        get "/assets/{name}", Need::Nothing => assets::get;
        get "/healthz", Need::Nothing => health::get;
        get "/metrics", Need::Metrics => metrics::get;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_this_site_are_places_to_go_to() {
        for page in [
            "/",
            "/approvals",
            "/approvals/4711",
            "/policies/explain?seq=12",
            "/reports/completeness?since=7d&until=2026-01-01",
        ] {
            assert_eq!(page_at(page), Some(page));
        }
    }

    #[test]
    fn nothing_else_is() {
        for other in [
            "",
            "approvals",
            "//evil.example",
            "///evil.example",
            "/\\evil.example",
            "/approvals\\..",
            "https://evil.example/approvals",
            "javascript:alert(1)",
            "/approvals/..//evil.example",
            "/approvals/..",
            "/approvals/%2f%2fevil.example",
            "/approvals/1/decide",
            "/approvals/1/2",
            "/approvals/",
            "/approvals\n",
            "/approvals?a\r\nb",
            "/approvals?a b",
            "/approvals#x",
            "/events",
            "/login",
            "/login/start",
            "/logout",
            "/metrics",
            "/api/me",
            "/api/approvals",
            "/assets/theme.js",
            "/nothing",
        ] {
            assert_eq!(page_at(other), None, "{other:?}");
        }
        let long = format!("/approvals?{}", "x".repeat(LONGEST_ADDRESS));
        assert_eq!(page_at(&long), None);
    }
}
