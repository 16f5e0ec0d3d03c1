//! What a hook gets, over a real socket: signed, in order, again when it failed, and never at the cost of who tells.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener},
    os::unix::fs::PermissionsExt as _,
    sync::mpsc::{self, Receiver},
    time::Instant,
};

use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;

use super::*;
use crate::{
    audit::record::Settled,
    holds::{Demand, Summary, What},
};

pub(super) fn note(id: u64, what: What) -> Note {
    let summary = Summary {
        id,
        session: 3,
        requester: "bob".to_owned(),
        process: "/usr/bin/psql".to_owned(),
        endpoint: "shop".to_owned(),
        database: "shop".to_owned(),
        database_user: "app".to_owned(),
        rules: vec!["orders-update".to_owned()],
        reason: "orders are money".to_owned(),
        text: "UPDATE orders SET total = $1".to_owned(),
        since_ns: 1,
        expires_ns: 1_800_000_000_000_000_000,
        demands: vec![Demand {
            rule: "orders-update".to_owned(),
            groups: vec!["dba".to_owned()],
            quorum: 1,
            given: Vec::new(),
            reuse_s: None,
            break_glass: Vec::new(),
        }],
    };
    Note { summary, what }
}

struct Got {
    headers: BTreeMap<String, String>,
    body: String,
}

/// A hook that gives these answers in turn, the last one for ever.
fn listen(answers: &'static [&'static str]) -> (SocketAddr, Receiver<Got>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        for (at, stream) in listener.incoming().enumerate() {
            let Ok(stream) = stream else { return };
            let mut reader = BufReader::new(stream);
            let mut headers = BTreeMap::new();
            let mut line = String::new();
            while reader.read_line(&mut line).is_ok_and(|read| read > 2) {
                if let Some((name, value)) = line.split_once(':') {
                    headers.insert(name.to_lowercase(), value.trim().to_owned());
                }
                line.clear();
            }
            let length = headers.get("content-length").and_then(|it| it.parse().ok());
            let mut body = vec![0; length.unwrap_or(0)];
            if reader.read_exact(&mut body).is_err() {
                continue;
            }
            let answer = answers.get(at).or(answers.last()).expect("an answer");
            let text =
                format!("HTTP/1.1 {answer}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            let _ = reader.into_inner().write_all(text.as_bytes());
            let body = String::from_utf8(body).expect("UTF-8");
            if sender.send(Got { headers, body }).is_err() {
                return;
            }
        }
    });
    (address, receiver)
}

const KEY: [u8; 32] = [7; 32];

fn start(address: SocketAddr, more: &str) -> Webhooks {
    let folder = tempfile::tempdir().expect("a folder");
    let key = folder.path().join("key");
    fs::write(&key, format!("whsec_{}\n", STANDARD.encode(KEY))).expect("written");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).expect("ours");
    let text = format!(
        "name = \"ops\"\nurl = \"http://{address}/hooks/T0-very-secret\"\nsecret_file = {key:?}\nform = \"json\"\n{more}"
    );
    let settings = toml::from_str(&text).expect("TOML");
    Webhooks::start(&[settings], Place::default()).expect("started")
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let limit = Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(Instant::now() < limit, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn next(got: &Receiver<Got>) -> Got {
    got.recv_timeout(Duration::from_secs(20))
        .expect("a message")
}

#[test]
fn messages_are_signed_as_the_specification_says() {
    let (address, got) = listen(&["204 No Content"]);
    let hooks = start(address, "");
    hooks.tell(&note(7, What::Requested));
    let message = next(&got);
    let header = |name: &str| message.headers[name].as_str();
    let signed = format!(
        "{}.{}.{}",
        header("webhook-id"),
        header("webhook-timestamp"),
        message.body
    );
    let signature = header("webhook-signature").strip_prefix("v1,").expect("v1");
    let signature = STANDARD.decode(signature).expect("base64");
    let key = hmac::Key::new(hmac::HMAC_SHA256, &KEY);
    hmac::verify(&key, signed.as_bytes(), &signature).expect("signed with the key");
    let now = clock::now().as_secs();
    let sent: u64 = header("webhook-timestamp").parse().expect("seconds");
    assert!(sent.abs_diff(now) < 60);
    let body: Value = serde_json::from_str(&message.body).expect("JSON");
    assert_eq!(body["data"]["approval"], 7);
    until("it is counted", || hooks.status()[0].delivered == 1);
}

#[test]
fn a_hook_that_fails_is_told_again_with_the_same_number() {
    let (address, got) = listen(&["503 No", "429 Later\r\nretry-after: 0", "200 OK"]);
    let hooks = start(address, "");
    hooks.tell(&note(1, What::Requested));
    hooks.tell(&note(2, What::Requested));
    let (first, second, third) = (next(&got), next(&got), next(&got));
    let id = |it: &Got| it.headers["webhook-id"].clone();
    assert!(id(&first) == id(&second) && id(&second) == id(&third));
    assert_eq!(first.body, third.body);
    assert_ne!(id(&next(&got)), id(&third), "and then the next one");
    until("both are counted", || hooks.status()[0].delivered == 2);
    assert_eq!(hooks.status()[0].lost, 0);
}

#[test]
fn what_a_hook_refuses_is_given_up_and_shown_without_its_address() {
    let (address, got) = listen(&["410 Gone", "302 Found\r\nlocation: /elsewhere"]);
    let hooks = start(address, "");
    hooks.tell(&note(1, What::Requested));
    hooks.tell(&note(2, What::Requested));
    next(&got);
    next(&got);
    until("both are given up", || hooks.status()[0].lost == 2);
    let status = hooks.status().remove(0);
    assert!(status.problem.is_some_and(|it| it.contains("302")));
    assert_eq!(status.to, "127.0.0.1");
    assert!(!format!("{:?}", hooks.status()).contains("secret"));
}

#[test]
fn a_hook_is_told_what_it_asked_for() {
    let (address, got) = listen(&["200 OK"]);
    let hooks = start(address, "on = [\"ended\"]");
    hooks.tell(&note(1, What::Requested));
    let how = Settled::TimedOut;
    hooks.tell(&note(1, What::Ended { how }));
    let body: Value = serde_json::from_str(&next(&got).body).expect("JSON");
    assert_eq!(body["type"], "approval.ended");
    assert_eq!(body["data"]["ended"], "timed_out");
    drop(hooks);
    assert!(got.try_recv().is_err());
}

#[test]
fn nobody_waits_for_a_hook_that_never_answers() {
    // Connections are taken by the kernel, and nobody reads.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let hooks = start(listener.local_addr().expect("an address"), "");
    let began = Instant::now();
    for id in 0..1_000 {
        hooks.tell(&note(id, What::Requested));
    }
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "no message was waited for"
    );
    let status = hooks.status().remove(0);
    // One may be on its way.
    assert!((743..=744).contains(&status.lost), "{status:?}");
    let began = Instant::now();
    drop(hooks);
    assert!(
        began.elapsed() < Duration::from_secs(9),
        "the end waits a moment only"
    );
}

#[test]
fn the_end_waits_for_what_is_to_be_told() {
    let (address, got) = listen(&["200 OK"]);
    let hooks = start(address, "");
    for id in 0..20 {
        hooks.tell(&note(id, What::Requested));
    }
    drop(hooks);
    assert_eq!(got.try_iter().count(), 20);
}

#[test]
fn a_key_that_everybody_reads_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let key = folder.path().join("key");
    fs::write(&key, format!("whsec_{}", STANDARD.encode(KEY))).expect("written");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).expect("ours");
    let text = format!("name = \"ops\"\nurl = \"https://h\"\nsecret_file = {key:?}");
    let settings = toml::from_str(&text).expect("TOML");
    let error = Webhooks::start(&[settings], Place::default()).expect_err("refused");
    assert!(crate::telemetry::chain(&error).contains("chmod"), "{error}");
}
