//! What all pages have in common.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{Html, IntoResponse as _, Response},
};
use maud::{DOCTYPE, Markup, html};
use serde::Serialize;

use super::{Role, request::Ask};

/// A page for somebody who is known.
pub(super) fn whole(ask: &Ask, title: &str, content: &Markup) -> Response {
    let visitor = &ask.visitor;
    let here = ask.uri.path();
    let is_here = |href: &str| {
        if href == "/" {
            here == "/"
        } else {
            here == href || here.starts_with(&format!("{href}/"))
        }
    };
    let markup = html! {
        (DOCTYPE)
        html lang="en" {
            (head(title))
            body {
                a.skip href="#main" { "Skip to the content" }
                header.masthead {
                    a.home href="/" { img src="/assets/icon.svg" alt="" width="22" height="22"; "weir" }
                    nav aria-label="Pages" {
                        ul {
                            @for (href, name, need) in PAGES {
                                @if visitor.roles.may(*need) {
                                    li { a href=(href) aria-current=[is_here(href).then_some("page")] { (name) } }
                                }
                            }
                        }
                    }
                    div.who {
                        span { (visitor.name) }
                        button.theme type="button" data-theme-toggle="" hidden { "Dark" }
                        @if visitor.visit.is_some() {
                            form method="post" action="/logout" { (csrf(ask)) button type="submit" { "Log out" } }
                        }
                    }
                }
                main #main tabindex="-1" {
                    h1 { (title) }
                    (content)
                }
            }
        }
    };
    Html(markup.into_string()).into_response()
}

/// A page that shows nothing but itself: errors, and the log-in.
pub(super) fn bare(status: StatusCode, title: &str, content: &Markup) -> Response {
    let markup = html! {
        (DOCTYPE)
        html lang="en" {
            (head(title))
            body.bare {
                main #main {
                    p.brand { "weir" }
                    h1 { (title) }
                    (content)
                }
            }
        }
    };
    (status, Html(markup.into_string())).into_response()
}

fn head(title: &str) -> Markup {
    html! {
        head {
            meta charset="utf-8";
            meta name="viewport" content="width=device-width, initial-scale=1";
            meta name="color-scheme" content="light dark";
            title { (title) " · weir" }
            link rel="icon" href="/assets/icon.svg" type="image/svg+xml";
            link rel="stylesheet" href="/assets/report.css";
            link rel="stylesheet" href="/assets/weir.css";
            script src="/assets/theme.js" {}
        }
    }
}

/// What every form has to carry.
pub(super) fn csrf(ask: &Ask) -> Markup {
    html! { input type="hidden" name="csrf" value=(ask.visitor.csrf); }
}

/// Data for programs.
pub(super) fn json(status: StatusCode, data: &impl Serialize) -> Response {
    match serde_json::to_vec(data) {
        Ok(bytes) => {
            let mut response = (status, bytes).into_response();
            response.headers_mut().insert(
                header::CONTENT_TYPE,
                HeaderValue::from_static("application/json"),
            );
            response
        }
        Err(error) => {
            tracing::error!(%error, "an answer cannot be written as JSON");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

const PAGES: &[(&str, &str, Role)] = &[
    ("/", "Map", Role::Viewer),
    ("/sessions", "Sessions", Role::Viewer),
    ("/approvals", "Approvals", Role::Viewer),
    ("/usage", "Usage", Role::Viewer),
    ("/policies", "Policies", Role::Viewer),
    ("/chain", "Chain", Role::Viewer),
    ("/reports", "Reports", Role::Auditor),
];
