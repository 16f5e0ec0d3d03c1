//! Whether who logged in at the provider is who asks on this host.
//!
//! Without this, whoever is talked into typing a code into a page logs somebody else's session in (device-code
//! phishing). Root is matched only by an entry of the table: many people become root, and none of them is it.

use super::{settings::IssuerSettings, token::Verified};

/// Who asks, by this host's word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// The effective user id.
    pub uid: u32,
    /// The account's name; `None` when the id has none.
    pub name: Option<String>,
}

/// Why a login is not for this account.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum AccountError {
    /// The user id has no name.
    #[error("user {uid} has no account name on this host")]
    NoName {
        /// The id.
        uid: u32,
    },
    /// Root without an entry.
    #[error("root is nobody in particular: no entry of accounts says who may log in as root")]
    Root,
    /// The token says nothing.
    #[error("the provider's token has no usable claim {claim:?}, which names the account")]
    NoClaim {
        /// Which.
        claim: String,
    },
    /// Somebody else.
    #[error(
        "{claimed:?} logged in at the provider, but this is the account {account:?} of this host"
    )]
    Other {
        /// By the claim.
        claimed: String,
        /// On this host.
        account: String,
    },
    /// An address of a domain that does not count.
    #[error("{claimed:?} is an address of a domain that is not in account_domains")]
    Domain {
        /// By the claim.
        claimed: String,
    },
}

impl AccountError {
    /// What would help.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::NoName { .. } => "give the user an account, or log in as another",
            Self::Root => {
                "log in as yourself, without sudo; or write accounts = { root = \"NAME\" } into the [[issuer]]"
            }
            Self::NoClaim { .. } => {
                "set account_claim in the [[issuer]] to a claim that its tokens have"
            }
            Self::Other { .. } => {
                "log in at the provider as yourself; if both are one person, say so in the [[issuer]]'s accounts"
            }
            Self::Domain { .. } => "add the company's domain to the [[issuer]]'s account_domains",
        }
    }
}

/// Holds a login against the account that asked for it.
///
/// # Errors
///
/// [`AccountError`] when they are not one person by the settings.
pub fn check(
    settings: &IssuerSettings,
    account: &Account,
    verified: &Verified,
) -> Result<(), AccountError> {
    if !settings.matches_accounts() {
        return Ok(());
    }
    let name = account
        .name
        .clone()
        .ok_or(AccountError::NoName { uid: account.uid })?;
    let listed = settings.accounts.get(&name);
    if account.uid == 0 && listed.is_none() {
        return Err(AccountError::Root);
    }
    let claimed = verified
        .account
        .clone()
        .ok_or_else(|| AccountError::NoClaim {
            claim: settings
                .account_claim
                .clone()
                .unwrap_or_else(|| "preferred_username".to_owned()),
        })?;
    let own = match (listed, claimed.rsplit_once('@')) {
        (Some(listed), _) => *listed == claimed,
        (None, None) => name == claimed,
        (None, Some((local, domain))) => {
            let counts = settings
                .account_domains
                .iter()
                .any(|known| known.eq_ignore_ascii_case(domain));
            if !counts {
                return Err(AccountError::Domain { claimed });
            }
            name == local
        }
    };
    if own {
        Ok(())
    } else {
        Err(AccountError::Other {
            claimed,
            account: name,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{bound::tests::identity, token::Extra};

    fn settings() -> IssuerSettings {
        IssuerSettings {
            account_domains: vec!["shop.example".to_owned()],
            accounts: [("root", "carol"), ("dave", "d.smith@shop.example")]
                .map(|(account, claim)| (account.to_owned(), claim.to_owned()))
                .into(),
            ..IssuerSettings::default()
        }
    }

    fn account(uid: u32, name: &str) -> Account {
        Account {
            uid,
            name: Some(name.to_owned()),
        }
    }

    fn verified(account: Option<&str>) -> Verified {
        Verified {
            principal: identity("s", None).principal,
            not_after_s: 0,
            fingerprint: String::new(),
            development: false,
            account: account.map(str::to_owned),
            extra: Extra::default(),
        }
    }

    #[test]
    fn the_account_is_the_claim_or_the_local_part_of_a_known_domain() {
        for (uid, name, claim) in [
            (1000, "alice", "alice"),
            (1000, "alice", "alice@shop.example"),
            (1000, "alice", "alice@Shop.Example"),
            (1001, "dave", "d.smith@shop.example"),
            (0, "root", "carol"),
        ] {
            let judged = check(&settings(), &account(uid, name), &verified(Some(claim)));
            assert_eq!(judged, Ok(()), "{name} {claim}");
        }
    }

    #[test]
    fn nobody_elses_login_counts() {
        for (uid, name, claim) in [
            (1000, "alice", "bob"),
            (1000, "alice", "Alice"),
            (1000, "alice", "alice@evil.example"),
            (1000, "alice", "alice@shop.example@evil.example"),
            (1000, "alice", "alice@evil.shop.example"),
            (1000, "alice", ""),
            (1001, "dave", "dave"),
            (0, "root", "root"),
            (0, "toor", "toor"),
        ] {
            let judged = check(&settings(), &account(uid, name), &verified(Some(claim)));
            assert!(judged.is_err(), "{name} {claim}");
        }
        let silent = check(&settings(), &account(1000, "alice"), &verified(None));
        assert!(matches!(silent, Err(AccountError::NoClaim { .. })));
    }

    #[test]
    fn it_can_be_switched_off_and_is_off_for_development() {
        let off = IssuerSettings {
            account_match: Some(false),
            ..settings()
        };
        let development = IssuerSettings {
            development: true,
            ..settings()
        };
        for settings in [off, development] {
            assert_eq!(
                check(&settings, &account(0, "root"), &verified(Some("eve"))),
                Ok(())
            );
        }
    }
}
