//! The few bpf(2) commands that the loader library does not offer: links by path and fd.

use std::{
    ffi::{CString, c_int, c_long},
    io,
    os::{
        fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
};

/// Commands of bpf(2), <https://docs.kernel.org/userspace-api/ebpf/syscall.html>.
const BPF_OBJ_PIN: c_int = 6;
const BPF_OBJ_GET: c_int = 7;
const BPF_OBJ_GET_INFO_BY_FD: c_int = 15;
const BPF_PROG_QUERY: c_int = 16;
const BPF_LINK_CREATE: c_int = 28;
const BPF_LINK_UPDATE: c_int = 29;

/// Where a program is attached in a cgroup: values of the kernel's `bpf_attach_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum Hook {
    Egress = 1,
    SockOps = 3,
    Connect4 = 10,
    Connect6 = 11,
    Getpeername4 = 29,
    Getpeername6 = 30,
}

/// What the kernel says of a cgroup link.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct LinkInfo {
    kind: u32,
    pub(super) id: u32,
    pub(super) program_id: u32,
    reserved: u32,
    /// Zero once the cgroup is gone: the link is an empty shell then.
    pub(super) cgroup_id: u64,
    pub(super) attach_type: u32,
    reserved_too: u32,
}

/// What the kernel says of a map.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct MapInfo {
    pub(super) kind: u32,
    pub(super) id: u32,
    pub(super) key_size: u32,
    pub(super) value_size: u32,
    pub(super) max_entries: u32,
    pub(super) flags: u32,
}

#[repr(C)]
struct LinkCreate {
    program_fd: RawFd,
    target_fd: RawFd,
    attach_type: u32,
    flags: u32,
}

#[repr(C)]
struct LinkUpdate {
    link_fd: RawFd,
    program_fd: RawFd,
    flags: u32,
    old_program_fd: u32,
}

#[repr(C)]
struct Object {
    path: u64,
    fd: RawFd,
    flags: u32,
}

#[repr(C)]
struct InfoByFd {
    fd: RawFd,
    info_bytes: u32,
    info: u64,
}

#[repr(C)]
#[derive(Default)]
struct Query {
    target_fd: RawFd,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    program_ids: u64,
    program_count: u32,
    reserved: u32,
}

/// Attaches a program to a cgroup; it stays as long as the link or a pin of it lives.
pub(super) fn create_link(
    program: BorrowedFd<'_>,
    cgroup: BorrowedFd<'_>,
    hook: Hook,
) -> io::Result<OwnedFd> {
    let mut attributes = LinkCreate {
        program_fd: program.as_raw_fd(),
        target_fd: cgroup.as_raw_fd(),
        attach_type: hook as u32,
        flags: 0,
    };
    // SAFETY: the structure is the command's own, without pointers.
    unsafe { open(BPF_LINK_CREATE, &mut attributes) }
}

/// Puts another program into a link, atomically: no connection sees neither.
pub(super) fn update_link(link: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    let mut attributes = LinkUpdate {
        link_fd: link.as_raw_fd(),
        program_fd: program.as_raw_fd(),
        flags: 0,
        old_program_fd: 0,
    };
    // SAFETY: the structure is the command's own, without pointers.
    unsafe { call(BPF_LINK_UPDATE, &mut attributes) }.map(drop)
}

/// Pins an object below a bpf file system.
pub(super) fn pin(object: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut attributes = Object {
        path: path.as_ptr() as u64,
        fd: object.as_raw_fd(),
        flags: 0,
    };
    // SAFETY: the structure is the command's own; `path` outlives the call.
    unsafe { call(BPF_OBJ_PIN, &mut attributes) }.map(drop)
}

/// Opens a pinned object.
pub(super) fn open_pinned(path: &Path) -> io::Result<OwnedFd> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut attributes = Object {
        path: path.as_ptr() as u64,
        fd: 0,
        flags: 0,
    };
    // SAFETY: the structure is the command's own; `path` outlives the call.
    unsafe { open(BPF_OBJ_GET, &mut attributes) }
}

/// Asks about a link.
pub(super) fn link_info(link: BorrowedFd<'_>) -> io::Result<LinkInfo> {
    // SAFETY: any bytes are a valid `LinkInfo`.
    unsafe { info(link) }
}

/// Asks about a map.
pub(super) fn map_info(map: BorrowedFd<'_>) -> io::Result<MapInfo> {
    // SAFETY: any bytes are a valid `MapInfo`.
    unsafe { info(map) }
}

/// Whether the running kernel knows a hook: it refuses to list programs of one it does not.
pub(super) fn hook_exists(cgroup: BorrowedFd<'_>, hook: Hook) -> io::Result<()> {
    let mut attributes = Query {
        target_fd: cgroup.as_raw_fd(),
        attach_type: hook as u32,
        ..Query::default()
    };
    // SAFETY: the structure is the command's own; a count of zero says there is no id buffer.
    unsafe { call(BPF_PROG_QUERY, &mut attributes) }.map(drop)
}

/// # Safety
///
/// Every bit pattern is a valid `T`, and `T` is a prefix of the kernel's structure for the object.
unsafe fn info<T: Default>(object: BorrowedFd<'_>) -> io::Result<T> {
    let mut info = T::default();
    let mut attributes = InfoByFd {
        fd: object.as_raw_fd(),
        info_bytes: size_of::<T>().try_into().map_err(io::Error::other)?,
        info: (&raw mut info) as u64,
    };
    // SAFETY: the kernel writes at most `info_bytes` into `info`, which outlives the call.
    unsafe { call(BPF_OBJ_GET_INFO_BY_FD, &mut attributes) }?;
    Ok(info)
}

/// # Safety
///
/// As for [`call`], and the command returns a new descriptor.
unsafe fn open<T>(command: c_int, attributes: &mut T) -> io::Result<OwnedFd> {
    // SAFETY: by the contract of this function; the descriptor is new and nobody else's.
    unsafe {
        let fd = call(command, attributes)?;
        let fd = RawFd::try_from(fd).map_err(io::Error::other)?;
        Ok(OwnedFd::from_raw_fd(fd))
    }
}

/// # Safety
///
/// `T` is the part of `bpf_attr` that `command` reads, and its pointers are valid during the call.
unsafe fn call<T>(command: c_int, attributes: &mut T) -> io::Result<c_long> {
    // SAFETY: by the contract of this function.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command, &raw mut *attributes, size_of::<T>()) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(result)
}
