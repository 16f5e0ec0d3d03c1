//! SHA-256 of program files, worked out beside the connections that ask for them.
//!
//! A hash is remembered by what changes whenever the content can: device, inode, size and change time. The last cannot
//! be set back by anyone but root. A file that changed a moment ago is hashed again later: the clock of change times is
//! coarse, and a second change within the same tick would not show.

use std::{
    collections::{HashMap, HashSet},
    fs::File,
    io::{self, Read},
    os::unix::fs::MetadataExt,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
};

use aws_lc_rs::digest::{Context, SHA256};

use crate::clock;

/// A file's content.
pub(crate) type Digest = [u8; 32];

/// Hashes that are known, and those being worked out.
#[derive(Debug, Default)]
pub(crate) struct ExeHashes {
    shared: Arc<Mutex<Shared>>,
    worker: OnceLock<Option<SyncSender<(Key, File)>>>,
}

#[derive(Debug, Default)]
struct Shared {
    known: HashMap<Key, Digest>,
    asked: HashSet<Key>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    device: u64,
    inode: u64,
    size: u64,
    changed_s: i64,
    changed_ns: i64,
}

impl ExeHashes {
    /// The hash, where it is known; else it will be, some time later.
    pub(crate) fn of(&self, file: File) -> Option<Digest> {
        let key = Key::of(&file).ok()?;
        let mut shared = lock(&self.shared);
        if let Some(digest) = shared.known.get(&key) {
            return Some(*digest);
        }
        if shared.asked.contains(&key) {
            return None;
        }
        let worker = self.worker.get_or_init(|| start(&self.shared)).as_ref()?;
        // With too many in line it is asked for by the next connection.
        if worker.try_send((key, file)).is_ok() {
            shared.asked.insert(key);
        }
        None
    }
}

impl Key {
    fn of(file: &File) -> io::Result<Self> {
        let data = file.metadata()?;
        if !data.is_file() || is_user_made(file) {
            return Err(io::ErrorKind::Unsupported.into());
        }
        Ok(Self {
            device: data.dev(),
            inode: data.ino(),
            size: data.size(),
            changed_s: data.ctime(),
            changed_ns: data.ctime_nsec(),
        })
    }

    fn is_settled(self) -> bool {
        let now_s = i64::try_from(clock::now().as_secs()).unwrap_or(i64::MAX);
        self.changed_s + SETTLED_S <= now_s
    }
}

/// A file system in user space answers each reader as it likes.
fn is_user_made(file: &File) -> bool {
    const FUSE: i64 = 0x6573_5546;
    nix::sys::statfs::fstatfs(file).map_or(true, |system| {
        system.filesystem_type() == nix::sys::statfs::FsType(FUSE)
    })
}

/// `None` when there can be no thread: then nothing is ever known, and nobody admitted by a hash.
fn start(shared: &Arc<Mutex<Shared>>) -> Option<SyncSender<(Key, File)>> {
    let (sender, jobs) = sync_channel(IN_LINE);
    let shared = Arc::clone(shared);
    thread::Builder::new()
        .name("exe-hash".to_owned())
        .spawn(move || work(&shared, &jobs))
        .ok()?;
    Some(sender)
}

/// Ends with the sender.
fn work(shared: &Mutex<Shared>, jobs: &Receiver<(Key, File)>) {
    for (key, mut file) in jobs {
        let hashed = hash(&mut file);
        let unchanged = Key::of(&file).is_ok_and(|now| now == key) && key.is_settled();
        let mut shared = lock(shared);
        shared.asked.remove(&key);
        match hashed {
            Ok(digest) if unchanged => {
                if shared.known.len() >= REMEMBERED {
                    shared.known.clear();
                }
                shared.known.insert(key, digest);
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "a program file cannot be hashed"),
        }
    }
}

fn hash(file: &mut File) -> io::Result<Digest> {
    let mut context = Context::new(&SHA256);
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        let length = file.read(&mut buffer)?;
        if length == 0 {
            break;
        }
        context.update(&buffer[..length]);
    }
    context
        .finish()
        .as_ref()
        .try_into()
        .map_err(io::Error::other)
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

const SETTLED_S: i64 = 2;
const CHUNK_BYTES: usize = 256 * 1024;
const REMEMBERED: usize = 4_096;
const IN_LINE: usize = 64;

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    fn until_known(hashes: &ExeHashes, path: &std::path::Path) -> Digest {
        let deadline = Instant::now() + Duration::from_mins(1);
        loop {
            if let Some(digest) = hashes.of(File::open(path).expect("the file")) {
                return digest;
            }
            assert!(Instant::now() < deadline, "no hash");
            thread::sleep(Duration::from_millis(20));
        }
    }

    #[test]
    fn a_hash_is_known_later_and_forgotten_when_the_file_changes() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), b"abc").expect("written");
        let hashes = ExeHashes::default();
        assert_eq!(hashes.of(File::open(file.path()).expect("the file")), None);
        let digest = until_known(&hashes, file.path());
        assert_eq!(
            hex::encode(digest),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        std::fs::write(file.path(), b"abd").expect("written");
        assert_eq!(hashes.of(File::open(file.path()).expect("the file")), None);
        assert_ne!(until_known(&hashes, file.path()), digest);
    }

    #[test]
    fn what_is_no_file_is_never_known() {
        let hashes = ExeHashes::default();
        assert_eq!(hashes.of(File::open("/proc").expect("a folder")), None);
        assert!(lock(&hashes.shared).asked.is_empty());
    }
}
