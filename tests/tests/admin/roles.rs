//! Who may have which route: written down here once more, so that a route that is added or opened has to be written here too.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use weir::admin::{Role, routes};

use super::{Visitor, World};

/// Who gets in.
#[derive(Clone, Copy)]
enum For {
    Everybody,
    /// Everybody who is logged in.
    All,
    Approvers,
    Auditors,
    Admins,
}

use For::{Admins, All, Approvers, Auditors, Everybody};

impl For {
    /// Whether somebody with this role does.
    fn is_for(self, role: Role) -> bool {
        match self {
            Everybody | All => true,
            Approvers => matches!(role, Role::Approver | Role::Admin),
            Auditors => matches!(role, Role::Auditor | Role::Admin),
            Admins => role == Role::Admin,
        }
    }
}

const MATRIX: &[(&str, &str, For)] = &[
    ("GET", "/", All),
    ("GET", "/api/map", All),
    ("GET", "/events", All),
    ("GET", "/api/events", All),
    ("GET", "/sessions", All),
    ("GET", "/api/sessions", All),
    ("POST", "/sessions/{id}/end", Admins),
    ("POST", "/api/sessions/{id}/end", Admins),
    ("GET", "/approvals", All),
    ("GET", "/api/approvals", All),
    ("GET", "/approvals/{id}", All),
    ("GET", "/api/approvals/{id}", All),
    ("POST", "/approvals/{id}/decide", Approvers),
    ("POST", "/api/approvals/{id}/decide", Approvers),
    ("POST", "/approvals/{id}/values", Approvers),
    ("POST", "/api/approvals/{id}/values", Approvers),
    ("POST", "/approvals/{id}/revoke", Approvers),
    ("POST", "/api/approvals/{id}/revoke", Approvers),
    ("GET", "/usage", All),
    ("GET", "/api/usage", All),
    ("GET", "/policies", All),
    ("GET", "/api/policies", All),
    ("GET", "/policies/explain", Auditors),
    ("GET", "/api/policies/explain", Auditors),
    ("GET", "/chain", All),
    ("GET", "/api/chain", All),
    ("POST", "/chain/verify", Auditors),
    ("POST", "/api/chain/verify", Auditors),
    ("GET", "/reports", Auditors),
    ("GET", "/reports/{kind}", Auditors),
    ("GET", "/api/reports/{kind}", Auditors),
    ("GET", "/api/me", All),
    ("GET", "/metrics", All),
    ("POST", "/logout", All),
    ("POST", "/api/logout", All),
    ("GET", "/login", Everybody),
    ("GET", "/login/start", Everybody),
    ("GET", "/login/callback", Everybody),
    ("GET", "/assets/{name}", Everybody),
    ("GET", "/healthz", Everybody),
];

/// `people` have the roles in their order.
pub(crate) fn every_route_asks_for_its_role(world: &World, people: &[Visitor]) -> Result<()> {
    let written: BTreeSet<String> = MATRIX
        .iter()
        .map(|(method, path, _)| format!("{method} {path}"))
        .collect();
    let served: BTreeSet<String> = routes::all()
        .iter()
        .flat_map(|route| {
            let method = route.method();
            let paths = route.paths().into_iter();
            paths.map(move |path| format!("{method} {path}"))
        })
        .collect();
    ensure!(
        written == served && written.len() == MATRIX.len(),
        "this matrix and the routes differ: {:?}",
        written.symmetric_difference(&served).collect::<Vec<_>>()
    );
    for (method, path, who) in MATRIX {
        let is_change = *method == "POST";
        let path = path
            .replace("{id}", "999999")
            .replace("{kind}", "usage")
            .replace("{name}", "theme.js");
        nobody_gets_in(world, &path, is_change, *who)?;
        // Would end the visits that the rest needs: see `logging_out_ends_the_visit`.
        if path.ends_with("/logout") || matches!(who, Everybody) {
            continue;
        }
        for (person, role) in people.iter().zip(Role::ALL) {
            let answer = if is_change {
                world.post(person, &path, &[])?
            } else {
                world.get(person, &path)?
            };
            answer.is_enveloped()?;
            // After a change pages lead back.
            let is_in =
                ![303, 401, 403].contains(&answer.status) || (is_change && answer.status == 303);
            ensure!(
                is_in == who.is_for(role) && answer.status < 500,
                "{role:?} at {method} {path}: {answer:?}"
            );
        }
    }
    Ok(())
}

/// Without a log-in pages lead to it, and all else is refused.
fn nobody_gets_in(world: &World, path: &str, is_change: bool, who: For) -> Result<()> {
    let form: &[&str] = if is_change {
        &["--data", "csrf=x"]
    } else {
        &[]
    };
    let answer = world.site.ask(form, path)?;
    answer.is_enveloped()?;
    let is_right = if matches!(who, Everybody) {
        ![401, 403, 404].contains(&answer.status)
    } else if is_change || path.starts_with("/api/") {
        answer.status == 401
    } else {
        // To the page that was wanted, where it is one.
        let to = path.trim_start_matches('/').replace('/', "%2F");
        let kept = format!("/login?to=%2F{to}");
        answer.status == 303
            && ["/login", &kept].contains(&answer.header("location"))
            && answer.body.is_empty()
    };
    ensure!(is_right, "{path} without a log-in: {answer:?}");
    Ok(())
}
