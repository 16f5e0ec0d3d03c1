//! Ends of a login that cut off what rests on it.

use super::*;

/// Something that runs for as long as the test.
const LONG: [&str; 6] = [
    "psql",
    "-XAt",
    "-c",
    "select 'begun'",
    "-c",
    "select pg_sleep(600)",
];

#[test]
fn a_login_that_is_revoked_at_the_provider_is_cut_off() -> Result<()> {
    let world = World::start(Engine::Postgres, "")?;
    let mut session = world.session()?;
    bound(&session.log_in(&world.provider, "alice")?)?;
    ensure!(session.start(&LONG)?.trim() == "begun");

    world
        .provider
        .order(&json!({ "op": "revoke", "login": "alice" }))?;

    // Without the cut this would wait for ten minutes.
    let ended = session.finish()?;
    ensure!(ended.status != 0, "{ended:?}");
    ensure!(session.who()?["binding"].is_null(), "nobody is logged in");
    ensure!(session.run(&["psql", "-XAtc", "select 1"])?.status != 0);
    Ok(())
}

#[test]
fn logout_cuts_off_what_runs() -> Result<()> {
    let world = World::start(Engine::Postgres, "")?;
    let mut session = world.session()?;
    bound(&session.log_in(&world.provider, "alice")?)?;
    ensure!(session.start(&LONG)?.trim() == "begun");
    let out = session.run(&[&world.weir(), "logout"])?;
    ensure!(out.status == 0, "{out:?}");
    ensure!(session.finish()?.status != 0, "it was cut off");
    world.refresh_tokens_become(0)
}

#[test]
fn a_session_that_ends_takes_its_login_with_it() -> Result<()> {
    let world = World::start(Engine::None, "")?;
    let mut session = world.session()?;
    bound(&session.log_in(&world.provider, "alice")?)?;
    ensure!(world.provider.refresh_tokens()? == 1);
    drop(session);
    world.refresh_tokens_become(0)?;
    ensure!(world.lab.agent().status()?["logins"]["live"] == 0);
    Ok(())
}
