//! What all pages have in common.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{Html, IntoResponse as _, Response},
};
use maud::{DOCTYPE, Markup, html};
use reqwest::Url;
use serde::Serialize;

use super::{Role, access::Visitor, request::Ask};
use crate::audit::reports::period::rfc3339;

/// A page for somebody who is known.
pub(super) fn whole(ask: &Ask, title: &str, content: &Markup) -> Response {
    framed(&ask.visitor, ask.uri.path(), title, content)
}

/// The same for whoever is at `here`, an address without its query.
pub(super) fn framed(visitor: &Visitor, here: &str, title: &str, content: &Markup) -> Response {
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
                            form method="post" action="/logout" { (token(visitor)) button type="submit" { "Log out" } }
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

/// A page that shows nothing and leads to `to`, an address of this site, by a request of this site's own.
pub(super) fn forward(title: &str, to: &str) -> Response {
    bare(
        StatusCode::OK,
        title,
        &html! {
            meta http-equiv="refresh" content={ "0; url=" (to) };
            p { a.button href=(to) { "Go on" } }
        },
    )
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
    token(&ask.visitor)
}

fn token(visitor: &Visitor) -> Markup {
    html! { input type="hidden" name="csrf" value=(visitor.csrf); }
}

/// An address of this site: `path` with fields behind it.
pub(super) fn link<'f>(path: &str, fields: impl IntoIterator<Item = (&'f str, &'f str)>) -> String {
    let Ok(mut url) = Url::parse("http://weir") else {
        return path.to_owned();
    };
    url.set_path(path);
    url.query_pairs_mut().extend_pairs(fields);
    format!("{}?{}", url.path(), url.query().unwrap_or_default())
}

/// A column of a table, with its name.
#[derive(Debug, Clone, Copy)]
pub(super) enum Column {
    Text(&'static str),
    /// Figures stand at the right, and so does their name.
    Number(&'static str),
}

/// The heads of a table's columns.
pub(super) fn heads(columns: &[Column]) -> Markup {
    html! {
        @for column in columns {
            @match column {
                Column::Text(name) => th scope="col" { (name) },
                Column::Number(name) => th.number scope="col" { (name) },
            }
        }
    }
}

/// A time of a column whose head says that it is UTC; from nanoseconds since the epoch.
pub(super) fn time(ns: u64) -> String {
    rfc3339(ns).replace('T', " ").replace('Z', "")
}

/// A time by itself; from nanoseconds since the epoch.
pub(super) fn moment(ns: u64) -> String {
    format!("{} UTC", time(ns))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_in_an_address_cannot_add_to_it() {
        assert_eq!(
            link("/usage", [("since", "24h"), ("table", "a&b=c #\"<é")]),
            "/usage?since=24h&table=a%26b%3Dc+%23%22%3C%C3%A9"
        );
    }
}
