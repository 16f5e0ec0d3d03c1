//! The people of the lab, and how a process becomes one of them.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use anyhow::{Context, Result};
use toml::Table;

use crate::cgroup::Cgroup;
use crate::dev_idp::DevIdp;
use crate::leftovers::Folder;
use crate::place;

/// Whom a command runs as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    /// A person in the group `dba`.
    Alice,
    /// A person in the group `analyst`.
    Bob,
    /// A service.
    SvcBilling,
    /// An AI agent that works for Bob.
    ChurnBot,
    /// Somebody weir knows nothing about.
    Nobody,
}

impl Identity {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Alice,
        Self::Bob,
        Self::SvcBilling,
        Self::ChurnBot,
        Self::Nobody,
    ];

    /// The name that scripts use.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Alice => "alice",
            Self::Bob => "bob",
            Self::SvcBilling => "svc-billing",
            Self::ChurnBot => "churn-bot",
            Self::Nobody => "nobody",
        }
    }

    /// The identity of that name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|identity| identity.name() == name)
    }
}

/// Makes the cgroups and the service's token, and returns the script that runs `NAME CMD…` as NAME.
pub(super) fn prepare(folder: &Folder, cgroup: &Cgroup, issuer: &DevIdp) -> Result<PathBuf> {
    let clients = cgroup.below("clients")?;
    let billing = cgroup.below(BILLING)?;
    issuer.token_file(Identity::SvcBilling.name(), &folder.path().join(TOKEN))?;
    let script = SCRIPT
        .replace("@clients@", &clients.display().to_string())
        .replace("@billing@", &billing.display().to_string())
        .replace(
            "@socket@",
            &folder.path().join("weir.sock").display().to_string(),
        )
        .replace("@weir@", &place::weir()?.display().to_string());
    let file = folder.path().join("as");
    fs::write(&file, script).with_context(|| format!("cannot write {}", file.display()))?;
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755))
        .context("cannot make the script executable")?;
    Ok(file)
}

/// The configuration that makes the service known to the agent.
pub(super) fn workload(folder: &Folder, lab: &str) -> Table {
    let mut table = Table::new();
    table.insert("name".into(), Identity::SvcBilling.name().into());
    table.insert("cgroup".into(), format!("/{lab}/{BILLING}").into());
    table.insert(
        "token_file".into(),
        folder.path().join(TOKEN).display().to_string().into(),
    );
    table
}

const BILLING: &str = "billing";
const TOKEN: &str = "svc-billing.token";

/// Moving first leaves whatever run the caller is in: an identity cannot be nested in another.
const SCRIPT: &str = r#"#!/bin/sh
# Runs a command as one of the lab's people: as NAME COMMAND [ARGUMENT...]
name=$1
shift
WEIR_SOCKET='@socket@'
export WEIR_SOCKET
enter() { echo $$ > "$1/cgroup.procs" || exit 125; }
case $name in
alice | bob)
    enter '@clients@'
    exec '@weir@' login --as "$name" --scope tree -- "$@"
    ;;
churn-bot)
    enter '@clients@'
    exec '@weir@' login --as bob --scope tree -- '@weir@' exec --agent churn-bot -- "$@"
    ;;
svc-billing)
    enter '@billing@'
    exec "$@"
    ;;
nobody)
    enter '@clients@'
    exec "$@"
    ;;
*)
    echo "as: no such identity: $name (alice, bob, svc-billing, churn-bot, nobody)" >&2
    exit 125
    ;;
esac
"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_understood() {
        for identity in Identity::ALL {
            assert_eq!(Identity::parse(identity.name()), Some(identity));
        }
        assert_eq!(Identity::parse("mallory"), None);
    }
}
