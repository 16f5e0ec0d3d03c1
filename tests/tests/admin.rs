//! The web page and its API: who gets in, who may do what, what browsers are told, and that nothing secret is in it.

use std::{fs, net::TcpListener, path::PathBuf, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use serde_json::json;
use tests::{Identity, LabOptions, Web};
use toml::Table;

#[path = "admin/doings.rs"]
mod doings;
#[path = "admin/doors.rs"]
mod doors;
#[path = "admin/http.rs"]
mod http;
#[path = "admin/roles.rs"]
mod roles;
#[path = "admin/secrets.rs"]
mod secrets;

use http::{Answer, Site};

/// A literal of a statement, and a value that came back: neither may be anywhere.
const LITERAL: &str = "sentinel-literal-4711";
const VALUE: &str = "sentinel-value-0815";

/// What is deleted waits for an approver.
const PACK: &str = "version: 1
defaults: { effect: allow }
rules:
  - id: deletes-wait
    why: somebody else has to look
    match: { kind: [delete] }
    effect: { approve: { groups: [approvers], quorum: 1, ttl: 5m } }
";

/// The last word of a start comes after the kernel programs are in their places: nobody may be left in front of a closed door.
#[test]
fn a_start_that_fails_takes_its_programs_out_of_the_kernel_again() -> Result<()> {
    let mut web = Web::start(&[("rules.yaml", PACK)], "", LabOptions::default())?;
    let config = fs::read_to_string(web.lab.agent().config()).context("no configuration")?;
    let config: Table = config.parse().context("no TOML")?;
    let pins = config["capture"]["pin_dir"].as_str().context("no folder")?;
    let pins = PathBuf::from(pins);
    ensure!(pins.exists(), "the agent pins nothing");
    web.lab.agent_mut().stop()?;
    ensure!(!pins.exists(), "an agent that stops leaves its pins");

    let address = web.origin.trim_start_matches("https://").to_owned();
    let taken = TcpListener::bind(&address).context("the port is not free")?;
    let Err(failure) = web.lab.agent_mut().resume() else {
        bail!("the agent starts although its port is taken");
    };
    let said = format!("{failure:#}");
    ensure!(
        said.contains(&format!("cannot listen on {address}")),
        "{said}"
    );
    ensure!(!pins.exists(), "a start that failed leaves its pins");
    // As long as the kernel takes a missing heartbeat for patience, and longer.
    std::thread::sleep(Duration::from_millis(1500));
    let psql = web.lab.postgres().programs().client("psql");
    let connected = web
        .lab
        .command(Identity::Nobody, psql)
        .args(["-XAtc", "select 1"])
        .output()?;
    ensure!(connected.status.success(), "{connected:?}");

    drop(taken);
    web.lab.agent_mut().resume()?;
    ensure!(pins.exists(), "the agent pins nothing");
    Ok(())
}

struct World {
    web: Web,
    site: Site,
}

impl World {
    fn start() -> Result<Self> {
        let web = Web::start(&[("rules.yaml", PACK)], "", LabOptions::default())?;
        let site = Site {
            origin: web.origin.clone(),
            socket: web.socket(),
            authority: web.authority(),
        };
        Ok(Self { web, site })
    }

    /// Goes through the provider's pages; the answer to what it sent back, and the cookie of the way.
    fn come_back(&self, login: &str) -> Result<(Answer, String)> {
        self.come_back_from("/login/start", login)
    }

    fn come_back_from(&self, start: &str, login: &str) -> Result<(Answer, String)> {
        let left = self.site.get(start)?;
        ensure!(left.status == 303, "{left:?}");
        let cookie = left.cookie("__Host-weir-login")?;
        ensure!(is_guarded(&left, "__Host-weir-login", "Lax"), "{left:?}");
        let callback = format!("{}/login/callback", self.site.origin);
        let back = self.web.provider.order(&json!({
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

/// One agent, one provider, one server for all of it: each part leaves things as the next needs them.
#[test]
fn the_web_page_lets_in_whom_it_should_and_tells_nothing_secret() -> Result<()> {
    let world = World::start()?;
    let people = Web::PEOPLE[..4]
        .iter()
        .map(|(login, _)| world.log_in(login))
        .collect::<Result<Vec<_>>>()?;
    let (refused, _) = world.come_back("nob")?;
    ensure!(
        refused.status == 403 && refused.body.contains("None of your groups"),
        "{refused:?}"
    );
    doors::a_link_on_another_site_leads_to_its_page(&world, &people[0])?;
    let [viewer, approver, auditor, admin] = people.as_slice() else {
        bail!("four people");
    };
    doings::a_statement_shows_on_the_map_and_its_session_can_be_ended(&world, viewer, admin)?;
    doings::what_waits_is_decided_by_approvers(&world, viewer, approver, auditor, admin)?;
    roles::every_route_asks_for_its_role(&world, &people)?;
    doors::changes_come_from_the_sites_own_pages(&world, admin)?;
    doors::this_hosts_socket_knows_who_asks(&world)?;
    doors::measurements_need_their_token(&world)?;
    doings::records_are_explained_and_the_chain_verified(&world, auditor)?;
    let secrets: Vec<&str> = people
        .iter()
        .flat_map(|person| person.secrets.iter().chain([&person.csrf]))
        .map(String::as_str)
        .collect();
    secrets::nothing_secret_is_anywhere(&world, admin, &secrets)?;
    logging_out_ends_the_visit(&world, viewer)?;
    for person in [approver, auditor, admin] {
        log_out(&world, person)?;
    }
    doors::log_ins_are_rate_limited(&world)
}

fn logging_out_ends_the_visit(world: &World, person: &Visitor) -> Result<()> {
    let events = world.site.follow(&person.jar, "/api/events")?;
    events.wait(Duration::from_secs(5), |_| true)?;
    log_out(world, person)?;
    events.ends_within(Duration::from_secs(6))
}

fn log_out(world: &World, person: &Visitor) -> Result<()> {
    let out = world.post(person, "/logout", &[])?;
    ensure!(
        out.status == 303 && out.header("location") == "/login",
        "{out:?}"
    );
    ensure!(world.get(person, "/api/me")?.status == 401, "still there");
    Ok(())
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
