//! The groups that a pack names, as bits.

/// The groups that a pack's rules name, sorted.
#[derive(Debug, Clone, Default)]
pub(crate) struct GroupNames(Vec<String>);

/// A set of groups out of [`GroupNames`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct GroupBits(Vec<u64>);

impl GroupNames {
    pub(crate) fn new(names: impl IntoIterator<Item = String>) -> Self {
        let mut names: Vec<_> = names.into_iter().collect();
        names.sort_unstable();
        names.dedup();
        Self(names)
    }

    /// Groups that no rule names leave no trace.
    pub(crate) fn bits(&self, groups: &[String]) -> GroupBits {
        let mut bits = GroupBits(vec![0; self.0.len().div_ceil(64)]);
        for group in groups {
            if let Ok(at) = self.0.binary_search(group) {
                bits.0[at / 64] |= 1 << (at % 64);
            }
        }
        bits
    }
}

impl GroupBits {
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
        let names = GroupNames::new((0..200).map(|n| format!("g{n}")));
        let of = |groups: &[&str]| {
            names.bits(&groups.iter().map(|g| (*g).to_owned()).collect::<Vec<_>>())
        };
        assert!(of(&["g7", "g199"]).intersects(&of(&["g199"])));
        assert!(!of(&["g7", "unheard-of"]).intersects(&of(&["g8"])));
        assert!(of(&["g7", "g8", "g199"]).contains_all(&of(&["g7", "g199"])));
        assert!(!of(&["g7"]).contains_all(&of(&["g7", "g199"])));
        assert!(!GroupBits::default().contains_all(&of(&["g7"])));
        assert!(GroupBits::default().contains_all(&of(&[])));
    }
}
