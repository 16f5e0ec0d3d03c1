//! As much of PostgreSQL's protocol as a client and a server need that only ask and answer.

use std::io::{Read, Write};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

/// One message: its type and what is in it.
pub(crate) struct Message {
    pub(crate) kind: u8,
    pub(crate) body: Vec<u8>,
}

/// Reads one message; `None` at the end of the stream.
pub(crate) fn read(from: &mut impl Read) -> Result<Option<Message>> {
    let mut kind = [0];
    if from.read(&mut kind).context("cannot read")? == 0 {
        return Ok(None);
    }
    let body = read_body(from)?;
    Ok(Some(Message {
        kind: kind[0],
        body,
    }))
}

/// Reads what follows a length; the startup packet has no type before it.
pub(crate) fn read_body(from: &mut impl Read) -> Result<Vec<u8>> {
    let mut length = [0; 4];
    from.read_exact(&mut length).context("cannot read")?;
    let length = u32::from_be_bytes(length) as usize;
    if !(4..=65_536).contains(&length) {
        bail!("a message of {length} bytes");
    }
    let mut body = vec![0; length - 4];
    from.read_exact(&mut body).context("cannot read")?;
    Ok(body)
}

/// A message as bytes.
pub(crate) fn message(kind: Option<u8>, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap_or(u32::MAX);
    kind.into_iter()
        .chain(length.to_be_bytes())
        .chain(body.iter().copied())
        .collect()
}

/// A simple query as bytes.
pub(crate) fn query(sql: &str) -> Vec<u8> {
    message(Some(b'Q'), &[sql.as_bytes(), b"\0"].concat())
}

/// Begins a session.
pub(crate) fn start(stream: &mut (impl Read + Write)) -> Result<Value> {
    const VERSION_3: [u8; 4] = [0, 3, 0, 0];
    let body = [&VERSION_3[..], b"user\0app\0database\0shop\0\0"].concat();
    stream
        .write_all(&message(None, &body))
        .context("cannot write")?;
    answer(stream)
}

/// Reads until the server is ready for the next query: `{"rows": [..]}`, `{"error": "SQLSTATE text"}` or `{"closed": ..}`.
pub(crate) fn answer(from: &mut impl Read) -> Result<Value> {
    let mut rows = Vec::new();
    let mut error = None;
    while let Some(Message { kind, body }) = read(from)? {
        match kind {
            b'D' => {
                rows.push(String::from_utf8_lossy(body.get(6..).unwrap_or_default()).into_owned());
            }
            b'E' => error = Some(fields(&body)),
            b'Z' => {
                return Ok(
                    error.map_or_else(|| json!({"rows": rows}), |error| json!({"error": error}))
                );
            }
            _ => {}
        }
    }
    Ok(json!({"closed": error}))
}

/// SQLSTATE and message of an error.
fn fields(body: &[u8]) -> String {
    let field = |wanted| {
        body.split(|byte| *byte == 0)
            .find_map(|field| field.strip_prefix(&[wanted]))
            .map(|text| String::from_utf8_lossy(text).into_owned())
            .unwrap_or_default()
    };
    format!("{} {}", field(b'C'), field(b'M'))
}
