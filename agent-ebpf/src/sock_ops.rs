//! Hands the origin from the client's half of a loopback connection to the listener's.

use core::ffi::c_void;

use agent_ebpf::{Counter, FAMILY_V6, FlowKey};
use aya_ebpf::{
    bindings::{
        BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB, BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB, bpf_sock_ops,
    },
    helpers::bpf_get_netns_cookie,
    macros::sock_ops,
    programs::SockOpsContext,
};

use crate::{
    connect6::MAPPED,
    maps::{FLOWS, ORIG_CLIENT, ORIG_SERVER, count},
    sockets::{store, stored},
};

/// Hook: `sockops` (`BPF_CGROUP_SOCK_OPS`), Linux 4.13; with namespace cookies 5.15 and later.
/// The return value means nothing for the operations handled here.
#[sock_ops]
pub(crate) fn sock_ops(ctx: SockOpsContext) -> u32 {
    // SAFETY: the kernel hands a valid context to the hook; the verifier checks each access.
    unsafe {
        let socket: *mut c_void = (*ctx.ops).__bindgen_anon_2.sk.cast();
        if socket.is_null() {
            return 0;
        }
        match (*ctx.ops).op {
            BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB => on_active(ctx.ops, socket),
            BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB => on_passive(ctx.ops, socket),
            _ => {}
        }
    }
    0
}

/// The client's handshake is done, before its last segment leaves: the listener's half comes after.
#[inline(always)]
unsafe fn on_active(ops: *mut bpf_sock_ops, socket: *mut c_void) {
    // SAFETY: both come from the program's context.
    unsafe {
        let Some(origin) = stored(&ORIG_CLIENT, socket) else {
            return;
        };
        let (near, far) = ends(ops);
        let key = flow(ops, near, far);
        if FLOWS.insert(key, *origin, 0).is_err() {
            count(Counter::Unattributed);
        }
    }
}

/// The listener's child socket is complete: `accept(2)` will return it with its origin.
#[inline(always)]
unsafe fn on_passive(ops: *mut bpf_sock_ops, socket: *mut c_void) {
    // SAFETY: both come from the program's context.
    unsafe {
        let (near, far) = ends(ops);
        let key = flow(ops, far, near);
        let Some(origin) = FLOWS.get(&key) else {
            return;
        };
        let mut origin = *origin;
        if !store(&ORIG_SERVER, socket, &mut origin) {
            count(Counter::Unattributed);
        }
        let _ = FLOWS.remove(&key);
    }
}

#[derive(Clone, Copy)]
struct End {
    address: [u32; 4],
    port: u32,
}

/// The socket's own and its peer's end. The context's own port is in host order, the peer's is not.
#[inline(always)]
unsafe fn ends(ops: *mut bpf_sock_ops) -> (End, End) {
    // SAFETY: `ops` is the program's context.
    unsafe {
        let near_port = (*ops).local_port;
        let far_port = u32::from_be((*ops).remote_port);
        let far6 = [
            (*ops).remote_ip6[0],
            (*ops).remote_ip6[1],
            (*ops).remote_ip6[2],
            (*ops).remote_ip6[3],
        ];
        let is_mapped = far6[0] == 0 && far6[1] == 0 && far6[2] == MAPPED;
        // A v4-mapped client meets an IPv4 listener: both must come to the same key.
        let (near, far) = if (*ops).family == u32::from(FAMILY_V6) && !is_mapped {
            let near6 = [
                (*ops).local_ip6[0],
                (*ops).local_ip6[1],
                (*ops).local_ip6[2],
                (*ops).local_ip6[3],
            ];
            (near6, far6)
        } else {
            (
                [0, 0, MAPPED, (*ops).local_ip4],
                [0, 0, MAPPED, (*ops).remote_ip4],
            )
        };
        (
            End {
                address: near,
                port: near_port,
            },
            End {
                address: far,
                port: far_port,
            },
        )
    }
}

#[inline(always)]
unsafe fn flow(ops: *mut bpf_sock_ops, client: End, listener: End) -> FlowKey {
    FlowKey {
        // SAFETY: `ops` is the program's context.
        netns_cookie: unsafe { bpf_get_netns_cookie(ops.cast()) },
        client: client.address,
        listener: listener.address,
        client_port: client.port,
        listener_port: listener.port,
    }
}
