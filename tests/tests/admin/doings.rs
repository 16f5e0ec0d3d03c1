//! What people do: follow the map, end a session, decide what waits, have a record explained and the chain verified.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use tests::{Identity, Psql};

use super::{LITERAL, VALUE, Visitor, World};

pub(crate) fn a_statement_shows_on_the_map_and_its_session_can_be_ended(
    world: &World,
    viewer: &Visitor,
    admin: &Visitor,
) -> Result<()> {
    world.web.lab.admin(&format!(
        "update products set title = '{VALUE}' where id = (select min(id) from products)"
    ))?;
    let events = world.site.follow(&viewer.jar, "/api/events")?;
    events.wait(Duration::from_secs(10), |_| true)?;
    let mut client = Psql::start(&world.web.lab, Identity::Bob)?;
    let answer = client.ask(&format!(
        "select title from products where title <> '{LITERAL}' order by id limit 1;"
    ))?;
    ensure!(answer == VALUE, "{answer}");
    let asked = Instant::now();
    events.wait(Duration::from_secs(5), |picture| {
        let flows = picture["flows"].as_array();
        flows.into_iter().flatten().any(|flow| {
            flow["identity"] == "bob" && flow["table"] == "products" && flow["effect"] == "allowed"
        })
    })?;
    ensure!(
        asked.elapsed() < Duration::from_secs(1),
        "the map is late: {:?}",
        asked.elapsed()
    );
    let sessions = world.get(viewer, "/api/sessions")?.json()?;
    let session = sessions["sessions"]
        .as_array()
        .and_then(|all| all.iter().find(|one| one["identity"] == "bob"))
        .and_then(|one| one["session"].as_u64())
        .with_context(|| format!("no session of bob: {sessions}"))?;
    let path = format!("/api/sessions/{session}/end");
    ensure!(world.post(viewer, &path, &[])?.status == 403);
    let silent = world.post(admin, &path, &[])?;
    ensure!(
        silent.status == 400 && silent.body.contains("say why"),
        "{silent:?}"
    );
    let why = ["--data-urlencode", "reason=runs since yesterday"];
    let ended = world.post(admin, &path, &why)?;
    ensure!(ended.status == 200, "{ended:?}");
    ensure!(client.ends_with("due to administrator command"));
    ensure!(world.post(admin, &path, &why)?.status == 404);
    let record = world.web.lab.agent().json(&[
        "audit",
        "query",
        "--format",
        "json",
        "select body from events where event = 'session_ended'",
    ])?;
    let record = record.to_string();
    ensure!(
        record.contains("adm") && record.contains("runs since yesterday"),
        "it is not recorded who did it and why: {record}"
    );
    Ok(())
}

pub(crate) fn what_waits_is_decided_by_approvers(
    world: &World,
    viewer: &Visitor,
    approver: &Visitor,
    auditor: &Visitor,
    admin: &Visitor,
) -> Result<()> {
    let mut client = Psql::start(&world.web.lab, Identity::Bob)?;
    client.say(&format!(
        "delete from products where title = '{LITERAL}'; select 'done';"
    ))?;
    let until = Instant::now() + Duration::from_secs(10);
    let id = loop {
        let list = world.get(approver, "/api/approvals")?.json()?;
        if let Some(id) = list["waiting"][0]["id"].as_u64() {
            break id;
        }
        ensure!(Instant::now() < until, "nothing waits: {list}");
        std::thread::sleep(Duration::from_millis(50));
    };
    for path in ["/approvals".to_owned(), format!("/approvals/{id}")] {
        let page = world.get(approver, &path)?;
        ensure!(
            page.status == 200 && page.body.contains("delete from products where title = $1"),
            "{page:?}"
        );
        ensure!(!page.body.contains(LITERAL), "{path} tells a literal");
    }
    let own = format!("/api/approvals/{id}");
    let none = world.get(viewer, "/api/approvals")?.json()?;
    ensure!(
        none["waiting"] == json!([]) && world.get(viewer, &own)?.status == 404,
        "a viewer is shown what does not concern them: {none}"
    );
    for whole in [auditor, admin] {
        let list = world.get(whole, "/api/approvals")?.json()?;
        ensure!(
            list["waiting"][0]["id"] == id && world.get(whole, &own)?.status == 200,
            "who reads the record does not see it: {list}"
        );
    }
    let values = format!("/api/approvals/{id}/values");
    let decide = format!("/api/approvals/{id}/decide");
    let yes = [
        "--data",
        "verdict=approved",
        "--data",
        "reason=looked at it",
    ];
    for (who, path, form) in [
        (viewer, &values, &[][..]),
        (admin, &values, &[][..]),
        (viewer, &decide, &yes[..]),
        (admin, &decide, &yes[..]),
    ] {
        let answer = world.post(who, path, form)?;
        ensure!(
            answer.status == 403 && !answer.body.contains(LITERAL),
            "{path}: {answer:?}"
        );
    }
    let unsaid = world.post(approver, &decide, &yes[..2])?;
    ensure!(
        unsaid.status == 400 && unsaid.body.contains("say why"),
        "{unsaid:?}"
    );
    let exact = world.post(approver, &values, &[])?;
    ensure!(
        exact.status == 200 && exact.body.contains(LITERAL),
        "{exact:?}"
    );
    let decided = world.post(approver, &decide, &yes)?;
    ensure!(
        decided.status == 200 && decided.json()?["over"] == true,
        "{decided:?}"
    );
    ensure!(client.says("done"), "the approved statement does not run");
    ensure!(world.get(viewer, &format!("/api/approvals/{id}"))?.status == 404);
    Ok(())
}

pub(crate) fn records_are_explained_and_the_chain_verified(
    world: &World,
    auditor: &Visitor,
) -> Result<()> {
    let query = "select max(seq) as seq from events";
    let last = world
        .web
        .lab
        .agent()
        .json(&["audit", "query", "--format", "json", query])?;
    let last = last[0]["seq"].as_u64().with_context(|| format!("{last}"))?;
    let explained = (1..=last)
        .rev()
        .map(|seq| world.get(auditor, &format!("/api/policies/explain?seq={seq}")))
        .find(|answer| answer.as_ref().map_or(true, |answer| answer.status == 200))
        .context("no request is explained")??
        .json()?;
    ensure!(explained["identity"] == "bob", "{explained}");
    ensure!(
        explained["today"]["decision"] == explained["recorded"]["decision"],
        "{explained}"
    );
    let deadline = Instant::now() + Duration::from_secs(20);
    let begun = world.post(auditor, "/api/chain/verify", &[])?;
    ensure!([200, 409].contains(&begun.status), "{begun:?}");
    loop {
        let chain = world.get(auditor, "/api/chain")?.json()?;
        let last = &chain["verification"]["last"]["found"];
        if last["intact"] == true && chain["verification"]["running"].is_null() {
            return Ok(());
        }
        ensure!(
            Instant::now() < deadline,
            "the chain is not verified: {chain}"
        );
        std::thread::sleep(Duration::from_millis(100));
    }
}
