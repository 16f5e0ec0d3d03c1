//! `connect(2)` of an IPv4 socket.

use agent_ebpf::FAMILY_V4;
use aya_ebpf::{macros::cgroup_sock_addr, programs::SockAddrContext};

use crate::{
    connect::{Destination, Outcome, decide, is_stream},
    fault::{Fault, PROCEED},
};

/// Hook: `cgroup/connect4` (`BPF_CGROUP_INET4_CONNECT`), Linux 4.17 and later.
/// Returns 1 to let `connect(2)` go on, 0 to fail it with `EPERM`.
#[cgroup_sock_addr(connect4)]
pub(crate) fn connect4(ctx: SockAddrContext) -> i32 {
    match try_connect4(&ctx) {
        Ok(()) => PROCEED,
        Err(fault) => fault.settle(),
    }
}

#[inline(always)]
fn try_connect4(ctx: &SockAddrContext) -> Result<(), Fault> {
    let address = ctx.sock_addr;
    // SAFETY: the kernel hands a valid context to the hook; the verifier checks each access.
    unsafe {
        if !is_stream(address) {
            return Ok(());
        }
        let destination = Destination {
            address: mapped((*address).user_ip4),
            port: port((*address).user_port),
            family: FAMILY_V4,
        };
        let Outcome::Redirect(listener) = decide(address, &destination)? else {
            return Ok(());
        };
        if listener.v4 == [0; 2] {
            return Err(Fault::Family);
        }
        (*address).user_ip4 = LOOPBACK;
        (*address).user_port = u32::from(u16::from_ne_bytes(listener.v4));
    }
    Ok(())
}

/// 127.0.0.1 in network order.
pub(crate) const LOOPBACK: u32 = u32::from_ne_bytes([127, 0, 0, 1]);

/// An IPv4 address in network order as a v4-mapped one.
#[inline(always)]
pub(crate) fn mapped(address: u32) -> [u8; 16] {
    let [a, b, c, d] = address.to_ne_bytes();
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d]
}

/// The context's port: big-endian in the low sixteen bits.
#[inline(always)]
pub(crate) fn port(user_port: u32) -> [u8; 2] {
    (user_port as u16).to_ne_bytes()
}
