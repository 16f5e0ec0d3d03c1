//! Freshness: who waits for what, and what a failure takes away.

mod borrowed;

use std::{
    future::poll_fn,
    net::SocketAddr,
    sync::{Arc, Weak, atomic::AtomicU64},
    task::{Context, Poll, Waker},
    time::Duration,
};

use tokio::{sync::mpsc, task::JoinHandle, time::timeout};

use super::{
    Credentials, Place,
    database::{Database, Look, Reader, keep},
};

#[tokio::test]
async fn a_check_serves_all_who_asked_before_it_began() {
    let mut stage = Stage::new();
    let (first, second) = (stage.database.ask(), stage.database.ask());
    stage.expect_look(Ok(true)).await;
    stage.wait(first).await;
    stage.wait(second).await;
    assert_eq!(stage.epoch(), Some(1));
    assert!(stage.is_quiet().await, "both were served by one look");
}

#[tokio::test]
async fn who_asks_during_a_check_waits_for_the_next() {
    let mut stage = Stage::new();
    let first = stage.database.ask();
    let answer = stage.begin_look().await;
    let late = stage.database.ask();
    answer.send(Ok(true)).expect("it waits for this");
    stage.wait(first).await;
    assert!(stage.is_pending(late));
    stage.expect_look(Ok(false)).await;
    stage.wait(late).await;
    assert_eq!(stage.epoch(), Some(1), "nothing has changed");
}

#[tokio::test]
async fn everybody_waits_for_what_is_required() {
    let mut stage = Stage::new();
    let first = stage.database.ask();
    stage.expect_look(Ok(true)).await;
    stage.wait(first).await;
    stage.database.require();
    assert!(stage.is_pending(first), "a session that asked for nothing");
    stage.expect_look(Ok(true)).await;
    stage.wait(first).await;
    assert_eq!(stage.epoch(), Some(2));
}

#[tokio::test]
async fn a_failure_takes_the_snapshot_away_and_says_why() {
    let mut stage = Stage::new();
    let first = stage.database.ask();
    stage.expect_look(Ok(true)).await;
    stage.wait(first).await;
    let version = stage.database.version();
    let second = stage.database.ask();
    stage.expect_look(Err(())).await;
    stage.wait(second).await;
    assert_eq!(stage.epoch(), None);
    assert!(stage.database.version() > version);
    let problem = stage.database.summary(&|_| 0).problem;
    assert_eq!(problem.as_deref(), Some("it is broken"));
    let third = stage.database.ask();
    stage.expect_look(Ok(true)).await;
    stage.wait(third).await;
    assert_eq!(
        (stage.epoch(), stage.database.summary(&|_| 0).problem),
        (Some(2), None)
    );
}

#[tokio::test]
async fn a_database_with_sessions_is_looked_at_again_and_again() {
    let mut stage = Stage::new();
    stage.database.enter();
    for _ in 0..3 {
        stage.expect_look(Ok(true)).await;
    }
    stage.database.leave();
    // One more may be under way.
    let _ = timeout(Duration::from_millis(100), stage.looks.recv()).await;
    assert!(stage.is_quiet().await, "nobody needs it");
}

/// A database whose reader does what the test says.
struct Stage {
    database: Arc<Database>,
    looks: mpsc::UnboundedReceiver<Answer>,
    keeper: JoinHandle<()>,
}

/// To be answered with whether something has changed.
type Answer = tokio::sync::oneshot::Sender<Result<bool, ()>>;

struct Scripted(mpsc::UnboundedSender<Answer>);

#[derive(Debug, thiserror::Error)]
#[error("it is broken")]
struct Broken;

impl Reader for Scripted {
    type Error = Broken;

    async fn look(&mut self) -> Result<Look, Broken> {
        let (sender, answer) = tokio::sync::oneshot::channel();
        self.0.send(sender).map_err(|_| Broken)?;
        match answer.await {
            Ok(Ok(true)) => Ok(Look::Changed(Box::default())),
            Ok(Ok(false)) => Ok(Look::Same),
            _ => Err(Broken),
        }
    }

    fn rest(&mut self) {}
}

impl Stage {
    fn new() -> Self {
        let (sender, looks) = mpsc::unbounded_channel();
        let credentials = Credentials {
            user: "weir".to_owned(),
            password: None,
            poll: Duration::from_millis(20),
        };
        let place = Place {
            endpoint: "shop".to_owned(),
            address: SocketAddr::from(([127, 0, 0, 1], 5432)),
            database: "shop".to_owned(),
        };
        let epochs = Arc::new(AtomicU64::new(1));
        let database = Arc::new(Database::new(place, Some(Arc::new(credentials)), epochs));
        let keeper = tokio::spawn(keep(Arc::clone(&database), Scripted(sender), Weak::new()));
        Self {
            database,
            looks,
            keeper,
        }
    }

    async fn begin_look(&mut self) -> Answer {
        timeout(LONG, self.looks.recv())
            .await
            .expect("somebody looks")
            .expect("the keeper lives")
    }

    async fn expect_look(&mut self, answer: Result<bool, ()>) {
        let sender = self.begin_look().await;
        sender.send(answer).expect("it waits for this");
    }

    async fn wait(&self, number: u64) {
        timeout(LONG, poll_fn(|cx| self.database.poll_checked(number, cx)))
            .await
            .expect("the check is done");
    }

    fn is_pending(&self, number: u64) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        self.database.poll_checked(number, &mut cx) == Poll::Pending
    }

    fn epoch(&self) -> Option<u64> {
        self.database.snapshot().map(|snapshot| snapshot.epoch)
    }

    async fn is_quiet(&mut self) -> bool {
        timeout(Duration::from_millis(100), self.looks.recv())
            .await
            .is_err()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

const LONG: Duration = Duration::from_secs(10);
