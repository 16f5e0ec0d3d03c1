//! What clients do, and what the agent sees of it.

use serde_json::{Value, json};

use crate::{
    assert_captured,
    bench::{Bench, FAR_V4, FAR_V6},
};

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
