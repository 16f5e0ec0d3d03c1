//! Log-ins that weir takes part in, between the startup packet and the session: what the client cannot prove to the server
//! itself, because another certificate or another password stands between them.
//!
//! Messages are read exactly, so that what comes behind the log-in is left to the relay.

mod inject;
mod verifier;

use std::{io, net::SocketAddr};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use weir_wire::postgres::{
    Refusal, StartupMessage,
    backend::{error_state, tag, without_channel_binding},
    frontend,
    sasl::{
        self, AUTHENTICATION_SASL_CONTINUE, AUTHENTICATION_SASL_FINAL, InitialResponse,
        MAX_SASL_BYTES, Mechanism, Offer,
    },
    scram::{
        Binding, Challenge, ClientExchange, Keys, Proven, ScramError, ServerExchange, Verifier,
    },
};
use zeroize::Zeroizing;

use super::super::{Candidate, dial::DialError, mode::Mode};
use crate::net::Leg;

/// One log-in under way.
pub(super) struct Login<'c> {
    candidate: &'c Candidate,
    message: &'c StartupMessage,
    client: Leg,
    server: Leg,
    /// What the client's log-in is bound to, where its leg has TLS.
    binding: Option<Vec<u8>>,
}

/// Why a log-in has failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum LoginError {
    /// It went away: to ask for a password, often.
    #[error("the client left during the log-in")]
    Gone,
    /// Its connection failed.
    #[error("cannot speak with the client during the log-in")]
    Client(#[source] io::Error),
    /// The server's connection failed.
    #[error("cannot speak with the server during the log-in")]
    Server(#[source] io::Error),
    /// The server cannot be reached a second time.
    #[error("cannot reach the server again")]
    Dial(#[source] DialError),
    /// The server has refused, and the client knows.
    #[error("the server refuses the log-in")]
    Told,
    /// weir refuses.
    #[error("{}", .0.message)]
    Refused(Box<Refusal>),
}

/// One message of either side. What is in it may be a secret.
struct Frame {
    tag: u8,
    /// With its header.
    bytes: Zeroizing<Vec<u8>>,
}

impl Frame {
    fn body(&self) -> &[u8] {
        self.bytes.get(5..).unwrap_or_default()
    }

    /// What an error's state is, where this is one.
    fn sqlstate(&self) -> [u8; 5] {
        error_state(self.body()).0
    }
}

/// How a client wants to prove itself.
struct Choice {
    mechanism: Mechanism,
    /// The mechanism's first message.
    first: Vec<u8>,
}

/// What a server says to the beginning of a log-in.
enum Challenged {
    By(Box<Challenge>),
    /// Its `ErrorResponse`.
    Refused(Frame),
}

/// What a server makes of a log-in.
enum Answer {
    /// It goes on.
    Accepted,
    /// Its `ErrorResponse`.
    Refused(Frame),
}

impl Candidate {
    /// Whether a log-in on these legs needs weir: all others are relayed as they come.
    pub(super) fn takes_part(&self, client: &Leg, server: &Leg) -> bool {
        let encrypted = |leg: &Leg| matches!(leg, Leg::Tls(_));
        match self.endpoint.mode {
            Mode::Inject => true,
            Mode::Verifier => encrypted(client) || encrypted(server),
            // A server without TLS has nothing that a log-in could be bound to.
            Mode::Plaintext | Mode::ServerCertificate | Mode::Opaque => encrypted(server),
        }
    }
}

impl<'c> Login<'c> {
    pub(super) fn new(
        candidate: &'c Candidate,
        message: &'c StartupMessage,
        client: Leg,
        server: Leg,
        binding: Option<Vec<u8>>,
    ) -> Self {
        Self {
            candidate,
            message,
            client,
            server,
            binding,
        }
    }

    /// Client and server.
    pub(super) fn into_legs(self) -> (Leg, Leg) {
        (self.client, self.server)
    }

    /// Logs in. The startup packet has been sent; what the server says of its success is left to the relay.
    pub(super) async fn run(&mut self) -> Result<(), LoginError> {
        let request = self.server_request(Aside::Passed).await?;
        if self.candidate.endpoint.mode == Mode::Inject {
            return self.inject(request).await;
        }
        let Some(offer) = Offer::read(request.body()).filter(|it| it.plain || it.plus) else {
            // What proves the client is not bound to the channel.
            return self.tell_client(&request.bytes).await;
        };
        if matches!(self.client, Leg::Plain(_)) {
            return self.in_clear(&request, offer).await;
        }
        if self.candidate.endpoint.mode == Mode::Verifier {
            let choice = self.offer().await?;
            return self.by_verifier(offer, choice).await;
        }
        self.tell_client(&request.bytes).await?;
        if offer.plus {
            self.watch_binding().await?;
        }
        Ok(())
    }

    /// The client chooses how it logs in: a log-in that is bound to a certificate which is not the server's cannot succeed,
    /// and the server's own words would not say why.
    async fn watch_binding(&mut self) -> Result<(), LoginError> {
        let choice = self.client_message().await?;
        let bound = InitialResponse::read(choice.body())
            .is_some_and(|initial| initial.scram() == Some(Mechanism::Plus));
        if bound && self.binding != self.server.peer_binding() {
            return Err(refused(
                "28000",
                self.unbound(),
                Some(self.unbound_remedy()),
            ));
        }
        self.tell_server(&choice.bytes).await
    }

    /// A client in clear would refuse an offer to bind to TLS, so it is not made. One that says that it could bind, as if there
    /// were TLS, is taken by the server for the victim of somebody who took the offer out.
    async fn in_clear(&mut self, request: &Frame, offer: Offer) -> Result<(), LoginError> {
        let stripped = without_channel_binding(request.body());
        let stripped = stripped.as_ref().unwrap_or(&request.bytes);
        self.tell_client(stripped).await?;
        if !offer.plus {
            return Ok(());
        }
        let message = self.client_message().await?;
        let choice = InitialResponse::read(message.body()).and_then(|initial| {
            let mechanism = initial.scram()?;
            let first = initial.data.filter(|first| first.starts_with(b"y,"))?;
            Some(Choice {
                mechanism,
                first: first.to_vec(),
            })
        });
        match choice {
            None => self.tell_server(&message.bytes).await,
            Some(choice) if self.candidate.endpoint.mode == Mode::Verifier => {
                self.by_verifier(offer, choice).await
            }
            Some(_) => Err(refused(
                "28000",
                "weir: the client asks for channel binding without TLS, and the server, which weir reaches over TLS, takes that for an attack".into(),
                Some(
                    "the operator of this host can set the endpoint's mode to \"verifier\" (with [endpoint.verifiers]); \
                     the client can turn channel binding off (node-postgres: enableChannelBinding)"
                        .into(),
                ),
            )),
        }
    }

    fn unbound(&self) -> String {
        let shown = match self.candidate.endpoint.mode {
            Mode::ServerCertificate => "server_certificate is not the one that the server has now",
            _ => "clients of this endpoint are shown a certificate of weir's",
        };
        format!(
            "weir: a log-in that is bound to the TLS channel (SCRAM-SHA-256-PLUS) cannot pass: {shown}"
        )
    }

    fn unbound_remedy(&self) -> String {
        let operator = match self.candidate.endpoint.mode {
            Mode::ServerCertificate => "give weir the server's present certificate and key",
            _ => "set the endpoint's mode to \"verifier\" (with [endpoint.verifiers])",
        };
        format!(
            "the operator of this host can {operator}; the client can use channel_binding=disable"
        )
    }

    /// The server's request to log in; what comes before it is the client's to know, once.
    async fn server_request(&mut self, aside: Aside) -> Result<Frame, LoginError> {
        loop {
            let frame = self.server_message().await?;
            match frame.tag {
                tag::AUTHENTICATION => return Ok(frame),
                tag::ERROR_RESPONSE => return Err(self.pass_on(&frame).await),
                tag::NEGOTIATE_PROTOCOL_VERSION | tag::NOTICE_RESPONSE | tag::PARAMETER_STATUS => {
                    if aside == Aside::Passed {
                        self.tell_client(&frame.bytes).await?;
                    }
                }
                _ => return Err(out_of_turn()),
            }
        }
    }

    /// Gives the client the server's refusal, in the server's words.
    async fn pass_on(&mut self, refusal: &Frame) -> LoginError {
        match self.tell_client(&refusal.bytes).await {
            Ok(()) => LoginError::Told,
            Err(error) => error,
        }
    }

    /// Offers the client to prove itself by SCRAM, as the server does it.
    async fn offer(&mut self) -> Result<Choice, LoginError> {
        let offer = Offer {
            plain: true,
            plus: self.binding.is_some(),
        };
        self.tell_client(&offer.write()).await?;
        let frame = self.client_message().await?;
        let initial = InitialResponse::read(frame.body())
            .ok_or_else(|| refused("08P01", "malformed SASLInitialResponse".into(), None))?;
        let mechanism = initial.scram().ok_or_else(|| {
            let message = "client selected an invalid SASL authentication mechanism";
            refused("08P01", message.into(), None)
        })?;
        Ok(Choice {
            mechanism,
            first: initial.data.unwrap_or_default().to_vec(),
        })
    }

    /// Challenges the client; an error in place of a verifier is one that nothing fits.
    async fn prove(
        &mut self,
        choice: Choice,
        verifier: Result<Verifier, Verifier>,
    ) -> Result<Proven, LoginError> {
        let nonce = nonce()?;
        let binding = self.binding.as_deref();
        let begun =
            ServerExchange::begin(verifier, choice.mechanism, binding, &choice.first, &nonce);
        let (exchange, challenge) = begun.map_err(|error| self.misfit(error))?;
        self.tell_client(&sasl::proceed(&challenge)).await?;
        let proof = self.client_message().await?;
        exchange
            .finish(proof.body())
            .map_err(|error| self.misfit(error))
    }

    /// What the server would say of a client that does it wrong.
    fn misfit(&self, error: ScramError) -> LoginError {
        let (sqlstate, message) = match error {
            ScramError::Proof => {
                return self.wrong_password(None);
            }
            ScramError::Binding => ("28000", error.to_string()),
            ScramError::Downgrade => (
                "28000",
                format!("SCRAM channel binding negotiation error: {error}"),
            ),
            _ => ("08P01", error.to_string()),
        };
        refused(sqlstate, message, None)
    }

    fn wrong_password(&self, hint: Option<&str>) -> LoginError {
        let user = self.message.user();
        let message = format!("password authentication failed for user \"{user}\"");
        refused("28P01", message, hint.map(str::to_owned))
    }

    /// Begins to log in at the server by SCRAM.
    async fn challenged(&mut self, offer: Offer) -> Result<Challenged, LoginError> {
        let (binding, offered) = match (&self.server, self.server.peer_binding()) {
            (Leg::Tls(_), Some(hash)) if offer.plus => (Binding::Bound(hash), true),
            (Leg::Tls(_), Some(_)) => (Binding::Unoffered, offer.plain),
            _ => (Binding::None, offer.plain),
        };
        if !offered {
            return Err(refused(
                "28000",
                "weir: the server demands a log-in bound to its certificate, whose signature has no hash to bind to".into(),
                Some("give the server a certificate that is signed with RSA or ECDSA".into()),
            ));
        }
        let mechanism = binding.mechanism();
        let (exchange, first) = ClientExchange::begin(binding, &nonce()?);
        let first = sasl::initial_response(mechanism, &first);
        self.tell_server(&first).await?;
        let frame = self.server_message().await?;
        let Some(challenge) = data(&frame, AUTHENTICATION_SASL_CONTINUE)? else {
            return Ok(Challenged::Refused(frame));
        };
        let challenge = exchange.challenged(challenge);
        let challenge = challenge.map_err(|error| self.server_misfit(error))?;
        Ok(Challenged::By(Box::new(challenge)))
    }

    /// Answers the server's challenge, and demands its own proof.
    async fn answer(&mut self, challenge: &Challenge, keys: &Keys) -> Result<Answer, LoginError> {
        let (outcome, answer) = challenge.answer(keys);
        self.tell_server(&sasl::response(&answer)).await?;
        let frame = self.server_message().await?;
        let Some(farewell) = data(&frame, AUTHENTICATION_SASL_FINAL)? else {
            return Ok(Answer::Refused(frame));
        };
        let checked = outcome.check(farewell);
        checked.map_err(|error| self.server_misfit(error))?;
        Ok(Answer::Accepted)
    }

    fn server_misfit(&self, error: ScramError) -> LoginError {
        let address = self.candidate.origin.destination;
        tracing::warn!(%address, %error, "a server's log-in cannot go on");
        refused(
            "28000",
            format!("weir: cannot log in at the server: {error}"),
            None,
        )
    }

    async fn client_message(&mut self) -> Result<Frame, LoginError> {
        let frame = read(&mut self.client).await.map_err(LoginError::Client)?;
        match frame {
            Some(frame) if frame.tag == frontend::tag::PASSWORD => Ok(frame),
            None => Err(LoginError::Gone),
            Some(frame) if frame.tag == frontend::tag::TERMINATE => Err(LoginError::Gone),
            Some(frame) => Err(refused(
                "08P01",
                format!("expected SASL response, got message type {}", frame.tag),
                None,
            )),
        }
    }

    async fn server_message(&mut self) -> Result<Frame, LoginError> {
        let frame = read(&mut self.server).await.map_err(LoginError::Server)?;
        frame.ok_or_else(|| LoginError::Server(io::ErrorKind::UnexpectedEof.into()))
    }

    async fn tell_client(&mut self, bytes: &[u8]) -> Result<(), LoginError> {
        write(&mut self.client, bytes)
            .await
            .map_err(LoginError::Client)
    }

    async fn tell_server(&mut self, bytes: &[u8]) -> Result<(), LoginError> {
        write(&mut self.server, bytes)
            .await
            .map_err(LoginError::Server)
    }
}

/// Whether what the server says ahead of its request goes to the client.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Aside {
    Passed,
    /// It was said before.
    Dropped,
}

/// Reads exactly one message; `None` at the end of the stream.
async fn read(leg: &mut Leg) -> io::Result<Option<Frame>> {
    let mut header = [0; 5];
    match leg.read_exact(&mut header).await {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    };
    let [tag, a, b, c, d] = header;
    let length = u32::from_be_bytes([a, b, c, d]) as usize;
    if !(4..=MAX_SASL_BYTES).contains(&length) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "a message of a log-in has an impossible length",
        ));
    }
    let mut bytes = Zeroizing::new(vec![0; 1 + length]);
    bytes
        .get_mut(..5)
        .unwrap_or_default()
        .copy_from_slice(&header);
    leg.read_exact(bytes.get_mut(5..).unwrap_or_default())
        .await?;
    Ok(Some(Frame { tag, bytes }))
}

async fn write(leg: &mut Leg, bytes: &[u8]) -> io::Result<()> {
    leg.write_all(bytes).await?;
    leg.flush().await
}

fn refused(sqlstate: &str, message: String, hint: Option<String>) -> LoginError {
    LoginError::Refused(Box::new(Refusal {
        sqlstate: sqlstate.into(),
        message,
        detail: None,
        hint,
    }))
}

fn nonce() -> Result<String, LoginError> {
    use base64::{Engine as _, engine::general_purpose::STANDARD};

    // As many bytes as PostgreSQL takes (`SCRAM_RAW_NONCE_LEN`).
    let mut bytes = [0; 18];
    match aws_lc_rs::rand::fill(&mut bytes) {
        Ok(()) => Ok(STANDARD.encode(bytes)),
        Err(_) => Err(refused(
            "58000",
            "weir: the system gives no randomness".into(),
            None,
        )),
    }
}

/// The mechanism's data; `None` when the server refuses instead.
fn data(frame: &Frame, code: u32) -> Result<Option<&[u8]>, LoginError> {
    match frame.tag {
        tag::ERROR_RESPONSE => Ok(None),
        tag::AUTHENTICATION => match sasl::data_of(frame.body(), code) {
            Some(data) => Ok(Some(data)),
            None => Err(out_of_turn()),
        },
        _ => Err(out_of_turn()),
    }
}

fn out_of_turn() -> LoginError {
    refused(
        "08P01",
        "weir: the server's log-in does not go as it should".into(),
        None,
    )
}

/// Whether a password may be sent in clear to this address on this leg.
fn is_private(leg: &Leg, address: SocketAddr) -> bool {
    matches!(leg, Leg::Tls(_)) || address.ip().to_canonical().is_loopback()
}
