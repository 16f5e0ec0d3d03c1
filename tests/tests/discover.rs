//! `weir discover` against a live server, and `auto_classify = "enforce"`: what it is sure of is masked from then on, also
//! after the agent has been started again.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tests::verdicts::{self, Program};
use tests::{Governed, Identity, LabOptions};

#[test]
fn what_discover_is_sure_of_is_masked_from_then_on() -> Result<()> {
    let options = LabOptions {
        settings: vec![("policy.auto_classify".into(), "enforce".into())],
        ..LabOptions::default()
    };
    // A class that names no column of the shop: all that is masked was found.
    let classes = [("public.nothing.here".to_owned(), "pii.ssn".to_owned())];
    let mut site = Governed::start(&classes.into(), options)?;
    let truth = seen(&site, Who::Beside)?;
    // Nobody has spoken to the database yet, so there is nothing to look at.
    ensure!(!site.lab().weir(&["discover"]).output()?.status.success());
    seen(&site, Who::Bob)?;

    let found = discover(&site)?;
    let proposals = found[0]["proposals"]
        .as_array()
        .context("no proposals")?
        .clone();
    for (column, class) in [("ssn", "pii.ssn"), ("email", "pii.email")] {
        let proposed = proposals
            .iter()
            .find(|proposed| {
                proposed["column"]["relation"] == "customers"
                    && proposed["column"]["column"] == column
            })
            .with_context(|| format!("nothing is proposed for {column}: {proposals:#?}"))?;
        ensure!(
            proposed["proposal"]["class"]
                .as_str()
                .is_some_and(|found| found.starts_with(class)),
            "{proposed:#}"
        );
        ensure!(proposed["proposal"]["evidence"].is_object(), "{proposed:#}");
        ensure!(
            proposed["proposal"]["confidence"].as_u64() >= Some(85),
            "{proposed:#}"
        );
    }
    let printed = serde_json::to_string(&found)?;
    for value in [&truth.0, &truth.1] {
        ensure!(
            !printed.contains(value.as_str()),
            "{value} is shown: {printed}"
        );
    }

    wait_until_masked(&site, &truth)?;
    let status = site.lab().agent().status()?;
    ensure!(
        status["catalogs"][0]["governed_columns"].as_u64() >= Some(2),
        "{:#}",
        status["catalogs"]
    );
    let again = discover(&site)?;
    ensure!(
        !again.to_string().contains("\"ssn\""),
        "what holds is not proposed again: {again:#}"
    );

    site.lab_mut().agent_mut().stop()?;
    site.lab_mut().agent_mut().resume()?;
    let (ssn, email) = seen(&site, Who::Bob)?;
    ensure!(
        ssn != truth.0 && email != truth.1,
        "after a restart bob saw {ssn} and {email}"
    );
    // Who may see everything still does.
    ensure!(seen(&site, Who::Alice)? == truth);
    Ok(())
}

#[test]
fn what_was_prepared_before_gives_nothing_away_after() -> Result<()> {
    let options = LabOptions {
        settings: vec![("policy.auto_classify".into(), "enforce".into())],
        ..LabOptions::default()
    };
    let classes = [("public.nothing.here".to_owned(), "pii.ssn".to_owned())];
    let site = Governed::start(&classes.into(), options)?;
    let program = Program::python("../discover/standing.py").patience(Duration::from_mins(6));
    verdicts::all_well(&verdicts::run(program.governed(site.lab(), Identity::Bob))?)
}

#[test]
fn what_is_only_proposed_masks_nothing() -> Result<()> {
    let options = LabOptions {
        settings: vec![("policy.auto_classify".into(), "propose".into())],
        ..LabOptions::default()
    };
    let classes = [("public.nothing.here".to_owned(), "pii.ssn".to_owned())];
    let site = Governed::start(&classes.into(), options)?;
    let truth = seen(&site, Who::Beside)?;
    seen(&site, Who::Bob)?;
    discover(&site)?;
    ensure!(seen(&site, Who::Bob)? == truth);
    Ok(())
}

#[derive(Clone, Copy)]
enum Who {
    Bob,
    Alice,
    Beside,
}

/// The first customer's number and address.
fn seen(site: &Governed, who: Who) -> Result<(String, String)> {
    let program = Program::python("../discover/look.py");
    let command = match who {
        Who::Bob => program.governed(site.lab(), Identity::Bob),
        Who::Alice => program.governed(site.lab(), Identity::Alice),
        Who::Beside => program.direct(site.lab()),
    };
    let verdicts = verdicts::run(command)?;
    let value = |case: &str| {
        let verdict = verdicts.iter().find(|verdict| verdict.case == case);
        let value = verdict.and_then(|verdict| verdict.got.as_str());
        value.map(str::to_owned).context("no value")
    };
    Ok((value("ssn")?, value("email")?))
}

/// Runs the command until no other look is in its way.
fn discover(site: &Governed) -> Result<Value> {
    let end = Instant::now() + PATIENCE;
    loop {
        let output = site.lab().weir(&["discover", "--json"]).output()?;
        if output.status.success() {
            return serde_json::from_slice(&output.stdout).context("discover printed no JSON");
        }
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if Instant::now() > end || !said.contains("another look") {
            bail!("discover failed: {said}");
        }
        thread::sleep(Duration::from_millis(200));
    }
}

fn wait_until_masked(site: &Governed, truth: &(String, String)) -> Result<()> {
    let end = Instant::now() + PATIENCE;
    loop {
        let (ssn, email) = seen(site, Who::Bob)?;
        if ssn != truth.0 && email != truth.1 {
            return Ok(());
        }
        ensure!(Instant::now() < end, "bob still sees {ssn} and {email}");
        thread::sleep(Duration::from_secs(1));
    }
}

/// The agent takes in what was found every quarter of a minute; a busy machine may take longer.
const PATIENCE: Duration = Duration::from_mins(2);
