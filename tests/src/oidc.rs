//! A real OpenID provider for the tests of logins, people who log in there, and login sessions of this host.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use crate::http::post;
use crate::lab::Lab;
use crate::place;
use crate::service::{Ending, Service};
use crate::undo::Undo;

/// A running provider (npm `oidc-provider`), with what a test can have done to it.
#[derive(Debug)]
pub struct OidcProvider {
    _service: Service,
    issuer: String,
    control: String,
    client_key: String,
}

impl OidcProvider {
    /// Starts a provider with its files in `folder`.
    ///
    /// # Errors
    ///
    /// When it does not come up.
    pub fn start(folder: &Path) -> Result<Self> {
        let ready = folder.join("provider.ready");
        let mut command = Command::new("node");
        command
            .arg(scripts().join("provider.mjs"))
            .arg(&ready)
            .env("WEIR_TEST_NODE_MODULES", place::node_modules()?)
            .current_dir(folder);
        let service = Service::start(
            "the OpenID provider",
            command,
            &folder.join("provider.log"),
            Ending::default(),
        )?;
        service.wait_until(Duration::from_mins(1), || ready.exists())?;
        let about: Value = serde_json::from_str(&fs::read_to_string(&ready)?)
            .context("cannot read where the provider is")?;
        let text = |name: &str| about[name].as_str().unwrap_or_default().to_owned();
        Ok(Self {
            _service: service,
            issuer: text("issuer"),
            control: text("control"),
            client_key: text("client_key"),
        })
    }

    /// Its address, which is also the `iss` of its tokens.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The private key (PEM) of the client `weir-key`.
    #[must_use]
    pub fn client_key(&self) -> &str {
        &self.client_key
    }

    /// Has something done to it: see the orders in `tests/login/provider.mjs`.
    ///
    /// # Errors
    ///
    /// When it cannot be done.
    pub fn order(&self, order: &Value) -> Result<Value> {
        let (status, body) = post(&self.control, "application/json", "", &order.to_string())?;
        ensure!(status == 200, "the provider could not do {order}: {body}");
        serde_json::from_str(&body).with_context(|| format!("the provider answered {body}"))
    }

    /// A person's claims from now on.
    ///
    /// # Errors
    ///
    /// As [`OidcProvider::order`].
    pub fn account(&self, login: &str, claims: &Value) -> Result<()> {
        self.order(&json!({ "op": "account", "login": login, "claims": claims }))
            .map(drop)
    }

    /// A person opens an address in a browser and logs in; returns the last page.
    ///
    /// # Errors
    ///
    /// As [`OidcProvider::order`].
    pub fn visit(&self, url: &str, login: &str) -> Result<Value> {
        self.order(&json!({ "op": "visit", "url": url, "login": login }))
    }

    /// How many refresh tokens are good.
    ///
    /// # Errors
    ///
    /// As [`OidcProvider::order`].
    pub fn refresh_tokens(&self) -> Result<u64> {
        let count = self.order(&json!({ "op": "refresh_tokens" }))?;
        count.as_u64().context("no number")
    }
}

/// A login session of this host, as some user.
#[derive(Debug)]
pub struct Session {
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    _undo: Undo,
}

/// How a command ended.
#[derive(Debug)]
pub struct Ran {
    /// Its exit status.
    pub status: i64,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Session {
    /// Begins a session of the user, with the lab's environment, inside of the watched cgroup.
    ///
    /// # Errors
    ///
    /// When it cannot be begun: that needs root.
    pub fn begin(lab: &Lab, uid: u32) -> Result<Self> {
        let cgroup = lab.cgroup().join("clients");
        let mut command = Command::new("python3");
        command
            .arg(scripts().join("session.py"))
            .arg(uid.to_string())
            .arg(&cgroup)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        lab.set_environment(&mut command);
        let mut child: Child = command.spawn().context("cannot run python3")?;
        let input = child.stdin.take().context("no standard input")?;
        let output = child.stdout.take().context("no standard output")?;
        let undo = Undo::new(move || {
            let _ = child.kill();
            let _ = child.wait();
        });
        Ok(Self {
            input,
            output: BufReader::new(output),
            _undo: undo,
        })
    }

    /// Gives an order of `tests/login/session.py`.
    ///
    /// # Errors
    ///
    /// When the session is over.
    pub fn order(&mut self, order: &Value) -> Result<Value> {
        writeln!(self.input, "{order}").context("the session takes no order")?;
        let mut line = String::new();
        self.output
            .read_line(&mut line)
            .context("the session does not answer")?;
        serde_json::from_str(&line)
            .with_context(|| format!("the session answered {line:?} to {order}"))
    }

    /// Runs a command to its end.
    ///
    /// # Errors
    ///
    /// As [`Session::order`].
    pub fn run(&mut self, arguments: &[&str]) -> Result<Ran> {
        let ran = self.order(&json!({ "run": arguments }))?;
        Ok(Ran::of(&ran))
    }

    /// Starts a command and returns its first line.
    ///
    /// # Errors
    ///
    /// As [`Session::order`].
    pub fn start(&mut self, arguments: &[&str]) -> Result<String> {
        let started = self.order(&json!({ "start": arguments }))?;
        Ok(started["line"].as_str().unwrap_or_default().to_owned())
    }

    /// Waits for the command that was started.
    ///
    /// # Errors
    ///
    /// As [`Session::order`].
    pub fn finish(&mut self) -> Result<Ran> {
        let ran = self.order(&json!({ "finish": true }))?;
        Ok(Ran::of(&ran))
    }

    /// Asks the agent, on a connection that stays open.
    ///
    /// # Errors
    ///
    /// As [`Session::order`].
    pub fn ask(&mut self, request: &Value) -> Result<Value> {
        self.order(&json!({ "ask": request }))
    }

    /// Waits for the login that this session's connection began; the agent's answer, whatever it is.
    ///
    /// # Errors
    ///
    /// When it takes longer than a minute.
    pub fn wait_for_login(&mut self) -> Result<Value> {
        let deadline = Instant::now() + Duration::from_mins(1);
        loop {
            let answer = self.ask(&json!({ "op": "login_wait" }))?;
            if answer["ok"] != "waiting" {
                self.order(&json!({ "hang_up": true }))?;
                return Ok(answer);
            }
            ensure!(Instant::now() < deadline, "the login does not end");
        }
    }

    /// Who this session is, as the agent says: an answer of `whoami`.
    ///
    /// # Errors
    ///
    /// As [`Session::order`].
    pub fn who(&mut self) -> Result<Value> {
        // One question per connection: an agent that was started anew is asked anew.
        self.order(&json!({ "hang_up": true }))?;
        let answer = self.ask(&json!({ "op": "whoami" }))?;
        self.order(&json!({ "hang_up": true }))?;
        Ok(answer["ok"].clone())
    }

    /// Waits until the agent says something of this session.
    ///
    /// # Errors
    ///
    /// When it does not within a minute and a half.
    pub fn who_becomes(&mut self, what: &str, is: impl Fn(&Value) -> bool) -> Result<Value> {
        let deadline = Instant::now() + Duration::from_secs(90);
        loop {
            let who = self.who()?;
            if is(&who) {
                return Ok(who);
            }
            if Instant::now() > deadline {
                bail!("{what} does not happen: {who}");
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Ran {
    fn of(value: &Value) -> Self {
        let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
        Self {
            status: value["status"].as_i64().unwrap_or(-1),
            out: text("out"),
            err: text("err"),
        }
    }
}

fn scripts() -> std::path::PathBuf {
    place::project().join("tests/login")
}
