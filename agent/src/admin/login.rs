//! Logging in at the provider by a browser, and out again.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Redirect, Response},
};
use maud::html;
use reqwest::Url;
use weir_policy::{Identity, Method, PrincipalKind, Strength};

use super::{
    error::Error,
    page,
    request::{self, Ask, Connection, VISIT},
    settings::Site,
    visits::{self, VisitKey},
};
use crate::{
    audit::record::Event,
    identity::{
        Secret,
        issuers::Issuer,
        login::{CodeRequest, Granted, LoginError, Wanted},
        oidc::random_text,
    },
    telemetry,
};

/// Between leaving for the provider and coming back.
const PATIENCE: Duration = Duration::from_mins(10);
const MOST: usize = 256;

/// The cookie that ties the way back to the browser that left.
const LEFT: &str = "__Host-weir-login";

/// Log-ins under way.
#[derive(Debug, Default)]
pub(super) struct Logins {
    left: Mutex<HashMap<VisitKey, (Instant, CodeRequest)>>,
}

impl Logins {
    fn leave(&self, cookie: &Secret, request: CodeRequest) {
        let now = Instant::now();
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        left.retain(|_, (since, _)| now.saturating_duration_since(*since) < PATIENCE);
        if left.len() >= MOST
            && let Some(oldest) = left
                .iter()
                .min_by_key(|(_, (since, _))| *since)
                .map(|(key, _)| *key)
        {
            left.remove(&oldest);
        }
        left.insert(visits::key(cookie.expose()), (now, request));
    }

    fn come_back(&self, cookie: &str) -> Option<CodeRequest> {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, request) = left.remove(&visits::key(cookie))?;
        (since.elapsed() < PATIENCE).then_some(request)
    }
}

/// `GET /login`
pub(super) async fn page(ask: Ask) -> Result<Response, Error> {
    let (site, _) = place(&ask)?;
    let host = Url::parse(&site.issuer)
        .ok()
        .and_then(|url| url.host_str().map(str::to_owned))
        .unwrap_or_else(|| site.issuer.clone());
    Ok(page::bare(
        StatusCode::OK,
        "Log in",
        &html! {
            p { "This page shows who uses which data on this host. What you may see depends on your groups." }
            p { a.button href="/login/start" { "Log in at " (host) } }
        },
    ))
}

/// `GET /login/start`: to the provider.
pub(super) async fn start(ask: Ask) -> Result<Response, Error> {
    let (site, issuer) = place(&ask)?;
    ask.web
        .tries
        .take(&request::caller(&ask.connection), Instant::now())
        .map_err(Error::too_often)?;
    let redirect = format!("{}/login/callback", site.origin);
    let (url, request) = CodeRequest::begin(&issuer, redirect, Wanted::default())
        .await
        .map_err(|error| refused(&error))?;
    let cookie = random()?;
    ask.web.logins.leave(&cookie, request);
    let mut response = Redirect::to(url.as_str()).into_response();
    // `Lax`: the way back begins at the provider.
    set_cookie(
        &mut response,
        &format!(
            "{LEFT}={}; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age={}",
            cookie.expose(),
            PATIENCE.as_secs()
        ),
    )?;
    Ok(response)
}

/// `GET /login/callback`: back from the provider.
pub(super) async fn callback(ask: Ask) -> Result<Response, Error> {
    let (site, issuer) = place(&ask)?;
    ask.web
        .tries
        .take(&request::caller(&ask.connection), Instant::now())
        .map_err(Error::too_often)?;
    let stray = || {
        Error::bad("this is not the answer to a log-in of this browser")
            .hint("log in again at /login")
    };
    let left = request::cookie(&ask.headers, LEFT)
        .and_then(|cookie| ask.web.logins.come_back(cookie))
        .ok_or_else(stray)?;
    let url = Url::parse(&format!("{}{}", site.origin, ask.uri)).map_err(|_| stray())?;
    let answer = left.answer(&url).ok_or_else(stray)?;
    let granted = left
        .finish(issuer, &answer)
        .await
        .map_err(|error| refused(&error))?;
    let cookie = admit(&ask, granted).await?;
    // A page and no redirect: browsers send no strict cookie along a way that began elsewhere.
    let mut response = page::bare(
        StatusCode::OK,
        "Logged in",
        &html! {
            meta http-equiv="refresh" content="0; url=/";
            p { a.button href="/" { "To the start" } }
        },
    );
    set_cookie(
        &mut response,
        &format!(
            "{VISIT}={}; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age={}",
            cookie.expose(),
            visits::LONGEST.as_secs()
        ),
    )?;
    set_cookie(&mut response, &forget(LEFT, "Lax"))?;
    Ok(response)
}

/// `POST /logout`
pub(super) async fn logout(ask: Ask) -> Result<Response, Error> {
    if let Some(key) = &ask.visitor.visit {
        ask.web.visits.end(key);
        record(&ask, "log-out", ask.visitor.identity.clone())?;
    }
    let mut response = ask.done("/login", &serde_json::json!({ "ended": true }));
    set_cookie(&mut response, &forget(VISIT, "Strict"))?;
    Ok(response)
}

/// Lets a person in who has a role here; the provider's refresh token is of no use and goes back.
async fn admit(ask: &Ask, granted: Granted) -> Result<Secret, Error> {
    let verified = granted.verified.clone();
    granted.give_back().await;
    let principal = verified.principal;
    if principal.kind != PrincipalKind::Human {
        return Err(Error::new(
            StatusCode::FORBIDDEN,
            "this page is for people, and the provider says that this is none",
        ));
    }
    let identity = Identity {
        principal,
        actors: Vec::new(),
        method: Method::Code.word().to_owned(),
        strength: Strength::Strong,
        purpose: None,
        delegation: None,
    };
    let roles = ask
        .web
        .settings
        .roles
        .of(identity.principal.proven_groups());
    if roles.is_empty() {
        tracing::warn!(
            subject = identity.principal.subject,
            "somebody without a role logged in at the web page"
        );
        return Err(
            Error::new(StatusCode::FORBIDDEN, "none of your groups has a role here")
                .hint("[admin] roles in weir's configuration says whose have"),
        );
    }
    let until = Duration::from_secs(u64::try_from(verified.not_after_s).unwrap_or(0));
    record(ask, "log-in", Some(identity.clone()))?;
    let cookie = random()?;
    let csrf = random()?;
    ask.web.visits.begin(&cookie, csrf, identity, roles, until);
    Ok(cookie)
}

/// Records what was done here; what cannot be recorded is not done.
pub(super) fn record(ask: &Ask, what: &str, identity: Option<Identity>) -> Result<(), Error> {
    let event = Event::Administered {
        what: what.to_owned(),
        identity,
        uid: ask.visitor.uid,
    };
    ask.web
        .reach
        .journal
        .event(&event)
        .map(drop)
        .map_err(|error| Error::internal("this cannot be recorded, so it is not done", &error))
}

/// Where people log in: on TLS only, as the kernel says who asks on the socket.
fn place(ask: &Ask) -> Result<(Site, Arc<Issuer>), Error> {
    let (Connection::Tls(_), Some(site)) = (&ask.connection, &ask.web.site) else {
        return Err(Error::new(
            StatusCode::NOT_FOUND,
            "nobody logs in on this socket: weir sees which process asks",
        )
        .hint("log the process in with `weir login`"));
    };
    let issuer = ask.web.reach.identities.issuers().named(&site.issuer);
    let issuer = issuer.ok_or_else(Error::not_found)?;
    Ok((site.clone(), Arc::clone(issuer)))
}

fn refused(error: &LoginError) -> Error {
    tracing::warn!(
        error = telemetry::chain(error),
        "a log-in at the web page failed"
    );
    let status = match error {
        LoginError::Denied => StatusCode::FORBIDDEN,
        LoginError::Answer { .. } | LoginError::Token(_) => StatusCode::BAD_REQUEST,
        _ => StatusCode::BAD_GATEWAY,
    };
    Error::new(status, error.to_string()).hint("log in again at /login; weir's log says more")
}

fn random() -> Result<Secret, Error> {
    random_text().map(Secret::new).map_err(|_| {
        Error::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the system gives no random numbers",
        )
    })
}

fn forget(name: &str, same_site: &str) -> String {
    format!("{name}=; Path=/; Secure; HttpOnly; SameSite={same_site}; Max-Age=0")
}

fn set_cookie(response: &mut Response, text: &str) -> Result<(), Error> {
    let value = HeaderValue::from_str(text)
        .map_err(|error| Error::internal("a cookie cannot be written", &error))?;
    response.headers_mut().append(header::SET_COOKIE, value);
    Ok(())
}
