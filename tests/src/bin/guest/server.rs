//! The smallest server there can be: it lets everybody in and answers each query with its own text.

use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::thread;

use anyhow::{Context, Result, bail};

use crate::wire::{message, read, read_body};

/// Serves on this port of 127.0.0.1 until the machine is switched off.
pub(crate) fn start(port: u16) -> Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", port)).context("the server cannot listen")?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || {
                if let Err(error) = serve(stream) {
                    eprintln!("server: {error:#}");
                }
            });
        }
    });
    Ok(())
}

fn serve(mut stream: TcpStream) -> Result<()> {
    let startup = read_body(&mut stream)?;
    if startup.get(..4) != Some(&[0, 3, 0, 0]) {
        bail!("not a session: {startup:?}");
    }
    let mut welcome = message(Some(b'R'), &[0; 4]);
    for setting in SETTINGS {
        welcome.extend(message(Some(b'S'), setting));
    }
    welcome.extend(message(Some(b'K'), &[0, 0, 0, 1, 0, 0, 0, 2]));
    welcome.extend(READY);
    stream.write_all(&welcome).context("cannot write")?;
    while let Some(received) = read(&mut stream)? {
        match received.kind {
            b'Q' => stream
                .write_all(&reply(&received.body))
                .context("cannot write")?,
            b'X' => break,
            kind => bail!("message {kind}"),
        }
    }
    Ok(())
}

/// One column, one row: the query's text. What weir sends in place of a query that it refuses fails, as on any server.
fn reply(query: &[u8]) -> Vec<u8> {
    const COLUMN: &[u8] = b"\0\x01said\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0";
    if query.windows(REFUSED.len()).any(|part| part == REFUSED) {
        let error = message(
            Some(b'E'),
            b"SERROR\0VERROR\0C42601\0Msyntax error at or near \"weir_denied\"\0P1\0\0",
        );
        return [error, READY.to_vec()].concat();
    }
    let text = query.strip_suffix(b"\0").unwrap_or(query);
    let length = u32::try_from(text.len()).unwrap_or(0).to_be_bytes();
    let row = [&[0, 1][..], &length, text].concat();
    [
        message(Some(b'T'), COLUMN),
        message(Some(b'D'), &row),
        message(Some(b'C'), b"SELECT 1\0"),
        READY.to_vec(),
    ]
    .concat()
}

const REFUSED: &[u8] = b"weir_denied";
const READY: &[u8] = b"Z\0\0\0\x05I";
const SETTINGS: [&[u8]; 4] = [
    b"server_version\x0015.0\0",
    b"client_encoding\0UTF8\0",
    b"standard_conforming_strings\0on\0",
    b"search_path\0public\0",
];
