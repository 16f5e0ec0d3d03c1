//! A PostgreSQL 15 of the test's own, on a unix socket in a temporary folder.

use std::{
    fs,
    os::unix::{net::UnixStream, process::CommandExt as _},
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// Gone when it is dropped.
pub(crate) struct Cluster {
    folder: PathBuf,
    process: Child,
}

impl Cluster {
    pub(crate) fn start() -> Self {
        let folder = std::env::temp_dir().join(format!("weir-wire-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).expect("a folder for the server");
        let owner = owner();
        if let Some((uid, gid)) = owner {
            std::os::unix::fs::chown(&folder, Some(uid), Some(gid)).expect("the folder's owner");
        }
        let data = folder.join("data");
        let made = as_owner("initdb", owner)
            .args(["-N", "-U", "postgres", "-A", "trust", "-E", "UTF8"])
            .args(["--locale=C", "-D"])
            .arg(&data)
            .output()
            .expect("PostgreSQL 15 is installed");
        assert!(made.status.success(), "initdb: {made:?}");
        let process = as_owner("postgres", owner)
            .arg("-D")
            .arg(&data)
            .arg("-k")
            .arg(&folder)
            .args(["-c", "listen_addresses=", "-c", "fsync=off"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the server starts");
        let cluster = Self { folder, process };
        let deadline = Instant::now() + Duration::from_mins(1);
        while UnixStream::connect(cluster.socket()).is_err() {
            assert!(Instant::now() < deadline, "the server does not answer");
            thread::sleep(Duration::from_millis(50));
        }
        cluster
    }

    pub(crate) fn connect(&self) -> UnixStream {
        let stream = UnixStream::connect(self.socket()).expect("the server listens");
        let limit = Some(Duration::from_mins(1));
        stream.set_read_timeout(limit).expect("a time limit");
        stream
    }

    fn socket(&self) -> PathBuf {
        self.folder.join(".s.PGSQL.5432")
    }
}

impl Drop for Cluster {
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
    let number = |arguments: [&str; 2]| -> Option<u32> {
        let output = Command::new("id").args(arguments).output().ok()?;
        String::from_utf8_lossy(&output.stdout).trim().parse().ok()
    };
    let me = Command::new("id").arg("-u").output().ok()?;
    if String::from_utf8_lossy(&me.stdout).trim() != "0" {
        return None;
    }
    Some((number(["-u", "postgres"])?, number(["-g", "postgres"])?))
}

fn as_owner(program: &str, owner: Option<(u32, u32)>) -> Command {
    let mut command = Command::new(format!("/usr/lib/postgresql/15/bin/{program}"));
    command.current_dir("/");
    if let Some((uid, gid)) = owner {
        command.uid(uid).gid(gid);
    }
    command
}
