//! An agent that serves its web page, and a provider at which browsers log in.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde_json::json;
use tempfile::TempDir;
use toml::{Table, Value};

use crate::governed::write_files;
use crate::lab::{Lab, LabOptions};
use crate::oidc::OidcProvider;
use crate::port;

/// The page, on this host's socket and by TLS.
#[derive(Debug)]
pub struct Web {
    /// The agent, and what it governs.
    pub lab: Lab,
    /// Where people log in.
    pub provider: OidcProvider,
    /// `https://` with address and port.
    pub origin: String,
    // Below the lab, so that the agent never sees its policy vanish.
    _folders: [TempDir; 2],
}

impl Web {
    /// Logins at the provider, each with its group: one for each role, and one without.
    pub const PEOPLE: [(&'static str, &'static str); 5] = [
        ("vic", "viewers"),
        ("apo", "approvers"),
        ("aud", "auditors"),
        ("adm", "admins"),
        ("nob", "guests"),
    ];

    /// The bearer token for measurements.
    pub const MEASURER: &'static str = "a-bearer-for-measurements";

    /// Starts it; `pack` are the policy's files, `issuer` further lines of the provider's `[[issuer]]`.
    ///
    /// # Errors
    ///
    /// When a part does not come up.
    pub fn start(pack: &[(&str, &str)], issuer: &str, options: LabOptions) -> Result<Self> {
        let folder = tempfile::tempdir().context("no folder")?;
        let pack = write_files(pack)?;
        let provider = OidcProvider::start(folder.path())?;
        let port = port::free(&["127.0.0.1"])?;
        let origin = format!("https://127.0.0.1:{port}");
        provider.order(&json!({ "op": "site", "redirect": format!("{origin}/login/callback") }))?;
        for (login, group) in Self::PEOPLE {
            let claims = json!({ "preferred_username": login, "groups": [group] });
            provider.account(login, &claims)?;
        }
        let issuer: Table = toml::from_str(&format!(
            "issuer = {:?}\nclient_id = \"weir-web\"\nscopes = [\"openid\", \"profile\", \"groups\"]\n{issuer}",
            provider.issuer()
        ))
        .context("the issuer's lines are no TOML")?;
        let token = folder.path().join("metrics.token");
        fs::write(&token, format!("{}\n", Self::MEASURER)).context("cannot write the token")?;
        let mut admin = toml::toml! {
            socket = "web.sock"
            roles = { viewer = ["viewers"], approver = ["approvers"], auditor = ["auditors"], admin = ["admins"] }
        };
        admin.insert("listen".into(), format!("127.0.0.1:{port}").into());
        admin.insert(
            "metrics_token_file".into(),
            token.display().to_string().into(),
        );
        let mut options = LabOptions {
            policy: Some(pack.path().to_path_buf()),
            ..options
        };
        options.sections.push(("issuer".into(), issuer));
        options.settings.push(("admin".into(), Value::Table(admin)));
        Ok(Self {
            lab: Lab::start(&options)?,
            provider,
            origin,
            _folders: [folder, pack],
        })
    }

    /// The page's socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.lab.folder().join("web.sock")
    }

    /// Who signed the page's certificate.
    #[must_use]
    pub fn authority(&self) -> PathBuf {
        self.lab.agent().state_folder().join("ca.pem")
    }
}
