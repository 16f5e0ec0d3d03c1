//! A disk without any room: what the journal does then, and once there is some again.

use super::*;
use crate::audit::chain::{key::PublicKey, verify::verify};

/// Needs root: mounts a small file system in a mount namespace of its own thread.
#[test]
fn a_chain_without_room_refuses_requests_until_there_is_some() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().to_owned();
    std::thread::spawn(move || fill_and_empty_the_disk(&path))
        .join()
        .expect("the journal goes on in good order");
}

fn fill_and_empty_the_disk(dir: &Path) {
    mount_small(dir);
    let journal = open(dir);
    let session = journal
        .session(new_session("alice", "/usr/bin/psql"))
        .expect("recorded");
    let statement = statement(&journal);
    let request = || journal.requested(&session, &statement, Via::Execute, 0, 1);
    let answer = |seq| journal.outcome(&outcome(seq, Ending::Completed, 1, 1));
    let in_flight = request().expect("recorded");
    journal.sync().expect("synced");
    wait("no segment is made ahead", || {
        dir.join(FOLDER).join("spare").exists()
    });
    let filler = dir.join("filler");
    fill(&filler);
    // The next segment has its room, its chain and the checkpoint before it have none.
    wait("nothing is refused", || {
        request()
            .map(|seq| answer(seq).expect("room was kept"))
            .is_err()
    });
    assert!(
        journal.sync().is_err(),
        "nobody waits for a disk without room"
    );
    answer(in_flight).expect("room was kept");
    std::fs::remove_file(&filler).expect("removed");
    wait("nothing is recorded again", || {
        request().map(|seq| answer(seq).expect("recorded")).is_ok()
    });
    journal.sync().expect("synced");
    drop(journal);
    let key = PublicKey::open(dir).expect("the key");
    let found = verify(dir, &key, None).expect("readable");
    assert!(found.intact && found.sealed > 0, "{found:?}");
    assert_eq!(found.uncovered, 0);
}

/// Takes all the room that there is.
fn fill(path: &Path) {
    use std::io::Write as _;
    let mut file = std::fs::File::create(path).expect("a file");
    while file.write(&[1; 4096]).is_ok_and(|count| count > 0) {}
}

fn wait(what: &str, mut until: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !until() {
        assert!(Instant::now() < deadline, "{what}");
    }
}
