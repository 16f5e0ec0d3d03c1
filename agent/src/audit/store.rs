//! The store: a SQLite digest of the journal that reports and auditors ask. It can be thrown away and rebuilt.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction};

use super::journal::reader::ReadError;

/// The store's file below the state directory.
pub const FILE: &str = "audit.db";

/// The schema's version; a store of an older one is brought up to it.
#[expect(clippy::cast_possible_wrap, reason = "there are few versions")]
const VERSION: i64 = SCHEMA.len() as i64;
/// What each version adds to the one before.
const SCHEMA: &[&str] = &[
    include_str!("../../migrations/0001_usage.sql"),
    include_str!("../../migrations/0002_columns.sql"),
    include_str!("../../migrations/0003_bindings.sql"),
    include_str!("../../migrations/0004_evidence.sql"),
    include_str!("../../migrations/0005_classes.sql"),
    include_str!("../../migrations/0006_retention.sql"),
    include_str!("../../migrations/0007_bound.sql"),
    include_str!("../../migrations/0008_closings.sql"),
    include_str!("../../migrations/0009_unread.sql"),
];
/// Rows of versions before this one do not say which segments state them and how sessions ended, or when an identity was
/// verified: such a store is built anew from the journal.
const REBUILT_BEFORE: i64 = 8;

/// Why the store could not be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is none yet, and this process may not make one.
    #[error("no audit store at {}", path.display())]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// It was made by a newer weir.
    #[error("the audit store at {} has version {found}, this weir knows up to {VERSION}", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i64,
    },
    /// SQLite refused.
    #[error("cannot {doing} the audit store")]
    Sqlite {
        /// What was attempted.
        doing: &'static str,
        /// Why it failed.
        #[source]
        source: rusqlite::Error,
    },
    /// The journal behind it cannot be read.
    #[error("cannot index the journal")]
    Journal(#[from] ReadError),
    /// The operating system refused.
    #[error("cannot {doing} {}", path.display())]
    Io {
        /// What was attempted.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
}

impl StoreError {
    pub(crate) fn sqlite(doing: &'static str) -> impl FnOnce(rusqlite::Error) -> Self {
        move |source| Self::Sqlite { doing, source }
    }

    /// Whether the store's file is damaged: nothing that is in it is needed to make it anew.
    pub(crate) fn is_damage(&self) -> bool {
        let Self::Sqlite { source, .. } = self else {
            return false;
        };
        matches!(
            source.sqlite_error_code(),
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
        )
    }
}

/// Opens the store of `state_dir` for indexing; makes it when there is none.
///
/// # Errors
///
/// It cannot be made, or is a newer weir's.
pub fn open(state_dir: &Path) -> Result<Connection, StoreError> {
    let path = state_dir.join(FILE);
    make_private(&path)?;
    let mut store = Connection::open(&path).map_err(StoreError::sqlite("open"))?;
    store
        .busy_timeout(std::time::Duration::from_secs(10))
        .map_err(StoreError::sqlite("open"))?;
    // The journal is the truth: a store that lost its last batches in a power failure only indexes them again. What rows
    // of retired segments took can be given back only where this is said before anything is written.
    store
        .execute_batch(
            "PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;
             PRAGMA trusted_schema = OFF;",
        )
        .map_err(StoreError::sqlite("open"))?;
    // Indexing uses more statements than are kept by default.
    store.set_prepared_statement_cache_capacity(48);
    migrate(&mut store, &path)?;
    Ok(store)
}

/// As [`open`]; a store that is damaged is put aside and made anew, empty. Then what was wrong with it comes with it.
///
/// # Errors
///
/// As [`open`]; or the damaged one cannot be put aside.
pub(crate) fn open_or_renew(
    state_dir: &Path,
) -> Result<(Connection, Option<StoreError>), StoreError> {
    match open(state_dir) {
        Err(damage) if damage.is_damage() => {
            put_aside(state_dir)?;
            Ok((open(state_dir)?, Some(damage)))
        }
        opened => Ok((opened?, None)),
    }
}

/// Gives a damaged store another name, for whoever wants to know what befell it; one that lies there is replaced.
///
/// # Errors
///
/// The operating system refuses.
pub(crate) fn put_aside(state_dir: &Path) -> Result<(), StoreError> {
    // The store itself last: with the log of another beside it, a new one would be damaged too.
    for beside in ["-wal", "-shm", ""] {
        let path = state_dir.join(format!("{FILE}{beside}"));
        let aside = state_dir.join(format!("{FILE}.damaged{beside}"));
        match std::fs::rename(&path, aside) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                return Err(StoreError::Io {
                    doing: "put aside",
                    path,
                    source,
                });
            }
            _ => {}
        }
    }
    Ok(())
}

/// Opens the store of `state_dir` for questions only.
///
/// # Errors
///
/// There is none, or it cannot be read.
pub fn open_read_only(state_dir: &Path) -> Result<Connection, StoreError> {
    let path = state_dir.join(FILE);
    if !path.exists() {
        return Err(StoreError::Missing { path });
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let store = Connection::open_with_flags(&path, flags).map_err(StoreError::sqlite("open"))?;
    store
        .busy_timeout(std::time::Duration::from_secs(10))
        .map_err(StoreError::sqlite("open"))?;
    store
        .execute_batch("PRAGMA query_only = ON; PRAGMA trusted_schema = OFF;")
        .map_err(StoreError::sqlite("open"))?;
    Ok(store)
}

/// Empties the store, so that indexing starts from the journal's beginning.
///
/// # Errors
///
/// SQLite refuses.
pub fn clear(store: &mut Connection) -> Result<(), StoreError> {
    let transaction = store
        .transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)
        .map_err(StoreError::sqlite("clear"))?;
    make_anew(&transaction)
        .and_then(|()| transaction.commit())
        .map_err(StoreError::sqlite("clear"))
}

/// Drops everything, last made first: what refers goes before what it refers to.
fn make_anew(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    let objects: Vec<(String, String)> = transaction
        .prepare("SELECT type, name FROM sqlite_schema WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite_%' ORDER BY rowid DESC")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    for (kind, name) in objects {
        transaction.execute_batch(&format!("DROP {kind} \"{name}\""))?;
    }
    transaction.execute_batch(&SCHEMA.concat())
}

fn migrate(store: &mut Connection, path: &Path) -> Result<(), StoreError> {
    let transaction = store
        .transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)
        .map_err(StoreError::sqlite("make"))?;
    let found: i64 = transaction
        .query_row("PRAGMA user_version", [], |row| row.get(0))
        .map_err(StoreError::sqlite("make"))?;
    if found == VERSION {
        return Ok(());
    }
    let Some(missing) = usize::try_from(found).ok().and_then(|at| SCHEMA.get(at..)) else {
        return Err(StoreError::Newer {
            path: path.to_owned(),
            found,
        });
    };
    let made = if found < REBUILT_BEFORE {
        make_anew(&transaction)
    } else {
        transaction.execute_batch(&missing.concat())
    };
    made.and_then(|()| transaction.pragma_update(None, "user_version", VERSION))
        .and_then(|()| transaction.commit())
        .map_err(StoreError::sqlite("make"))
}

/// SQLite gives the files beside the store the rights of the store itself.
fn make_private(path: &Path) -> Result<(), StoreError> {
    use std::os::unix::fs::OpenOptionsExt;
    std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map(drop)
        .map_err(|source| StoreError::Io {
            doing: "make",
            path: path.to_owned(),
            source,
        })
}
