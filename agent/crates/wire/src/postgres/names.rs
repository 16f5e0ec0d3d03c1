//! Prepared statements and portals by name, with undo for what the server turns out to skip.

use std::collections::HashMap;

/// A table of named things and the unnamed one.
#[derive(Debug)]
pub struct Names<T> {
    unnamed: Option<T>,
    named: HashMap<Box<[u8]>, T, foldhash::fast::RandomState>,
}

impl<T> Default for Names<T> {
    fn default() -> Self {
        Self {
            unnamed: None,
            named: HashMap::default(),
        }
    }
}

/// What a change replaced, so that it can be taken back.
#[derive(Debug)]
pub struct Undo<T> {
    name: Box<[u8]>,
    before: Option<T>,
}

impl<T> Undo<T> {
    /// Which name was changed.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        &self.name
    }
}

impl<T> Names<T> {
    /// What a name stands for.
    #[must_use]
    pub fn get(&self, name: &[u8]) -> Option<&T> {
        if name.is_empty() {
            self.unnamed.as_ref()
        } else {
            self.named.get(name)
        }
    }

    /// What a name stands for, to be changed in place.
    #[must_use]
    pub fn get_mut(&mut self, name: &[u8]) -> Option<&mut T> {
        if name.is_empty() {
            self.unnamed.as_mut()
        } else {
            self.named.get_mut(name)
        }
    }

    /// Whether there is no room for this name. None may be forgotten in its place: what it stands for on the server would
    /// run as something that nobody has judged.
    #[must_use]
    pub fn is_full_for(&self, name: &[u8]) -> bool {
        self.named.len() >= MAX_NAMES && !name.is_empty() && !self.named.contains_key(name)
    }

    /// Lets a name stand for something else.
    pub fn insert(&mut self, name: &[u8], value: T) -> Undo<T> {
        let before = if name.is_empty() {
            self.unnamed.replace(value)
        } else {
            self.named.insert(name.into(), value)
        };
        Undo {
            name: name.into(),
            before,
        }
    }

    /// Forgets a name.
    pub fn remove(&mut self, name: &[u8]) -> Undo<T> {
        let before = if name.is_empty() {
            self.unnamed.take()
        } else {
            self.named.remove(name)
        };
        Undo {
            name: name.into(),
            before,
        }
    }

    /// Takes a change back.
    pub fn undo(&mut self, undo: Undo<T>) {
        match (undo.name.is_empty(), undo.before) {
            (true, before) => self.unnamed = before,
            (false, Some(before)) => {
                self.named.insert(undo.name, before);
            }
            (false, None) => {
                self.named.remove(&undo.name);
            }
        }
    }

    /// Forgets all names.
    pub fn clear(&mut self) {
        self.unnamed = None;
        if self.named.capacity() > 0 {
            self.named = HashMap::default();
        }
    }
}

/// A session that makes names without end must not take memory without end.
const MAX_NAMES: usize = 65_536;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_is_forgotten_for_another() {
        let mut names = Names::default();
        for name in 0..MAX_NAMES {
            assert!(!names.is_full_for(&name.to_be_bytes()));
            let _ = names.insert(&name.to_be_bytes(), name);
        }
        assert!(names.is_full_for(b"another"));
        assert!(!names.is_full_for(b""), "the unnamed one has its place");
        assert!(
            !names.is_full_for(&0_usize.to_be_bytes()),
            "so has a known one"
        );
        assert_eq!(names.get(&0_usize.to_be_bytes()), Some(&0));
    }

    #[test]
    fn changes_can_be_taken_back_in_reverse_order() {
        let mut names = Names::default();
        let _ = names.insert(b"s", 1);
        let first = names.insert(b"s", 2);
        let second = names.remove(b"s");
        let unnamed = names.insert(b"", 9);
        assert_eq!((names.get(b"s"), names.get(b"")), (None, Some(&9)));
        names.undo(unnamed);
        names.undo(second);
        assert_eq!(names.get(b"s"), Some(&2));
        names.undo(first);
        assert_eq!((names.get(b"s"), names.get(b"")), (Some(&1), None));
    }
}
