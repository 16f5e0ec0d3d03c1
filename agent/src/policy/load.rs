//! From a folder to a pack with a digest.

use std::path::{Path, PathBuf};

use aws_lc_rs::digest;
use weir_policy::{Mode, Pack, PackError, Sources};

use super::{Settings, Snapshot};

/// A pack that is ready to be put in force.
#[derive(Debug)]
pub struct Loaded {
    /// What decides.
    pub pack: Pack,
    /// SHA-256 over the pack's files and the mode, hex.
    pub digest: String,
    /// Where it comes from.
    pub path: PathBuf,
}

impl Loaded {
    pub(super) fn into_snapshot(self, epoch: u64) -> Snapshot {
        Snapshot {
            pack: self.pack.into(),
            digest: self.digest,
            epoch,
            path: self.path,
        }
    }
}

/// Reads and compiles the pack that the settings name.
///
/// # Errors
///
/// [`PackError`] when it cannot be read, or with all that is wrong with it.
pub fn load(settings: &Settings) -> Result<Loaded, PackError> {
    compile(&Sources::read(&settings.dir)?, settings.mode)
}

/// The pack that allows everything for everybody; part of the program, for a first look without any configuration.
///
/// # Panics
///
/// Never: a test compiles it.
#[must_use]
pub fn permit_all(mode: Mode) -> Loaded {
    let files = vec![("rules.yaml".to_owned(), PERMIT_ALL.to_owned())];
    compile(
        &Sources::from_files(Path::new("(built in: permit-all)"), files),
        mode,
    )
    .expect("the built-in pack compiles")
}

/// The digest covers names and lengths too, so that no two packs share one.
fn compile(sources: &Sources, mode: Mode) -> Result<Loaded, PackError> {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(match mode {
        Mode::Enforce => b"enforce",
        Mode::Observe => b"observe",
    });
    for part in sources.files().flat_map(|(name, text)| [name, text]) {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part.as_bytes());
    }
    Ok(Loaded {
        pack: Pack::compile(sources, mode)?,
        digest: hex::encode(context.finish()),
        path: sources.path().to_owned(),
    })
}

const PERMIT_ALL: &str = include_str!("../../../policies/permit-all/rules.yaml");
