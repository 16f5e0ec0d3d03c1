//! What can go wrong while a connection is captured, and what each fault does to the connection.

use agent_ebpf::Counter;

use crate::maps::count;

/// Return value of an address hook that lets the system call go on.
pub(crate) const PROCEED: i32 = 1;
/// Return value of an address hook that fails the system call with `EPERM`.
const FAIL: i32 = 0;

/// Why a governed connection cannot be captured.
#[derive(Clone, Copy)]
pub(crate) enum Fault {
    /// No agent beats, and connections must not pass without one.
    AgentDown,
    /// The network namespace has no listener, and connections must not pass without one.
    OtherNamespace,
    /// The namespace's listener does not serve this address family.
    Family,
    /// The kernel could not allocate socket storage.
    Storage,
    /// The socket is bound to a device and the binding could not be cleared.
    Device,
}

impl Fault {
    /// Counts the fault and says what the hook returns: every fault refuses the connection.
    #[inline(always)]
    pub(crate) fn settle(self) -> i32 {
        count(match self {
            Self::AgentDown => Counter::DeniedAgentDown,
            Self::OtherNamespace => Counter::DeniedOtherNamespace,
            Self::Family => Counter::DeniedFamily,
            Self::Storage => Counter::DeniedStorage,
            Self::Device => Counter::DeniedDevice,
        });
        FAIL
    }
}
