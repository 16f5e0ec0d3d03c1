//! Mode I: the application's password is replaced by one that only the agent has.

use tokio::io::AsyncWriteExt;
use weir_wire::postgres::{
    Refusal,
    backend::{AUTHENTICATION_OK, authentication_request},
    sasl::{self, Offer},
    scram::{Keys, Proven},
};
use zeroize::Zeroizing;

use super::{
    Answer, Aside, Challenged, Frame, Login, LoginError, is_private, out_of_turn, refused, tag,
};
use crate::{
    identity::Secret,
    logins::{Accept, Freshness, Password, PasswordError},
    telemetry,
};

/// `AuthenticationCleartextPassword`.
const AUTHENTICATION_CLEARTEXT: u32 = 3;
/// `AuthenticationMD5Password`, with a salt of four bytes.
const AUTHENTICATION_MD5: u32 = 5;

impl Login<'_> {
    /// Lets the client in by what the operator accepts of it, and logs in for it.
    pub(super) async fn inject(&mut self, request: Frame) -> Result<(), LoginError> {
        let proven = self.accept().await?;
        let (mut request, mut freshness) = (request, Freshness::Kept);
        let last = loop {
            let password = self.password(freshness).await?;
            match self.log_in(&request, &password.secret).await? {
                (Answer::Accepted, last) => break last,
                // It may have been changed since it was fetched.
                (Answer::Refused(frame), _) if &frame.sqlstate() == b"28P01" && !password.fresh => {
                    request = self.begin_again().await?;
                    freshness = Freshness::Fresh;
                }
                (Answer::Refused(frame), _) => return Err(self.refused_ours(&frame)),
            }
        };
        if let Some(proven) = proven {
            self.tell_client(&sasl::complete(&proven.farewell)).await?;
        }
        match last {
            Some(frame) => self.tell_client(&frame.bytes).await,
            None => Ok(()),
        }
    }

    async fn accept(&mut self) -> Result<Option<Proven>, LoginError> {
        let candidate = self.candidate;
        let (endpoint, user) = (&candidate.endpoint.name, self.message.user());
        match candidate.proxy.logins.accept(endpoint, &user) {
            None => Err(refused(
                "28000",
                format!("weir: this endpoint logs in with passwords of weir's, and it has none for database user \"{user}\""),
                Some("the operator of this host can add an [[endpoint.credential]] for that user".into()),
            )),
            Some(Accept::Identity) if candidate.resolved.identity.is_none() => Err(refused(
                "28000",
                "weir: this endpoint logs in with passwords of weir's, for processes with a verified identity; this one has none".into(),
                Some("run \"weir login\", or let the operator of this host describe the service as a [[workload]]".into()),
            )),
            Some(Accept::Identity | Accept::Anyone) => Ok(None),
            Some(Accept::Placeholder(placeholder)) => {
                let choice = self.offer().await?;
                let verifier = placeholder.verifier();
                self.prove(choice, Ok(verifier)).await.map(Some)
            }
        }
    }

    async fn password(&self, freshness: Freshness) -> Result<Password, LoginError> {
        let (endpoint, user) = (&self.candidate.endpoint.name, self.message.user());
        let logins = &self.candidate.proxy.logins;
        let password = logins.password(endpoint, &user, freshness).await;
        password.map_err(|error: PasswordError| {
            LoginError::Refused(Box::new(Refusal {
                sqlstate: "57P03".into(),
                message: format!(
                    "weir: cannot have the password of database user \"{user}\": {}",
                    telemetry::chain(&error)
                ),
                detail: None,
                hint: Some(
                    "the operator of this host: see the [[endpoint.credential]] of that user"
                        .into(),
                ),
            }))
        })
    }

    /// Answers what the server asks; beside its answer, a message for the client that came with it.
    async fn log_in(
        &mut self,
        request: &Frame,
        secret: &Secret,
    ) -> Result<(Answer, Option<Frame>), LoginError> {
        if let Some(offer) = Offer::read(request.body()).filter(|it| it.plain || it.plus) {
            let challenge = match self.challenged(offer).await? {
                Challenged::By(challenge) => challenge,
                Challenged::Refused(frame) => return Ok((Answer::Refused(frame), None)),
            };
            let (secret, salt, iterations) =
                (secret.clone(), challenge.salt.clone(), challenge.iterations);
            // Beside the worker, which has other sessions.
            let derived = tokio::task::spawn_blocking(move || {
                Keys::derive(secret.expose(), &salt, iterations)
            });
            let keys = derived
                .await
                .map_err(|_| refused("58000", "weir: cannot derive keys".into(), None))?;
            return Ok((self.answer(&challenge, &keys).await?, None));
        }
        let body = request.body();
        let reply = match authentication_request(body) {
            Some(AUTHENTICATION_OK) => {
                let bytes = request.bytes.clone();
                let tag = request.tag;
                return Ok((Answer::Accepted, Some(Frame { tag, bytes })));
            }
            Some(AUTHENTICATION_MD5) => {
                let salt = body.get(4..).and_then(|salt| salt.first_chunk());
                let salt = *salt.ok_or_else(out_of_turn)?;
                // The server keeps a hash of the very bytes of the name.
                let user = self.message.parameter("user").unwrap_or_default();
                let hash = postgres_protocol::authentication::md5_hash(
                    user,
                    secret.expose().as_bytes(),
                    salt,
                );
                Zeroizing::new(sasl::password(&hash))
            }
            Some(AUTHENTICATION_CLEARTEXT) => {
                let address = self.candidate.origin.destination;
                if !is_private(&self.server, address) {
                    return Err(refused(
                        "28000",
                        "weir: the server asks for the password in clear, over a network that is not encrypted".into(),
                        Some("the operator of this host can set the endpoint's tls, or the server's can use scram-sha-256".into()),
                    ));
                }
                Zeroizing::new(sasl::password(secret.expose()))
            }
            _ => {
                return Err(refused(
                    "28000",
                    "weir: the server asks for a log-in that a password cannot answer".into(),
                    Some(
                        "pg_hba.conf must ask this user for scram-sha-256, md5 or password".into(),
                    ),
                ));
            }
        };
        self.tell_server(&reply).await?;
        let frame = self.server_message().await?;
        match frame.tag {
            tag::ERROR_RESPONSE => Ok((Answer::Refused(frame), None)),
            tag::AUTHENTICATION => Ok((Answer::Accepted, Some(frame))),
            _ => Err(out_of_turn()),
        }
    }

    /// A connection whose log-in has failed is of no more use.
    async fn begin_again(&mut self) -> Result<Frame, LoginError> {
        self.server = self.candidate.dial().await.map_err(LoginError::Dial)?;
        let sent = async {
            self.server.write_all(&self.message.packet).await?;
            self.server.flush().await
        };
        sent.await.map_err(LoginError::Server)?;
        self.server_request(Aside::Dropped).await
    }

    /// The client has done nothing wrong: it must not look for the fault in its own password.
    fn refused_ours(&self, frame: &Frame) -> LoginError {
        let state = String::from_utf8_lossy(&frame.sqlstate()).into_owned();
        let user = self.message.user();
        refused(
            &state,
            format!("weir: the server refuses the password that weir has for database user \"{user}\" ({state})"),
            Some("the operator of this host: see the [[endpoint.credential]] of that user, and the server's log".into()),
        )
    }
}
