//! A certificate between two marker lines in a file of others.

/// What a file holds of weir's.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    Nothing,
    /// This certificate.
    Same,
    /// Another.
    Other,
}

const BEGIN: &str = "# weir local CA: begin";
const END: &str = "# weir local CA: end\n";
/// The file had no line's end at its end.
const JOINED: &str = " (line ended)";
/// There was no file.
const MADE: &str = " (file made)";

/// Looks for the block.
pub(super) fn find(file: &[u8], pem: &str) -> Found {
    match range(file) {
        None => Found::Nothing,
        Some((start, end)) => {
            let block = file.get(start..end).unwrap_or_default();
            let inside = block.split(|byte| *byte == b'\n').skip(1);
            let wanted = pem.trim_end().split('\n').map(str::as_bytes);
            let same = inside
                .zip(wanted.chain([END.trim_end().as_bytes()]))
                .all(|(found, wanted)| found == wanted);
            if same { Found::Same } else { Found::Other }
        }
    }
}

/// Puts the block at the file's end; `None` is no file. A block that is there is taken out first.
pub(super) fn insert(file: Option<&[u8]>, pem: &str) -> Vec<u8> {
    let bare = match file {
        Some(file) => remove(file),
        None => None,
    };
    let mut out = bare.clone().unwrap_or_default();
    let note = match &bare {
        None => MADE,
        Some(bytes) if !bytes.is_empty() && !bytes.ends_with(b"\n") => {
            out.push(b'\n');
            JOINED
        }
        Some(_) => "",
    };
    out.extend_from_slice(format!("{BEGIN}{note}\n{}\n{END}", pem.trim_end()).as_bytes());
    out
}

/// The file without the block, byte for byte as it was; `None` when there was none.
pub(super) fn remove(file: &[u8]) -> Option<Vec<u8>> {
    let Some((start, end)) = range(file) else {
        return Some(file.to_vec());
    };
    let (mut before, after) = (
        file.get(..start).unwrap_or_default(),
        file.get(end..).unwrap_or_default(),
    );
    let block = file.get(start..end).unwrap_or_default();
    let head = block
        .split(|byte| *byte == b'\n')
        .next()
        .unwrap_or_default();
    if head.ends_with(JOINED.as_bytes()) && after.is_empty() {
        before = before.strip_suffix(b"\n").unwrap_or(before);
    }
    if head.ends_with(MADE.as_bytes()) && before.is_empty() && after.is_empty() {
        return None;
    }
    Some([before, after].concat())
}

/// Where the block begins and ends.
fn range(file: &[u8]) -> Option<(usize, usize)> {
    let position = |from: usize, text: &[u8]| {
        let rest = file.get(from..)?;
        rest.windows(text.len())
            .position(|window| window == text)
            .map(|at| from + at)
    };
    let start = position(0, BEGIN.as_bytes())?;
    let end = position(start, END.as_bytes())?;
    Some((start, end + END.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEM: &str = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    const OTHER: &str = "-----BEGIN CERTIFICATE-----\nBBBB\n-----END CERTIFICATE-----\n";

    #[test]
    fn what_was_there_comes_back_byte_for_byte() {
        for file in [
            &b""[..],
            b"one\n",
            b"one",
            b"one\n\n",
            b"\xff\xfe\r\n",
            b"\n",
        ] {
            let with = insert(Some(file), PEM);
            assert!(with.starts_with(file));
            assert_eq!(find(&with, PEM), Found::Same);
            assert_eq!(find(&with, OTHER), Found::Other);
            assert_eq!(insert(Some(&with), PEM), with, "twice is once");
            let renewed = insert(Some(&with), OTHER);
            assert_eq!(find(&renewed, OTHER), Found::Same);
            assert_eq!(remove(&renewed).as_deref(), Some(file));
            assert_eq!(remove(&with).as_deref(), Some(file));
        }
        assert_eq!(find(b"one\n", PEM), Found::Nothing);
    }

    #[test]
    fn a_file_that_was_made_goes_unless_others_added_to_it() {
        let made = insert(None, PEM);
        assert_eq!(remove(&made), None);
        assert_eq!(remove(&insert(Some(&made), OTHER)), None);
        let more = [made, b"more\n".to_vec()].concat();
        assert_eq!(remove(&more).as_deref(), Some(&b"more\n"[..]));
    }
}
