//! A browser on this host (RFC 8252): the provider sends it back to a port of the agent with a code, which only who
//! began the login can use (PKCE, RFC 7636).

use std::{collections::HashMap, time::Duration};

use aws_lc_rs::{constant_time, digest};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use reqwest::Url;
use tokio::{
    net::{TcpListener, TcpStream},
    time,
};

use super::{Flow, LoginError, Prompt, Wanted, common_fields};
use crate::identity::{
    http::{self, Method, Request, Response},
    issuers::Issuer,
    oidc::{GrantError, Tokens, random_text},
    secret::Secret,
};

/// How long a person has.
const LIVES: Duration = Duration::from_mins(10);

/// Connections that bring no answer before the login is given up: somebody on this host is trying.
const STRANGERS: usize = 64;

const PATH: &str = "/callback";

/// A browser that is waited for.
#[derive(Debug)]
pub(super) struct Browser {
    listener: TcpListener,
    host: String,
    redirect: String,
    state: Secret,
    nonce: String,
    verifier: Secret,
    names_itself: bool,
}

pub(super) async fn begin(
    issuer: &Issuer,
    wanted: &Wanted,
) -> Result<(Prompt, Browser), LoginError> {
    let metadata = issuer
        .provider()
        .metadata()
        .await
        .map_err(GrantError::from)?;
    let endpoint = metadata
        .authorization_endpoint
        .as_deref()
        .ok_or(GrantError::NoEndpoint {
            endpoint: "authorization_endpoint",
        })?;
    let mut url = issuer
        .provider()
        .endpoint(endpoint)
        .map_err(GrantError::from)?;
    let listener = TcpListener::bind(("127.0.0.1", 0))
        .await
        .map_err(LoginError::Listen)?;
    let host = listener
        .local_addr()
        .map_err(LoginError::Listen)?
        .to_string();
    let random = || random_text().map_err(|_| LoginError::Internal);
    let browser = Browser {
        listener,
        redirect: format!("http://{host}{PATH}"),
        host,
        state: Secret::new(random()?),
        nonce: random()?,
        verifier: Secret::new(random()?),
        names_itself: metadata.authorization_response_iss_parameter_supported,
    };
    let hash = digest::digest(&digest::SHA256, browser.verifier.expose().as_bytes());
    let challenge = URL_SAFE_NO_PAD.encode(hash);
    let scope = issuer.settings().scope();
    let max_age = wanted.max_age_s.map(|seconds| seconds.to_string());
    let client = issuer.client().ok_or_else(|| LoginError::NoClient {
        issuer: issuer.settings().issuer.clone(),
    })?;
    url.query_pairs_mut()
        .append_pair("response_type", "code")
        .append_pair("client_id", client.id())
        .append_pair("redirect_uri", &browser.redirect)
        .append_pair("state", browser.state.expose())
        .append_pair("nonce", &browser.nonce)
        .append_pair("code_challenge", &challenge)
        .append_pair("code_challenge_method", "S256")
        .extend_pairs(common_fields(&scope, max_age.as_deref(), wanted));
    let prompt = Prompt {
        issuer: issuer.settings().issuer.clone(),
        flow: Flow::Browser,
        url: url.into(),
        code: None,
        url_complete: None,
        expires_s: LIVES.as_secs(),
    };
    Ok((prompt, browser))
}

impl Browser {
    pub(super) fn nonce(&self) -> &str {
        &self.nonce
    }

    /// Waits for the one answer and exchanges its code. The port is closed with the first answer that has the state.
    pub(super) async fn wait(self, issuer: &Issuer) -> Result<Tokens, LoginError> {
        let code = time::timeout(LIVES, self.answer(issuer))
            .await
            .map_err(|_| LoginError::Late)??;
        let client = issuer.client().ok_or(LoginError::Internal)?;
        let fields = [
            ("grant_type", "authorization_code"),
            ("code", code.expose()),
            ("redirect_uri", &self.redirect),
            ("code_verifier", self.verifier.expose()),
        ];
        Ok(issuer.provider().token(client, &fields).await?)
    }

    async fn answer(&self, issuer: &Issuer) -> Result<Secret, LoginError> {
        for _ in 0..STRANGERS {
            let (mut client, _) = self.listener.accept().await.map_err(LoginError::Listen)?;
            let Some(answer) = self.read(&mut client).await else {
                continue;
            };
            let judged = self.judge(&answer, &issuer.settings().issuer);
            let page = match &judged {
                Ok(_) => Response::page(200, DONE),
                Err(_) => Response::page(400, FAILED),
            };
            http::write(&mut client, page).await;
            return judged;
        }
        Err(LoginError::Answer {
            why: "too many others asked at its port",
        })
    }

    /// The parameters of a request that carries this login's state; all others are sent away.
    async fn read(&self, client: &mut TcpStream) -> Option<HashMap<String, String>> {
        let response = match http::read(client).await {
            Ok(request) => match self.parameters(&request) {
                Ok(answer) => return Some(answer),
                Err(status) => Response::page(status, FAILED),
            },
            Err(problem) => Response::error(problem.status(), problem.text()),
        };
        http::write(client, response).await;
        None
    }

    fn parameters(&self, request: &Request) -> Result<HashMap<String, String>, u16> {
        // A page under another name could have been made to point here.
        if request.host != self.host {
            return Err(403);
        }
        if request.method != Method::Get {
            return Err(405);
        }
        let url =
            Url::parse(&format!("http://{}{}", self.host, request.path)).map_err(|_| 400_u16)?;
        if url.path() != PATH {
            return Err(404);
        }
        let mut answer = HashMap::new();
        for (name, value) in url.query_pairs() {
            if answer
                .insert(name.into_owned(), value.into_owned())
                .is_some()
            {
                return Err(400);
            }
        }
        let state = answer.get("state").map_or(&b""[..], String::as_bytes);
        constant_time::verify_slices_are_equal(state, self.state.expose().as_bytes())
            .map_err(|_| 400_u16)?;
        Ok(answer)
    }

    fn judge(&self, answer: &HashMap<String, String>, issuer: &str) -> Result<Secret, LoginError> {
        let wrong = |why| Err(LoginError::Answer { why });
        // RFC 9207: another provider's answer must not be taken for this one's.
        match answer.get("iss") {
            Some(named) if named != issuer => return wrong("it names another issuer"),
            None if self.names_itself => {
                return wrong("it names no issuer, and this provider does");
            }
            _ => {}
        }
        if let Some(error) = answer.get("error") {
            return Err(if error == "access_denied" {
                LoginError::Denied
            } else {
                let text = |name: &str| {
                    let value = answer.get(name).map_or("", String::as_str);
                    value
                        .chars()
                        .filter(|char| !char.is_control())
                        .take(200)
                        .collect()
                };
                LoginError::Grant(GrantError::Refused {
                    code: text("error"),
                    description: text("error_description"),
                })
            });
        }
        match answer.get("code") {
            Some(code) if !code.is_empty() => Ok(Secret::new(code.clone())),
            _ => wrong("it carries no code"),
        }
    }
}

const DONE: &str = "<!doctype html><title>weir</title><p>You can close this page: the rest is said in the terminal.</p>";
const FAILED: &str = "<!doctype html><title>weir</title><p>This is not the answer that weir waits for. See the terminal.</p>";
