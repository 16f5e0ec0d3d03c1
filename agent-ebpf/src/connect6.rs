//! `connect(2)` of an IPv6 socket, v4-mapped destinations included: those fire no other hook.

use agent_ebpf::FAMILY_V6;
use aya_ebpf::{macros::cgroup_sock_addr, programs::SockAddrContext};

use crate::{
    connect::{Destination, Outcome, decide, is_stream},
    connect4::{LOOPBACK, port},
    fault::{Fault, PROCEED},
};

/// Hook: `cgroup/connect6` (`BPF_CGROUP_INET6_CONNECT`), Linux 4.17 and later.
/// Returns 1 to let `connect(2)` go on, 0 to fail it with `EPERM`.
#[cgroup_sock_addr(connect6)]
pub(crate) fn connect6(ctx: SockAddrContext) -> i32 {
    match try_connect6(&ctx) {
        Ok(()) => PROCEED,
        Err(fault) => fault.settle(),
    }
}

#[inline(always)]
fn try_connect6(ctx: &SockAddrContext) -> Result<(), Fault> {
    let address = ctx.sock_addr;
    // SAFETY: the kernel hands a valid context to the hook; the verifier checks each access.
    unsafe {
        if !is_stream(address) {
            return Ok(());
        }
        let words = [
            (*address).user_ip6[0],
            (*address).user_ip6[1],
            (*address).user_ip6[2],
            (*address).user_ip6[3],
        ];
        let destination = Destination {
            address: bytes(words),
            port: port((*address).user_port),
            family: FAMILY_V6,
        };
        let Outcome::Redirect(listener) = decide(address, &destination)? else {
            return Ok(());
        };
        // A socket that is IPv6 only refuses the mapped form, a mapped destination wants it.
        let is_mapped = words[0] == 0 && words[1] == 0 && words[2] == MAPPED;
        let (target, port) = if is_mapped {
            ([0, 0, MAPPED, LOOPBACK], listener.v4)
        } else {
            ([0, 0, 0, ONE], listener.v6)
        };
        if port == [0; 2] {
            return Err(Fault::Family);
        }
        (*address).user_ip6[0] = target[0];
        (*address).user_ip6[1] = target[1];
        (*address).user_ip6[2] = target[2];
        (*address).user_ip6[3] = target[3];
        (*address).user_port = u32::from(u16::from_ne_bytes(port));
    }
    Ok(())
}

/// The third word of a v4-mapped address, network order.
pub(crate) const MAPPED: u32 = u32::from_ne_bytes([0, 0, 0xff, 0xff]);
/// The last word of ::1, network order.
const ONE: u32 = u32::from_ne_bytes([0, 0, 0, 1]);

/// An address of four words in network order as bytes.
#[inline(always)]
pub(crate) fn bytes(words: [u32; 4]) -> [u8; 16] {
    let [a, b, c, d] = words.map(u32::to_ne_bytes);
    [
        a[0], a[1], a[2], a[3], b[0], b[1], b[2], b[3], c[0], c[1], c[2], c[3], d[0], d[1], d[2],
        d[3],
    ]
}
