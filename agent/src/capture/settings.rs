//! What the operator decides about capturing.

use std::path::PathBuf;

use serde::Deserialize;

/// The `[capture]` section.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// New connections to governed endpoints while no agent runs.
    pub on_agent_down: OnAgentDown,
    /// What an orderly stop leaves in the kernel.
    pub on_stop: OnStop,
    /// Connections older than the agent.
    pub existing: Existing,
    /// How long they live under [`Existing::Grace`], seconds.
    pub existing_grace_seconds: u64,
    /// Connections from other network namespaces, where no listener is.
    pub other_namespaces: OtherNamespaces,
    /// Whether processes are noticed that write on a connection they did not make.
    pub watch_writers: WatchWriters,
    /// The cgroup whose processes are captured; `None` is the cgroup2 mount itself.
    pub cgroup: Option<PathBuf>,
    /// Where programs and maps are pinned; below a bpf file system.
    pub pin_dir: PathBuf,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            on_agent_down: OnAgentDown::default(),
            on_stop: OnStop::default(),
            existing: Existing::default(),
            existing_grace_seconds: 60,
            other_namespaces: OtherNamespaces::default(),
            watch_writers: WatchWriters::default(),
            cgroup: None,
            pin_dir: PathBuf::from(PIN_DIR),
        }
    }
}

/// Where programs and maps are pinned unless the operator says otherwise.
pub(crate) const PIN_DIR: &str = "/sys/fs/bpf/weir";

/// New connections to governed endpoints while no agent runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnAgentDown {
    /// They fail with `EPERM`.
    #[default]
    Closed,
    /// They pass, and the next agent reports them.
    Open,
}

/// What an orderly stop leaves in the kernel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnStop {
    /// The programs stay, and [`OnAgentDown`] holds.
    #[default]
    Keep,
    /// The programs go, and connections are no longer governed.
    Detach,
}

/// Connections older than the agent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Existing {
    /// They are aborted; clients see `ECONNABORTED` and come back through the agent.
    Kill,
    /// They are reported, and aborted after a while.
    Grace,
    /// They are reported and live on.
    #[default]
    Report,
}

/// Connections from network namespaces where no listener is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OtherNamespaces {
    /// They pass and are reported.
    #[default]
    Report,
    /// They fail with `EPERM`.
    Deny,
}

/// Whether processes are noticed that write on a connection they did not make.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WatchWriters {
    /// Where the kernel can.
    #[default]
    Auto,
    /// Never: the connection is its maker's, whoever writes on it.
    Off,
}
