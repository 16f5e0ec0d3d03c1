//! A PostgreSQL server of the test's own, on a unix socket in a temporary folder.

use std::fs;
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

const BIN: &str = "/usr/lib/postgresql/15/bin";

/// A running server; it is gone when this is dropped.
pub(crate) struct Server {
    folder: PathBuf,
    process: Child,
}

impl Server {
    /// Makes a cluster and starts it.
    pub(crate) fn start(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("weir-sql-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).expect("a folder for the server");
        let owner = owner();
        if let Some((uid, gid)) = owner {
            std::os::unix::fs::chown(&folder, Some(uid), Some(gid)).expect("the folder's owner");
        }
        let data = folder.join("data");
        let output = as_owner(&format!("{BIN}/initdb"), owner)
            .args([
                "-N",
                "-U",
                "postgres",
                "-A",
                "trust",
                "-E",
                "UTF8",
                "--locale=C",
                "-D",
            ])
            .arg(&data)
            .output()
            .expect("PostgreSQL 15 is installed under /usr/lib/postgresql/15");
        assert!(output.status.success(), "initdb: {output:?}");
        let log = fs::File::create(folder.join("log")).expect("a log");
        let process = as_owner(&format!("{BIN}/postgres"), owner)
            .arg("-D")
            .arg(&data)
            .arg("-k")
            .arg(&folder)
            .args([
                "-c",
                "listen_addresses=",
                "-c",
                "fsync=off",
                "-c",
                "autovacuum=off",
            ])
            .args(["-c", "log_statement=all", "-c", "log_line_prefix=@@@"])
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the server starts");
        let server = Self { folder, process };
        let deadline = Instant::now() + Duration::from_mins(1);
        while !server.psql("postgres", "SELECT 1").contains('1') {
            assert!(Instant::now() < deadline, "the server does not answer");
            thread::sleep(Duration::from_millis(50));
        }
        server
    }

    /// Runs a program that connects to the server, and gives the statements that the server saw.
    pub(crate) fn statements_of(&self, program: &str, args: &[&str]) -> Vec<String> {
        let log = self.folder.join("log");
        let before = fs::read_to_string(&log).expect("the log").len();
        let output = Command::new(program)
            .args(["-U", "postgres", "-h"])
            .arg(&self.folder)
            .args(args)
            .output()
            .expect("the program runs");
        assert!(output.status.success(), "{program} {args:?}: {output:?}");
        thread::sleep(Duration::from_millis(100));
        let text = fs::read_to_string(&log).expect("the log");
        text[before..]
            .split("@@@")
            .filter_map(|entry| {
                let rest = entry.strip_prefix("LOG:  ")?;
                let (_, statement) = rest
                    .strip_prefix("statement: ")
                    .map(|statement| ("", statement))
                    .or_else(|| rest.strip_prefix("execute ")?.split_once(": "))?;
                // Lines after the first are indented.
                Some(statement.replace("\n\t", "\n").trim_end().to_owned())
            })
            .collect()
    }

    /// Runs a script and gives all that is printed, errors as their SQLSTATE.
    pub(crate) fn psql(&self, database: &str, script: &str) -> String {
        let mut child = Command::new("sh")
            .args([
                "-c",
                "exec psql -X -q -A -U postgres -h \"$0\" -d \"$1\" 2>&1",
            ])
            .arg(&self.folder)
            .arg(database)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("psql is installed");
        let mut input = child.stdin.take().expect("a pipe");
        let script = script.to_owned();
        let writer = thread::spawn(move || {
            let _ = input.write_all(script.as_bytes());
        });
        let output = child.wait_with_output().expect("psql ends");
        writer.join().expect("the script is written");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = Command::new("kill")
            .args(["-INT", &self.process.id().to_string()])
            .status();
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// The server refuses to run as root.
fn owner() -> Option<(u32, u32)> {
    let number = |args: [&str; 2]| -> Option<u32> {
        let output = Command::new("id").args(args).output().ok()?;
        String::from_utf8_lossy(&output.stdout).trim().parse().ok()
    };
    let me = Command::new("id").arg("-u").output().ok()?;
    (String::from_utf8_lossy(&me.stdout).trim() == "0")
        .then(|| Some((number(["-u", "postgres"])?, number(["-g", "postgres"])?)))
        .flatten()
}

fn as_owner(program: &str, owner: Option<(u32, u32)>) -> Command {
    let mut command = Command::new(program);
    command.current_dir("/");
    if let Some((uid, gid)) = owner {
        command.uid(uid).gid(gid);
    }
    command
}
