//! What goes around the agent: raw sockets, older connections, other namespaces and cgroups.

use std::{io::Write, time::Duration};

use serde_json::{Value, json};

use crate::bench::Bench;

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
