//! The machine's files as the kernel unpacks them: a cpio archive.
//! <https://docs.kernel.org/driver-api/early-userspace/buffer-format.html>

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use super::{Kernel, libraries, programs};

/// What the agent needs of the kernel that is not built in, in the order it is loaded.
const MODULES: [&str; 2] = ["net/ipv4/inet_diag", "net/ipv4/tcp_diag"];

/// Writes the archive for a kernel.
pub(super) fn write(kernel: &Kernel, file: &Path) -> Result<()> {
    let failed = || format!("cannot write {}", file.display());
    let out = fs::File::create(file).with_context(failed)?;
    let mut archive = Archive::new(BufWriter::new(out));
    for folder in ["proc", "sys", "dev", "tmp", "run", "modules"] {
        archive.folder(folder).with_context(failed)?;
    }
    // The kernel gives its first process a console only where there is one already.
    archive
        .node("dev/console", DEVICE, (5, 1))
        .with_context(failed)?;
    let mut needed = BTreeSet::new();
    for (program, place) in programs()? {
        archive
            .file(place, &stripped(&program)?)
            .with_context(failed)?;
        needed.extend(libraries(&program)?);
    }
    for library in needed {
        let bytes =
            fs::read(&library).with_context(|| format!("cannot read {}", library.display()))?;
        let place = library.display().to_string();
        archive
            .file(place.trim_start_matches('/'), &bytes)
            .with_context(failed)?;
    }
    for (number, module) in MODULES.into_iter().enumerate() {
        let bytes = unpacked(&kernel.module(module)?)?;
        archive
            .file(&format!("modules/{number}.ko"), &bytes)
            .with_context(failed)?;
    }
    for (name, text) in POLICY {
        archive.file(name, text.as_bytes()).with_context(failed)?;
    }
    archive.finish().with_context(failed)
}

/// Who is identified may work.
const POLICY: [(&str, &str); 1] = [(
    "policy/rules.yaml",
    include_str!("../../../policies/baseline/rules.yaml"),
)];

/// Without what only a debugger reads: the machine's memory is small.
fn stripped(program: &Path) -> Result<Vec<u8>> {
    let folder = tempfile::tempdir().context("cannot make a folder")?;
    let file = folder.path().join("program");
    let mut command = Command::new("strip");
    command
        .arg("--strip-debug")
        .arg("-o")
        .arg(&file)
        .arg(program);
    let done = command.stdin(Stdio::null()).status();
    // Without binutils it is large, and does as well.
    let file = if done.is_ok_and(|status| status.success()) {
        file
    } else {
        PathBuf::from(program)
    };
    fs::read(&file).with_context(|| format!("cannot read {}", file.display()))
}

fn unpacked(module: &Path) -> Result<Vec<u8>> {
    if module.extension().is_none_or(|extension| extension != "xz") {
        return fs::read(module).with_context(|| format!("cannot read {}", module.display()));
    }
    let output = Command::new("xz")
        .args(["--decompress", "--stdout"])
        .arg(module)
        .stdin(Stdio::null())
        .output()
        .context("cannot run xz")?;
    ensure!(
        output.status.success(),
        "xz cannot unpack {}: {}",
        module.display(),
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(output.stdout)
}

/// A cpio archive in the form "newc".
struct Archive<W> {
    out: W,
    number: u32,
    folders: BTreeSet<String>,
}

const FOLDER: u32 = 0o040_755;
const FILE: u32 = 0o100_755;
const DEVICE: u32 = 0o020_600;

impl<W: Write> Archive<W> {
    fn new(out: W) -> Self {
        Self {
            out,
            number: 0,
            folders: BTreeSet::new(),
        }
    }

    /// Adds a folder and those above it.
    fn folder(&mut self, path: &str) -> std::io::Result<()> {
        let above = path.match_indices('/').map(|(at, _)| &path[..at]);
        for folder in above.chain([path]).filter(|folder| !folder.is_empty()) {
            if self.folders.insert(folder.to_owned()) {
                self.entry(folder, FOLDER, (0, 0), &[])?;
            }
        }
        Ok(())
    }

    fn file(&mut self, path: &str, bytes: &[u8]) -> std::io::Result<()> {
        self.folder(path.rsplit_once('/').map_or("", |(folder, _)| folder))?;
        self.entry(path, FILE, (0, 0), bytes)
    }

    fn node(&mut self, path: &str, mode: u32, device: (u32, u32)) -> std::io::Result<()> {
        self.entry(path, mode, device, &[])
    }

    fn finish(mut self) -> Result<(), std::io::Error> {
        self.entry("TRAILER!!!", 0, (0, 0), &[])?;
        self.out.flush()
    }

    fn entry(
        &mut self,
        path: &str,
        mode: u32,
        device: (u32, u32),
        bytes: &[u8],
    ) -> std::io::Result<()> {
        self.number += 1;
        let size = u32::try_from(bytes.len()).map_err(std::io::Error::other)?;
        let name = u32::try_from(path.len() + 1).map_err(std::io::Error::other)?;
        // Number, mode, owner, group, links, time, size, device of the file (2), device it is (2), name, checksum.
        let fields = [
            self.number,
            mode,
            0,
            0,
            1,
            0,
            size,
            0,
            0,
            device.0,
            device.1,
            name,
            0,
        ];
        self.out.write_all(b"070701")?;
        for field in fields {
            write!(self.out, "{field:08x}")?;
        }
        self.out.write_all(path.as_bytes())?;
        self.out.write_all(b"\0")?;
        // The header has 110 bytes; name and content each end at a multiple of four.
        self.pad(HEADER_BYTES + path.len() + 1)?;
        self.out.write_all(bytes)?;
        self.pad(bytes.len())
    }

    fn pad(&mut self, length: usize) -> std::io::Result<()> {
        const ZEROES: [u8; 3] = [0; 3];
        self.out
            .write_all(&ZEROES[..length.next_multiple_of(4) - length])
    }
}

const HEADER_BYTES: usize = 110;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_come_once_and_before_their_files() {
        let mut archive = Archive::new(Vec::new());
        archive.file("bin/one", b"1").expect("in memory");
        archive.file("bin/two", b"22222").expect("in memory");
        archive
            .entry("TRAILER!!!", 0, (0, 0), &[])
            .expect("in memory");
        let bytes = archive.out;
        assert_eq!(bytes.len() % 4, 0);
        let text = String::from_utf8(bytes).expect("text only");
        assert_eq!(text.matches("070701").count(), 4);
        assert!(text.find("bin\0") < text.find("bin/one\0"));
        assert!(text.contains("bin/two\0"));
    }
}
