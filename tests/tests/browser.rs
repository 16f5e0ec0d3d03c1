//! The web page in a real browser: every page narrow and wide, light and dark, and what people do on it by clicking.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use tests::{Identity, Lab, LabOptions, OidcProvider, Psql, place};

/// A literal of statements, and masked values: no page may have them.
const LITERAL: &str = "sentinel-literal-4711";
const MASKED: &str = "sentinel-masked-0815";

/// What is changed waits, addresses are masked, DDL is refused.
const PACK: &str = "version: 1
defaults: { effect: allow }
rules:
  - id: products-by-two
    why: somebody else has to look at prices
    match: { kind: [update], relation: [\"*.products\"] }
    effect: { approve: { groups: [approvers], quorum: 1, ttl: 5m } }
  - id: mail-is-masked
    why: addresses are nobody's business
    match: { action: [read], classes: { any: [pii] } }
    effect: { mask: { default: redact } }
  - id: no-ddl
    why: tables are made by migrations
    match: { kind: [ddl] }
    effect: { deny: \"tables are made by migrations\" }
";

struct World {
    lab: Lab,
    browser: Browser,
    _provider: OidcProvider,
    _folder: tempfile::TempDir,
}

impl World {
    fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let provider = OidcProvider::start(folder.path())?;
        let port = tests::port::free(&["127.0.0.1"])?;
        let origin = format!("https://127.0.0.1:{port}");
        provider.order(&json!({ "op": "site", "redirect": format!("{origin}/login/callback") }))?;
        for (login, group) in [("apo", "approvers"), ("adm", "admins")] {
            let claims = json!({ "preferred_username": login, "groups": [group] });
            provider.account(login, &claims)?;
        }
        let issuer: toml::Table = toml::from_str(&format!(
            "issuer = {:?}\nclient_id = \"weir-web\"\nscopes = [\"openid\", \"profile\", \"groups\"]",
            provider.issuer()
        ))?;
        let admin: toml::Table = toml::from_str(&format!(
            "listen = \"127.0.0.1:{port}\"\nroles = {{ approver = [\"approvers\"], admin = [\"admins\"] }}"
        ))?;
        let pack = folder.path().join("pack");
        fs::create_dir(&pack)?;
        fs::write(pack.join("rules.yaml"), PACK)?;
        let classes = "version: 1\ncolumns: { \"*.*.email\": pii.email }\n";
        fs::write(pack.join("classes.yaml"), classes)?;
        let lab = Lab::start(&LabOptions {
            policy: Some(pack),
            sections: vec![("issuer".into(), issuer)],
            settings: vec![("admin".into(), toml::Value::Table(admin))],
            ..LabOptions::default()
        })?;
        Ok(Self {
            lab,
            browser: Browser::start(&origin)?,
            _provider: provider,
            _folder: folder,
        })
    }

    /// Statements of all kinds, so that no page is empty.
    fn seed(&self) -> Result<()> {
        self.lab.admin(&format!(
            "update customers set email = '{MASKED}' where id = (select min(id) from customers)"
        ))?;
        // One by one: several in one text are one verdict.
        let statements = [
            format!("select email from customers where name <> '{LITERAL}' order by id limit 1"),
            "select count(*) from orders o join products p on p.id = o.product_id".to_owned(),
            "create table notes (id int)".to_owned(),
        ];
        for who in [
            Identity::Alice,
            Identity::Bob,
            Identity::SvcBilling,
            Identity::ChurnBot,
        ] {
            let mut command = self.lab.command(who, "psql");
            command.arg("-XAtq");
            for statement in &statements {
                command.args(["-c", statement]);
            }
            let output = command.output()?;
            let told = String::from_utf8_lossy(&output.stdout);
            let refused = String::from_utf8_lossy(&output.stderr);
            ensure!(
                told == "***\n1000\n" && refused.contains("made by migrations"),
                "{who:?} is told {told:?}, {refused:?}"
            );
        }
        Ok(())
    }

    /// The number of the last recorded request.
    fn last_request(&self) -> Result<u64> {
        let output = self
            .lab
            .weir(&["audit", "tail", "--json", "-n", "200"])
            .output()?;
        let text = String::from_utf8(output.stdout)?;
        let records = text.lines().rev().map(serde_json::from_str::<Value>);
        for record in records {
            let record = record?;
            if !record["effect"].is_null() {
                return record["seq"]
                    .as_u64()
                    .with_context(|| format!("no number: {record}"));
            }
        }
        bail!("no request is recorded: {text}")
    }

    /// The number of the statement that waits.
    fn waiting(&self) -> Result<u64> {
        let until = Instant::now() + Duration::from_secs(10);
        loop {
            let list = self.lab.agent().json(&["approvals", "list", "--json"])?;
            if let Some(id) = list["waiting"][0]["id"].as_u64() {
                return Ok(id);
            }
            ensure!(Instant::now() < until, "nothing waits: {list}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// One agent, one provider, one server for all of it.
#[test]
fn the_web_page_works_in_a_real_browser() -> Result<()> {
    let mut world = World::start()?;
    world.seed()?;
    a_new_session_shows_on_the_live_map_and_is_ended_by_its_button(&mut world)?;
    every_page_is_sound(&mut world)?;
    a_click_lets_a_held_statement_go_on_or_refuses_it(&mut world)?;
    the_live_map_says_that_the_agent_is_gone(&mut world)
}

fn every_page_is_sound(world: &mut World) -> Result<()> {
    let mut held = Psql::start(&world.lab, Identity::Bob)?;
    held.say(&format!(
        "update products set title = '{LITERAL}' where id = 1;"
    ))?;
    let approval = format!("/approvals/{}", world.waiting()?);
    let explain = format!("/policies/explain?seq={}", world.last_request()?);
    let mut pages = vec![
        json!({ "name": "map", "path": "/" }),
        json!({ "name": "sessions", "path": "/sessions" }),
        json!({ "name": "approvals", "path": "/approvals" }),
        json!({ "name": "approval", "path": approval }),
        json!({ "name": "usage", "path": "/usage" }),
        json!({ "name": "usage-process", "path": "/usage?principal=bob" }),
        json!({ "name": "policies", "path": "/policies" }),
        json!({ "name": "explain", "path": explain }),
        json!({ "name": "chain", "path": "/chain" }),
        json!({ "name": "reports", "path": "/reports" }),
        json!({ "name": "report-privileged", "path": "/reports/privileged" }),
        json!({ "name": "missing", "path": "/approvals/999999", "status": 404 }),
    ];
    let mut wrong = world.browser.look("adm", &pages)?;
    pages = vec![json!({ "name": "login", "path": "/login" })];
    let order = json!({ "op": "look_unknown", "pages": pages });
    wrong.extend(faults(&world.browser.order(&order)?)?);
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

fn a_click_lets_a_held_statement_go_on_or_refuses_it(world: &mut World) -> Result<()> {
    for (verdict, price) in [("Approve", "4711"), ("Refuse", "4712")] {
        let mut client = Psql::start(&world.lab, Identity::Bob)?;
        client.say(&format!(
            "update products set price = {price} where id = 2; select 'done';"
        ))?;
        let id = world.waiting()?;
        let order = json!({ "op": "decide", "login": "apo", "id": id, "verdict": verdict, "reason": "looked at it" });
        let watcher = std::thread::scope(|scope| {
            let lab = &world.lab;
            let watch = scope.spawn(move || changed(lab, price, Duration::from_secs(3)));
            let decided = world.browser.order(&order);
            (decided, watch.join())
        });
        let decided = watcher.0?;
        let changed = watcher
            .1
            .map_err(|_| anyhow::anyhow!("the watcher panicked"))??;
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

fn a_new_session_shows_on_the_live_map_and_is_ended_by_its_button(world: &mut World) -> Result<()> {
    world
        .browser
        .order(&json!({ "op": "follow", "login": "apo" }))?;
    let mut client = Psql::start(&world.lab, Identity::Bob)?;
    client.ask("select 1 from orders limit 1;")?;
    world
        .browser
        .order(&json!({ "op": "sees_session", "login": "apo", "of": "bob" }))?;
    world
        .browser
        .order(&json!({ "op": "end_session", "login": "adm", "of": "bob" }))?;
    ensure!(
        client.ends_with("due to administrator command"),
        "psql goes on"
    );
    Ok(())
}

fn the_live_map_says_that_the_agent_is_gone(world: &mut World) -> Result<()> {
    world
        .browser
        .order(&json!({ "op": "follow", "login": "apo" }))?;
    world.lab.agent_mut().stop()?;
    let order = json!({ "op": "sees_disconnection", "login": "apo" });
    let failed = world.browser.order(&order)?;
    ensure!(failed == json!([]), "scripts fail: {failed}");
    // An agent that was restarted knows of no visits.
    world.lab.agent_mut().resume()?;
    let order = json!({ "op": "sees_log_in_wanted", "login": "apo" });
    world.browser.order(&order)?;
    Ok(())
}

/// What is wrong with the pages that were looked at; nothing secret may be in their text.
fn faults(looked: &Value) -> Result<Vec<String>> {
    for (name, html) in looked["html"].as_object().context("no pages")? {
        let html = html.as_str().unwrap_or_default();
        for secret in [LITERAL, MASKED] {
            ensure!(!html.contains(secret), "{name} tells {secret}");
        }
    }
    let wrong = looked["wrong"].as_array().context("no list")?;
    Ok(wrong
        .iter()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect())
}

/// Headless Chromium, driven by `tests/browser/browser.mjs`.
struct Browser {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Browser {
    fn start(origin: &str) -> Result<Self> {
        let pictures = pictures()?;
        println!("pictures of the pages: {}", pictures.display());
        let settings = json!({
            "origin": origin, "modules": place::browser_modules()?, "chromium": "/usr/bin/chromium", "pictures": pictures,
        });
        let mut child = Command::new("node")
            .arg(place::project().join("tests/browser/browser.mjs"))
            .arg(settings.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot run node")?;
        Ok(Self {
            input: child.stdin.take().context("no input")?,
            output: BufReader::new(child.stdout.take().context("no output")?),
            child,
        })
    }

    /// Has somebody do something; see the orders in `tests/browser/browser.mjs`.
    fn order(&mut self, order: &Value) -> Result<Value> {
        writeln!(self.input, "{order}").context("the browser takes no order")?;
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        let answer: Value = serde_json::from_str(&line)
            .with_context(|| format!("the browser answered {line:?} to {order}"))?;
        ensure!(
            answer["error"].is_null(),
            "{order}: {}",
            answer["error"].as_str().unwrap_or_default()
        );
        Ok(answer["ok"].clone())
    }

    fn look(&mut self, login: &str, pages: &[Value]) -> Result<Vec<String>> {
        faults(&self.order(&json!({ "op": "look", "login": login, "pages": pages }))?)
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn pictures() -> Result<PathBuf> {
    let folder = place::programs()?
        .parent()
        .map(Path::to_path_buf)
        .context("no target folder")?
        .join("browser");
    fs::create_dir_all(&folder)?;
    Ok(folder)
}
