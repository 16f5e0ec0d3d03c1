//! `weir trust`: clients that were told nothing trust weir's certificates, and afterwards everything is as it was.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::{Identity, Lab, LabOptions, place};

/// Every file below a folder.
fn files(folder: &Path) -> Result<BTreeMap<PathBuf, Vec<u8>>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_dir() && !path.is_symlink() {
                folders.push(path);
            } else {
                found.insert(path.clone(), fs::read(&path)?);
            }
        }
    }
    Ok(found)
}

fn trust(lab: &Lab, home: &Path, arguments: &[&str]) -> Result<Value> {
    let state = lab.agent().state_folder().display().to_string();
    let mut command = lab.weir(&["trust"]);
    command
        .args(arguments)
        .args(["--json", "--state-dir", &state])
        .env("HOME", home)
        .env_remove("SUDO_USER");
    let output = command.output().context("cannot run weir trust")?;
    ensure!(
        output.status.success(),
        "{arguments:?}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).context("it is not JSON")
}

#[test]
fn libpq_trusts_without_being_told_and_its_file_comes_back() -> Result<()> {
    let lab = Lab::start(&LabOptions {
        tls: true,
        scram: true,
        ..LabOptions::default()
    })?;
    let home = tempfile::tempdir()?;
    let reaches = || -> Result<bool> {
        let mut command = lab.command(Identity::Alice, lab.postgres().programs().client("psql"));
        command
            .args(["-X", "-w", "-A", "-t", "-c", "select 42"])
            .env("HOME", home.path())
            .env("PGSSLMODE", "verify-full")
            .env("PGCHANNELBINDING", "require")
            .env_remove("PGSSLROOTCERT");
        Ok(command.output()?.status.success())
    };
    ensure!(!reaches()?, "nobody was trusted yet");
    trust(&lab, home.path(), &["install", "--store", "libpq"])?;
    ensure!(reaches()?, "the CA is not trusted");
    let once = files(home.path())?;
    trust(&lab, home.path(), &["install", "--store", "libpq"])?;
    ensure!(files(home.path())? == once, "twice is not once");
    trust(&lab, home.path(), &["remove", "--store", "libpq"])?;
    ensure!(
        fs::read_dir(home.path())?.next().is_none(),
        "what was made is left"
    );

    // Somebody's own file, without an end of its last line.
    let folder = home.path().join(".postgresql");
    fs::create_dir(&folder)?;
    let server = fs::read_to_string(lab.folder().join("tls/ca.pem"))?;
    fs::write(folder.join("root.crt"), server.trim_end())?;
    let before = files(home.path())?;
    trust(&lab, home.path(), &["install", "--store", "libpq"])?;
    ensure!(reaches()?, "the CA is not trusted beside another");
    let status = trust(&lab, home.path(), &["status", "--store", "libpq"])?;
    ensure!(status["stores"][0]["state"] == "installed", "{status}");
    trust(&lab, home.path(), &["remove", "--store", "libpq"])?;
    ensure!(files(home.path())? == before, "the file is not as it was");
    Ok(())
}

/// Java's, Node's and Python's, and the system's, in a mount namespace of its own: the machine's stay as they are.
#[test]
fn every_store_is_filled_and_emptied_again() -> Result<()> {
    let lab = Lab::start(&LabOptions {
        engine: tests::Engine::None,
        ..LabOptions::default()
    })?;
    let home = tempfile::tempdir()?;
    let script = r#"
set -eu
cd "$HOME"
mount --make-rprivate /
# Copies in place of what is the machine's.
for folder in /etc /usr/local/share/ca-certificates; do
    mkdir -p "copy$folder" "$folder"
    cp -a "$folder/." "copy$folder/"
    mount --bind "copy$folder" "$folder"
done
# The interpreter that is found is the one with the bundle below.
mkdir -p bin jdk/bin jdk/lib/security
for name in python3 python; do
    printf '#!/bin/sh\nexec "%s" "$@"\n' "$PYTHON" > "bin/$name"
    chmod 755 "bin/$name"
done
PATH="$HOME/bin:/usr/sbin:/usr/bin:/sbin:/bin"
cp -a "$(dirname "$BUNDLE")" bundle
mount --bind bundle "$(dirname "$BUNDLE")"
cp -L "$JAVA_CACERTS" jdk/lib/security/cacerts
ln -s "$KEYTOOL" jdk/bin/keytool
# What the distribution's own command makes of its own files is its business: Java's store differs each time.
sums() { find copy jdk bundle -type f -not -path 'copy/etc/ssl/certs/java/*' -exec sha256sum {} + | sort -k2; }
update-ca-certificates > /dev/null 2>&1
sums > before
"$WEIR" trust install --state-dir "$STATE" --java-home "$HOME/jdk" --python "$PYTHON" >&2
"$WEIR" trust install --state-dir "$STATE" --java-home "$HOME/jdk" --python "$PYTHON" > /dev/null
"$WEIR" trust status --json --state-dir "$STATE" --java-home "$HOME/jdk" --python "$PYTHON"
openssl verify -CApath /etc/ssl/certs "$STATE/ca.pem" >&2
"$KEYTOOL" -list -alias weir-local-ca -keystore jdk/lib/security/cacerts -storepass changeit >&2
"$PYTHON" -c 'import ssl, certifi; ssl.create_default_context(cafile=certifi.where())'
grep -q 'weir local CA: begin' "$BUNDLE"
env -u NODE_EXTRA_CA_CERTS sh -c '. /etc/profile.d/weir-ca.sh; test -r "$NODE_EXTRA_CA_CERTS"'
"$WEIR" trust remove --state-dir "$STATE" --java-home "$HOME/jdk" --python "$PYTHON" >&2
sums > after
diff before after >&2
if [ -e /etc/ssl/certs/java/cacerts ]; then
    "$KEYTOOL" -list -keystore /etc/ssl/certs/java/cacerts -storepass changeit > java-list
    if grep -i weir java-list >&2; then exit 1; fi
fi
"#;
    let python = place::python_environment()?.join("bin/python");
    let printed = |command: &mut Command| -> Result<String> {
        let output = command.output()?;
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let bundle =
        printed(Command::new(&python).args(["-c", "import certifi; print(certifi.where())"]))?;
    let java = fs::read_dir("/usr/lib/jvm")
        .context("there is no Java: run `cargo xtask setup --for test`")?
        .flatten()
        .map(|entry| entry.path())
        .find(|home| {
            let needed = ["lib/security/cacerts", "bin/keytool"];
            needed.iter().all(|name| home.join(name).is_file())
        })
        .context("no Java runtime has certificates and keytool")?;
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "sh", "-c", script])
        .env("HOME", home.path())
        .env("WEIR", lab.agent().program())
        .env("STATE", lab.agent().state_folder())
        .env("PYTHON", &python)
        .env("BUNDLE", bundle)
        .env("KEYTOOL", java.join("bin/keytool"))
        .env("JAVA_CACERTS", java.join("lib/security/cacerts"))
        .env_remove("SUDO_USER")
        .env_remove("JAVA_HOME");
    let output = command.output().context("cannot run unshare")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{said}");
    let status: Value = serde_json::from_slice(&output.stdout)
        .with_context(|| String::from_utf8_lossy(&output.stdout).into_owned())?;
    let of = |store: &str| -> Vec<&Value> {
        let stores = status["stores"].as_array().map_or(&[][..], Vec::as_slice);
        stores.iter().filter(|it| it["store"] == store).collect()
    };
    for store in ["system", "node"] {
        ensure!(of(store)[0]["state"] == "installed", "{status}");
    }
    for store in ["java", "python"] {
        ensure!(
            of(store).iter().any(|it| it["state"] == "installed"),
            "{status}"
        );
    }
    // Nobody's sslmode=require becomes stricter by itself.
    ensure!(of("libpq")[0]["state"] == "skipped", "{status}");
    Ok(())
}
