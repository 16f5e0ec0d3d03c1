//! What a cgroup's path says, as far as root alone could have made it so.
//!
//! A path counts down to the first part that means something: whoever is given a subtree may build anything below it,
//! a container's root a whole copy of the host's tree. And it counts only where nobody but root can bring a process in
//! from outside, which takes the right to write to a cgroup that both places lie in.

use std::os::unix::fs::MetadataExt;

use crate::identity::cgroups::Cgroups;

/// A part of a path that means something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place<'a> {
    /// The part's own name.
    pub(super) name: &'a str,
    /// The path down to it.
    pub(super) path: &'a str,
}

/// The unit of the system's own manager: the first part below what weir watches that is no slice.
pub(super) fn unit<'a>(watched: &str, path: &'a str) -> Option<Place<'a>> {
    let skipped = if watched == "/" {
        0
    } else {
        path.strip_prefix(watched)?
            .starts_with('/')
            .then_some(watched.len())?
    };
    parts(path)
        .filter(|part| part.path.len() > skipped)
        .find(|part| !matches!(part.name.rsplit_once('.'), Some((_, "slice"))))
        .filter(|part| is_unit(part.name))
}

/// The pod: the first part named after one, with its uid as Kubernetes writes it.
pub(super) fn pod(path: &str) -> Option<(Place<'_>, String)> {
    for part in parts(path) {
        if let Some(uid) = pod_uid(part.name) {
            return Some((part, uid));
        }
        if is_unit(part.name) || container_id(part.name).is_some() {
            return None;
        }
    }
    None
}

/// The container: the outermost one.
pub(super) fn container(path: &str) -> Option<Place<'_>> {
    for part in parts(path) {
        if let Some(id) = container_id(part.name) {
            return Some(Place { name: id, ..part });
        }
        if is_unit(part.name) {
            return None;
        }
    }
    None
}

/// The part that a pattern of that many parts ends at.
pub(super) fn at_depth<'a>(pattern: &str, path: &'a str) -> Option<Place<'a>> {
    parts(path).nth(pattern.split('/').count().checked_sub(2)?)
}

/// Whether nobody but root can bring a process into this cgroup from outside, or make one of that path: all cgroups
/// above it are root's. Below it they may be the service's own.
pub(super) fn only_root_fills(cgroups: &Cgroups, place: Place<'_>) -> bool {
    let mut path = place.path;
    while let Some((above, _)) = path.rsplit_once('/') {
        if !is_roots(cgroups, above) {
            return false;
        }
        path = above;
    }
    true
}

fn is_roots(cgroups: &Cgroups, path: &str) -> bool {
    const OTHERS_WRITE: u32 = 0o022;
    let folder = cgroups.folder(path);
    [folder.join("cgroup.procs"), folder].iter().all(|file| {
        std::fs::metadata(file).is_ok_and(|data| data.uid() == 0 && data.mode() & OTHERS_WRITE == 0)
    })
}

fn parts(path: &str) -> impl Iterator<Item = Place<'_>> {
    let ends = path
        .match_indices('/')
        .map(|(at, _)| at)
        .skip(1)
        .chain([path.len()]);
    ends.filter_map(|end| {
        let path = path.get(..end)?;
        let (_, name) = path.rsplit_once('/')?;
        (!name.is_empty()).then_some(Place { name, path })
    })
}

fn is_unit(name: &str) -> bool {
    matches!(name.rsplit_once('.'), Some((_, "service" | "scope")))
}

/// `pod8f1c…` of one driver, `kubepods-burstable-pod8f1c_….slice` of the other.
fn pod_uid(name: &str) -> Option<String> {
    let uid = match name.strip_suffix(".slice") {
        Some(name) => name.rsplit_once("-pod")?.1.replace('_', "-"),
        None => name.strip_prefix("pod")?.to_owned(),
    };
    is_pod_uid(&uid).then_some(uid)
}

/// A UUID, or (of a static pod) 32 hexadecimal digits.
pub(super) fn is_pod_uid(text: &str) -> bool {
    let bare = text.replace('-', "");
    matches!((text.len(), bare.len()), (36 | 32, 32))
        && bare.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Runtimes name a container's cgroup by its 64 hexadecimal digits, with their own prefix and `.scope`.
fn container_id(name: &str) -> Option<&str> {
    let name = name.strip_suffix(".scope").unwrap_or(name);
    let id = name.rsplit(['-', ':']).next()?;
    let is_id = id.len() == 64
        && id
            .bytes()
            .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    is_id.then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    const UID: &str = "8f1c2b6e-0d4a-4c55-9a53-0d8a0f6f7a11";

    fn unit_of(path: &str) -> Option<&str> {
        unit("/", path).map(|place| place.name)
    }

    #[test]
    fn a_unit_is_the_system_managers() {
        let billing = Some("billing.service");
        assert_eq!(unit_of("/system.slice/billing.service"), billing);
        assert_eq!(unit_of("/system.slice/billing.service/worker"), billing);
        assert_eq!(
            unit_of("/user.slice/user-1000.slice/user@1000.service/app.slice/billing.service"),
            Some("user@1000.service")
        );
        let inside = format!(
            "/system.slice/docker-{}.scope/system.slice/billing.service",
            "a".repeat(64)
        );
        assert_ne!(unit_of(&inside), billing);
        assert_eq!(unit_of("/mine/billing.service"), None);
        assert_eq!(unit_of("/system.slice"), None);
        let watched = |path| unit("/lab", path).map(|place: Place<'_>| place.path);
        let below = "/lab/system.slice/billing.service";
        assert_eq!(watched(below), Some(below));
        assert_eq!(watched("/labs/system.slice/billing.service"), None);
        assert_eq!(watched("/lab"), None);
    }

    #[test]
    fn a_pod_is_told_by_both_drivers_and_not_from_within_a_container() {
        let uid = |path: &str| pod(path).map(|(_, uid)| uid);
        let found = Some(UID.to_owned());
        let written = UID.replace('-', "_");
        let slices = format!(
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{written}.slice"
        );
        assert_eq!(uid(&slices), found);
        assert_eq!(
            uid(&format!("{slices}/cri-containerd-{}.scope", "b".repeat(64))),
            found
        );
        assert_eq!(
            uid(&format!("/kubepods/burstable/pod{UID}/{}", "b".repeat(64))),
            found
        );
        assert_eq!(
            uid(&format!("/docker/{}/kubepods/pod{UID}", "b".repeat(64))),
            None
        );
        assert_eq!(
            uid(&format!("/user.slice/user@1000.service/kubepods/pod{UID}")),
            None
        );
        assert_eq!(uid("/kubepods/burstable/pod1234"), None);
        assert_eq!(uid("/podium"), None);
    }

    #[test]
    fn a_container_is_the_outermost_one() {
        let (outer, inner) = ("a".repeat(64), "b".repeat(64));
        let path = format!("/docker/{outer}/docker/{inner}");
        assert_eq!(
            container(&path).map(|place| place.name),
            Some(outer.as_str())
        );
        let scope = format!("/machine.slice/libpod-{inner}.scope/container");
        assert_eq!(
            container(&scope).map(|place| place.name),
            Some(inner.as_str())
        );
        let users = format!("/user.slice/user@1000.service/libpod-{inner}.scope");
        assert_eq!(container(&users), None);
    }

    #[test]
    fn a_pattern_ends_at_its_own_depth() {
        let place = at_depth("/a/b*", "/a/bc/d").expect("a part");
        assert_eq!((place.name, place.path), ("bc", "/a/bc"));
        assert_eq!(at_depth("/a/b/c", "/a/b"), None);
    }
}
