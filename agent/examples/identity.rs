//! What identity costs: per statement, and per connection of a process that is known or seen for the first time.
//!
//! `cargo run --release -p weir --example identity`. Reads /proc of processes that it starts; needs cgroup v2.

use std::{
    hint::black_box,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use weir::{
    capture::cgroup2_mount,
    clock,
    identity::{Bound, Identities, Key, Settings, State},
};
use weir_policy::{Identity, Method, Principal, PrincipalKind, Strength};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    statements();
    processes()
}

/// A statement asks whether its binding, and the one that it was derived from, still hold. The clock is read anyway.
fn statements() {
    let person = Arc::new(bound());
    let mut run = bound();
    run.parent = Some(Arc::clone(&person));
    let now = clock::now();
    for (name, bound) in [("a person's", &*person), ("an agent's run", &run)] {
        let taken = median(ROUNDS, || {
            let begun = Instant::now();
            for _ in 0..REPEATED {
                assert_eq!(black_box(bound).state(black_box(now)), State::Live);
                black_box(bound.newer().is_some());
                black_box(bound.is_stale());
            }
            begun.elapsed()
        });
        let nanoseconds = taken.as_secs_f64() * 1e9 / f64::from(REPEATED);
        println!("each statement, {name:<16} {nanoseconds:>8.2} ns");
    }
}

/// Who is behind a process, when it connects the first time and again.
fn processes() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let hierarchy = cgroup2_mount().ok_or("no cgroup2 file system is mounted")?;
    let identities = Identities::open(&Settings::default(), folder.path(), &hierarchy)?;
    let mut first = Vec::new();
    let mut again = Vec::new();
    for _ in 0..PROCESSES {
        let child = Sleeping::start()?;
        for times in [&mut first, &mut again] {
            let begun = Instant::now();
            black_box(identities.resolve_process(child.0.id())?);
            times.push(begun.elapsed());
        }
    }
    for (name, times) in [("first seen", &mut first), ("known", &mut again)] {
        times.sort_unstable();
        let at = |part: usize| {
            times
                .get(times.len() * part / 100)
                .copied()
                .unwrap_or_default()
        };
        println!(
            "each connection, {name:<15} {:>8.1?} median, {:>8.1?} of 100 the slowest",
            at(50),
            at(99)
        );
    }
    Ok(())
}

/// A process that is there to be looked at, until it is dropped.
struct Sleeping(Child);

impl Sleeping {
    fn start() -> std::io::Result<Self> {
        let mut command = Command::new("sleep");
        command.arg("60").stdin(Stdio::null());
        command.spawn().map(Self)
    }
}

impl Drop for Sleeping {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn bound() -> Bound {
    let identity = Identity {
        principal: Principal {
            issuer: "https://id.example".to_owned(),
            subject: "bob".to_owned(),
            kind: PrincipalKind::Human,
            display: "Bob".to_owned(),
            groups: Vec::new(),
            groups_complete: true,
            auth_time: None,
            acr: None,
            amr: Vec::new(),
            claims: std::collections::BTreeMap::default(),
        },
        actors: Vec::new(),
        method: Method::Device.word().to_owned(),
        strength: Strength::Strong,
        purpose: None,
        delegation: None,
    };
    let key = Key::Workload {
        name: "x".to_owned(),
    };
    Bound::new(identity, key, String::new(), i64::MAX)
}

fn median(rounds: usize, mut take: impl FnMut() -> Duration) -> Duration {
    let mut times: Vec<_> = (0..rounds).map(|_| take()).collect();
    times.sort_unstable();
    times.get(rounds / 2).copied().unwrap_or_default()
}

const ROUNDS: usize = 21;
const REPEATED: u32 = 1_000_000;
const PROCESSES: usize = 200;
