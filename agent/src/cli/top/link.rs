//! The way to the agent: looks at it again and again, and carries orders out. Each in a thread of its own, so that the
//! screen answers keys meanwhile.

use std::{sync::mpsc::Sender, thread, time::Duration};

use anyhow::Context as _;

use super::{
    model::{News, Order, Picture, Wanted},
    record,
    snapshot::Snapshot,
};
use crate::{
    cli::{
        approvals::{self, show},
        whoami,
    },
    control::{
        Client,
        protocol::{Approvals, Request, Who},
        socket_path,
    },
    holds::View,
    terminal::visible,
};

/// Looks once.
pub(super) fn look() -> anyhow::Result<Snapshot> {
    let status = Client::connect(&socket_path())?.ask(&Request::Status)?;
    Ok(Snapshot::read(&status))
}

/// Looks every `interval` until nobody listens; an agent that went away is looked for again.
pub(super) fn keep_looking<T: From<News>>(interval: Duration, to: &Sender<T>) {
    let mut last: Option<Snapshot> = None;
    loop {
        let news = match look() {
            Ok(now) => {
                let picture = Picture {
                    rates: now.since(last.as_ref().unwrap_or(&now)),
                    holds: waiting().map_err(|error| said(&error)),
                    state_dir: now.state_dir.clone(),
                    policy: now.policy.clone(),
                };
                last = Some(now);
                News::Looked(Box::new(picture))
            }
            Err(error) => {
                last = None;
                News::Gone(said(&error))
            }
        };
        if to.send(news.into()).is_err() {
            return;
        }
        thread::sleep(interval);
    }
}

/// Carries an order out.
pub(super) fn carry_out(order: Order) -> News {
    let outcome = |done: anyhow::Result<String>| News::Done(done.map_err(|error| said(&error)));
    match order {
        Order::End { session, reason } => outcome(end(session, reason)),
        Order::Decide {
            id,
            verdict,
            reason,
        } => outcome(approvals::decide(id, verdict, reason)),
        Order::Fill { page, with } => News::Filled {
            page,
            body: fill(&with).map_err(|error| said(&error)),
        },
    }
}

fn end(session: u64, reason: String) -> anyhow::Result<String> {
    approvals::ask(&Request::EndSession { session, reason })?;
    Ok(format!("session {session} was ended"))
}

fn waiting() -> anyhow::Result<Vec<crate::holds::Summary>> {
    let answer = approvals::ask(&Request::Approvals)?;
    Ok(approvals::read::<Approvals>(answer)?.waiting)
}

fn fill(wanted: &Wanted) -> anyhow::Result<String> {
    match wanted {
        Wanted::Session {
            session,
            client,
            state_dir,
        } => {
            // Either may be refused or gone without the other.
            let who = behind(client).unwrap_or_else(|error| said(&error));
            let last = record::last(state_dir, *session).unwrap_or_else(|error| said(&error));
            // What is looked for first is in sight without scrolling.
            let (sentence, more) = who.split_once('\n').unwrap_or((&who, ""));
            Ok(format!("{sentence}\n\n{last}\n{more}"))
        }
        Wanted::Explanation {
            session,
            state_dir,
            policy,
        } => record::explained(state_dir, *session, policy),
        Wanted::Held { id } => {
            let answer = approvals::ask(&Request::Approval { id: *id })?;
            Ok(show::one(&approvals::read::<View>(answer)?, None))
        }
    }
}

fn behind(client: &str) -> anyhow::Result<String> {
    let address = client
        .parse()
        .context("the agent does not say from where the session comes")?;
    let answer = approvals::ask(&Request::Whois {
        pid: None,
        address: Some(address),
    })?;
    Ok(whoami::describe(&approvals::read::<Who>(answer)?))
}

/// An error and its causes, in one line that steers no terminal.
fn said(error: &anyhow::Error) -> String {
    visible(&format!("{error:#}")).replace('\n', "; ")
}
