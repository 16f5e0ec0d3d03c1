//! Positions in errors: from the text that the server read back to the text that the client wrote.

/// One replaced piece of the client's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Replaced {
    /// Where it began, bytes into the client's text.
    pub start: usize,
    /// Where it ended.
    pub end: usize,
    /// How long its replacement is, bytes.
    pub length: usize,
}

/// The client's position for a position of the server's, both in characters from one; `None` when it is outside the text.
///
/// What lies within a replacement is shown where the replaced piece begins. Edits are in order and do not overlap.
#[must_use]
pub fn in_clients_text(
    client: &[u8],
    server: &[u8],
    edits: impl IntoIterator<Item = Replaced>,
    position: usize,
) -> Option<usize> {
    let offset = byte_of(server, position.checked_sub(1)?)?;
    // Where the edits so far leave both texts, in bytes.
    let (mut ours, mut theirs) = (0, 0);
    for edit in edits {
        let begins = theirs + edit.start.checked_sub(ours)?;
        if offset < begins {
            break;
        }
        if offset < begins + edit.length {
            return Some(characters(client.get(..edit.start)?) + 1);
        }
        (ours, theirs) = (edit.end, begins + edit.length);
    }
    let at = ours + (offset - theirs);
    Some(characters(client.get(..at)?) + 1)
}

/// Where a character begins; the end of the text counts as one.
fn byte_of(text: &[u8], character: usize) -> Option<usize> {
    let mut starts = text
        .iter()
        .enumerate()
        .filter(|(_, byte)| is_start(**byte))
        .map(|(at, _)| at)
        .chain(std::iter::once(text.len()));
    starts.nth(character)
}

fn characters(text: &[u8]) -> usize {
    text.iter().filter(|byte| is_start(**byte)).count()
}

/// Whether a byte begins a character of UTF-8, in which alone texts are rewritten.
fn is_start(byte: u8) -> bool {
    byte & 0b1100_0000 != 0b1000_0000
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `é` is two bytes, so that bytes and characters differ.
    const CLIENT: &str = "SELECT 'é', nope FROM t, u WHERE";
    const SERVER: &str = "SELECT 'é', nope FROM (SELECT 'ü' FROM s.t) t, s.u WHERE";

    fn edits() -> [Replaced; 2] {
        let t = CLIENT.find("t,").expect("there");
        let u = CLIENT.find("u ").expect("there");
        [
            Replaced {
                start: t,
                end: t + 1,
                length: "(SELECT 'ü' FROM s.t) t".len(),
            },
            Replaced {
                start: u,
                end: u + 1,
                length: "s.u".len(),
            },
        ]
    }

    fn position(text: &str, word: &str) -> usize {
        text[..text.find(word).expect("there")].chars().count() + 1
    }

    fn map(position: usize) -> Option<usize> {
        in_clients_text(CLIENT.as_bytes(), SERVER.as_bytes(), edits(), position)
    }

    #[test]
    fn what_is_in_both_texts_is_found_again() {
        for word in ["SELECT", "nope", "FROM", "WHERE"] {
            assert_eq!(map(position(SERVER, word)), Some(position(CLIENT, word)));
        }
        let end = SERVER.chars().count() + 1;
        assert_eq!(map(end), Some(CLIENT.chars().count() + 1));
    }

    #[test]
    fn what_is_in_a_replacement_is_shown_where_it_stands() {
        assert_eq!(map(position(SERVER, "'ü'")), Some(position(CLIENT, "t,")));
        assert_eq!(map(position(SERVER, "s.u")), Some(position(CLIENT, "u ")));
    }

    #[test]
    fn what_is_outside_is_nowhere() {
        assert_eq!(map(0), None);
        assert_eq!(map(SERVER.len() + 2), None);
    }

    #[test]
    fn without_edits_nothing_moves() {
        let same = in_clients_text(CLIENT.as_bytes(), CLIENT.as_bytes(), [], 13);
        assert_eq!(same, Some(13));
    }
}
