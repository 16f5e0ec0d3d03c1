//! Random conversations: a wait changes no byte and no record, and nothing panics.

use super::*;

/// A small generator of numbers; what it gives depends on the seed alone.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound as u64).expect("small")
    }

    fn one_of<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[self.below(choices.len())]
    }

    /// A message of any kind that clients send; none asks for a flush.
    fn message(&mut self) -> Vec<u8> {
        let texts = [
            "SELECT 1",
            "HOLD 2",
            "DROP 3",
            "SELECT secret=>4",
            "HOLD secret=>5",
        ];
        let names = ["", "a", "b"];
        match self.below(10) {
            0 | 1 => query(self.one_of(&texts)),
            2 => parse(self.one_of(&names), self.one_of(&texts)),
            3 | 4 => bind(self.one_of(&names), self.one_of(&names)),
            5 => execute(self.one_of(&names)),
            6 => message(
                [b'D', b'C'][self.below(2)],
                &[
                    self.one_of(&["S", "P"]).as_bytes(),
                    self.one_of(&names).as_bytes(),
                    b"\0",
                ],
            ),
            7 => message(b'd', &[&vec![b'x'; self.below(40)]]),
            8 => message(b'F', &[b"\0\0\0", &[u8::from(self.below(2) == 0)], &[0; 6]]),
            _ => sync(),
        }
    }
}

fn without_flushes(bytes: &[u8]) -> Vec<u8> {
    let mut cutter = crate::postgres::Cutter::default();
    let (mut cursor, mut kept) = (0, Vec::new());
    while let Some(piece) = cutter
        .next(bytes, &mut cursor, frontend::plan)
        .expect("well-formed")
    {
        if piece.tag != b'H' {
            kept.extend_from_slice(piece.bytes);
        }
    }
    kept
}

#[test]
fn waiting_changes_no_byte_and_no_record() {
    let (mut waits, mut answered) = (0, 0);
    for seed in 1..=1_500 {
        let mut numbers = Numbers(seed * 0x9e37_79b9);
        let up: Vec<u8> = (0..30).flat_map(|_| numbers.message()).collect();

        let mut patient = Session::new();
        let mut sent = Vec::new();
        let mut rest = &*up;
        while !rest.is_empty() || patient.conversation.is_held() {
            if patient.conversation.awaits_answers() {
                patient.answer_all();
                sent.extend(patient.resume());
                continue;
            }
            if patient.conversation.is_held() && (rest.is_empty() || numbers.below(3) == 0) {
                waits += 1;
                if numbers.below(4) > 0 {
                    patient.judge.decisions.push_back(Decision::Approved);
                }
                sent.extend(patient.resume());
                continue;
            }
            let (now, later) = rest.split_at(1 + numbers.below(rest.len().min(60)));
            sent.extend(patient.client(now));
            rest = later;
        }

        let mut hasty = Session::new();
        hasty.judge.decisions = std::iter::repeat_n(Decision::Approved, 100).collect();
        let mut at_once = hasty.client(&up);
        while hasty.conversation.is_held() {
            assert!(hasty.conversation.awaits_answers());
            hasty.answer_all();
            at_once.extend(hasty.resume());
            answered += 1;
        }
        assert_eq!(without_flushes(&sent), at_once, "seed {seed}");
        assert_eq!(patient.judge.requests, hasty.judge.requests);
        assert_eq!(patient.judge.refused, hasty.judge.refused);
        assert_eq!(
            patient.conversation.in_flight(),
            hasty.conversation.in_flight()
        );
        assert_eq!(patient.conversation.moment(), hasty.conversation.moment());
    }
    assert!(waits > 3_000, "{waits} waits");
    assert!(answered > 500, "{answered} waits for answers");
}

#[test]
fn random_answers_and_decisions_never_panic() {
    let tags = b"123ZTtnsIGWHcdCDENARKS";
    let mut numbers = Numbers(0x2545_f491_4f6c_dd1d);
    let mut in_vain = 0;
    for _ in 0..4_000 {
        let mut session = Session::new();
        for _ in 0..30 {
            let (conversation, judge, out) = (
                &mut session.conversation,
                &mut session.judge,
                &mut session.out,
            );
            out.begin();
            let broken = match numbers.below(4) {
                0 | 1 => {
                    let bytes = numbers.message();
                    conversation.client(&bytes, judge, out).is_err()
                }
                2 => {
                    let tag = tags[numbers.below(tags.len())];
                    let bytes = message(tag, &[&vec![b'I'; numbers.below(3)]]);
                    conversation.server(&bytes, judge, out).is_err()
                }
                _ => {
                    judge.decisions.clear();
                    let decided = [Decision::Approved, Decision::Refused("42501")];
                    judge.decisions.extend(decided.get(numbers.below(3)));
                    conversation.resume(judge, out).is_err()
                }
            };
            in_vain += usize::from(conversation.is_held_in_vain());
            if broken {
                break;
            }
        }
        session.conversation.disconnected(&mut session.judge);
        let endings = session.judge.endings.len();
        assert_eq!(endings, session.judge.requests.len(), "each has its end");
    }
    assert!(in_vain > 0, "errors came ahead of what waited");
}
