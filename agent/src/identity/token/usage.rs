//! What tokens are for: each use has its own types.

/// What a token is to serve for: its type and audience have to fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenUse<'a> {
    /// To say who a process is.
    Login,
    /// To say for whom an agent may act (ID-JAG).
    Assertion {
        /// The audience that it was asked for; the issuer's when absent.
        audience: Option<&'a str>,
    },
}

impl TokenUse<'_> {
    /// No token serves for another use than its own: what has no type is a login's.
    pub(super) fn accepts(self, typ: Option<&str>) -> bool {
        let is = |accepted: &[&str]| {
            typ.is_some_and(|typ| accepted.iter().any(|it| typ.eq_ignore_ascii_case(it)))
        };
        match self {
            Self::Login => typ.is_none() || is(&["jwt", "at+jwt", "application/at+jwt"]),
            Self::Assertion { .. } => is(&["oauth-id-jag+jwt", "application/oauth-id-jag+jwt"]),
        }
    }
}
