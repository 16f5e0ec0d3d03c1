//! Java's `cacerts`: changed with the runtime's own keytool, restored from a copy while nobody else has changed it.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use aws_lc_rs::digest::{SHA256, digest};

use super::{Action, Finding, State, Store, Task, files};

const ALIAS: &str = "weir-local-ca";
/// What every `cacerts` is shipped with; it protects nothing.
const STORE_PASSWORD: &str = "changeit";
/// Debian's, which its hook for the system's store keeps.
const DEBIAN: &str = "/etc/ssl/certs/java/cacerts";
const DEBIAN_ALIAS: &str = "debian:weir-local-ca.pem";
const DEBIAN_HOOK: &str = "/etc/ca-certificates/update.d/jks-keystore";

pub(super) fn run(task: &Task) -> Vec<Finding> {
    let mut stores: Vec<(PathBuf, PathBuf)> = Vec::new();
    for home in homes(task) {
        let keytool = home.join("bin/keytool");
        let files = ["lib/security/cacerts", "jre/lib/security/cacerts"];
        let found = files
            .iter()
            .find_map(|it| home.join(it).canonicalize().ok());
        if let Some(file) = found
            && keytool.is_file()
            && !stores.iter().any(|(known, _)| *known == file)
        {
            stores.push((file, keytool));
        }
    }
    let finding = |(place, keytool): (PathBuf, PathBuf)| {
        let (state, detail) = if place == Path::new(DEBIAN) && Path::new(DEBIAN_HOOK).exists() {
            (State::Skipped, "it follows the system's store".to_owned())
        } else {
            match change(task, &place, &keytool) {
                Ok(state) => (state, String::new()),
                Err(error) => (State::Failed, error.to_string()),
            }
        };
        Finding {
            store: Store::Java,
            place,
            state,
            detail,
        }
    };
    stores.into_iter().map(finding).collect()
}

/// Debian's hook puts into Java's store what comes into the system's, and leaves there what is taken out of it.
pub(super) fn forget_in_debians() -> io::Result<()> {
    let keytools = installed().into_iter().map(|home| home.join("bin/keytool"));
    let place = Path::new(DEBIAN);
    let Some(keytool) = keytools.into_iter().find(|it| it.is_file()) else {
        return Ok(());
    };
    if !place.exists() || run_keytool(&keytool, place, &["-list", "-alias", DEBIAN_ALIAS]).is_err()
    {
        return Ok(());
    }
    run_keytool(&keytool, place, &["-delete", "-alias", DEBIAN_ALIAS]).map(drop)
}

fn installed() -> Vec<PathBuf> {
    let found = fs::read_dir("/usr/lib/jvm").into_iter().flatten().flatten();
    let mut homes: Vec<PathBuf> = found.map(|entry| entry.path()).collect();
    homes.sort();
    homes
}

fn homes(task: &Task) -> Vec<PathBuf> {
    let mut homes = installed();
    homes.extend(env::var_os("JAVA_HOME").map(PathBuf::from));
    homes.extend(task.java_homes.iter().cloned());
    homes
}

fn change(task: &Task, place: &Path, keytool: &Path) -> io::Result<State> {
    let found = state(place, keytool, &task.pem)?;
    match (task.action, found) {
        (Action::Look, _)
        | (Action::Install, State::Installed)
        | (Action::Remove, State::Absent) => {
            return Ok(found);
        }
        _ => {}
    }
    if found != State::Absent {
        take_out(place, keytool)?;
    }
    if task.action == Action::Remove {
        return Ok(State::Absent);
    }
    let before = fs::read(place)?;
    let pem = beside(place, "pem");
    files::write(&pem, task.pem.as_bytes())?;
    let imported = run_keytool(
        keytool,
        place,
        &[
            "-importcert",
            "-noprompt",
            "-alias",
            ALIAS,
            "-file",
            &pem.display().to_string(),
        ],
    );
    let _ = fs::remove_file(&pem);
    imported?;
    files::write(&beside(place, "before"), &before)?;
    files::write(&beside(place, "after"), hash(place)?.as_bytes())?;
    Ok(State::Installed)
}

/// Restores the copy when the store is as it was left; else takes one entry out of what others have made of it.
fn take_out(place: &Path, keytool: &Path) -> io::Result<()> {
    let (before, after) = (beside(place, "before"), beside(place, "after"));
    let untouched = fs::read_to_string(&after).ok() == Some(hash(place)?);
    match fs::read(&before) {
        Ok(bytes) if untouched => files::write(place, &bytes)?,
        _ => run_keytool(keytool, place, &["-delete", "-alias", ALIAS]).map(drop)?,
    }
    for copy in [before, after] {
        let _ = fs::remove_file(copy);
    }
    Ok(())
}

fn state(place: &Path, keytool: &Path, pem: &str) -> io::Result<State> {
    let listed = run_keytool(keytool, place, &["-exportcert", "-rfc", "-alias", ALIAS]);
    let Ok(found) = listed else {
        // The alias is not there; whether the store can be read at all, another question tells.
        run_keytool(keytool, place, &["-list"])?;
        return Ok(State::Absent);
    };
    let body = |pem: &str| -> String {
        let lines = pem.lines().map(str::trim);
        lines.filter(|line| !line.starts_with('-')).collect()
    };
    Ok(if body(&found) == body(pem) {
        State::Installed
    } else {
        State::Stale
    })
}

fn run_keytool(keytool: &Path, store: &Path, arguments: &[&str]) -> io::Result<String> {
    let output = Command::new(keytool)
        .args(arguments)
        .arg("-keystore")
        .arg(store)
        .args(["-storepass", STORE_PASSWORD])
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .output()?;
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        Ok(printed)
    } else {
        let line = printed.lines().next().unwrap_or("no message").to_owned();
        Err(io::Error::other(format!("keytool: {line}")))
    }
}

fn hash(path: &Path) -> io::Result<String> {
    Ok(hex::encode(digest(&SHA256, &fs::read(path)?)))
}

fn beside(store: &Path, what: &str) -> PathBuf {
    let mut name = store.as_os_str().to_owned();
    name.push(format!(".weir-{what}"));
    PathBuf::from(name)
}
