//! Somebody who is told things by HTTP: takes everything, and keeps it as it came.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};

/// A collector on loopback.
pub(crate) struct Collector {
    address: String,
    got: Arc<Mutex<Vec<u8>>>,
}

impl Collector {
    pub(crate) fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").context("no port")?;
        let address = listener.local_addr()?.to_string();
        let got = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&got);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let request = take(stream).unwrap_or_default();
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                kept.extend(request);
            }
        });
        Ok(Self { address, got })
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Heads and bodies of all that came.
    pub(crate) fn got(&self) -> Vec<u8> {
        let got = self.got.lock().unwrap_or_else(PoisonError::into_inner);
        got.clone()
    }
}

fn take(stream: TcpStream) -> Option<Vec<u8>> {
    let mut reader = BufReader::new(stream);
    let mut request = Vec::new();
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        request.extend(line.as_bytes());
        match line.split_once(':') {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = value.trim().parse().ok()?;
            }
            None if line.trim().is_empty() => break,
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    request.extend(body);
    let answer = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}";
    reader.into_inner().write_all(answer.as_bytes()).ok()?;
    Some(request)
}
