//! Files that are replaced whole: after a crash there is the old one or the new one.

use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

/// Puts `bytes` in the place of a file. It is on disk when this returns. `mode` is for a new file, less what the process masks.
///
/// # Errors
///
/// When it cannot be written; the old file stays then.
pub(crate) fn replace(path: &Path, mode: u32, bytes: &[u8]) -> io::Result<()> {
    Draft::write(path, mode, bytes)?.put()
}

/// What is to replace a file: on disk beside it, and gone unless it is put in its place.
#[derive(Debug)]
pub(crate) struct Draft {
    draft: PathBuf,
    path: PathBuf,
}

impl Draft {
    /// Writes one for `path`, as [`replace`] would.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub(crate) fn write(path: &Path, mode: u32, bytes: &[u8]) -> io::Result<Self> {
        let mut draft = path.as_os_str().to_owned();
        draft.push(".draft");
        let draft = Self {
            draft: draft.into(),
            path: path.to_owned(),
        };
        write(&draft.draft, mode, bytes)?;
        Ok(draft)
    }

    /// Puts it in the file's place. What could go wrong for want of room or rights has gone well when it was written.
    ///
    /// # Errors
    ///
    /// When it cannot be put there, or nobody knows whether it outlives a crash.
    pub(crate) fn put(self) -> io::Result<()> {
        fs::rename(&self.draft, &self.path)?;
        fs::File::open(self.path.parent().unwrap_or(Path::new("/")))?.sync_all()
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // Nothing is there any more once it was put in its place.
        let _ = fs::remove_file(&self.draft);
    }
}

fn write(path: &Path, mode: u32, bytes: &[u8]) -> io::Result<()> {
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Of files that only their owner reads.
pub(crate) const PRIVATE: u32 = 0o600;
/// Of files that everybody may read.
pub(crate) const PUBLIC: u32 = 0o644;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_new_text_is_there_and_nothing_beside_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("grants.json");

        replace(&path, 0o600, b"one").expect("written");
        replace(&path, 0o600, b"two").expect("written again");

        assert_eq!(fs::read(&path).expect("a file"), b"two");
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1);
        let mode = fs::metadata(&path).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn what_cannot_be_written_leaves_the_old_text() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("grants.json");
        replace(&path, 0o600, b"one").expect("written");
        fs::create_dir(folder.path().join("grants.json.draft")).expect("in the way");

        assert!(replace(&path, 0o600, b"two").is_err());
        assert_eq!(fs::read(&path).expect("a file"), b"one");
    }

    #[test]
    fn a_draft_that_is_not_put_in_place_leaves_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("grants.json");
        replace(&path, 0o600, b"one").expect("written");

        drop(Draft::write(&path, 0o600, b"two").expect("written"));

        assert_eq!(fs::read(&path).expect("a file"), b"one");
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1);
    }
}
