//! `weir doctor`: would enforcement hold on this host?

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    io::{self, IsTerminal},
    path::{Path, PathBuf},
    process::ExitCode,
};

use serde::Serialize;
use serde_json::json;

use super::output::print;
use crate::{
    admin, capture,
    config::Config,
    control::{Client, protocol::Request, socket_path},
    identity::{
        Identities,
        examine::{self, examine},
    },
    policy,
    proxy::Engine,
    telemetry,
    terminal::visible_line,
    webhooks,
};

/// Checks kernel features, privileges, configuration, policies, issuers and ways around the agent.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit codes: 0 enforcement would hold, 1 it would not.\n\nExample:\n  weir doctor --config /etc/weir/weir.toml\n\nIt asks each [[issuer]] over the network."
)]
pub(super) struct Args {
    /// The configuration to check.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Finding {
    name: String,
    grade: Grade,
    detail: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    remedy: String,
}

/// What a finding means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Grade {
    Ok,
    /// Enforcement holds, and somebody should know this.
    Note,
    /// Enforcement would not hold.
    Bad,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let mut findings: Vec<Finding> = capture::probe()
        .into_iter()
        .map(|found| Finding {
            name: found.name.to_owned(),
            grade: match (found.ok, found.optional) {
                (true, _) => Grade::Ok,
                (false, true) => Grade::Note,
                (false, false) => Grade::Bad,
            },
            detail: found.detail,
            remedy: found.remedy,
        })
        .collect();
    configuration(args.config.as_deref(), &mut findings);
    agent(&mut findings);
    findings.extend(unix_sockets());
    findings.push(privileged_processes());
    let holds = findings.iter().all(|finding| finding.grade != Grade::Bad);
    if args.json {
        let report = json!({"holds": holds, "findings": findings});
        print(&format!("{report:#}\n"))?;
    } else {
        print(&shown(&findings, io::stdout().is_terminal()))?;
    }
    Ok(if holds {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Names of processes, paths of sockets and providers' words are of others' choosing: none of them may steer the terminal.
fn shown(findings: &[Finding], colours: bool) -> String {
    let mut out = String::new();
    for finding in findings {
        let (mark, colour) = match finding.grade {
            Grade::Ok => ("ok", "32"),
            Grade::Note => ("note", "33"),
            Grade::Bad => ("BAD", "31"),
        };
        let mark = if colours {
            format!("\x1b[{colour}m{mark:<5}\x1b[0m")
        } else {
            format!("{mark:<5}")
        };
        let detail = visible_line(&finding.detail);
        let _ = writeln!(out, "{mark} {:<18} {detail}", finding.name);
        if !finding.remedy.is_empty() {
            let _ = writeln!(out, "{:25}{}", "", visible_line(&finding.remedy));
        }
    }
    out
}

fn configuration(path: Option<&Path>, findings: &mut Vec<Finding>) {
    let Some(path) = path else {
        findings.push(finding(
            "configuration",
            Grade::Note,
            "none given: weir run would only observe",
            "pass --config FILE",
        ));
        return;
    };
    let config = match Config::load(path) {
        Ok(config) => config,
        Err(error) => {
            findings.push(failed("configuration", &error, "correct the file"));
            return;
        }
    };
    findings.push(finding(
        "configuration",
        Grade::Ok,
        &path.display().to_string(),
        "",
    ));
    findings.push(match config.endpoints() {
        Ok(endpoints) => finding(
            "endpoints",
            Grade::Ok,
            &format!("{} governed", endpoints.len()),
            "",
        ),
        Err(error) => failed("endpoints", &error, "correct the endpoint's tls settings"),
    });
    modes(&config, findings);
    catalog_settings(&config, findings);
    let loaded = config.policy.as_ref().map(policy::load::load);
    findings.extend(loaded.map(|loaded| match loaded {
        Ok(loaded) => {
            let detail = format!(
                "{} rules, digest {}",
                loaded.pack.rules().len(),
                loaded.digest
            );
            finding("policy", Grade::Ok, &detail, "")
        }
        Err(error) => failed("policy", &error, "run \"weir policy check\""),
    }));
    page_and_hooks(&config, findings);
    if config.issuer.is_empty() {
        findings.push(finding(
            "issuers",
            Grade::Note,
            "none: every process is unidentified",
            "add an [[issuer]]",
        ));
    }
    for issuer in config.issuer.iter().filter(|issuer| issuer.development) {
        let detail = format!(
            "{} is a development issuer: anybody can be anybody",
            issuer.issuer
        );
        findings.push(finding(
            "issuers",
            Grade::Note,
            &detail,
            "use the company's provider",
        ));
    }
    ask_issuers(&config, findings);
    let folder = std::env::temp_dir();
    let cgroup = config
        .capture
        .cgroup
        .clone()
        .or_else(capture::cgroup2_mount);
    if let Some(cgroup) = cgroup
        && let Err(error) = Identities::open(&config.identity(), &folder, &cgroup)
    {
        findings.push(failed(
            "identity",
            &error,
            "correct [[issuer]] and [[workload]]",
        ));
    }
}

/// The files that the web page and the webhooks need, opened as `weir run` does.
fn page_and_hooks(config: &Config, findings: &mut Vec<Finding>) {
    if let Some(settings) = &config.admin {
        let unusable = admin::unusable_files(settings);
        let remedy =
            "correct tls_cert, tls_key or metrics_token_file of [admin]: weir run would not start";
        if unusable.is_empty() {
            findings.push(finding("web page", Grade::Ok, "its files can be used", ""));
        }
        findings.extend(
            unusable
                .iter()
                .map(|error| failed("web page", error, remedy)),
        );
    }
    for hook in &config.webhook {
        findings.push(match webhooks::check(hook) {
            Ok(()) => {
                let detail = format!("the files of {:?} can be used", hook.name);
                finding("webhooks", Grade::Ok, &detail, "")
            }
            Err(error) => {
                let detail = format!("webhook {:?}: {}", hook.name, telemetry::chain(&error));
                let remedy = "correct this [[webhook]]: weir run would not start";
                finding("webhooks", Grade::Bad, &detail, remedy)
            }
        });
    }
}

/// How log-ins will pass at each endpoint, and what clients have to do for it.
fn modes(config: &Config, findings: &mut Vec<Finding>) {
    if let Err(error) = config.logins() {
        findings.push(failed(
            "log-ins",
            &error,
            "correct [endpoint.verifiers] or [[endpoint.credential]]",
        ));
    }
    // What is wrong with them has been said.
    let Ok(endpoints) = config.endpoints() else {
        return;
    };
    let mut endpoints: Vec<_> = endpoints.values().map(|it| it.summary(None)).collect();
    endpoints.sort_by(|a, b| a.name.cmp(&b.name));
    for endpoint in endpoints {
        let detail = format!(
            "endpoint {:?} is in mode {:?} ({}): {}",
            endpoint.name, endpoint.mode, endpoint.reason, endpoint.meaning
        );
        let (grade, remedy) = match endpoint.mode {
            "opaque" => (
                Grade::Note,
                "another mode lets weir read: see the README on modes",
            ),
            "plaintext" => (
                Grade::Ok,
                "for clients that insist on TLS: mode = \"verifier\" with [endpoint.verifiers]",
            ),
            "server-certificate" => (Grade::Ok, ""),
            _ => (
                Grade::Ok,
                "clients that verify certificates must trust this host's CA: weir trust install",
            ),
        };
        findings.push(finding("log-ins", grade, &detail, remedy));
    }
}

/// Asks every provider, over the network.
fn ask_issuers(config: &Config, findings: &mut Vec<Finding>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let Ok(runtime) = runtime else {
        return;
    };
    for issuer in &config.issuer {
        for found in runtime.block_on(examine(issuer)) {
            let grade = match found.grade {
                examine::Grade::Good => Grade::Ok,
                examine::Grade::Note => Grade::Note,
                examine::Grade::Bad => Grade::Bad,
            };
            findings.push(finding("issuers", grade, &found.detail, &found.remedy));
        }
    }
}

/// Where the agent learns what databases hold; that it can, only the running agent knows.
fn catalog_settings(config: &Config, findings: &mut Vec<Finding>) {
    let known = match config.catalogs() {
        Ok(known) => known,
        Err(error) => {
            findings.push(failed("catalogs", &error, "correct [endpoint.catalog]"));
            return;
        }
    };
    for endpoint in &config.endpoint {
        if endpoint.engine != Engine::Postgres {
            continue;
        }
        let name = &endpoint.name;
        findings.push(if let Some(role) = known.get(name) {
            let user = &role.user;
            let detail = format!("those of endpoint {name:?} are read by the role {user:?}");
            finding("catalogs", Grade::Ok, &detail, "")
        } else {
            finding(
                "catalogs",
                Grade::Note,
                &format!(
                    "endpoint {name:?} has no [endpoint.catalog]: where rules hide data, they are read on the clients' own connections"
                ),
                "add [endpoint.catalog] with a user that may only log in, so that nobody in a transaction has to wait for others",
            )
        });
    }
}

/// What the running agent says of itself.
fn agent(findings: &mut Vec<Finding>) {
    let status =
        Client::connect(&socket_path()).and_then(|mut client| client.ask(&Request::Status));
    let Ok(status) = status else {
        findings.push(finding(
            "agent",
            Grade::Note,
            "none answers on the control socket",
            "start it: weir run --config FILE",
        ));
        return;
    };
    let broken: Vec<String> = status["hooks"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|hook| hook["ok"] != true && hook["optional"] != true)
        .map(|hook| format!("{}: {}", hook["name"], hook["detail"]))
        .collect();
    findings.push(if broken.is_empty() {
        finding(
            "agent",
            Grade::Ok,
            "runs, and every hook is in its place",
            "",
        )
    } else {
        finding(
            "agent",
            Grade::Bad,
            &broken.join("; "),
            "restart the agent; it puts its programs back",
        )
    });
    if let Some(failure) = status["journal"]["failure"].as_str() {
        findings.push(finding(
            "journal",
            Grade::Bad,
            failure,
            "make room, or repair the disk",
        ));
    }
    for endpoint in status["endpoints"].as_array().into_iter().flatten() {
        let name = endpoint["name"].as_str().unwrap_or_default();
        if let Some(problem) = endpoint["problem"].as_str() {
            let detail = format!("endpoint {name:?}: {problem}");
            let remedy = "until it is corrected, log-ins of this endpoint are refused";
            findings.push(finding("log-ins", Grade::Bad, &detail, remedy));
        }
        if let Some(count @ 1..) = endpoint["insisted_on_tls"].as_u64() {
            let detail = format!(
                "endpoint {name:?}: {count} clients wanted TLS or nothing, were told that there is none, and left"
            );
            let remedy = "set the endpoint's mode to \"verifier\" or \"server-certificate\"";
            findings.push(finding("log-ins", Grade::Note, &detail, remedy));
        }
    }
    for catalog in status["catalogs"].as_array().into_iter().flatten() {
        let Some(problem) = catalog["problem"].as_str() else {
            continue;
        };
        let detail = format!(
            "the catalog of {} on {} ({}): {problem}",
            catalog["database"].as_str().unwrap_or_default(),
            catalog["endpoint"].as_str().unwrap_or_default(),
            catalog["address"].as_str().unwrap_or_default(),
        );
        findings.push(finding(
            "catalogs",
            Grade::Bad,
            &detail,
            "until it can be read, who may not see everything is refused",
        ));
    }
    for problem in status["identity_problems"].as_array().into_iter().flatten() {
        findings.push(finding(
            "identity",
            Grade::Note,
            problem.as_str().unwrap_or_default(),
            "",
        ));
    }
}

/// Database sockets in the file system, which go around TCP.
fn unix_sockets() -> Vec<Finding> {
    match std::fs::read(UNIX_SOCKETS) {
        Ok(listed) => database_sockets(&listed)
            .iter()
            .map(|path| {
                let detail =
                    format!("{path} is a local database socket; its connections are not governed");
                finding(
                    "unix socket",
                    Grade::Note,
                    &detail,
                    "restrict it by file permissions or pg_hba.conf",
                )
            })
            .collect(),
        Err(error) => vec![finding(
            "unix socket",
            Grade::Note,
            &format!(
                "cannot read {UNIX_SOCKETS}, so local database sockets are not looked for: {error}"
            ),
            "mount /proc, and run this as root",
        )],
    }
}

const UNIX_SOCKETS: &str = "/proc/net/unix";

/// Paths are bytes, of anybody's choosing: one that is no UTF-8 must not hide the others.
fn database_sockets(listed: &[u8]) -> BTreeSet<String> {
    listed
        .split(|byte| *byte == b'\n')
        .filter_map(|line| {
            let line = String::from_utf8_lossy(line);
            line.split_whitespace().nth(7).map(str::to_owned)
        })
        .filter(|path| {
            path.contains(".s.PGSQL.")
                || path.ends_with("mysqld.sock")
                || path.ends_with("mysql.sock")
        })
        .collect()
}

/// Processes that could send packets around every cgroup hook.
fn privileged_processes() -> Finding {
    const NET_ADMIN: u64 = 1 << 12;
    const NET_RAW: u64 = 1 << 13;
    let mut holders = Vec::new();
    for process in procfs::process::all_processes()
        .into_iter()
        .flatten()
        .flatten()
    {
        let Ok(status) = process.status() else {
            continue;
        };
        let kernel_thread = status.vmsize.is_none();
        if !kernel_thread && status.euid != 0 && status.capeff & (NET_ADMIN | NET_RAW) != 0 {
            holders.push(format!("{}({})", status.name, status.pid));
        }
    }
    if holders.is_empty() {
        return finding(
            "capabilities",
            Grade::Ok,
            "no process but root's holds CAP_NET_RAW or CAP_NET_ADMIN",
            "",
        );
    }
    let detail = format!(
        "{} could send packets past weir (CAP_NET_RAW or CAP_NET_ADMIN)",
        holders.join(", ")
    );
    finding(
        "capabilities",
        Grade::Note,
        &detail,
        "take the capability away where it is not needed",
    )
}

fn finding(name: &str, grade: Grade, detail: &str, remedy: &str) -> Finding {
    Finding {
        name: name.to_owned(),
        grade,
        detail: detail.to_owned(),
        remedy: remedy.to_owned(),
    }
}

fn failed(name: &str, error: &dyn std::error::Error, remedy: &str) -> Finding {
    finding(name, Grade::Bad, &telemetry::chain(error), remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_is_no_text_hides_no_other_socket() {
        let head = b"Num       RefCount Protocol Flags    Type St Inode Path\n";
        let line = b"0000000000000000: 00000002 00000000 00010000 0001 01 20155 ";
        let paths: [&[u8]; 5] = [
            b"/tmp/\xff\xfe",
            b"/run/postgresql/.s.PGSQL.5432",
            b"/tmp/\xff/mysqld.sock",
            b"@abstract",
            b"/run/postgresql/.s.PGSQL.5432",
        ];
        let mut listed = head.to_vec();
        for path in paths {
            listed.extend([line.as_slice(), path, b"\n"].concat());
        }
        let found: Vec<String> = database_sockets(&listed).into_iter().collect();
        assert_eq!(
            found,
            ["/run/postgresql/.s.PGSQL.5432", "/tmp/\u{fffd}/mysqld.sock"]
        );
    }

    #[test]
    fn nothing_found_steers_the_terminal() {
        let found = finding(
            "unix socket",
            Grade::Note,
            "/tmp/\u{1b}[2K\nBAD",
            "\u{202e}",
        );
        let text = shown(&[found], false);
        assert_eq!(text.lines().count(), 2, "{text}");
        assert!(!text.contains(['\u{1b}', '\u{202e}']), "{text}");
    }

    #[test]
    fn files_of_page_and_hooks_are_opened_as_the_agent_does() {
        let folder = tempfile::tempdir().expect("a folder");
        let text = "[policy]\n[admin]\nmetrics_token_file = \"missing-token\"\n\
            [[webhook]]\nname = \"ops\"\nurl = \"https://hooks.example\"\nsecret_file = \"missing-key\"\n";
        let file = folder.path().join("weir.toml");
        std::fs::write(&file, text).expect("written");
        let mut findings = Vec::new();
        page_and_hooks(
            &Config::load(&file).expect("a configuration"),
            &mut findings,
        );
        let details: Vec<&str> = findings.iter().map(|it| it.detail.as_str()).collect();
        assert!(
            findings.iter().all(|it| it.grade == Grade::Bad)
                && details.len() == 2
                && details[0].contains("missing-token")
                && details[1].contains("missing-key"),
            "{details:?}"
        );
    }
}
