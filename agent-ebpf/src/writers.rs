//! Notices when another process than the one that connected writes on a governed connection.
//!
//! A socket can be inherited at fork, passed over a unix socket, or taken with `pidfd_getfd(2)`. The programs run before
//! the first byte is queued, and what they note is in the maps by then: whoever has read the bytes finds the writer there.
//! They are optional: where the kernel has no such hook, or refuses it, connections are governed as their maker's.

use core::ffi::c_void;

use agent_ebpf::{Counter, WRITER_SLOTS, WriterKey};
use aya_ebpf::{
    bindings::BPF_NOEXIST,
    helpers::{bpf_get_smp_processor_id, bpf_ktime_get_boot_ns},
    macros::fentry,
    programs::FEntryContext,
};

use crate::{
    maps::{ORIG_CLIENT, WRITERS, WRITES, count},
    process,
    sockets::stored,
};

/// Hook: `fentry/tcp_sendmsg`, Linux 5.5 with BTF; with socket storage 5.11 and later. The return value means nothing.
#[fentry(function = "tcp_sendmsg")]
pub(crate) fn writes(ctx: FEntryContext) -> i32 {
    watch(ctx.arg(0));
    0
}

/// Hook: `fentry/tcp_sendpage`, which `sendfile(2)` and `splice(2)` call before Linux 6.5. The return value means nothing.
#[fentry(function = "tcp_sendpage")]
pub(crate) fn page_writes(ctx: FEntryContext) -> i32 {
    watch(ctx.arg(0));
    0
}

/// Notes the calling process unless it made the connection or is noted already.
#[inline(always)]
fn watch(socket: *mut c_void) {
    // SAFETY: the socket is the hooked function's first argument.
    let Some(owner) = (unsafe { stored(&ORIG_CLIENT, socket) }) else {
        return;
    };
    let caller = process::key();
    if caller == (owner.tgid, owner.start_boottime_ns) {
        return;
    }
    let mut writer = process::current();
    writer.address = owner.address;
    writer.port = owner.port;
    writer.family = owner.family;
    writer.endpoint = owner.endpoint;
    writer.netns_cookie = owner.netns_cookie;
    writer.socket_cookie = owner.socket_cookie;
    for slot in 0..=WRITER_SLOTS {
        let key = WriterKey {
            socket_cookie: owner.socket_cookie,
            slot,
            reserved: 0,
        };
        // SAFETY: entries are written once and removed by user space only after the connection.
        match unsafe { WRITERS.get(key) } {
            Some(known) if (known.tgid, known.start_boottime_ns) == caller => return,
            // The last slot says "others", whoever is in it.
            Some(_) if slot == WRITER_SLOTS => return,
            Some(_) => {}
            // It fails when another CPU was faster: the next slot is tried then.
            None if WRITERS.insert(key, writer, u64::from(BPF_NOEXIST)).is_ok() => {
                tell();
                return;
            }
            None => {}
        }
    }
    count(Counter::WritersLost);
    tell();
}

/// Has user space look: after the note is in its map, before the bytes are queued.
///
/// A stamp that never repeats rather than a count: this target has no atomic addition, and of two counts at the same time
/// one could get lost. A stamp that overtakes another still differs from the one before.
#[inline(always)]
fn tell() {
    // SAFETY: no arguments.
    let (cpu, now) = unsafe { (bpf_get_smp_processor_id(), bpf_ktime_get_boot_ns()) };
    let stamp = u64::from(cpu) << CPU_SHIFT ^ now;
    if let Some(place) = WRITES.get_ptr_mut(0) {
        // SAFETY: the value is the map's own, aligned and always there.
        unsafe { place.write_volatile(stamp) };
    }
}

/// Nanoseconds since boot reach this bit after nine years.
const CPU_SHIFT: u32 = 58;
