//! The exact text and values of a statement that waits, for people to read.

use super::{Ask, Exact};

pub(super) fn exact(ask: &Ask) -> Exact {
    Exact {
        text: String::from_utf8_lossy(&ask.text).into_owned(),
        values: bound(&ask.values).unwrap_or_default(),
    }
}

/// The values of a `Bind` message, behind its names; `None` when it is none.
fn bound(mut bytes: &[u8]) -> Option<Vec<Option<String>>> {
    let formats = take_count(&mut bytes)?;
    let formats: Vec<u16> = (0..formats)
        .map(|_| take_count(&mut bytes))
        .collect::<Option<_>>()?;
    let count = take_count(&mut bytes)?;
    let format = |at: usize| match formats.as_slice() {
        [] => TEXT,
        [all] => *all,
        each => each.get(at).copied().unwrap_or(TEXT),
    };
    (0..usize::from(count))
        .map(|at| {
            let (length, rest) = bytes.split_first_chunk::<4>()?;
            bytes = rest;
            // Negative is NULL.
            let Ok(length) = usize::try_from(i32::from_be_bytes(*length)) else {
                return Some(None);
            };
            let (value, rest) = bytes.split_at_checked(length)?;
            bytes = rest;
            let text = std::str::from_utf8(value)
                .ok()
                .filter(|_| format(at) == TEXT);
            Some(Some(text.map_or_else(
                || format!("\\x{}", hex::encode(value)),
                str::to_owned,
            )))
        })
        .collect()
}

fn take_count(bytes: &mut &[u8]) -> Option<u16> {
    let (count, rest) = bytes.split_first_chunk::<2>()?;
    *bytes = rest;
    Some(u16::from_be_bytes(*count))
}

const TEXT: u16 = 0;

#[cfg(test)]
mod tests {
    use super::*;

    fn message(formats: &[u16], values: &[Option<&[u8]>]) -> Vec<u8> {
        let count = |count: usize| u16::try_from(count).expect("few").to_be_bytes();
        let mut bytes = count(formats.len()).to_vec();
        for format in formats {
            bytes.extend(format.to_be_bytes());
        }
        bytes.extend(count(values.len()));
        for value in values {
            let length = value.map_or(-1, |value| i32::try_from(value.len()).expect("short"));
            bytes.extend(length.to_be_bytes());
            bytes.extend(value.unwrap_or_default());
        }
        bytes.extend([0, 0]);
        bytes
    }

    #[test]
    fn values_are_read_by_their_formats() {
        let values: [Option<&[u8]>; 3] = [Some(b"Anna"), None, Some(&[0, 0, 0, 7])];
        let read = |formats: &[u16]| bound(&message(formats, &values)).expect("values");
        assert_eq!(
            read(&[0, 0, 1]),
            [
                Some("Anna".to_owned()),
                None,
                Some("\\x00000007".to_owned())
            ]
        );
        assert_eq!(read(&[1])[0].as_deref(), Some("\\x416e6e61"));
        assert_eq!(read(&[])[0].as_deref(), Some("Anna"));
    }

    #[test]
    fn what_ends_too_early_is_no_message() {
        let whole = message(&[0], &[Some(b"x"), None]);
        for length in 0..whole.len() - 2 {
            assert_eq!(bound(&whole[..length]), None, "{length} bytes");
        }
    }
}
