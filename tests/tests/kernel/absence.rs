//! What happens without an agent, and what the next one finds.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    assert_captured,
    bench::{Bench, FAR_V4},
    is_good,
};

#[test]
fn without_a_heartbeat_closed_refuses() {
    let bench = Bench::new();
    let mut acceptor = bench.acceptor();
    acceptor.ask("beating no");
    std::thread::sleep(Duration::from_millis(1100));

    let refused = bench.client("say(outcome(lambda: connected(FAR_V4)))");
    acceptor.ask("beating yes");
    let captured = bench.client("say(connected(FAR_V4))");

    assert_eq!(refused, "EPERM");
    assert_eq!(captured["bytes"], "weir");
    assert_eq!(acceptor.count("denied_agent_down"), 1);
    assert_eq!(acceptor.ask("unattended"), json!([0, 1]));
    assert_eq!(acceptor.ask("unattended"), json!([0, 0]));
}

#[test]
fn without_a_heartbeat_open_lets_pass_and_reports() {
    let bench = Bench::new();
    let mut acceptor = bench.acceptor_with(json!({"on_agent_down": "open"}));
    assert_eq!(acceptor.ask("wait 50"), Value::Null);
    acceptor.ask("beating no");
    std::thread::sleep(Duration::from_millis(1100));

    let passed = bench.client(
        "s = socket.create_connection(('127.0.0.1', PORT))\n\
         s.send(b'hello')\n\
         say({'peer': s.getpeername(), 'pid': os.getpid()})",
    );

    assert_eq!(passed["peer"], json!(["127.0.0.1", bench.port]));
    let (mut stream, _) = bench.servers[0].accept().expect("the server is reached");
    let mut bytes = [0; 5];
    std::io::Read::read_exact(&mut stream, &mut bytes).expect("data passes the backstop");
    let event = acceptor.ask("wait 1000");
    assert_eq!(event["why"], "agent_down");
    assert_eq!(event["origin"]["tgid"], passed["pid"]);
    assert_eq!(acceptor.ask("events"), json!([]));
    assert_eq!(
        event["origin"]["destination"],
        format!("127.0.0.1:{}", bench.port)
    );
    assert_eq!(acceptor.count("passed_agent_down"), 1);
}

#[test]
fn a_crash_leaves_the_kernel_closed_and_the_next_agent_takes_over() {
    let bench = Bench::new();
    let first = bench.acceptor();
    assert_eq!(first.ready["resumed"], false);
    assert_eq!(first.ready["last_heartbeat_ns"], Value::Null);
    first.crash();
    std::thread::sleep(Duration::from_millis(1100));

    let refused = bench.client("say(outcome(lambda: connected(FAR_V4)))");
    let mut second = bench.acceptor();
    let captured = bench.client("say(connected(FAR_V4))");

    assert_eq!(refused, "EPERM");
    assert_eq!(second.ready["resumed"], true);
    assert_eq!(second.ready["denied"], 1);
    assert_eq!(second.ready["passed"], 0);
    let heartbeat = second.ready["last_heartbeat_ns"]
        .as_u64()
        .expect("a heartbeat");
    let ago = weir::clock::now_ns() - heartbeat;
    assert!(
        (1_000_000_000..60_000_000_000).contains(&ago),
        "{ago} ns ago"
    );
    assert_captured(
        &bench,
        &captured,
        &second.accepted(),
        &format!("{FAR_V4}:{}", bench.port),
    );
    assert_eq!(second.count("governed"), 1);
    for finding in second.ask("check").as_array().expect("findings") {
        assert!(is_good(finding), "{finding}");
    }
}

#[test]
fn what_passed_during_a_crash_is_reported_by_the_next_agent() {
    let bench = Bench::new();
    bench
        .acceptor_with(json!({"on_agent_down": "open"}))
        .crash();
    std::thread::sleep(Duration::from_millis(1100));

    let passed = bench
        .client("s = socket.create_connection(('127.0.0.1', PORT))\nsay({'pid': os.getpid()})");
    let mut second = bench.acceptor_with(json!({"on_agent_down": "open"}));

    assert_eq!(second.ready["passed"], 1);
    let events = second.ask("events");
    assert_eq!(events[0]["origin"]["tgid"], passed["pid"]);
    assert_eq!(events.as_array().map(Vec::len), Some(1));
}

#[test]
fn an_orderly_stop_that_keeps_refuses_at_once() {
    let bench = Bench::new();
    bench.acceptor().end("keep");

    let refused = bench.client("say(outcome(lambda: connected(FAR_V4)))");

    assert_eq!(refused, "EPERM");
    assert_eq!(bench.acceptor().ready["denied"], 1);
}

#[test]
fn an_orderly_stop_that_detaches_leaves_nothing() {
    let bench = Bench::new();
    bench.acceptor().end("detach");

    let client = bench.client("say(socket.create_connection(('127.0.0.1', PORT)).getpeername())");

    assert_eq!(client, json!(["127.0.0.1", bench.port]));
    assert!(!bench.pin_dir().exists());
}

#[test]
fn unload_removes_what_a_crash_left() {
    let bench = Bench::new();
    bench.acceptor().crash();

    let detached = weir::capture::unload(&bench.pin_dir()).expect("pins can be removed");
    let client = bench.client("say(socket.create_connection(('127.0.0.1', PORT)).getpeername())");

    assert_eq!(detached, 6);
    assert_eq!(client, json!(["127.0.0.1", bench.port]));
    assert!(!bench.pin_dir().exists());
}

#[test]
fn a_second_agent_is_refused_and_disturbs_nothing() {
    let bench = Bench::new();
    let acceptor = bench.acceptor();

    let second = bench.start(json!({}));
    let client = bench.client("say(connected(FAR_V4))");

    assert_eq!(second.ready, Value::Null);
    assert!(weir::capture::unload(&bench.pin_dir()).is_err());
    assert_captured(
        &bench,
        &client,
        &acceptor.accepted(),
        &format!("{FAR_V4}:{}", bench.port),
    );
}

#[test]
fn the_self_check_finds_a_program_that_is_gone() {
    let bench = Bench::new();
    let mut acceptor = bench.acceptor();
    let link = bench
        .pin_dir()
        .join(format!("v{}/links/connect4", weir::capture::ABI));

    std::fs::remove_file(link).expect("the pin is there");

    let findings = acceptor.ask("check");
    let broken: Vec<&Value> = findings
        .as_array()
        .expect("findings")
        .iter()
        .filter(|finding| !is_good(finding))
        .collect();
    assert_eq!(broken.len(), 1);
    assert_eq!(broken[0]["name"], "connect4");
    assert_eq!(broken[0]["detail"], "its pin is gone");
}

#[test]
fn a_pinned_map_of_another_shape_is_refused() {
    let bench = Bench::new();
    bench.acceptor().crash();
    let maps = bench
        .pin_dir()
        .join(format!("v{}/maps", weir::capture::ABI));
    std::fs::rename(maps.join("ORIG_CLIENT"), maps.join("other")).expect("a pin can be renamed");
    std::fs::rename(maps.join("PASS"), maps.join("ORIG_CLIENT")).expect("a pin can be renamed");

    let second = bench.start(json!({}));

    assert_eq!(second.ready, Value::Null, "the agent must not start");
}
