//! A lab whose policy masks columns: the pack, and the databases that proofs about masks compare.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::lab::{Lab, LabOptions};
use crate::verdicts::{self, Program};

/// A lab under a pack that hides columns from everybody but the group `dba`, with `redact`.
#[derive(Debug)]
pub struct Governed {
    lab: Lab,
    // Below the lab, so that the agent never sees its policy vanish.
    _pack: TempDir,
}

impl Governed {
    /// Starts it; `classes` says which columns are hidden: `schema.table.column` to class, all below `pii`.
    ///
    /// # Errors
    ///
    /// When the pack cannot be written or the lab does not come up.
    pub fn start(classes: &BTreeMap<String, String>, options: LabOptions) -> Result<Self> {
        Self::start_with(classes, "", options)
    }

    /// Starts it with further rules, written as in a pack: a list indented by two spaces.
    ///
    /// # Errors
    ///
    /// As [`Governed::start`].
    pub fn start_with(
        classes: &BTreeMap<String, String>,
        rules: &str,
        options: LabOptions,
    ) -> Result<Self> {
        let pack = write_pack(classes, rules)?;
        let lab = Lab::start(&LabOptions {
            policy: Some(pack.path().to_path_buf()),
            ..options
        })?;
        Ok(Self { lab, _pack: pack })
    }

    /// Starts it with these rules alone, written as in a pack: a list indented by two spaces.
    ///
    /// # Errors
    ///
    /// As [`Governed::start`].
    pub fn start_by(rules: &str, options: LabOptions) -> Result<Self> {
        let pack = write_files(&[("rules.yaml", &format!("{HEAD}{rules}"))])?;
        let lab = Lab::start(&LabOptions {
            policy: Some(pack.path().to_path_buf()),
            ..options
        })?;
        Ok(Self { lab, _pack: pack })
    }

    /// The lab, to stop and start its agent.
    pub fn lab_mut(&mut self) -> &mut Lab {
        &mut self.lab
    }

    /// The lab.
    #[must_use]
    pub fn lab(&self) -> &Lab {
        &self.lab
    }

    /// Creates a database and fills it from files of SQL.
    ///
    /// # Errors
    ///
    /// When a statement fails.
    pub fn create(&self, database: &str, files: &[PathBuf]) -> Result<()> {
        let server = self.lab.postgres();
        server.admin("postgres", &format!("CREATE DATABASE {database}"))?;
        for file in files {
            server.seed(database, file)?;
        }
        Ok(())
    }

    /// Starts with the databases `real`, the shop, and `twin`, in which the masked columns hold what their mask makes of them.
    ///
    /// # Errors
    ///
    /// When a part does not come up or a statement fails.
    pub fn shop_and_twin(server_version: Option<u16>) -> Result<Self> {
        let options = LabOptions {
            server_version,
            ..LabOptions::default()
        };
        let site = Self::start(&shop_classes()?, options)?;
        site.create("real", &[folder().join("schema.sql")])?;
        // A copy, so that even the numbers of tables and types are the same.
        let copy = "CREATE DATABASE twin TEMPLATE real";
        site.lab.postgres().admin("postgres", copy)?;
        let program = Program::python("../governed/redact.py").argument("twin");
        verdicts::all_well(&verdicts::run(program.direct(&site.lab))?)?;
        Ok(site)
    }
}

/// The folder of the shop that proofs run on.
#[must_use]
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("governed")
}

/// What of the shop is masked.
///
/// # Errors
///
/// When the list cannot be read.
pub fn shop_classes() -> Result<BTreeMap<String, String>> {
    let file = folder().join("masked.json");
    let text = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("cannot parse {}", file.display()))
}

fn write_pack(classes: &BTreeMap<String, String>, rules: &str) -> Result<TempDir> {
    let mut listed = String::from("version: 1\ncolumns:\n");
    for (column, class) in classes {
        let _ = writeln!(listed, "  \"{column}\": {class}");
    }
    let rules = format!("{HEAD}{MASKS}{rules}");
    write_files(&[("rules.yaml", &rules), ("classes.yaml", &listed)])
}

/// Writes a pack's files into a folder of their own.
pub(crate) fn write_files(files: &[(&str, &str)]) -> Result<TempDir> {
    let folder = tempfile::Builder::new()
        .prefix("weir-pack-")
        .permissions(fs::Permissions::from_mode(0o755))
        .tempdir()
        .context("cannot make a folder for the pack")?;
    for (name, text) in files {
        fs::write(folder.path().join(name), text)
            .with_context(|| format!("cannot write {name} of the pack"))?;
    }
    Ok(folder)
}

const HEAD: &str = "\
version: 1
defaults: { effect: allow, on_opaque: deny, on_audit_failure: allow, mode: enforce }
rules:
";

const MASKS: &str = "  - id: personal-data-is-hidden
    why: personal data is for administrators
    match: { action: [read], classes: { any: [pii] } }
    unless: { actor.groups: { any: [dba] } }
    effect: { mask: { default: redact } }
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pack_names_every_column() {
        let classes = shop_classes().expect("the list is there");
        let pack = write_pack(&classes, "").expect("a folder");
        let written = fs::read_to_string(pack.path().join("classes.yaml")).expect("written");
        assert_eq!(written.lines().count(), classes.len() + 2);
        assert!(written.contains("\"public.customers.ssn\": pii.ssn"));
    }
}
