//! A code that a browser brings back (RFC 6749, 4.1), which only who asked for it can use (PKCE, RFC 7636).

use std::{collections::HashMap, sync::Arc};

use aws_lc_rs::{constant_time, digest};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use reqwest::Url;

use super::{Flow, Granted, LoginError, Wanted, accept, common_fields};
use crate::identity::{
    issuers::Issuer,
    oidc::{GrantError, Tokens, random_text},
    secret::Secret,
};

/// A code that was asked for, and what its answer has to match.
#[derive(Debug)]
pub struct CodeRequest {
    wanted: Wanted,
    redirect: String,
    state: Secret,
    nonce: String,
    verifier: Secret,
    names_itself: bool,
}

/// The parameters of an answer that carries the state of its [`CodeRequest`].
#[derive(Debug)]
pub struct CodeAnswer(HashMap<String, String>);

impl CodeRequest {
    /// Asks for a code to be brought to `redirect`: returns the address to send the browser to.
    ///
    /// # Errors
    ///
    /// [`LoginError`] when the provider cannot be asked, or has nothing for browsers.
    pub async fn begin(
        issuer: &Issuer,
        redirect: String,
        wanted: Wanted,
    ) -> Result<(Url, Self), LoginError> {
        let metadata = issuer
            .provider()
            .metadata()
            .await
            .map_err(GrantError::from)?;
        let endpoint =
            metadata
                .authorization_endpoint
                .as_deref()
                .ok_or(GrantError::NoEndpoint {
                    endpoint: "authorization_endpoint",
                })?;
        let mut url = issuer
            .provider()
            .endpoint(endpoint)
            .map_err(GrantError::from)?;
        let random = || random_text().map_err(|_| LoginError::Internal);
        let request = Self {
            wanted,
            redirect,
            state: Secret::new(random()?),
            nonce: random()?,
            verifier: Secret::new(random()?),
            names_itself: metadata.authorization_response_iss_parameter_supported,
        };
        let hash = digest::digest(&digest::SHA256, request.verifier.expose().as_bytes());
        let challenge = URL_SAFE_NO_PAD.encode(hash);
        let scope = issuer.settings().scope();
        let max_age = request.wanted.max_age_s.map(|seconds| seconds.to_string());
        let client = issuer.client().ok_or_else(|| LoginError::NoClient {
            issuer: issuer.settings().issuer.clone(),
        })?;
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", client.id())
            .append_pair("redirect_uri", &request.redirect)
            .append_pair("state", request.state.expose())
            .append_pair("nonce", &request.nonce)
            .append_pair("code_challenge", &challenge)
            .append_pair("code_challenge_method", "S256")
            .extend_pairs(common_fields(&scope, max_age.as_deref(), &request.wanted));
        Ok((url, request))
    }

    pub(super) fn nonce(&self) -> &str {
        &self.nonce
    }

    /// The answer in an address that the browser was sent to; `None` when a parameter is repeated, or the state is not
    /// this request's.
    #[must_use]
    pub fn answer(&self, url: &Url) -> Option<CodeAnswer> {
        let mut answer = HashMap::new();
        for (name, value) in url.query_pairs() {
            if answer
                .insert(name.into_owned(), value.into_owned())
                .is_some()
            {
                return None;
            }
        }
        let state = answer.get("state").map_or(&b""[..], String::as_bytes);
        constant_time::verify_slices_are_equal(state, self.state.expose().as_bytes()).ok()?;
        Some(CodeAnswer(answer))
    }

    /// The code of an answer.
    pub(super) fn judge(&self, answer: &CodeAnswer, issuer: &str) -> Result<Secret, LoginError> {
        let CodeAnswer(answer) = answer;
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

    /// Tokens for the code.
    pub(super) async fn exchange(
        &self,
        issuer: &Issuer,
        code: &Secret,
    ) -> Result<Tokens, LoginError> {
        let client = issuer.client().ok_or(LoginError::Internal)?;
        let fields = [
            ("grant_type", "authorization_code"),
            ("code", code.expose()),
            ("redirect_uri", &self.redirect),
            ("code_verifier", self.verifier.expose()),
        ];
        Ok(issuer.provider().token(client, &fields).await?)
    }

    /// Exchanges the answer's code, and believes what it brings or gives it back.
    ///
    /// # Errors
    ///
    /// [`LoginError`] for a refusal, an answer of somebody else's, and tokens that break a rule.
    pub async fn finish(
        self,
        issuer: Arc<Issuer>,
        answer: &CodeAnswer,
    ) -> Result<Granted, LoginError> {
        let code = self.judge(answer, &issuer.settings().issuer)?;
        let tokens = self.exchange(&issuer, &code).await?;
        let nonce = Some(self.nonce.as_str());
        accept(issuer, &self.wanted, Flow::Browser, tokens, nonce).await
    }
}
