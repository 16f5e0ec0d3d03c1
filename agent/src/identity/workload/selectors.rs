//! Which processes an entry means.

use std::path::PathBuf;

use super::{
    WorkloadError,
    exe_hash::{Digest, ExeHashes},
    images::{Images, is_digest},
    pattern::{is_anchored, is_below, matches_part},
    place::{self, Place, only_root_fills},
};
use crate::identity::{
    cgroups::Cgroups,
    evidence::Evidence,
    process::{Processes, Sighting},
    settings::WorkloadSettings,
};

/// A process, and where to look for what is not observed of every process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Look<'a> {
    pub(crate) seen: &'a Sighting,
    pub(crate) evidence: &'a Evidence,
    pub(crate) processes: &'a Processes,
    pub(crate) cgroups: &'a Cgroups,
    pub(crate) hashes: &'a ExeHashes,
    pub(crate) images: &'a Images,
}

/// Whether a process is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Match {
    /// It is not.
    No,
    /// It may be: something has to be found out first.
    Pending,
    /// It is.
    Yes,
}

/// The selectors of one entry, each to be satisfied.
#[derive(Debug)]
pub(super) struct Selectors {
    unit: Option<String>,
    cgroup: Option<String>,
    exe: Option<PathBuf>,
    digest: Option<Digest>,
    uid: Option<u32>,
    image: Option<String>,
    pod: bool,
    weak: bool,
}

impl Selectors {
    pub(super) fn parse(entry: &WorkloadSettings) -> Result<Self, WorkloadError> {
        let name = || entry.name.clone();
        let by_root = entry.systemd_unit.is_some()
            || entry.cgroup.is_some()
            || entry.uid.is_some()
            || entry.image_digest.is_some()
            || entry.k8s.is_some();
        if !by_root && entry.exe.is_none() && entry.exe_sha256.is_none() {
            return Err(WorkloadError::NoSelector { name: name() });
        }
        if !by_root && !entry.weak {
            return Err(WorkloadError::Weak { name: name() });
        }
        let wrong = |selector, value: &str| WorkloadError::Selector {
            name: name(),
            selector,
            value: value.to_owned(),
        };
        if let Some(pattern) = entry.cgroup.as_ref().filter(|it| !is_anchored(it)) {
            return Err(WorkloadError::Pattern {
                name: name(),
                pattern: pattern.clone(),
            });
        }
        if let Some(unit) = entry.systemd_unit.as_ref().filter(|it| !is_unit_name(it)) {
            return Err(wrong("systemd_unit", unit));
        }
        if let Some(digest) = entry.image_digest.as_ref().filter(|it| !is_digest(it)) {
            return Err(wrong("image_digest", digest));
        }
        let digest = match &entry.exe_sha256 {
            None => None,
            Some(text) => {
                let bytes = hex::decode(text).map_err(|_| wrong("exe_sha256", text))?;
                Some(bytes.try_into().map_err(|_| wrong("exe_sha256", text))?)
            }
        };
        Ok(Self {
            unit: entry.systemd_unit.clone(),
            cgroup: entry.cgroup.clone(),
            exe: entry.exe.clone(),
            digest,
            uid: entry.uid,
            image: entry.image_digest.clone(),
            pod: entry.k8s.is_some() || entry.kubernetes.is_some(),
            weak: entry.weak,
        })
    }

    /// Whether a process without privilege could satisfy them by itself.
    pub(super) fn are_weak(&self) -> bool {
        self.weak
    }

    /// What is known at once is asked first: the rest is looked up only for a process that is meant otherwise.
    pub(super) fn of(&self, look: &Look<'_>) -> Match {
        let evidence = look.evidence;
        let path = evidence.cgroup_path.as_str();
        let at_once = self.uid.is_none_or(|uid| uid == evidence.uid)
            && self.is_in_cgroup(look.cgroups, path)
            && self.is_of_unit(look.cgroups, path)
            && (!self.pod || self.pod_uid(look.cgroups, path).is_some());
        if !at_once || !self.is_of_image(look, path) {
            return Match::No;
        }
        if evidence.gone && (self.exe.is_some() || self.digest.is_some()) {
            return Match::Pending;
        }
        let exe = self.exe.as_ref();
        if exe.is_some_and(|exe| exe.as_os_str() != evidence.exe_path.as_str()) {
            return Match::No;
        }
        let Some(wanted) = &self.digest else {
            return Match::Yes;
        };
        let file = look.processes.open_exe(look.seen);
        match file.and_then(|file| look.hashes.of(file)) {
            None => Match::Pending,
            Some(digest) if digest == *wanted => Match::Yes,
            Some(_) => Match::No,
        }
    }

    /// The pod that a cgroup belongs to, where root alone can have put a process there.
    pub(super) fn pod_uid(&self, cgroups: &Cgroups, path: &str) -> Option<String> {
        let (place, uid) = place::pod(path)?;
        self.is_trusted(cgroups, place).then_some(uid)
    }

    /// Hashes the program file before anybody runs it.
    pub(super) fn prepare(&self, hashes: &ExeHashes) {
        if let (Some(exe), Some(_)) = (&self.exe, &self.digest)
            && let Ok(file) = std::fs::File::open(exe)
        {
            let _ = hashes.of(file);
        }
    }

    fn is_in_cgroup(&self, cgroups: &Cgroups, path: &str) -> bool {
        let Some(pattern) = &self.cgroup else {
            return true;
        };
        is_below(pattern, path)
            && place::at_depth(pattern, path).is_some_and(|place| self.is_trusted(cgroups, place))
    }

    fn is_of_unit(&self, cgroups: &Cgroups, path: &str) -> bool {
        let Some(wanted) = &self.unit else {
            return true;
        };
        place::unit(cgroups.watched(), path).is_some_and(|place| {
            matches_part(wanted.as_bytes(), place.name.as_bytes())
                && self.is_trusted(cgroups, place)
        })
    }

    fn is_of_image(&self, look: &Look<'_>, path: &str) -> bool {
        let Some(wanted) = &self.image else {
            return true;
        };
        place::container(path).is_some_and(|place| {
            self.is_trusted(look.cgroups, place) && look.images.is_of(place.name, wanted)
        })
    }

    fn is_trusted(&self, cgroups: &Cgroups, place: Place<'_>) -> bool {
        self.weak || only_root_fills(cgroups, place)
    }
}

fn is_unit_name(text: &str) -> bool {
    let (stem, suffix) = text.rsplit_once('.').unwrap_or_default();
    !stem.is_empty() && matches!(suffix, "service" | "scope") && !text.contains('/')
}
