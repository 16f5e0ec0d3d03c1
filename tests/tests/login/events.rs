//! The provider's security events (CAEP), pushed and fetched.

use super::*;

const REVOKED: &str = "https://schemas.openid.net/secevent/caep/event-type/session-revoked";

#[test]
fn a_pushed_event_ends_the_login_and_a_hostile_one_does_not() -> Result<()> {
    let port = tests::port::free(&["127.0.0.1"])?;
    let world = World::start_with(Engine::Postgres, |place| {
        let file = place.folder.join("push.token");
        fs::write(&file, "push-secret\n").expect("a file");
        format!(
            "[events]\naudience = \"https://weir.example/events\"\npush = \"127.0.0.1:{port}\"\npush_token_file = {file:?}"
        )
    })?;
    let mut session = world.session()?;
    bound(&session.log_in(&world.provider, "alice")?)?;
    ensure!(
        session
            .start(&[
                "psql",
                "-XAt",
                "-c",
                "select 'begun'",
                "-c",
                "select pg_sleep(600)"
            ])?
            .trim()
            == "begun"
    );
    let push = |set: &Value, bearer: &str| -> Result<(u16, String)> {
        let authorization = format!("Bearer {bearer}");
        let url = format!("http://127.0.0.1:{port}");
        post(&url, "application/secevent+jwt", &authorization, text(set)?)
    };

    let good = event(&world, "one", &json!({}), &json!({}))?;
    ensure!(push(&good, "guessed")?.0 == 401);
    for (header, claims, word) in [
        (json!({ "typ": "JWT" }), json!({}), "invalid_request"),
        (json!({ "typ": null }), json!({}), "invalid_request"),
        (json!({ "kid": "other" }), json!({}), "invalid_key"),
        (
            json!({}),
            json!({ "iss": "https://evil.example" }),
            "invalid_issuer",
        ),
        (json!({}), json!({ "aud": "weir" }), "invalid_audience"),
        (
            json!({}),
            json!({ "iat": 1_000_000_000 }),
            "invalid_request",
        ),
        (json!({}), json!({ "iat": null }), "invalid_request"),
        (json!({}), json!({ "jti": null }), "invalid_request"),
        (json!({}), json!({ "events": {} }), "invalid_request"),
        (
            json!({}),
            json!({ "sub_id": { "format": "iss_sub", "iss": "https://evil.example", "sub": "alice" } }),
            "invalid_request",
        ),
    ] {
        let hostile = event(&world, "hostile", &header, &claims)?;
        let (status, body) = push(&hostile, "push-secret")?;
        ensure!(
            status == 400 && body.contains(word),
            "{header} {claims}: {status} {body}"
        );
    }
    // About somebody else.
    let other =
        json!({ "sub_id": { "format": "iss_sub", "iss": world.provider.issuer(), "sub": "bob" } });
    let other = event(&world, "other", &json!({}), &other)?;
    ensure!(push(&other, "push-secret")?.0 == 202);
    ensure!(
        principal(&session.who()?)["subject"] == "alice",
        "alice is logged in still"
    );

    let (status, body) = push(&good, "push-secret")?;
    ensure!(status == 202, "{status} {body}");
    ensure!(session.finish()?.status != 0, "it was cut off");
    ensure!(session.who()?["binding"].is_null(), "nobody is logged in");

    // Once more is too often, as the next login would end by it.
    bound(&session.log_in(&world.provider, "alice")?)?;
    let (status, body) = push(&good, "push-secret")?;
    ensure!(status == 400 && body.contains("before"), "{status} {body}");
    ensure!(principal(&session.who()?)["subject"] == "alice");
    Ok(())
}

#[test]
fn events_are_fetched_and_answered_for() -> Result<()> {
    let world = World::start_with(Engine::None, |place| {
        let file = place.folder.join("poll.token");
        fs::write(&file, "poll-secret\n").expect("a file");
        format!(
            "[events]\naudience = \"https://weir.example/events\"\npoll = \"{}/ssf/poll\"\npoll_seconds = 1\npoll_token_file = {file:?}",
            place.provider.issuer()
        )
    })?;
    let mut session = world.session()?;
    bound(&session.log_in(&world.provider, "alice")?)?;
    let queue = |id: &str, claims: Value| -> Result<()> {
        let set = event(&world, id, &json!({}), &claims)?;
        world
            .provider
            .order(&json!({ "op": "queue", "id": id, "set": set }))
            .map(drop)
    };
    queue("bad", json!({ "aud": "another" }))?;
    queue("good", json!({}))?;
    session.who_becomes("the end of the login", |who| who["binding"].is_null())?;
    eventually("both are answered for", || {
        let told = world.provider.order(&json!({ "op": "acknowledged" }))?;
        let told = told.as_array().context("no list")?;
        Ok(told.contains(&json!("good")) && told.contains(&json!("refused bad")))
    })
}

/// An event about alice, signed by the provider, with changes; null removes.
fn event(world: &World, id: &str, header: &Value, claims: &Value) -> Result<Value> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    let issuer = world.provider.issuer();
    let base = json!({
        "iss": issuer,
        "aud": "https://weir.example/events",
        "iat": now.as_secs(),
        "jti": id,
        "sub_id": { "format": "iss_sub", "iss": issuer, "sub": "alice" },
        "events": { REVOKED: { "event_timestamp": now.as_secs() } },
    });
    let changed = |mut base: Value, changes: &Value| {
        for (name, value) in changes.as_object().into_iter().flatten() {
            if value.is_null() {
                base.as_object_mut().map(|base| base.remove(name));
            } else {
                base[name] = value.clone();
            }
        }
        base
    };
    let header = changed(json!({ "typ": "secevent+jwt" }), header);
    let order = json!({ "op": "sign", "header": header, "claims": changed(base, claims) });
    world.provider.order(&order)
}
