//! A private PostgreSQL 15, spoken to through `psql`.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context as _, bail, ensure};

/// A server that lives as long as this value.
pub(crate) struct Server {
    folder: PathBuf,
}

impl Server {
    /// Makes a cluster in a new folder and starts it on a socket there.
    pub(crate) fn start() -> anyhow::Result<Self> {
        ensure!(
            Path::new(BIN).join("postgres").exists(),
            "this test needs PostgreSQL 15 in {BIN}"
        );
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let name = format!("weir-columns-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir(&folder).context("cannot make the server's folder")?;
        let server = Self { folder };
        let folder = server.folder.display();
        let script = format!(
            "{BIN}/initdb -D {folder}/data -A trust -N -U postgres --locale=C.UTF-8 -E UTF8 && \
             {BIN}/pg_ctl -D {folder}/data -w -l {folder}/log \
             -o \"-c fsync=off -c listen_addresses= -k {folder}\" start"
        );
        if is_root() {
            // The server refuses to run as root.
            run(Command::new("chown").arg("postgres").arg(&server.folder))?;
        }
        run(&mut as_server_user(&script))?;
        Ok(server)
    }

    /// Runs a script; cells are separated by `\x1f`, rows by `\x1e`, and NULL is `\x02`.
    pub(crate) fn psql(&self, script: &str) -> anyhow::Result<String> {
        let mut child = Command::new(format!("{BIN}/psql"))
            .args(["-X", "-q", "-A", "-t", "-U", "postgres"])
            .args(["-F", "\x1f", "-R", "\x1e", "-P", "null=\x02"])
            .arg("-h")
            .arg(&self.folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot start psql")?;
        let mut input = child.stdin.take().context("psql has no input")?;
        let script = script.to_owned();
        let writer = std::thread::spawn(move || input.write_all(script.as_bytes()));
        let output = child.wait_with_output().context("cannot wait for psql")?;
        match writer.join() {
            Ok(written) => written.context("cannot write to psql")?,
            Err(_) => bail!("the thread that writes to psql failed"),
        }
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(errors.is_empty(), "psql says {errors}");
        String::from_utf8(output.stdout).context("psql's output is not UTF-8")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let folder = self.folder.display();
        let script = format!("{BIN}/pg_ctl -D {folder}/data -m immediate stop");
        if let Err(error) = run(&mut as_server_user(&script)) {
            eprintln!("{error:#}");
        }
        if let Err(error) = std::fs::remove_dir_all(&self.folder) {
            eprintln!("cannot remove {folder}: {error}");
        }
    }
}

fn as_server_user(script: &str) -> Command {
    let mut command = if is_root() {
        let mut command = Command::new("su");
        command.args(["postgres", "-c", script]);
        command
    } else {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    };
    // A server started with our pipes would keep them open.
    command.stdin(Stdio::null());
    command
}

fn is_root() -> bool {
    Command::new("id")
        .arg("-u")
        .output()
        .is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let status = command
        .stdout(Stdio::null())
        .status()
        .with_context(|| format!("cannot run {command:?}"))?;
    ensure!(status.success(), "{command:?} failed with {status}");
    Ok(())
}

/// Tests run side by side, each with its own.
static STARTED: AtomicUsize = AtomicUsize::new(0);

const BIN: &str = "/usr/lib/postgresql/15/bin";
