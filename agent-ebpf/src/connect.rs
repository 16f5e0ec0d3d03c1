//! What both connect hooks decide: pass, refuse, or go to the agent.

use core::ffi::c_void;

use agent_ebpf::{
    Counter, Event, LET_PASS, Listener, Origin, PORT_BITS, REFUSE, RULE_GOVERNED, RuleKey,
    RuleValue, STALE_NS, WHY_AGENT_DOWN, WHY_OTHER_NAMESPACE,
};
use aya_ebpf::{
    bindings::bpf_sock_addr,
    btf_maps::lpm_trie::Key,
    helpers::{
        bpf_get_netns_cookie, bpf_get_socket_cookie, bpf_ktime_get_boot_ns,
        generated::bpf_setsockopt,
    },
};

use crate::{
    fault::Fault,
    maps::{AGENT, CONDUCT, EVENTS, HEARTBEAT, LISTENERS, ORIG_CLIENT, PASS, RULES, count},
    process,
    sockets::{forget, store, stored},
};

/// What becomes of a connection that is not refused.
pub(crate) enum Outcome {
    /// It goes where the client wanted, without the agent.
    Pass,
    /// It goes to these listeners; the origin is noted.
    Redirect(Listener),
}

/// Where a client wants to go.
#[derive(Clone, Copy)]
pub(crate) struct Destination {
    /// v4-mapped for IPv4.
    pub(crate) address: [u8; 16],
    pub(crate) port: [u8; 2],
    /// The family that the client used; a v4-mapped destination on an IPv6 socket is IPv6 here.
    pub(crate) family: u16,
}

const SOCK_STREAM: u32 = 1;
const SOL_SOCKET: i32 = 1;
const SO_BINDTODEVICE: i32 = 25;
const ADDRESS_BITS: u32 = 128;

/// Whether the connection may concern weir at all: connected UDP never does.
///
/// # Safety
///
/// `ctx` is the context of an address hook.
#[inline(always)]
pub(crate) unsafe fn is_stream(ctx: *mut bpf_sock_addr) -> bool {
    // SAFETY: by the contract of this function.
    unsafe { (*ctx).type_ == SOCK_STREAM }
}

/// Decides about one connection of a stream socket.
///
/// # Safety
///
/// `ctx` is the context of a connect hook.
#[inline(always)]
pub(crate) unsafe fn decide(
    ctx: *mut bpf_sock_addr,
    destination: &Destination,
) -> Result<Outcome, Fault> {
    // SAFETY: by the contract of this function; `sk` is the connecting socket.
    unsafe {
        let socket: *mut c_void = (*ctx).__bindgen_anon_1.sk.cast();
        if stored(&AGENT, socket).is_some() {
            count(Counter::PassedAgent);
            return Ok(Outcome::Pass);
        }
        let Some(rule) = governed(destination.port, destination.address) else {
            // A socket may connect again: it must not keep the origin of its last destination.
            forget(&ORIG_CLIENT, socket);
            return Ok(Outcome::Pass);
        };

        let mut origin = process::current();
        origin.address = destination.address;
        origin.port = destination.port;
        origin.family = destination.family;
        origin.endpoint = rule.endpoint;
        origin.netns_cookie = bpf_get_netns_cookie(ctx.cast());
        origin.socket_cookie = bpf_get_socket_cookie(ctx.cast());

        if is_stale() {
            if on_agent_down() != LET_PASS {
                return Err(Fault::AgentDown);
            }
            return pass(socket, &origin, WHY_AGENT_DOWN);
        }
        let Some(listener) = LISTENERS.get(origin.netns_cookie) else {
            if other_namespaces() != LET_PASS {
                return Err(Fault::OtherNamespace);
            }
            return pass(socket, &origin, WHY_OTHER_NAMESPACE);
        };
        let listener = *listener;

        if !store(&ORIG_CLIENT, socket, &mut origin) {
            return Err(Fault::Storage);
        }
        // A socket that was let through while the agent was down is governed from now on.
        forget(&PASS, socket);
        unbind_device(ctx)?;
        count(Counter::Governed);
        Ok(Outcome::Redirect(listener))
    }
}

/// The rule that governs a destination; `None` when none does, or the closest one excludes it.
#[inline(always)]
pub(crate) fn governed(port: [u8; 2], address: [u8; 16]) -> Option<RuleValue> {
    let key = Key::new(
        PORT_BITS + ADDRESS_BITS,
        RuleKey {
            port,
            reserved: [0; 2],
            address,
        },
    );
    let rule = RULES.get(&key)?;
    (rule.verdict == RULE_GOVERNED).then_some(*rule)
}

/// Lets a governed connection through without the agent, marked for egress, counted and reported.
///
/// # Safety
///
/// `socket` comes from the program's context.
#[inline(always)]
unsafe fn pass(socket: *mut c_void, origin: &Origin, why: u32) -> Result<Outcome, Fault> {
    let mut mark = why;
    // SAFETY: by the contract of this function.
    unsafe {
        forget(&ORIG_CLIENT, socket);
        if !store(&PASS, socket, &mut mark) {
            return Err(Fault::Storage);
        }
    }
    count(if why == WHY_AGENT_DOWN {
        Counter::PassedAgentDown
    } else {
        Counter::PassedOtherNamespace
    });
    let event = Event {
        why,
        reserved: 0,
        origin: *origin,
    };
    if EVENTS.output(event, 0).is_err() {
        count(Counter::EventsLost);
    }
    Ok(Outcome::Pass)
}

/// Whether no agent is alive.
#[inline(always)]
fn is_stale() -> bool {
    let Some(beat) = HEARTBEAT.get(0) else {
        return true;
    };
    // SAFETY: no arguments.
    let now = unsafe { bpf_ktime_get_boot_ns() };
    beat.running == 0 || now > beat.at_ns.wrapping_add(STALE_NS)
}

#[inline(always)]
fn on_agent_down() -> u32 {
    CONDUCT
        .get(0)
        .map_or(REFUSE, |conduct| conduct.on_agent_down)
}

#[inline(always)]
fn other_namespaces() -> u32 {
    CONDUCT
        .get(0)
        .map_or(REFUSE, |conduct| conduct.other_namespaces)
}

/// Clears `SO_BINDTODEVICE`: a socket bound to a network device never reaches loopback, it hangs.
///
/// # Safety
///
/// `ctx` is the context of a connect hook.
#[inline(always)]
unsafe fn unbind_device(ctx: *mut bpf_sock_addr) -> Result<(), Fault> {
    // SAFETY: by the contract of this function; the option takes an empty name for "none".
    unsafe {
        let socket = (*ctx).__bindgen_anon_1.sk;
        if (*socket).bound_dev_if == 0 {
            return Ok(());
        }
        let mut none = 0u64;
        let failed = bpf_setsockopt(
            ctx.cast(),
            SOL_SOCKET,
            SO_BINDTODEVICE,
            (&raw mut none).cast(),
            size_of::<u64>() as i32,
        );
        if failed == 0 {
            Ok(())
        } else {
            Err(Fault::Device)
        }
    }
}
