//! Which image a container was made of, as the runtime's own files on this host say.

use std::{
    collections::HashMap,
    fs,
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use serde_json::Value;

/// Looks containers up, and remembers: a container's image never changes.
#[derive(Debug)]
pub(crate) struct Images {
    root: PathBuf,
    known: Mutex<HashMap<String, Vec<String>>>,
}

impl Default for Images {
    fn default() -> Self {
        Self::below("/".into())
    }
}

impl Images {
    /// With the runtimes' folders below `root`.
    fn below(root: PathBuf) -> Self {
        Self {
            root,
            known: Mutex::default(),
        }
    }

    /// Whether the container is of an image with that digest. One that no runtime knows is of none.
    pub(super) fn is_of(&self, container: &str, digest: &str) -> bool {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(digests) = known.get(container) {
            return digests.iter().any(|known| known == digest);
        }
        let digests: Vec<String> = RECORDS
            .iter()
            .filter_map(|record| record.replace("{id}", container).into())
            .filter_map(|path| read(&self.root.join(path)).ok())
            .flat_map(|record| digests_in(&record))
            .collect();
        let is_of = digests.iter().any(|known| known == digest);
        // A runtime writes its files before it starts a process, but not all at once.
        if !digests.is_empty() {
            if known.len() >= REMEMBERED {
                known.clear();
            }
            known.insert(container.to_owned(), digests);
        }
        is_of
    }
}

/// Docker's own record, and the bundles of containerd (for Kubernetes and for Docker), CRI-O and Podman.
const RECORDS: &[&str] = &[
    "var/lib/docker/containers/{id}/config.v2.json",
    "run/containerd/io.containerd.runtime.v2.task/k8s.io/{id}/config.json",
    "run/containerd/io.containerd.runtime.v2.task/moby/{id}/config.json",
    "run/containers/storage/overlay-containers/{id}/userdata/config.json",
    "var/lib/containers/storage/overlay-containers/{id}/userdata/config.json",
];

/// Where bundles name the image. A name counts when it names a digest (`shop/billing@sha256:…`).
const ANNOTATIONS: &[&str] = &[
    "io.kubernetes.cri.image-name",
    "io.kubernetes.cri-o.ImageRef",
    "io.kubernetes.cri-o.ImageName",
];

fn digests_in(record: &Value) -> Vec<String> {
    let annotations = ANNOTATIONS
        .iter()
        .filter_map(|name| record.get("annotations")?.get(*name)?.as_str());
    record
        .get("Image")
        .and_then(Value::as_str)
        .into_iter()
        .chain(annotations)
        .filter_map(|name| Some(name.rsplit('@').next()?.to_owned()))
        .filter(|digest| is_digest(digest))
        .collect()
}

/// `sha256:` and 64 hexadecimal digits.
pub(super) fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:").is_some_and(|digits| {
        digits.len() == 64
            && digits
                .bytes()
                .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
    })
}

/// Reads a record that root alone may write.
fn read(path: &Path) -> io::Result<Value> {
    let file = fs::File::open(path)?;
    let data = file.metadata()?;
    if !data.is_file() || data.uid() != 0 || data.mode() & 0o022 != 0 {
        return Err(io::Error::other("not root's own file"));
    }
    let mut text = Vec::new();
    file.take(RECORD_BYTES).read_to_end(&mut text)?;
    Ok(serde_json::from_slice(&text)?)
}

const RECORD_BYTES: u64 = 1024 * 1024;
const REMEMBERED: usize = 4_096;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn written(root: &Path, record: &str, id: &str, text: &str) -> PathBuf {
        let file = root.join(record.replace("{id}", id));
        fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
        fs::write(&file, text).expect("a file");
        file
    }

    #[test]
    fn docker_and_the_bundles_of_others_name_digests() {
        let root = tempfile::tempdir().expect("a folder");
        let digest = format!("sha256:{}", "c".repeat(64));
        let (docker, cri) = ("a".repeat(64), "b".repeat(64));
        written(
            root.path(),
            RECORDS[0],
            &docker,
            &format!(r#"{{"ID":"x","Image":"{digest}"}}"#),
        );
        let bundle = format!(
            r#"{{"annotations":{{"io.kubernetes.cri.image-name":"shop/billing@{digest}"}}}}"#
        );
        written(root.path(), RECORDS[1], &cri, &bundle);
        let images = Images::below(root.path().to_owned());
        assert!(images.is_of(&docker, &digest) && images.is_of(&cri, &digest));
        assert!(!images.is_of(&docker, &format!("sha256:{}", "d".repeat(64))));
        assert!(!images.is_of(&"e".repeat(64), &digest));
    }

    #[test]
    fn a_tag_is_no_digest_and_a_file_that_others_may_write_says_nothing() {
        let root = tempfile::tempdir().expect("a folder");
        let digest = format!("sha256:{}", "c".repeat(64));
        let (tagged, open) = ("a".repeat(64), "b".repeat(64));
        let bundle = r#"{"annotations":{"io.kubernetes.cri.image-name":"shop/billing:latest"}}"#;
        written(root.path(), RECORDS[1], &tagged, bundle);
        let file = written(
            root.path(),
            RECORDS[0],
            &open,
            &format!(r#"{{"Image":"{digest}"}}"#),
        );
        fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).expect("a mode");
        let images = Images::below(root.path().to_owned());
        assert!(!images.is_of(&tagged, &digest) && !images.is_of(&open, &digest));
    }
}
