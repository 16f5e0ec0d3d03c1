//! The search for what must be nowhere: secrets, literals, masked values.

use std::fmt::Write as _;
use std::io::ErrorKind;
use std::path::Path;
use std::{fs, io};

use anyhow::{Context, Result, bail, ensure};
use memchr::memmem;

use crate::agent::Agent;

/// How often a folder is read anew whose files an agent at work renames and removes.
const ATTEMPTS: usize = 50;

/// Places that are looked through, each with a name and its bytes.
#[derive(Debug, Default)]
pub struct Places(Vec<(String, Vec<u8>)>);

impl Places {
    /// What an agent wrote: its log, and every file of its state folder.
    ///
    /// # Errors
    ///
    /// When one cannot be read.
    pub fn written_by(agent: &Agent) -> Result<Self> {
        let mut places = Self::default();
        places.add("the log", agent.log());
        places.add_folder(&agent.state_folder())?;
        Ok(places)
    }

    /// Every file below `folder`, each by its path.
    ///
    /// # Errors
    ///
    /// When one cannot be read.
    pub fn add_folder(&mut self, folder: &Path) -> Result<()> {
        for _ in 0..ATTEMPTS {
            let mut found = Vec::new();
            match files(folder, &mut found) {
                Ok(()) => {
                    self.0.extend(found);
                    return Ok(());
                }
                Err(error) if error.kind() == ErrorKind::NotFound && folder.exists() => {}
                Err(error) => {
                    return Err(error).with_context(|| format!("cannot read {}", folder.display()));
                }
            }
        }
        bail!("{} does not hold still to be read", folder.display())
    }

    /// One more.
    pub fn add(&mut self, name: impl Into<String>, bytes: impl Into<Vec<u8>>) {
        self.0.push((name.into(), bytes.into()));
    }

    /// Those of another search too.
    pub fn append(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// Whether a place whose name has `name` in it holds `text`, which may be empty: a search that finds nothing has to
    /// have looked there.
    #[must_use]
    pub fn some_holds(&self, name: &str, text: &str) -> bool {
        self.named(name)
            .any(|bytes| memmem::find(bytes, text.as_bytes()).is_some())
    }

    /// What each place whose name has `name` in it holds.
    pub fn named<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'s [u8]> {
        let named = self.0.iter().filter(move |(known, _)| known.contains(name));
        named.map(|(_, bytes)| &bytes[..])
    }

    /// That none of these is in any place, nor one of its spellings (as is, hex, base64).
    ///
    /// # Errors
    ///
    /// Says how many were found; names each place, what it holds, and what stands around it.
    pub fn hold_none_of<'s>(&self, secrets: impl IntoIterator<Item = &'s str>) -> Result<()> {
        let mut found = Vec::new();
        for secret in secrets {
            ensure!(secret.len() >= 3, "{secret:?} is too short to look for");
            for (form, spelt) in spellings(secret) {
                let finder = memmem::Finder::new(&spelt);
                for (place, bytes) in &self.0 {
                    if let Some(at) = finder.find(bytes) {
                        let around =
                            at.saturating_sub(150)..(at + spelt.len() + 40).min(bytes.len());
                        let around = String::from_utf8_lossy(&bytes[around]);
                        found.push(format!("{place} holds {secret} {form}: …{around}…"));
                    }
                }
            }
        }
        let text = found.join("\n");
        ensure!(found.is_empty(), "{} places:\n{text}", found.len());
        Ok(())
    }
}

/// How short a secret may be for it to be unlike anything by chance when it is written otherwise.
const UNLIKE: usize = 8;

/// A secret as it is, in hexadecimal, and in base64 wherever it begins there.
fn spellings(secret: &str) -> Vec<(&'static str, Vec<u8>)> {
    let bytes = secret.as_bytes();
    let mut spellings = vec![("as it is", bytes.to_vec())];
    if bytes.len() < UNLIKE {
        return spellings;
    }
    let hexadecimal = bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    });
    let capital = hexadecimal.to_uppercase();
    spellings.push(("in capital hexadecimal", capital.into_bytes()));
    spellings.push(("in hexadecimal", hexadecimal.into_bytes()));
    for before in 0..3 {
        let padded = [&b"\0\0"[..before], bytes].concat();
        // What depends on neighbours is cut off on both sides.
        let whole = base64(&padded[..padded.len() - padded.len() % 3]);
        let own = whole.get(if before == 0 { 0 } else { 4 }..);
        spellings.push(("in base64", own.unwrap_or_default().as_bytes().to_vec()));
    }
    spellings
}

/// Of bytes in groups of three.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks_exact(3) {
        let word = group
            .iter()
            .fold(0_usize, |word, byte| word << 8 | usize::from(*byte));
        for shift in [18, 12, 6, 0] {
            text.push(char::from(ALPHABET[word >> shift & 63]));
        }
    }
    text
}

/// Fails when something goes away meanwhile: what it held may be in a file by now that was listed as not there.
fn files(folder: &Path, found: &mut Vec<(String, Vec<u8>)>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let (path, kind) = (entry.path(), entry.file_type()?);
        if kind.is_dir() {
            files(&path, found)?;
        } else if kind.is_file() {
            found.push((path.display().to_string(), fs::read(&path)?));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_found_and_named() {
        let mut places = Places::default();
        places.add("a page", "nothing");
        places.add("a file", b"\0\xffsecret\xff".to_vec());
        assert!(places.some_holds("file", "secret") && !places.some_holds("page", "secret"));
        let found = places.hold_none_of(["other", "secret"]);
        assert_eq!(
            found.map_err(|error| error.to_string()),
            Err("1 places:\na file holds secret as it is: …\0\u{fffd}secret\u{fffd}…".to_owned())
        );
    }

    #[test]
    fn a_secret_is_found_in_each_of_its_spellings() {
        for place in [
            "x qzxliteralw0vkj",
            "717a786c69746572616c7730766b6a",
            "717A786C69746572616C7730766B6A",
            "cXp4bGl0ZXJhbHcwdmtq",
            "AHF6eGxpdGVyYWx3MHZrag==",
            "AABxenhsaXRlcmFsdzB2a2o=",
        ] {
            let mut places = Places::default();
            places.add("a place", place);
            assert!(places.hold_none_of(["qzxliteralw0vkj"]).is_err(), "{place}");
            assert!(places.hold_none_of(["qzxliteralw1vkj"]).is_ok(), "{place}");
        }
    }
}
