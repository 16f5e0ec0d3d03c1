//! Socket storage from programs of any type: `aya-ebpf` has methods for address hooks only.

use core::{ffi::c_void, ptr};

use aya_ebpf::{
    bindings::BPF_SK_STORAGE_GET_F_CREATE,
    btf_maps::SkStorage,
    helpers::generated::{bpf_sk_storage_delete, bpf_sk_storage_get},
};

/// The value stored for a socket, if there is one.
///
/// # Safety
///
/// `socket` comes from the program's context.
#[inline(always)]
pub(crate) unsafe fn stored<T>(
    map: &'static SkStorage<T>,
    socket: *mut c_void,
) -> Option<&'static T> {
    // SAFETY: the helper accepts null for the initial value; it answers null or a value of the map.
    unsafe {
        bpf_sk_storage_get(raw(map), socket, ptr::null_mut(), 0)
            .cast::<T>()
            .as_ref()
    }
}

/// Stores a value for a socket, over an earlier one; `false` when the kernel cannot allocate it.
///
/// # Safety
///
/// `socket` comes from the program's context.
#[inline(always)]
pub(crate) unsafe fn store<T: Copy>(
    map: &'static SkStorage<T>,
    socket: *mut c_void,
    value: &mut T,
) -> bool {
    // SAFETY: the helper copies `value` into a new entry; an entry that was there before is
    // returned as it is, hence the assignment.
    unsafe {
        let entry = bpf_sk_storage_get(
            raw(map),
            socket,
            ptr::from_mut(value).cast(),
            u64::from(BPF_SK_STORAGE_GET_F_CREATE),
        )
        .cast::<T>();
        if entry.is_null() {
            return false;
        }
        *entry = *value;
        true
    }
}

/// Removes what is stored for a socket.
///
/// # Safety
///
/// `socket` comes from the program's context.
#[inline(always)]
pub(crate) unsafe fn forget<T>(map: &'static SkStorage<T>, socket: *mut c_void) {
    // SAFETY: nothing stored is an error of the helper without effect.
    unsafe { bpf_sk_storage_delete(raw(map), socket) };
}

/// The loader patches the address of the static with the map's own.
#[inline(always)]
fn raw<T>(map: &'static SkStorage<T>) -> *mut c_void {
    ptr::from_ref(map).cast_mut().cast()
}
