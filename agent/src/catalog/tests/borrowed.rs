//! Sessions that lend: who looks, who waits, who goes on without.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use weir_wire::postgres::conversation::{Look, LookError, Looked, Moment};

use super::super::{
    Catalogs, Dial, Dialling, Place,
    borrower::{Borrower, Sight},
    database::{Database, Look as Found},
    lending::Loan,
};

#[test]
fn one_session_looks_and_all_go_by_it() {
    let stage = Stage::new();
    let (mut one, mut other) = (stage.session(), stage.session());
    assert!(one.sight(Moment::Idle).is_look());
    assert!(other.sight(Moment::Idle).is_pending(), "one look is enough");
    one.end_look(&stage);
    assert!(other.is_woken());
    assert!(other.sight(Moment::Idle).is_look(), "it came to nothing");
    stage.read_all();
    assert!(one.sight(Moment::Idle).sees());
    assert!(other.sight(Moment::Idle).sees());
}

#[test]
fn nobody_looks_where_nobody_waits() {
    let stage = Stage::new();
    let mut idle = stage.session();
    assert!(idle.lend(Moment::Idle).is_none());
    stage.pass(Duration::from_mins(2), [&mut idle]);
    assert!(!idle.is_woken());
    assert!(idle.lend(Moment::Idle).is_none());
}

#[test]
fn what_was_read_is_looked_at_again_before_a_later_request() {
    let stage = Stage::new();
    let mut one = stage.session();
    stage.read_all();
    assert!(one.borrower.may_go(Moment::Idle));
    stage.pass(Duration::from_secs(2), [&mut one]);
    assert!(!one.borrower.may_go(Moment::Idle));
    assert!(one.borrower.may_go(Moment::Open), "not in a transaction");
    assert!(one.sight(Moment::Idle).is_look());
}

#[test]
fn an_idle_session_lends_for_one_in_a_transaction() {
    let stage = Stage::new();
    let (mut busy, mut idle) = (stage.session(), stage.session());
    stage.read_all();
    assert!(idle.lend(Moment::Idle).is_none());
    stage.database.require();
    assert!(busy.sight(Moment::Open).is_pending());
    assert!(idle.is_woken());
    assert!(
        idle.lend(Moment::Open).is_none(),
        "not in its own transaction"
    );
    assert!(idle.lend(Moment::Idle).is_some());
    stage.read_all();
    assert!(busy.is_woken());
    assert!(busy.sight(Moment::Open).sees());
}

#[test]
fn where_nobody_lends_a_transaction_goes_on_blind() {
    let stage = Stage::new();
    let mut alone = stage.session();
    stage.read_all();
    stage.database.require();
    assert!(alone.sight(Moment::Open).is_blind(), "nobody is there");
    let mut other = stage.session();
    stage.database.require();
    assert!(alone.sight(Moment::Open).is_pending());
    stage.pass(Duration::from_secs(6), [&mut alone]);
    assert!(alone.sight(Moment::Open).is_blind(), "nobody came");
    assert!(
        alone.sight(Moment::Open).is_blind(),
        "and it does not wait again"
    );
    assert!(
        other.sight(Moment::Copying).is_blind(),
        "the server waits for it"
    );
    assert!(alone.sight(Moment::Idle).is_look());
}

#[test]
fn what_the_server_owes_is_waited_for() {
    let stage = Stage::new();
    let mut alone = stage.session();
    stage.read_all();
    stage.database.require();
    for _ in 0..10 {
        assert!(alone.sight(Moment::Owing).is_pending());
        stage.pass(Duration::from_secs(6), [&mut alone]);
    }
}

#[test]
fn a_look_that_fails_blinds_the_session_it_failed_on() {
    let stage = Stage::new();
    let (mut one, mut other) = (stage.session(), stage.session());
    stage.read_all();
    stage.database.require();
    assert!(one.sight(Moment::Idle).is_look());
    one.answer(&stage, *b"42501");
    assert!(one.sight(Moment::Idle).is_blind());
    assert!(
        stage.database.snapshot().is_some(),
        "the others keep theirs"
    );
    assert!(stage.database.summary(&|_| 0).problem.is_some());
    assert!(other.sight(Moment::Idle).is_look());
    stage.read_all();
    assert!(one.sight(Moment::Idle).sees());
    assert_eq!(stage.database.summary(&|_| 0).problem, None);
}

#[test]
fn a_look_that_is_cancelled_is_repeated_and_never_left_out() {
    let stage = Stage::new();
    let mut one = stage.session();
    let mut looks = 0;
    while one.sight(Moment::Idle).is_look() {
        one.answer(&stage, *b"57014");
        looks += 1;
        assert!(looks < 100, "not for ever");
    }
    assert!(looks > 1);
    assert!(one.sight(Moment::Idle).is_blind());
    stage.pass(Duration::from_secs(2), [&mut one]);
    assert!(one.sight(Moment::Idle).is_look());
}

#[test]
fn a_look_that_never_ends_is_taken_over_and_its_late_answer_is_void() {
    let stage = Stage::new();
    let mut other = stage.session();
    let lost = Loan::take(&stage.database).expect("nobody looks");
    assert!(other.sight(Moment::Idle).is_pending());
    stage.pass(Duration::from_secs(61), [&mut other]);
    assert!(other.sight(Moment::Idle).is_look());
    lost.settle(Some("old".into()), Ok(Found::Changed(Box::default())));
    assert!(stage.database.snapshot().is_none());
}

/// A database without a role of weir's.
struct Stage {
    database: Arc<Database>,
    catalogs: Arc<Catalogs>,
}

/// One of its sessions.
struct Session {
    borrower: Borrower,
    catalogs: Arc<Catalogs>,
    woken: Arc<Woken>,
}

#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Release);
    }
}

struct Nowhere;

impl Dial for Nowhere {
    fn dial(&self, _: &str, _: SocketAddr) -> Dialling {
        Box::pin(async { Err("there is no server".into()) })
    }
}

impl Stage {
    fn new() -> Self {
        let place = Place {
            endpoint: "shop".to_owned(),
            address: SocketAddr::from(([127, 0, 0, 1], 5432)),
            database: "shop".to_owned(),
        };
        let epochs = Arc::new(AtomicU64::new(1));
        Self {
            database: Arc::new(Database::new(place, None, epochs)),
            catalogs: Catalogs::start(HashMap::new(), Arc::new(Nowhere)).expect("a thread"),
        }
    }

    fn session(&self) -> Session {
        self.database.enter();
        Session {
            borrower: Borrower::new(Arc::clone(&self.database)),
            catalogs: Arc::clone(&self.catalogs),
            woken: Arc::default(),
        }
    }

    fn pass<'s>(&self, time: Duration, sessions: impl IntoIterator<Item = &'s mut Session>) {
        self.database.lending().age(time);
        for session in sessions {
            session.borrower.age(time);
        }
    }

    /// As if a look had just ended well; whoever looks is taken over.
    fn read_all(&self) {
        self.database.lending().abandon();
        let loan = Loan::take(&self.database).expect("nobody looks");
        loan.settle(Some("now".into()), Ok(Found::Changed(Box::default())));
    }
}

impl Session {
    fn sight(&mut self, moment: Moment) -> Poll<Result<Sight, Look>> {
        self.woken.0.store(false, Ordering::Release);
        let waker = Waker::from(Arc::clone(&self.woken));
        self.borrower
            .poll_sight(moment, &self.catalogs, &mut Context::from_waker(&waker))
    }

    fn lend(&mut self, moment: Moment) -> Option<Look> {
        self.woken.0.store(false, Ordering::Release);
        let waker = Waker::from(Arc::clone(&self.woken));
        self.borrower
            .poll_lend(moment, &mut Context::from_waker(&waker))
    }

    fn is_woken(&self) -> bool {
        self.woken.0.load(Ordering::Acquire)
    }

    fn answer(&mut self, stage: &Stage, sqlstate: [u8; 5]) {
        let error = LookError::Server {
            sqlstate,
            message: "no".to_owned(),
        };
        let looked = Looked {
            answers: Err(error),
        };
        self.borrower.looked(looked, &stage.catalogs);
    }

    /// Its connection ends in the middle of a look.
    fn end_look(&mut self, stage: &Stage) {
        let borrower = Borrower::new(Arc::clone(&stage.database));
        self.borrower = borrower;
    }
}

trait Seen {
    fn is_look(&self) -> bool;
    fn sees(&self) -> bool;
    fn is_blind(&self) -> bool;
}

impl Seen for Poll<Result<Sight, Look>> {
    fn is_look(&self) -> bool {
        matches!(self, Poll::Ready(Err(_)))
    }
    fn sees(&self) -> bool {
        matches!(self, Poll::Ready(Ok(Sight::Current)))
    }
    fn is_blind(&self) -> bool {
        matches!(self, Poll::Ready(Ok(Sight::Blind)))
    }
}
