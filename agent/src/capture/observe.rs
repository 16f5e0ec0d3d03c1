//! What a running agent asks of the kernel's side.

use std::time::Duration;

use agent_ebpf::{FlowKey, Reported};
use aya::maps::{Map, MapData, RingBuf};

use super::{
    Capture, CaptureError, Counters, EventSource, Finding,
    attach::{boot_ns, hold},
    programs::{self, PROGRAMS},
};

/// Connections that came while no agent was beating.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Unattended {
    /// Let through.
    pub passed: u64,
    /// Refused.
    pub denied: u64,
}

impl Capture {
    /// Opens the event ring.
    ///
    /// # Errors
    ///
    /// [`CaptureError::Map`] when it cannot be opened or mapped.
    pub fn events(&self) -> Result<EventSource, CaptureError> {
        let failed = "open the event ring";
        let data =
            MapData::from_pin(self.folder.map("EVENTS")).map_err(CaptureError::map(failed))?;
        let map = Map::from_map_data(data).map_err(CaptureError::map(failed))?;
        let ring = RingBuf::try_from(map).map_err(CaptureError::map(failed))?;
        Ok(EventSource::new(ring))
    }

    /// What the programs have counted.
    ///
    /// # Errors
    ///
    /// [`CaptureError::Map`] when the kernel does not answer.
    pub fn counters(&self) -> Result<Counters, CaptureError> {
        Counters::read(&self.stats)
    }

    /// Connections that came while no agent was beating, since the last call of this or an earlier
    /// agent. Not zero in a running agent: it was too slow to beat.
    ///
    /// # Errors
    ///
    /// [`CaptureError::Map`] when the kernel does not answer.
    pub fn unattended(&self) -> Result<Unattended, CaptureError> {
        let failed = "read what was reported";
        let counters = self.counters()?;
        let mut map = hold(&self.reported);
        let before = map.get(&0, 0).map_err(CaptureError::map(failed))?;
        let now = Reported {
            passed: counters.passed_agent_down,
            denied: counters.denied_agent_down,
        };
        map.set(0, now, 0).map_err(CaptureError::map(failed))?;
        Ok(Unattended {
            passed: now.passed.saturating_sub(before.passed),
            denied: now.denied.saturating_sub(before.denied),
        })
    }

    /// How many origins are on their way from a client to a listener at this moment.
    ///
    /// # Errors
    ///
    /// [`CaptureError::Map`] when the kernel does not answer.
    pub fn leftovers(&self) -> Result<usize, CaptureError> {
        let flows = hold(&self.flows);
        flows
            .keys()
            .try_fold(0, |count, key| key.map(|_| count + 1))
            .map_err(CaptureError::map("list flows"))
    }

    /// Removes origins that have been on their way for longer than `age`; returns how many. They
    /// belong to connections whose agent died between the two halves of the handshake.
    ///
    /// # Errors
    ///
    /// [`CaptureError::Map`] when the kernel does not answer.
    pub fn sweep(&self, age: Duration) -> Result<usize, CaptureError> {
        let mut flows = hold(&self.flows);
        let age = u64::try_from(age.as_nanos()).unwrap_or(u64::MAX);
        let before = boot_ns().saturating_sub(age);
        // A flow that ends while this goes on is not an error, it is the usual end.
        let stranded: Vec<FlowKey> = flows
            .iter()
            .flatten()
            .filter(|(_, origin)| origin.connected_at_ns < before)
            .map(|(key, _)| key)
            .collect();
        for key in &stranded {
            let _ = flows.remove(key);
        }
        Ok(stranded.len())
    }

    /// Looks whether every program is still where this agent put it.
    #[must_use]
    pub fn self_check(&self) -> Vec<Finding> {
        let watch = self.watch.finding();
        PROGRAMS
            .iter()
            .zip(&self.links)
            .map(|((name, hook), link)| {
                let fault = programs::fault(link, *hook, &self.folder, &self.cgroup);
                let remedy = "restart the agent; it puts its programs back";
                Finding::new(
                    name,
                    fault.map_or(
                        Ok(format!("link {}, program {}", link.id, link.program_id)),
                        Err,
                    ),
                    remedy,
                )
            })
            .chain([watch])
            .collect()
    }
}
