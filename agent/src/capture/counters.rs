//! What the kernel programs have counted.

use agent_ebpf::Counter;
use aya::maps::{MapData, PerCpuArray};
use serde::{Deserialize, Serialize};

use super::CaptureError;

/// Counts since the programs' maps were made; an agent's restart does not reset them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counters {
    /// Connections redirected to the agent.
    pub governed: u64,
    /// The agent's own connections to governed destinations.
    pub passed_agent: u64,
    /// Connections let through because no agent was running.
    pub passed_agent_down: u64,
    /// Connections let through because their network namespace has no listener.
    pub passed_other_namespace: u64,
    /// Connections refused because no agent was running.
    pub denied_agent_down: u64,
    /// Connections refused because their network namespace has no listener.
    pub denied_other_namespace: u64,
    /// Connections refused because the kernel could not note their origin.
    pub denied_storage: u64,
    /// Connections refused because their socket stayed bound to a device.
    pub denied_device: u64,
    /// Connections refused because no listener serves their address family.
    pub denied_family: u64,
    /// Packets to governed endpoints dropped at egress.
    pub dropped: u64,
    /// Redirected connections whose origin was lost on the way to the listener.
    pub unattributed: u64,
    /// Events that did not fit into the ring.
    pub events_lost: u64,
    /// Processes that wrote on a connection they did not make, and could not be noted.
    pub writers_lost: u64,
}

impl Counters {
    /// Adds up the counts of all CPUs.
    pub(super) fn read(map: &PerCpuArray<MapData, u64>) -> Result<Self, CaptureError> {
        let total = |counter: Counter| {
            map.get(&(counter as u32), 0)
                .map(|values| values.iter().sum())
                .map_err(CaptureError::map("read the kernel's counters"))
        };
        Ok(Self {
            governed: total(Counter::Governed)?,
            passed_agent: total(Counter::PassedAgent)?,
            passed_agent_down: total(Counter::PassedAgentDown)?,
            passed_other_namespace: total(Counter::PassedOtherNamespace)?,
            denied_agent_down: total(Counter::DeniedAgentDown)?,
            denied_other_namespace: total(Counter::DeniedOtherNamespace)?,
            denied_storage: total(Counter::DeniedStorage)?,
            denied_device: total(Counter::DeniedDevice)?,
            denied_family: total(Counter::DeniedFamily)?,
            dropped: total(Counter::Dropped)?,
            unattributed: total(Counter::Unattributed)?,
            events_lost: total(Counter::EventsLost)?,
            writers_lost: total(Counter::WritersLost)?,
        })
    }
}
