//! `weir status`: hooks, listeners, sessions.

use std::{fmt::Write as _, process::ExitCode};

use comfy_table::Table;
use serde_json::Value;

use super::{output::print, sessions};
use crate::{
    control::{Client, protocol::Request, socket_path},
    terminal::visible_line,
};

/// Shows what the running agent does: hooks, counts, sessions, journal.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit codes: 0 it runs and governs, 1 it does not.\n\nExample:\n  weir status --json"
)]
pub(super) struct Args {
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let status = Client::connect(&socket_path())?.ask(&Request::Status)?;
    let ready = status["ready"] == true;
    if args.json {
        print(&format!("{status:#}\n"))?;
    } else {
        print(&shown(&status))?;
    }
    Ok(if ready {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn shown(status: &Value) -> String {
    let mut lines = String::new();
    let out = &mut lines;
    let _ = writeln!(
        out,
        "weir {}, since {}",
        text(&status["version"]),
        text(&status["since"])
    );
    if status["development_issuer"] == true {
        let _ = writeln!(
            out,
            "a development issuer is trusted: identities are not verified by a company's provider"
        );
    }
    for section in [
        "policy", "listener", "totals", "logins", "kernel", "journal", "masking",
    ] {
        let _ = writeln!(out, "\n{section}");
        for (key, value) in status[section].as_object().into_iter().flatten() {
            let _ = writeln!(out, "  {:<24}{}", key.replace('_', " "), text(value));
        }
    }
    let _ = writeln!(out, "\nhooks");
    for hook in status["hooks"].as_array().into_iter().flatten() {
        let state = match (hook["ok"] == true, hook["optional"] == true) {
            (true, _) => "ok",
            (false, true) => "absent",
            (false, false) => "BROKEN",
        };
        let _ = writeln!(
            out,
            "  {:<24}{state:<8}{}",
            text(&hook["name"]),
            text(&hook["detail"])
        );
    }
    latency(out, &status["latency"]);
    endpoints(out, status);
    let problems = status["identity_problems"].as_array();
    for problem in problems.into_iter().flatten() {
        let _ = writeln!(out, "\nidentity: {}", text(problem));
    }
    catalogs(out, status);
    exports(out, status);
    webhooks(out, status);
    let open = status["sessions"].as_array().map_or(&[][..], Vec::as_slice);
    if open.is_empty() {
        let _ = writeln!(out, "\nno sessions");
        return lines;
    }
    let _ = writeln!(out, "\n{}", sessions::table(open));
    lines
}

/// How long weir keeps what clients send.
fn latency(out: &mut String, latency: &Value) {
    let _ = writeln!(out, "\nlatency");
    for (name, figures) in latency.as_object().into_iter().flatten() {
        let within = |name: &str| match &figures[name] {
            Value::Null => "beyond what is told apart".to_owned(),
            us => format!("within {us} µs"),
        };
        let told = match figures["timed"].as_u64() {
            None | Some(0) => "nothing yet".to_owned(),
            Some(timed) => format!(
                "half {}, 99 % {}, of {timed} timed",
                within("p50_us"),
                within("p99_us")
            ),
        };
        let _ = writeln!(out, "  {:<24}{told}", name.replace('_', " "));
    }
}

/// How log-ins pass at each endpoint.
fn endpoints(out: &mut String, status: &Value) {
    let _ = writeln!(out, "\nendpoints");
    for endpoint in status["endpoints"].as_array().into_iter().flatten() {
        let _ = writeln!(
            out,
            "  {:<24}mode {}, {}",
            text(&endpoint["name"]),
            text(&endpoint["mode"]),
            text(&endpoint["reason"])
        );
        for (key, what) in [
            ("insisted_on_tls", "clients wanted TLS or nothing, and left"),
            ("not_inspected", "connections passed uninspected"),
        ] {
            match endpoint[key].as_u64() {
                None | Some(0) => {}
                Some(count) => {
                    let _ = writeln!(out, "{:26}{count} {what}", "");
                }
            }
        }
        if !endpoint["problem"].is_null() {
            let _ = writeln!(out, "{:26}{}", "", problem(endpoint));
        }
    }
}

/// What is known of the databases that somebody may not see all of.
fn catalogs(out: &mut String, status: &Value) {
    let catalogs = status["catalogs"].as_array().map_or(&[][..], Vec::as_slice);
    if catalogs.is_empty() {
        return;
    }
    let columns = ["endpoint", "database", "sessions", "epoch", "relations"];
    let mut table = Table::new();
    table.set_header(columns.into_iter().chain([
        "governed columns",
        "current",
        "read by",
        "problem",
    ]));
    for catalog in catalogs {
        let current = match &catalog["checked_seconds_ago"] {
            Value::Null => "never".to_owned(),
            seconds => format!("{seconds} s ago"),
        };
        let reader = match catalog["mode"].as_str() {
            Some("side") => "weir's role",
            _ => "clients' connections",
        };
        table.add_row(
            columns
                .map(|column| text(&catalog[column]))
                .into_iter()
                .chain([
                    text(&catalog["governed_columns"]),
                    current,
                    reader.to_owned(),
                    problem(catalog),
                ]),
        );
    }
    let _ = writeln!(out, "\ncatalogs\n{table}");
}

/// How far records have got elsewhere.
fn exports(out: &mut String, status: &Value) {
    let exports = status["exports"].as_array().map_or(&[][..], Vec::as_slice);
    if exports.is_empty() {
        return;
    }
    let columns = ["name", "form", "to", "confirmed_seq", "lag", "refused"];
    let mut table = Table::new();
    table.set_header(columns.into_iter().chain(["problem"]));
    for export in exports {
        table.add_row(
            columns
                .map(|column| text(&export[column]))
                .into_iter()
                .chain([problem(export)]),
        );
    }
    let _ = writeln!(out, "\nexports\n{table}");
}

/// Whether those who are to be told of approvals are.
fn webhooks(out: &mut String, status: &Value) {
    let hooks = status["webhooks"].as_array().map_or(&[][..], Vec::as_slice);
    if hooks.is_empty() {
        return;
    }
    let columns = ["name", "to", "delivered", "lost", "waiting"];
    let mut table = Table::new();
    table.set_header(columns.into_iter().chain(["problem"]));
    for hook in hooks {
        let cells = columns.map(|column| text(&hook[column]));
        table.add_row(cells.into_iter().chain([problem(hook)]));
    }
    let _ = writeln!(out, "\nwebhooks\n{table}");
}

/// A value for people to read: what is in it may be of anybody's choosing.
pub(super) fn text(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| visible_line(&value.to_string()), visible_line)
}

/// What is wrong; empty when nothing is.
fn problem(of: &Value) -> String {
    of["problem"]
        .as_str()
        .map_or_else(String::new, visible_line)
}
