//! What each request does, and who may ask for it.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use serde::Serialize;
use serde_json::{Value, json};
use weir_policy::{Identity, Method, PrincipalKind, Strength};

use super::{
    Asking, Parts,
    detached::Detached,
    logins::Talk,
    peer::Peer,
    protocol::{Binding, OPERATIONS, Refusal, Request, Scope, Who},
};
use crate::{
    audit::record::Event,
    clock,
    holds::Decision,
    identity::{
        BindError, Bound, Change, Delegated, DelegationError, Identities, Key, NewBinding,
        Resolved, RunBudget, Secret, Verified, login::Wanted,
    },
    telemetry,
};

/// The longest life of an agent's run.
const LONGEST_RUN: Duration = Duration::from_hours(24);

/// How many agents may act through each other.
const MAX_ACTORS: usize = 4;

/// The longest purpose or reason.
const SAID_BYTES: usize = 1_024;

/// Answers requests.
#[derive(Clone)]
pub(super) struct Desk {
    pub(super) identities: Arc<Identities>,
    pub(super) parts: Arc<dyn Parts>,
    pub(super) detached: Arc<Detached>,
}

impl Desk {
    /// Answers one line.
    pub(super) async fn answer(
        &self,
        peer: &Peer,
        talk: &mut Talk,
        line: &[u8],
    ) -> Result<Value, Refusal> {
        let request: Value = serde_json::from_slice(line)
            .map_err(|error| Refusal::new(format!("the request is not JSON: {error}")))?;
        let operation = request
            .get("op")
            .and_then(Value::as_str)
            .unwrap_or_default();
        if !OPERATIONS.contains(&operation) {
            return self.delegate(peer, &request);
        }
        let request: Request = serde_json::from_value(request)
            .map_err(|error| Refusal::new(format!("the request cannot be read: {error}")))?;
        match request {
            Request::Login { user, token, scope } => self.log_in(peer, user, token, scope).await,
            Request::LoginBegin {
                issuer,
                flow,
                scope,
                max_age_s,
                acr,
                detached,
                account,
            } => {
                let wanted = Wanted {
                    flow,
                    max_age_s,
                    acr,
                };
                let issuer = issuer.as_deref();
                match (detached, account) {
                    (true, account) => {
                        self.begin_detached(peer, issuer, wanted, scope, account)
                            .await
                    }
                    (false, None) => self.begin_login(peer, talk, issuer, wanted, scope).await,
                    (false, Some(_)) => Err(Refusal::new(
                        "an account is only named for a login that nobody waits for",
                    )),
                }
            }
            Request::LoginWait => self.wait_for_login(peer, talk).await,
            Request::Logout => self.log_out(peer),
            Request::Whoami => self.who(&self.resolve(peer)?),
            Request::Whois { pid, address } => self.whois(peer, pid, address),
            Request::Exec {
                agent,
                purpose,
                ttl_seconds,
                budget,
            } => {
                let terms = Terms {
                    purpose,
                    ttl: Duration::from_secs(ttl_seconds),
                    budget,
                };
                self.exec(peer, &agent, terms).await
            }
            Request::Approvals => self.approvals(peer),
            Request::Approval { id } => self.approval(peer, id),
            Request::ApprovalValues { id } => self.approval_values(peer, id),
            Request::Decide {
                id,
                verdict,
                reason,
                lasting_s,
                break_glass,
            } => {
                let decision = Decision {
                    verdict,
                    reason,
                    lasting: lasting_s.map(Duration::from_secs),
                    break_glass,
                };
                self.decide(peer, id, &decision)
            }
            Request::RevokeApproval { id, reason } => self.revoke_approval(peer, id, &reason),
            Request::Status => {
                self.asking(peer)?.as_administrator("the agent's status")?;
                Ok(self.parts.status())
            }
            Request::EndSession { session, reason } => self.end_session(peer, session, reason),
            Request::State => Ok(json!({ "state_dir": self.parts.state_dir() })),
            Request::Stop => {
                self.asking(peer)?.as_administrator("stopping the agent")?;
                self.parts.stop();
                Ok(Value::Null)
            }
        }
    }

    /// Ends the sessions that rest on what was ended, and records the changes.
    pub(super) fn settle(&self, changes: &[Change]) {
        // First of all: no row passes for as long as a record takes.
        for change in changes.iter().filter(|change| change.ends_sessions()) {
            self.parts.end_sessions(&change.bound);
            if let Some(whom) = change.logs_out() {
                self.parts.log_out(&whom);
            }
        }
        for Change { what, bound } in changes {
            tracing::info!(what, key = %bound.key, subject = bound.identity.principal.subject, "a binding changed");
            self.parts.record(Event::Binding {
                what: (*what).to_owned(),
                identity: bound.identity.clone(),
                key: bound.key.to_string(),
                token_fingerprint: bound.token_fingerprint.clone(),
                proof: Some(bound.proof()),
            });
        }
    }

    async fn log_in(
        &self,
        peer: &Peer,
        user: Option<String>,
        token: Option<String>,
        scope: Scope,
    ) -> Result<Value, Refusal> {
        let resolved = self.resolve(peer)?;
        if resolved.in_agent_run {
            return Err(bind_refusal(&BindError::Marked));
        }
        if scope == Scope::Session && resolved.evidence.audit_session.is_none() {
            return Err(bind_refusal(&BindError::NoSession));
        }
        let (token, method) = match (user, token) {
            (Some(user), None) => (self.development_token(&user).await?, Method::Login),
            (None, Some(token)) => (token, Method::Token),
            _ => return Err(Refusal::new("a login needs a user or a token, not both")),
        };
        let verified = self.verify(&token).await?;
        let subject = verified.principal.subject.clone();
        if verified.principal.kind == PrincipalKind::Agent {
            let hint =
                format!("log in as a person, then run `weir exec --agent {subject} -- COMMAND`");
            return Err(Refusal::with_hint(
                format!("{subject} is an agent: it acts for somebody"),
                hint,
            ));
        }
        if verified.principal.kind == PrincipalKind::Human {
            self.check_account(peer, scope, &resolved, &verified)
                .await?;
        }
        let new = NewBinding {
            identity: Identity {
                principal: verified.principal,
                actors: Vec::new(),
                method: method.word().to_owned(),
                strength: Strength::Strong,
                purpose: None,
                delegation: None,
            },
            fingerprint: verified.fingerprint,
            not_after_s: verified.not_after_s,
            development: verified.development,
            owner_uid: peer.uid,
            parent: None,
            delegation: None,
            budget: None,
            token: Some(Secret::new(token)),
        };
        check_alive(peer)?;
        let changes = match scope {
            Scope::Tree => self
                .identities
                .bind_run(peer.pid, "login", new)
                .map(|change| vec![change]),
            Scope::Session => self.identities.bind_session(peer.pid, new),
        };
        self.bound(&changes.map_err(|error| bind_refusal(&error))?)
    }

    async fn exec(&self, peer: &Peer, agent: &str, terms: Terms) -> Result<Value, Refusal> {
        let resolved = self.resolve(peer)?;
        let Some(parent) = resolved.identity else {
            return Err(Refusal::with_hint(
                format!(
                    "an agent acts for somebody, and this process is unidentified: {}",
                    resolved.absence
                ),
                "run `weir login` first, or `weir login -- weir exec …` where there is no audit session",
            ));
        };
        if parent.identity.actors.len() >= MAX_ACTORS {
            return Err(Refusal::new(format!(
                "more than {MAX_ACTORS} agents would act through each other"
            )));
        }
        terms.check()?;
        if self
            .identities
            .can_gain_privileges(peer.pid)
            .unwrap_or(true)
        {
            return Err(Refusal::with_hint(
                "the process can still gain privileges",
                "set no_new_privs, or use `weir exec`",
            ));
        }
        let delegated = self
            .identities
            .delegate(agent, &parent)
            .await
            .map_err(|error| delegation_refusal(&error))?;
        let new = terms.binding(&parent, delegated, peer.uid);
        check_alive(peer)?;
        let change = self
            .identities
            .bind_run(peer.pid, "exec", new)
            .map_err(|error| bind_refusal(&error))?;
        self.record_delegation(&change.bound, &parent);
        self.bound(&[change])
    }

    fn record_delegation(&self, run: &Bound, parent: &Bound) {
        if let Some(delegation) = run.delegation {
            self.parts.record(Event::Delegation {
                delegation,
                identity: run.identity.clone(),
                subject_fingerprint: parent.token_fingerprint.clone(),
                actor_fingerprint: run.token_fingerprint.clone(),
                not_after_s: run.not_after_s(),
                budget: run.budget,
            });
        }
    }

    fn log_out(&self, peer: &Peer) -> Result<Value, Refusal> {
        let resolved = self.resolve(peer)?;
        let Some(bound) = resolved.identity else {
            return Err(Refusal::new(format!(
                "there is no login to end: {}",
                resolved.absence
            )));
        };
        if matches!(bound.key, Key::Workload { .. }) {
            return Err(Refusal::with_hint(
                "this process is a workload by weir's configuration, not by a login",
                "remove its [[workload]] entry, or let its token expire",
            ));
        }
        self.settle(&self.identities.end(&bound, "logout"));
        Ok(json!(Binding::from(&*bound)))
    }

    fn whois(
        &self,
        peer: &Peer,
        pid: Option<u32>,
        address: Option<SocketAddr>,
    ) -> Result<Value, Refusal> {
        let asking = self.asking(peer)?;
        match (pid, address) {
            (Some(pid), None) => {
                if pid != peer.pid {
                    asking.as_administrator("another process's identity")?;
                }
                let gone = |error| Refusal::new(format!("cannot look at process {pid}: {error}"));
                let resolved = self.identities.resolve_process(pid).map_err(gone)?;
                let tried = self.identities.trail_of_process(pid).map_err(gone)?;
                value(&Who {
                    tried,
                    ..Who::from(&resolved)
                })
            }
            (None, Some(address)) => {
                asking.as_administrator("another process's identity")?;
                let origin = self.parts.socket_origin(address).ok_or_else(|| {
                    Refusal::with_hint(
                        format!("no governed connection comes from {address}"),
                        "give the client's end of a connection that is open now",
                    )
                })?;
                value(&Who {
                    tried: self.identities.trail(&origin),
                    ..Who::from(&self.identities.resolve(&origin))
                })
            }
            _ => Err(Refusal::new("give a process or an address")),
        }
    }

    fn delegate(&self, peer: &Peer, request: &Value) -> Result<Value, Refusal> {
        match self.parts.other(request, &self.asking(peer)?) {
            Some(result) => result.map_err(Refusal::new),
            None => Err(Refusal::new(
                "the agent does not know this request: are both of the same version?",
            )),
        }
    }

    pub(super) fn bound(&self, changes: &[Change]) -> Result<Value, Refusal> {
        self.settle(changes);
        let last = changes
            .last()
            .ok_or_else(|| Refusal::new("nothing was bound"))?;
        value(&Binding::from(&*last.bound))
    }

    #[expect(clippy::unused_self, reason = "reads as one of the answers")]
    fn who(&self, resolved: &Resolved) -> Result<Value, Refusal> {
        value(&Who::from(resolved))
    }

    pub(super) fn asking(&self, peer: &Peer) -> Result<Asking, Refusal> {
        let in_agent_run = self.resolve(peer)?.in_agent_run;
        Ok(Asking {
            pid: peer.pid,
            uid: peer.uid,
            in_agent_run,
        })
    }

    pub(super) fn resolve(&self, peer: &Peer) -> Result<Resolved, Refusal> {
        let resolved = self.identities.resolve_process(peer.pid);
        // After reading: then what was read was of the process that connected.
        check_alive(peer)?;
        resolved
            .map_err(|error| Refusal::new(format!("cannot look at the process that asks: {error}")))
    }

    async fn verify(&self, token: &str) -> Result<Verified, Refusal> {
        self.identities
            .verify(token)
            .await
            .map_err(|error| Refusal::new(telemetry::chain(&error)))
    }

    async fn development_token(&self, user: &str) -> Result<String, Refusal> {
        match self.identities.development_token(user).await {
            Some(Ok(token)) => Ok(token),
            Some(Err(error)) => Err(Refusal::with_hint(
                format!(
                    "the development issuer gave no token for {user:?}: {}",
                    telemetry::chain(&error)
                ),
                "check that `weir dev-idp` runs at the configured address and knows that user",
            )),
            None => Err(Refusal::with_hint(
                "no development issuer is configured",
                "log in with a token of a configured issuer: `weir login --token-file FILE`",
            )),
        }
    }
}

impl Asking {
    pub(super) fn as_administrator(self, what: &str) -> Result<(), Refusal> {
        if self.is_administrator() {
            return Ok(());
        }
        Err(Refusal::with_hint(
            format!("{what} is for root, outside of any agent's run"),
            "use sudo",
        ))
    }
}

/// What a run is started with.
struct Terms {
    purpose: Option<String>,
    ttl: Duration,
    budget: Option<RunBudget>,
}

impl Terms {
    fn check(&self) -> Result<(), Refusal> {
        one_line("the purpose", self.purpose.as_deref().unwrap_or_default())
    }

    /// The person's identity with the agent as the innermost actor; it ends with whichever ends first.
    fn binding(self, parent: &Arc<Bound>, delegated: Delegated, owner_uid: u32) -> NewBinding {
        let ttl_s = self.ttl.min(LONGEST_RUN).as_secs();
        let until_s = i64::try_from(clock::now().as_secs() + ttl_s).unwrap_or(i64::MAX);
        // A login that is renewed may last longer than it says now; the run ends with it in any case.
        let parent_s = if parent.is_renewable() {
            i64::MAX
        } else {
            parent.not_after_s()
        };
        let mut actors = parent.identity.actors.clone();
        actors.push(delegated.actor);
        NewBinding {
            identity: Identity {
                principal: parent.identity.principal.clone(),
                actors,
                method: Method::Exec.word().to_owned(),
                strength: parent.identity.strength,
                purpose: self.purpose.or_else(|| parent.identity.purpose.clone()),
                delegation: Some(delegated.how.vouched()),
            },
            fingerprint: delegated.fingerprint,
            not_after_s: until_s.min(delegated.not_after_s).min(parent_s),
            development: delegated.development || parent.development,
            owner_uid,
            parent: Some(Arc::clone(parent)),
            delegation: Some(delegated.how),
            budget: self.budget,
            token: delegated.token,
        }
    }
}

fn delegation_refusal(error: &DelegationError) -> Refusal {
    let hint = match error {
        DelegationError::NoAgent { .. } => "`weir login` is for people and services",
        DelegationError::Unknown { .. } => {
            "add an [[ai_agent]] section to the agent's configuration"
        }
        DelegationError::Development { .. } => {
            "check that `weir dev-idp` runs at the configured address and knows that agent"
        }
        DelegationError::NoSubjectToken { .. } => "run `weir login` again",
        _ => return Refusal::new(telemetry::chain(error)),
    };
    Refusal::with_hint(telemetry::chain(error), hint)
}

/// What people say for the record.
pub(super) fn one_line(what: &str, text: &str) -> Result<(), Refusal> {
    if text.len() > SAID_BYTES || text.chars().any(char::is_control) {
        return Err(Refusal::new(format!(
            "{what} must be one line of at most {SAID_BYTES} bytes"
        )));
    }
    Ok(())
}

pub(super) fn check_alive(peer: &Peer) -> Result<(), Refusal> {
    if peer.is_alive() {
        Ok(())
    } else {
        Err(Refusal::new("the process that asked is gone"))
    }
}

pub(super) fn bind_refusal(error: &BindError) -> Refusal {
    let message = telemetry::chain(error);
    match error {
        BindError::Marked => Refusal::with_hint(message, "log in outside of the run"),
        BindError::NoSession => Refusal::with_hint(
            message,
            "bind one command and its children instead: `weir login --scope tree -- COMMAND`",
        ),
        BindError::Occupied => Refusal::with_hint(
            message,
            "start the command anew: `weir login --scope tree -- COMMAND`",
        ),
        BindError::Gone(_) | BindError::Make(_) | BindError::Enter(_) => Refusal::new(message),
    }
}

pub(super) fn value(answer: &impl Serialize) -> Result<Value, Refusal> {
    serde_json::to_value(answer)
        .map_err(|error| Refusal::new(format!("cannot write the answer: {error}")))
}
