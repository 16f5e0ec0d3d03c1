//! Who writes on one connection besides its maker, and what is left of an identity when somebody else does.

use std::sync::Arc;

use crate::{
    capture::{Writer, Writers},
    identity::Bound,
    telemetry,
};

/// Tells a session of foreign writers on its connection.
#[derive(Debug)]
pub(crate) struct Senders {
    /// `None` where the kernel does not tell.
    writers: Option<Writers>,
    socket_cookie: u64,
    /// The kernel's word when it was last asked; its first value is no foreign writer at all, since boot.
    stamp: u64,
}

impl Senders {
    /// For a connection by its cookie; what was written before counts as well.
    pub(crate) fn new(writers: Option<Writers>, socket_cookie: u64) -> Self {
        Self {
            writers: writers.filter(|_| socket_cookie != 0),
            socket_cookie,
            stamp: 0,
        }
    }

    /// Foreign writers since the last call. Call it between reading bytes and judging them: who wrote them is known then.
    /// One word of memory where nobody on this host writes on a foreign connection.
    #[inline]
    pub(crate) fn news(&mut self) -> Vec<Writer> {
        let Some(writers) = &self.writers else {
            return Vec::new();
        };
        // Before the map is read: what is noted meanwhile shows next time.
        let stamp = writers.stamp();
        if stamp == self.stamp {
            return Vec::new();
        }
        self.stamp = stamp;
        writers.take(self.socket_cookie).unwrap_or_else(|error| {
            tracing::error!(
                error = telemetry::chain(&error),
                "who writes on a connection is not known"
            );
            vec![Writer::Others]
        })
    }
}

impl Drop for Senders {
    fn drop(&mut self) {
        if let Some(writers) = &self.writers
            && writers.stamp() != self.stamp
        {
            let _ = writers.take(self.socket_cookie);
        }
    }
}

/// What is left of a session's identity when another process writes on its connection.
#[derive(Debug)]
pub(crate) enum Remaining {
    /// As before: the sender is as strong, or stronger.
    Same,
    /// The sender's, which rests on the session's: an agent's run of the same person.
    Weaker(Arc<Bound>),
    /// None.
    Nobody,
}

/// The weaker of a session's and a sender's identity, where one rests on the other; nobody's where neither does.
pub(crate) fn remaining(session: Option<&Arc<Bound>>, sender: Option<&Arc<Bound>>) -> Remaining {
    match (session, sender) {
        (None, _) => Remaining::Same,
        (Some(session), Some(sender)) if session.rests_on(sender) || is_as(session, sender) => {
            Remaining::Same
        }
        (Some(session), Some(sender)) if sender.rests_on(session) => {
            Remaining::Weaker(Arc::clone(sender))
        }
        (Some(_), _) => Remaining::Nobody,
    }
}

/// Whether two bindings are of one identity to one thing: a workload's is made anew when its groups change.
fn is_as(one: &Bound, other: &Bound) -> bool {
    one.key == other.key && one.identity == other.identity
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{Key, bound::tests::identity};

    fn bound(subject: &str, actor: Option<&str>, parent: Option<&Arc<Bound>>) -> Arc<Bound> {
        let key = Key::Workload {
            name: subject.to_owned(),
        };
        let mut bound = Bound::new(identity(subject, actor), key, String::new(), i64::MAX);
        bound.parent = parent.cloned();
        Arc::new(bound)
    }

    #[test]
    fn the_weaker_identity_is_left() {
        let bob = bound("bob", None, None);
        let run = bound("bob", Some("bot"), Some(&bob));
        let eve = bound("eve", None, None);
        let again = bound("bob", None, None);

        assert!(matches!(remaining(Some(&bob), Some(&bob)), Remaining::Same));
        assert!(matches!(
            remaining(Some(&bob), Some(&again)),
            Remaining::Same
        ));
        assert!(matches!(remaining(Some(&run), Some(&bob)), Remaining::Same));
        assert!(
            matches!(remaining(Some(&bob), Some(&run)), Remaining::Weaker(left) if Arc::ptr_eq(&left, &run))
        );
        assert!(matches!(
            remaining(Some(&bob), Some(&eve)),
            Remaining::Nobody
        ));
        assert!(matches!(
            remaining(Some(&run), Some(&eve)),
            Remaining::Nobody
        ));
        assert!(matches!(remaining(Some(&bob), None), Remaining::Nobody));
        assert!(matches!(remaining(None, Some(&bob)), Remaining::Same));
        assert!(matches!(remaining(None, None), Remaining::Same));
    }
}
