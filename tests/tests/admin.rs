//! The web page and its API: who gets in, who may do what, what browsers are told, and that nothing secret is in it.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::json;
use tests::{Identity, Lab, LabOptions, OidcProvider, Psql};
use weir::admin::{Need, Role, routes};

#[path = "admin/http.rs"]
mod http;

use http::{Answer, Site};

/// A literal of a statement, and a value that came back: neither may be anywhere.
const LITERAL: &str = "sentinel-literal-4711";
const VALUE: &str = "sentinel-value-0815";

/// A person for each role, and one without.
const PEOPLE: [(&str, &str); 5] = [
    ("vic", "viewers"),
    ("apo", "approvers"),
    ("aud", "auditors"),
    ("adm", "admins"),
    ("nob", "guests"),
];

/// What is deleted waits for an approver.
const PACK: &str = "version: 1
defaults: { effect: allow }
rules:
  - id: deletes-wait
    why: somebody else has to look
    match: { kind: [delete] }
    effect: { approve: { groups: [approvers], quorum: 1, ttl: 5m } }
";

struct World {
    lab: Lab,
    provider: OidcProvider,
    site: Site,
    _folder: tempfile::TempDir,
}

impl World {
    fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let provider = OidcProvider::start(folder.path())?;
        let port = tests::port::free(&["127.0.0.1"])?;
        let origin = format!("https://127.0.0.1:{port}");
        provider.order(&json!({ "op": "site", "redirect": format!("{origin}/login/callback") }))?;
        for (login, group) in PEOPLE {
            provider.account(
                login,
                &json!({ "preferred_username": login, "groups": [group] }),
            )?;
        }
        let issuer: toml::Table = toml::from_str(&format!(
            "issuer = {:?}\nclient_id = \"weir-web\"\nscopes = [\"openid\", \"profile\", \"groups\"]",
            provider.issuer()
        ))?;
        let token = folder.path().join("metrics.token");
        fs::write(&token, format!("{MEASURER}\n"))?;
        let admin: toml::Table = toml::from_str(&format!(
            "socket = \"web.sock\"\nlisten = \"127.0.0.1:{port}\"\nmetrics_token_file = \"{}\"\n\
             roles = {{ viewer = [\"viewers\"], approver = [\"approvers\"], auditor = [\"auditors\"], admin = [\"admins\"] }}",
            token.display()
        ))?;
        let pack = folder.path().join("pack");
        fs::create_dir(&pack)?;
        fs::write(pack.join("rules.yaml"), PACK)?;
        let lab = Lab::start(&LabOptions {
            policy: Some(pack),
            sections: vec![("issuer".into(), issuer)],
            settings: vec![("admin".into(), toml::Value::Table(admin))],
            ..LabOptions::default()
        })?;
        let site = Site {
            origin,
            socket: lab.folder().join("web.sock"),
            authority: lab.agent().state_folder().join("ca.pem"),
        };
        Ok(Self {
            lab,
            provider,
            site,
            _folder: folder,
        })
    }

    /// Goes through the provider's pages; the answer to what it sent back, and the cookie of the way.
    fn come_back(&self, login: &str) -> Result<(Answer, String)> {
        let left = self.site.get("/login/start")?;
        ensure!(left.status == 303, "{left:?}");
        let cookie = left.cookie("__Host-weir-login")?;
        ensure!(is_guarded(&left, "__Host-weir-login", "Lax"), "{left:?}");
        let callback = format!("{}/login/callback", self.site.origin);
        let back = self.provider.order(&json!({
            "op": "visit", "url": left.header("location"), "login": login, "until": callback
        }))?;
        let url = back["url"].as_str().context("no way back")?;
        let path = url.strip_prefix(&self.site.origin).context("elsewhere")?;
        let jar = format!("cookie: __Host-weir-login={cookie}");
        Ok((self.site.ask(&["-H", &jar], path)?, path.to_owned()))
    }

    fn log_in(&self, login: &str) -> Result<Visitor> {
        let (answer, way) = self.come_back(login)?;
        ensure!(answer.status == 200, "{login} does not get in: {answer:?}");
        ensure!(is_guarded(&answer, "__Host-weir", "Strict"), "{answer:?}");
        let cookie = answer.cookie("__Host-weir")?;
        let jar = format!("cookie: __Host-weir={cookie}");
        let me = self.site.ask(&["-H", &jar], "/api/me")?.json()?;
        let csrf = me["csrf"].as_str().context("no token")?.to_owned();
        Ok(Visitor {
            jar,
            csrf,
            secrets: vec![cookie, way],
        })
    }

    fn get(&self, visitor: &Visitor, path: &str) -> Result<Answer> {
        self.site.ask(&["-H", &visitor.jar], path)
    }

    fn post(&self, visitor: &Visitor, path: &str, more: &[&str]) -> Result<Answer> {
        let form = format!("csrf={}", visitor.csrf);
        let mut arguments = vec!["-H", &visitor.jar, "--data", &form];
        arguments.extend(more);
        self.site.ask(&arguments, path)
    }
}

/// A browser that is logged in.
struct Visitor {
    jar: String,
    csrf: String,
    secrets: Vec<String>,
}

const MEASURER: &str = "a-bearer-for-measurements";

/// One agent, one provider, one server for all of it: each part leaves things as the next needs them.
#[test]
fn the_web_page_lets_in_whom_it_should_and_tells_nothing_secret() -> Result<()> {
    let world = World::start()?;
    let people = PEOPLE[..4]
        .iter()
        .map(|(login, _)| world.log_in(login))
        .collect::<Result<Vec<_>>>()?;
    let (refused, _) = world.come_back("nob")?;
    ensure!(
        refused.status == 403 && refused.body.contains("none of your groups"),
        "{refused:?}"
    );
    let [viewer, approver, auditor, admin] = people.as_slice() else {
        bail!("four people");
    };
    a_statement_shows_on_the_map_and_its_session_can_be_ended(&world, viewer, admin)?;
    what_waits_is_decided_by_approvers(&world, viewer, approver, auditor, admin)?;
    every_route_asks_for_its_role(&world, &people)?;
    changes_come_from_the_sites_own_pages(&world, admin)?;
    this_hosts_socket_knows_who_asks(&world)?;
    measurements_need_their_token(&world)?;
    records_are_explained_and_the_chain_verified(&world, auditor)?;
    let secrets: Vec<&str> = people
        .iter()
        .flat_map(|person| person.secrets.iter().chain([&person.csrf]))
        .map(String::as_str)
        .collect();
    nothing_secret_is_anywhere(&world, admin, &secrets)?;
    logging_out_ends_the_visit(&world, viewer)?;
    log_ins_are_rate_limited(&world)
}

fn a_statement_shows_on_the_map_and_its_session_can_be_ended(
    world: &World,
    viewer: &Visitor,
    admin: &Visitor,
) -> Result<()> {
    world.lab.admin(&format!(
        "update products set title = '{VALUE}' where id = (select min(id) from products)"
    ))?;
    let events = world.site.follow(&viewer.jar, "/api/events")?;
    events.wait(Duration::from_secs(10), |_| true)?;
    let mut client = Psql::start(&world.lab, Identity::Bob)?;
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
    let ended = world.post(admin, &path, &[])?;
    ensure!(ended.status == 200, "{ended:?}");
    ensure!(client.ends_with("due to administrator command"));
    ensure!(world.post(admin, &path, &[])?.status == 404);
    let record = world.lab.agent().json(&[
        "audit",
        "query",
        "--format",
        "json",
        "select body from events where event = 'session_ended'",
    ])?;
    ensure!(
        record.to_string().contains("adm"),
        "it is not recorded who did it: {record}"
    );
    Ok(())
}

fn what_waits_is_decided_by_approvers(
    world: &World,
    viewer: &Visitor,
    approver: &Visitor,
    auditor: &Visitor,
    admin: &Visitor,
) -> Result<()> {
    let mut client = Psql::start(&world.lab, Identity::Bob)?;
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

fn every_route_asks_for_its_role(world: &World, people: &[Visitor]) -> Result<()> {
    for route in routes::all() {
        for path in route.paths() {
            if path.ends_with("/logout") {
                continue;
            }
            let is_change = *route.method() == "POST";
            let path = path
                .replace("{id}", "999999")
                .replace("{kind}", "usage")
                .replace("{name}", "theme.js");
            let data: &[&str] = if is_change {
                &["--data", "csrf=x"]
            } else {
                &[]
            };
            let unknown = world.site.ask(data, &path)?;
            unknown.is_enveloped()?;
            let is_page = !is_change && !path.starts_with("/api/") && route.need() != Need::Metrics;
            match route.need() {
                Need::Nothing => {
                    ensure!(
                        ![401, 403, 404].contains(&unknown.status),
                        "{path}: {unknown:?}"
                    );
                    continue;
                }
                _ if is_page => ensure!(
                    unknown.status == 303
                        && unknown.header("location") == "/login"
                        && unknown.body.is_empty(),
                    "{path} shows something to nobody: {unknown:?}"
                ),
                Need::Metrics => {
                    ensure!([303, 401].contains(&unknown.status), "{path}: {unknown:?}");
                }
                Need::Role(_) => ensure!(unknown.status == 401, "{path}: {unknown:?}"),
            }
            let need = match route.need() {
                Need::Role(role) => role,
                _ => Role::Viewer,
            };
            for (person, role) in people.iter().zip(Role::ALL) {
                let answer = if is_change {
                    world.post(person, &path, &[])?
                } else {
                    world.get(person, &path)?
                };
                answer.is_enveloped()?;
                let is_in = ![303, 401, 403].contains(&answer.status)
                    || (is_change && answer.status == 303);
                ensure!(
                    is_in == role.is_enough_for(need) && answer.status < 500,
                    "{role:?} at {route:?}: {answer:?}"
                );
            }
        }
    }
    Ok(())
}

fn changes_come_from_the_sites_own_pages(world: &World, admin: &Visitor) -> Result<()> {
    let path = "/api/sessions/999999/end";
    let origin = format!("origin: {}", world.site.origin);
    ensure!(
        world
            .post(
                admin,
                path,
                &["-H", &origin, "-H", "sec-fetch-site: same-origin"]
            )?
            .status
            == 404
    );
    for foreign in [
        "origin: https://evil.example",
        "origin: null",
        "sec-fetch-site: cross-site",
        "sec-fetch-site: same-site",
    ] {
        let answer = world.post(admin, path, &["-H", foreign])?;
        ensure!(answer.status == 403, "{foreign}: {answer:?}");
    }
    for form in ["", "csrf=", "csrf=guessed"] {
        let answer = world.site.ask(&["-H", &admin.jar, "--data", form], path)?;
        ensure!(
            answer.status == 403 && answer.body.contains("token"),
            "{form}: {answer:?}"
        );
    }
    let json = [
        "-H",
        &admin.jar,
        "-H",
        "content-type: application/json",
        "--data",
        "{}",
    ];
    ensure!(world.site.ask(&json, path)?.status == 400, "only forms");
    for host in ["evil.example", "127.0.0.1", "localhost:1"] {
        let named = format!("host: {host}");
        let answer = world
            .site
            .ask(&["-H", &admin.jar, "-H", &named], "/sessions")?;
        ensure!(
            answer.status == 421 && !answer.body.contains("Open sessions"),
            "{answer:?}"
        );
    }
    let long = format!("x={}", "y".repeat(100_000));
    ensure!(
        world
            .site
            .ask(&["-H", &admin.jar, "--data", &long], path)?
            .status
            == 400
    );
    let two = format!("{}; __Host-weir=another", admin.jar);
    ensure!(
        world.site.ask(&["-H", &two], "/api/me")?.status == 401,
        "two cookies are none"
    );
    Ok(())
}

fn this_hosts_socket_knows_who_asks(world: &World) -> Result<()> {
    let root = world.site.local(Command::new("curl"), "/api/me")?.json()?;
    ensure!(root["roles"] == json!(["admin"]), "{root}");
    // An agent's run is nobody here, whatever its user.
    let run = world.site.local(
        world.lab.command(Identity::ChurnBot, "curl"),
        "/api/sessions",
    )?;
    ensure!(
        run.status == 403 && run.body.contains("agent's run"),
        "{run:?}"
    );
    let mut stranger = Command::new("setpriv");
    stranger.args(["--reuid=1", "--clear-groups", "curl"]);
    let stranger = world.site.local(stranger, "/api/sessions")?;
    ensure!(
        stranger.status == 403 && stranger.body.contains("user 1"),
        "{stranger:?}"
    );
    let health = world.site.local(Command::new("curl"), "/healthz")?;
    ensure!(
        health.status == 200 && health.json()?["ok"] == true,
        "{health:?}"
    );
    let mut change = Command::new("curl");
    change.args(["--data", "csrf=x"]);
    ensure!(
        world.site.local(change, "/api/chain/verify")?.status == 403,
        "root needs the token too"
    );
    Ok(())
}

fn measurements_need_their_token(world: &World) -> Result<()> {
    let with = |token: &str| {
        let header = format!("authorization: Bearer {token}");
        world.site.ask(&["-H", &header], "/metrics")
    };
    ensure!(with("guessed")?.status == 401);
    let metrics = with(MEASURER)?;
    ensure!(metrics.status == 200, "{metrics:?}");
    for name in [
        "weir_sessions ",
        "weir_requests_total ",
        "weir_kernel_connections_total{verdict=\"governed\"}",
        "weir_journal_records_total ",
        "weir_index_lag_records ",
        "weir_logins{state=\"live\"}",
    ] {
        ensure!(
            metrics.body.lines().any(|line| line.starts_with(name)),
            "no {name}: {}",
            metrics.body
        );
    }
    ensure!(
        !metrics.body.contains("bob") && !metrics.body.contains("products"),
        "{}",
        metrics.body
    );
    let elsewhere = ["-H", "authorization: Bearer a-bearer-for-measurements"];
    ensure!(
        world.site.ask(&elsewhere, "/api/sessions")?.status == 401,
        "it is for /metrics only"
    );
    Ok(())
}

fn records_are_explained_and_the_chain_verified(world: &World, auditor: &Visitor) -> Result<()> {
    let query = "select max(seq) as seq from events";
    let last = world
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

fn nothing_secret_is_anywhere(world: &World, admin: &Visitor, secrets: &[&str]) -> Result<()> {
    let mut everywhere = vec![("the log".to_owned(), world.lab.agent().log().into_bytes())];
    for route in routes::all() {
        if *route.method() == "GET" {
            for path in route.paths() {
                let path = path
                    .replace("{kind}", "privileged")
                    .replace("{name}", "map.js");
                if !path.contains("/login") && path != "/api/me" {
                    let answer = world.get(admin, &path)?;
                    // The page's own form has its own token.
                    let text = answer.body.replace(&admin.csrf, "");
                    everywhere.push((path, text.into_bytes()));
                }
            }
        }
    }
    let down = "/usage?principal=bob&process=";
    let programs = world.get(admin, "/api/usage?principal=bob")?.json()?;
    let program = programs["lines"][0]["of"]
        .as_str()
        .context("no program")?
        .to_owned();
    let statements = world.get(admin, &format!("/api{down}{program}&table=products"))?;
    ensure!(
        statements.body.contains("select title from products"),
        "{statements:?}"
    );
    everywhere.push(("usage".into(), statements.body.into_bytes()));
    files(&world.lab.agent().state_folder(), &mut everywhere)?;
    let mut sought: Vec<&str> = vec![LITERAL, VALUE, MEASURER];
    sought.extend(secrets);
    for (place, content) in &everywhere {
        for secret in &sought {
            let found = memchr::memmem::find(content, secret.as_bytes());
            ensure!(found.is_none(), "{place} tells {secret}");
        }
    }
    Ok(())
}

fn logging_out_ends_the_visit(world: &World, viewer: &Visitor) -> Result<()> {
    let events = world.site.follow(&viewer.jar, "/api/events")?;
    events.wait(Duration::from_secs(5), |_| true)?;
    let out = world.post(viewer, "/logout", &[])?;
    ensure!(
        out.status == 303 && out.header("location") == "/login",
        "{out:?}"
    );
    ensure!(world.get(viewer, "/api/me")?.status == 401);
    events.ends_within(Duration::from_secs(6))
}

fn log_ins_are_rate_limited(world: &World) -> Result<()> {
    for _ in 0..40 {
        let answer = world.site.get("/login/start")?;
        if answer.status == 429 {
            ensure!(!answer.header("retry-after").is_empty(), "{answer:?}");
            return Ok(());
        }
    }
    bail!("forty log-ins in a row are let through")
}

/// Whether a cookie is for this host by TLS only, out of scripts' reach, and not sent along from elsewhere.
fn is_guarded(answer: &Answer, name: &str, same_site: &str) -> bool {
    let begin = format!("{name}=");
    answer.headers("set-cookie").any(|line| {
        let has = |attribute: &str| line.split("; ").any(|known| known == attribute);
        let same_site = format!("SameSite={same_site}");
        line.starts_with(&begin)
            && ["Secure", "HttpOnly", "Path=/", &same_site]
                .into_iter()
                .all(has)
            && !line.contains("Domain")
    })
}

fn files(folder: &Path, into: &mut Vec<(String, Vec<u8>)>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            files(&path, into)?;
        } else if path.is_file() {
            into.push((path.display().to_string(), fs::read(&path)?));
        }
    }
    Ok(())
}
