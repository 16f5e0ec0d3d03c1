//! Mode V: the client proves itself to weir, and what its proof reveals logs it in at the server.

use weir_wire::postgres::{
    sasl::{self, Offer},
    scram::Verifier,
};

use super::{Answer, Challenged, Choice, Login, LoginError, refused};
use crate::telemetry;

impl Login<'_> {
    /// Never sees a password: the verifier checks the client's proof, and the key in the proof is good for this server only.
    pub(super) async fn by_verifier(
        &mut self,
        offer: Offer,
        choice: Choice,
    ) -> Result<(), LoginError> {
        let verifier = self.verifier().await?;
        let known = verifier.as_ref().ok().cloned();
        let proven = self.prove(choice, verifier).await?;
        let answer = match self.challenged(offer).await? {
            Challenged::Refused(frame) => Answer::Refused(frame),
            Challenged::By(challenge) => {
                let same = known.is_some_and(|verifier| {
                    verifier.makes(&challenge.salt, challenge.iterations.get())
                });
                if !same {
                    return Err(self.wrong_password(Some(
                        "weir's verifier of this user is out of date: renew the file of [endpoint.verifiers], \
                         or let weir read it from the server",
                    )));
                }
                self.answer(&challenge, &proven.keys).await?
            }
        };
        match answer {
            Answer::Accepted => self.tell_client(&sasl::complete(&proven.farewell)).await,
            Answer::Refused(frame) => Err(self.pass_on(&frame).await),
        }
    }

    async fn verifier(&self) -> Result<Result<Verifier, Verifier>, LoginError> {
        let endpoint = &self.candidate.endpoint.name;
        let address = self.candidate.origin.destination;
        let user = self.message.user();
        let logins = &self.candidate.proxy.logins;
        let verifier = logins.verifier(endpoint, address, &user).await;
        let verifier = verifier.map_err(|error| {
            refused(
                "57P03",
                format!(
                    "weir: cannot check the password: {}",
                    telemetry::chain(&error)
                ),
                Some(
                    "the operator of this host: \"weir status\" shows the endpoint's problem; \
                     [endpoint.verifiers] says where verifiers come from"
                        .into(),
                ),
            )
        })?;
        if verifier.is_err() {
            // Not for the client, who could try out names.
            tracing::info!(endpoint, user, "a database user has no SCRAM verifier");
        }
        Ok(verifier)
    }
}
