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
    routes::page_at,
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
/// Log-ins under way, of all and of one who asks.
const MOST: usize = 256;
const MOST_OF_ONE: usize = 8;

/// The cookie that ties the way back to the browser that left.
const LEFT: &str = "__Host-weir-login";

/// Log-ins under way.
#[derive(Debug, Default)]
pub(super) struct Logins {
    left: Mutex<Pending<Away>>,
}

/// Somebody who is at the provider.
#[derive(Debug)]
struct Away {
    request: CodeRequest,
    /// The page that they wanted to see.
    to: String,
}

/// What waits for somebody to come back.
#[derive(Debug)]
struct Pending<T>(HashMap<VisitKey, Left<T>>);

#[derive(Debug)]
struct Left<T> {
    caller: String,
    since: Instant,
    what: T,
}

impl<T> Default for Pending<T> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<T> Pending<T> {
    /// Where there is no room, the oldest of who has most has to go: a stranger cannot push out others.
    fn add(&mut self, key: VisitKey, caller: &str, what: T, now: Instant) {
        let is_pending = |left: &Left<T>| now.saturating_duration_since(left.since) < PATIENCE;
        self.0.retain(|_, left| is_pending(left));
        let mut counts: HashMap<&str, usize> = HashMap::new();
        for left in self.0.values() {
            *counts.entry(&left.caller).or_default() += 1;
        }
        let own = counts.get(caller).copied().unwrap_or_default();
        let loser = if own >= MOST_OF_ONE {
            Some(caller.to_owned())
        } else if self.0.len() >= MOST {
            let most = counts.iter().max_by_key(|(_, count)| **count);
            most.map(|(caller, _)| (*caller).to_owned())
        } else {
            None
        };
        if let Some(loser) = loser {
            self.remove_oldest(&loser);
        }
        let left = Left {
            caller: caller.to_owned(),
            since: now,
            what,
        };
        self.0.insert(key, left);
    }

    fn remove_oldest(&mut self, caller: &str) {
        let of_caller = self.0.iter().filter(|(_, left)| left.caller == caller);
        let oldest = of_caller.min_by_key(|(_, left)| left.since);
        if let Some(key) = oldest.map(|(key, _)| *key) {
            self.0.remove(&key);
        }
    }

    fn take(&mut self, key: &VisitKey, now: Instant) -> Option<T> {
        let left = self.0.remove(key)?;
        (now.saturating_duration_since(left.since) < PATIENCE).then_some(left.what)
    }
}

impl Logins {
    fn leave(&self, cookie: &Secret, caller: &str, away: Away) {
        let key = visits::key(cookie.expose());
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        left.add(key, caller, away, Instant::now());
    }

    fn come_back(&self, cookie: &str) -> Option<Away> {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        left.take(&visits::key(cookie), Instant::now())
    }
}

/// The page that somebody wants to see after the log-in; the start where they name none of this site's.
fn wanted(ask: &Ask) -> &str {
    ask.query("to").and_then(page_at).unwrap_or("/")
}

/// `GET /login`
pub(super) async fn page(ask: Ask) -> Result<Response, Error> {
    let (site, _) = place(&ask)?;
    let host = Url::parse(&site.issuer)
        .ok()
        .and_then(|url| url.host_str().map(str::to_owned))
        .unwrap_or_else(|| site.issuer.clone());
    let start = match wanted(&ask) {
        "/" => "/login/start".to_owned(),
        to => page::link("/login/start", [("to", to)]),
    };
    Ok(page::bare(
        StatusCode::OK,
        "Log in",
        &html! {
            p { "This page shows who uses which data on this host. What you may see depends on your groups." }
            p { a.button href=(start) { "Log in at " (host) } }
        },
    ))
}

/// `GET /login/start`: to the provider.
pub(super) async fn start(ask: Ask) -> Result<Response, Error> {
    let (site, issuer) = place(&ask)?;
    let caller = request::caller(&ask.connection);
    ask.web
        .tries
        .take(&caller, Instant::now())
        .map_err(Error::too_often)?;
    let redirect = format!("{}/login/callback", site.origin);
    let (url, request) = CodeRequest::begin(&issuer, redirect, Wanted::default())
        .await
        .map_err(|error| refused(&error))?;
    let cookie = random()?;
    let to = wanted(&ask).to_owned();
    ask.web.logins.leave(&cookie, &caller, Away { request, to });
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
    let Away { request, to } = request::cookie(&ask.headers, LEFT)
        .and_then(|cookie| ask.web.logins.come_back(cookie))
        .ok_or_else(stray)?;
    let url = Url::parse(&format!("{}{}", site.origin, ask.uri)).map_err(|_| stray())?;
    let answer = request.answer(&url).ok_or_else(stray)?;
    let granted = request
        .finish(issuer, &answer)
        .await
        .map_err(|error| refused(&error))?;
    let cookie = admit(&ask, granted).await?;
    // A page and no redirect: browsers send no strict cookie along a way that began elsewhere.
    let mut response = page::forward("Logged in", &to);
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

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: usize) -> VisitKey {
        visits::key(&number.to_string())
    }

    #[test]
    fn who_begins_many_log_ins_pushes_out_only_their_own() {
        let mut pending = Pending::default();
        let begun = Instant::now();
        pending.add(key(0), "alice", "alice's", begun);
        for number in 1..=20 {
            let now = begun + Duration::from_secs(number);
            let number = usize::try_from(number).expect("small");
            pending.add(key(number), "mallory", "mallory's", now);
        }
        assert_eq!(pending.0.len(), 1 + MOST_OF_ONE);
        assert_eq!(pending.take(&key(0), begun), Some("alice's"));
        assert_eq!(pending.take(&key(12), begun), None);
        assert_eq!(pending.take(&key(20), begun), Some("mallory's"));
    }

    #[test]
    fn where_all_are_taken_the_oldest_of_who_has_most_goes() {
        let mut pending = Pending::default();
        let begun = Instant::now();
        pending.add(key(0), "alice", 0, begun);
        let mut number = 1;
        while pending.0.len() < MOST {
            let caller = format!("address {}", number / MOST_OF_ONE);
            pending.add(
                key(number),
                &caller,
                number,
                begun + Duration::from_millis(1),
            );
            number += 1;
        }
        pending.add(key(number), "bob", number, begun + Duration::from_millis(2));
        assert_eq!(pending.0.len(), MOST);
        assert_eq!(pending.take(&key(0), begun), Some(0));
        assert_eq!(pending.take(&key(number), begun), Some(number));
    }

    #[test]
    fn who_comes_back_too_late_begins_anew() {
        let mut pending = Pending::default();
        let begun = Instant::now();
        pending.add(key(0), "alice", (), begun);
        assert_eq!(pending.take(&key(0), begun + PATIENCE), None);
    }
}
