//! A certificate authority for one test, and the server certificate it signs.
//!
//! Made with the `openssl` program: the harness then needs no cryptography of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

/// A test authority with one server certificate for `localhost` and the loopback addresses.
#[derive(Clone, Debug)]
pub struct Authority {
    folder: PathBuf,
}

impl Authority {
    /// Makes keys and certificates in `folder`. They are valid for two days.
    ///
    /// # Errors
    ///
    /// When `openssl` is missing or refuses.
    pub fn create(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let authority = Self {
            folder: folder.to_path_buf(),
        };
        fs::write(folder.join("ca.cnf"), CA_CONFIG)
            .context("cannot write the authority's settings")?;
        fs::write(folder.join("server.cnf"), SERVER_CONFIG)
            .context("cannot write the server's settings")?;
        authority.openssl(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 \
             -config ca.cnf -keyout ca.key -out ca.pem",
        )?;
        authority.openssl(
            "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -config server.cnf \
             -keyout server.key -out server.csr",
        )?;
        authority.openssl(
            "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 \
             -extfile server.cnf -extensions leaf -out server.pem",
        )?;
        Ok(authority)
    }

    /// The authority's certificate.
    #[must_use]
    pub fn certificate(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// The server's certificate.
    #[must_use]
    pub fn server_certificate(&self) -> PathBuf {
        self.folder.join("server.pem")
    }

    /// The server's key.
    #[must_use]
    pub fn server_key(&self) -> PathBuf {
        self.folder.join("server.key")
    }

    fn openssl(&self, arguments: &str) -> Result<()> {
        let output = Command::new("openssl")
            .args(arguments.split_whitespace())
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .output()
            .context("cannot run openssl: run `cargo xtask setup`")?;
        ensure!(
            output.status.success(),
            "openssl {arguments}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(())
    }
}

const CA_CONFIG: &str = "\
[req]
distinguished_name = name
x509_extensions = authority
prompt = no
[name]
CN = weir test authority
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
";

const SERVER_CONFIG: &str = "\
[req]
distinguished_name = name
prompt = no
[name]
CN = localhost
[leaf]
basicConstraints = CA:FALSE
keyUsage = digitalSignature
extendedKeyUsage = serverAuth
subjectAltName = DNS:localhost, IP:127.0.0.1, IP:127.0.0.2, IP:::1
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_certificate_verifies_against_the_authority() {
        let folder = tempfile::tempdir().expect("a folder");
        let authority = Authority::create(folder.path()).expect("openssl works");
        authority
            .openssl("verify -x509_strict -CAfile ca.pem server.pem")
            .expect("it verifies");
    }
}
