//! Sets of names as bits: the groups and classes that a pack speaks of.

/// The names that a pack's rules use, sorted.
#[derive(Debug, Clone, Default)]
pub(crate) struct Names(Vec<String>);

/// A set out of [`Names`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Bits(Vec<u64>);

impl Names {
    pub(crate) fn new(names: impl IntoIterator<Item = String>) -> Self {
        let mut names: Vec<_> = names.into_iter().collect();
        names.sort_unstable();
        names.dedup();
        Self(names)
    }

    pub(crate) fn position(&self, name: &str) -> Option<usize> {
        self.0
            .binary_search_by(|known| known.as_str().cmp(name))
            .ok()
    }

    pub(crate) fn as_slice(&self) -> &[String] {
        &self.0
    }

    /// Names that no rule uses leave no trace.
    pub(crate) fn bits(&self, names: &[String]) -> Bits {
        let mut bits = self.none();
        for name in names {
            if let Some(at) = self.position(name) {
                bits.set(at);
            }
        }
        bits
    }

    /// The empty set.
    pub(crate) fn none(&self) -> Bits {
        Bits(vec![0; self.0.len().div_ceil(64)])
    }

    /// The members' names.
    pub(crate) fn of<'a>(&'a self, bits: &'a Bits) -> impl Iterator<Item = &'a String> {
        self.0
            .iter()
            .enumerate()
            .filter(|(at, _)| bits.contains(*at))
            .map(|(_, name)| name)
    }
}

impl Bits {
    pub(crate) fn set(&mut self, at: usize) {
        if let Some(word) = self.0.get_mut(at / 64) {
            *word |= 1 << (at % 64);
        }
    }

    pub(crate) fn contains(&self, at: usize) -> bool {
        self.0
            .get(at / 64)
            .is_some_and(|word| word & (1 << (at % 64)) != 0)
    }

    pub(crate) fn add(&mut self, other: &Self) {
        if self.0.len() < other.0.len() {
            self.0.resize(other.0.len(), 0);
        }
        for (a, b) in self.0.iter_mut().zip(&other.0) {
            *a |= b;
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    pub(crate) fn intersects(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).any(|(a, b)| a & b != 0)
    }

    pub(crate) fn contains_all(&self, other: &Self) -> bool {
        let mut words = self.0.iter().chain(std::iter::repeat(&0));
        other
            .0
            .iter()
            .all(|b| words.next().is_some_and(|a| a & b == *b))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_agree_across_word_boundaries() {
        let names = Names::new((0..200).map(|n| format!("g{n}")));
        let of = |members: &[&str]| {
            names.bits(&members.iter().map(|m| (*m).to_owned()).collect::<Vec<_>>())
        };
        assert!(of(&["g7", "g199"]).intersects(&of(&["g199"])));
        assert!(!of(&["g7", "unheard-of"]).intersects(&of(&["g8"])));
        assert!(of(&["g7", "g8", "g199"]).contains_all(&of(&["g7", "g199"])));
        assert!(!of(&["g7"]).contains_all(&of(&["g7", "g199"])));
        assert!(!Bits::default().contains_all(&of(&["g7"])));
        assert!(Bits::default().contains_all(&of(&[])));
        let mut both = of(&["g7"]);
        both.add(&of(&["g199"]));
        assert_eq!(both, of(&["g7", "g199"]));
        assert_eq!(names.of(&both).collect::<Vec<_>>(), ["g199", "g7"]);
    }
}
