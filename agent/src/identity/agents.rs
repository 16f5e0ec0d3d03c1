//! AI agents: how one comes to act for somebody.
//!
//! The agent proves itself by its own client at its issuer. What says that it may act for the person is a token that
//! the issuer gives for both, or, where the issuer has no such thing, the record that this host makes once both
//! tokens are verified. Either way what it may do is decided by the rules for each of them.

use std::sync::Arc;

use weir_policy::{Actor, PrincipalKind};

use super::{
    bound::{Bound, Delegation},
    fetch::FetchError,
    issuers::Issuers,
    oauth_client::{Granted, OauthClient, OauthError},
    secret::Secret,
    settings::AiAgentSettings,
    token::{self, Act, Slot, TokenError, Verified},
};

/// Why an `[[ai_agent]]` entry cannot be used as written.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// `weir exec` needs it.
    #[error("an ai_agent entry has no name")]
    NoName,
    /// Two entries of one name.
    #[error("ai_agent {name:?} is configured twice")]
    Twice {
        /// The name.
        name: String,
    },
    /// The client's settings.
    #[error("ai_agent {name:?}: client cannot be used")]
    Client {
        /// The name.
        name: String,
        /// Why.
        #[source]
        source: OauthError,
    },
}

/// Why an agent may not act.
#[derive(Debug, thiserror::Error)]
pub enum DelegationError {
    /// No entry, and no development issuer that might know it.
    #[error("no [[ai_agent]] {name:?} is configured")]
    Unknown {
        /// As asked for.
        name: String,
    },
    /// The development issuer.
    #[error("the development issuer gives no token for {name:?}")]
    Development {
        /// As asked for.
        name: String,
        /// Why.
        #[source]
        source: FetchError,
    },
    /// A person or a service, by its issuer's word.
    #[error("{name} is not an agent by its issuer's word")]
    NoAgent {
        /// As asked for.
        name: String,
    },
    /// The issuer gives the agent no token.
    #[error("the agent gets no token of its own")]
    Own(#[source] OauthError),
    /// The issuer gives no token for both.
    #[error("the issuer does not let the agent act")]
    Exchange(#[source] OauthError),
    /// A token breaks a rule.
    #[error("the {whose} token is refused")]
    Token {
        /// `agent's own` or `delegated`.
        whose: &'static str,
        /// Why.
        #[source]
        source: TokenError,
    },
    /// Nothing to exchange.
    #[error(
        "weir holds no token of {subject} to exchange: it was restarted since, or the log-in brought none"
    )]
    NoSubjectToken {
        /// The person.
        subject: String,
    },
    /// The token that came is not what was asked for.
    #[error("the delegated token {what}")]
    Other {
        /// In what it differs.
        what: String,
    },
}

/// One configured agent.
#[derive(Debug)]
struct Agent {
    settings: AiAgentSettings,
    client: OauthClient,
}

/// All of them.
#[derive(Debug)]
pub(crate) struct Agents {
    agents: Vec<Agent>,
}

/// That an agent may act for somebody.
#[derive(Debug)]
pub struct Delegated {
    /// The agent.
    pub actor: Actor,
    /// What says so.
    pub how: Delegation,
    /// SHA-256 of the token that says so; of the agent's own where it is this host's word.
    pub fingerprint: String,
    /// Until when, seconds since the epoch.
    pub not_after_s: i64,
    /// Whether a development issuer vouches for it.
    pub development: bool,
    /// The token, for agents that this one starts.
    pub token: Option<Secret>,
}

impl Agents {
    pub(crate) fn parse(settings: &[AiAgentSettings]) -> Result<Self, AgentError> {
        let mut agents: Vec<Agent> = Vec::with_capacity(settings.len());
        for entry in settings {
            let name = entry.name.clone();
            if name.is_empty() {
                return Err(AgentError::NoName);
            }
            if agents.iter().any(|known| known.settings.name == name) {
                return Err(AgentError::Twice { name });
            }
            let client = OauthClient::parse(&entry.client)
                .map_err(|source| AgentError::Client { name, source })?;
            agents.push(Agent {
                settings: entry.clone(),
                client,
            });
        }
        Ok(Self { agents })
    }

    /// Has the agent of that name act for whom `parent` is.
    pub(crate) async fn delegate(
        &self,
        name: &str,
        parent: &Arc<Bound>,
        issuers: &Issuers,
    ) -> Result<Delegated, DelegationError> {
        let Some(agent) = self.agents.iter().find(|it| it.settings.name == name) else {
            return develop(name, issuers).await;
        };
        let own = agent
            .client
            .token(issuers)
            .await
            .map_err(DelegationError::Own)?;
        if agent.settings.delegation == Delegation::Local {
            return agent.vouch_here(own.expose(), issuers).await;
        }
        let granted = agent.exchange(own.expose(), parent, issuers).await?;
        agent.accept(granted, parent, issuers).await
    }
}

impl Agent {
    fn subject(&self) -> &str {
        self.settings
            .subject
            .as_deref()
            .unwrap_or_else(|| self.client.id())
    }

    fn actor(&self) -> Actor {
        Actor {
            issuer: self.client.issuer().to_owned(),
            subject: self.subject().to_owned(),
            client_id: Some(self.client.id().to_owned()),
            run_id: None,
        }
    }

    /// Both tokens are verified: the person's when it was bound, the agent's now.
    async fn vouch_here(&self, own: &str, issuers: &Issuers) -> Result<Delegated, DelegationError> {
        let verified = issuers
            .verify(own)
            .await
            .map_err(|source| DelegationError::Token {
                whose: "agent's own",
                source,
            })?;
        if verified.principal.subject != self.subject() {
            return Err(DelegationError::Other {
                what: format!(
                    "of the agent itself is for {:?}, not for {:?}",
                    verified.principal.subject,
                    self.subject()
                ),
            });
        }
        Ok(Delegated {
            actor: self.actor(),
            how: Delegation::Local,
            fingerprint: verified.fingerprint,
            not_after_s: verified.not_after_s,
            development: verified.development,
            token: None,
        })
    }

    async fn exchange(
        &self,
        own: &str,
        parent: &Arc<Bound>,
        issuers: &Issuers,
    ) -> Result<Granted, DelegationError> {
        let Some(subject) = parent.token() else {
            return Err(DelegationError::NoSubjectToken {
                subject: parent.identity.principal.subject.clone(),
            });
        };
        let wanted = match self.settings.delegation {
            Delegation::IdJag => ID_JAG,
            _ => ACCESS_TOKEN,
        };
        let mut form = vec![
            ("grant_type", TOKEN_EXCHANGE),
            ("subject_token", subject.expose()),
            ("subject_token_type", kind_of(&subject)),
            ("actor_token", own),
            ("actor_token_type", ACCESS_TOKEN),
            ("requested_token_type", wanted),
        ];
        let client = &self.settings.client;
        form.extend(self.settings.audience.as_deref().map(|it| ("audience", it)));
        form.extend(client.resource.as_deref().map(|it| ("resource", it)));
        form.extend(client.scope.as_deref().map(|it| ("scope", it)));
        let granted = self
            .client
            .ask(issuers, &form)
            .await
            .map_err(DelegationError::Exchange)?;
        let is_other = granted
            .issued_type
            .as_ref()
            .is_some_and(|issued| issued != wanted && !(wanted == ACCESS_TOKEN && issued == JWT));
        if is_other {
            return Err(other("is of another type than was asked for"));
        }
        Ok(granted)
    }

    /// Nothing is taken from the issuer's answer that it was not asked for.
    async fn accept(
        &self,
        granted: Granted,
        parent: &Arc<Bound>,
        issuers: &Issuers,
    ) -> Result<Delegated, DelegationError> {
        let slot = match self.settings.delegation {
            Delegation::IdJag => Slot::Assertion {
                audience: self.settings.audience.as_deref(),
            },
            _ => Slot::Handed,
        };
        let verified = issuers
            .verify_for(slot, granted.token.expose())
            .await
            .map_err(|source| DelegationError::Token {
                whose: "delegated",
                source,
            })?;
        self.check(&verified, parent)?;
        Ok(Delegated {
            actor: self.actor(),
            how: self.settings.delegation,
            fingerprint: verified.fingerprint,
            not_after_s: verified.not_after_s,
            development: verified.development,
            token: Some(granted.token),
        })
    }

    fn check(&self, verified: &Verified, parent: &Arc<Bound>) -> Result<(), DelegationError> {
        let person = &parent.identity.principal;
        let named = &verified.principal;
        if named.issuer != person.issuer || named.subject != person.subject {
            return Err(other(&format!(
                "is for {:?}, not for {:?}",
                named.subject, person.subject
            )));
        }
        let act = verified.extra.act.as_ref();
        let through = parent.identity.actors.iter().rev();
        let through = through.map(|actor| actor.subject.as_str());
        let expected: Vec<&str> = std::iter::once(self.subject()).chain(through).collect();
        match (self.settings.delegation, act) {
            // The assertion is the client's that asked for it; an actor in it is one more thing to be right.
            (Delegation::IdJag, None) => {
                let client = verified.extra.client_id.as_deref();
                if client == Some(self.client.id()) {
                    Ok(())
                } else {
                    Err(other(&format!("was given to client {client:?}")))
                }
            }
            (_, None) => Err(other("names nobody who acts (act.sub)")),
            (_, Some(act)) if chain(act) == expected => Ok(()),
            (_, Some(act)) => Err(other(&format!(
                "is for {} to act, not for {}",
                chain(act).join(" through "),
                expected.join(" through ")
            ))),
        }
    }
}

/// Issuers want to be told what they are given.
fn kind_of(token: &Secret) -> &'static str {
    if token::is_access_token(token.expose()) {
        ACCESS_TOKEN
    } else {
        ID_TOKEN
    }
}

/// Who acts, the latest first: in a token the latest is outermost.
fn chain(act: &Act) -> Vec<&str> {
    std::iter::successors(Some(act), |act| act.act.as_deref())
        .map(|act| act.sub.as_str())
        .collect()
}

fn other(what: &str) -> DelegationError {
    DelegationError::Other {
        what: what.to_owned(),
    }
}

/// The development issuer signs for any of its agents, and knows no exchange.
async fn develop(name: &str, issuers: &Issuers) -> Result<Delegated, DelegationError> {
    let token = match issuers.development_token(name).await {
        Some(token) => token.map_err(|source| DelegationError::Development {
            name: name.to_owned(),
            source,
        })?,
        None => {
            return Err(DelegationError::Unknown {
                name: name.to_owned(),
            });
        }
    };
    let verified = issuers
        .verify(&token)
        .await
        .map_err(|source| DelegationError::Token {
            whose: "agent's own",
            source,
        })?;
    let principal = verified.principal;
    if principal.kind != PrincipalKind::Agent || principal.subject != name {
        return Err(DelegationError::NoAgent {
            name: name.to_owned(),
        });
    }
    Ok(Delegated {
        actor: Actor {
            issuer: principal.issuer,
            subject: principal.subject,
            client_id: None,
            run_id: None,
        },
        how: Delegation::Local,
        fingerprint: verified.fingerprint,
        not_after_s: verified.not_after_s,
        development: verified.development,
        token: None,
    })
}

const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const ID_TOKEN: &str = "urn:ietf:params:oauth:token-type:id_token";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";
const ID_JAG: &str = "urn:ietf:params:oauth:token-type:id-jag";
