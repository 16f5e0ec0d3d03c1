//! The tokens that Kubernetes projects into pods, as they lie on the node.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use super::{
    ProofError, asked::Asked, pattern::matches_part, place::is_pod_uid, proof::read_token,
};
use crate::identity::{
    settings::PodSettings,
    token::{PodClaim, Verified},
};

/// Finds pods' tokens and holds each against the pod it was found for.
#[derive(Debug)]
pub(super) struct Projected {
    /// Components; one is [`POD_UID`].
    template: Vec<String>,
    wanted: PodSettings,
    /// Pods that were seen to connect and have not been looked at.
    pub(super) asked: Asked<String>,
}

impl Projected {
    /// `None` when the path is not absolute or does not name the pod in exactly one component.
    pub(super) fn parse(template: &str, wanted: Option<&PodSettings>) -> Option<Self> {
        let template: Vec<String> = template
            .strip_prefix('/')?
            .split('/')
            .map(str::to_owned)
            .collect();
        let named = template.iter().filter(|part| *part == POD_UID).count();
        let is_plain = |part: &String| {
            part == POD_UID || !(part.is_empty() || part == ".." || part.contains(['{', '}']))
        };
        (named == 1 && template.iter().all(is_plain)).then(|| Self {
            template,
            wanted: wanted.cloned().unwrap_or_default(),
            asked: Asked::default(),
        })
    }

    /// The pods of this node, and those that were asked for.
    pub(super) fn pods(&self) -> BTreeSet<String> {
        let at = self.template.iter().position(|part| part == POD_UID);
        let above = at.map_or(&[][..], |at| &self.template[..at]);
        let mut pods = self.asked.take();
        for folder in expand(above) {
            pods.extend(names_in(&folder).filter(|name| is_pod_uid(name)));
        }
        pods
    }

    /// The pod's token; `None` when it has none.
    pub(super) fn read(&self, uid: &str) -> Result<Option<String>, ProofError> {
        let template: Vec<String> = self
            .template
            .iter()
            .map(|part| {
                if part == POD_UID {
                    uid.to_owned()
                } else {
                    part.clone()
                }
            })
            .collect();
        let mut found = expand(&template).into_iter();
        let (Some(path), others) = (found.next(), found.count()) else {
            return Ok(None);
        };
        if others > 0 {
            return Err(ProofError::SeveralTokens { path });
        }
        match read_token(&path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(ProofError::Read { path, source }),
        }
    }

    /// Whether a token is that pod's: its own words must name the pod that the cgroup names.
    pub(super) fn check(uid: &str, verified: &Verified) -> Result<PodClaim, ProofError> {
        let Some(pod) = &verified.extra.pod else {
            return Err(ProofError::NoPod);
        };
        if pod.uid == uid {
            Ok(pod.clone())
        } else {
            Err(ProofError::OtherPod {
                expected: uid.to_owned(),
                found: pod.uid.clone(),
            })
        }
    }

    /// Whether the entry means that pod.
    pub(super) fn means(&self, pod: &PodClaim) -> bool {
        let is = |wanted: &Option<String>, found: &str| {
            wanted.as_ref().is_none_or(|wanted| wanted == found)
        };
        is(&self.wanted.namespace, &pod.namespace)
            && is(&self.wanted.service_account, &pod.service_account)
            && self
                .wanted
                .pod
                .as_ref()
                .is_none_or(|wanted| matches_part(wanted.as_bytes(), pod.name.as_bytes()))
    }
}

/// The paths there are. Links are followed: Kubernetes swaps a token by changing one.
fn expand(template: &[String]) -> Vec<PathBuf> {
    let mut paths = vec![PathBuf::from("/")];
    for part in template {
        if !part.contains(['*', '?']) {
            for path in &mut paths {
                path.push(part);
            }
            continue;
        }
        paths = paths
            .iter()
            .flat_map(|folder| {
                names_in(folder)
                    .filter(|name| matches_part(part.as_bytes(), name.as_bytes()))
                    .map(|name| folder.join(name))
                    .collect::<Vec<_>>()
            })
            .collect();
    }
    paths.retain(|path| path.exists());
    paths
}

fn names_in(folder: &Path) -> impl Iterator<Item = String> {
    fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
}

/// What stands for the pod in a template.
const POD_UID: &str = "{pod_uid}";

#[cfg(test)]
mod tests {
    use super::*;

    const UID: &str = "8f1c2b6e-0d4a-4c55-9a53-0d8a0f6f7a11";

    #[test]
    fn a_template_names_the_pod_once() {
        let parse = |text: &str| Projected::parse(text, None).is_some();
        assert!(parse("/pods/{pod_uid}/volumes/*/token"));
        for wrong in [
            "pods/{pod_uid}/t",
            "/pods/t",
            "/{pod_uid}/{pod_uid}",
            "/p/x{pod_uid}",
            "/p/../{pod_uid}",
            "//{pod_uid}",
        ] {
            assert!(!parse(wrong), "{wrong}");
        }
    }

    #[test]
    fn tokens_are_found_by_their_pod() {
        let root = tempfile::tempdir().expect("a folder");
        let volume = root.path().join(UID).join("volumes/weir-a1");
        fs::create_dir_all(&volume).expect("folders");
        fs::create_dir(root.path().join("not-a-pod")).expect("a folder");
        let template = format!("{}/{{pod_uid}}/volumes/weir-*/token", root.path().display());
        let projected = Projected::parse(&template, None).expect("a template");
        assert_eq!(projected.pods().into_iter().collect::<Vec<_>>(), [UID]);
        assert!(matches!(projected.read(UID), Ok(None)));
        fs::write(volume.join("token"), "a.b.c").expect("a token");
        assert_eq!(
            projected.read(UID).expect("a token").as_deref(),
            Some("a.b.c")
        );
        let second = root.path().join(UID).join("volumes/weir-b2");
        fs::create_dir(&second).expect("a folder");
        fs::write(second.join("token"), "a.b.c").expect("a token");
        assert!(matches!(
            projected.read(UID),
            Err(ProofError::SeveralTokens { .. })
        ));
        let other = UID.replace('8', "9");
        assert!(projected.asked.add(other.clone()) && !projected.asked.add(other.clone()));
        assert_eq!(projected.pods().len(), 2);
        assert!(matches!(projected.read(&other), Ok(None)));
    }

    #[test]
    fn all_that_is_given_must_be_the_pods() {
        let pod = PodClaim {
            namespace: "shop".to_owned(),
            service_account: "billing".to_owned(),
            name: "billing-7d9-x2".to_owned(),
            uid: UID.to_owned(),
        };
        let means = |wanted: PodSettings| {
            Projected::parse("/{pod_uid}", Some(&wanted))
                .expect("a template")
                .means(&pod)
        };
        let text = |text: &str| Some(text.to_owned());
        assert!(means(PodSettings::default()));
        assert!(means(PodSettings {
            namespace: text("shop"),
            service_account: text("billing"),
            pod: text("billing-*")
        }));
        assert!(!means(PodSettings {
            namespace: text("sho"),
            ..PodSettings::default()
        }));
        assert!(!means(PodSettings {
            service_account: text("web"),
            ..PodSettings::default()
        }));
        assert!(!means(PodSettings {
            pod: text("web-*"),
            ..PodSettings::default()
        }));
    }
}
