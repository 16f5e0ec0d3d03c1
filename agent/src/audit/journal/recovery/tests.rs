//! What an agent finds after the one before it, and what it makes of it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::audit::{
    fixtures::{new_session, open, settings},
    journal::{FOLDER, Journal, Recovery},
    record::Event,
};

/// What is on the disk at this moment: as a crash would leave it.
fn crashed(state_dir: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().expect("a folder");
    copy_all(state_dir, copy.path());
    copy
}

fn copy_all(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            fs::create_dir_all(&to).expect("a folder");
            copy_all(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), &to).expect("copied");
        }
    }
}

fn file(state_dir: &Path, name: &str) -> PathBuf {
    state_dir.join(FOLDER).join(name)
}

fn reopen(state_dir: &Path) -> (std::sync::Arc<Journal>, Recovery) {
    Journal::open(state_dir, &settings()).expect("a journal")
}

fn shown(approval: u64) -> Event {
    let identity = new_session("alice", "/bin/x").identity;
    Event::ApprovalShown {
        approval,
        approver: identity.expect("an identity"),
    }
}

#[test]
fn ids_of_approvals_are_not_given_out_again() {
    let dir = tempfile::tempdir().expect("a folder");
    let journal = open(dir.path());
    let approval = journal.new_id();
    journal.event(&shown(approval)).expect("recorded");
    drop(journal);
    let (journal, recovery) = reopen(dir.path());
    assert!(recovery.clean);
    let next = journal.new_id();
    assert_eq!(next, approval + 1);
    let said = Event::Repeated {
        seq: 1,
        time_ns: 1,
        said: Box::new(shown(next)),
    };
    journal.event(&said).expect("recorded");
    drop(journal);
    let (journal, _) = reopen(dir.path());
    assert_eq!(journal.new_id(), next + 1);
}

#[test]
fn ids_that_a_crash_may_have_lost_are_passed_over() {
    let dir = tempfile::tempdir().expect("a folder");
    let journal = open(dir.path());
    journal.event(&shown(journal.new_id())).expect("recorded");
    journal.sync().expect("synced");
    let left = crashed(dir.path());
    // Given out and not on the disk.
    let lost = journal.new_id();
    let (journal, recovery) = reopen(left.path());
    assert!(!recovery.clean);
    assert!(journal.new_id() > lost + 1000);
}
