//! Connections that went to governed destinations without the agent.

use std::{
    io,
    os::fd::{AsRawFd, RawFd},
};

use agent_ebpf::{Event, WHY_AGENT_DOWN, WHY_OTHER_NAMESPACE};
use aya::maps::{MapData, RingBuf};
use serde::{Deserialize, Serialize};
use tokio::io::{Interest, unix::AsyncFd};

use super::Origin;

/// A connection that went to a governed destination without the agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UngovernedConnection {
    /// Why.
    pub why: Ungoverned,
    /// Who and where to.
    pub origin: Origin,
}

/// Why a connection was not governed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ungoverned {
    /// No agent was running and `on_agent_down` is `open`.
    AgentDown,
    /// It came from a network namespace without a listener.
    OtherNamespace,
    /// It was made before the agent ran.
    Older,
}

impl Ungoverned {
    /// The word that audit records carry.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AgentDown => "agent_down",
            Self::OtherNamespace => "other_namespace",
            Self::Older => "older",
        }
    }
}

/// The kernel's event ring. Its descriptor becomes readable when an event arrives, see
/// [`EventSource::stream`]. There must be one reader only; what it has taken is gone for the next agent.
pub struct EventSource {
    ring: RingBuf<MapData>,
}

impl EventSource {
    pub(super) fn new(ring: RingBuf<MapData>) -> Self {
        Self { ring }
    }

    /// Takes the next event; `None` when the ring is empty. Never waits.
    pub fn take(&mut self) -> Option<UngovernedConnection> {
        loop {
            let item = self.ring.next()?;
            if let Some(connection) = parse(&item) {
                return Some(connection);
            }
        }
    }
}

impl AsRawFd for EventSource {
    fn as_raw_fd(&self) -> RawFd {
        self.ring.as_raw_fd()
    }
}

/// The event ring as the runtime waits for it.
#[derive(Debug)]
pub struct EventStream {
    source: AsyncFd<EventSource>,
}

impl EventSource {
    /// Registers the ring with the current runtime.
    ///
    /// # Errors
    ///
    /// The runtime cannot take the descriptor.
    ///
    /// # Panics
    ///
    /// Outside of a runtime.
    pub fn stream(self) -> io::Result<EventStream> {
        // SAFETY: the ring owns its descriptor, never changes it, and is moved into the `AsyncFd`.
        let source = unsafe { AsyncFd::register_with_interest(self, Interest::READABLE) }?;
        Ok(EventStream { source })
    }
}

impl EventStream {
    /// Waits for the next event. Cancelling it loses none.
    ///
    /// # Errors
    ///
    /// The runtime is shutting down.
    pub async fn next(&mut self) -> io::Result<UngovernedConnection> {
        loop {
            let mut guard = self.source.readable_mut().await?;
            if let Some(connection) = guard.get_inner_mut().take() {
                return Ok(connection);
            }
            guard.clear_ready();
        }
    }
}

impl std::fmt::Debug for EventSource {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("EventSource")
            .finish_non_exhaustive()
    }
}

/// An event from the ring's bytes; `None` for a record of another size or an unknown reason.
fn parse(bytes: &[u8]) -> Option<UngovernedConnection> {
    if bytes.len() != size_of::<Event>() {
        return None;
    }
    // SAFETY: the length was checked, any bytes are a valid `Event`, and no alignment is assumed.
    let event = unsafe { bytes.as_ptr().cast::<Event>().read_unaligned() };
    let why = match event.why {
        WHY_AGENT_DOWN => Ungoverned::AgentDown,
        WHY_OTHER_NAMESPACE => Ungoverned::OtherNamespace,
        _ => return None,
    };
    Some(UngovernedConnection {
        why,
        origin: event.origin.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_another_size_are_no_event() {
        assert_eq!(parse(&[0; 87]), None);
        assert_eq!(parse(&[0; 88]), None);
    }

    #[test]
    fn the_reason_is_read() {
        let mut bytes = [0; 88];
        bytes[0] = 2;
        assert_eq!(
            parse(&bytes).map(|event| event.why),
            Some(Ungoverned::OtherNamespace)
        );
    }
}
