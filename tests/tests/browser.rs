//! The web page in a real browser: every page narrow and wide, light and dark, what people do on it by clicks and keys, and
//! that nothing secret is in what a browser gets.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use tests::{Engine, Identity, LabOptions, Places, Psql, Web};

#[path = "browser/deciding.rs"]
mod deciding;
#[path = "browser/driver.rs"]
mod driver;

use driver::Browser;

/// Literals and bound values of statements, and masked values: no page may have them, but the one for who decides.
const LITERAL: &str = "sentinel-literal-4711";
const BOUND: &str = "sentinel-bound-0042";
const MASKED: &str = "sentinel-masked-0815";

/// What is changed waits, addresses are masked, DDL is refused.
const RULES: &str = "version: 1
defaults: { effect: allow }
rules:
  - id: products-by-two
    why: somebody else has to look at prices
    match: { kind: [update], relation: [\"*.products\"] }
    effect: { approve: { groups: [approvers], quorum: 1, ttl: 5m } }
  - id: orders-by-two
    why: orders are money
    match: { kind: [update], relation: [\"*.orders\"] }
    effect: { approve: { groups: [approvers], quorum: 1, ttl: 5m, reuse: 1h } }
  - id: mail-is-masked
    why: addresses are nobody's business
    match: { action: [read], classes: { any: [pii] } }
    effect: { mask: { default: redact } }
  - id: no-ddl
    why: tables are made by migrations
    match: { kind: [ddl] }
    effect: { deny: \"tables are made by migrations\" }
";

const PACK: [(&str, &str); 2] = [
    ("rules.yaml", RULES),
    (
        "classes.yaml",
        "version: 1\ncolumns: { \"*.*.email\": pii.email }\n",
    ),
];

const REPORTS: [&str; 7] = [
    "usage",
    "access",
    "columns",
    "privileged",
    "approvals",
    "review",
    "completeness",
];

struct World {
    web: Web,
    browser: Browser,
}

impl World {
    fn start(options: LabOptions) -> Result<Self> {
        // Root of this host is bob.
        let web = Web::start(&PACK, "accounts = { root = \"bob\" }", options)?;
        let claims = json!({ "preferred_username": "bob", "groups": ["approvers"] });
        web.provider.account("bob", &claims)?;
        Ok(Self {
            browser: Browser::start(&web.origin)?,
            web,
        })
    }

    /// Statements of all kinds, so that no page is empty.
    fn seed(&self) -> Result<()> {
        self.web.lab.admin(&format!(
            "update customers set email = '{MASKED}' where id = (select min(id) from customers)"
        ))?;
        // One by one: several in one text are one verdict.
        let statements = [
            format!("select email from customers where name <> '{LITERAL}' order by id limit 1"),
            "select count(*) from orders o join products p on p.id = o.product_id".to_owned(),
            "create table notes (id int)".to_owned(),
        ];
        for who in Identity::ALL {
            let mut command = self.web.lab.command(who, "psql");
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
        let lab = &self.web.lab;
        let output = lab
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
        self.waits_until("something waits", |list| list["waiting"][0]["id"].as_u64())
    }

    fn nothing_waits(&self) -> Result<()> {
        self.waits_until("nothing waits", |list| {
            (list["waiting"] == json!([])).then_some(())
        })
    }

    fn waits_until<T>(&self, what: &str, is: impl Fn(&Value) -> Option<T>) -> Result<T> {
        let until = Instant::now() + Duration::from_secs(10);
        loop {
            let list = self
                .web
                .lab
                .agent()
                .json(&["approvals", "list", "--json"])?;
            if let Some(found) = is(&list) {
                return Ok(found);
            }
            ensure!(
                Instant::now() < until,
                "it does not happen that {what}: {list}"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// One agent, one provider, one server for all of it.
#[test]
fn the_web_page_works_in_a_real_browser() -> Result<()> {
    let mut world = World::start(LabOptions {
        scram: true,
        ..LabOptions::default()
    })?;
    world.seed()?;
    a_new_session_shows_on_the_live_map_and_is_ended_by_its_button(&mut world)?;
    deciding::a_click_lets_a_held_statement_go_on_or_refuses_it(&mut world)?;
    let _logged_in = deciding::nobody_decides_about_their_own(&mut world)?;
    deciding::who_may_decide_sees_the_exact_values(&mut world)?;
    deciding::the_keyboard_alone_will_do(&mut world)?;
    deciding::who_comes_too_late_is_told(&mut world)?;
    usage_leads_from_who_to_the_statement(&mut world)?;
    the_chain_is_verified_by_a_click(&mut world)?;
    every_page_is_sound(&mut world)?;
    world.browser.order("adm", "switch_colours", &json!({}))?;
    no_browser_gets_anything_secret(&mut world)?;
    the_live_map_says_that_the_agent_is_gone(&mut world)
}

/// Where there is nothing yet, pages say so.
#[test]
fn a_fresh_agent_has_pages_without_anything() -> Result<()> {
    let mut world = World::start(LabOptions {
        engine: Engine::None,
        ..LabOptions::default()
    })?;
    let mut pages: Vec<Value> = ["map", "sessions", "approvals", "usage", "policies", "chain"]
        .iter()
        .map(|name| {
            let path = if *name == "map" {
                "/".to_owned()
            } else {
                format!("/{name}")
            };
            json!({ "name": format!("empty-{name}"), "path": path })
        })
        .collect();
    for kind in ["usage", "review", "completeness"] {
        pages.push(
            json!({ "name": format!("empty-report-{kind}"), "path": format!("/reports/{kind}") }),
        );
    }
    world
        .browser
        .inspect("adm", "look", &json!({ "pages": pages }))?;
    let seen = world.browser.order("adm", "belongings", &json!({}))?;
    for (name, words) in [
        ("empty-map", "Nobody has asked a database anything."),
        ("empty-sessions", "No session is open."),
        ("empty-approvals", "Nothing waits."),
        ("empty-usage", "Nothing in this period."),
        ("empty-report-usage", "Nothing in this period."),
    ] {
        let html = page(&seen, name)?;
        ensure!(
            html.contains(words),
            "{name} does not say {words:?}: {html}"
        );
    }
    Ok(())
}

fn page<'s>(seen: &'s Value, name: &str) -> Result<&'s str> {
    let mut pages = seen["pages"].as_array().context("no pages")?.iter();
    pages
        .find(|page| page["name"] == name)
        .and_then(|page| page["html"].as_str())
        .with_context(|| format!("{name} was not looked at"))
}

fn every_page_is_sound(world: &mut World) -> Result<()> {
    let mut held = Psql::start(&world.web.lab, Identity::Bob)?;
    held.say(&format!(
        "update products set title = '{LITERAL}' where id = 1;"
    ))?;
    let approval = format!("/approvals/{}", world.waiting()?);
    let explain = format!("/policies/explain?seq={}", world.last_request()?);
    let mut pages = vec![
        json!({ "name": "map", "path": "/" }),
        json!({ "name": "sessions", "path": "/sessions" }),
        json!({ "name": "approvals", "path": "/approvals" }),
        json!({ "name": "policies", "path": "/policies" }),
        json!({ "name": "explain", "path": explain }),
        json!({ "name": "chain", "path": "/chain" }),
        json!({ "name": "reports", "path": "/reports" }),
        json!({ "name": "missing", "path": "/approvals/999999", "status": 404 }),
    ];
    for kind in REPORTS {
        pages.push(json!({ "name": format!("report-{kind}"), "path": format!("/reports/{kind}") }));
    }
    world
        .browser
        .inspect("adm", "look", &json!({ "pages": pages }))?;
    let decides = json!({ "name": "approval", "path": approval });
    world
        .browser
        .inspect("apo", "look", &json!({ "pages": [decides] }))?;
    let refused = [
        json!({ "name": "forbidden", "path": "/reports", "status": 403 }),
        json!({ "name": "forbidden-explain", "path": explain, "status": 403 }),
    ];
    world
        .browser
        .inspect("vic", "look", &json!({ "pages": refused }))?;
    let login = json!({ "pages": [{ "name": "login", "path": "/login" }] });
    world.browser.inspect("", "look", &login)?;
    Ok(())
}

fn usage_leads_from_who_to_the_statement(world: &mut World) -> Result<()> {
    let asked = ["report", "usage", "--since", "24h", "--format", "json"];
    let usage = world.web.lab.agent().json(&asked)?;
    let psql = usage["rows"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|row| row["principal"] == "bob")
        .filter_map(|row| row["program"].as_str())
        .find(|program| program.ends_with("/psql"))
        .with_context(|| format!("no psql of bob's: {usage}"))?
        .to_owned();
    let choices = json!([
        ["process", "bob"],
        ["table", psql],
        ["statement", "public.products"]
    ]);
    let way = json!({ "choices": choices });
    let end = world.browser.inspect("adm", "drill_down", &way)?;
    let says = end["says"].as_str().unwrap_or_default();
    ensure!(
        says.contains("update products set price = $1 where id = $2"),
        "{says}"
    );
    let trail = json!([
        "all",
        "principal bob",
        format!("process {psql}"),
        "table public.products"
    ]);
    ensure!(end["trail"] == trail, "{}", end["trail"]);
    Ok(())
}

fn the_chain_is_verified_by_a_click(world: &mut World) -> Result<()> {
    let chain = world.browser.inspect("adm", "verify_chain", &json!({}))?;
    let says = chain["says"].as_str().unwrap_or_default();
    ensure!(says.starts_with("Intact"), "{says}");
    Ok(())
}

fn a_new_session_shows_on_the_live_map_and_is_ended_by_its_button(world: &mut World) -> Result<()> {
    world.browser.order("apo", "follow", &json!({}))?;
    let mut client = Psql::start(&world.web.lab, Identity::Bob)?;
    client.ask("select 1 from orders limit 1;")?;
    let bob = json!({ "of": "bob" });
    world.browser.order("apo", "sees_session", &bob)?;
    world.browser.order("adm", "end_session", &bob)?;
    ensure!(
        client.ends_with("due to administrator command"),
        "psql goes on"
    );
    Ok(())
}

/// Pages, as scripts left them, and the console; and what the agent wrote meanwhile.
fn no_browser_gets_anything_secret(world: &mut World) -> Result<()> {
    let lab = &world.web.lab;
    let mut places = Places::written_by(lab.agent())?;
    let mut gotten = Places::default();
    let password = lab.postgres().password().context("no password")?.to_owned();
    let mut secrets = vec![password, Web::MEASURER.to_owned()];
    secrets.extend([LITERAL, BOUND, MASKED].map(str::to_owned));
    for login in ["apo", "adm", "bob", "vic"] {
        let own = world.browser.order(login, "belongings", &json!({}))?;
        let csrf = own["csrf"].as_str().context("no token")?;
        let cookies = own["cookies"].as_array().context("no cookies")?;
        ensure!(!cookies.is_empty(), "{login} has no cookie");
        for page in own["pages"].as_array().context("no pages")? {
            let html = page["html"].as_str().unwrap_or_default();
            ensure!(html.contains(csrf), "a page has no form to log out: {page}");
            // Each page has the token of its own forms, and no other.
            gotten.add(format!("{login}: {}", page["name"]), html.replace(csrf, ""));
        }
        gotten.add(
            format!("{login}: the console"),
            own["console"].as_str().unwrap_or_default(),
        );
        secrets.push(csrf.to_owned());
        secrets.extend(cookies.iter().filter_map(Value::as_str).map(str::to_owned));
    }
    ensure!(
        gotten.some_holds("adm: \"report-usage\"", "bob") && gotten.some_holds("bob: \"own", "bob"),
        "pages are not looked through"
    );
    ensure!(
        places.some_holds("/journal/", "update products set price"),
        "the journal is not looked through"
    );
    gotten.add("the log", world.web.lab.agent().log());
    // How every JSON Web Token begins; keys in PEM, which the state folder has, may too.
    gotten.hold_none_of(secrets.iter().map(String::as_str).chain(["eyJ"]))?;
    places.add("the measurements", measurements(world)?);
    ensure!(
        places.some_holds("measurements", "weir_sessions"),
        "no measurements"
    );
    places.hold_none_of(secrets.iter().map(String::as_str))
}

fn measurements(world: &World) -> Result<Vec<u8>> {
    let output = std::process::Command::new("curl")
        .args(["-sS", "--unix-socket"])
        .arg(world.web.socket())
        .arg("http://localhost/metrics")
        .output()
        .context("cannot run curl")?;
    Ok(output.stdout)
}

fn the_live_map_says_that_the_agent_is_gone(world: &mut World) -> Result<()> {
    world.browser.order("apo", "follow", &json!({}))?;
    world.web.lab.agent_mut().stop()?;
    let failed = world
        .browser
        .order("apo", "sees_disconnection", &json!({}))?;
    ensure!(failed == json!([]), "scripts fail: {failed}");
    // An agent that was restarted knows of no visits.
    world.web.lab.agent_mut().resume()?;
    world
        .browser
        .order("apo", "sees_log_in_wanted", &json!({}))?;
    Ok(())
}
