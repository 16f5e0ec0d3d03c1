//! A stand-in for Vault's KV engine: one secret, one token, plain HTTP on loopback.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;

/// Runs until the process ends.
pub(crate) struct Vault {
    address: SocketAddr,
    password: Arc<Mutex<String>>,
}

impl Vault {
    pub(crate) fn start(token: &'static str, password: &str) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let password = Arc::new(Mutex::new(password.to_owned()));
        let shared = Arc::clone(&password);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let password = shared
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .clone();
                let _ = answer(&stream, token, &password);
            }
        });
        Ok(Self { address, password })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn set(&self, password: &str) {
        password.clone_into(&mut self.password.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

fn answer(mut stream: &TcpStream, token: &str, password: &str) -> Result<()> {
    let mut lines = BufReader::new(stream).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    let mut known = false;
    for line in lines {
        let line = line?;
        if line.is_empty() {
            break;
        }
        known |= line.split_once(": ").is_some_and(|(name, value)| {
            name.eq_ignore_ascii_case("x-vault-token") && value == token
        });
    }
    let (status, body) = if !known {
        (
            "403 Forbidden",
            r#"{"errors": ["permission denied"]}"#.to_owned(),
        )
    } else if request.starts_with("GET /v1/kv/data/db/shop ") {
        let body = serde_json::json!({"data": {"data": {"password": password}, "metadata": {"version": 1}}});
        ("200 OK", body.to_string())
    } else {
        ("404 Not Found", r#"{"errors": []}"#.to_owned())
    };
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )?;
    Ok(())
}
