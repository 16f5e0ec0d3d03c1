//! The server that every peer leads to, filled.

use std::path::Path;
use std::process::{self, Command, Stdio};
use std::rc::Rc;

use anyhow::{Context, Result, ensure};
use harness::leftovers::{self, Folder};
use harness::{Lab, LabOptions, Postgres, PostgresOptions};

use super::workload::FILL_TABLE;
use crate::progress::step;

/// A private server with pgbench's tables, and a folder for the peers' files.
#[derive(Debug)]
pub(crate) struct Site {
    place: Place,
    folder: Folder,
}

#[derive(Debug)]
enum Place {
    /// The lab's: weir's clients are bound to one of its people.
    Lab(Rc<Lab>),
    Alone(Box<Postgres>),
}

impl Site {
    /// Starts the server, with an agent that governs it when `with_weir`, and fills it.
    pub(crate) fn start(with_weir: bool) -> Result<Self> {
        step("starting the server");
        leftovers::reclaim();
        // Labs count from zero.
        let folder = Folder::create(&leftovers::name(process::id(), u32::MAX))?;
        let settings = SERVER_SETTINGS.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let place = if with_weir {
            let options = LabOptions {
                server_settings: settings.to_vec(),
                ..LabOptions::default()
            };
            Place::Lab(Rc::new(Lab::start(&options)?))
        } else {
            let options = PostgresOptions {
                settings: settings.to_vec(),
                ..PostgresOptions::default()
            };
            let home = folder.below("postgres")?;
            Place::Alone(Box::new(Postgres::start(&home, &options)?))
        };
        let site = Self { place, folder };
        site.fill()?;
        Ok(site)
    }

    /// The server.
    pub(crate) fn server(&self) -> &Postgres {
        match &self.place {
            Place::Lab(lab) => lab.postgres(),
            Place::Alone(server) => server,
        }
    }

    /// The lab around the server, when there is an agent.
    pub(crate) fn lab(&self) -> Option<&Rc<Lab>> {
        match &self.place {
            Place::Lab(lab) => Some(lab),
            Place::Alone(_) => None,
        }
    }

    /// Where peers and clients put their files.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn fill(&self) -> Result<()> {
        step("filling the database");
        let server = self.server();
        let output = Command::new(server.programs().client("pgbench"))
            .args(["-i", "-q", "-s", SCALE, "-U", Postgres::USER, "-h"])
            .arg(server.socket_folder())
            .args(["-p", &server.port().to_string(), Postgres::DATABASE])
            .stdin(Stdio::null())
            .output()
            .context("running pgbench")?;
        let words = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "filling the database: {}",
            words.trim()
        );
        server.admin(Postgres::DATABASE, FILL_TABLE)?;
        server.admin(Postgres::DATABASE, "CHECKPOINT")?;
        Ok(())
    }
}

const SCALE: &str = "10";

/// `fsync` is off in every server of the harness.
const SERVER_SETTINGS: [(&str, &str); 3] = [
    ("autovacuum", "off"),
    ("shared_buffers", "256MB"),
    ("max_wal_size", "4GB"),
];
