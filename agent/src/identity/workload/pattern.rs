//! Patterns of cgroup paths: anchored at the root, `*` and `?` within one part.

/// Whether a pattern counts from the root and each of its parts means one part of a path.
pub(super) fn is_anchored(pattern: &str) -> bool {
    pattern.strip_prefix('/').is_some_and(|parts| {
        parts
            .split('/')
            .all(|part| !part.is_empty() && !part.contains("**"))
    })
}

/// Whether the pattern matches the path or one above it, counted from the root: a look-alike elsewhere does not match.
pub(super) fn is_below(pattern: &str, path: &str) -> bool {
    let mut parts = path.split('/');
    pattern.split('/').all(|wanted| {
        parts
            .next()
            .is_some_and(|part| matches_part(wanted.as_bytes(), part.as_bytes()))
    })
}

/// `*` is any run of characters, `?` is one. The last `*` may be extended when what follows does not match: no recursion.
pub(super) fn matches_part(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut position) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while position < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, position));
                at += 1;
            }
            Some(byte) if *byte == b'?' || *byte == text[position] => {
                at += 1;
                position += 1;
            }
            _ => {
                let Some((star_at, taken)) = star else {
                    return false;
                };
                star = Some((star_at, taken + 1));
                at = star_at + 1;
                position = taken + 1;
            }
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_anchored_and_cover_what_is_below() {
        let pattern = "/system.slice/billing@*.service";
        assert!(is_below(pattern, "/system.slice/billing@1.service"));
        assert!(is_below(pattern, "/system.slice/billing@1.service/worker"));
        assert!(!is_below(
            pattern,
            "/user.slice/u/system.slice/billing@1.service"
        ));
        assert!(!is_below(pattern, "/system.slice/billing@1.services"));
        assert!(!is_below(pattern, "/system.slice/billing@/x.service"));
        assert!(!is_below(pattern, "/system.slice"));
    }

    #[test]
    fn wildcards_stay_within_a_part() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("a*b*c", "axxbxxbc", true),
            ("a*b*c", "axxbxx", false),
            ("?", "", false),
            ("a?c", "abc", true),
            ("**", "x", true),
        ] {
            assert_eq!(
                matches_part(pattern.as_bytes(), text.as_bytes()),
                expected,
                "{pattern} {text}"
            );
        }
    }
}
