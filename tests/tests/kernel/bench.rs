//! A private place for each test: a cgroup, a bpf file system, an acceptor and clients in the cgroup.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{
        atomic::{AtomicU32, Ordering},
        mpsc::{self, Receiver},
    },
    thread,
    time::Duration,
};

use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sys::signal::{Signal, kill},
    unistd::{Pid, Uid},
};
use serde_json::{Value, json};
use tempfile::TempDir;
use weir::capture::cgroup2_mount;

/// Nothing answers here: documentation addresses.
pub(crate) const FAR_V4: &str = "203.0.113.9";
pub(crate) const FAR_V6: &str = "2001:db8::5";

const PATIENCE: Duration = Duration::from_secs(10);

/// A private place for one test; everything of it goes when it is dropped.
pub(crate) struct Bench {
    pub(crate) cgroup: PathBuf,
    folder: TempDir,
    /// The governed port; a server of the test listens on it at 127.0.0.1 and 127.0.0.2.
    pub(crate) port: u16,
    pub(crate) servers: Vec<TcpListener>,
}

impl Bench {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        assert!(
            Uid::effective().is_root(),
            "the kernel tests need root: they load programs into the kernel"
        );
        let number = COUNT.fetch_add(1, Ordering::SeqCst);
        let root = cgroup2_mount().expect("a cgroup2 mount");
        let cgroup = root.join(format!("weir-test-{}-{number}", std::process::id()));
        fs::create_dir(&cgroup).expect("a cgroup of our own");
        let folder = TempDir::new().expect("a folder");
        mount(
            Some("bpf"),
            folder.path(),
            Some("bpf"),
            MsFlags::empty(),
            None::<&str>,
        )
        .expect("a bpf file system of our own");
        let first = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = first.local_addr().expect("an address").port();
        let second = TcpListener::bind(("127.0.0.2", port)).expect("the port on another address");
        Self {
            cgroup,
            folder,
            port,
            servers: vec![first, second],
        }
    }

    pub(crate) fn pin_dir(&self) -> PathBuf {
        self.folder.path().join("weir")
    }

    /// Governs the port everywhere except on 127.0.0.2.
    pub(crate) fn rules(&self) -> Value {
        json!([{"id": 7, "ports": [self.port], "cidrs": [], "exclude": ["127.0.0.2/32"]}])
    }

    /// Starts an acceptor with the default settings.
    pub(crate) fn acceptor(&self) -> Acceptor {
        self.acceptor_with(json!({}))
    }

    /// Starts an acceptor with some settings of its own.
    pub(crate) fn acceptor_with(&self, settings: Value) -> Acceptor {
        let acceptor = self.start(settings);
        assert!(
            acceptor.ready.is_object(),
            "the acceptor did not start; its standard error says why"
        );
        acceptor
    }

    pub(crate) fn start(&self, mut settings: Value) -> Acceptor {
        settings["cgroup"] = json!(self.cgroup);
        settings["pin_dir"] = json!(self.pin_dir());
        Acceptor::start(&json!({"settings": settings, "rules": self.rules()}))
    }

    /// Runs a Python program in the cgroup and returns its output, one JSON value.
    pub(crate) fn client(&self, program: &str) -> Value {
        let client = self.spawn_client(program);
        let output = client.wait_with_output().expect("python3 ends");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        serde_json::from_str(text.trim()).unwrap_or_else(|_| panic!("client said: {text}"))
    }

    /// Starts a Python program in the cgroup.
    pub(crate) fn spawn_client(&self, program: &str) -> Child {
        // The shell moves itself, so that Python is in the cgroup from its first instruction.
        Command::new("sh")
            .args([
                "-c",
                "echo $$ > \"$1\"/cgroup.procs; exec python3 -c \"$2\"",
                "sh",
            ])
            .arg(&self.cgroup)
            .arg(format!("{PRELUDE}\nPORT = {}\n{program}", self.port))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 starts")
    }
}

/// What the clients of all tests share.
const PRELUDE: &str = include_str!("client.py");

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = weir::capture::unload(&self.pin_dir());
        let _ = umount2(self.folder.path(), MntFlags::MNT_DETACH);
        for group in [self.cgroup.join("weir-agent"), self.cgroup.clone()] {
            remove_cgroup(&group);
        }
    }
}

/// A cgroup is busy for a moment after its last process ended.
fn remove_cgroup(path: &Path) {
    for _ in 0..50 {
        if !path.exists() || fs::remove_dir(path).is_ok() {
            return;
        }
        thread::sleep(Duration::from_millis(20));
    }
    eprintln!("cannot remove {}", path.display());
}

/// A running acceptor, see `src/bin/acceptor.rs`.
pub(crate) struct Acceptor {
    child: Child,
    input: Option<ChildStdin>,
    accepted: Receiver<Value>,
    answers: Receiver<Value>,
    /// What it found when it began; null when it did not begin.
    pub(crate) ready: Value,
}

impl Acceptor {
    fn start(configuration: &Value) -> Self {
        Self::start_by(Command::new(env!("CARGO_BIN_EXE_acceptor")), configuration)
    }

    /// Starts one in a mount namespace of its own, where no bpf file system is mounted.
    pub(crate) fn start_without_bpffs(bench: &Bench, pin_dir: &str) -> Self {
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "sh", "-c", "umount -q /sys/fs/bpf; exec \"$0\""])
            .arg(env!("CARGO_BIN_EXE_acceptor"));
        let settings = json!({"cgroup": bench.cgroup, "pin_dir": pin_dir});
        Self::start_by(
            command,
            &json!({"settings": settings, "rules": bench.rules()}),
        )
    }

    fn start_by(mut command: Command, configuration: &Value) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the acceptor starts");
        let mut input = child.stdin.take().expect("a pipe");
        writeln!(input, "{configuration}").expect("the acceptor reads");
        let output = BufReader::new(child.stdout.take().expect("a pipe"));
        let (accepted_sender, accepted) = mpsc::channel();
        let (answer_sender, answers) = mpsc::channel();
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                let mut value: Value = serde_json::from_str(&line).expect("JSON");
                let channel = match value.get("accepted") {
                    Some(_) => (&accepted_sender, "accepted"),
                    None if value.get("ready").is_some() => (&answer_sender, "ready"),
                    None => (&answer_sender, "answer"),
                };
                let _ = channel.0.send(value[channel.1].take());
            }
        });
        let ready = answers.recv_timeout(PATIENCE).unwrap_or(Value::Null);
        Self {
            child,
            input: Some(input),
            accepted,
            answers,
            ready,
        }
    }

    /// Where it listens.
    pub(crate) fn port(&self) -> u64 {
        self.ready["port"].as_u64().expect("a port")
    }

    /// Gives a command and waits for the answer.
    pub(crate) fn ask(&mut self, command: &str) -> Value {
        self.tell(command);
        self.answers
            .recv_timeout(PATIENCE)
            .unwrap_or_else(|_| panic!("no answer to {command}"))
    }

    fn tell(&mut self, command: &str) {
        let input = self.input.as_mut().expect("it runs");
        writeln!(input, "{command}").expect("the acceptor reads");
    }

    /// One of the counters.
    pub(crate) fn count(&mut self, name: &str) -> u64 {
        self.ask("counters")[name].as_u64().expect("a counter")
    }

    /// The next connection it accepted.
    pub(crate) fn accepted(&self) -> Value {
        self.accepted
            .recv_timeout(PATIENCE)
            .expect("a connection arrives")
    }

    /// Whether nothing was accepted since the last one taken.
    pub(crate) fn accepted_nothing(&self) -> bool {
        self.accepted
            .recv_timeout(Duration::from_millis(100))
            .is_err()
    }

    /// Ends it with a command.
    pub(crate) fn end(mut self, command: &str) {
        self.tell(command);
        let status = self.child.wait().expect("it ends");
        assert!(status.success(), "the acceptor ends with {status}");
    }

    /// Ends it as a crash would.
    pub(crate) fn crash(mut self) {
        self.kill();
    }

    fn kill(&mut self) {
        let pid = i32::try_from(self.child.id()).expect("a process id");
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        let _ = self.child.wait();
    }
}

impl Drop for Acceptor {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.kill();
        }
    }
}
