//! The development issuer: `weir dev-idp`, which signs tokens for the people of the lab.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::place;
use crate::port;
use crate::service::{Ending, Service};

/// A running issuer.
#[derive(Debug)]
pub struct DevIdp {
    service: Service,
    url: String,
}

impl DevIdp {
    /// Starts an issuer with its files in `folder`.
    ///
    /// # Errors
    ///
    /// When it does not come up.
    pub fn start(folder: &Path) -> Result<Self> {
        let port = port::free(&[ADDRESS])?;
        let ready: PathBuf = folder.join("issuer.ready");
        let mut command = Command::new(place::weir()?);
        command
            .args([
                "dev-idp",
                "--listen",
                &format!("{ADDRESS}:{port}"),
                "--ready-file",
            ])
            .arg(&ready)
            .current_dir(folder);
        let service = Service::start(
            "weir dev-idp",
            command,
            &folder.join("issuer.log"),
            Ending::default(),
        )?;
        service.wait_until(Duration::from_mins(1), || ready.exists())?;
        let url = fs::read_to_string(&ready).context("cannot read the issuer's URL")?;
        Ok(Self {
            service,
            url: url.trim().to_owned(),
        })
    }

    /// The issuer's URL, which is also the `iss` of its tokens.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.service.pid()
    }

    /// Has it sign a token for the service `client`.
    ///
    /// # Errors
    ///
    /// When it cannot be reached or does not know the client.
    pub fn token(&self, client: &str) -> Result<String> {
        let reply = self.post("/token", &format!(r#"{{"client":"{client}"}}"#))?;
        let (head, body) = reply
            .split_once("\r\n\r\n")
            .context("the issuer's answer has no body")?;
        let body: serde_json::Value = serde_json::from_str(body.trim())
            .with_context(|| format!("the issuer answered {head:?}"))?;
        let token = body["access_token"]
            .as_str()
            .with_context(|| format!("the issuer answered {body}"))?;
        Ok(token.to_owned())
    }

    /// Writes such a token to a file that only its owner may read.
    ///
    /// # Errors
    ///
    /// When there is no token or the file cannot be written.
    pub fn token_file(&self, client: &str, file: &Path) -> Result<()> {
        use std::os::unix::fs::OpenOptionsExt as _;
        let token = self.token(client)?;
        let mut opened = fs::File::options()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(file)
            .with_context(|| format!("cannot make {}", file.display()))?;
        opened
            .write_all(token.as_bytes())
            .with_context(|| format!("cannot write {}", file.display()))
    }

    fn post(&self, path: &str, body: &str) -> Result<String> {
        let host = self
            .url
            .strip_prefix("http://")
            .context("the issuer's URL is not http")?;
        let mut stream = TcpStream::connect(host).context("cannot reach the issuer")?;
        stream
            .set_read_timeout(Some(Duration::from_secs(30)))
            .context("cannot bound the wait")?;
        write!(
            stream,
            "POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        )
        .context("cannot ask the issuer")?;
        let mut reply = String::new();
        stream
            .read_to_string(&mut reply)
            .context("cannot read the issuer's answer")?;
        Ok(reply)
    }
}

const ADDRESS: &str = "127.0.0.1";
