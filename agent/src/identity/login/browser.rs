//! A browser on this host (RFC 8252): the provider sends it back to a port of the agent.

use std::time::Duration;

use reqwest::Url;
use tokio::{
    net::{TcpListener, TcpStream},
    time,
};

use super::{
    Flow, LoginError, Prompt, Wanted,
    code::{CodeAnswer, CodeRequest},
};
use crate::identity::{
    http::{self, Method, Request, Response},
    issuers::Issuer,
    oidc::Tokens,
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
    request: CodeRequest,
}

pub(super) async fn begin(
    issuer: &Issuer,
    wanted: &Wanted,
) -> Result<(Prompt, Browser), LoginError> {
    let listener = TcpListener::bind(("127.0.0.1", 0))
        .await
        .map_err(LoginError::Listen)?;
    let host = listener
        .local_addr()
        .map_err(LoginError::Listen)?
        .to_string();
    let redirect = format!("http://{host}{PATH}");
    let (url, request) = CodeRequest::begin(issuer, redirect, wanted.clone()).await?;
    let prompt = Prompt {
        issuer: issuer.settings().issuer.clone(),
        flow: Flow::Browser,
        url: url.into(),
        code: None,
        url_complete: None,
        expires_s: LIVES.as_secs(),
    };
    let browser = Browser {
        listener,
        host,
        request,
    };
    Ok((prompt, browser))
}

impl Browser {
    pub(super) fn nonce(&self) -> &str {
        self.request.nonce()
    }

    /// Waits for the one answer and exchanges its code. The port is closed with the first answer that has the state.
    pub(super) async fn wait(self, issuer: &Issuer) -> Result<Tokens, LoginError> {
        let code = time::timeout(LIVES, self.answer(issuer))
            .await
            .map_err(|_| LoginError::Late)??;
        self.request.exchange(issuer, &code).await
    }

    async fn answer(&self, issuer: &Issuer) -> Result<Secret, LoginError> {
        for _ in 0..STRANGERS {
            let (mut client, _) = self.listener.accept().await.map_err(LoginError::Listen)?;
            let Some(answer) = self.read(&mut client).await else {
                continue;
            };
            let judged = self.request.judge(&answer, &issuer.settings().issuer);
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
    async fn read(&self, client: &mut TcpStream) -> Option<CodeAnswer> {
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

    fn parameters(&self, request: &Request) -> Result<CodeAnswer, u16> {
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
        self.request.answer(&url).ok_or(400)
    }
}

const DONE: &str = "<!doctype html><title>weir</title><p>You can close this page: the rest is said in the terminal.</p>";
const FAILED: &str = "<!doctype html><title>weir</title><p>This is not the answer that weir waits for. See the terminal.</p>";
