//! A stand-in for Vault's KV engine: one secret, one token, plain HTTP on loopback.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use serde_json::json;
use tests::HttpListener;
use tests::http::{Answer, Request};

/// Runs until the process ends.
pub(crate) struct Vault {
    listener: HttpListener,
    password: Arc<Mutex<String>>,
}

impl Vault {
    pub(crate) fn start(token: &'static str, password: &str) -> Result<Self> {
        let password = Arc::new(Mutex::new(password.to_owned()));
        let shared = Arc::clone(&password);
        let listener = HttpListener::start(move |request| {
            let password = shared.lock().unwrap_or_else(PoisonError::into_inner);
            answer(&request, token, &password)
        })?;
        Ok(Self { listener, password })
    }

    pub(crate) fn url(&self) -> String {
        self.listener.url("")
    }

    pub(crate) fn set(&self, password: &str) {
        password.clone_into(&mut self.password.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

fn answer(request: &Request, token: &str, password: &str) -> Answer {
    let (status, body) = if request.header("x-vault-token") != Some(token) {
        ("403 Forbidden", json!({"errors": ["permission denied"]}))
    } else if request.line.starts_with("GET /v1/kv/data/db/shop ") {
        let secret = json!({"data": {"password": password}, "metadata": {"version": 1}});
        ("200 OK", json!({ "data": secret }))
    } else {
        ("404 Not Found", json!({"errors": []}))
    };
    Answer {
        status,
        body: body.to_string(),
    }
}
