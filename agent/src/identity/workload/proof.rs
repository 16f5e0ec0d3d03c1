//! What proves an entry: where its token comes from, and what the token must say.

use std::{
    io::{self, Read},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use weir_policy::PrincipalKind;

#[cfg(feature = "spiffe")]
use super::caller::Brokered;
use super::{Instance, WorkloadError, projected::Projected};
use crate::identity::{
    issuers::Issuers,
    oauth_client::{OauthClient, OauthError},
    settings::WorkloadSettings,
    token::{TOKEN_BYTES, TokenError, Verified},
};
#[cfg(feature = "spiffe")]
use crate::identity::{
    settings::SpiffeApi,
    spiffe::{Broker, Spiffe, SpiffeError},
};

/// Why an entry is not proved at the moment.
#[derive(Debug, thiserror::Error)]
pub enum ProofError {
    /// The token file.
    #[error("cannot read the token file {path}")]
    Read {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// One pod, two tokens: which one is meant?
    #[error("more than one token matches, as {path}")]
    SeveralTokens {
        /// One of them.
        path: PathBuf,
    },
    /// The issuer gives none.
    #[error("the issuer gives no token")]
    Oauth(#[from] OauthError),
    /// The token breaks a rule.
    #[error("the token is refused")]
    Token(#[from] TokenError),
    /// Neither API gives any.
    #[cfg(feature = "spiffe")]
    #[error("SPIFFE gives no proof")]
    Spiffe(#[from] SpiffeError),
    /// The token is somebody else's.
    #[error("the token is for {found:?}, not for a workload as the entry says")]
    Subject {
        /// The token's subject.
        found: String,
    },
    /// A token that Kubernetes did not project into a pod.
    #[error("the token names no pod")]
    NoPod,
    /// Another pod's token.
    #[error("the token is for pod {found}, and lies with pod {expected}")]
    OtherPod {
        /// The pod that the cgroup names.
        expected: String,
        /// The pod that the token names.
        found: String,
    },
}

/// Where an entry's token comes from.
#[derive(Debug)]
pub(super) enum Proof {
    /// Somebody puts it into a file and replaces it in time.
    TokenFile(PathBuf),
    /// weir asks for it.
    ClientCredentials(OauthClient),
    /// Kubernetes puts one into each pod.
    Projected(Projected),
    /// The node's agent gives one.
    #[cfg(feature = "spiffe")]
    Spiffe(Spiffe),
    /// It gives one for each process.
    #[cfg(feature = "spiffe")]
    Brokered(Brokered),
}

impl Proof {
    pub(super) fn parse(entry: &WorkloadSettings) -> Result<Self, WorkloadError> {
        let name = || entry.name.clone();
        if entry.k8s.is_some() && entry.kubernetes.is_none() {
            return Err(WorkloadError::PodWithoutToken { name: name() });
        }
        match (
            &entry.token_file,
            &entry.client_credentials,
            &entry.kubernetes,
            &entry.spiffe,
        ) {
            (Some(path), None, None, None) => Ok(Self::TokenFile(path.clone())),
            (None, Some(client), None, None) => OauthClient::parse(client)
                .map(Self::ClientCredentials)
                .map_err(|source| WorkloadError::Client {
                    name: name(),
                    source,
                }),
            (None, None, Some(kubernetes), None) => {
                Projected::parse(&kubernetes.token_file, entry.k8s.as_ref())
                    .map(Self::Projected)
                    .ok_or_else(|| WorkloadError::Selector {
                        name: name(),
                        selector: "kubernetes.token_file",
                        value: kubernetes.token_file.clone(),
                    })
            }
            #[cfg(feature = "spiffe")]
            (None, None, None, Some(settings)) => match settings.api {
                SpiffeApi::Workload => Spiffe::parse(settings).map(Self::Spiffe),
                SpiffeApi::Broker => {
                    Broker::parse(settings).map(|broker| Self::Brokered(Brokered::by(broker)))
                }
            }
            .map_err(|source| WorkloadError::Spiffe {
                name: name(),
                source,
            }),
            #[cfg(not(feature = "spiffe"))]
            (None, None, None, Some(_)) => Err(WorkloadError::NoSpiffe { name: name() }),
            _ => Err(WorkloadError::Proofs { name: name() }),
        }
    }

    /// What it is, for people.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::TokenFile(_) => "its token file",
            Self::ClientCredentials(_) => "a token that weir asked the issuer for",
            Self::Projected(_) => "the token of its pod",
            #[cfg(feature = "spiffe")]
            Self::Spiffe(_) => "a JWT-SVID of the SPIFFE Workload API",
            #[cfg(feature = "spiffe")]
            Self::Brokered(_) => "a JWT-SVID of the SPIFFE Broker API for this very process",
        }
    }

    /// Whether somebody makes it for weir: then not more often than need be.
    pub(super) fn is_asked_for(&self) -> bool {
        match self {
            Self::ClientCredentials(_) => true,
            #[cfg(feature = "spiffe")]
            Self::Brokered(_) => true,
            _ => false,
        }
    }

    /// The proof of one instance: of a pod, or of the whole entry where it is one identity. `None`: that pod has none.
    pub(super) async fn obtain(
        &self,
        instance: &Instance,
        subject: Option<&String>,
        issuers: &Issuers,
    ) -> Result<Option<Verified>, ProofError> {
        let token = match self {
            Self::TokenFile(path) => read_token(path).map_err(|source| ProofError::Read {
                path: path.clone(),
                source,
            })?,
            Self::ClientCredentials(client) => client.token(issuers).await?.expose().to_owned(),
            Self::Projected(projected) => {
                let Instance::Pod(uid) = instance else {
                    return Ok(None);
                };
                match projected.read(uid)? {
                    Some(token) => token,
                    None => return Ok(None),
                }
            }
            // By the trust domain's keys rather than an issuer's.
            #[cfg(feature = "spiffe")]
            Self::Spiffe(spiffe) => return Ok(Some(spiffe.obtain().await?)),
            // Asked about all its processes together.
            #[cfg(feature = "spiffe")]
            Self::Brokered(_) => return Ok(None),
        };
        let verified = issuers.verify(token.trim()).await?;
        if let Instance::Pod(uid) = instance {
            Projected::check(uid, &verified)?;
        }
        let principal = &verified.principal;
        let is_expected = subject.is_none_or(|subject| *subject == principal.subject);
        if principal.kind == PrincipalKind::Agent || !is_expected {
            return Err(ProofError::Subject {
                found: principal.subject.clone(),
            });
        }
        Ok(Some(verified))
    }
}

/// Reads at most one byte more than a token may have, and never waits on a pipe.
pub(crate) fn read_token(path: &Path) -> io::Result<String> {
    let file = std::fs::OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let mut text = String::new();
    file.take(TOKEN_BYTES as u64 + 2)
        .read_to_string(&mut text)?;
    Ok(text)
}
