//! People log in at a real OpenID provider, by the agent: flows, renewal, and everything that ends a login.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use tests::http::post;
use tests::{Engine, Lab, LabOptions, OidcProvider, Session};

#[path = "login/ends.rs"]
mod ends;
#[path = "login/events.rs"]
mod events;
#[path = "login/flows.rs"]
mod flows;
#[path = "login/pam.rs"]
mod pam;
#[path = "login/renewal.rs"]
mod renewal;

/// A provider with people in it, and a lab that trusts it.
struct World {
    lab: Lab,
    provider: OidcProvider,
    _folder: tempfile::TempDir,
}

impl World {
    /// `settings` are further lines of the `[[issuer]]`.
    fn start(engine: Engine, settings: &str) -> Result<Self> {
        Self::start_with(engine, |_| settings.to_owned())
    }

    fn start_with(engine: Engine, settings: impl Fn(&Place<'_>) -> String) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let provider = OidcProvider::start(folder.path())?;
        for (login, groups) in [("alice", json!(["dba"])), ("bob", json!(["analyst"]))] {
            provider.account(
                login,
                &json!({ "preferred_username": login, "groups": groups }),
            )?;
        }
        let more = settings(&Place {
            folder: folder.path(),
            provider: &provider,
        });
        let text = format!(
            "issuer = {:?}\nscopes = [\"openid\", \"profile\", \"groups\", \"offline_access\"]\n\
             accounts = {{ root = \"alice\" }}\nprobe_seconds = 1\n{more}\n",
            provider.issuer()
        );
        let mut issuer: toml::Table = toml::from_str(&text)?;
        issuer.entry("client_id").or_insert_with(|| "weir".into());
        let lab = Lab::start(&LabOptions {
            engine,
            settings: vec![("issuer".into(), vec![toml::Value::Table(issuer)].into())],
            ..LabOptions::default()
        })?;
        Ok(Self {
            lab,
            provider,
            _folder: folder,
        })
    }

    fn session(&self) -> Result<Session> {
        Session::begin(&self.lab, ROOT)
    }

    /// The command `weir`, as the first word of a command of a session.
    fn weir(&self) -> String {
        self.lab.agent().program().display().to_string()
    }

    /// Logs a session in by the device's code.
    fn log_in(&self, session: &mut Session, login: &str) -> Result<Value> {
        let prompt = begin(session, &json!({}))?;
        self.provider.visit(text(&prompt["url_complete"])?, login)?;
        session.wait_for_login()
    }

    /// Waits until the provider has as many good refresh tokens.
    fn refresh_tokens_become(&self, count: u64) -> Result<()> {
        eventually("refresh tokens are given back", || {
            Ok(self.provider.refresh_tokens()? == count)
        })
    }
}

/// What a world's settings can name.
struct Place<'a> {
    folder: &'a std::path::Path,
    provider: &'a OidcProvider,
}

/// Begins a login and returns what a person is shown.
fn begin(session: &mut Session, more: &Value) -> Result<Value> {
    let mut request = json!({ "op": "login_begin" });
    for (name, value) in more.as_object().into_iter().flatten() {
        request[name] = value.clone();
    }
    let answer = session.ask(&request)?;
    ensure!(answer["ok"]["prompt"].is_object(), "no prompt: {answer}");
    Ok(answer["ok"]["prompt"].clone())
}

/// A login that succeeded: its binding.
fn bound(answer: &Value) -> Result<&Value> {
    let binding = &answer["ok"]["bound"];
    ensure!(binding.is_object(), "nobody is logged in: {answer}");
    Ok(binding)
}

/// A login that was refused: why.
fn refused(answer: &Value) -> Result<String> {
    let error = &answer["error"];
    ensure!(error.is_object(), "this was not refused: {answer}");
    Ok(format!("{}; {}", error["message"], error["hint"]))
}

fn text(value: &Value) -> Result<&str> {
    value.as_str().with_context(|| format!("no text: {value}"))
}

fn principal(who: &Value) -> &Value {
    &who["binding"]["identity"]["principal"]
}

fn eventually(what: &str, mut is: impl FnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(90);
    while !is()? {
        if Instant::now() > deadline {
            bail!("it does not happen that {what}");
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

const ROOT: u32 = 0;
/// An account that every Debian has.
const DAEMON: u32 = 1;
