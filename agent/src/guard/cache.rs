//! Verdicts by what they depend on, bounded by memory, compared in full: a hash alone decides nothing.

use std::{hash::BuildHasher, sync::Arc};

use foldhash::quality::RandomState;
use hashbrown::HashTable;
use weir_sql::SessionModes;

use super::Verdict;

/// What a verdict depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key<'a> {
    pub(super) text: &'a [u8],
    /// Whether `text` is a shape, with placeholders for literals.
    pub(super) shape: bool,
    pub(super) scope: u64,
    pub(super) modes: SessionModes,
    /// Number of the session's naming; zero where it does not matter.
    pub(super) naming: u64,
    /// Of the policy.
    pub(super) epoch: u64,
    /// Of the catalog; zero where it does not matter.
    pub(super) catalog: u64,
    /// How the log-in stands.
    pub(super) standing: u32,
}

#[derive(Debug)]
struct Entry {
    text: Box<[u8]>,
    shape: bool,
    scope: u64,
    modes: SessionModes,
    naming: u64,
    epoch: u64,
    catalog: u64,
    standing: u32,
    verdict: Arc<Verdict>,
}

impl Entry {
    fn key(&self) -> Key<'_> {
        Key {
            text: &self.text,
            shape: self.shape,
            scope: self.scope,
            modes: self.modes,
            naming: self.naming,
            epoch: self.epoch,
            catalog: self.catalog,
            standing: self.standing,
        }
    }
}

/// Two generations: what was not used while the young one filled up is forgotten with the old one.
#[derive(Debug, Default)]
pub(super) struct Cache {
    young: HashTable<Entry>,
    old: HashTable<Entry>,
    young_bytes: usize,
    hasher: RandomState,
}

impl Cache {
    pub(super) fn find(&mut self, key: &Key<'_>) -> Option<Arc<Verdict>> {
        let hash = self.hasher.hash_one(key);
        if let Some(entry) = self.young.find(hash, |entry| entry.key() == *key) {
            return Some(Arc::clone(&entry.verdict));
        }
        let found = self.old.find_entry(hash, |entry| entry.key() == *key);
        let (entry, _) = found.ok()?.remove();
        let verdict = Arc::clone(&entry.verdict);
        self.add(hash, entry);
        Some(verdict)
    }

    pub(super) fn insert(&mut self, key: &Key<'_>, verdict: &Arc<Verdict>) {
        let entry = Entry {
            text: key.text.into(),
            shape: key.shape,
            scope: key.scope,
            modes: key.modes,
            naming: key.naming,
            epoch: key.epoch,
            catalog: key.catalog,
            standing: key.standing,
            verdict: Arc::clone(verdict),
        };
        self.add(self.hasher.hash_one(key), entry);
    }

    fn add(&mut self, hash: u64, entry: Entry) {
        self.young_bytes += entry.text.len() + entry.verdict.text.len() + ENTRY_BYTES;
        if self.young_bytes > GENERATION_BYTES {
            self.old = std::mem::take(&mut self.young);
            self.young_bytes = 0;
        }
        let hasher = &self.hasher;
        self.young
            .insert_unique(hash, entry, |entry| hasher.hash_one(entry.key()));
    }
}

/// An entry's facts, decision and normalised text, roughly.
const ENTRY_BYTES: usize = 1_024;
/// Of each of the two generations, per worker.
const GENERATION_BYTES: usize = 16 * 1024 * 1024;
