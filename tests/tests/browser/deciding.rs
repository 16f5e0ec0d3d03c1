//! What people decide by clicks and keys, and what they are told who may not.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tests::{Identity, Lab, Psql, Session};

use super::{BOUND, LITERAL, World};

/// The row is changed within a second of the click, or not at all.
pub(crate) fn a_click_lets_a_held_statement_go_on_or_refuses_it(world: &mut World) -> Result<()> {
    world.browser.order("adm", "follow", &json!({}))?;
    for (verdict, price) in [("Approve", "4711"), ("Refuse", "4712")] {
        let mut client = Psql::start(&world.web.lab, Identity::Bob)?;
        client.say(&format!(
            "update products set price = {price} where id = 2; select 'done';"
        ))?;
        let id = world.waiting()?;
        let how = json!({ "id": id, "verdict": verdict, "reason": "looked at it" });
        let (decided, changed) = std::thread::scope(|scope| {
            let lab = &world.web.lab;
            let watch = scope.spawn(move || changed(lab, price, Duration::from_secs(2)));
            let decided = world.browser.order("apo", "decide", &how);
            (decided, watch.join())
        });
        let decided = decided?;
        let changed = changed.map_err(|_| anyhow::anyhow!("the watcher panicked"))??;
        if verdict == "Approve" {
            let at = decided["at"].as_u64().context("no time of the click")?;
            let late = changed
                .context("the row does not change")?
                .saturating_sub(at);
            println!("the row changed {late} ms after the click");
            ensure!(late < 1000, "it takes {late} ms");
        } else {
            ensure!(changed.is_none(), "a refused statement changed the row");
            ensure!(client.says("looked at it"), "the client is not told");
        }
        let effect = if verdict == "Approve" {
            "allowed"
        } else {
            "refused"
        };
        let row = json!({ "of": "bob", "table": "public.products", "effect": effect });
        world.browser.order("adm", "sees_effect", &row)?;
    }
    Ok(())
}

/// When (ms since 1970) the price was seen in the table.
fn changed(lab: &Lab, price: &str, limit: Duration) -> Result<Option<u64>> {
    let until = Instant::now() + limit;
    while Instant::now() < until {
        let found = lab.admin("select price from products where id = 2")?;
        if found.trim().starts_with(price) {
            let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
            return Ok(Some(u64::try_from(now.as_millis())?));
        }
    }
    Ok(None)
}

/// Bob is logged in to this host and on the page, and one of those who may approve. Returns his session: its end would end
/// his visit.
pub(crate) fn nobody_decides_about_their_own(world: &mut World) -> Result<Session> {
    let lab = &world.web.lab;
    let mut session = Session::begin(lab, 0)?;
    let bound = session.log_in(&world.web.provider, "bob")?;
    ensure!(
        bound["ok"]["bound"].is_object(),
        "bob is not logged in: {bound}"
    );
    let sql = format!("update products set title = '{LITERAL}' where id = 4");
    let asks = format!("echo asked; exec psql -XAtq -c \"{sql}\"");
    session.start(&["sh", "-c", &asks])?;
    let id = world.waiting()?;
    let told = world
        .browser
        .inspect("bob", "decide_about_own", &json!({ "id": id }))?;
    let refusal = "Nobody decides about their own statements";
    let says = told["says"].as_str().unwrap_or_default();
    ensure!(
        says.contains("update products set title = $1") && says.contains(refusal),
        "{says}"
    );
    ensure!(
        told["buttons"] == json!([]),
        "he is offered {}",
        told["buttons"]
    );
    let answers = told["answers"].as_array().context("no answers")?;
    ensure!(answers.len() == 3, "{answers:?}");
    for answer in answers {
        let says = answer["says"].as_str().unwrap_or_default();
        ensure!(
            answer["status"] == 403 && says.contains(refusal),
            "{answer}"
        );
        ensure!(!says.contains(LITERAL), "{answer}");
    }
    let no = json!({ "id": id, "verdict": "Refuse", "reason": "not this one" });
    world.browser.order("apo", "decide", &no)?;
    let ended = session.finish()?;
    ensure!(ended.err.contains("not this one"), "{ended:?}");
    let title = world
        .web
        .lab
        .admin("select title from products where id = 4")?;
    ensure!(!title.contains(LITERAL), "it ran");
    Ok(session)
}

/// Text and values, for who may decide.
pub(crate) fn who_may_decide_sees_the_exact_values(world: &mut World) -> Result<()> {
    let lab = &world.web.lab;
    let script = lab.folder().join("bound.sql");
    std::fs::write(
        &script,
        "update products set title = :title where id = 5;\n",
    )?;
    // Unlike psql of this version it binds what stands in place of a variable.
    let mut client = lab.command(Identity::Bob, "pgbench");
    client.args(["-n", "-t", "1", "-M", "extended", "-D"]);
    client.arg(format!("title={BOUND}")).arg("-f").arg(&script);
    let client = client
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .context("cannot run pgbench")?;
    let id = world.waiting()?;
    let shown = world
        .browser
        .inspect("apo", "show_values", &json!({ "id": id }))?;
    let says = shown["says"].as_str().unwrap_or_default();
    ensure!(
        says.contains("update products set title = $1 where id = 5") && says.contains(BOUND),
        "{says}"
    );
    let no = json!({ "id": id, "verdict": "Refuse", "reason": "not with this value" });
    world.browser.order("apo", "decide", &no)?;
    let ended = client.wait_with_output()?;
    let told = String::from_utf8_lossy(&ended.stderr);
    ensure!(told.contains("not with this value"), "{told}");
    Ok(())
}

/// By the keyboard, and for longer than once; then taken back.
pub(crate) fn the_keyboard_alone_will_do(world: &mut World) -> Result<()> {
    let mut client = Psql::start(&world.web.lab, Identity::Bob)?;
    let mut change = |quantity: u8| {
        client.say(&format!(
            "update orders set quantity = {quantity} where id = 7; select 'done {quantity}';"
        ))?;
        anyhow::Ok(())
    };
    change(41)?;
    let id = world.waiting()?;
    let how = json!({ "id": id, "reason": "stock taking", "lasting": "30m" });
    let page = world.browser.order("apo", "approve_by_keyboard", &how)?;
    let says = page["says"].as_str().unwrap_or_default();
    ensure!(
        says.contains("stock taking"),
        "what lasts is not listed: {says}"
    );
    change(42)?;
    ensure!(client.says("done 42"), "it has to be asked for again");
    let lasting = json!({ "pages": [{ "name": "approvals-lasting", "path": "/approvals" }] });
    world.browser.inspect("apo", "look", &lasting)?;
    let how = json!({ "id": id, "reason": "it is done" });
    let page = world.browser.order("apo", "take_back", &how)?;
    let says = page["says"].as_str().unwrap_or_default();
    ensure!(says.contains("There are none."), "{says}");
    Ok(())
}

/// The statement is given up while somebody looks at it.
pub(crate) fn who_comes_too_late_is_told(world: &mut World) -> Result<()> {
    let mut client = Psql::start(&world.web.lab, Identity::Bob)?;
    client.say("update products set price = 1 where id = 6;")?;
    let id = world.waiting()?;
    world
        .browser
        .order("apo", "open_approval", &json!({ "id": id }))?;
    drop(client);
    world.nothing_waits()?;
    let told = world
        .browser
        .inspect("apo", "decide_too_late", &json!({}))?;
    let says = told["says"].as_str().unwrap_or_default();
    ensure!(
        says.contains(&format!("No statement waits for approval {id}"))
            && says.contains("given up"),
        "{says}"
    );
    Ok(())
}
