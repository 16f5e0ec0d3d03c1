use std::{process::Command, time::Instant};

use super::*;
use crate::identity::cgroups::default_cgroup;

fn processes() -> Processes {
    let cgroups = Cgroups::open(&default_cgroup().expect("a cgroup v2 mount")).expect("that mount");
    Processes::open(cgroups).expect("a readable /proc")
}

#[test]
fn this_process_is_observed() {
    let processes = processes();
    let seen = processes
        .sighting(std::process::id())
        .expect("this process");

    let observation = processes.observe(&seen);

    let evidence = observation.evidence;
    let exe = std::env::current_exe().expect("a program file");
    assert_eq!(evidence.exe_path, exe.to_string_lossy());
    assert_eq!(evidence.uid, nix::unistd::geteuid().as_raw());
    assert_eq!(
        Some(evidence.cgroup_path.clone()),
        observation.present_cgroup
    );
    assert!(!evidence.gone && !evidence.parents.is_empty() && !evidence.comm.is_empty());
}

#[test]
fn a_process_that_ended_is_known_by_what_the_kernel_captured() {
    let processes = processes();
    let mut child = Command::new("sleep").arg("60").spawn().expect("sleep");
    let seen = processes.sighting(child.id()).expect("the child");
    child.kill().expect("a kill");
    child.wait().expect("an end");

    let observation = processes.observe(&seen);

    assert!(observation.evidence.gone && observation.present_cgroup.is_none());
    assert_eq!(
        (observation.evidence.tgid, observation.evidence.uid),
        (seen.tgid, seen.uid)
    );
    assert_eq!(observation.evidence.exe_path, "");
}

#[test]
fn another_process_with_the_same_number_is_not_taken_for_it() {
    let processes = processes();
    let seen = processes
        .sighting(std::process::id())
        .expect("this process");
    let earlier = Sighting {
        start_boottime_ns: seen.start_boottime_ns - 5 * NS_PER_TICK,
        ..seen
    };

    assert!(processes.observe(&earlier).evidence.gone);
}

#[test]
fn a_known_process_that_executes_another_file_is_looked_at_again() {
    let processes = processes();
    let mut child = Command::new("sh").args(["-c", "read x; exec sleep 60"]);
    let mut child = child
        .stdin(std::process::Stdio::piped())
        .spawn()
        .expect("a shell");
    let seen = processes.sighting(child.id()).expect("the child");
    while !processes.observe(&seen).evidence.exe_path.ends_with("sh") {
        std::thread::yield_now();
    }

    drop(child.stdin.take());
    let deadline = Instant::now() + std::time::Duration::from_secs(5);
    while !processes
        .observe(&seen)
        .evidence
        .exe_path
        .ends_with("sleep")
    {
        assert!(Instant::now() < deadline, "the new program is never seen");
    }

    child.kill().expect("a kill");
    child.wait().expect("an end");
}

#[test]
fn the_memory_is_bounded() {
    let mut memory = Memory::default();
    for tgid in 0..10 * u32::try_from(REMEMBERED).expect("a small number") {
        memory.insert((tgid, 0, 0), Arc::default());
    }
    assert!(memory.young.len() + memory.old.len() <= 2 * REMEMBERED);
}

#[test]
fn a_name_full_of_parentheses_does_not_shift_the_fields() {
    let stat = parse_stat("7 (a) b (c\n)) S 3 7 7 0 -1 1 2 3 4 5 6 7 8 9 10 11 12 13 4242 15 16")
        .expect("a stat");
    assert_eq!(
        (stat.comm.as_str(), stat.parent, stat.start_ticks),
        ("a) b (c\n)", 3, 4242)
    );
}

#[test]
fn units_and_containers_are_read_from_the_path() {
    let id = "0123456789abcdef".repeat(4);
    let user = "/user.slice/user-1000.slice/user@1000.service/app.slice/app-x.scope/sub";
    assert_eq!(systemd_unit(user).as_deref(), Some("app-x.scope"));
    assert_eq!(systemd_unit("/weir/run-1"), None);
    for path in [
        format!("/system.slice/docker-{id}.scope"),
        format!("/docker/{id}"),
        format!("/kubepods/pod1/cri-containerd-{id}.scope/init"),
    ] {
        assert_eq!(container_id(&path), Some(id.clone()), "{path}");
    }
    assert_eq!(container_id(&format!("/docker/{}", &id[1..])), None);
}

#[test]
fn the_v2_line_of_a_hybrid_host_is_used() {
    let text = "9:name=systemd:/a\n4:memory:/b\n0::/c/d (deleted)\n";
    assert_eq!(v2_path(text).as_deref(), Some("/c/d"));
    assert_eq!(v2_path("4:memory:/b\n"), None);
}

/// Prints the figures; the bounds are wide enough for a busy machine and still catch a walk over all of /proc.
#[test]
fn observing_is_quick() {
    let processes = processes();
    let seen = processes
        .sighting(std::process::id())
        .expect("this process");
    let rounds = 2_000_u32;

    let start = Instant::now();
    for _ in 0..rounds {
        if let Ok(mut memory) = processes.memory.lock() {
            *memory = Memory::default();
        }
        std::hint::black_box(processes.observe(&seen));
    }
    let unknown = start.elapsed() / rounds;
    let start = Instant::now();
    for _ in 0..rounds {
        std::hint::black_box(processes.observe(&seen));
    }
    let known = start.elapsed() / rounds;

    println!(
        "a process not seen before: {unknown:?}; a known one: {known:?}; parents: {}",
        processes.observe(&seen).evidence.parents.len()
    );
    assert!(
        unknown.as_micros() < 2_000 && known.as_micros() < 1_000,
        "{unknown:?} {known:?}"
    );
}
