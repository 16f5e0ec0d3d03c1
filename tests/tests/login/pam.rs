//! People are asked as they log in to the host, by a real sshd and the line of `policies/pam.md`.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use tests::{place, verdicts};

use super::*;

/// The host with that sshd, taking orders of `drivers/pam_login.py`.
struct Host {
    process: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Host {
    fn start(world: &World, line: &str) -> Result<Self> {
        let mut command = Command::new("python3");
        command
            .arg(verdicts::drivers().join("pam_login.py"))
            .arg(line)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        world.lab.set_environment(&mut command);
        command
            .env("WEIR_BIN", place::weir()?)
            .env("PYTHONDONTWRITEBYTECODE", "1");
        let mut process = command.spawn().context("cannot run python3")?;
        let input = process.stdin.take();
        let output = process.stdout.take().context("no standard output")?;
        Ok(Self {
            process,
            input,
            output: BufReader::new(output),
        })
    }

    fn order(&mut self, order: &Value) -> Result<Value> {
        let input = self.input.as_mut().context("the host is closed")?;
        writeln!(input, "{order}").context("the host takes no order")?;
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        serde_json::from_str(&line).with_context(|| format!("{line:?} is no answer to {order}"))
    }

    /// What a person sees who logs in to the host.
    fn ssh(&mut self, name: &str, user: &str) -> Result<String> {
        let seen = self.order(&json!({ "ssh": name, "user": user }))?;
        Ok(text(&seen["seen"])?.to_owned())
    }

    /// Whom weir takes a session for; null is nobody.
    fn who(&mut self, name: &str) -> Result<Value> {
        let ran = self.order(&json!({ "in": name, "run": "/run/weir-test/weir whoami --json" }))?;
        let who: Value = serde_json::from_str(text(&ran["out"])?.trim())
            .with_context(|| format!("no JSON: {ran}"))?;
        Ok(principal(&who)["subject"].clone())
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // At the end of its orders it ends its sessions and sshd.
        self.input = None;
        let _ = self.process.wait();
    }
}

#[test]
fn whoever_logs_in_to_the_host_is_asked_by_pam_and_waits_for_nothing() -> Result<()> {
    let world = World::start(Engine::None, "")?;
    world
        .provider
        .account("games", &json!({ "preferred_username": "games" }))?;
    let example = fs::read_to_string(place::project().join("policies/pam.md"))?;
    let line = example
        .lines()
        .find(|line| line.starts_with("session "))
        .context("policies/pam.md has no line for PAM")?;
    let mut host = Host::start(&world, line)?;

    // The shell is there before anybody has entered the code; only this session is logged in by it.
    let seen = host.ssh("first", "games")?;
    let url = address(&seen)?;
    let other = address(&host.ssh("second", "games")?)?;
    ensure!(host.who("first")?.is_null(), "nobody has entered a code");
    world.provider.visit(&url, "games")?;
    eventually("the agent finishes the login", || {
        Ok(host.who("first")? == "games")
    })?;
    ensure!(host.who("second")?.is_null(), "another session's login");

    // Somebody else's login at the provider is not this account's, whoever entered the code.
    world.provider.visit(&other, "bob")?;
    eventually("bob's login comes to nothing", || {
        Ok(world
            .lab
            .agent()
            .log()
            .contains("logged in at the provider, but this is the account"))
    })?;
    ensure!(host.who("second")?.is_null(), "bob is not games");
    let before = world.provider.refresh_tokens()?;
    ensure!(before == 1, "bob's refresh token was given back: {before}");

    // A session that has ended is logged in by nobody, and its tokens are given back.
    let late = address(&host.ssh("third", "games")?)?;
    host.order(&json!({ "hang_up": "third" }))?;
    world.provider.visit(&late, "games")?;
    eventually("a login whose session has ended comes to nothing", || {
        Ok(world.lab.agent().log().contains("its session has ended"))
    })?;
    ensure!(world.provider.refresh_tokens()? == 1, "tokens were kept");

    // Nobody but root names an account, and root none that the session is not.
    for (user, uid, why) in [
        ("backup", 5, "only root may log in for another account"),
        ("games", 5, "only root may log in for another account"),
        ("root", 34, "begun by another user"),
    ] {
        let answer = host.order(&json!({ "as": user, "claims": uid }))?;
        ensure!(refused(&answer)?.contains(why), "{user} {uid}: {answer}");
    }
    Ok(())
}

/// The address with the code in it, in what a person sees.
fn address(seen: &str) -> Result<String> {
    let direct = seen
        .split_whitespace()
        .skip_while(|word| *word != "or")
        .nth(1);
    direct
        .map(str::to_owned)
        .with_context(|| format!("no address is shown: {seen:?}"))
}
