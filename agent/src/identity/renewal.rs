//! Logins are kept true: the provider is asked for new tokens again and again.
//!
//! A refused refresh token ends the login at once. A provider that does not answer leaves the last that it said in
//! force, shown as stale, for a time. Refresh tokens are in this process's memory only: an agent that is restarted
//! cannot renew what the one before it had.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::{sync::Mutex as AsyncMutex, task::JoinSet};

use super::{
    account::{self, Account},
    bound::Bound,
    issuers::Issuer,
    login::Granted,
    secret::Secret,
    token::Verified,
};
use crate::telemetry;

/// A provider that did not answer is asked again after this at the latest.
const ANXIOUS: Duration = Duration::from_secs(30);

/// What a provider says of a login.
#[derive(Debug)]
pub(super) enum Outcome {
    /// It holds, for this person.
    Holds(Box<Verified>),
    /// Nobody said anything that can be believed: what was said before holds until then.
    Silent { until_s: i64 },
    /// It is over.
    Over,
}

/// The logins that are renewed.
#[derive(Debug, Default)]
pub(super) struct Renewals {
    waiting: Mutex<Vec<Renewable>>,
    asking: AsyncMutex<JoinSet<(Renewable, Outcome)>>,
}

#[derive(Debug)]
struct Renewable {
    bound: Arc<Bound>,
    issuer: Arc<Issuer>,
    account: Account,
    token: Secret,
    next: Instant,
}

impl Renewals {
    /// Takes charge of a login. One that was renewed for the same binding before is given back.
    pub(super) fn add(&self, bound: &Arc<Bound>, granted: Granted, account: Account) {
        let mut waiting = self.lock();
        let before = take(&mut waiting, |known| known.bound.is(bound));
        if let Some(token) = granted.refresh_token {
            waiting.push(Renewable {
                bound: Arc::clone(bound),
                next: Instant::now() + granted.issuer.settings().probe(),
                issuer: granted.issuer,
                account,
                token,
            });
        }
        drop(waiting);
        give_back(before);
    }

    /// The binding has another form now.
    pub(super) fn replace(&self, now: &Arc<Bound>) {
        for known in self.lock().iter_mut().filter(|known| known.bound.is(now)) {
            known.bound = Arc::clone(now);
        }
    }

    /// Gives back what nobody holds any more, asks for what is due, and returns what was answered since the last time.
    pub(super) async fn turn(
        &self,
        is_held: impl Fn(&Bound) -> bool,
    ) -> Vec<(Arc<Bound>, Outcome)> {
        let now = Instant::now();
        let (gone, due) = {
            let mut waiting = self.lock();
            let gone = take(&mut waiting, |known| !is_held(&known.bound));
            (gone, take(&mut waiting, |known| now >= known.next))
        };
        give_back(gone);
        let mut asking = self.asking.lock().await;
        for renewable in due {
            asking.spawn(renewable.ask());
        }
        let mut answers = Vec::new();
        while let Some(answered) = asking.try_join_next() {
            let Ok((renewable, outcome)) = answered else {
                tracing::error!("a renewal failed inside: its login ends with its token");
                continue;
            };
            answers.push((Arc::clone(&renewable.bound), outcome));
            let mut waiting = self.lock();
            // A newer login of the same binding was made meanwhile: its token counts.
            if waiting.iter().any(|known| known.bound.is(&renewable.bound)) {
                drop(waiting);
                give_back(vec![renewable]);
            } else {
                // Over as well: it is not held any more, and is given back at the next turn.
                waiting.push(renewable);
            }
        }
        answers
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Renewable>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Renewable {
    async fn ask(mut self) -> (Self, Outcome) {
        let outcome = self.refresh().await;
        let probe = self.issuer.settings().probe();
        let pause = match outcome {
            Outcome::Silent { .. } => probe.min(ANXIOUS),
            Outcome::Holds(_) | Outcome::Over => probe,
        };
        self.next = Instant::now() + pause;
        (self, outcome)
    }

    async fn refresh(&mut self) -> Outcome {
        let mut tokens = match self.issuer.refresh(&self.token).await {
            Ok(tokens) => tokens,
            Err(error) if error.is("invalid_grant") => {
                self.say("the provider ended a login", &error);
                return Outcome::Over;
            }
            Err(error) => {
                self.say("a login cannot be renewed now", &error);
                return self.in_grace();
            }
        };
        // Rotated: the old one is of no use from here on.
        if let Some(token) = tokens.refresh_token.take() {
            self.token = token;
        }
        match self.issuer.verify_login(&tokens, None).await {
            Ok(verified) => {
                let outcome = self.judge(verified);
                if let (Outcome::Holds(_), Some(token)) =
                    (&outcome, self.issuer.login_token(&tokens))
                {
                    self.bound.hold(token.clone());
                }
                outcome
            }
            Err(error) => {
                self.say("a renewed token is not accepted", &error);
                self.in_grace()
            }
        }
    }

    fn judge(&self, verified: Verified) -> Outcome {
        let principal = &self.bound.identity.principal;
        let found = &verified.principal;
        if (&found.issuer, &found.subject) != (&principal.issuer, &principal.subject) {
            tracing::error!(
                subject = principal.subject,
                "a renewed token is somebody else's"
            );
            return Outcome::Over;
        }
        if let Err(error) = account::check(self.issuer.settings(), &self.account, &verified) {
            self.say("a renewed token is not this account's", &error);
            return Outcome::Over;
        }
        Outcome::Holds(Box::new(verified))
    }

    /// There is no new word, or one that proves neither that the login holds nor that it is over: the last one holds for
    /// the time of grace.
    fn in_grace(&self) -> Outcome {
        let grace = self.issuer.settings().offline_grace().as_secs();
        let grace_s = i64::try_from(grace).unwrap_or(i64::MAX);
        Outcome::Silent {
            until_s: self.bound.verified_s().saturating_add(grace_s),
        }
    }

    fn say(&self, what: &str, error: &dyn std::error::Error) {
        tracing::warn!(
            subject = self.bound.identity.principal.subject,
            key = %self.bound.key,
            error = telemetry::chain(error),
            "{what}"
        );
    }
}

fn take(waiting: &mut Vec<Renewable>, which: impl Fn(&Renewable) -> bool) -> Vec<Renewable> {
    waiting.extract_if(.., |known| which(known)).collect()
}

/// At the provider, behind whoever is here: nothing waits for it.
fn give_back(renewables: Vec<Renewable>) {
    for renewable in renewables {
        tokio::spawn(async move { renewable.issuer.give_back(&renewable.token).await });
    }
}
