//! Writing the files: whole or not at all, and with the rights of the user whose they are.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, chown},
    path::Path,
};

use nix::unistd::{Gid, Uid, getegid, geteuid, getgroups, setegid, seteuid, setgroups};

use super::{
    Action, State,
    block::{self, Found},
};

/// What becomes of a file that is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    Make,
    Leave,
}

/// Runs something with the rights of a user, and comes back. The process has one thread.
pub(super) fn as_user<T>(
    ids: Option<(u32, u32)>,
    work: impl FnOnce() -> io::Result<T>,
) -> io::Result<T> {
    let Some((uid, gid)) = ids else {
        return work();
    };
    let before = (geteuid(), getegid(), getgroups()?);
    setgroups(&[])?;
    setegid(Gid::from_raw(gid))?;
    seteuid(Uid::from_raw(uid))?;
    let done = work();
    seteuid(before.0)?;
    setegid(before.1)?;
    setgroups(&before.2)?;
    done
}

/// In a file of certificates that is others'; `None` when it is not there and stays so.
pub(super) fn in_bundle(
    action: Action,
    place: &Path,
    pem: &str,
    missing: Missing,
) -> io::Result<Option<State>> {
    let file = match fs::read(place) {
        Ok(file) => Some(file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    let found = file
        .as_deref()
        .map_or(Found::Nothing, |file| block::find(file, pem));
    match action {
        Action::Look if file.is_none() && missing == Missing::Leave => return Ok(None),
        Action::Look => {}
        Action::Install if found == Found::Same => {}
        Action::Install if file.is_none() && missing == Missing::Leave => return Ok(None),
        Action::Install => {
            write(place, &block::insert(file.as_deref(), pem))?;
            return Ok(Some(State::Installed));
        }
        Action::Remove => {
            if let (Some(file), false) = (&file, found == Found::Nothing) {
                if let Some(rest) = block::remove(file) {
                    write(place, &rest)?;
                } else {
                    fs::remove_file(place)?;
                    remove_if_empty(place);
                }
            }
            return Ok(Some(State::Absent));
        }
    }
    Ok(Some(match found {
        Found::Nothing => State::Absent,
        Found::Same => State::Installed,
        Found::Other => State::Stale,
    }))
}

/// Files that are weir's alone.
pub(super) fn whole(action: Action, files: &[(&Path, &str)]) -> io::Result<State> {
    let mut state = State::Installed;
    for (path, text) in files {
        match action {
            Action::Install => {
                if fs::read(path).ok().as_deref() != Some(text.as_bytes()) {
                    write(path, text.as_bytes())?;
                }
            }
            Action::Remove => {
                match fs::remove_file(path) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
                remove_if_empty(path);
                state = State::Absent;
            }
            Action::Look => match fs::read(path) {
                Ok(found) if found == text.as_bytes() => {}
                Ok(_) if state != State::Absent => state = State::Stale,
                _ => state = State::Absent,
            },
        }
    }
    Ok(state)
}

/// A folder that is left empty was made for the file: these are none that anybody keeps empty.
fn remove_if_empty(file: &Path) {
    let folder = file.parent();
    let ours = [Path::new("/etc/weir")];
    if let Some(folder) = folder
        && (folder.ends_with(".postgresql") || ours.contains(&folder))
    {
        let _ = fs::remove_dir(folder);
    }
}

/// Writes beside the file and renames: a reader sees the old one or the new one. Owner and rights stay.
pub(super) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let path = match path.canonicalize() {
        Ok(path) => path,
        Err(error) if error.kind() == io::ErrorKind::NotFound => path.to_owned(),
        Err(error) => return Err(error),
    };
    let folder = path.parent().unwrap_or(Path::new("/"));
    if !folder.exists() {
        let mode = if folder.ends_with(".postgresql") {
            0o700
        } else {
            0o755
        };
        fs::DirBuilder::new()
            .recursive(true)
            .mode(mode)
            .create(folder)?;
    }
    let before = fs::metadata(&path).ok();
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let draft = folder.join(format!(".{name}.weir-{}", std::process::id()));
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o644)
        .open(&draft)
        .and_then(|mut file| {
            file.write_all(bytes)?;
            match &before {
                Some(before) => {
                    chown(&draft, Some(before.uid()), Some(before.gid()))?;
                    file.set_permissions(before.permissions())?;
                }
                // Whatever the umask is: those who are to trust it must read it.
                None => file.set_permissions(fs::Permissions::from_mode(0o644))?,
            }
            file.sync_all()?;
            fs::rename(&draft, &path)
        });
    if written.is_err() {
        let _ = fs::remove_file(&draft);
    }
    written
}
