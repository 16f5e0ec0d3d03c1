//! PostgreSQL's own test programs, built from the source package of the installed server.
//!
//! Nothing of the machine's package configuration changes: the source archives are derived from it into a folder of
//! the cache, with lists of their own. A finished build is kept and used again.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, Result, anyhow, bail, ensure};
use tests::place;

/// A built source tree; only what the suites need is built in it.
#[derive(Debug)]
pub(crate) struct Source {
    root: PathBuf,
}

/// The package of the server that the harness starts.
const PACKAGE: &str = "postgresql-15";

impl Source {
    /// The tree for the installed server, made at the first call.
    ///
    /// # Errors
    ///
    /// When there is no source package for the server or it does not build.
    pub(crate) fn obtain() -> Result<&'static Self> {
        static SOURCE: OnceLock<Result<Source, String>> = OnceLock::new();
        SOURCE
            .get_or_init(|| Self::make().map_err(|error| format!("{error:#}")))
            .as_ref()
            .map_err(|text| anyhow!("no source of PostgreSQL's tests: {text}"))
    }

    fn make() -> Result<Self> {
        let installed = output("dpkg-query", ["--show", "--showformat=${Version}", PACKAGE])?;
        let folder = place::cache()?
            .join("conformance")
            .join(installed.replace([':', '~', '+'], "_"));
        let source = Self {
            root: folder.join("source"),
        };
        let finished = folder.join("built");
        fs::create_dir_all(&folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
        // Another suite may be at it at this moment.
        let lock = File::create(folder.join("lock")).context("cannot make the build's lock")?;
        lock.lock().context("cannot take the build's lock")?;
        if !finished.is_file() {
            Archive::new(&folder)?.fetch(&installed)?;
            unpack(&folder, &source.root)?;
            source.build()?;
            fs::write(&finished, installed)
                .with_context(|| format!("cannot write {}", finished.display()))?;
        }
        Ok(source)
    }

    /// A folder or program below `src/test`.
    pub(crate) fn test(&self, path: &str) -> PathBuf {
        self.root.join("src/test").join(path)
    }

    /// The generated parsers are in the archive, so neither bison nor flex nor the server itself is needed.
    fn build(&self) -> Result<()> {
        let log = "-s";
        run(Command::new("./configure").current_dir(&self.root).args([
            "--quiet",
            "--without-readline",
            "--without-zlib",
            "--without-icu",
            "CFLAGS=-O1",
        ]))?;
        for (folder, target) in [
            ("src/backend", "generated-headers"),
            ("src/test/regress", "all"),
            ("src/test/isolation", "all"),
            ("src/test/modules/libpq_pipeline", "all"),
        ] {
            run(Command::new("make")
                .current_dir(&self.root)
                .args([log, "-j2", "-C", folder, target])
                // A jobserver of cargo's is none of make's business.
                .env_remove("MAKEFLAGS")
                .env_remove("CARGO_MAKEFLAGS"))?;
        }
        Ok(())
    }
}

/// The source archives that belong to the package archives of this machine.
struct Archive {
    folder: PathBuf,
    options: Vec<String>,
}

impl Archive {
    fn new(folder: &Path) -> Result<Self> {
        let apt = folder.join("apt");
        for below in ["sources", "lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(apt.join(below))
                .with_context(|| format!("cannot create {below} in {}", apt.display()))?;
        }
        let listed = source_archives()?;
        ensure!(
            !listed.is_empty(),
            "apt has no lists of a Debian archive: run `apt-get update`"
        );
        let file = apt.join("sources/source.sources");
        fs::write(&file, listed).with_context(|| format!("cannot write {}", file.display()))?;
        let options = [
            "Dir::Etc::sourcelist=/dev/null".to_owned(),
            format!("Dir::Etc::sourceparts={}", apt.join("sources").display()),
            format!("Dir::State::lists={}", apt.join("lists").display()),
            format!("Dir::Cache={}", apt.join("cache").display()),
            // Its unprivileged user cannot write into a folder of ours.
            "APT::Sandbox::User=root".to_owned(),
        ];
        let options = options
            .into_iter()
            .flat_map(|option| ["-o".to_owned(), option])
            .collect();
        Ok(Self {
            folder: folder.to_path_buf(),
            options,
        })
    }

    /// Downloads the source of `installed`, or of the nearest version that is offered.
    fn fetch(&self, installed: &str) -> Result<()> {
        run(self.command("apt-get").args(["--quiet", "update"]))?;
        let offered = output_of(self.command("apt-cache").args(["showsrc", PACKAGE]))?;
        let offered: Vec<&str> = offered
            .lines()
            .filter_map(|line| line.strip_prefix("Version: "))
            .collect();
        let chosen = nearest(&offered, installed)
            .with_context(|| format!("the archive has no source of {PACKAGE}"))?;
        if chosen != installed {
            println!(
                "note: the source of {PACKAGE} {installed} is not offered; taking that of {chosen}"
            );
        }
        run(self
            .command("apt-get")
            .args(["--quiet", "source", "--download-only"])
            .arg(format!("{PACKAGE}={chosen}")))
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.args(&self.options).current_dir(&self.folder);
        command
    }
}

/// The binary archives in use, as `deb-src` entries.
fn source_archives() -> Result<String> {
    let fields = "--format=$(ORIGIN)|$(REPO_URI)|$(RELEASE)|$(COMPONENT)";
    let targets = output("apt-get", ["indextargets", fields, "Created-By: Packages"])?;
    let mut listed = String::new();
    for target in targets.lines() {
        let [origin, uri, release, component] = *target.split('|').collect::<Vec<_>>().as_slice()
        else {
            bail!("apt-get indextargets printed {target:?}");
        };
        if origin == "Debian" {
            let _ = writeln!(
                listed,
                "Types: deb-src\nURIs: {uri}\nSuites: {release}\nComponents: {component}\nSigned-By: {DEBIAN_KEYS}\n"
            );
        }
    }
    Ok(listed)
}

/// From the package debian-archive-keyring, which apt itself needs.
const DEBIAN_KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// The version itself, or that whose minor version is closest.
fn nearest<'a>(offered: &[&'a str], wanted: &str) -> Option<&'a str> {
    let exact = offered.iter().find(|version| **version == wanted);
    exact
        .or_else(|| {
            offered
                .iter()
                .min_by_key(|version| minor(version).abs_diff(minor(wanted)))
        })
        .copied()
}

/// 18 of `15.18-0+deb12u1`.
fn minor(version: &str) -> u32 {
    version
        .split_once('.')
        .and_then(|(_, rest)| rest.split(|c: char| !c.is_ascii_digit()).next())
        .and_then(|digits| digits.parse().ok())
        .unwrap_or_default()
}

fn unpack(folder: &Path, root: &Path) -> Result<()> {
    let archive = fs::read_dir(folder)
        .with_context(|| format!("cannot list {}", folder.display()))?
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .find(|path| path.to_string_lossy().contains(".orig.tar."))
        .with_context(|| format!("no archive was downloaded into {}", folder.display()))?;
    fs::create_dir_all(root).with_context(|| format!("cannot create {}", root.display()))?;
    run(Command::new("tar")
        .args(["--extract", "--strip-components=1", "--file"])
        .arg(archive)
        .arg("--directory")
        .arg(root))
}

fn run(command: &mut Command) -> Result<()> {
    output_of(command).map(drop)
}

fn output<A: AsRef<OsStr>>(
    program: &str,
    arguments: impl IntoIterator<Item = A>,
) -> Result<String> {
    output_of(Command::new(program).args(arguments))
}

fn output_of(command: &mut Command) -> Result<String> {
    let output = command
        .output()
        .with_context(|| format!("cannot run {command:?}"))?;
    ensure!(
        output.status.success(),
        "{command:?} ({}): {}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn the_nearest_minor_version_is_taken_when_the_exact_one_is_gone() {
    let offered = ["15.20-0+deb12u1", "15.16-0+deb12u1", "15.12-0+deb12u2"];
    assert_eq!(nearest(&offered, "15.16-0+deb12u1"), Some(offered[1]));
    assert_eq!(nearest(&offered, "15.19-0+deb12u1"), Some(offered[0]));
    assert_eq!(nearest(&offered, "15.13-0+deb12u1"), Some(offered[2]));
    assert_eq!(nearest(&[], "15.13"), None);
}
