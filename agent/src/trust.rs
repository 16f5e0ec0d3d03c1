//! Trust in the host's CA: put into the places where clients look for it, and taken out again without a trace.
//!
//! A file of others is only added to, between two marker lines, and comes back byte for byte. A user's files are touched with
//! that user's rights, so that nothing in a home folder can lead root elsewhere.

mod block;
mod files;
mod java;
mod system;

use std::{
    env, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use clap::ValueEnum;
use nix::unistd::{Uid, User};
use serde::Serialize;

/// Where clients look for whom to trust.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Store {
    /// The system's own: OpenSSL, Go, .NET, libpq with sslrootcert=system.
    System,
    /// `~/.postgresql/root.crt`: libpq and what is built on it, JDBC, asyncpg.
    Libpq,
    /// `cacerts` of the Java runtimes.
    Java,
    /// `NODE_EXTRA_CA_CERTS`.
    Node,
    /// Bundles of Python's certifi.
    Python,
}

/// How it stands with one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// The CA is trusted there.
    Installed,
    /// It is not.
    Absent,
    /// An earlier CA of weir's is.
    Stale,
    /// Nothing was done, and nothing has to be.
    Skipped,
    /// What was to be done could not be.
    Failed,
}

/// One place.
#[derive(Debug, Serialize)]
pub struct Finding {
    /// Which kind.
    pub store: Store,
    /// Where.
    pub place: PathBuf,
    /// How it stands.
    pub state: State,
    /// What there is to know.
    pub detail: String,
}

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Nothing: only look.
    Look,
    /// Put it in.
    Install,
    /// Take it out.
    Remove,
}

/// For whom and with what.
#[derive(Debug)]
pub struct Task {
    /// The CA's certificate, PEM.
    pub pem: String,
    /// What is done.
    pub action: Action,
    /// Whether the store was asked for by its name, and not as one of all.
    pub named: bool,
    /// Whose `~/.postgresql`.
    pub user: Account,
    /// Interpreters beside those in the path.
    pub pythons: Vec<PathBuf>,
    /// Runtimes beside those below `/usr/lib/jvm`.
    pub java_homes: Vec<PathBuf>,
}

/// A user of this host.
#[derive(Debug, Clone)]
pub struct Account {
    /// The home folder.
    pub home: PathBuf,
    /// User and group, where they are not our own.
    pub ids: Option<(u32, u32)>,
}

impl Account {
    /// The named one, or the one that this was started for.
    ///
    /// # Errors
    ///
    /// There is no such user.
    pub fn find(name: Option<&str>) -> io::Result<Self> {
        let ours = Uid::effective();
        let sudo = env::var("SUDO_USER").ok().filter(|_| ours.is_root());
        let Some(name) = name.map(str::to_owned).or(sudo) else {
            let home = env::var_os("HOME").map(PathBuf::from);
            let home = home.ok_or_else(|| io::Error::other("HOME is not set"))?;
            return Ok(Self { home, ids: None });
        };
        let user = User::from_name(&name).map_err(io::Error::from)?;
        let user = user.ok_or_else(|| io::Error::other(format!("there is no user {name:?}")))?;
        let ids = (user.uid != ours).then_some((user.uid.as_raw(), user.gid.as_raw()));
        Ok(Self {
            home: user.dir,
            ids,
        })
    }
}

impl Task {
    /// Does it in one kind of store.
    #[must_use]
    pub fn run(&self, store: Store) -> Vec<Finding> {
        match store {
            Store::System => vec![system::run(self)],
            Store::Libpq => vec![self.libpq()],
            Store::Java => java::run(self),
            Store::Node => vec![self.node()],
            Store::Python => self.python(),
        }
    }

    fn libpq(&self) -> Finding {
        let place = self.user.home.join(".postgresql/root.crt");
        let make = if self.named {
            files::Missing::Make
        } else {
            files::Missing::Leave
        };
        let done = files::as_user(self.user.ids, || self.in_bundle(&place, make));
        let (state, detail) = match done {
            Ok(Some(state)) => (state, String::new()),
            Ok(None) => (
                State::Skipped,
                "there is none, and making it would have sslmode=require verify every server by it: \
                 ask for it with --store libpq"
                    .to_owned(),
            ),
            Err(error) => (State::Failed, error.to_string()),
        };
        Finding {
            store: Store::Libpq,
            place,
            state,
            detail,
        }
    }

    fn node(&self) -> Finding {
        let place = PathBuf::from(PROFILE);
        let detail = format!(
            "for log-ins; a service needs Environment=NODE_EXTRA_CA_CERTS={PUBLIC_COPY} in its unit"
        );
        let script = format!(
            "# Made by weir: Node.js trusts the host's CA beside its own.\n\
             export NODE_EXTRA_CA_CERTS=\"${{NODE_EXTRA_CA_CERTS:-{PUBLIC_COPY}}}\"\n"
        );
        let files: [(&Path, &str); 2] = [(Path::new(PUBLIC_COPY), &self.pem), (&place, &script)];
        let done = files::whole(self.action, &files);
        let (state, detail) = match done {
            Ok(state) => (state, detail),
            Err(error) => (State::Failed, error.to_string()),
        };
        Finding {
            store: Store::Node,
            place,
            state,
            detail,
        }
    }

    /// The bundles of every interpreter, each once.
    fn python(&self) -> Vec<Finding> {
        let named = self.pythons.iter().cloned();
        let interpreters = named.chain(["python3".into(), "python".into()]);
        let mut bundles: Vec<PathBuf> = interpreters.filter_map(|it| bundle_of(&it)).collect();
        bundles.sort();
        bundles.dedup();
        let finding = |place: PathBuf| {
            let (state, detail) = if place == Path::new(SYSTEM_BUNDLE) {
                (State::Skipped, "it is the system's".to_owned())
            } else {
                match self.in_bundle(&place, files::Missing::Leave) {
                    Ok(state) => (state.unwrap_or(State::Absent), String::new()),
                    Err(error) => (State::Failed, error.to_string()),
                }
            };
            Finding {
                store: Store::Python,
                place,
                state,
                detail,
            }
        };
        bundles.into_iter().map(finding).collect()
    }

    /// In a file of certificates that is others': `None` when it is not there and not to be made.
    fn in_bundle(&self, place: &Path, missing: files::Missing) -> io::Result<Option<State>> {
        files::in_bundle(self.action, place, &self.pem, missing)
    }
}

/// Where an interpreter's certifi has its bundle.
fn bundle_of(interpreter: &Path) -> Option<PathBuf> {
    let output = Command::new(interpreter)
        .args(["-I", "-c", "import certifi; print(certifi.where())"])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let printed = String::from_utf8(output.stdout).ok()?;
    Path::new(printed.trim_end()).canonicalize().ok()
}

/// The state folder is nobody else's to read.
const PUBLIC_COPY: &str = "/etc/weir/ca.pem";
const PROFILE: &str = "/etc/profile.d/weir-ca.sh";
const SYSTEM_BUNDLE: &str = "/etc/ssl/certs/ca-certificates.crt";
