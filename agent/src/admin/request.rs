//! What a handler is given: a request that has passed every check. Checked here, in one place: the host's name, who asks,
//! their role, where a change comes from, its token, and how often.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use aws_lc_rs::constant_time;
use axum::{
    body::Body,
    extract::{Form, FromRequest as _, FromRequestParts as _, Query, RawPathParams},
    http::{HeaderMap, Method, Request, StatusCode, Uri, header, request::Parts},
    response::{IntoResponse as _, Redirect, Response},
};
use maud::Markup;
use serde::Serialize;
use weir_policy::Identity;

use super::{
    Need, Reach, Role,
    access::{RoleSet, Visitor},
    error::Error,
    limits::Limit,
    live::Live,
    login::Logins,
    page,
    routes::{Route, chain::Verifier, page_at},
    settings::{AdminSettings, Site},
    visits::Visits,
};
use crate::{
    control::peer::Peer,
    holds::{Approver, DecideError},
    identity::{Resolved, Secret},
    net::seats::network,
};

/// The cookie of a visit. `__Host-` has browsers refuse it without `Secure`, for other paths, and from other hosts.
pub(super) const VISIT: &str = "__Host-weir";

/// Everything that requests share.
pub(super) struct Web {
    pub(super) reach: Reach,
    pub(super) settings: AdminSettings,
    /// What is served by TLS.
    pub(super) site: Option<Site>,
    pub(super) visits: Visits,
    pub(super) logins: Logins,
    pub(super) live: Arc<Live>,
    pub(super) verifier: Arc<Verifier>,
    /// Tokens of forms on this host's socket are made from it.
    pub(super) secret: Secret,
    pub(super) metrics_token: Option<Secret>,
    pub(super) tries: Limit,
    pub(super) changes: Limit,
    pub(super) streams: Arc<tokio::sync::Semaphore>,
    /// For those who ask the store.
    pub(super) questions: Arc<tokio::sync::Semaphore>,
}

/// How a request came.
#[derive(Debug, Clone)]
pub(super) enum Connection {
    /// By this host's socket, from this process.
    Socket(Arc<Peer>),
    /// By TLS, from this address.
    Tls(SocketAddr),
}

/// Whether a page or data is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wants {
    Page,
    Json,
}

impl Wants {
    /// By the address, and nothing else: what somebody is shown is not a matter of headers.
    pub(super) fn of(uri: &Uri) -> Self {
        if uri.path().starts_with("/api/") {
            Self::Json
        } else {
            Self::Page
        }
    }
}

/// Names and values of a form, an address or a path.
pub(super) type Fields = BTreeMap<String, String>;

/// A request that may be answered.
pub(super) struct Ask {
    pub(super) web: Arc<Web>,
    pub(super) visitor: Visitor,
    pub(super) connection: Connection,
    pub(super) wants: Wants,
    pub(super) uri: Uri,
    pub(super) headers: HeaderMap,
    path: Fields,
    query: Fields,
    form: Fields,
}

impl Ask {
    /// A part of the path.
    pub(super) fn path(&self, name: &str) -> &str {
        self.path.get(name).map_or("", String::as_str)
    }

    /// A field of the address, when it is not empty.
    pub(super) fn query(&self, name: &str) -> Option<&str> {
        self.query
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    /// A field of the address, even an empty one.
    pub(super) fn query_or_empty(&self, name: &str) -> Option<String> {
        self.query.get(name).cloned()
    }

    /// A field of the form, when it is not empty.
    pub(super) fn form(&self, name: &str) -> Option<&str> {
        self.form
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    /// Who asks, as somebody who may decide about what waits.
    pub(super) fn approver(&self) -> Result<Approver, Error> {
        let sessions = |identity: &Identity| self.web.reach.identities.sessions_of(identity);
        let found = match &self.connection {
            Connection::Socket(peer) => Approver::of(&resolve(&self.web, peer)?, sessions),
            Connection::Tls(_) => match self.visitor.identity.clone() {
                Some(identity) => {
                    let sessions = sessions(&identity);
                    Approver::person(identity, sessions)
                }
                None => Err(DecideError::Agent),
            },
        };
        found.map_err(|error| Error::from(&error))
    }

    /// A part of the path that is a number.
    pub(super) fn number(&self, name: &str) -> Result<u64, Error> {
        self.path(name).parse().map_err(|_| Error::not_found())
    }

    /// The page, or the data that it shows.
    pub(super) fn answer(
        &self,
        title: &str,
        data: &impl Serialize,
        draw: impl FnOnce() -> Markup,
    ) -> Response {
        match self.wants {
            Wants::Json => page::json(StatusCode::OK, data),
            Wants::Page => page::whole(self, title, &draw()),
        }
    }

    /// After a change: back to a page that shows it, or what came of it.
    pub(super) fn done(&self, to: &str, data: &impl Serialize) -> Response {
        match self.wants {
            Wants::Json => page::json(StatusCode::OK, data),
            Wants::Page => Redirect::to(to).into_response(),
        }
    }

    /// Does what waits for a disk, beside the requests.
    pub(super) async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Web) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let web = Arc::clone(&self.web);
        tokio::task::spawn_blocking(move || work(&web))
            .await
            .map_err(|error| Error::internal("this could not be done", &error))?
    }
}

/// Answers a request of `route`.
pub(super) async fn serve(web: Arc<Web>, route: Route, request: Request<Body>) -> Response {
    let wants = Wants::of(request.uri());
    let is_page = wants == Wants::Page && request.method() == Method::GET;
    let stranger = is_page.then(|| to_log_in(request.uri(), request.headers()));
    match admit(web, route, request).await {
        Ok(ask) => {
            let (visitor, path) = (ask.visitor.clone(), ask.uri.path().to_owned());
            match (route.handler)(ask).await {
                Ok(response) => response,
                Err(error) if visitor.roles.is_empty() => error.render(wants),
                Err(error) => error.to(visitor, &path).render(wants),
            }
        }
        Err(Refused::Unknown) => stranger.unwrap_or_else(|| {
            Error::new(StatusCode::UNAUTHORIZED, "nobody is logged in")
                .hint("log in at /login, or ask on the socket of this host")
                .render(wants)
        }),
        Err(Refused::Known(error)) => error.render(wants),
    }
}

/// The answer to who wants a page, and is not known. After a log-in the way leads to the page.
///
/// Browsers send no strict cookie along a link on another site, such as an announcement of an approval: who follows one may be
/// logged in all the same. A page of this site that shows nothing asks again, and that request has the cookie.
fn to_log_in(uri: &Uri, headers: &HeaderMap) -> Response {
    let address = uri.path_and_query().map_or("", |it| it.as_str());
    let page = page_at(address);
    let says = |name: &str, value: &str| headers.get(name).is_some_and(|it| it == value);
    let is_link = says("sec-fetch-site", "cross-site") && says("sec-fetch-mode", "navigate");
    match page {
        Some(page) if is_link && cookie(headers, VISIT).is_none() => {
            page::forward("One moment", page)
        }
        Some(page) if page != "/" => {
            Redirect::to(&page::link("/login", [("to", page)])).into_response()
        }
        _ => Redirect::to("/login").into_response(),
    }
}

enum Refused {
    /// Nobody knows who asks, where logging in would help.
    Unknown,
    Known(Error),
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self::Known(error)
    }
}

async fn admit(web: Arc<Web>, route: Route, request: Request<Body>) -> Result<Ask, Refused> {
    let (mut parts, body) = request.into_parts();
    let connection = parts
        .extensions
        .get::<Connection>()
        .cloned()
        .ok_or_else(|| Error::new(StatusCode::INTERNAL_SERVER_ERROR, "no connection"))?;
    let visitor = match route.need {
        Need::Nothing => visitor(&web, &connection, &parts.headers).unwrap_or_default(),
        Need::Metrics => match measurer(&web, &connection, &parts.headers)? {
            Some(visitor) => visitor,
            None => known(&web, &connection, &parts, Role::Viewer)?,
        },
        Need::Role(role) => known(&web, &connection, &parts, role)?,
    };
    let path = RawPathParams::from_request_parts(&mut parts, &())
        .await
        .map_err(|_| Error::not_found())?
        .iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let query = Query::<Fields>::from_request_parts(&mut parts, &())
        .await
        .map_err(|_| Error::bad("the address cannot be read"))?
        .0;
    let (uri, headers) = (parts.uri.clone(), parts.headers.clone());
    let form = if parts.method == Method::POST {
        change(&web, &visitor, &connection, parts, body).await?
    } else {
        Fields::new()
    };
    Ok(Ask {
        wants: Wants::of(&uri),
        web,
        visitor,
        connection,
        uri,
        headers,
        path,
        query,
        form,
    })
}

/// Somebody with the role.
fn known(
    web: &Web,
    connection: &Connection,
    parts: &Parts,
    role: Role,
) -> Result<Visitor, Refused> {
    let visitor = visitor(web, connection, &parts.headers)?;
    if visitor.roles.may(role) {
        return Ok(visitor);
    }
    let error = Error::without_role(role, visitor.roles);
    Err(error.to(visitor, parts.uri.path()).into())
}

fn visitor(web: &Web, connection: &Connection, headers: &HeaderMap) -> Result<Visitor, Refused> {
    match connection {
        Connection::Socket(peer) => Ok(of_process(web, peer)?),
        Connection::Tls(_) => cookie(headers, VISIT)
            .and_then(|cookie| web.visits.visitor(cookie))
            .ok_or(Refused::Unknown),
    }
}

/// Who a process of this host is: root administers, others have the roles of whom they are bound to.
pub(super) fn of_process(web: &Web, peer: &Peer) -> Result<Visitor, Error> {
    let resolved = resolve(web, peer)?;
    if resolved.in_agent_run {
        return Err(stranger("this is not for an agent's run".to_owned()));
    }
    let identity = resolved.identity.map(|bound| bound.identity.clone());
    let roles = match &identity {
        _ if peer.uid == 0 => RoleSet::only(Role::Admin),
        Some(identity) => web.settings.roles.of(identity.principal.proven_groups()),
        None => {
            return Err(stranger(format!(
                "nobody knows who user {} of this host is: {}",
                peer.uid, resolved.absence
            )));
        }
    };
    let display = identity.as_ref().map(|it| it.principal.display.clone());
    Ok(Visitor {
        name: display.unwrap_or_else(|| "root of this host".to_owned()),
        roles,
        identity,
        uid: Some(peer.uid),
        evidence: Some(resolved.evidence),
        csrf: token_of(&web.secret, peer.uid),
        visit: None,
    })
}

/// What is known of the process that asks.
fn resolve(web: &Web, peer: &Peer) -> Result<Resolved, Error> {
    let resolved = web.reach.identities.resolve_process(peer.pid);
    // After reading: then what was read was of the process that connected.
    if !peer.is_alive() {
        return Err(stranger("the process that asks is gone".to_owned()));
    }
    resolved.map_err(|_| stranger("weir cannot look at the process that asks".to_owned()))
}

fn stranger(message: String) -> Error {
    Error::new(StatusCode::FORBIDDEN, message)
        .hint("log in with `weir login`, or use sudo outside of any agent's run")
}

/// Whoever has the bearer token for measurements; `None` when no token came.
fn measurer(
    web: &Web,
    connection: &Connection,
    headers: &HeaderMap,
) -> Result<Option<Visitor>, Error> {
    let Some(sent) = headers.get(header::AUTHORIZATION) else {
        return Ok(None);
    };
    web.tries
        .take(&caller(connection), Instant::now())
        .map_err(Error::too_often)?;
    let right = web.metrics_token.as_ref().is_some_and(|token| {
        let wanted = format!("Bearer {}", token.expose());
        constant_time::verify_slices_are_equal(sent.as_bytes(), wanted.as_bytes()).is_ok()
    });
    if right {
        return Ok(Some(Visitor::default()));
    }
    Err(Error::new(
        StatusCode::UNAUTHORIZED,
        "the bearer token is not that of metrics_token_file",
    ))
}

/// A change: sent by a page of this site, with its visitor's token, and not too often.
async fn change(
    web: &Web,
    visitor: &Visitor,
    connection: &Connection,
    parts: Parts,
    body: Body,
) -> Result<Fields, Error> {
    check_source(web, connection, &parts.headers)?;
    web.changes
        .take(&caller_of(visitor, connection), Instant::now())
        .map_err(Error::too_often)?;
    let headers = parts.headers.clone();
    // Somewhat too long is read whole all the same: an answer in the middle of it reaches nobody.
    let long = || Error::bad(format!("a form has at most {FORM_BYTES} bytes"));
    let body = axum::body::to_bytes(body, MOST_READ_BYTES)
        .await
        .map_err(|_| long())?;
    if body.len() > FORM_BYTES {
        return Err(long());
    }
    let request = Request::from_parts(parts, Body::from(body));
    let Form(form) = Form::<Fields>::from_request(request, &())
        .await
        .map_err(|_| {
            Error::bad("the form cannot be read").hint("send application/x-www-form-urlencoded")
        })?;
    let sent = headers
        .get("x-csrf-token")
        .and_then(|value| value.to_str().ok())
        .or(form.get("csrf").map(String::as_str))
        .unwrap_or_default();
    let right = !visitor.csrf.is_empty()
        && constant_time::verify_slices_are_equal(sent.as_bytes(), visitor.csrf.as_bytes()).is_ok();
    if right {
        return Ok(form);
    }
    Err(
        Error::new(StatusCode::FORBIDDEN, "the form's token is missing or old")
            .hint("open the page again; scripts send X-CSRF-Token as GET /api/me has it"),
    )
}

const FORM_BYTES: usize = 64 * 1024;
const MOST_READ_BYTES: usize = 1024 * 1024;

/// Browsers say where a request was made; other programs need not.
fn check_source(web: &Web, connection: &Connection, headers: &HeaderMap) -> Result<(), Error> {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let site_is_right = text("sec-fetch-site").is_none_or(|site| site == "same-origin");
    let origin_is_right = text("origin").is_none_or(|origin| match (connection, &web.site) {
        (Connection::Tls(_), Some(site)) => origin == site.origin,
        _ => text("host").is_some_and(|host| origin == format!("http://{host}")),
    });
    if site_is_right && origin_is_right {
        return Ok(());
    }
    Err(Error::new(
        StatusCode::FORBIDDEN,
        "this was sent by a page of another site",
    ))
}

/// Whether the name that the request was sent to is this site's: another one that leads here may be anybody's.
pub(super) fn host_is_ours(web: &Web, connection: &Connection, headers: &HeaderMap) -> bool {
    let mut hosts = headers.get_all(header::HOST).iter();
    let (Some(host), None) = (hosts.next().and_then(|it| it.to_str().ok()), hosts.next()) else {
        return false;
    };
    if let (Connection::Tls(_), Some(site)) = (connection, &web.site) {
        return host == site.host || host == site.listen.to_string();
    }
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    matches!(name, "localhost" | "127.0.0.1" | "weir")
}

/// Whom a limit is for, before anybody knows who it is.
pub(super) fn caller(connection: &Connection) -> String {
    match connection {
        Connection::Socket(peer) => format!("user {}", peer.uid),
        Connection::Tls(address) => network(address.ip()).to_string(),
    }
}

fn caller_of(visitor: &Visitor, connection: &Connection) -> String {
    match &visitor.visit {
        Some(key) => hex::encode(key),
        None => caller(connection),
    }
}

/// A cookie's value; `None` when there are several of that name.
pub(super) fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let mut found = headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .filter(|(known, _)| *known == name)
        .map(|(_, value)| value);
    match (found.next(), found.next()) {
        (Some(value), None) => Some(value),
        _ => None,
    }
}

fn token_of(secret: &Secret, uid: u32) -> String {
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret.expose().as_bytes());
    hex::encode(aws_lc_rs::hmac::sign(&key, &uid.to_be_bytes()))
}

/// Requests that cost something, from one who is not known yet, and changes from one who is.
pub(super) fn limits() -> (Limit, Limit) {
    (
        Limit::new(20, Duration::from_secs(3)),
        Limit::new(30, Duration::from_secs(1)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(address: &str, headers: &[(&'static str, &'static str)]) -> (StatusCode, String) {
        let uri: Uri = address.parse().expect("an address");
        let mut sent = HeaderMap::new();
        for (name, value) in headers {
            sent.append(*name, value.parse().expect("a value"));
        }
        let response = to_log_in(&uri, &sent);
        let location = response.headers().get(header::LOCATION);
        let to = location.map_or("", |to| to.to_str().expect("text"));
        (response.status(), to.to_owned())
    }

    const LINK: &[(&str, &str)] = &[
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-mode", "navigate"),
    ];

    #[test]
    fn who_follows_a_link_of_another_site_is_asked_for_the_cookie_again() {
        let (status, to) = answer("/approvals/7?x=1", LINK);
        assert_eq!((status, to.as_str()), (StatusCode::OK, ""));
        // One that was sent and is not known will not be known the next time.
        let old = [LINK, &[("cookie", "__Host-weir=old")]].concat();
        assert_eq!(answer("/approvals/7", &old).0, StatusCode::SEE_OTHER);
        let embedded = [LINK[0], ("sec-fetch-mode", "no-cors")];
        assert_eq!(answer("/approvals/7", &embedded).0, StatusCode::SEE_OTHER);
        assert_eq!(answer("/nothing", LINK).0, StatusCode::SEE_OTHER);
    }

    #[test]
    fn a_log_in_keeps_where_somebody_wanted_to_go() {
        let site = [("sec-fetch-site", "same-origin")];
        for (address, to) in [
            ("/approvals/7", "/login?to=%2Fapprovals%2F7"),
            ("/usage?since=7d", "/login?to=%2Fusage%3Fsince%3D7d"),
            ("/", "/login"),
            ("/events", "/login"),
            ("//evil.example", "/login"),
        ] {
            let (status, location) = answer(address, &site);
            assert_eq!((status, location.as_str()), (StatusCode::SEE_OTHER, to));
        }
    }
}
