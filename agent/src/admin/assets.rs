//! Styles and scripts, in the program itself: nothing is fetched from anywhere else.

use axum::{
    http::{HeaderValue, header},
    response::{IntoResponse as _, Response},
};

use super::{error::Error, request::Ask};

/// Each with its name and what it is.
const ALL: &[(&str, &str, &str)] = &[
    ("report.css", CSS, include_str!("../../ui/report.css")),
    ("weir.css", CSS, include_str!("../../ui/weir.css")),
    ("theme.js", SCRIPT, include_str!("../../ui/theme.js")),
    ("map.js", SCRIPT, include_str!("../../ui/map.js")),
    (
        "icon.svg",
        "image/svg+xml",
        include_str!("../../ui/icon.svg"),
    ),
];

const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

pub(super) async fn get(ask: Ask) -> Result<Response, Error> {
    let name = ask.path("name");
    let found = ALL.iter().find(|(known, ..)| *known == name);
    let (_, kind, text) = found.ok_or_else(Error::not_found)?;
    let mut response = text.into_response();
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    Ok(response)
}
