//! Offsets of structure members in the running kernel, from its BTF.
//!
//! The loader library relocates C field accesses; Rust programs have none, so the few offsets they
//! need are read here and handed over. <https://docs.kernel.org/bpf/btf.html>

use std::{fs, io};

use agent_ebpf::TaskOffsets;

/// The running kernel's BTF.
pub(super) const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

/// Why the kernel's BTF gives no offsets.
#[derive(Debug, thiserror::Error)]
pub enum BtfError {
    /// The file cannot be read.
    #[error("cannot read {VMLINUX}")]
    Read(#[source] io::Error),
    /// The bytes are not BTF.
    #[error("{VMLINUX} is damaged at byte {at}")]
    Damaged {
        /// Where.
        at: usize,
    },
    /// A member that every supported kernel has is missing.
    #[error("the kernel's {structure} has no {member}")]
    Missing {
        /// The structure.
        structure: &'static str,
        /// Its member.
        member: &'static str,
    },
}

/// Reads what the kernel programs need to know of `task_struct`.
pub(super) fn task_offsets() -> Result<TaskOffsets, BtfError> {
    let bytes = fs::read(VMLINUX).map_err(BtfError::Read)?;
    parse(&bytes)
}

fn parse(bytes: &[u8]) -> Result<TaskOffsets, BtfError> {
    let btf = Btf::parse(bytes)?;
    let task = btf.members(
        "task_struct",
        &[
            "group_leader",
            "start_boottime",
            "loginuid",
            "sessionid",
            "cred",
        ],
    )?;
    let cred = btf.members("cred", &["euid"])?;
    let required = |structure, member, offset: Option<u32>| {
        offset.ok_or(BtfError::Missing { structure, member })
    };
    Ok(TaskOffsets {
        group_leader: required("task_struct", "group_leader", task[0])?,
        start_boottime: required("task_struct", "start_boottime", task[1])?,
        // Kernels built without auditing have neither.
        loginuid: task[2].unwrap_or(0),
        sessionid: task[3].unwrap_or(0),
        cred: required("task_struct", "cred", task[4])?,
        euid: required("cred", "euid", cred[0])?,
    })
}

struct Btf<'a> {
    bytes: &'a [u8],
    types: usize,
    types_end: usize,
    strings: usize,
}

const MAGIC: u32 = 0xeb9f;
const TYPE_BYTES: usize = 12;
const MEMBER_BYTES: usize = 12;

impl<'a> Btf<'a> {
    fn parse(bytes: &'a [u8]) -> Result<Self, BtfError> {
        let mut btf = Self {
            bytes,
            types: 0,
            types_end: 0,
            strings: 0,
        };
        if btf.word(0)? & 0xffff != MAGIC {
            return Err(BtfError::Damaged { at: 0 });
        }
        let header = btf.word(4)? as usize;
        btf.types = header + btf.word(8)? as usize;
        btf.types_end = btf.types + btf.word(12)? as usize;
        btf.strings = header + btf.word(16)? as usize;
        Ok(btf)
    }

    /// Byte offsets of a structure's members, in the order asked; `None` for one that is not there.
    fn members(
        &self,
        structure: &'static str,
        names: &[&'static str],
    ) -> Result<Vec<Option<u32>>, BtfError> {
        const STRUCT: u32 = 4;
        let mut found = vec![None; names.len()];
        let mut at = self.types;
        while at < self.types_end {
            let info = self.word(at + 4)?;
            let kind = (info >> 24) & 0x1f;
            let count = (info & 0xffff) as usize;
            let details = at + TYPE_BYTES;
            if kind == STRUCT && self.is_named(self.word(at)?, structure) {
                self.search(details, count, info >> 31 == 1, names, &mut found)?;
            }
            at = details + details_bytes(kind, count).ok_or(BtfError::Damaged { at })?;
        }
        Ok(found)
    }

    fn search(
        &self,
        members: usize,
        count: usize,
        has_bitfields: bool,
        names: &[&'static str],
        found: &mut [Option<u32>],
    ) -> Result<(), BtfError> {
        for index in 0..count {
            let member = members + index * MEMBER_BYTES;
            let name = self.word(member)?;
            let Some(slot) = names.iter().position(|wanted| self.is_named(name, wanted)) else {
                continue;
            };
            let bits = self.word(member + 8)?;
            let bits = if has_bitfields {
                bits & 0x00ff_ffff
            } else {
                bits
            };
            found[slot] = Some(bits / 8);
        }
        Ok(())
    }

    fn is_named(&self, offset: u32, name: &str) -> bool {
        self.bytes
            .get(self.strings + offset as usize..)
            .and_then(|rest| rest.strip_prefix(name.as_bytes()))
            .is_some_and(|rest| rest.first() == Some(&0))
    }

    fn word(&self, at: usize) -> Result<u32, BtfError> {
        self.bytes
            .get(at..)
            .and_then(<[u8]>::first_chunk)
            .map(|word| u32::from_ne_bytes(*word))
            .ok_or(BtfError::Damaged { at })
    }
}

/// Bytes after a type's common part; `None` for a kind this code does not know.
fn details_bytes(kind: u32, count: usize) -> Option<usize> {
    Some(match kind {
        // Pointer, forward, typedef, volatile, const, restrict, function, float, type tag.
        2 | 7..=12 | 16 | 18 => 0,
        // Integer, variable, declaration tag.
        1 | 14 | 17 => 4,
        // Array.
        3 => 12,
        // Structure, union, data section, 64-bit enumeration.
        4 | 5 | 15 | 19 => 12 * count,
        // Enumeration, function prototype.
        6 | 13 => 8 * count,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_running_kernel_has_the_offsets() {
        let Ok(bytes) = fs::read(VMLINUX) else {
            panic!("{VMLINUX} is not readable: this kernel cannot run weir");
        };
        let offsets = parse(&bytes).expect("the kernel's own BTF parses");
        assert_ne!(offsets.group_leader, offsets.start_boottime);
        assert!(offsets.start_boottime > 0 && offsets.cred > 0 && offsets.euid > 0);
    }

    #[test]
    fn truncated_bytes_are_an_error() {
        let mut bytes = Vec::new();
        for word in [0x0001_eb9f_u32, 24, 0, 12, 12, 4] {
            bytes.extend(word.to_ne_bytes());
        }
        assert!(matches!(parse(&bytes), Err(BtfError::Damaged { at: 28 })));
        assert!(matches!(
            parse(b"\x7fELF"),
            Err(BtfError::Damaged { at: 0 })
        ));
    }

    #[test]
    fn a_structure_without_the_member_is_an_error() {
        let mut bytes = Vec::new();
        for word in [0x0001_eb9f_u32, 24, 0, 0, 0, 1] {
            bytes.extend(word.to_ne_bytes());
        }
        bytes.push(0);
        assert!(matches!(
            parse(&bytes),
            Err(BtfError::Missing {
                member: "group_leader",
                ..
            })
        ));
    }
}
