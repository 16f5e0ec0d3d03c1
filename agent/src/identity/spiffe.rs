//! A service's proof from SPIFFE: a JWT-SVID for exactly the id that its entry names.
//!
//! The agent of the node (SPIRE's, most often) is asked over its unix socket, and what it answers is verified here: by the
//! keys of the id's own trust domain, which are fetched with each token, so that a rotation needs no more and no stream
//! has to stay open. By the Workload API ([`Spiffe`]) it answers for weir, which has to be registered for the id itself;
//! by the Broker API ([`Broker`]) for one process, whose own registration counts.

mod broker;
mod error;
mod socket;
mod tls;

use std::{path::Path, time::Duration};

use aws_lc_rs::digest;
use spiffe::{JwtBundleSet, JwtSvid, SpiffeId, WorkloadApiClient};
use weir_policy::{Principal, PrincipalKind};

use self::socket::Socket;
use super::{
    settings::SpiffeSettings,
    token::{Extra, TOKEN_BYTES, Verified},
};

pub(crate) use broker::Broker;
pub(crate) use error::SpiffeError;

/// The proof of an entry that weir itself is registered for.
#[derive(Debug)]
pub(crate) struct Spiffe {
    socket: Socket,
    expected: Expected,
}

impl Spiffe {
    /// Reads an entry's settings; asks nobody.
    pub(crate) fn parse(settings: &SpiffeSettings) -> Result<Self, SpiffeError> {
        if settings.workload_socket.is_some() || settings.server_id.is_some() {
            return Err(SpiffeError::BrokersAlone);
        }
        Ok(Self {
            socket: Socket::parse(&settings.socket)?,
            expected: Expected::parse(settings)?,
        })
    }

    /// Fetches a token and the keys, and verifies the one by the other.
    pub(crate) async fn obtain(&self) -> Result<Verified, SpiffeError> {
        let socket = self.socket.checked()?;
        tokio::time::timeout(LIMIT, self.fetch(&socket))
            .await
            .map_err(|_| SpiffeError::TooSlow)?
    }

    async fn fetch(&self, socket: &Path) -> Result<Verified, SpiffeError> {
        let Expected { id, audience } = &self.expected;
        let client = connect(socket).await.map_err(SpiffeError::Fetch)?;
        let token = client
            .fetch_jwt_token([audience], Some(id))
            .await
            .map_err(SpiffeError::Fetch)?;
        // After the token: a key that it was signed with a moment ago is among them.
        let keys = client
            .fetch_jwt_bundles()
            .await
            .map_err(SpiffeError::Keys)?;
        self.expected.verify(&token, &keys)
    }
}

/// What a token must say.
#[derive(Debug, Clone)]
struct Expected {
    id: SpiffeId,
    audience: String,
}

impl Expected {
    fn parse(settings: &SpiffeSettings) -> Result<Self, SpiffeError> {
        if settings.audience.is_empty() {
            return Err(SpiffeError::Audience);
        }
        Ok(Self {
            id: parse_id(&settings.id)?,
            audience: settings.audience.clone(),
        })
    }

    fn verify(&self, token: &str, keys: &JwtBundleSet) -> Result<Verified, SpiffeError> {
        if token.len() > TOKEN_BYTES {
            return Err(SpiffeError::TooLong { bytes: token.len() });
        }
        let svid = JwtSvid::parse_and_validate(token, keys, &[&self.audience])
            .map_err(SpiffeError::Token)?;
        if *svid.spiffe_id() != self.id {
            return Err(SpiffeError::OtherId {
                found: svid.spiffe_id().to_string(),
                expected: self.id.to_string(),
            });
        }
        Ok(Verified {
            principal: self.principal(),
            not_after_s: svid.expiry().unix_timestamp(),
            fingerprint: hex::encode(digest::digest(&digest::SHA256, token.as_bytes())),
            development: false,
            account: None,
            extra: Extra::default(),
        })
    }

    fn principal(&self) -> Principal {
        Principal {
            issuer: self.id.trust_domain().id_string(),
            subject: self.id.to_string(),
            kind: PrincipalKind::Workload,
            display: self.id.to_string(),
            groups: Vec::new(),
            groups_complete: true,
            auth_time: None,
            acr: None,
            amr: Vec::new(),
            claims: std::collections::BTreeMap::new(),
        }
    }
}

/// A service's id: the trust domain's own is nobody's in it.
fn parse_id(text: &str) -> Result<SpiffeId, SpiffeError> {
    let failed = |source| SpiffeError::Id {
        id: text.to_owned(),
        source,
    };
    let id = SpiffeId::new(text).map_err(|source| failed(Some(source)))?;
    if id.path().is_empty() {
        return Err(failed(None));
    }
    Ok(id)
}

async fn connect(socket: &Path) -> Result<WorkloadApiClient, spiffe::WorkloadApiError> {
    WorkloadApiClient::connect_to(format!("unix:{}", socket.display())).await
}

/// It answers from memory, over a socket of this host.
const LIMIT: Duration = Duration::from_secs(5);

#[cfg(test)]
pub(super) mod tests;
