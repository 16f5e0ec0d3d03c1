//! `weir doctor`: would enforcement hold on this host?

use std::{
    io::IsTerminal,
    path::{Path, PathBuf},
    process::ExitCode,
};

use serde::Serialize;
use serde_json::json;

use crate::{
    capture,
    config::Config,
    control::{Client, protocol::Request, socket_path},
    identity::{
        Identities,
        examine::{self, examine},
    },
    policy,
    proxy::Engine,
    telemetry,
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

pub(super) fn run(args: &Args) -> ExitCode {
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
        println!("{:#}", json!({"holds": holds, "findings": findings}));
    } else {
        print(&findings);
    }
    if holds {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn print(findings: &[Finding]) {
    let colours = std::io::stdout().is_terminal();
    for finding in findings {
        let (mark, colour) = match finding.grade {
            Grade::Ok => ("ok", "32"),
            Grade::Note => ("note", "33"),
            Grade::Bad => ("BAD", "31"),
        };
        if colours {
            println!(
                "\x1b[{colour}m{mark:<5}\x1b[0m {:<18} {}",
                finding.name, finding.detail
            );
        } else {
            println!("{mark:<5} {:<18} {}", finding.name, finding.detail);
        }
        if !finding.remedy.is_empty() {
            println!("{:25}{}", "", finding.remedy);
        }
    }
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
    let listed = std::fs::read_to_string("/proc/net/unix").unwrap_or_default();
    let mut paths: Vec<&str> = listed
        .lines()
        .filter_map(|line| line.split_whitespace().nth(7))
        .filter(|path| {
            path.contains(".s.PGSQL.")
                || path.ends_with("mysqld.sock")
                || path.ends_with("mysql.sock")
        })
        .collect();
    paths.sort_unstable();
    paths.dedup();
    paths
        .into_iter()
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
