//! The Debian packages, what each is for, and how to see that it is not needed.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use super::{Purpose, apt, kernel};
use crate::elevate::find;
use crate::progress::step;

/// A package and its reason.
#[derive(Debug)]
pub(super) struct Package {
    /// Debian's name for it.
    pub(super) name: &'static str,
    purpose: Purpose,
    presence: Presence,
    why: &'static str,
}

/// How to tell that what the package brings is there.
#[derive(Debug)]
enum Presence {
    /// This program can be found, wherever it came from.
    Program(&'static str),
    /// The package itself is installed.
    Package,
    /// As [`Presence::Package`]; not needed where bpf-linker is there.
    UnlessLinker,
    /// As [`Presence::Package`]; not needed where rustup has a nightly with the library's sources.
    UnlessNightly,
    /// Only needed where `python3` cannot make environments.
    UnlessPythonEnvironments,
    /// A server's programs of any version.
    Postgres,
}

const PACKAGES: &[Package] = &[
    Package::new(
        "build-essential",
        Purpose::Build,
        Presence::Program("c++"),
        "compiler for the C in pg_query, SQLite and aws-lc",
    ),
    Package::new(
        "libclang-dev",
        Purpose::Build,
        Presence::Package,
        "reads pg_query's header when its binding is made",
    ),
    Package::new(
        "rustc-web",
        Purpose::Build,
        Presence::UnlessNightly,
        "Rust with a BPF target for the kernel programs",
    ),
    Package::new(
        "cargo-web",
        Purpose::Build,
        Presence::UnlessNightly,
        "cargo that goes with it",
    ),
    Package::new(
        "libstd-rust-web-dev-bpf",
        Purpose::Build,
        Presence::UnlessNightly,
        "`core` for the kernel programs",
    ),
    Package::new(
        "llvm-22-dev",
        Purpose::Build,
        Presence::UnlessLinker,
        "LLVM, which bpf-linker is built on",
    ),
    Package::new(
        "libpolly-22-dev",
        Purpose::Build,
        Presence::UnlessLinker,
        "part of that LLVM",
    ),
    Package::new(
        "libzstd-dev",
        Purpose::Build,
        Presence::UnlessLinker,
        "part of that LLVM",
    ),
    Package::new(
        "zlib1g-dev",
        Purpose::Build,
        Presence::UnlessLinker,
        "part of that LLVM",
    ),
    Package::new(
        "libxml2-dev",
        Purpose::Build,
        Presence::UnlessLinker,
        "part of that LLVM",
    ),
    Package::new(
        "postgresql",
        Purpose::Demo,
        Presence::Postgres,
        "the database, psql and pgbench",
    ),
    Package::new(
        "openssl",
        Purpose::Demo,
        Presence::Program("openssl"),
        "certificates of the lab",
    ),
    Package::new(
        "iproute2",
        Purpose::Test,
        Presence::Program("ip"),
        "network namespaces in the kernel tests",
    ),
    Package::new(
        "curl",
        Purpose::Test,
        Presence::Program("curl"),
        "a browser's part in the tests of the web page",
    ),
    Package::new(
        "chromium",
        Purpose::Test,
        Presence::Program("chromium"),
        "a real browser in the tests of the web page",
    ),
    Package::new(
        "python3",
        Purpose::Test,
        Presence::Program("python3"),
        "clients of the kernel tests, psycopg, asyncpg",
    ),
    Package::new(
        "python3-venv",
        Purpose::Test,
        Presence::UnlessPythonEnvironments,
        "an environment for the drivers",
    ),
    Package::new(
        "nodejs",
        Purpose::Test,
        Presence::Program("node"),
        "runs node-postgres and the OpenID provider of the tests",
    ),
    Package::new(
        "npm",
        Purpose::Test,
        Presence::Program("npm"),
        "installs node-postgres and the second server version",
    ),
    Package::new(
        "default-jdk-headless",
        Purpose::Test,
        Presence::Program("javac"),
        "runs the JDBC driver, and keytool",
    ),
    Package::new(
        "libpostgresql-jdbc-java",
        Purpose::Test,
        Presence::Package,
        "the JDBC driver",
    ),
    Package::new(
        "ca-certificates",
        Purpose::Test,
        Presence::Program("update-ca-certificates"),
        "the system's store, for weir trust",
    ),
    Package::new(
        "bzip2",
        Purpose::Test,
        Presence::Program("bzip2"),
        "unpacks PostgreSQL's own tests",
    ),
    Package::new(
        "perl",
        Purpose::Test,
        Presence::Program("perl"),
        "builds PostgreSQL's own tests",
    ),
    Package::new(
        "sqlsmith",
        Purpose::Test,
        Presence::Program("sqlsmith"),
        "makes up statements that must not tell masked values",
    ),
    Package::new(
        "sudo",
        Purpose::Test,
        Presence::Program("sudo"),
        "one of the ways a login must not leak through",
    ),
    Package::new(
        "openssh-server",
        Purpose::Test,
        Presence::Program("sshd"),
        "another way: each ssh session is a login to the host of its own",
    ),
    Package::new(
        "openssh-client",
        Purpose::Test,
        Presence::Program("ssh"),
        "for those sessions",
    ),
    Package::new(
        "cron",
        Purpose::Test,
        Presence::Program("cron"),
        "another way: its jobs are nobody's login",
    ),
    Package::new(
        "qemu-system-x86",
        Purpose::Test,
        Presence::Program("qemu-system-x86_64"),
        "a machine for other kernels: what this one's refuses is tested there",
    ),
    Package::new(
        "xz-utils",
        Purpose::Test,
        Presence::Program("xz"),
        "unpacks modules of those kernels",
    ),
    Package::new(
        "strace",
        Purpose::Bench,
        Presence::Program("strace"),
        "counts system calls",
    ),
    Package::new(
        "valgrind",
        Purpose::Bench,
        Presence::Program("valgrind"),
        "counts instructions",
    ),
    Package::new(
        "pgbouncer",
        Purpose::Bench,
        Presence::Program("pgbouncer"),
        "a peer of the measurements",
    ),
    Package::new(
        "haproxy",
        Purpose::Bench,
        Presence::Program("haproxy"),
        "a peer of the measurements",
    ),
];

impl Package {
    const fn new(
        name: &'static str,
        purpose: Purpose,
        presence: Presence,
        why: &'static str,
    ) -> Self {
        Self {
            name,
            purpose,
            presence,
            why,
        }
    }

    fn is_there(&self, installed: &BTreeSet<String>) -> bool {
        let is_installed = || installed.contains(self.name);
        match self.presence {
            Presence::Program(program) => find(program).is_some(),
            Presence::Package => is_installed(),
            Presence::UnlessLinker => is_installed() || kernel::has_linker(),
            Presence::UnlessNightly => is_installed() || kernel::has_nightly(),
            Presence::UnlessPythonEnvironments => is_installed() || makes_environments(),
            Presence::Postgres => has_postgres(),
        }
    }
}

/// What `purpose` needs and is not there.
///
/// # Errors
///
/// When the package system cannot be asked.
pub(super) fn missing(purpose: Purpose) -> Result<Vec<&'static Package>> {
    let wanted = PACKAGES
        .iter()
        .filter(|package| purpose.includes(package.purpose));
    let installed = if apt::is_here() {
        installed()?
    } else {
        BTreeSet::new()
    };
    Ok(wanted
        .filter(|package| !package.is_there(&installed))
        .collect())
}

/// Prints names and reasons.
pub(super) fn print_list(purpose: Purpose) {
    for package in PACKAGES
        .iter()
        .filter(|package| purpose.includes(package.purpose))
    {
        println!("{:<24} {}", package.name, package.why);
    }
}

/// For systems whose packages have other names.
pub(super) fn say_what_to_install(missing: &[&Package], purpose: Purpose) {
    step(
        "setup: this is not Debian. Make sure that these are there, under the names your system has for them:",
    );
    for package in missing {
        eprintln!("         {:<24} {}", package.name, package.why);
    }
    eprintln!(
        "         In place of rustc-web, cargo-web and libstd-rust-web-dev-bpf: `rustup toolchain install nightly \
         --component rust-src`.\n         Going on without them, for {purpose:?}."
    );
}

/// Says what will be installed, and why.
pub(super) fn say(missing: &[&Package]) {
    step(&format!("setup: {} packages are missing", missing.len()));
    for package in missing {
        eprintln!("         {:<24} {}", package.name, package.why);
    }
}

fn installed() -> Result<BTreeSet<String>> {
    let output = Command::new("dpkg-query")
        .args(["--show", "--showformat", "${db:Status-Status} ${Package}\n"])
        .stdin(Stdio::null())
        .output()
        .context("cannot ask dpkg what is installed")?;
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text
        .lines()
        .filter_map(|line| line.strip_prefix("installed "))
        .map(str::to_owned)
        .collect())
}

fn has_postgres() -> bool {
    let versions = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten();
    versions
        .map(|version| version.path().join("bin/initdb"))
        .any(|file| file.is_file())
}

fn makes_environments() -> bool {
    super::succeeds(
        "python3",
        &["-c", "import venv, ensurepip"],
        harness::place::project(),
    )
}
