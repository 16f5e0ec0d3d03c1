//! The backstop: packets to governed endpoints leave only from sockets that may speak to them.
//!
//! `connect(2)` is not the only way to a server: raw sockets build their own packets, and
//! connections made before the programs were attached go on. What opens a connection or carries
//! data is dropped; bare acknowledgements, resets and closings pass, because the kernel sends them
//! from its own sockets for connections whose socket is already gone, the agent's included.

use core::ffi::c_void;

use agent_ebpf::Counter;
use aya_ebpf::{
    helpers::{bpf_get_socket_cookie, bpf_ktime_get_boot_ns},
    macros::cgroup_skb,
    programs::SkBuffContext,
};

use crate::{
    connect::governed,
    connect4::mapped,
    maps::{AGENT, OLDER, PASS, count},
    sockets::stored,
};

/// Return value that lets the packet go on.
const KEEP: i32 = 1;
/// Return value that drops the packet; a local sender gets `EPERM`.
const DROP: i32 = 0;

/// Hook: `cgroup_skb/egress` (`BPF_CGROUP_INET_EGRESS`), Linux 4.10; with socket storage 5.10 and later.
/// Returns 1 to keep the packet, 0 to drop it.
#[cgroup_skb(egress)]
pub(crate) fn egress(ctx: SkBuffContext) -> i32 {
    let Some(segment) = segment(&ctx) else {
        return KEEP;
    };
    if governed(segment.port, segment.address).is_none()
        || !opens_or_carries(&ctx, segment.at)
        || may_speak(&ctx)
    {
        return KEEP;
    }
    count(Counter::Dropped);
    DROP
}

/// A TCP segment: where it goes, and where its header starts.
struct Segment {
    address: [u8; 16],
    port: [u8; 2],
    at: usize,
}

const TCP: u8 = 6;

/// The packet's TCP segment. A later fragment is none: without its first one it never arrives whole.
#[inline(always)]
fn segment(ctx: &SkBuffContext) -> Option<Segment> {
    let first: u8 = ctx.load(0).ok()?;
    let (address, at) = match first >> 4 {
        4 => ipv4(ctx, first)?,
        6 => ipv6(ctx)?,
        _ => return None,
    };
    let port = ctx.load(at + 2).ok()?;
    Some(Segment { address, port, at })
}

#[inline(always)]
fn ipv4(ctx: &SkBuffContext, first: u8) -> Option<([u8; 16], usize)> {
    const PROTOCOL_AT: usize = 9;
    const FRAGMENT_AT: usize = 6;
    const DESTINATION_AT: usize = 16;
    if ctx.load::<u8>(PROTOCOL_AT).ok()? != TCP {
        return None;
    }
    let [high, low]: [u8; 2] = ctx.load(FRAGMENT_AT).ok()?;
    if high & 0x1f != 0 || low != 0 {
        return None;
    }
    let destination: u32 = ctx.load(DESTINATION_AT).ok()?;
    Some((mapped(destination), usize::from(first & 0xf) * 4))
}

#[inline(always)]
fn ipv6(ctx: &SkBuffContext) -> Option<([u8; 16], usize)> {
    const NEXT_HEADER_AT: usize = 6;
    const DESTINATION_AT: usize = 24;
    const HEADER_BYTES: usize = 40;
    const EXTENSIONS: usize = 6;
    let mut next: u8 = ctx.load(NEXT_HEADER_AT).ok()?;
    let mut at = HEADER_BYTES;
    for _ in 0..EXTENSIONS {
        let bytes = match next {
            TCP => return Some((ctx.load(DESTINATION_AT).ok()?, at)),
            // Hop-by-hop, routing, destination options: their length is in units of eight bytes.
            0 | 43 | 60 => (usize::from(ctx.load::<u8>(at + 1).ok()?) + 1) * 8,
            44 => {
                let [high, low]: [u8; 2] = ctx.load(at + 2).ok()?;
                if high != 0 || low & 0xf8 != 0 {
                    return None;
                }
                8
            }
            _ => return None,
        };
        next = ctx.load(at).ok()?;
        at += bytes;
    }
    None
}

/// Whether a segment opens a connection or carries data. One whose header is cut off counts as such.
#[inline(always)]
fn opens_or_carries(ctx: &SkBuffContext, at: usize) -> bool {
    const OFFSET_AND_FLAGS_AT: usize = 12;
    const SYN: u8 = 0x02;
    let Ok([offset, flags]) = ctx.load::<[u8; 2]>(at + OFFSET_AND_FLAGS_AT) else {
        return true;
    };
    let header_bytes = usize::from(offset >> 4) * 4;
    flags & SYN != 0 || ctx.len() as usize > at + header_bytes
}

/// Whether the sending socket is the agent's, was let through on purpose, or is older than the agent.
#[inline(always)]
fn may_speak(ctx: &SkBuffContext) -> bool {
    // SAFETY: the kernel hands a valid context to the hook; the verifier checks each access.
    unsafe {
        let socket: *mut c_void = (*ctx.skb.skb).__bindgen_anon_2.sk.cast();
        if socket.is_null() {
            return false;
        }
        if stored(&AGENT, socket).is_some() || stored(&PASS, socket).is_some() {
            return true;
        }
        let cookie = bpf_get_socket_cookie(ctx.skb.skb.cast());
        OLDER
            .get(cookie)
            .is_some_and(|until| bpf_ktime_get_boot_ns() < *until)
    }
}
