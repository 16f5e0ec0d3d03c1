//! `weir whoami`: who weir takes this process for, and why.

use std::{io::IsTerminal, process::ExitCode};

use anyhow::Context;
use serde_json::Value;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use weir_policy::{Delegation, Identity, Strength};

use super::output::print;
use crate::identity::{Said, Tried};
use crate::{
    control::{
        Client,
        protocol::{Binding, Request, Who},
        socket_path,
    },
    identity::RunBudget,
    terminal::visible_line,
};

/// Show who weir takes this process for.
#[derive(Debug, Clone, Copy, clap::Args)]
#[command(
    after_help = "Exit codes: 0 identified, 1 unidentified, or the agent cannot be reached or refuses.\n\nExamples:\n  weir whoami\n  weir whoami --json | jq .binding.identity.principal"
)]
pub(super) struct Args {
    /// Print the whole answer as JSON
    #[arg(long)]
    json: bool,
}

/// Prints who this process is; exits with 1 when it is unidentified.
///
/// # Errors
///
/// When the agent cannot be reached.
pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let answer = Client::connect(&socket_path())?.ask(&Request::Whoami)?;
    tell(&answer, args.json)
}

/// Prints an answer to `whoami` or `whois`.
pub(super) fn tell(answer: &Value, json: bool) -> anyhow::Result<ExitCode> {
    let who: Who =
        serde_json::from_value(answer.clone()).context("cannot read the agent's answer")?;
    if json {
        print(&format!("{answer:#}\n"))?;
    } else {
        print(&format!("{}\n", describe(&who)))?;
    }
    Ok(if who.binding.is_some() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Tells a person at a terminal who the command that follows will be; a script's standard error stays its own.
pub(super) fn announce(binding: &Binding) {
    if std::io::stderr().is_terminal() {
        eprintln!("weir: {}", sentence(binding));
    }
}

/// One sentence about a binding.
pub(super) fn sentence(binding: &Binding) -> String {
    let identity = &binding.identity;
    let mut text = identity.principal.display.clone();
    for actor in &identity.actors {
        text = format!("{} for {text}", actor.subject);
    }
    let weak = if identity.strength == Strength::Weak {
        ", weakly bound"
    } else {
        ""
    };
    let issuer = if binding.development {
        " (development issuer)"
    } else {
        ""
    };
    let stale = if binding.stale {
        ", stale: the provider does not answer"
    } else {
        ""
    };
    visible_line(&format!(
        "{text} by {}{weak}, until {}{stale}{issuer}",
        identity.method,
        instant(binding.not_after_s)
    ))
}

/// What the provider said of the log-in, and who vouches for a delegation.
fn login(identity: &Identity) -> Vec<String> {
    let principal = &identity.principal;
    let means = (!principal.amr.is_empty()).then(|| principal.amr.join(", "));
    let delegation = identity.delegation.map(|delegation| match delegation {
        Delegation::Local => "local: this host alone vouches that the agent acts for this subject",
        Delegation::Exchanged => {
            "exchanged: the provider vouches that the agent acts for this subject"
        }
    });
    let facts = [
        ("proved", principal.auth_time.map(instant)),
        ("acr", principal.acr.clone()),
        ("amr", means),
        ("agent", delegation.map(str::to_owned)),
    ];
    facts
        .into_iter()
        .filter_map(|(name, value)| Some(format!("  {name:<8} {}", value?)))
        .collect()
}

/// Who it is, and how that came about, in lines.
pub(super) fn describe(who: &Who) -> String {
    let mut lines = Vec::new();
    match &who.binding {
        Some(binding) => {
            let principal = &binding.identity.principal;
            lines.push(sentence(binding));
            lines.push(format!("  issuer   {}", principal.issuer));
            lines.push(format!("  subject  {}", principal.subject));
            let cut = if principal.groups_complete {
                ""
            } else {
                " (incomplete: no grant by group holds)"
            };
            lines.push(format!("  groups   {}{cut}", principal.groups.join(", ")));
            lines.push(format!("  bound to {}", binding.key));
            lines.push(format!("  vouched  {}", instant(binding.verified_s)));
            lines.push(format!("  since    {}", instant(binding.issued_s)));
            lines.push(format!("  token    sha256:{}", binding.token_fingerprint));
            lines.extend(login(&binding.identity));
            if !binding.renewable && matches!(binding.identity.method.as_str(), "device" | "code") {
                lines.push(
                    "  renewal  none: the agent was restarted, or the provider gave no refresh token; run `weir login` again before it ends"
                        .to_owned(),
                );
            }
            lines.extend(
                binding
                    .delegation
                    .map(|delegation| format!("  delegation {delegation}")),
            );
            lines.extend(
                binding
                    .budget
                    .map(|budget| format!("  budget   {}", limits(budget))),
            );
            lines.extend(
                binding
                    .identity
                    .purpose
                    .as_ref()
                    .map(|purpose| format!("  purpose  {purpose}")),
            );
        }
        None => lines.push(format!(
            "unidentified: {}",
            who.absence.as_deref().unwrap_or("nobody vouches for it")
        )),
    }
    let evidence = &who.evidence;
    lines.push(format!(
        "  process  {} ({}), uid {}",
        evidence.exe_path, evidence.tgid, evidence.uid
    ));
    lines.push(format!("  cgroup   {}", evidence.cgroup_path));
    lines.push(format!("  parents  {}", evidence.parents.join(" < ")));
    let observed = [
        ("unit", evidence.systemd_unit.clone()),
        ("container", evidence.container_id.clone()),
        ("sha256", evidence.exe_sha256.clone()),
        ("session", evidence.audit_session.map(|id| id.to_string())),
        ("loginuid", evidence.loginuid.map(|id| id.to_string())),
    ];
    lines.extend(
        observed
            .into_iter()
            .filter_map(|(name, value)| Some(format!("  {name:<8} {}", value?))),
    );
    lines.extend(how(&who.tried));
    let lines: Vec<String> = lines.iter().map(|line| visible_line(line)).collect();
    lines.join("\n")
}

/// The sources in the order in which they count, and what each of them said.
fn how(tried: &[Tried]) -> Vec<String> {
    let lines = tried.iter().enumerate().map(|(at, tried)| {
        let outcome = match tried.outcome {
            Said::Matched => "yes",
            Said::Silent => "no",
            Said::Refused => "refused",
            Said::NotAsked => "not asked",
        };
        format!("    {}. {}: {outcome}: {}", at + 1, tried.source, tried.why)
    });
    let title = (!tried.is_empty()).then(|| "  how".to_owned());
    title.into_iter().chain(lines).collect()
}

fn limits(budget: RunBudget) -> String {
    let part = |amount: Option<u64>, what| amount.map(|amount| format!("{amount} {what}"));
    [part(budget.rows, "rows"), part(budget.bytes, "bytes")]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join(", ")
}

fn instant(seconds: i64) -> String {
    OffsetDateTime::from_unix_timestamp(seconds)
        .ok()
        .and_then(|time| time.format(&Rfc3339).ok())
        .unwrap_or_else(|| format!("second {seconds}"))
}
