//! `getpeername(2)` of an IPv4 socket: clients see the server they asked for.

use agent_ebpf::FAMILY_V4;
use aya_ebpf::{macros::cgroup_sock_addr, programs::SockAddrContext};

use crate::{fault::PROCEED, maps::ORIG_CLIENT, sockets::stored};

/// Hook: `cgroup/getpeername4` (`BPF_CGROUP_INET4_GETPEERNAME`), Linux 5.8 and later.
/// Returns 1 always, the only value the kernel takes.
#[cgroup_sock_addr(getpeername4)]
pub(crate) fn getpeername4(ctx: SockAddrContext) -> i32 {
    let address = ctx.sock_addr;
    // SAFETY: the kernel hands a valid context to the hook; the verifier checks each access.
    unsafe {
        let socket = (*address).__bindgen_anon_1.sk;
        if let Some(origin) = stored(&ORIG_CLIENT, socket.cast())
            && origin.family == FAMILY_V4
        {
            let [.., a, b, c, d] = origin.address;
            (*address).user_ip4 = u32::from_ne_bytes([a, b, c, d]);
            (*address).user_port = u32::from(u16::from_ne_bytes(origin.port));
        }
    }
    PROCEED
}
