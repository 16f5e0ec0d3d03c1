//! What the provider says of a login while it lasts.

use super::*;

#[test]
fn groups_follow_the_provider() -> Result<()> {
    let world = World::start(Engine::None, "")?;
    let mut session = world.session()?;
    let answer = session.log_in(&world.provider, "alice")?;
    ensure!(
        bound(&answer)?["identity"]["principal"]["groups"] == json!(["dba"]),
        "{answer}"
    );
    let groups = |groups: Value| {
        world.provider.account(
            "alice",
            &json!({ "preferred_username": "alice", "groups": groups }),
        )
    };

    groups(json!(["ops", "analyst"]))?;
    let who = session.who_becomes("other groups", |who| {
        principal(who)["groups"] == json!(["ops", "analyst"])
    })?;
    ensure!(principal(&who)["groups_complete"] == true, "{who}");
    // The token was rotated each time, and one is good.
    ensure!(world.provider.refresh_tokens()? == 1);

    // A list of exactly a hundred was cut.
    let hundred: Vec<String> = (0..100).map(|number| format!("g{number}")).collect();
    groups(json!(hundred))?;
    let who = session.who_becomes("a cut list", |who| {
        principal(who)["groups_complete"] == false
    })?;
    ensure!(principal(&who)["groups"][99] == "g99", "{who}");
    let shown = session.run(&[&world.weir(), "whoami"])?;
    ensure!(shown.out.contains("no grant by group holds"), "{shown:?}");

    // A refresh without groups removes them.
    world
        .provider
        .order(&json!({ "op": "omit_groups", "value": true }))?;
    session.who_becomes("no groups", |who| principal(who)["groups"] == json!([]))?;

    // Another account name at the provider is not this host's account any more.
    world
        .provider
        .account("alice", &json!({ "preferred_username": "mallory" }))?;
    session.who_becomes("the end of the login", |who| who["binding"].is_null())?;
    world.refresh_tokens_become(0)
}

#[test]
fn a_provider_that_does_not_answer_leaves_its_last_word_in_force_and_shown_as_stale() -> Result<()>
{
    let world = World::start(Engine::None, "offline_grace_seconds = 3600")?;
    let mut session = world.session()?;
    bound(&session.log_in(&world.provider, "alice")?)?;

    for mode in ["down", "error", "redirect"] {
        world
            .provider
            .order(&json!({ "op": "mode", "value": mode }))?;
        let who = session.who_becomes("a stale login", |who| who["binding"]["stale"] == true)?;
        ensure!(principal(&who)["subject"] == "alice", "{mode}: {who}");
        ensure!(world.lab.agent().status()?["logins"]["stale"] == 1);
        let shown = session.run(&[&world.weir(), "whoami"])?;
        ensure!(shown.out.contains("stale"), "{shown:?}");
        world
            .provider
            .order(&json!({ "op": "mode", "value": "up" }))?;
        session.who_becomes("a fresh login", |who| who["binding"]["stale"] == false)?;
    }

    // Its keys were replaced while it was down: found again, at most one look in thirty seconds.
    world
        .provider
        .order(&json!({ "op": "mode", "value": "down" }))?;
    session.who_becomes("a stale login", |who| who["binding"]["stale"] == true)?;
    world.provider.order(&json!({ "op": "rotate" }))?;
    world.provider.account(
        "alice",
        &json!({ "preferred_username": "alice", "groups": ["ops"] }),
    )?;
    world
        .provider
        .order(&json!({ "op": "mode", "value": "up" }))?;
    session.who_becomes("the new keys' word", |who| {
        principal(who)["groups"] == json!(["ops"])
    })?;
    Ok(())
}

#[test]
fn without_an_answer_a_login_ends_with_the_grace() -> Result<()> {
    let world = World::start(Engine::None, "offline_grace_seconds = 2")?;
    let mut session = world.session()?;
    bound(&session.log_in(&world.provider, "alice")?)?;
    world
        .provider
        .order(&json!({ "op": "mode", "value": "down" }))?;
    let who = session.who_becomes("the end of the grace", |who| who["binding"].is_null())?;
    ensure!(text(&who["absence"])?.contains("expired"), "{who}");
    // Nothing opens by itself but the provider's word.
    world
        .provider
        .order(&json!({ "op": "mode", "value": "up" }))?;
    session.who_becomes("the provider's word", |who| {
        principal(who)["subject"] == "alice"
    })?;
    Ok(())
}

#[test]
fn a_login_lives_on_in_the_next_agent_and_says_that_it_cannot_be_renewed() -> Result<()> {
    let mut world = World::start(Engine::None, "")?;
    let mut session = world.session()?;
    bound(&session.log_in(&world.provider, "alice")?)?;
    world.lab.agent_mut().stop()?;
    world.lab.agent_mut().resume()?;

    let who = session.who()?;
    ensure!(principal(&who)["subject"] == "alice", "{who}");
    ensure!(who["binding"]["renewable"] == false, "{who}");
    let shown = session.run(&[&world.weir(), "whoami"])?;
    ensure!(shown.out.contains("run `weir login` again"), "{shown:?}");
    // Once more: now it is.
    bound(&session.log_in(&world.provider, "alice")?)?;
    ensure!(session.who()?["binding"]["renewable"] == true);
    Ok(())
}

#[test]
fn a_fresh_or_stronger_login_is_asked_for_and_checked() -> Result<()> {
    let world = World::start(Engine::None, "")?;
    let mut session = world.session()?;
    let prompt = session.begin_login(&json!({ "max_age_s": 3600 }))?;
    world
        .provider
        .visit(text(&prompt["url_complete"])?, "alice")?;
    let first = session.wait_for_login()?;
    let at = |answer: &Value| answer["identity"]["principal"]["auth_time"].as_i64();
    let first = at(bound(&first)?).context("no auth_time")?;

    // A second later at least.
    eventually("a second passes", || Ok(now_s() > first + 1))?;
    let prompt = session.begin_login(&json!({ "max_age_s": 30 }))?;
    world
        .provider
        .visit(text(&prompt["url_complete"])?, "alice")?;
    let again = session.wait_for_login()?;
    ensure!(at(bound(&again)?) > Some(first), "{again}");
    ensure!(
        world.lab.agent().status()?["logins"]["live"] == 1,
        "it is one login"
    );
    world.refresh_tokens_become(1)?;

    // A provider that does not do what was asked for is not believed to have.
    let prompt = session.begin_login(&json!({ "acr": "urn:weir:two-factors" }))?;
    world
        .provider
        .visit(text(&prompt["url_complete"])?, "alice")?;
    let why = refused(&session.wait_for_login()?)?;
    ensure!(why.contains("two-factors"), "{why}");
    ensure!(
        principal(&session.who()?)["subject"] == "alice",
        "what was before is still"
    );
    world.refresh_tokens_become(1)
}

fn now_s() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |now| i64::try_from(now.as_secs()).unwrap_or(i64::MAX))
}
