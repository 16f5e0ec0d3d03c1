//! The kernel programs on this kernel: what is captured, what is left alone, and what a crash leaves.
//!
//! Needs root, a cgroup2 mount, and python3 for the clients. Each test has a cgroup and a bpf file
//! system of its own; nothing outside of them is touched.

#[path = "kernel/bench.rs"]
mod bench;

use std::{io::Write, time::Duration};

use bench::{Bench, FAR_V4, FAR_V6};
use serde_json::{Value, json};

/// What every captured connection must show on both sides.
fn assert_captured(bench: &Bench, client: &Value, accepted: &Value, destination: &str) {
    assert_eq!(client["bytes"], "weir", "the client spoke to {client}");
    let origin = &accepted["origin"];
    assert_eq!(origin["destination"], destination);
    assert_eq!(origin["tgid"], client["pid"]);
    assert_eq!(origin["endpoint"], 7);
    assert_eq!(origin["uid"], 0);
    assert!(origin["start_boottime_ns"].as_u64() > Some(0));
    assert!(origin["connected_at_ns"].as_u64() >= origin["start_boottime_ns"].as_u64());
    let id =
        std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(&bench.cgroup).expect("metadata"));
    assert_eq!(origin["cgroup_id"], id);
    assert_eq!(
        accepted["peer"], accepted["peer_name"],
        "accept and getpeername agree"
    );
}

#[test]
fn an_ipv4_connection_arrives_with_its_origin() {
    let bench = Bench::new();
    let mut acceptor = bench.acceptor();

    let client = bench.client("say(connected(FAR_V4))");

    assert_captured(
        &bench,
        &client,
        &acceptor.accepted(),
        &format!("{FAR_V4}:{}", bench.port),
    );
    assert_eq!(client["peer"], json!([FAR_V4, bench.port]));
    assert_eq!(acceptor.count("governed"), 1);
    assert_eq!(acceptor.ask("leftovers"), 0);
}

#[test]
fn the_origin_names_the_start_and_the_sessions_of_the_process() {
    let bench = Bench::new();
    let acceptor = bench.acceptor();

    let client = bench.client(
        "facts = connected(FAR_V4)\n\
         facts['ticks'] = int(open('/proc/self/stat').read().rsplit(') ', 1)[1].split()[19])\n\
         facts['loginuid'] = int(open('/proc/self/loginuid').read())\n\
         facts['session'] = int(open('/proc/self/sessionid').read())\n\
         say(facts)",
    );

    let origin = &acceptor.accepted()["origin"];
    let start = origin["start_boottime_ns"].as_u64().expect("a start");
    assert_eq!(Some(start / 10_000_000), client["ticks"].as_u64());
    assert_eq!(origin["loginuid"], client["loginuid"]);
    assert_eq!(origin["audit_session"], client["session"]);
}

#[test]
fn the_origin_has_the_effective_user() {
    let bench = Bench::new();
    let acceptor = bench.acceptor();

    let client = bench.client("os.seteuid(65534)\nsay(connected(FAR_V4))");

    assert_eq!(client["bytes"], "weir");
    assert_eq!(acceptor.accepted()["origin"]["uid"], 65534);
}

#[test]
fn an_ipv6_connection_arrives_with_its_origin() {
    let bench = Bench::new();
    let acceptor = bench.acceptor();

    let client = bench.client("say(connected(FAR_V6, socket.AF_INET6))");

    assert_captured(
        &bench,
        &client,
        &acceptor.accepted(),
        &format!("[{FAR_V6}]:{}", bench.port),
    );
    assert_eq!(client["peer"], json!([FAR_V6, bench.port]));
}

#[test]
fn a_socket_for_ipv6_only_is_captured() {
    let bench = Bench::new();
    let acceptor = bench.acceptor();

    let client = bench.client(
        "only = lambda s: s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)\n\
         say(connected(FAR_V6, socket.AF_INET6, only))",
    );

    assert_captured(
        &bench,
        &client,
        &acceptor.accepted(),
        &format!("[{FAR_V6}]:{}", bench.port),
    );
}

#[test]
fn a_v4_mapped_connection_arrives_with_an_ipv4_origin() {
    let bench = Bench::new();
    let acceptor = bench.acceptor();

    let client = bench.client("say(connected('::ffff:' + FAR_V4, socket.AF_INET6))");

    assert_captured(
        &bench,
        &client,
        &acceptor.accepted(),
        &format!("{FAR_V4}:{}", bench.port),
    );
    assert_eq!(
        client["peer"],
        json!([format!("::ffff:{FAR_V4}"), bench.port])
    );
}

#[test]
fn a_connection_in_the_background_is_captured() {
    let bench = Bench::new();
    let acceptor = bench.acceptor();

    let client = bench.client(
        "import select\n\
         s = socket.socket()\n\
         s.setblocking(False)\n\
         error = s.connect_ex((FAR_V4, PORT))\n\
         early = outcome(lambda: s.getpeername())\n\
         select.select([], [s], [], 5)\n\
         select.select([s], [], [], 5)\n\
         say({'error': error, 'early': early, 'peer': s.getpeername(), 'bytes': s.recv(4).decode(), 'pid': os.getpid()})",
    );

    assert_captured(
        &bench,
        &client,
        &acceptor.accepted(),
        &format!("{FAR_V4}:{}", bench.port),
    );
    assert_eq!(client["peer"], json!([FAR_V4, bench.port]));
}

#[test]
fn a_socket_bound_to_a_device_is_captured() {
    let bench = Bench::new();
    let acceptor = bench.acceptor();
    let devices = std::fs::read_dir("/sys/class/net").expect("devices");
    for device in devices {
        let device = device.expect("a device").file_name();
        let device = device.to_string_lossy();

        let client = bench.client(&format!(
            "bound = lambda s: s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b'{device}')\n\
             say(connected(FAR_V4, prepare=bound))"
        ));

        assert_captured(
            &bench,
            &client,
            &acceptor.accepted(),
            &format!("{FAR_V4}:{}", bench.port),
        );
    }
}

#[test]
fn multipath_tcp_is_captured() {
    const NO_SUCH_PROTOCOL: &str = "EPROTONOSUPPORT";
    let bench = Bench::new();
    let acceptor = bench.acceptor();

    let client = bench.client("say(outcome(lambda: connected(FAR_V4, protocol=262)))");

    if client == NO_SUCH_PROTOCOL || client == "ENOPROTOOPT" {
        eprintln!("skipped: this kernel has no multipath TCP");
        return;
    }
    assert_captured(
        &bench,
        &client,
        &acceptor.accepted(),
        &format!("{FAR_V4}:{}", bench.port),
    );
}

#[test]
fn connected_udp_is_left_alone() {
    let bench = Bench::new();
    let mut acceptor = bench.acceptor();

    let client = bench.client(
        "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n\
         s.connect(('127.0.0.1', PORT))\n\
         say({'peer': s.getpeername(), 'sent': outcome(lambda: s.send(b'x'))})",
    );

    assert_eq!(client["peer"], json!(["127.0.0.1", bench.port]));
    assert_eq!(client["sent"], 1);
    assert_eq!(acceptor.count("governed"), 0);
}

#[test]
fn a_direct_dial_of_the_listener_has_no_origin() {
    let bench = Bench::new();
    let acceptor = bench.acceptor();
    let port = acceptor.port();

    let client = bench.client(&format!(
        "s = socket.create_connection(('127.0.0.1', {port}))\nsay(s.getpeername())"
    ));

    assert_eq!(client, json!(["127.0.0.1", port]));
    assert_eq!(acceptor.accepted()["origin"], Value::Null);
}

#[test]
fn a_socket_that_connects_again_does_not_keep_its_origin() {
    let bench = Bench::new();
    let mut acceptor = bench.acceptor();
    let port = acceptor.port();

    // The second destination is not governed, but it is the listener: an old origin would pass.
    let client = bench.client(&format!(
        "s = socket.socket()\n\
         s.connect((FAR_V4, PORT))\n\
         first = s.getpeername()\n\
         import ctypes\n\
         libc = ctypes.CDLL(None, use_errno=True)\n\
         libc.connect(s.fileno(), struct.pack('H14x', 0), 16)\n\
         s.connect(('127.0.0.1', {port}))\n\
         say([first, s.getpeername()])"
    ));

    assert_eq!(client, json!([[FAR_V4, bench.port], ["127.0.0.1", port]]));
    assert!(acceptor.accepted()["origin"].is_object());
    assert_eq!(acceptor.accepted()["origin"], Value::Null);
    assert_eq!(acceptor.ask("leftovers"), 0);
}

#[test]
fn an_excluded_address_is_left_alone() {
    let bench = Bench::new();
    let mut acceptor = bench.acceptor();

    let client = bench.client(
        "s = socket.create_connection(('127.0.0.2', PORT))\ns.send(b'hello')\nsay(s.getpeername())",
    );

    assert_eq!(client, json!(["127.0.0.2", bench.port]));
    let (mut stream, _) = bench.servers[1].accept().expect("the server is reached");
    let mut bytes = [0; 5];
    std::io::Read::read_exact(&mut stream, &mut bytes).expect("data passes the backstop");
    assert_eq!(&bytes, b"hello");
    assert!(acceptor.accepted_nothing());
    assert_eq!(acceptor.count("dropped"), 0);
}

#[test]
fn rules_can_change_while_the_agent_runs() {
    let bench = Bench::new();
    let mut acceptor = bench.acceptor();
    let other = json!([{"id": 9, "ports": [bench.port], "cidrs": ["127.0.0.2/32"], "exclude": []}]);

    acceptor.ask(&format!("rules {other}"));
    let client = bench.client("say([connected('127.0.0.2'), socket.create_connection(('127.0.0.1', PORT)).getpeername()])");

    assert_eq!(client[0]["bytes"], "weir");
    assert_eq!(acceptor.accepted()["origin"]["endpoint"], 9);
    assert_eq!(
        client[1],
        json!(["127.0.0.1", bench.port]),
        "no longer governed"
    );
    assert!(acceptor.accepted_nothing());
}

#[test]
fn the_agents_own_socket_reaches_the_server() {
    let bench = Bench::new();
    let mut acceptor = bench.acceptor();
    let server = format!("127.0.0.1:{}", bench.port);

    assert_eq!(acceptor.ask(&format!("dial {server}")), server);

    bench.servers[0].accept().expect("the server is reached");
    assert!(acceptor.accepted_nothing());
    assert_eq!(acceptor.count("passed_agent"), 1);
    assert_eq!(acceptor.count("dropped"), 0);
}

#[test]
fn packets_of_raw_sockets_are_dropped() {
    let bench = Bench::new();
    let mut acceptor = bench.acceptor();

    let client = bench.client(
        "def segment(flags, data=b''):\n\
         \x20   return struct.pack('!HHIIBBHHH', 4242, PORT, 1, 0, 0x50, flags, 1024, 0, 0) + data\n\
         def send(packet, family=socket.AF_INET, to='127.0.0.1'):\n\
         \x20   raw = socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_TCP)\n\
         \x20   return outcome(lambda: raw.sendto(packet, (to, 0)))\n\
         say({'syn': send(segment(2)), 'data': send(segment(16, b'Q')), 'ack': send(segment(16)),\n\
         \x20    'cut': send(segment(2)[:8]), 'v6': send(segment(2), socket.AF_INET6, '::1')})",
    );

    assert_eq!(
        client,
        json!({"syn": "EPERM", "data": "EPERM", "ack": 20, "cut": "EPERM", "v6": "EPERM"})
    );
    assert_eq!(acceptor.count("dropped"), 4);
}

#[test]
fn six_thousand_connections_are_all_attributed() {
    let bench = Bench::new();
    let mut acceptor = bench.acceptor();

    let client = bench.client(
        "errors = []\n\
         def work(number):\n\
         \x20   for i in range(1500):\n\
         \x20       try:\n\
         \x20           s = socket.create_connection((FAR_V4, PORT))\n\
         \x20           if i % 3 == 0:\n\
         \x20               s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))\n\
         \x20           s.close()\n\
         \x20       except OSError as error:\n\
         \x20           errors.append(str(error))\n\
         threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]\n\
         [t.start() for t in threads]\n\
         [t.join() for t in threads]\n\
         say({'errors': errors, 'pid': os.getpid()})",
    );

    assert_eq!(client["errors"], json!([]));
    for number in 0..6000 {
        let accepted = acceptor.accepted();
        assert_eq!(
            accepted["origin"]["tgid"], client["pid"],
            "connection {number}: {accepted}"
        );
    }
    assert!(acceptor.accepted_nothing());
    assert_eq!(acceptor.count("governed"), 6000);
    assert_eq!(acceptor.count("unattributed"), 0);
    assert_eq!(acceptor.ask("leftovers"), 0);
}

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
        assert_eq!(finding["ok"], true, "{finding}");
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
        .filter(|finding| finding["ok"] == false)
        .collect();
    assert_eq!(broken.len(), 1);
    assert_eq!(broken[0]["name"], "connect4");
    assert_eq!(broken[0]["detail"], "its pin is gone");
}

#[test]
fn another_network_namespace_is_reported() {
    let bench = Bench::new();
    let mut acceptor = bench.acceptor();

    let client = bench.client(NAMESPACE_CLIENT);

    assert_ne!(client["outcome"], "EPERM");
    let events = acceptor.ask("events");
    assert_eq!(events[0]["why"], "other_namespace");
    assert_eq!(events[0]["origin"]["tgid"], client["pid"]);
    assert_eq!(acceptor.count("passed_other_namespace"), 1);
}

#[test]
fn another_network_namespace_is_denied() {
    let bench = Bench::new();
    let mut acceptor = bench.acceptor_with(json!({"other_namespaces": "deny"}));

    let client = bench.client(NAMESPACE_CLIENT);

    assert_eq!(client["outcome"], "EPERM");
    assert_eq!(acceptor.count("denied_other_namespace"), 1);
}

/// Connects out of a network namespace of its own.
const NAMESPACE_CLIENT: &str = "import ctypes\n\
    assert ctypes.CDLL(None).unshare(0x40000000) == 0\n\
    say({'outcome': outcome(lambda: connected(FAR_V4)), 'pid': os.getpid()})";

/// Connects, says so, and then tells what a write and a read do once its input has a line.
const OLDER_CLIENT: &str = "s = socket.create_connection(('127.0.0.1', PORT))\n\
    s.settimeout(5)\n\
    say({'pid': os.getpid()})\n\
    while sys.stdin.readline():\n\
    \x20   say(outcome(lambda: [s.send(b'hello'), s.recv(5).decode()]))";

/// A client with a connection older than the agent, and the server's end of it.
struct OlderClient {
    child: std::process::Child,
    output: std::io::Lines<std::io::BufReader<std::process::ChildStdout>>,
    pid: Value,
}

impl OlderClient {
    fn connect(bench: &Bench) -> Self {
        use std::io::{BufRead, Read};

        let mut child = bench.spawn_client(OLDER_CLIENT);
        let output = child.stdout.take().expect("a pipe");
        let mut output = std::io::BufReader::new(output).lines();
        let (mut server, _) = bench.servers[0].accept().expect("the client comes");
        std::thread::spawn(move || {
            let mut bytes = [0; 5];
            while server.read_exact(&mut bytes).is_ok() && server.write_all(&bytes).is_ok() {}
        });
        let said: Value =
            serde_json::from_str(&output.next().expect("a line").expect("text")).expect("JSON");
        Self {
            child,
            output,
            pid: said["pid"].clone(),
        }
    }

    /// Sends over the connection.
    fn talk(&mut self) -> Value {
        let input = self.child.stdin.as_mut().expect("a pipe");
        writeln!(input, "go").expect("the client reads");
        serde_json::from_str(&self.output.next().expect("a line").expect("text")).expect("JSON")
    }
}

impl Drop for OlderClient {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

#[test]
fn an_older_connection_is_reported_and_lives() {
    let bench = Bench::new();
    let mut client = OlderClient::connect(&bench);

    let mut acceptor = bench.acceptor();

    let older = &acceptor.ready["older"];
    assert_eq!(older.as_array().map(Vec::len), Some(1), "{older}");
    assert_eq!(older[0]["fate"], "reported");
    assert_eq!(older[0]["origin"]["tgid"], client.pid);
    assert_eq!(
        older[0]["origin"]["destination"],
        format!("127.0.0.1:{}", bench.port)
    );
    assert_eq!(client.talk(), json!([5, "hello"]));
    assert_eq!(acceptor.ask("older"), json!([]), "it is reported once");
    assert_eq!(acceptor.count("dropped"), 0);
}

#[test]
fn an_older_connection_of_another_namespace_lives_and_is_reported() {
    let bench = Bench::new();
    let mut client = bench.spawn_client(
        "import ctypes\n\
         assert ctypes.CDLL(None).unshare(0x40000000) == 0\n\
         os.system('ip link set lo up')\n\
         server = socket.create_server(('127.0.0.1', PORT))\n\
         s = socket.create_connection(('127.0.0.1', PORT))\n\
         far, _ = server.accept()\n\
         far.settimeout(2)\n\
         say({'pid': os.getpid()})\n\
         sys.stdin.readline()\n\
         say(outcome(lambda: [s.send(b'hello'), far.recv(5).decode()]))",
    );
    let mut output = std::io::BufReader::new(client.stdout.take().expect("a pipe"));
    let mut line = || -> Value {
        let mut text = String::new();
        std::io::BufRead::read_line(&mut output, &mut text).expect("a line");
        serde_json::from_str(&text).expect("JSON")
    };
    let pid = line()["pid"].clone();

    let mut acceptor = bench.acceptor_with(json!({"existing": "kill"}));

    let older = &acceptor.ready["older"];
    assert_eq!(older.as_array().map(Vec::len), Some(1), "{older}");
    assert_eq!(older[0]["fate"], "reported");
    assert_eq!(older[0]["origin"]["tgid"], pid);
    writeln!(client.stdin.take().expect("a pipe"), "go").expect("the client reads");
    assert_eq!(line(), json!([5, "hello"]));
    client.wait().expect("the client ends");
    assert_eq!(acceptor.count("dropped"), 0);
}

#[test]
fn an_older_connection_is_killed() {
    let bench = Bench::new();
    let mut client = OlderClient::connect(&bench);

    let acceptor = bench.acceptor_with(json!({"existing": "kill"}));

    assert_eq!(acceptor.ready["older"][0]["fate"], "killed");
    assert_eq!(client.talk(), "ECONNABORTED");
}

#[test]
fn an_older_connection_is_killed_when_its_grace_ends() {
    let bench = Bench::new();
    let mut client = OlderClient::connect(&bench);

    let mut acceptor =
        bench.acceptor_with(json!({"existing": "grace", "existing_grace_seconds": 1}));

    assert_eq!(acceptor.ready["older"][0]["fate"], "grace");
    assert_eq!(client.talk(), json!([5, "hello"]));
    assert_eq!(acceptor.ask("older"), json!([]));
    std::thread::sleep(Duration::from_millis(1100));
    assert_eq!(acceptor.ask("older")[0]["fate"], "killed");
    assert_eq!(client.talk(), "ECONNABORTED");
}

#[test]
fn the_agents_own_connections_are_not_older_ones() {
    let bench = Bench::new();
    let mut acceptor = bench.acceptor_with(json!({"existing": "kill"}));
    acceptor.ask(&format!("dial 127.0.0.1:{}", bench.port));

    assert_eq!(acceptor.ask("older"), json!([]));
}

#[test]
fn connections_of_other_cgroups_are_left_alone() {
    let bench = Bench::new();
    let mut outside =
        std::net::TcpStream::connect(("127.0.0.1", bench.port)).expect("a connection");

    let mut acceptor = bench.acceptor_with(json!({"existing": "kill"}));

    assert_eq!(acceptor.ready["older"], json!([]));
    outside.write_all(b"hello").expect("it lives");
    std::net::TcpStream::connect(("127.0.0.1", bench.port)).expect("a new one too");
    assert_eq!(acceptor.count("governed"), 0);
}

#[test]
fn cgroup_ids_become_paths() {
    let bench = Bench::new();
    let mut acceptor = bench.acceptor();
    bench.client("say(connected(FAR_V4))");
    let id = acceptor.accepted()["origin"]["cgroup_id"].clone();

    let name = bench.cgroup.file_name().expect("a name").to_string_lossy();
    assert_eq!(acceptor.ask(&format!("cgroup {id}")), format!("/{name}"));
    assert_eq!(acceptor.ask("cgroup 18446744073709551615"), Value::Null);
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

#[test]
fn this_host_has_what_capturing_needs() {
    let findings = weir::capture::probe();
    let names: Vec<&str> = findings.iter().map(|finding| finding.name).collect();
    assert_eq!(
        names[..5],
        ["kernel", "btf", "cgroup2", "privileges", "bpffs"]
    );
    for finding in findings {
        assert!(finding.ok, "{}: {}", finding.name, finding.detail);
    }
}
