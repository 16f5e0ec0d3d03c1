//! Ways in that are no log-in, and what is turned away at them.

use std::process::Command;

use anyhow::{Result, bail, ensure};
use serde_json::json;
use tests::{Identity, Web};

use super::{Visitor, World};

/// Browsers send no strict cookie along such a link; the answer has them ask again, or leads there by a log-in.
pub(crate) fn a_link_on_another_site_leads_to_its_page(
    world: &World,
    viewer: &Visitor,
) -> Result<()> {
    let link = ["sec-fetch-site: cross-site", "sec-fetch-mode: navigate"];
    let first = world
        .site
        .ask(&["-H", link[0], "-H", link[1]], "/approvals/999999")?;
    ensure!(
        first.status == 200 && first.body.contains("0; url=/approvals/999999"),
        "{first:?}"
    );
    let own = "sec-fetch-site: same-origin";
    let again = world
        .site
        .ask(&["-H", own, "-H", &viewer.jar], "/approvals/999999")?;
    ensure!(
        again.status == 404 && again.body.contains("report of approvals"),
        "{again:?}"
    );
    let stranger = world.site.ask(&["-H", own], "/approvals/999999")?;
    let to = "/login?to=%2Fapprovals%2F999999";
    ensure!(
        stranger.status == 303 && stranger.header("location") == to,
        "{stranger:?}"
    );
    let (back, _) = world.come_back_from("/login/start?to=%2Fapprovals%2F999999", "vic")?;
    ensure!(
        back.status == 200 && back.body.contains("0; url=/approvals/999999\""),
        "{back:?}"
    );
    Ok(())
}

pub(crate) fn changes_come_from_the_sites_own_pages(world: &World, admin: &Visitor) -> Result<()> {
    let path = "/api/sessions/999999/end";
    let origin = format!("origin: {}", world.site.origin);
    ensure!(
        world
            .post(
                admin,
                path,
                &[
                    "-H",
                    &origin,
                    "-H",
                    "sec-fetch-site: same-origin",
                    "--data",
                    "reason=why"
                ]
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

pub(crate) fn this_hosts_socket_knows_who_asks(world: &World) -> Result<()> {
    let root = world.site.local(Command::new("curl"), "/api/me")?.json()?;
    ensure!(root["roles"] == json!(["admin"]), "{root}");
    // An agent's run is nobody here, whatever its user.
    let run = world.site.local(
        world.web.lab.command(Identity::ChurnBot, "curl"),
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

pub(crate) fn measurements_need_their_token(world: &World) -> Result<()> {
    let with = |token: &str| {
        let header = format!("authorization: Bearer {token}");
        world.site.ask(&["-H", &header], "/metrics")
    };
    ensure!(with("guessed")?.status == 401);
    let metrics = with(Web::MEASURER)?;
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
    let elsewhere = ["-H", &format!("authorization: Bearer {}", Web::MEASURER)];
    ensure!(
        world.site.ask(&elsewhere, "/api/sessions")?.status == 401,
        "it is for /metrics only"
    );
    Ok(())
}

pub(crate) fn log_ins_are_rate_limited(world: &World) -> Result<()> {
    for _ in 0..40 {
        let answer = world.site.get("/login/start")?;
        if answer.status == 429 {
            ensure!(!answer.header("retry-after").is_empty(), "{answer:?}");
            return Ok(());
        }
    }
    bail!("forty log-ins in a row are let through")
}
