//! Both ways of logging in, and who may.

use super::*;

#[test]
fn a_code_for_any_device_logs_this_session_in_and_no_other() -> Result<()> {
    let world = World::start(Engine::Postgres, "")?;
    let weir = world.weir();
    let (mut session, mut other) = (world.session()?, world.session()?);
    let query = ["psql", "-XAtc", "select count(*) from orders"];
    ensure!(session.run(&query)?.status != 0, "nobody is logged in yet");

    let shown = session.start(&[&weir, "login", "--json"])?;
    let shown: Value = serde_json::from_str(&shown)?;
    let prompt = &shown["prompt"];
    ensure!(
        prompt["flow"] == "device" && text(&prompt["code"])?.len() >= 8,
        "{prompt}"
    );
    world
        .provider
        .visit(text(&prompt["url_complete"])?, "alice")?;
    let ended = session.finish()?;
    ensure!(ended.status == 0, "{ended:?}");

    let who = session.who()?;
    ensure!(principal(&who)["subject"] == "alice", "{who}");
    ensure!(principal(&who)["groups"] == json!(["dba"]), "{who}");
    ensure!(who["binding"]["identity"]["method"] == "device", "{who}");
    ensure!(
        who["binding"]["renewable"] == true && who["binding"]["stale"] == false,
        "{who}"
    );
    let queried = session.run(&query)?;
    ensure!(queried.status == 0, "{queried:?}");
    // A child of another session, as another login of the same user to the host is.
    ensure!(
        other.who()?["binding"].is_null(),
        "another session is nobody"
    );
    ensure!(
        other.run(&query)?.status != 0,
        "another session may nothing"
    );
    // A session may be left by nothing that an unprivileged process can do.
    let detached = session.run(&["setsid", "--wait", &weir, "whoami", "--json"])?;
    ensure!(detached.out.contains("alice"), "{detached:?}");

    let logged = format!("{}{}{}", ended.out, ended.err, world.lab.agent().log());
    ensure!(!logged.contains("eyJ"), "a token was printed or logged");
    let status = world.lab.agent().status()?;
    ensure!(
        status["logins"]["live"] == 1 && status["logins"]["renewed"] == 1,
        "{}",
        status["logins"]
    );

    let out = session.run(&[&weir, "logout"])?;
    ensure!(out.status == 0, "{out:?}");
    ensure!(session.who()?["binding"].is_null(), "logged out");
    ensure!(session.run(&query)?.status != 0, "logged out");
    world.refresh_tokens_become(0)
}

#[test]
fn a_browser_on_this_host_logs_in_and_nobody_elses_answer_counts() -> Result<()> {
    let world = World::start(Engine::None, "")?;
    let mut session = world.session()?;
    let visit = |url: &str, alter: Value| {
        let order = json!({ "op": "visit", "url": url, "login": "alice", "alter": alter });
        world.provider.order(&order)
    };
    let browser = json!({ "flow": "browser" });

    // An answer with another state is sent away, and the login goes on.
    let prompt = session.begin_login(&browser)?;
    let url = text(&prompt["url"])?.to_owned();
    ensure!(
        url.contains("code_challenge_method=S256") && url.contains("nonce="),
        "{url}"
    );
    let stray = visit(&url, json!({ "state": "another" }))?;
    ensure!(stray["status"] == 400, "{stray}");
    let page = visit(&url, Value::Null)?;
    ensure!(page["status"] == 200, "{page}");
    let answer = session.wait_for_login()?;
    ensure!(bound(&answer)?["identity"]["method"] == "code", "{answer}");
    let callback = text(&page["url"])?;
    let again = std::net::TcpStream::connect(
        callback
            .trim_start_matches("http://")
            .split('/')
            .next()
            .unwrap_or_default(),
    );
    ensure!(again.is_err(), "the port is closed after the one answer");

    // Another issuer's answer, and one that does not say whose it is, end the login.
    let prompt = session.begin_login(&browser)?;
    visit(
        text(&prompt["url"])?,
        json!({ "iss": "https://evil.example" }),
    )?;
    let why = refused(&session.wait_for_login()?)?;
    ensure!(why.contains("another issuer"), "{why}");

    // A person who says no.
    let prompt = session.begin_login(&browser)?;
    let order = json!({ "op": "visit", "url": prompt["url"], "login": "alice", "deny": true });
    world.provider.order(&order)?;
    let why = refused(&session.wait_for_login()?)?;
    ensure!(why.contains("refused at the provider"), "{why}");
    // What was there before is there still.
    ensure!(principal(&session.who()?)["subject"] == "alice");
    Ok(())
}

#[test]
fn who_logs_in_must_be_who_asks() -> Result<()> {
    let world = World::start(Engine::None, "account_domains = [\"shop.example\"]")?;
    let mut root = world.session()?;
    let why = refused(&root.log_in(&world.provider, "bob")?)?;
    ensure!(why.contains("bob") && why.contains("accounts"), "{why}");

    let mut daemon = Session::begin(&world.lab, DAEMON)?;
    // The attack: a session of one's own, and somebody else who is talked into typing the code.
    let why = refused(&daemon.log_in(&world.provider, "alice")?)?;
    ensure!(why.contains("alice") && why.contains("daemon"), "{why}");
    ensure!(daemon.who()?["binding"].is_null(), "nobody is logged in");
    world.provider.account(
        "eve",
        &json!({ "preferred_username": "daemon@evil.example" }),
    )?;
    let why = refused(&daemon.log_in(&world.provider, "eve")?)?;
    ensure!(why.contains("account_domains"), "{why}");
    world.refresh_tokens_become(0)?;

    world
        .provider
        .account("d", &json!({ "preferred_username": "daemon@shop.example" }))?;
    let answer = daemon.log_in(&world.provider, "d")?;
    ensure!(
        bound(&answer)?["identity"]["principal"]["subject"] == "d",
        "{answer}"
    );
    Ok(())
}

#[test]
fn root_is_nobody_without_an_entry_and_the_match_can_be_switched_off() -> Result<()> {
    let world = World::start(Engine::None, "")?;
    let mut root = world.session()?;
    world
        .provider
        .account("root", &json!({ "preferred_username": "root" }))?;
    let why = refused(&root.log_in(&world.provider, "root")?)?;
    ensure!(why.contains("root"), "{why}");
    drop(world);

    let world = World::start(Engine::None, "account_match = false")?;
    let mut root = world.session()?;
    let answer = root.log_in(&world.provider, "bob")?;
    ensure!(
        bound(&answer)?["identity"]["principal"]["subject"] == "bob",
        "{answer}"
    );
    Ok(())
}

#[test]
fn a_login_that_nobody_waits_for_any_more_binds_nobody() -> Result<()> {
    let world = World::start(Engine::None, "")?;
    let mut session = world.session()?;
    let prompt = session.begin_login(&json!({}))?;
    session.order(&json!({ "hang_up": true }))?;
    world
        .provider
        .visit(text(&prompt["url_complete"])?, "alice")?;
    ensure!(session.who()?["binding"].is_null(), "nobody is logged in");

    // The same by Ctrl-C.
    let weir = world.weir();
    let shown: Value = serde_json::from_str(&session.start(&[&weir, "login", "--json"])?)?;
    session.order(&json!({ "signal": 2 }))?;
    ensure!(session.finish()?.status != 0, "it was interrupted");
    world
        .provider
        .visit(text(&shown["prompt"]["url_complete"])?, "alice")?;
    ensure!(session.who()?["binding"].is_null(), "nobody is logged in");

    let why = refused(&session.ask(&json!({ "op": "login_wait" }))?)?;
    ensure!(why.contains("begun no login"), "{why}");
    Ok(())
}

#[test]
fn a_denied_and_a_late_code_are_told() -> Result<()> {
    let world = World::start(Engine::None, "")?;
    let mut session = world.session()?;
    let prompt = session.begin_login(&json!({}))?;
    let order =
        json!({ "op": "visit", "url": prompt["url_complete"], "login": "alice", "deny": true });
    world.provider.order(&order)?;
    let why = refused(&session.wait_for_login()?)?;
    ensure!(why.contains("refused at the provider"), "{why}");

    world
        .provider
        .order(&json!({ "op": "lifetime", "device": 7 }))?;
    session.begin_login(&json!({}))?;
    let why = refused(&session.wait_for_login()?)?;
    ensure!(why.contains("not finished in time"), "{why}");
    Ok(())
}

#[test]
fn clients_prove_themselves_by_secret_or_key() -> Result<()> {
    for (client, settings) in [
        ("weir-secret", "client_secret_file"),
        ("weir-key", "client_key_file"),
    ] {
        let world = World::start_with(Engine::None, |place| {
            let file = place.folder.join("credentials");
            let text = if client == "weir-key" {
                place.provider.client_key()
            } else {
                "a secret of thirty-two characters\n"
            };
            fs::write(&file, text).expect("a file");
            format!("client_id = {client:?}\n{settings} = {file:?}\nclient_key_id = \"weir-key\"")
        })?;
        let mut session = world.session()?;
        let answer = session.log_in(&world.provider, "alice")?;
        bound(&answer).with_context(|| client.to_owned())?;
        // Renewed, which proves itself again.
        world.provider.account(
            "alice",
            &json!({ "preferred_username": "alice", "groups": ["ops"] }),
        )?;
        session.who_becomes("new groups", |who| {
            principal(who)["groups"] == json!(["ops"])
        })?;
    }
    Ok(())
}

#[test]
fn one_command_and_its_children_log_in_where_there_is_no_session() -> Result<()> {
    let world = World::start(Engine::None, "")?;
    let weir = world.weir();
    let mut session = world.session()?;
    let inner = format!("{weir} whoami --json");
    let shown = session.start(&[
        &weir, "login", "--json", "--scope", "tree", "--", "sh", "-c", &inner,
    ])?;
    let shown: Value = serde_json::from_str(&shown)?;
    world
        .provider
        .visit(text(&shown["prompt"]["url_complete"])?, "alice")?;
    let ran = session.finish()?;
    ensure!(ran.status == 0 && ran.out.contains("\"alice\""), "{ran:?}");
    ensure!(
        session.who()?["binding"].is_null(),
        "the session around it is nobody"
    );
    // The tree has ended, and the login with it.
    world.refresh_tokens_become(0)
}

#[test]
fn doctor_asks_the_provider_and_says_what_to_change() -> Result<()> {
    let world = World::start(Engine::None, "")?;
    let config = world.lab.agent().config().display().to_string();
    let findings = || -> Result<String> {
        let output = world
            .lab
            .weir(&["doctor", "--json", "--config", &config])
            .output()?;
        let found: Value = serde_json::from_slice(&output.stdout)?;
        let issuers = found["findings"].as_array().into_iter().flatten();
        let issuers: Vec<_> = issuers.filter(|it| it["name"] == "issuers").collect();
        Ok(json!(issuers).to_string())
    };
    let well = findings()?;
    ensure!(
        well.contains("its keys are readable") && well.contains("codes for devices and browsers"),
        "{well}"
    );
    ensure!(
        well.contains("clocks") && !well.contains("\"bad\""),
        "{well}"
    );
    for (mode, says) in [
        ("redirect", "without a redirect"),
        ("error", "answered 500"),
        ("down", "port 443"),
    ] {
        world
            .provider
            .order(&json!({ "op": "mode", "value": mode }))?;
        let ill = findings()?;
        ensure!(
            ill.contains("\"bad\"") && ill.contains(says),
            "{mode}: {ill}"
        );
    }
    Ok(())
}
