//! Private keys in PEM: `-----BEGIN … PRIVATE KEY-----`.

use memchr::memmem;

use crate::text::Text;

/// The end of the key whose first dash is at `start`; where its last line is missing, the end of the cell.
pub(crate) fn end(text: &Text<'_>, start: usize) -> Option<usize> {
    let rest = text.bytes.get(start..)?;
    let after = rest.strip_prefix(BEGIN)?;
    let label = after.get(..after.len().min(MAX_LABEL_BYTES))?;
    let label_end = memmem::find(label, b"-----")?;
    if !label.get(..label_end)?.ends_with(b"PRIVATE KEY") {
        return None;
    }
    let body = after.get(label_end..)?;
    let end = memmem::find(body, b"-----END ").and_then(|at| {
        let tail = body.get(at + 9..)?;
        Some(at + 9 + memmem::find(tail, b"-----")? + 5)
    });
    let body_end = end.unwrap_or(body.len());
    Some(start + BEGIN.len() + label_end + body_end)
}

const BEGIN: &[u8] = b"-----BEGIN ";
const MAX_LABEL_BYTES: usize = 48;
