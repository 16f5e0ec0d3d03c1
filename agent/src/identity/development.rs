//! The development issuer: an identity provider for tests, the lab and the demonstration.
//!
//! It signs real tokens with a key it makes at start, and verification treats them like any others. It hands a token
//! for any of its users to any process of this host, so it listens on loopback only, and whoever trusts it says so in
//! every report.

use std::{collections::BTreeMap, io, net::SocketAddr, sync::Arc, time::Duration};

use jsonwebtoken::{Algorithm, EncodingKey, Header, jwk::Jwk};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use weir_policy::PrincipalKind;

use super::http::{self, Method, Request, Response};
use crate::clock;

/// The audience of every token.
pub const AUDIENCE: &str = "weir";

/// A token's life when the request does not say, and its bounds, in seconds.
const DEFAULT_TTL_S: u64 = 3_600;
const TTL_S: std::ops::RangeInclusive<u64> = 1..=3_600;

/// Clients served at a time; more wait.
const CLIENTS: usize = 64;

/// One of its users.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// The subject.
    pub name: String,
    /// Person, service or agent.
    pub kind: PrincipalKind,
    /// As the tokens will state them.
    #[serde(default)]
    pub groups: Vec<String>,
    /// Further claims, which row filters and rules may ask for by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub claims: BTreeMap<String, String>,
}

/// The file that `weir dev-idp --users` reads.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct UsersFile {
    user: Vec<User>,
}

/// Why the issuer cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum DevelopmentError {
    /// Others could reach it.
    #[error(
        "the development issuer hands out tokens without asking for a password: {address} is not a loopback address"
    )]
    NotLoopback {
        /// As asked for.
        address: SocketAddr,
    },
    /// The port.
    #[error("cannot listen on {address}")]
    Listen {
        /// As asked for.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The key.
    #[error("cannot make a signing key")]
    Key,
    /// The file of users.
    #[error("the users' file is not as expected ([[user]] name, kind, groups)")]
    Users(#[source] toml::de::Error),
}

/// An issuer that listens; [`Issuer::serve`] runs it.
#[derive(Debug)]
pub struct Issuer {
    listener: TcpListener,
    desk: Arc<Desk>,
}

/// What answers requests.
struct Desk {
    url: String,
    users: Vec<User>,
    key: EncodingKey,
    key_id: String,
    key_set: Value,
}

impl std::fmt::Debug for Desk {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Desk")
            .field("url", &self.url)
            .field("users", &self.users)
            .finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenRequest {
    #[serde(alias = "client")]
    user: String,
    ttl_seconds: Option<u64>,
}

impl Issuer {
    /// Makes a key and listens.
    ///
    /// # Errors
    ///
    /// [`DevelopmentError`] for an address that others can reach or that is taken.
    pub async fn open(address: SocketAddr, users: Vec<User>) -> Result<Self, DevelopmentError> {
        if !address.ip().is_loopback() {
            return Err(DevelopmentError::NotLoopback { address });
        }
        let listen = |source| DevelopmentError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(listen)?;
        let url = format!("http://{}", listener.local_addr().map_err(listen)?);
        let desk = Arc::new(Desk::new(url, users)?);
        Ok(Self { listener, desk })
    }

    /// Its address, which is also the `iss` of its tokens.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.desk.url
    }

    /// Answers requests until dropped.
    pub async fn serve(self) {
        let slots = Arc::new(Semaphore::new(CLIENTS));
        loop {
            let Ok(slot) = Arc::clone(&slots).acquire_owned().await else {
                return;
            };
            let Ok((client, _)) = self.listener.accept().await else {
                // Out of descriptors, mostly: they come back as clients leave.
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            let desk = Arc::clone(&self.desk);
            tokio::spawn(async move {
                desk.serve(client).await;
                drop(slot);
            });
        }
    }
}

/// The people of the lab and the demonstration.
#[must_use]
pub fn default_users() -> Vec<User> {
    // Where somebody works: for row filters.
    let region = |name: &str| match name {
        "alice" => Some("north"),
        "bob" => Some("south"),
        _ => None,
    };
    let user = |name: &str, kind, group: Option<&str>| User {
        name: name.to_owned(),
        kind,
        groups: group.map(str::to_owned).into_iter().collect(),
        claims: region(name)
            .map(|region| ("region".to_owned(), region.to_owned()))
            .into_iter()
            .collect(),
    };
    vec![
        user("alice", PrincipalKind::Human, Some("dba")),
        user("bob", PrincipalKind::Human, Some("analyst")),
        user("svc-billing", PrincipalKind::Workload, Some("billing")),
        user("churn-bot", PrincipalKind::Agent, None),
    ]
}

/// Reads a file of users: TOML, a `[[user]]` with `name`, `kind` and `groups` each.
///
/// # Errors
///
/// [`DevelopmentError::Users`] when it is anything else.
pub fn parse_users(text: &str) -> Result<Vec<User>, DevelopmentError> {
    toml::from_str::<UsersFile>(text)
        .map(|file| file.user)
        .map_err(DevelopmentError::Users)
}

impl Desk {
    fn new(url: String, users: Vec<User>) -> Result<Self, DevelopmentError> {
        use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)
            .map_err(|_| DevelopmentError::Key)?;
        let document = pair.to_pkcs8v1().map_err(|_| DevelopmentError::Key)?;
        let key = EncodingKey::from_ec_der(document.as_ref());
        let mut public =
            Jwk::from_encoding_key(&key, Algorithm::ES256).map_err(|_| DevelopmentError::Key)?;
        let key_id = public
            .thumbprint(jsonwebtoken::jwk::ThumbprintHash::SHA256)
            .map_err(|_| DevelopmentError::Key)?;
        public.common.key_id = Some(key_id.clone());
        Ok(Self {
            url,
            users,
            key,
            key_id,
            key_set: json!({ "keys": [public] }),
        })
    }

    async fn serve(&self, mut client: TcpStream) {
        let response = match http::read(&mut client).await {
            Ok(request) => self.answer(&request),
            Err(problem) => Response::error(problem.status(), problem.text()),
        };
        http::write(&mut client, response).await;
    }

    fn answer(&self, request: &Request) -> Response {
        // A web page in a browser of this host must not get tokens by a name that it made point here.
        if !self.is_own_host(&request.host) {
            return Response::error(403, "ask by the loopback address");
        }
        match (request.method, request.path.as_str()) {
            (Method::Get, "/.well-known/openid-configuration") => Response::ok(&self.discovery()),
            (Method::Get, "/jwks") => Response::ok(&self.key_set),
            (Method::Post, "/token") if request.is_json() => self.token(&request.body),
            (Method::Post, "/token") => Response::error(415, "send application/json"),
            _ => Response::error(404, "no such page"),
        }
    }

    fn is_own_host(&self, host: &str) -> bool {
        self.url.strip_prefix("http://") == Some(host)
    }

    fn discovery(&self) -> Value {
        json!({
            "issuer": self.url,
            "jwks_uri": format!("{}/jwks", self.url),
            "token_endpoint": format!("{}/token", self.url),
            "id_token_signing_alg_values_supported": ["ES256"],
            "weir_development": true,
        })
    }

    fn token(&self, body: &[u8]) -> Response {
        let Ok(request) = serde_json::from_slice::<TokenRequest>(body) else {
            return Response::error(400, "send {\"user\": NAME}");
        };
        let Some(user) = self.users.iter().find(|user| user.name == request.user) else {
            return Response::error(404, "no such user");
        };
        let ttl_s = request
            .ttl_seconds
            .unwrap_or(DEFAULT_TTL_S)
            .clamp(*TTL_S.start(), *TTL_S.end());
        let now_s = clock::now().as_secs();
        let mut claims = json!({
            "iss": self.url,
            "sub": user.name,
            "aud": AUDIENCE,
            "iat": now_s,
            "auth_time": now_s,
            "exp": now_s + ttl_s,
            "preferred_username": user.name,
            "groups": user.groups,
            "weir_kind": user.kind,
        });
        for (name, value) in &user.claims {
            // What the issuer states itself is not for a user's file to change.
            if claims.get(name).is_none() {
                claims[name] = json!(value);
            }
        }
        let header = Header {
            typ: Some("at+jwt".to_owned()),
            kid: Some(self.key_id.clone()),
            ..Header::new(Algorithm::ES256)
        };
        match jsonwebtoken::encode(&header, &claims, &self.key) {
            Ok(token) => Response::ok(
                &json!({ "access_token": token, "token_type": "Bearer", "expires_in": ttl_s }),
            ),
            Err(_) => Response::error(500, "cannot sign"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn other_than_loopback_addresses_are_refused() {
        for address in ["0.0.0.0:0", "192.0.2.1:0", "[::]:0"] {
            let address = address.parse().expect("an address");
            let opened = Issuer::open(address, default_users()).await;
            assert!(
                matches!(opened, Err(DevelopmentError::NotLoopback { .. })),
                "{address}"
            );
        }
    }

    #[test]
    fn a_page_under_another_name_gets_nothing() {
        let desk = Desk::new("http://127.0.0.1:9000".to_owned(), default_users()).expect("a key");
        let request = |host: &str, is_json: bool| Request {
            method: Method::Post,
            path: "/token".to_owned(),
            host: host.to_owned(),
            content_type: if is_json { "application/json" } else { "" }.to_owned(),
            authorization: String::new(),
            body: br#"{"user":"alice"}"#.to_vec(),
        };
        assert_eq!(desk.answer(&request("127.0.0.1:9000", true)).status, 200);
        assert_eq!(desk.answer(&request("evil.example:9000", true)).status, 403);
        assert_eq!(desk.answer(&request("127.0.0.1:9000", false)).status, 415);
    }

    #[test]
    fn users_are_read_from_a_file() {
        let users = parse_users("[[user]]\nname = \"eve\"\nkind = \"human\"\ngroups = [\"ops\"]\n")
            .expect("users");
        assert_eq!(
            (users[0].name.as_str(), users[0].kind),
            ("eve", PrincipalKind::Human)
        );
        assert!(parse_users("[[user]]\nname = \"eve\"\n").is_err());
    }
}
