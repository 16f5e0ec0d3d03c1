//! A pack's files as bytes, before anything is made of them.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::finding::PackError;

/// A pack's files, by name; sorted, so that equal folders are equal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sources {
    path: PathBuf,
    files: Vec<(String, String)>,
}

impl Sources {
    /// Reads every `*.yaml` file of the folder itself, not of folders in it.
    ///
    /// # Errors
    ///
    /// [`PackError::Read`] when the folder or a file cannot be read, is larger than 4 MiB or is not UTF-8, and when a
    /// file ends in `.yml`, which would otherwise be left out in silence; [`PackError::Empty`] when there is none.
    pub fn read(folder: &Path) -> Result<Self, PackError> {
        let mut files = Vec::new();
        for name in names(folder).map_err(|source| failure(folder, source))? {
            let path = folder.join(&name);
            let text = read_text(&path).map_err(|source| failure(&path, source))?;
            files.push((name, text));
        }
        if files.is_empty() {
            return Err(PackError::Empty {
                path: folder.to_owned(),
            });
        }
        Ok(Self::from_files(folder, files))
    }

    /// Files that are in memory already; `path` is only shown.
    #[must_use]
    pub fn from_files(path: &Path, mut files: Vec<(String, String)>) -> Self {
        files.sort();
        Self {
            path: path.to_owned(),
            files,
        }
    }

    /// Where they come from.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Name and text of each, sorted by name: what a digest is taken over.
    pub fn files(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files
            .iter()
            .map(|(name, text)| (name.as_str(), text.as_str()))
    }

    pub(crate) fn file(&self, wanted: &str) -> Option<&str> {
        self.files()
            .find(|(name, _)| *name == wanted)
            .map(|(_, text)| text)
    }

    /// The files that hold rules.
    pub(crate) fn rule_files(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files()
            .filter(|(name, _)| ![CLASSES, CASES].contains(name))
    }
}

fn names(folder: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        let Some(name) = name.to_str().filter(|name| !name.starts_with('.')) else {
            continue;
        };
        let extension = Path::new(name)
            .extension()
            .and_then(|extension| extension.to_str());
        match extension {
            Some("yaml") => names.push(name.to_owned()),
            Some(other)
                if other.eq_ignore_ascii_case("yml") || other.eq_ignore_ascii_case("yaml") =>
            {
                return Err(io::Error::other(format!(
                    "{name} would be left out; rename it to end in .yaml"
                )));
            }
            _ => {}
        }
    }
    Ok(names)
}

fn read_text(path: &Path) -> io::Result<String> {
    let bytes = fs::metadata(path)?.len();
    if bytes > MAX_FILE_BYTES {
        return Err(io::Error::other(format!(
            "{bytes} bytes are more than the {MAX_FILE_BYTES} a policy file may have"
        )));
    }
    fs::read_to_string(path)
}

fn failure(path: &Path, source: io::Error) -> PackError {
    PackError::Read {
        path: path.to_owned(),
        source,
    }
}

/// What data is.
pub(crate) const CLASSES: &str = "classes.yaml";
/// What the pack promises.
pub(crate) const CASES: &str = "cases.yaml";
/// Far more than anybody writes by hand.
const MAX_FILE_BYTES: u64 = 4 << 20;
