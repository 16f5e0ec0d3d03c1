//! The search for what must be nowhere: secrets, literals, masked values.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::agent::Agent;

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
        for file in files(&agent.state_folder())? {
            let bytes =
                fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
            places.add(file.display().to_string(), bytes);
        }
        Ok(places)
    }

    /// One more.
    pub fn add(&mut self, name: impl Into<String>, bytes: impl Into<Vec<u8>>) {
        self.0.push((name.into(), bytes.into()));
    }

    /// Whether a place whose name has `name` in it holds `text`, which may be empty: a search that finds nothing has to
    /// have looked there.
    #[must_use]
    pub fn some_holds(&self, name: &str, text: &str) -> bool {
        let mut named = self.0.iter().filter(|(known, _)| known.contains(name));
        named.any(|(_, bytes)| holds(bytes, text))
    }

    /// That none of these is in any place.
    ///
    /// # Errors
    ///
    /// Names the place and what it holds.
    pub fn hold_none_of<'s>(&self, secrets: impl IntoIterator<Item = &'s str>) -> Result<()> {
        for secret in secrets {
            ensure!(secret.len() >= 3, "{secret:?} is too short to look for");
            for (name, bytes) in &self.0 {
                ensure!(!holds(bytes, secret), "{name} holds {secret}");
            }
        }
        Ok(())
    }
}

fn holds(bytes: &[u8], text: &str) -> bool {
    memchr::memmem::find(bytes, text.as_bytes()).is_some()
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut all = Vec::new();
    let entries =
        fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            all.extend(files(&path)?);
        } else if path.is_file() {
            all.push(path);
        }
    }
    Ok(all)
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
            Err("a file holds secret".to_owned())
        );
    }
}
