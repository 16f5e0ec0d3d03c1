//! Processes of this host, proved one by one.

use std::{
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use super::*;
use crate::identity::{
    cgroups::{Cgroups, default_cgroup},
    issuers::Issuers,
    settings::WorkloadSettings,
    spiffe::tests::{
        Authority, ID,
        certificates::Node,
        in_seconds,
        server::{Answers, Fault},
    },
    workload::{self, Answer, ExeHashes, Images, Look, Proof, Workload},
};

/// An entry that means every process of this user, and what is needed to ask it.
struct Rig {
    entry: Workload,
    processes: Processes,
    cgroups: Cgroups,
    hashes: ExeHashes,
    images: Images,
    issuers: Issuers,
    _kept: tempfile::TempDir,
}

impl Rig {
    fn new(node: &Node) -> Self {
        let cgroups =
            Cgroups::open(&default_cgroup().expect("a cgroup v2 mount")).expect("that mount");
        let settings = WorkloadSettings {
            name: "billing".to_owned(),
            uid: Some(nix::unistd::geteuid().as_raw()),
            spiffe: Some(node.settings()),
            ..WorkloadSettings::default()
        };
        let mut entries = workload::parse(&[settings]).expect("an entry");
        let mut entry = entries.pop().expect("one");
        // This user's socket rather than root's.
        entry.proof = Proof::Brokered(Brokered::by(node.broker()));
        let kept = tempfile::tempdir().expect("a folder");
        Self {
            entry,
            processes: Processes::open(cgroups.clone()).expect("a readable /proc"),
            cgroups,
            hashes: ExeHashes::default(),
            images: Images::default(),
            issuers: Issuers::open(&[], kept.path()).expect("none"),
            _kept: kept,
        }
    }

    fn say(&self, seen: &Sighting) -> (Answer, Option<String>) {
        let evidence = self.processes.observe(seen).evidence;
        let look = Look {
            seen,
            evidence: &evidence,
            processes: &self.processes,
            cgroups: &self.cgroups,
            hashes: &self.hashes,
            images: &self.images,
        };
        let answer = self
            .entry
            .of(&look)
            .expect("it means this user's processes");
        (answer, self.entry.problem_of(&look))
    }

    fn see(&self, child: &Child) -> Sighting {
        self.processes.sighting(child.id()).expect("the child")
    }

    /// How many proofs began.
    async fn renew(&self) -> usize {
        let renewals = self
            .entry
            .renew(&self.issuers, &self.hashes, &self.processes);
        renewals.await.len()
    }
}

fn sleeper() -> Child {
    Command::new("sleep").arg("60").spawn().expect("sleep")
}

fn end(mut child: Child) {
    child.kill().expect("a kill");
    child.wait().expect("an end");
}

#[tokio::test]
async fn each_process_is_asked_about_once_and_forgotten_with_its_end() {
    let authority = Authority::new("one");
    let node = Node::start(authority.answers());
    let rig = Rig::new(&node);
    let (one, other) = (sleeper(), sleeper());
    let (seen, theirs) = (rig.see(&one), rig.see(&other));

    assert!(matches!(rig.say(&seen).0, Answer::Pending));
    assert!(rig.entry.is_asked());
    assert_eq!(rig.renew().await, 1);

    let (Answer::Bound(bound), None) = rig.say(&seen) else {
        panic!("{:?}", rig.say(&seen));
    };
    assert_eq!(bound.identity.principal.subject, ID);
    assert!((in_seconds(290)..=in_seconds(300)).contains(&bound.not_after_s()));
    assert!(matches!(rig.say(&theirs).0, Answer::Pending));
    assert_eq!(rig.renew().await, 1);
    assert!(matches!(rig.say(&theirs).0, Answer::Bound(_)));
    // Nothing is due, and nobody is asked about twice.
    assert_eq!(rig.renew().await, 0);
    assert_eq!(node.api.pids(), [one.id(), other.id()]);

    // Whoever has the number of one that ended is not taken for it.
    let reused = Sighting {
        start_boottime_ns: seen.start_boottime_ns - 1_000_000_000,
        ..seen.clone()
    };
    assert!(matches!(rig.say(&reused).0, Answer::Unproved));

    end(one);
    assert!(matches!(rig.say(&seen).0, Answer::Unproved));
    assert_eq!(rig.renew().await, 0);
    assert_eq!(rig.entry.bounds().len(), 1);
    end(other);
}

#[tokio::test]
async fn an_answer_about_a_process_that_ended_meanwhile_proves_nobody() {
    let authority = Authority::new("one");
    let node = Node::start(Answers {
        fault: Some(Fault::Kills),
        ..authority.answers()
    });
    let rig = Rig::new(&node);
    let child = sleeper();
    let seen = rig.see(&child);
    assert!(matches!(rig.say(&seen).0, Answer::Pending));

    assert_eq!(rig.renew().await, 0);

    assert_eq!(node.api.pids(), [child.id()]);
    assert!(rig.entry.bounds().is_empty() && rig.entry.problems().is_empty());
    end(child);
    assert!(matches!(rig.say(&seen).0, Answer::Unproved));
}

#[tokio::test]
async fn another_program_in_the_same_process_is_proved_anew() {
    let authority = Authority::new("one");
    let node = Node::start(authority.answers());
    let rig = Rig::new(&node);
    let mut child = Command::new("sh")
        .args(["-c", "read x; exec sleep 60"])
        .stdin(Stdio::piped())
        .spawn()
        .expect("a shell");
    let seen = rig.see(&child);
    rig.say(&seen);
    rig.renew().await;
    assert!(matches!(rig.say(&seen).0, Answer::Bound(_)));

    drop(child.stdin.take());
    let deadline = Instant::now() + Duration::from_secs(10);
    while !matches!(rig.say(&seen).0, Answer::Pending) {
        assert!(Instant::now() < deadline, "the shell executed nothing");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    node.set(Answers {
        fault: Some(Fault::Refuses),
        ..authority.answers()
    });
    assert_eq!(rig.renew().await, 0);

    let (Answer::Unproved, Some(why)) = rig.say(&seen) else {
        panic!("{:?}", rig.say(&seen));
    };
    assert!(why.contains("no identity issued"), "{why}");
    end(child);
}

#[tokio::test]
async fn a_refusal_is_not_asked_for_again_at_once_and_said_with_the_process() {
    let authority = Authority::new("one");
    let node = Node::start(Answers {
        fault: Some(Fault::Refuses),
        ..authority.answers()
    });
    let rig = Rig::new(&node);
    let child = sleeper();
    let seen = rig.see(&child);
    rig.say(&seen);

    assert_eq!(rig.renew().await, 0);
    assert_eq!(rig.renew().await, 0);

    assert!(matches!(rig.say(&seen).0, Answer::Unproved));
    assert_eq!(node.api.pids(), [child.id()]);
    let problems = rig.entry.problems();
    let problem = problems.first().expect("a problem");
    let process = format!("workload billing, process {} (", child.id());
    assert!(problem.starts_with(&process), "{problem}");
    end(child);
}
