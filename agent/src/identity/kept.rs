//! Bindings outlive the agent: what a restart of it must not undo, and must not set free.
//!
//! Kept are who is bound to what and until when, never a token. Without this an agent that is killed would forget the
//! logins, and which cgroups are agents' runs.

use std::{
    collections::HashMap,
    fs,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use serde::{Deserialize, Serialize};
use weir_policy::Identity;

use super::bound::{Bound, Delegation, Key, RunBudget};
use crate::clock;

/// More bindings than this are not read back.
const MAX_BYTES: u64 = 64 * 1024 * 1024;

/// The file of bindings.
#[derive(Debug)]
pub(super) struct Kept {
    path: PathBuf,
    writing: Mutex<()>,
}

#[derive(Serialize, Deserialize)]
struct Document {
    boot_id: String,
    bindings: Vec<Entry>,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    identity: Identity,
    key: Key,
    token_fingerprint: String,
    not_after_s: i64,
    development: bool,
    owner_uid: u32,
    revoked: bool,
    #[serde(default)]
    delegation: Option<Delegation>,
    #[serde(default)]
    budget: Option<RunBudget>,
    #[serde(default)]
    verified_s: i64,
    #[serde(default = "endless")]
    boot_limit_s: i64,
    #[serde(default)]
    issued_s: i64,
    parent: Option<Box<Entry>>,
}

fn endless() -> i64 {
    i64::MAX
}

impl Kept {
    pub(super) fn at(path: PathBuf) -> Self {
        Self {
            path,
            writing: Mutex::new(()),
        }
    }

    /// The bindings of this boot; none when there is no file, or it cannot be read, which is logged.
    pub(super) fn read(&self, boot_id: &str) -> Vec<Arc<Bound>> {
        let document = match self.document() {
            Ok(document) => document,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Vec::new(),
            Err(error) => {
                tracing::warn!(path = %self.path.display(), %error, "cannot read the bindings of an earlier agent");
                return Vec::new();
            }
        };
        if document.boot_id != boot_id {
            return Vec::new();
        }
        let mut known = HashMap::new();
        document
            .bindings
            .into_iter()
            .map(|entry| entry.restore(&mut known))
            .collect()
    }

    /// Replaces the file. A failure is logged: the bindings hold, only a restart would forget them.
    pub(super) fn write(&self, boot_id: &str, bindings: &[Arc<Bound>]) {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let bindings = bindings.iter().map(|bound| Entry::of(bound)).collect();
        let document = Document {
            boot_id: boot_id.to_owned(),
            bindings,
        };
        let written = serde_json::to_vec(&document)
            .map_err(io::Error::from)
            .and_then(|bytes| write_private(&self.path, &bytes));
        if let Err(error) = written {
            tracing::warn!(path = %self.path.display(), %error, "cannot keep the bindings for the next agent");
        }
    }

    fn document(&self) -> io::Result<Document> {
        let file = fs::File::open(&self.path)?;
        if file.metadata()?.len() > MAX_BYTES {
            return Err(io::Error::other("too large"));
        }
        Ok(serde_json::from_reader(io::BufReader::new(file))?)
    }
}

impl Entry {
    fn of(bound: &Bound) -> Self {
        Self {
            identity: bound.identity.clone(),
            key: bound.key.clone(),
            token_fingerprint: bound.token_fingerprint.clone(),
            not_after_s: bound.not_after_s(),
            development: bound.development,
            owner_uid: bound.owner_uid,
            revoked: bound.is_revoked(),
            delegation: bound.delegation,
            budget: bound.budget,
            verified_s: bound.verified_s(),
            boot_limit_s: bound.boot_limit_s(),
            issued_s: bound.issued_s,
            parent: bound.parent.as_deref().map(Self::of).map(Box::new),
        }
    }

    /// A login and the run that rests on it name the same binding again: `known` holds those restored so far.
    fn restore(self, known: &mut HashMap<(Key, String), Arc<Bound>>) -> Arc<Bound> {
        let name = (self.key.clone(), self.token_fingerprint.clone());
        if let Some(bound) = known.get(&name) {
            return Arc::clone(bound);
        }
        let mut bound = Bound::new(
            self.identity,
            self.key,
            self.token_fingerprint,
            self.not_after_s,
        );
        bound.development = self.development;
        bound.owner_uid = self.owner_uid;
        bound.delegation = self.delegation;
        bound.budget = self.budget;
        bound.restore(self.verified_s, self.boot_limit_s);
        bound.issued_s = self.issued_s;
        bound.parent = self.parent.map(|parent| parent.restore(known));
        if self.revoked {
            bound.revoke();
        }
        let bound = Arc::new(bound);
        known.insert(name, Arc::clone(&bound));
        bound
    }
}

/// Writes a file that only root can read, whole or not at all.
pub(super) fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let partial = path.with_extension(format!("partial-{}", clock::now_ns()));
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&partial)?;
    let written = file
        .write_all(bytes)
        .and_then(|()| fs::rename(&partial, path));
    if written.is_err() {
        let _ = fs::remove_file(&partial);
    }
    written
}

#[cfg(test)]
mod tests {
    use std::{os::unix::fs::PermissionsExt, time::Duration};

    use super::*;
    use crate::identity::{State, bound::tests::identity};

    fn bound(id: u32, parent: Option<&Arc<Bound>>) -> Arc<Bound> {
        let key = Key::AuditSession {
            boot_id: "boot".to_owned(),
            id,
        };
        let mut bound = Bound::new(identity("bob", None), key, "f".to_owned(), 100);
        bound.parent = parent.cloned();
        Arc::new(bound)
    }

    #[test]
    fn bindings_come_back_with_what_they_rest_on() {
        let folder = tempfile::tempdir().expect("a folder");
        let kept = Kept::at(folder.path().join("bindings.json"));
        let person = bound(1, None);
        let run = bound(2, Some(&person));
        let ended = bound(3, None);
        ended.revoke();
        kept.write("boot", &[Arc::clone(&run), person, ended]);

        let back = kept.read("boot");

        assert!(back[0].rests_on(&back[1]) && back[0].identity == run.identity);
        assert_eq!(back[0].state(Duration::from_secs(99)), State::Live);
        assert_eq!(back[0].state(Duration::from_secs(100)), State::Expired);
        assert_eq!(back[2].state(Duration::from_secs(1)), State::Revoked);
        let mode = fs::metadata(&kept.path)
            .expect("the file")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn another_boot_a_missing_and_a_broken_file_bring_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let kept = Kept::at(folder.path().join("bindings.json"));
        assert!(kept.read("boot").is_empty());
        kept.write("boot", &[bound(1, None)]);
        assert!(kept.read("another").is_empty());
        fs::write(&kept.path, b"{\"boot_id\":").expect("a broken file");
        assert!(kept.read("boot").is_empty());
    }
}
