//! A webhook that is told of approvals.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;
use tests::http::Answer;
use tests::{HttpListener, Lab};

/// One that takes everything, and keeps what was signed.
pub(crate) struct Hook {
    url: String,
    got: Receiver<String>,
    folder: TempDir,
}

impl Hook {
    pub(crate) fn start() -> Result<Self> {
        let (send, got) = mpsc::channel();
        let listener = HttpListener::start(move |request| {
            let signature = request.header("webhook-signature");
            if signature.is_some_and(|value| value.starts_with("v1,")) {
                // Nobody looks any more once the test is over.
                let _ = send.send(request.body);
            }
            Answer::status("204 No Content")
        })?;
        let url = listener.url("/hooks/secret-of-the-channel");
        let folder = tempfile::tempdir().context("no folder")?;
        Ok(Self { url, got, folder })
    }

    /// `[[webhook]]`.
    pub(crate) fn section(&self) -> Result<toml::Table> {
        let key = self.folder.path().join("webhook.key");
        fs::write(&key, "whsec_c2VjcmV0LW9mLXRoZS13ZWJob29rLTQ3MTE=\n")?;
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600))?;
        let text = format!(
            "name = \"ops\"\nurl = {:?}\nform = \"json\"\nsecret_file = {:?}",
            self.url,
            key.display().to_string()
        );
        Ok(toml::from_str(&text)?)
    }

    /// It was told of every request and every decision that is recorded, and of no value.
    pub(crate) fn was_told_what_is_recorded(&self, lab: &Lab) -> Result<()> {
        let sql = "select event, body from events where event in ('approval_requested', 'approval_decided')";
        let rows = lab
            .agent()
            .json(&["audit", "query", "--format", "json", sql])?;
        let recorded = rows.as_array().context("no list")?.iter().map(|row| {
            let body: Value = serde_json::from_str(row["body"].as_str().context("no body")?)?;
            let kind = row["event"].as_str().context("no event")?.replace('_', ".");
            Ok((kind, body["approval"].as_u64().context("no approval")?))
        });
        let recorded: BTreeSet<(String, u64)> = recorded.collect::<Result<_>>()?;
        ensure!(recorded.len() > 10, "nothing happened: {recorded:?}");

        let mut told = BTreeSet::new();
        let limit = Instant::now() + Duration::from_secs(10);
        while !told.is_superset(&recorded) && Instant::now() < limit {
            let Ok(body) = self.got.recv_timeout(Duration::from_millis(200)) else {
                continue;
            };
            ensure!(!body.contains("sentinel"), "a value was told: {body}");
            let body: Value = serde_json::from_str(&body)?;
            let kind = body["type"].as_str().context("no type")?.to_owned();
            told.insert((
                kind,
                body["data"]["approval"].as_u64().context("no approval")?,
            ));
        }
        let missing: Vec<_> = recorded.difference(&told).collect();
        ensure!(missing.is_empty(), "not told: {missing:?}");
        let status = lab.agent().status()?;
        ensure!(status["webhooks"][0]["lost"] == 0, "{}", status["webhooks"]);
        ensure!(
            !status.to_string().contains("secret-of-the-channel"),
            "the status shows the hook's address"
        );
        Ok(())
    }
}
