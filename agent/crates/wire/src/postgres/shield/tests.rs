use super::*;

const SECRET: &str = "078-05-1120";

fn fields(list: &[(char, &str)]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, value) in list {
        push(
            &mut body,
            u8::try_from(*name).expect("ASCII"),
            value.as_bytes(),
        );
    }
    body.push(0);
    body
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "stands for a mapping that may fail"
)]
fn unmoved(position: usize) -> Option<usize> {
    Some(position)
}

/// The fields that are left, as text.
fn left(frame: Option<Vec<u8>>, body: &[u8]) -> String {
    let body = frame.map_or(body.to_vec(), |frame| {
        let length = u32::from_be_bytes(*frame[1..].first_chunk().expect("a header"));
        assert_eq!(length as usize, frame.len() - 1);
        frame[5..].to_vec()
    });
    assert_eq!(body.last(), Some(&0));
    String::from_utf8_lossy(&body).replace('\0', "|")
}

fn server_error(state: &str, extra: &[(char, &str)]) -> Vec<u8> {
    let mut list = vec![
        ('S', "ERROR"),
        ('V', "ERROR"),
        ('C', state),
        ('M', "it says 078-05-1120"),
    ];
    list.extend(extra);
    list.push(('R', "routine"));
    fields(&list)
}

#[test]
fn without_a_shield_nothing_changes() {
    let body = server_error(
        "23505",
        &[('D', SECRET), ('W', SECRET), ('q', SECRET), ('P', "7")],
    );
    assert_eq!(error(&body, Shield::Off, unmoved), None);
    assert_eq!(notice(&body, Shield::Off, unmoved), None);
}

#[test]
fn details_context_and_internal_queries_go() {
    for shield in [Shield::Reads, Shield::Writes] {
        let extra = [('D', SECRET), ('W', SECRET), ('q', SECRET), ('p', "3")];
        let body = server_error("23514", &extra);
        let left = left(error(&body, shield, unmoved), &body);
        for field in ["|D", "|W", "|q", "|p"] {
            assert!(!left.contains(field), "{shield:?}: {left}");
        }
        assert!(left.contains("|C23514|") && left.contains("|Rroutine|"));
    }
}

#[test]
fn a_writes_message_is_withheld_where_it_can_quote() {
    for (state, extra) in [
        ("22P02", &[][..]),
        ("P0001", &[]),
        // A trigger may raise any state with any words and names.
        (
            "23505",
            &[
                ('W', "PL/pgSQL function f() line 1 at RAISE"),
                ('n', SECRET),
            ],
        ),
        (
            "42703",
            &[
                ('W', "PL/pgSQL function f() line 1 at RAISE"),
                ('H', SECRET),
            ],
        ),
    ] {
        let body = server_error(state, extra);
        let left = left(error(&body, Shield::Writes, unmoved), &body);
        assert!(!left.contains(SECRET), "{state}: {left}");
        assert!(left.contains("|M"), "a message is mandatory: {left}");
    }
    let body = server_error("22P02", &[]);
    let left = left(error(&body, Shield::Writes, unmoved), &body);
    assert!(left.contains("|Minvalid_text_representation "), "{left}");
}

#[test]
fn the_servers_own_words_about_names_stay() {
    let body = fields(&[
        ('S', "FEHLER"),
        ('V', "ERROR"),
        ('C', "23505"),
        (
            'M',
            "duplicate key value violates unique constraint \"customers_pkey\"",
        ),
        ('D', "Key (ssn)=(078-05-1120) already exists."),
        ('n', "customers_pkey"),
    ]);
    let left = left(error(&body, Shield::Writes, unmoved), &body);
    assert!(left.contains("unique constraint") && left.contains("|ncustomers_pkey|"));
    assert!(!left.contains(SECRET));
}

#[test]
fn the_analysers_details_stay() {
    let body = server_error(
        "42703",
        &[('D', "There is a column named \"x\""), ('H', "try x")],
    );
    assert_eq!(error(&body, Shield::Writes, unmoved), None);
}

#[test]
fn what_is_meant_for_the_log_is_blanked() {
    for severity in ["LOG", "INFO", "DEBUG", "DEBUG5", ""] {
        let body = fields(&[
            ('S', severity),
            ('V', severity),
            ('C', "00000"),
            ('M', SECRET),
            ('H', SECRET),
            ('D', SECRET),
        ]);
        let left = left(notice(&body, Shield::Reads, unmoved), &body);
        assert!(!left.contains(SECRET), "{severity}: {left}");
    }
    let body = fields(&[
        ('S', "NOTICE"),
        ('V', "NOTICE"),
        ('C', "00000"),
        ('M', "table exists, skipping"),
    ]);
    assert_eq!(notice(&body, Shield::Reads, unmoved), None);
    let body = fields(&[
        ('S', "NOTICE"),
        ('V', "NOTICE"),
        ('C', "00000"),
        ('M', SECRET),
        ('W', "PL/pgSQL"),
    ]);
    let left = left(notice(&body, Shield::Writes, unmoved), &body);
    assert!(!left.contains(SECRET));
}

#[test]
fn positions_are_mapped_or_dropped() {
    let body = server_error("42703", &[('P', "40")]);
    let moved = error(&body, Shield::Off, |position| Some(position - 30));
    assert!(left(moved, &body).contains("|P10|"));
    let gone = error(&body, Shield::Off, |_| None);
    assert!(!left(gone, &body).contains("|P"));
}

#[test]
fn notifications_lose_their_payload() {
    let body = b"\0\0\0\x07channel\x00078-05-1120\0";
    let frame = notification(body).expect("changed");
    assert_eq!(&frame[5..], b"\0\0\0\x07channel\0\0");
    assert_eq!(frame[4] as usize, frame.len() - 1);
    assert_eq!(notification(b"\0\0\0\x07channel\0\0"), None);
}

#[test]
fn cut_off_bodies_do_not_panic() {
    let body = server_error("22P02", &[('D', SECRET), ('P', "12")]);
    for end in 0..body.len() {
        let _ = error(&body[..end], Shield::Writes, unmoved);
        let _ = notification(&body[..end]);
    }
}
