//! The agent under test: `weir run` with a configuration of its own, in a cgroup of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::Signal;
use toml::{Table, Value};

use crate::place;
use crate::service::{Ending, Service};
use crate::undo::Undo;

/// How the agent is set up.
#[derive(Clone, Debug)]
pub struct AgentOptions {
    /// Where its files go.
    pub folder: PathBuf,
    /// The cgroup that its programs are attached to.
    pub cgroup: PathBuf,
    /// The name of its folder of pins in the BPF file system.
    pub pin_name: String,
    /// The configuration: the sections `agent` and `capture` are filled in where they are silent.
    pub config: Table,
    /// What it logs, unless `RUST_LOG` says; `None` is `weir=info`.
    pub log: Option<String>,
}

/// A running agent. It is asked to end when this is dropped; what it left in the kernel goes too.
#[derive(Debug)]
pub struct Agent {
    service: Option<Service>,
    program: PathBuf,
    folder: PathBuf,
    log: String,
    _pins: Undo,
}

impl Agent {
    /// Writes the configuration, starts the agent and waits until it is ready.
    ///
    /// # Errors
    ///
    /// When it does not come up; the message carries its log.
    pub fn start(options: AgentOptions) -> Result<Self> {
        let pins = Path::new(BPF_FILE_SYSTEM).join(&options.pin_name);
        let config = complete(options.config, &options.folder, &options.cgroup, &pins);
        let text =
            toml::to_string_pretty(&config).context("cannot write the configuration as TOML")?;
        let file = options.folder.join("weir.toml");
        fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
        let undone = Undo::new(move || {
            // A pin is a link: without it the kernel lets go of program and map.
            let _ = fs::remove_dir_all(&pins);
        });
        let mut agent = Self {
            service: None,
            program: place::weir()?,
            folder: options.folder,
            log: options.log.unwrap_or_else(|| "weir=info".to_owned()),
            _pins: undone,
        };
        agent.resume()?;
        Ok(agent)
    }

    /// Starts the agent again after [`Agent::kill`] or [`Agent::stop`].
    ///
    /// # Errors
    ///
    /// When it runs already or does not come up.
    pub fn resume(&mut self) -> Result<()> {
        ensure!(self.service.is_none(), "the agent runs already");
        let mut command = Command::new(&self.program);
        command
            .args(["run", "--config"])
            .arg(self.config())
            .current_dir(&self.folder);
        if std::env::var_os("RUST_LOG").is_none() {
            command.env("RUST_LOG", &self.log);
        }
        let service = Service::start("weir run", command, &self.log_file(), Ending::default())?;
        service.wait_until(READY_LIMIT, || self.is_ready())?;
        self.service = Some(service);
        Ok(())
    }

    /// Kills the agent as a crash would.
    ///
    /// # Errors
    ///
    /// When it does not run.
    pub fn kill(&mut self) -> Result<ExitStatus> {
        self.service
            .take()
            .context("the agent does not run")?
            .kill()
    }

    /// Asks the agent to end and waits for it.
    ///
    /// # Errors
    ///
    /// When it does not run.
    pub fn stop(&mut self) -> Result<ExitStatus> {
        self.service
            .take()
            .context("the agent does not run")?
            .stop()
    }

    /// Sends the agent a signal, such as `SIGSTOP` for one that hangs.
    ///
    /// # Errors
    ///
    /// When it does not run.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.service
            .as_ref()
            .context("the agent does not run")?
            .signal(signal)
    }

    /// The process id, while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.service.as_ref().map(Service::pid)
    }

    /// What `weir status --json` says.
    ///
    /// # Errors
    ///
    /// When the agent does not answer.
    pub fn status(&self) -> Result<serde_json::Value> {
        self.json(&["status", "--json"])
    }

    /// Runs a command of weir that prints JSON and parses what it printed.
    ///
    /// # Errors
    ///
    /// When the command fails or prints something else.
    pub fn json(&self, arguments: &[&str]) -> Result<serde_json::Value> {
        let output = self.weir(arguments).output().context("cannot run weir")?;
        if !output.status.success() {
            bail!(
                "weir {arguments:?} ({}): {}",
                output.status,
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        serde_json::from_slice(&output.stdout).with_context(|| {
            format!(
                "weir {arguments:?} printed no JSON: {}",
                String::from_utf8_lossy(&output.stdout)
            )
        })
    }

    /// A command of weir that talks to this agent.
    #[must_use]
    pub fn weir(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(arguments)
            .env("WEIR_SOCKET", self.socket())
            .stdin(Stdio::null());
        command
    }

    /// The program that runs.
    #[must_use]
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Its control socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.folder.join("weir.sock")
    }

    /// Its folder for journal, store and keys.
    #[must_use]
    pub fn state_folder(&self) -> PathBuf {
        self.folder.join("state")
    }

    /// Its configuration.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.folder.join("weir.toml")
    }

    /// What it has logged, over all its starts.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    fn log_file(&self) -> PathBuf {
        self.folder.join("weir.log")
    }

    fn is_ready(&self) -> bool {
        self.socket().exists() && self.status().is_ok_and(|status| status["ready"] == true)
    }
}

/// Sets one value of a configuration by its dotted path; a number in the path is an index: `endpoint.0.tls`.
///
/// # Errors
///
/// When the path leads through something that is neither a section nor a list.
pub fn set(config: &mut Table, path: &str, value: Value) -> Result<()> {
    let Some((section, rest)) = path.split_once('.') else {
        config.insert(path.to_owned(), value);
        return Ok(());
    };
    match config
        .entry(section)
        .or_insert_with(|| Value::Table(Table::new()))
    {
        Value::Table(table) => set(table, rest, value),
        Value::Array(list) => {
            let (index, rest) = rest
                .split_once('.')
                .with_context(|| format!("{path} names no field"))?;
            let index: usize = index
                .parse()
                .with_context(|| format!("{path}: {index} is no index"))?;
            match list.get_mut(index) {
                Some(Value::Table(table)) => set(table, rest, value),
                _ => bail!("{path}: there is no section {section}.{index}"),
            }
        }
        _ => bail!("{path}: {section} is a value, not a section"),
    }
}

/// Long enough for a machine that is emulated on a busy one.
const READY_LIMIT: Duration = Duration::from_mins(2);

/// Where the kernel keeps pinned programs and maps.
pub const BPF_FILE_SYSTEM: &str = "/sys/fs/bpf";

fn complete(mut config: Table, folder: &Path, cgroup: &Path, pins: &Path) -> Table {
    let text = |path: &Path| Value::String(path.display().to_string());
    let agent = section(&mut config, "agent");
    agent
        .entry("state_dir")
        .or_insert_with(|| text(&folder.join("state")));
    agent
        .entry("socket")
        .or_insert_with(|| text(&folder.join("weir.sock")));
    let capture = section(&mut config, "capture");
    capture.entry("cgroup").or_insert_with(|| text(cgroup));
    capture.entry("pin_dir").or_insert_with(|| text(pins));
    capture
        .entry("on_stop")
        .or_insert_with(|| Value::String("detach".into()));
    config
}

fn section<'a>(config: &'a mut Table, name: &str) -> &'a mut Table {
    let entry = config
        .entry(name)
        .or_insert_with(|| Value::Table(Table::new()));
    match entry {
        Value::Table(table) => table,
        _ => unreachable!("a section of the configuration is always a table here"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dotted_path_reaches_sections_and_lists() {
        let mut config: Table = toml::from_str("[[endpoint]]\nname = \"shop\"\n").expect("TOML");
        set(
            &mut config,
            "capture.on_agent_down",
            Value::String("open".into()),
        )
        .expect("a section");
        set(&mut config, "endpoint.0.tls", Value::String("off".into())).expect("a list");
        assert_eq!(config["capture"]["on_agent_down"].as_str(), Some("open"));
        assert_eq!(config["endpoint"][0]["tls"].as_str(), Some("off"));
        assert!(set(&mut config, "endpoint.1.tls", Value::Boolean(true)).is_err());
    }

    #[test]
    fn what_a_test_sets_is_kept() {
        let config: Table = toml::from_str("[capture]\non_stop = \"keep\"\n").expect("TOML");
        let config = complete(config, Path::new("/f"), Path::new("/c"), Path::new("/p"));
        assert_eq!(config["capture"]["on_stop"].as_str(), Some("keep"));
        assert_eq!(config["agent"]["state_dir"].as_str(), Some("/f/state"));
        assert_eq!(config["capture"]["pin_dir"].as_str(), Some("/p"));
    }
}
