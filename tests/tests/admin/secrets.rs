//! Nothing secret is on a page, in an answer, in the log or in a record.

use anyhow::{Context as _, Result, ensure};
use tests::{Places, Web};
use weir::admin::routes;

use super::{LITERAL, VALUE, Visitor, World};

const REPORTS: [&str; 7] = [
    "usage",
    "access",
    "columns",
    "privileged",
    "approvals",
    "review",
    "completeness",
];

/// `secrets` are what browsers carry.
pub(crate) fn nothing_secret_is_anywhere(
    world: &World,
    admin: &Visitor,
    secrets: &[&str],
) -> Result<()> {
    let mut places = Places::written_by(world.web.lab.agent())?;
    let mut look = |path: &str| -> Result<()> {
        let answer = world.get(admin, path)?;
        // The page's own form has its own token.
        places.add(path, answer.body.replace(&admin.csrf, ""));
        Ok(())
    };
    for route in routes::all() {
        for path in route.paths() {
            if *route.method() == "POST" || path.contains("/login") || path == "/api/me" {
                continue;
            }
            for kind in REPORTS {
                look(&path.replace("{kind}", kind).replace("{name}", "map.js"))?;
                if !path.contains("{kind}") {
                    break;
                }
            }
        }
    }
    let programs = world.get(admin, "/api/usage?principal=bob")?.json()?;
    let program = programs["lines"][0]["of"].as_str().context("no program")?;
    let down = format!("/api/usage?principal=bob&process={program}&table=products");
    look(&down)?;
    ensure!(
        places.some_holds(&down, "select title from products"),
        "the statements are not looked through"
    );
    ensure!(
        places.some_holds("/journal/", "select title from products"),
        "the journal is not looked through"
    );
    let known = [LITERAL, VALUE, Web::MEASURER];
    places.hold_none_of(known.into_iter().chain(secrets.iter().copied()))
}
