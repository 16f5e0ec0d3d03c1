//! Logins that go on when the command that began them has ended, as at the log-in to the host: bound to the audit
//! session of who asked and to the account that it belongs to, and to nothing else. They end with the session.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use nix::unistd::User;
use serde_json::Value;
use tokio::{task::AbortHandle, time::Instant};

use super::{
    logins::{Place, WAIT, account_of, new_binding, place, refusal},
    peer::Peer,
    protocol::{Begun, Refusal, Scope},
    requests::{Desk, check_alive, value},
};
use crate::identity::{
    account::Account,
    issuers::Issuer,
    login::{self, Pending, Wanted},
};

/// Waiting at a time, for one account and for all.
const PER_ACCOUNT: usize = 8;
const IN_ALL: usize = 256;

/// Between two looks whether the session is still there: each looks at every process.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// What is waited for, by audit session.
#[derive(Debug, Default)]
pub(super) struct Detached(Mutex<HashMap<u32, Waiting>>);

#[derive(Debug)]
struct Waiting {
    uid: u32,
    task: AbortHandle,
}

impl Detached {
    /// Refuses what would be too many. A session's own earlier login is not counted: the later one ends it.
    fn check_room(&self, session: u32, uid: u32) -> Result<(), Refusal> {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.retain(|_, one| !one.task.is_finished());
        let others = || waiting.iter().filter(|(id, _)| **id != session);
        let own = others().filter(|(_, one)| one.uid == uid).count();
        if own >= PER_ACCOUNT || others().count() >= IN_ALL {
            return Err(Refusal::with_hint(
                "too many logins are waited for already",
                "finish one of them, or end its session",
            ));
        }
        Ok(())
    }

    fn add(&self, session: u32, uid: u32, task: AbortHandle) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(before) = waiting.insert(session, Waiting { uid, task }) {
            before.task.abort();
        }
    }
}

impl Desk {
    /// Begins a login that nobody waits for. `account` is whom root lets in, as PAM names it; only root may say so.
    pub(super) async fn begin_detached(
        &self,
        peer: &Peer,
        issuer: Option<&str>,
        wanted: Wanted,
        scope: Option<Scope>,
        account: Option<String>,
    ) -> Result<Value, Refusal> {
        let resolved = self.resolve(peer)?;
        let (Place::Session, Some(session)) =
            (place(&resolved, scope)?, resolved.evidence.audit_session)
        else {
            return Err(Refusal::with_hint(
                "only a login session's login can go on without its command",
                "leave out --no-wait",
            ));
        };
        let account = match account {
            None => account_of(peer.uid).await,
            Some(_) if peer.uid != 0 => {
                return Err(Refusal::new("only root may log in for another account"));
            }
            Some(name) => account_named(name).await?,
        };
        // What PAM says and what the kernel noted must agree: whoever has no login uid may claim any, once.
        if resolved.evidence.loginuid != Some(account.uid) {
            return Err(Refusal::with_hint(
                "this login session of the host was begun by another user",
                "in PAM's stack, pam_loginuid.so comes first",
            ));
        }
        let Some(issuer) = self.choose(issuer)? else {
            return value(&Begun::Development);
        };
        self.detached.check_room(session, account.uid)?;
        let (prompt, pending) = login::begin(issuer, wanted)
            .await
            .map_err(|error| refusal(&error))?;
        check_alive(peer)?;
        let (desk, uid, issuer) = (self.clone(), account.uid, Arc::clone(issuer));
        let task = tokio::spawn(async move {
            if let Err(refusal) = desk.finish(session, &account, &issuer, pending).await {
                tracing::warn!(
                    session,
                    uid,
                    why = refusal.message,
                    "a login came to nothing"
                );
            }
        });
        self.detached.add(session, uid, task.abort_handle());
        value(&Begun::Prompt(prompt))
    }

    async fn finish(
        &self,
        session: u32,
        account: &Account,
        issuer: &Issuer,
        mut pending: Pending,
    ) -> Result<(), Refusal> {
        let ended = || Refusal::new("its session has ended");
        let mut looked = Instant::now();
        let granted = loop {
            if let Some(outcome) = pending.wait(WAIT).await {
                break outcome.map_err(|error| refusal(&error))?;
            }
            if looked.elapsed() >= LOOK_EVERY {
                if !self.is_live(session).await {
                    return Err(ended());
                }
                looked = Instant::now();
            }
        };
        let judged = self
            .check_person(&granted.verified)
            .and_then(|()| self.check_owner(issuer.settings(), account, &granted.verified));
        let bound = match judged {
            Err(refusal) => Err(refusal),
            Ok(()) if !self.is_live(session).await => Err(ended()),
            Ok(()) => self
                .identities
                .bind_session_of(session, new_binding(account.uid, &granted))
                .ok_or_else(ended),
        };
        match bound {
            Ok(changes) => {
                if let Some(last) = changes.last() {
                    let bound = Arc::clone(&last.bound);
                    self.identities.keep_true(&bound, granted, account.clone());
                }
                self.settle(&changes);
                Ok(())
            }
            Err(refusal) => {
                granted.give_back().await;
                Err(refusal)
            }
        }
    }

    async fn is_live(&self, session: u32) -> bool {
        let identities = Arc::clone(&self.identities);
        tokio::task::spawn_blocking(move || identities.is_live_session(session))
            .await
            .unwrap_or(false)
    }
}

/// The account that PAM names; a directory service may take its time.
async fn account_named(name: String) -> Result<Account, Refusal> {
    let look = {
        let name = name.clone();
        move || User::from_name(&name).ok().flatten()
    };
    let found = tokio::task::spawn_blocking(look).await.ok().flatten();
    found
        .map(|user| Account {
            uid: user.uid.as_raw(),
            name: Some(user.name),
        })
        .ok_or_else(|| Refusal::new(format!("this host has no account {name:?}")))
}
