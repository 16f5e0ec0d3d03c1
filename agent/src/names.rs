//! Names that the operator gives to parts of one kind: they are labels of metrics, and files are called by them.

/// What is wrong with such a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// It would have to be quoted somewhere.
    #[error("its name has to be of letters, digits, - and _")]
    Letters,
    /// They could not be told apart.
    #[error("another one has this name")]
    Taken,
}

/// Checks one name.
///
/// # Errors
///
/// [`NameError::Letters`].
pub(crate) fn check(name: &str) -> Result<(), NameError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if name.is_empty() || !name.chars().all(plain) {
        return Err(NameError::Letters);
    }
    Ok(())
}

/// Checks parts of one kind, each by itself and the names among each other.
///
/// # Errors
///
/// What is wrong with the first that cannot be used, and its name.
pub(crate) fn check_all<T, E: From<NameError>>(
    parts: &[T],
    name: impl Fn(&T) -> &str,
    check_part: impl Fn(&T) -> Result<(), E>,
) -> Result<(), (String, E)> {
    for (at, part) in parts.iter().enumerate() {
        let named = |error| (name(part).to_owned(), error);
        check(name(part)).map_err(|error| named(error.into()))?;
        check_part(part).map_err(named)?;
        if parts.iter().take(at).any(|other| name(other) == name(part)) {
            return Err(named(NameError::Taken.into()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain_and_each_is_there_once() {
        let checked =
            |names: &[&'static str]| check_all(names, |name| name, |_| Ok::<(), NameError>(()));
        assert_eq!(checked(&["siem", "SIEM", "siem-2", "a_b"]), Ok(()));
        for wrong in ["", "a b", "../a", "a/b", "ä"] {
            assert_eq!(
                checked(&["siem", wrong]),
                Err((wrong.to_owned(), NameError::Letters))
            );
        }
        assert_eq!(
            checked(&["a", "b", "a"]),
            Err(("a".to_owned(), NameError::Taken))
        );
    }
}
