//! Logins of people at a provider, as the control socket offers them: one begins, and is waited for on the same
//! connection. Whoever goes away has not logged in.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use weir_policy::{Identity, PrincipalKind, Strength};

use super::{
    peer::Peer,
    protocol::{Begun, Progress, Refusal, Scope},
    requests::{Desk, bind_refusal, check_alive, value},
};
use crate::{
    identity::{
        BindError, Bound, Change, Key, NewBinding, Resolved, Verified,
        account::{self, Account},
        issuers::Issuer,
        login::{self, Flow, Granted, LoginError, Pending, Wanted},
        settings::IssuerSettings,
    },
    telemetry,
};

/// How long one question waits: a person who gives up is noticed within that.
pub(super) const WAIT: Duration = Duration::from_secs(2);

/// A provider's word for how to prove oneself, and the longest age of a login.
const ACR_BYTES: usize = 256;
const LONGEST_AGE_S: u64 = 365 * 86_400;

/// What a connection has begun.
#[derive(Debug, Default)]
pub(super) struct Talk {
    login: Option<(Pending, Option<Scope>)>,
}

impl Talk {
    pub(super) fn has_begun(&self) -> bool {
        self.login.is_some()
    }
}

/// What a login is to be bound to.
pub(super) enum Place {
    /// What is bound already.
    Present(Arc<Bound>),
    Session,
    Tree,
}

impl Desk {
    pub(super) async fn begin_login(
        &self,
        peer: &Peer,
        talk: &mut Talk,
        issuer: Option<&str>,
        wanted: Wanted,
        scope: Option<Scope>,
    ) -> Result<Value, Refusal> {
        // A second login of one connection ends the first.
        talk.login = None;
        let resolved = self.resolve(peer)?;
        place(&resolved, scope)?;
        if wanted.max_age_s.is_some_and(|age| age > LONGEST_AGE_S)
            || wanted.acr.as_ref().is_some_and(|acr| {
                acr.is_empty() || acr.len() > ACR_BYTES || acr.chars().any(char::is_control)
            })
        {
            return Err(Refusal::new("such an age or acr cannot be asked for"));
        }
        let Some(issuer) = self.choose(issuer)? else {
            return value(&Begun::Development);
        };
        let (prompt, pending) = login::begin(issuer, wanted)
            .await
            .map_err(|error| refusal(&error))?;
        talk.login = Some((pending, scope));
        value(&Begun::Prompt(prompt))
    }

    pub(super) async fn wait_for_login(
        &self,
        peer: &Peer,
        talk: &mut Talk,
    ) -> Result<Value, Refusal> {
        let Some((pending, scope)) = &mut talk.login else {
            return Err(Refusal::new("this connection has begun no login"));
        };
        let scope = *scope;
        let Some(ended) = pending.wait(WAIT).await else {
            return value(&Progress::Waiting);
        };
        talk.login = None;
        let granted = ended.map_err(|error| refusal(&error))?;
        match self.bind_login(peer, scope, &granted).await {
            Ok((changes, account)) => {
                let last = changes.last().map(|change| Arc::clone(&change.bound));
                if let Some(bound) = last {
                    self.identities.keep_true(&bound, granted, account);
                }
                let binding = self.bound(&changes)?;
                Ok(json!({ "bound": binding }))
            }
            Err(refusal) => {
                tokio::spawn(granted.give_back());
                Err(refusal)
            }
        }
    }

    /// Refuses who is not the account's owner, by the issuer's settings.
    pub(super) async fn check_account(
        &self,
        peer: &Peer,
        scope: Scope,
        resolved: &Resolved,
        verified: &Verified,
    ) -> Result<Account, Refusal> {
        let account = account_of(peer.uid).await;
        let issuer = &verified.principal.issuer;
        let all = self.identities.issuers().all();
        let issuer = all.iter().find(|known| known.settings().issuer == *issuer);
        let issuer = issuer.ok_or_else(|| Refusal::new("the token's issuer is not configured"))?;
        let settings = issuer.settings();
        self.check_owner(settings, &account, verified)?;
        // A session is its owner's, whoever became somebody else in it.
        let owner = resolved.evidence.loginuid;
        if settings.matches_accounts()
            && scope == Scope::Session
            && owner.is_some_and(|owner| owner != peer.uid)
        {
            return Err(Refusal::with_hint(
                "this login session of the host was begun by another user",
                "bind one command and its children instead: `weir login --scope tree -- COMMAND`",
            ));
        }
        Ok(account)
    }

    /// As [`Desk::check_account`], for an account that is known.
    #[expect(clippy::unused_self, reason = "reads as one of the checks")]
    pub(super) fn check_owner(
        &self,
        settings: &IssuerSettings,
        account: &Account,
        verified: &Verified,
    ) -> Result<(), Refusal> {
        account::check(settings, account, verified)
            .map_err(|error| Refusal::with_hint(error.to_string(), error.hint()))
    }

    #[expect(clippy::unused_self, reason = "reads as one of the checks")]
    pub(super) fn check_person(&self, verified: &Verified) -> Result<(), Refusal> {
        if verified.principal.kind == PrincipalKind::Human {
            return Ok(());
        }
        Err(Refusal::new(format!(
            "{} is no person by its issuer's word",
            verified.principal.subject
        )))
    }

    async fn bind_login(
        &self,
        peer: &Peer,
        scope: Option<Scope>,
        granted: &Granted,
    ) -> Result<(Vec<Change>, Account), Refusal> {
        let resolved = self.resolve(peer)?;
        let place = place(&resolved, scope)?;
        let verified = &granted.verified;
        self.check_person(verified)?;
        let scope = match place {
            Place::Session => Scope::Session,
            Place::Tree | Place::Present(_) => Scope::Tree,
        };
        let account = self.check_account(peer, scope, &resolved, verified).await?;
        let new = new_binding(peer.uid, granted);
        check_alive(peer)?;
        let changes = match place {
            Place::Present(bound) => self
                .identities
                .bind_again(&bound, "login", new)
                .map(|change| vec![change]),
            Place::Session => self.identities.bind_session(peer.pid, new),
            Place::Tree => self
                .identities
                .bind_run(peer.pid, "login", new)
                .map(|change| vec![change]),
        };
        let changes = changes.map_err(|error| bind_refusal(&error))?;
        Ok((changes, account))
    }

    /// The issuer for people; `None` where there is only the one for development.
    pub(super) fn choose(&self, named: Option<&str>) -> Result<Option<&Arc<Issuer>>, Refusal> {
        let issuers = self.identities.issuers();
        let mut able = issuers
            .all()
            .iter()
            .filter(|issuer| issuer.client().is_some());
        if let Some(named) = named {
            let found = able.find(|issuer| issuer.settings().issuer == named);
            return found.map(Some).ok_or_else(|| {
                Refusal::with_hint(
                    format!("nobody can log in at {named:?}"),
                    "give an [[issuer]] of the configuration that has a client_id",
                )
            });
        }
        match (able.next(), able.next()) {
            (None, _) if issuers.development() => Ok(None),
            (None, _) => Err(Refusal::with_hint(
                "no issuer is configured at which people log in",
                "add client_id to an [[issuer]], or hand over a token: `weir login --token-file FILE`",
            )),
            (Some(only), None) => Ok(Some(only)),
            (Some(_), Some(_)) => {
                let listed: Vec<&str> = issuers
                    .all()
                    .iter()
                    .filter(|issuer| issuer.client().is_some())
                    .map(|issuer| issuer.settings().issuer.as_str())
                    .collect();
                Err(Refusal::with_hint(
                    format!("people log in at several issuers: {}", listed.join(", ")),
                    "say which: `weir login --issuer URL`",
                ))
            }
        }
    }
}

/// Where a login of this process goes, or why nowhere.
pub(super) fn place(resolved: &Resolved, scope: Option<Scope>) -> Result<Place, Refusal> {
    if resolved.in_agent_run {
        return Err(bind_refusal(&BindError::Marked));
    }
    let present = resolved
        .identity
        .as_ref()
        .filter(|bound| matches!(bound.key, Key::Cgroup { .. }) && !bound.is_agent_run());
    match (scope, present) {
        (Some(Scope::Tree), _) => Ok(Place::Tree),
        // A tree counts before the session around it: a session's login would change nothing here.
        (None | Some(Scope::Session), Some(bound)) => Ok(Place::Present(Arc::clone(bound))),
        (None | Some(Scope::Session), None) if resolved.evidence.audit_session.is_some() => {
            Ok(Place::Session)
        }
        (None | Some(Scope::Session), None) => Err(bind_refusal(&BindError::NoSession)),
    }
}

pub(super) fn new_binding(owner_uid: u32, granted: &Granted) -> NewBinding {
    let verified = &granted.verified;
    let method = match granted.flow {
        Flow::Device => "device",
        Flow::Browser => "code",
    };
    NewBinding {
        identity: Identity {
            principal: verified.principal.clone(),
            actors: Vec::new(),
            method: method.to_owned(),
            strength: Strength::Strong,
            purpose: None,
            delegation: None,
        },
        fingerprint: verified.fingerprint.clone(),
        not_after_s: verified.not_after_s,
        development: verified.development,
        owner_uid,
        parent: None,
        delegation: None,
        budget: None,
        token: granted.token.clone(),
    }
}

/// The account's name; a directory service may take its time.
pub(super) async fn account_of(uid: u32) -> Account {
    let look = move || nix::unistd::User::from_uid(uid.into()).ok().flatten();
    let found = tokio::task::spawn_blocking(look).await.ok().flatten();
    Account {
        uid,
        name: found.map(|user| user.name),
    }
}

pub(super) fn refusal(error: &LoginError) -> Refusal {
    let message = telemetry::chain(error);
    match error {
        LoginError::NoClient { .. } => {
            Refusal::with_hint(message, "add client_id to that [[issuer]]")
        }
        LoginError::Late | LoginError::Denied => {
            Refusal::with_hint(message, "run `weir login` again")
        }
        LoginError::Grant(_) => Refusal::with_hint(
            message,
            "`weir doctor --config FILE` asks the provider what is missing",
        ),
        LoginError::NotFresh { .. } | LoginError::NotStrong { .. } => Refusal::with_hint(
            message,
            "try `weir login --browser`, or have the provider ask for it by its own policy",
        ),
        _ => Refusal::new(message),
    }
}
