//! Fetching a password: from Vault's KV engine (version 2), or from a program that prints it.

use std::{fs, os::unix::fs::MetadataExt, path::Path, process::Stdio, time::Duration};

use reqwest::{Certificate, Client, redirect};
use serde::Deserialize;
use serde_json::Value;
use tokio::{
    io::AsyncReadExt,
    process::{Child, Command},
};
use zeroize::{Zeroize, Zeroizing};

use super::{
    PasswordError, SecretFileError,
    secret::{read_secret, secret_of},
    settings::Vault,
};
use crate::identity::{Secret, fetch};

/// A secret's answer: <https://developer.hashicorp.com/vault/api-docs/secret/kv/kv-v2#read-secret-version>.
#[derive(Deserialize)]
struct Answer {
    data: Data,
}

#[derive(Deserialize)]
struct Data {
    data: Option<std::collections::HashMap<String, Value>>,
}

/// Reads a field of a secret.
pub(super) async fn from_vault(vault: &Vault) -> Result<Secret, PasswordError> {
    let token = read_secret(&vault.token_file)?;
    let mut request = client(vault)?
        .get(vault.url.clone())
        .header("X-Vault-Request", "true")
        .header("X-Vault-Token", sensitive(token.expose())?);
    if let Some(namespace) = &vault.namespace {
        request = request.header("X-Vault-Namespace", namespace);
    }
    let mut response = request.send().await.map_err(PasswordError::Vault)?;
    if response.status().as_u16() != 200 {
        return Err(PasswordError::VaultAnswer {
            what: format!("answers {}", response.status()),
        });
    }
    let mut body = Zeroizing::new(Vec::with_capacity(ANSWER_BYTES));
    while let Some(chunk) = response.chunk().await.map_err(PasswordError::Vault)? {
        if body.len() + chunk.len() > ANSWER_BYTES {
            return Err(PasswordError::VaultAnswer {
                what: format!("answers with more than {ANSWER_BYTES} bytes"),
            });
        }
        body.extend_from_slice(&chunk);
    }
    field_of(&body, &vault.field)
}

fn field_of(body: &[u8], field: &str) -> Result<Secret, PasswordError> {
    let wrong = |what: String| PasswordError::VaultAnswer { what };
    // What serde has to say could quote the answer.
    let answer: Answer = serde_json::from_slice(body)
        .map_err(|_| wrong("does not answer as KV version 2".into()))?;
    let mut fields = answer.data.data.unwrap_or_default();
    let found = match fields.remove(field) {
        Some(Value::String(text)) => {
            let text = Zeroizing::new(text);
            secret_of(&text)
        }
        _ => None,
    };
    for value in fields.values_mut() {
        if let Value::String(text) = value {
            text.zeroize();
        }
    }
    found.ok_or_else(|| wrong(format!("has no text in field {field:?} of that secret")))
}

fn sensitive(token: &str) -> Result<reqwest::header::HeaderValue, PasswordError> {
    let mut value =
        reqwest::header::HeaderValue::from_str(token).map_err(|_| PasswordError::VaultAnswer {
            what: "cannot be asked with such a token".into(),
        })?;
    value.set_sensitive(true);
    Ok(value)
}

fn client(vault: &Vault) -> Result<Client, PasswordError> {
    let mut builder = Client::builder()
        .redirect(redirect::Policy::none())
        .timeout(VAULT_LIMIT)
        .user_agent(concat!("weir/", env!("CARGO_PKG_VERSION")));
    if fetch::is_loopback(&vault.url) {
        builder = builder.no_proxy();
    }
    if vault.url.scheme() == "http" {
        builder = builder.tls_certs_only([]);
    } else if let Some(path) = &vault.ca_file {
        let pem = fs::read(path).map_err(|source| SecretFileError::Read {
            path: path.clone(),
            source,
        })?;
        let trusted = Certificate::from_pem_bundle(&pem).map_err(PasswordError::Vault)?;
        builder = builder.tls_certs_only(trusted);
    }
    builder.build().map_err(PasswordError::Vault)
}

/// What a program prints: in an empty environment, within a time, up to a size, and only with an exit code of zero.
pub(super) async fn from_program(
    words: &[String],
    limit: Duration,
) -> Result<Secret, PasswordError> {
    let Some((program, arguments)) = words.split_first() else {
        return Err(PasswordError::Timeout);
    };
    let path = Path::new(program);
    let run = |source| PasswordError::Run {
        path: path.to_owned(),
        source,
    };
    let found = fs::metadata(path).map_err(run)?;
    let trusted_owner = found.uid() == 0 || found.uid() == nix::unistd::geteuid().as_raw();
    if !trusted_owner || found.mode() & 0o022 != 0 {
        return Err(PasswordError::Writable {
            path: path.to_owned(),
        });
    }
    let mut child = Command::new(path)
        .args(arguments)
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        // What it has to say could be the secret.
        .stderr(Stdio::null())
        // With all that it starts.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(run)?;
    let outcome = tokio::time::timeout(limit, printed(&mut child)).await;
    if !matches!(outcome, Ok(Ok(_))) {
        end(&child);
    }
    match outcome {
        Err(_) => Err(PasswordError::Slow {
            path: path.to_owned(),
            limit,
        }),
        Ok(Err(what)) => Err(PasswordError::Program {
            path: path.to_owned(),
            what,
        }),
        Ok(Ok(secret)) => Ok(secret),
    }
}

async fn printed(child: &mut Child) -> Result<Secret, String> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(PRINTED_BYTES + 1));
    if let Some(output) = child.stdout.take() {
        let mut output = output.take(PRINTED_BYTES as u64 + 1);
        let read = output.read_to_end(&mut bytes).await;
        read.map_err(|error| format!("cannot be read: {error}"))?;
    }
    if bytes.len() > PRINTED_BYTES {
        return Err(format!("prints more than {PRINTED_BYTES} bytes"));
    }
    let status = child.wait().await;
    let status = status.map_err(|error| format!("cannot be waited for: {error}"))?;
    if !status.success() {
        return Err(format!("failed ({status})"));
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| "prints no UTF-8".to_owned())?;
    secret_of(text).ok_or_else(|| "prints nothing that is a password".to_owned())
}

/// Ends a program and what it has started.
fn end(child: &Child) {
    let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()) else {
        return;
    };
    let group = nix::unistd::Pid::from_raw(pid);
    let _ = nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL);
}

const VAULT_LIMIT: Duration = Duration::from_secs(10);
const ANSWER_BYTES: usize = 256 * 1024;
const PRINTED_BYTES: usize = 4096;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_field_of_a_secret_is_read() {
        let body = br#"{"data": {"data": {"password": "s3cret", "port": 5432}, "metadata": {}}}"#;
        assert_eq!(
            field_of(body, "password").expect("there").expose(),
            "s3cret"
        );
        for (body, field) in [
            (&body[..], "port"),
            (&body[..], "missing"),
            (br#"{"data": {"data": null}}"#, "password"),
            (br#"{"data": {"password": "v1"}}"#, "password"),
            (b"<html>s3cret", "password"),
        ] {
            let error = field_of(body, field).expect_err("refused");
            assert!(!crate::telemetry::chain(&error).contains("s3cret"));
        }
    }

    fn program(folder: &Path, text: &str) -> Vec<String> {
        let path = folder.join("program");
        // Written under another name first: a file that is open for writing cannot be run.
        let draft = folder.join("draft");
        fs::write(&draft, format!("#!/bin/sh\n{text}\n")).expect("written");
        fs::set_permissions(&draft, fs::Permissions::from_mode(0o700)).expect("ours");
        fs::rename(&draft, &path).expect("renamed");
        vec![path.display().to_string(), "app".to_owned()]
    }

    async fn run(text: &str, limit: Duration) -> Result<Secret, PasswordError> {
        let folder = tempfile::tempdir().expect("a folder");
        let words = program(folder.path(), text);
        // Another test's fork may hold the file for a moment.
        for _ in 0..50 {
            match from_program(&words, limit).await {
                Err(PasswordError::Run { source, .. })
                    if source.kind() == std::io::ErrorKind::ExecutableFileBusy =>
                {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                other => return other,
            }
        }
        panic!("the program stays busy");
    }

    const LONG: Duration = Duration::from_mins(1);

    #[tokio::test]
    async fn a_program_prints_the_password_in_a_clean_environment() {
        let printed = run("echo \"$1-${HOME:-none}-${CARGO:-none}\"", LONG).await;
        assert_eq!(printed.expect("printed").expose(), "app-none-none");
    }

    #[tokio::test]
    async fn a_program_that_fails_or_floods_gives_no_password() {
        for text in ["echo s3cret; exit 3", "true", "yes s3cret"] {
            let error = run(text, LONG).await.expect_err("refused");
            assert!(
                !crate::telemetry::chain(&error).contains("s3cret"),
                "{text}"
            );
        }
    }

    #[tokio::test]
    async fn a_program_that_hangs_is_ended_with_all_it_started() {
        let error = run("sleep 300 & sleep 300", Duration::from_millis(200))
            .await
            .expect_err("ended");
        assert!(matches!(error, PasswordError::Slow { .. }));
    }

    #[tokio::test]
    async fn a_program_that_others_may_change_is_not_run() {
        let folder = tempfile::tempdir().expect("a folder");
        let words = program(folder.path(), "echo s3cret");
        fs::set_permissions(&words[0], fs::Permissions::from_mode(0o722)).expect("ours");
        let error = from_program(&words, LONG).await.expect_err("refused");
        assert!(matches!(error, PasswordError::Writable { .. }));
    }
}
