//! `getpeername(2)` of an IPv6 socket: clients see the server they asked for.

use agent_ebpf::FAMILY_V6;
use aya_ebpf::{macros::cgroup_sock_addr, programs::SockAddrContext};

use crate::{fault::PROCEED, maps::ORIG_CLIENT, sockets::stored};

/// Hook: `cgroup/getpeername6` (`BPF_CGROUP_INET6_GETPEERNAME`), Linux 5.8 and later.
/// Returns 1 always, the only value the kernel takes.
#[cgroup_sock_addr(getpeername6)]
pub(crate) fn getpeername6(ctx: SockAddrContext) -> i32 {
    let address = ctx.sock_addr;
    // SAFETY: the kernel hands a valid context to the hook; the verifier checks each access.
    unsafe {
        let socket = (*address).__bindgen_anon_1.sk;
        if let Some(origin) = stored(&ORIG_CLIENT, socket.cast())
            && origin.family == FAMILY_V6
        {
            let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = origin.address;
            (*address).user_ip6[0] = u32::from_ne_bytes([a, b, c, d]);
            (*address).user_ip6[1] = u32::from_ne_bytes([e, f, g, h]);
            (*address).user_ip6[2] = u32::from_ne_bytes([i, j, k, l]);
            (*address).user_ip6[3] = u32::from_ne_bytes([m, n, o, p]);
            (*address).user_port = u32::from(u16::from_ne_bytes(origin.port));
        }
    }
    PROCEED
}
