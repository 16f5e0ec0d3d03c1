//! Looks: what they ask is weir's, what else the server says is the client's, wherever the stream is cut.

use super::*;
use crate::postgres::conversation::{Look, LookError, Looked, Moment};

const NAME: &str = "weir_1";

fn look() -> Look {
    Look::new(NAME, ["BEGIN", "SELECT fingerprint"])
}

fn setting(name: &str, value: &str) -> Vec<u8> {
    let parts: [&[u8]; 4] = [name.as_bytes(), b"\0", value.as_bytes(), b"\0"];
    message(b'S', &parts)
}

fn notice(severity: &str, state: &str) -> Vec<u8> {
    let fields = format!("S{severity}\0V{severity}\0C{state}\0Mhear\0\0");
    message(b'N', &[fields.as_bytes()])
}

fn notification() -> Vec<u8> {
    message(b'A', &[b"\0\0\0\x07jobs\0new\0"])
}

/// What a server answers to one statement.
fn answered(rows: &[Vec<u8>], tag: &str) -> Vec<u8> {
    let mut bytes = [bare(b'1'), bare(b'2')].concat();
    bytes.extend(rows.concat());
    bytes.extend([complete(tag), bare(b'3'), bare(b'3')].concat());
    bytes
}

/// What a server answers to the end of a look.
fn ended() -> Vec<u8> {
    let closed = [bare(b'3'), bare(b'3')].concat();
    [closed, answered(&[], "ROLLBACK"), ready(b'I')].concat()
}

fn well() -> Vec<u8> {
    [
        answered(&[], "BEGIN"),
        answered(&[row(), row()], "SELECT 2"),
        ready(b'T'),
        ended(),
    ]
    .concat()
}

impl Session {
    fn begin_look(&mut self) -> Vec<u8> {
        assert_eq!(self.conversation.moment(), Moment::Idle);
        let sent = self.conversation.look(look());
        assert!(self.conversation.is_looking());
        sent
    }

    fn over(&mut self) -> Looked {
        assert!(!self.conversation.is_looking(), "it is over");
        self.conversation.take_looked().expect("an answer")
    }
}

#[test]
fn answers_are_taken_out_at_every_split_and_nothing_else() {
    let down = [
        notification(),
        answered(&[], "BEGIN"),
        notice("WARNING", "01000"),
        answered(
            &[row(), message(b'D', &[b"\0\x01\xff\xff\xff\xff"])],
            "SELECT 2",
        ),
        setting("search_path", "\"\""),
        setting("in_hot_standby", "off"),
        ready(b'T'),
        ended()[..bare(b'3').len() * 2].to_vec(),
        answered(&[], "ROLLBACK"),
        setting("search_path", "app"),
        setting("client_encoding", "UTF8"),
        ready(b'I'),
        notification(),
    ]
    .concat();
    let kept = [
        notification(),
        notice("WARNING", "01000"),
        setting("in_hot_standby", "off"),
        setting("client_encoding", "UTF8"),
        notification(),
    ]
    .concat();
    for first in 0..=down.len() {
        for second in [
            first,
            (first + 1).min(down.len()),
            (first + 7).min(down.len()),
        ] {
            let mut session = Session::new();
            let told = [
                setting("search_path", "app"),
                setting("client_encoding", "LATIN1"),
            ]
            .concat();
            assert_eq!(session.server(&told), told);
            session.begin_look();
            let mut passed = session.server(&down[..first]);
            passed.extend(session.server(&down[first..second]));
            passed.extend(session.server(&down[second..]));
            assert_eq!(passed, kept, "split at {first} and {second}");
            let answers = session.over().answers.expect("all went well");
            assert_eq!(answers.len(), 2);
            let rows: Vec<_> = answers[1].iter().collect();
            assert_eq!(rows, [Some(vec![Some(&b"x"[..])]), Some(vec![None])]);
            let heard = &session.judge.parameters;
            assert_eq!(
                heard.iter().filter(|name| *name == "search_path").count(),
                1
            );
            assert_eq!(session.conversation.moment(), Moment::Idle);
        }
    }
}

#[test]
fn a_look_asks_under_a_name_of_its_own_and_ends_its_transaction_whatever_happens() {
    let mut session = Session::new();
    let sent = session.begin_look();
    let mut cutter = crate::postgres::Cutter::default();
    let (mut cursor, mut tags) = (0, String::new());
    while let Some(piece) = cutter
        .next(&sent, &mut cursor, frontend::plan)
        .expect("valid")
    {
        tags.push(char::from(piece.tag));
        if matches!(piece.tag, b'P' | b'B') {
            assert!(piece.body().starts_with(NAME.as_bytes()), "never unnamed");
        }
    }
    assert_eq!(tags, "PBECCPBECCSCCPBECCS");
    assert_eq!(session.server(&well()), b"");
    assert!(session.over().answers.is_ok());
}

#[test]
fn a_statement_that_fails_is_reported_and_nothing_stays() {
    let mut session = Session::new();
    session.begin_look();
    let down = [
        answered(&[], "BEGIN"),
        failure("42501"),
        ready(b'E'),
        ended(),
    ]
    .concat();
    assert_eq!(session.server(&down), b"");
    let error = session.over().answers.expect_err("it failed");
    assert!(!error.is_passing());
    assert_eq!(error.to_string(), "the server says \"no\" (42501)");
    let up = query("SELECT 1");
    assert_eq!(session.client(&up), up);
}

#[test]
fn a_cancelled_end_is_asked_for_again() {
    let mut session = Session::new();
    let sent = session.begin_look();
    let down = [
        answered(&[], "BEGIN"),
        answered(&[row()], "SELECT 1"),
        ready(b'T'),
        bare(b'3'),
        failure("57014"),
        ready(b'E'),
    ]
    .concat();
    assert_eq!(session.server(&down), b"");
    assert!(session.conversation.is_looking());
    let again = session.conversation.take_look_output();
    assert!(sent.ends_with(&again) && !again.is_empty());
    assert!(session.conversation.take_look_output().is_empty());
    assert_eq!(session.server(&ended()), b"");
    assert!(session.over().answers.expect_err("cancelled").is_passing());
}

#[test]
fn a_server_that_never_ends_the_transaction_ends_the_session() {
    let mut session = Session::new();
    session.begin_look();
    session.server(&[failure("XX000"), ready(b'E')].concat());
    let stuck = [failure("XX000"), ready(b'E')].concat();
    let mut out = Outbox::default();
    let broken = (0..20).find_map(|_| {
        out.begin();
        session
            .conversation
            .server(&stuck, &mut session.judge, &mut out)
            .err()
    });
    assert!(matches!(broken, Some(ConversationError::Look)));
}

#[test]
fn what_belongs_to_nobodys_request_is_told_apart() {
    let mut session = Session::new();
    session.begin_look();
    // Nothing to roll back, the server's log and debugging: all about the look.
    let own = [
        notice("WARNING", "25P01"),
        notice("DEBUG", "00000"),
        notice("LOG", "00000"),
    ]
    .concat();
    assert_eq!(session.server(&own), b"");
    let fatal = message(b'E', &[b"SFATAL\0VFATAL\0C57P01\0Mshutting down\0\0"]);
    assert_eq!(session.server(&fatal), fatal);
}

#[test]
fn fewer_answers_than_questions_are_no_answer() {
    let mut session = Session::new();
    session.begin_look();
    let down = [answered(&[], "BEGIN"), ready(b'T'), ended()].concat();
    session.server(&down);
    let error = session.over().answers.expect_err("one is missing");
    assert_eq!(
        error,
        LookError::Answers {
            answered: 1,
            asked: 2
        }
    );
}

#[test]
fn a_row_without_end_is_not_held() {
    let mut session = Session::new();
    session.begin_look();
    session.server(&answered(&[], "BEGIN"));
    session.server(b"D\x3f\xff\xff\xff");
    session.server(&vec![0; 100_000]);
    assert!(session.conversation.is_looking());
}

#[test]
fn a_look_waits_for_the_end_of_everything() {
    let mut session = Session::new();
    let moment = |session: &Session| session.conversation.moment();
    session.client(&query("SELECT 1"));
    assert_eq!(moment(&session), Moment::Owing);
    session.server(&[complete("SELECT 0"), ready(b'T')].concat());
    assert_eq!(moment(&session), Moment::Open, "a transaction");
    session.client(&query("SELECT"));
    session.server(&[failure("42601"), ready(b'E')].concat());
    assert_eq!(moment(&session), Moment::Open, "a failed transaction");
    session.client(&query("ROLLBACK"));
    session.server(&[complete("ROLLBACK"), ready(b'I')].concat());
    assert_eq!(moment(&session), Moment::Idle);

    // Nothing is owed, but the server's transaction began with the Parse.
    session.client(&[parse("s", "SELECT 1"), bare(b'H')].concat());
    session.server(&bare(b'1'));
    assert_eq!(moment(&session), Moment::Open, "no Sync yet");
    session.client(&sync());
    assert_eq!(moment(&session), Moment::Owing);
    session.server(&ready(b'I'));
    assert_eq!(moment(&session), Moment::Idle);

    // A failed pipeline without its Sync.
    session.client(&[parse("t", "SELEC"), bare(b'H')].concat());
    session.server(&failure("42601"));
    assert_eq!(moment(&session), Moment::Open, "it skips");
    session.client(&sync());
    session.server(&ready(b'I'));
    assert_eq!(moment(&session), Moment::Idle);

    // A message of which a part is here, but nothing there.
    let up = parse("u", "SELECT 2");
    session.client(&up[..9]);
    assert_eq!(moment(&session), Moment::Idle);
    session.begin_look();
    session.server(&well());
    session.over();
    assert_eq!(session.client(&up[9..]), up, "and none is lost");
    session.client(&sync());
    session.server(&[bare(b'1'), ready(b'I')].concat());

    // One of which a part is there.
    let mut long = message(b'B', &[b"p\0u\0", &vec![0; 100_000]]);
    let rest = long.split_off(50_000);
    session.client(&long);
    assert_ne!(moment(&session), Moment::Idle);
    session.client(&rest);
    session.client(&sync());
    session.server(&[bare(b'2'), ready(b'I')].concat());

    session.client(&query("COPY t FROM STDIN"));
    session.server(&message(b'G', &[b"\0\0\0"]));
    assert_eq!(moment(&session), Moment::Copying);
    session.client(&bare(b'c'));
    session.server(&[complete("COPY 0"), ready(b'I')].concat());
    assert_eq!(moment(&session), Moment::Idle);
}

#[test]
fn the_clients_unnamed_statement_is_known_after_a_look() {
    let mut session = Session::new();
    session.client(&[parse("", "SELECT secret"), sync()].concat());
    session.server(&[bare(b'1'), ready(b'I')].concat());
    session.begin_look();
    session.server(&well());
    session.over();
    let up = [bind("", ""), execute(""), sync()].concat();
    assert_eq!(session.client(&up), up);
    assert_eq!(
        session.judge.requests,
        [("SELECT secret".into(), Via::Execute)]
    );
}

#[test]
fn nothing_is_looked_at_before_the_log_in_is_complete() {
    let conversation = Conversation::<Recorder>::new(ChannelBinding::Relayed);
    assert_ne!(conversation.moment(), Moment::Idle);
}
