//! Loading the kernel programs, and putting them into their links.

use std::{
    fs, io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use aya::{
    Ebpf, EbpfLoader,
    programs::{CgroupSkb, CgroupSockAddr, Program, ProgramError, SockOps},
};

use super::{
    CaptureError, btf,
    cgroups::Cgroup,
    pins::{PinFolder, map_names, open_pin},
    sys::{self, Hook},
};

/// Every program with its hook. The backstop is last: until it is attached, connections that are
/// older than the agent can be told apart from those that went around it.
pub(super) const PROGRAMS: [(&str, Hook); 6] = [
    ("getpeername4", Hook::Getpeername4),
    ("getpeername6", Hook::Getpeername6),
    ("sock_ops", Hook::SockOps),
    ("connect4", Hook::Connect4),
    ("connect6", Hook::Connect6),
    BACKSTOP,
];

/// The program that drops what goes around the agent.
pub(super) const BACKSTOP: (&str, Hook) = ("egress", Hook::Egress);

/// The object file that the build script makes.
pub(super) static OBJECT: &[u8] =
    aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/weir-ebpf"));

/// A program in its place.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) name: &'static str,
    pub(super) id: u32,
    pub(super) program_id: u32,
}

/// Loads all programs, with the maps of the pin folder or new ones that are pinned there.
pub(super) fn load(folder: &PinFolder) -> Result<Ebpf, CaptureError> {
    let offsets = btf::task_offsets()?;
    let mut loader = EbpfLoader::new();
    loader.override_global("TASK_OFFSETS", &offsets, true);
    for name in map_names() {
        loader.map_pin_path(name, folder.map(name));
    }
    let mut programs = loader
        .load(OBJECT)
        .map_err(|source| CaptureError::Load(Box::new(source)))?;
    for (name, _) in PROGRAMS {
        load_program(&mut programs, name).map_err(|source| CaptureError::Program {
            name,
            source: Box::new(source),
        })?;
    }
    Ok(programs)
}

fn load_program(programs: &mut Ebpf, name: &'static str) -> Result<(), ProgramError> {
    let unexpected = ProgramError::UnexpectedProgramType;
    let Some(program) = programs.program_mut(name) else {
        return Err(unexpected);
    };
    match program {
        Program::CgroupSockAddr(_) => <&mut CgroupSockAddr>::try_from(program)?.load(),
        Program::SockOps(_) => <&mut SockOps>::try_from(program)?.load(),
        Program::CgroupSkb(_) => <&mut CgroupSkb>::try_from(program)?.load(),
        _ => Err(unexpected),
    }
}

/// Puts a loaded program into its pinned link, atomically where there is one, else into a new link.
pub(super) fn place(
    programs: &Ebpf,
    (name, hook): (&'static str, Hook),
    folder: &PinFolder,
    cgroup: &Cgroup,
) -> Result<Link, CaptureError> {
    let program = programs
        .program(name)
        .ok_or(ProgramError::UnexpectedProgramType)
        .and_then(Program::fd)
        .map_err(|source| CaptureError::Program {
            name,
            source: Box::new(source),
        })?;
    let program = program.as_fd();
    let path = folder.link(name);
    let failed = |action| {
        move |source| CaptureError::Link {
            action,
            name,
            source,
        }
    };

    let pinned = open_pin(&path).map_err(failed("open the link of"))?;
    let link = match pinned {
        Some(link) if fits(link.as_fd(), hook, cgroup).map_err(failed("inspect"))? => {
            sys::update_link(link.as_fd(), program).map_err(failed("replace"))?;
            link
        }
        pinned => {
            // Another cgroup, or one that is gone: capture in the new place before the old one ends.
            let link =
                sys::create_link(program, cgroup.file.as_fd(), hook).map_err(failed("attach"))?;
            if pinned.is_some() {
                fs::remove_file(&path).map_err(failed("unpin"))?;
            }
            sys::pin(link.as_fd(), &path).map_err(failed("pin"))?;
            link
        }
    };
    describe(name, &link).map_err(failed("inspect"))
}

fn fits(link: BorrowedFd<'_>, hook: Hook, cgroup: &Cgroup) -> io::Result<bool> {
    let info = sys::link_info(link)?;
    Ok(info.cgroup_id == cgroup.id && info.attach_type == hook as u32)
}

fn describe(name: &'static str, link: &OwnedFd) -> io::Result<Link> {
    let info = sys::link_info(link.as_fd())?;
    Ok(Link {
        name,
        id: info.id,
        program_id: info.program_id,
    })
}

/// What is wrong with a link; `None` when it is as it was made.
pub(super) fn fault(
    link: &Link,
    hook: Hook,
    folder: &PinFolder,
    cgroup: &Cgroup,
) -> Option<String> {
    let pinned = match open_pin(&folder.link(link.name)) {
        Ok(Some(pinned)) => pinned,
        Ok(None) => return Some("its pin is gone".to_owned()),
        Err(error) => return Some(format!("its pin cannot be opened: {error}")),
    };
    let info = match sys::link_info(pinned.as_fd()) {
        Ok(info) => info,
        Err(error) => return Some(format!("it cannot be inspected: {error}")),
    };
    if info.id != link.id {
        return Some(format!(
            "link {} stands where link {} was",
            info.id, link.id
        ));
    }
    if info.cgroup_id != cgroup.id || info.attach_type != hook as u32 {
        return Some(format!(
            "it is no longer attached to {}",
            cgroup.path.display()
        ));
    }
    if info.program_id != link.program_id {
        return Some(format!(
            "program {} replaced program {}",
            info.program_id, link.program_id
        ));
    }
    None
}
