//! A real OpenID provider with clients of its own, and the port by which tests have it do things.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;
use tests::http::post;
use tests::service::Ending;
use tests::{Service, place};
use toml::Table;

/// The running provider.
pub(crate) struct Provider {
    _service: Service,
    issuer: String,
    control: String,
    folder: TempDir,
}

/// Its clients: name, algorithm, and what makes the key.
const CLIENTS: &[(&str, &str, &[&str])] = &[
    (
        "billing-es",
        "ES256",
        &["EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
    ),
    (
        "billing-rs",
        "RS256",
        &["RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
    ),
    ("billing-ed", "EdDSA", &["ED25519"]),
    (
        "churn-bot",
        "ES256",
        &["EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
    ),
];

impl Provider {
    pub(crate) fn start() -> Result<Self> {
        let folder = tempfile::tempdir().context("cannot make a folder")?;
        let mut clients = Vec::new();
        for (id, algorithm, kind) in CLIENTS {
            let key = folder.path().join(format!("{id}.pem"));
            make_key(&key, kind)?;
            clients.push(json!({ "id": id, "alg": algorithm, "key": key }));
        }
        let listed = folder.path().join("clients.json");
        fs::write(&listed, Value::Array(clients).to_string()).context("cannot list the clients")?;
        let ready = folder.path().join("ready.json");
        let mut command = Command::new("node");
        command
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("workloads/provider.mjs"))
            .args([&ready, &listed])
            .env("WEIR_TEST_NODE_MODULES", place::node_modules()?);
        let log = folder.path().join("provider.log");
        let service = Service::start("oidc-provider", command, &log, Ending::default())?;
        service.wait_until(Duration::from_mins(1), || ready.exists())?;
        let text = fs::read(&ready).context("cannot read where the provider is")?;
        let places: Value = serde_json::from_slice(&text).context("not JSON")?;
        let place = |name: &str| places[name].as_str().map(str::to_owned);
        Ok(Self {
            _service: service,
            issuer: place("issuer").context("no issuer")?,
            control: place("control").context("no control port")?,
            folder,
        })
    }

    /// The agent's `[[issuer]]` for it.
    pub(crate) fn section(&self) -> (String, Table) {
        // The tests log in as people who have no account here.
        let mut section = toml::toml! { audience = "weir" account_match = false };
        section.insert("issuer".into(), self.issuer.clone().into());
        ("issuer".to_owned(), section)
    }

    /// How one of its clients is configured.
    pub(crate) fn client(&self, id: &str) -> Table {
        let mut table = Table::new();
        table.insert("issuer".into(), self.issuer.clone().into());
        table.insert("client_id".into(), id.into());
        let key = self.folder.path().join(format!("{id}.pem"));
        table.insert("key_file".into(), key.display().to_string().into());
        table
    }

    /// Has it sign a token with these claims beside those it always has.
    pub(crate) fn sign(&self, claims: &Value, typ: &str) -> Result<String> {
        let signed = self.order(&json!({ "op": "sign", "claims": claims, "typ": typ }))?;
        Ok(signed.as_str().context("no token")?.to_owned())
    }

    /// Such a token in a file.
    pub(crate) fn token_file(&self, name: &str, claims: &Value) -> Result<PathBuf> {
        let file = self.folder.path().join(name);
        fs::write(&file, self.sign(claims, "at+jwt")?).context("cannot write a token")?;
        Ok(file)
    }

    /// Has the exchange say something else than the truth from now on.
    pub(crate) fn change(&self, to: &Value) -> Result<()> {
        self.order(&json!({ "op": "change", "to": to })).map(drop)
    }

    /// What was exchanged so far.
    pub(crate) fn exchanges(&self) -> Result<Vec<Value>> {
        let seen = self.order(&json!({ "op": "exchanges" }))?;
        seen.as_array().cloned().context("no list")
    }

    fn order(&self, order: &Value) -> Result<Value> {
        let (status, body) = post(&self.control, "application/json", "", &order.to_string())?;
        ensure!(status == 200, "{order}: {body}");
        serde_json::from_str(&body).with_context(|| format!("not JSON: {body}"))
    }
}

fn make_key(file: &Path, kind: &[&str]) -> Result<()> {
    let output = Command::new("openssl")
        .args(["genpkey", "-out"])
        .arg(file)
        .arg("-algorithm")
        .args(kind)
        .output()
        .context("cannot run openssl")?;
    ensure!(
        output.status.success(),
        "openssl: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    fs::set_permissions(file, fs::Permissions::from_mode(0o600)).context("cannot close the key")
}
