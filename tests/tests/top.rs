//! `weir top` at a real terminal: it shows sessions, explains, filters, decides what waits, ends sessions, outlives the agent,
//! and gives the terminal back.

use std::fs;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;
use tests::{Identity, Lab, LabOptions, Psql};

#[path = "top/pty.rs"]
mod pty;

use pty::AtTerminal;

const PACK: &str = "version: 1
defaults: { effect: allow }
rules:
  - id: deletes-wait
    match: { kind: [delete] }
    effect: { approve: { groups: [dba], quorum: 1, ttl: 5m } }
  - id: nothing-is-dropped
    match: { kind: [ddl] }
    effect: { deny: we keep what we have }
";

/// One agent and one terminal for all of it: each part leaves things as the next needs them.
#[test]
fn top_shows_and_does_what_its_keys_say() -> Result<()> {
    let folder = tempfile::tempdir()?;
    fs::write(folder.path().join("rules.yaml"), PACK)?;
    let mut lab = Lab::start(&LabOptions {
        policy: Some(folder.path().to_owned()),
        ..LabOptions::default()
    })?;
    let mut bob = Psql::start(&lab, Identity::Bob)?;
    let mut nobody = Psql::start(&lab, Identity::Nobody)?;
    for client in [&mut bob, &mut nobody] {
        client.say("select 'here';")?;
        ensure!(client.says("here"), "there is no session");
    }
    let mut top = at_terminal(&lab, Identity::Alice, &[])?;
    top.shows("both sessions", |text| {
        text.contains("bob") && text.contains("unidentified") && text.contains("2 sessions")
    })?;
    ensure!(!top.is_given_back()?, "it has not taken the terminal over");

    filters_and_tells_all_about_a_session(&mut top)?;
    explains_a_refusal(&mut top, &mut bob)?;
    what_has_no_colour_has_none(&lab, &top)?;
    refusals_are_said(&lab)?;
    approves_what_waits(&lab, &mut top, &mut bob)?;
    ends_a_session(&lab, &mut top, &mut bob)?;

    lab.agent().signal(Signal::SIGSTOP)?;
    let silent = top.shows("that the agent hangs", |text| {
        text.contains("no answer of the agent")
    });
    lab.agent().signal(Signal::SIGCONT)?;
    silent?;
    lab.agent_mut().stop()?;
    top.shows("that the agent is gone", |text| {
        text.contains("does not answer") && !text.contains("unidentified")
    })?;
    lab.agent_mut().resume()?;
    top.shows("the agent that is back", |text| {
        text.contains("0 sessions") && text.contains("no session is open")
    })?;

    top.signal(Signal::SIGTERM)?;
    ensure!(top.end()?.success(), "it fails:\n{}", top.written());
    ensure!(top.is_given_back()?, "the terminal stays taken over");
    Ok(())
}

fn filters_and_tells_all_about_a_session(top: &mut AtTerminal) -> Result<()> {
    top.press("/BoB\r")?;
    top.shows("bob alone", |text| {
        text.contains("bob") && !text.contains("unidentified")
    })?;
    top.press("\r")?;
    top.shows("all about bob's session", |text| {
        [
            "bob by login",
            "psql",
            "statements/s",
            "last statements",
            "allow, by",
        ]
        .iter()
        .all(|part| text.contains(part))
    })?;
    top.press("q")?;
    top.shows("the list again", |text| text.contains("q quit"))?;
    Ok(())
}

fn explains_a_refusal(top: &mut AtTerminal, bob: &mut Psql) -> Result<()> {
    bob.say("drop table products;")?;
    ensure!(bob.says("nothing-is-dropped"), "it is not refused");
    // Not the last statement: it is the last that was refused.
    bob.say("select 'still here';")?;
    ensure!(bob.says("still here"));
    top.press("e")?;
    top.shows("why", |text| {
        text.contains("drop table products")
            && text.contains("deny, by nothing-is-dropped: we keep what we have")
            && text.contains("matched: nothing-is-dropped")
    })?;
    top.press("q")?;
    top.shows("a refusal", |text| text.contains("1 denied"))?;
    Ok(())
}

fn what_has_no_colour_has_none(lab: &Lab, coloured: &AtTerminal) -> Result<()> {
    let mut plain = at_terminal(lab, Identity::Alice, &[("NO_COLOR", "1")])?;
    plain.shows("the refusal", |text| text.contains("1 denied"))?;
    plain.press("q")?;
    ensure!(plain.end()?.success());
    ensure!(plain.is_given_back()?);
    ensure!(
        coloured.written().contains(RED),
        "what was refused is not red"
    );
    ensure!(!plain.written().contains(RED), "{}", plain.written());
    Ok(())
}

/// In an AI agent's run nobody is an administrator.
fn refusals_are_said(lab: &Lab) -> Result<()> {
    let mut refused = at_terminal(lab, Identity::ChurnBot, &[])?;
    ensure!(refused.end()?.code() == Some(1));
    let said = refused.text();
    ensure!(
        said.contains("is for root, outside of any agent's run"),
        "{said}"
    );
    ensure!(refused.is_given_back()?);
    Ok(())
}

fn approves_what_waits(lab: &Lab, top: &mut AtTerminal, bob: &mut Psql) -> Result<()> {
    bob.say("delete from products where title = 'none'; select 'deleted';")?;
    top.shows("that something waits", |text| text.contains("1 held"))?;
    top.press("\t")?;
    top.shows("what waits", |text| {
        text.contains("request") && text.contains("delete from")
    })?;
    top.press("a")?;
    top.shows("the question", |text| text.contains("because:"))?;
    top.press("\r")?;
    top.shows("that a reason is wanted", |text| text.contains("say why"))?;
    top.press("looked at it\r")?;
    top.shows("that it is approved", |text| text.contains("is approved"))?;
    ensure!(bob.says("deleted"), "the approved statement does not run");
    is_recorded(lab, "looked at it")?;
    top.press("h")?;
    top.shows("the sessions", |text| text.contains("identity"))?;
    Ok(())
}

fn ends_a_session(lab: &Lab, top: &mut AtTerminal, bob: &mut Psql) -> Result<()> {
    top.press("x")?;
    top.shows("the question", |text| {
        text.contains("end session") && text.contains("of bob (psql") && text.contains("y or n")
    })?;
    top.press("n")?;
    top.shows("that it was not ended", |text| {
        text.contains("nothing was done")
    })?;
    top.press("xyruns wild\r")?;
    top.shows("that it was ended", |text| text.contains("was ended"))?;
    ensure!(bob.ends_with("due to administrator command"));
    top.shows("that bob is gone", |text| {
        text.contains("no open session has this text")
    })?;
    top.press("\u{1b}")?;
    top.shows("the other session", |text| text.contains("unidentified"))?;
    is_recorded(lab, "runs wild")
}

/// Whether an event has this reason, and names alice for it.
fn is_recorded(lab: &Lab, reason: &str) -> Result<()> {
    let events = lab.agent().json(&[
        "audit",
        "query",
        "--format",
        "json",
        "select body from events",
    ])?;
    let has = |event: &Value| {
        let event = event.to_string();
        event.contains(reason) && event.contains("alice")
    };
    let events = events.as_array().context("no events")?;
    ensure!(
        events.iter().any(has),
        "no record says {reason}: {events:?}"
    );
    Ok(())
}

fn at_terminal(lab: &Lab, identity: Identity, more: &[(&str, &str)]) -> Result<AtTerminal> {
    // In a session of its own, whose terminal this one is.
    let mut command = lab.command(identity, "setsid");
    command
        .arg("--ctty")
        .arg(lab.agent().program())
        .arg("top")
        .env_remove("NO_COLOR")
        .envs(more.iter().copied());
    AtTerminal::start(&mut command, 80, 24)
}

const RED: &str = "\u{1b}[38;5;1;";
