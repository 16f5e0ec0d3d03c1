//! The rules that a bearer token must keep before weir believes a word of it.
//!
//! Signature by `jsonwebtoken`; every claim is checked here, in one place, against a time that is an argument.

mod extra;

use std::collections::BTreeMap;

use aws_lc_rs::digest;
use jsonwebtoken::{Algorithm, Validation};
use serde::Deserialize;
use weir_policy::{Principal, PrincipalKind};

use super::jwks::{KeySet, Lookup};

pub use extra::{Act, Extra, PodClaim};

/// The longest token that is read.
pub const TOKEN_BYTES: usize = 16 * 1024;

/// The most groups that a token may carry.
pub const MAX_GROUPS: usize = 1_000;

/// How far the issuer's clock may be off.
pub(super) const SKEW_S: i64 = 60;

/// A list of exactly this length was cut by the provider (Okta and others truncate at 100).
const TRUNCATED_GROUPS: usize = 100;

/// The longest subject or group name.
const NAME_BYTES: usize = 512;

/// Means of a log-in that are kept.
const MAX_MEANS: usize = 16;

/// Instants beyond this (the year 5138) are mistakes, not times.
const LATEST_S: f64 = 1e11;

/// What [`verify`] holds a token against.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// The exact issuer.
    pub issuer: &'a str,
    /// The audience that must be among the token's.
    pub audience: &'a str,
    /// Whether the issuer's `weir_kind` is believed.
    pub trust_kind: bool,
    /// Further claims to keep, by name.
    pub claims: &'a [String],
    /// The claim that lists groups.
    pub groups_claim: &'a str,
    /// The claim that names the person's account on hosts.
    pub account_claim: &'a str,
    /// What the token is for.
    pub slot: Slot<'a>,
    /// Seconds since the epoch.
    pub now_s: i64,
}

/// What a token is for: each use has its own types and claims.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slot<'a> {
    /// Handed over by whoever has it.
    Handed,
    /// An ID token that the provider gave to this client.
    Id {
        /// The client.
        client: &'a str,
        /// What this client asked with, where a browser carried the answer.
        nonce: Option<&'a str>,
        /// The access token that came with it.
        access_token: Option<&'a str>,
    },
    /// An access token that the provider gave to this client.
    Access {
        /// The client.
        client: &'a str,
    },
    /// What the provider gave to an agent about the person it acts for (ID-JAG).
    Assertion {
        /// The audience that it was asked for; the issuer's when absent.
        audience: Option<&'a str>,
    },
}

/// What a verified token says. The token itself is not kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// Who.
    pub principal: Principal,
    /// Until when, seconds since the epoch: `exp` and the minute by which clocks may differ.
    pub not_after_s: i64,
    /// SHA-256 of the token, hex.
    pub fingerprint: String,
    /// Whether a development issuer vouches for it.
    pub development: bool,
    /// The person's account name, by the claim that was asked for.
    pub account: Option<String>,
    /// What it says beyond that.
    pub extra: Extra,
}

/// What can be read of a token before its signature is known to be good: enough to choose the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unverified {
    /// The issuer as claimed.
    pub issuer: String,
    /// The key as claimed.
    pub key_id: Option<String>,
    typ: Option<String>,
    algorithm: Algorithm,
}

/// Why a token is refused. No variant carries any part of the token's signature or claims beyond names.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// Longer than [`TOKEN_BYTES`].
    #[error("the token has {bytes} bytes, more than {TOKEN_BYTES}")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// Not a JWT, or claims of the wrong type.
    #[error("the token is not a well-formed JWT")]
    Malformed,
    /// `alg` is `none`, a shared secret, or unknown.
    #[error("the token's algorithm is not accepted")]
    Algorithm,
    /// The header asks for something weir does not do.
    #[error("the token's header carries {what}, which weir does not accept")]
    Header {
        /// The header field.
        what: &'static str,
    },
    /// `typ` is for another use.
    #[error("the token is of type {typ:?}, which is not for logging in")]
    Type {
        /// The header's `typ`.
        typ: String,
    },
    /// No such issuer is configured.
    #[error("no issuer {issuer:?} is configured")]
    UnknownIssuer {
        /// As claimed.
        issuer: String,
    },
    /// Another issuer than the one whose key was used.
    #[error("the token is from another issuer")]
    Issuer,
    /// The issuer has no such key.
    #[error("the issuer has no key with that id")]
    UnknownKey,
    /// The key is not for that algorithm, or several keys fit a token without `kid`.
    #[error("the issuer's key does not fit the token's algorithm")]
    UnfitKey,
    /// Bad signature.
    #[error("the token's signature is wrong")]
    Signature,
    /// Meant for somebody else.
    #[error("the token is not meant for {expected:?}")]
    Audience {
        /// What it must be for.
        expected: String,
    },
    /// The provider gave no token of the kind that is configured.
    #[error(
        "the provider gave no token that says who logged in (is the scope \"openid\" asked for?)"
    )]
    Absent,
    /// An ID token that another client asked for.
    #[error("the token was issued to another client")]
    Party,
    /// Not the answer to what was asked.
    #[error("the token does not answer this login (nonce)")]
    Nonce,
    /// Not the access token that it came with.
    #[error("the token does not belong to the access token beside it (at_hash)")]
    AccessHash,
    /// `exp` is missing or no time.
    #[error("the token has no valid expiry")]
    NoExpiry,
    /// It was valid once.
    #[error("the token expired {seconds} s ago")]
    Expired {
        /// How long ago.
        seconds: i64,
    },
    /// Issued or valid in the future.
    #[error("the token is from the future: check the clocks")]
    NotYet,
    /// `sub` is missing, empty, too long or unprintable.
    #[error("the token names no acceptable subject")]
    Subject,
    /// More than [`MAX_GROUPS`], or an unprintable one.
    #[error("the token's groups are not acceptable (at most {MAX_GROUPS} printable names)")]
    Groups,
    /// `weir_kind` is not one of the three.
    #[error("the token's weir_kind is not human, workload or agent")]
    Kind,
    /// The issuer's keys cannot be had.
    #[error("cannot get the issuer's keys")]
    Keys(#[source] super::fetch::FetchError),
}

#[derive(Clone, Deserialize)]
struct Claims {
    iss: String,
    sub: Option<String>,
    aud: Option<OneOrMany>,
    exp: Option<f64>,
    nbf: Option<f64>,
    iat: Option<f64>,
    groups: Option<serde_json::Value>,
    hasgroups: Option<serde_json::Value>,
    #[serde(rename = "_claim_names")]
    claim_names: Option<serde_json::Value>,
    preferred_username: Option<String>,
    email: Option<String>,
    email_verified: Option<serde_json::Value>,
    name: Option<String>,
    auth_time: Option<f64>,
    acr: Option<String>,
    azp: Option<String>,
    client_id: Option<String>,
    nonce: Option<String>,
    at_hash: Option<String>,
    amr: Option<serde_json::Value>,
    weir_kind: Option<String>,
    #[serde(flatten)]
    others: BTreeMap<String, serde_json::Value>,
}

#[derive(Deserialize)]
struct IssuerClaim {
    iss: String,
}

#[derive(Clone, Deserialize)]
#[serde(untagged)]
pub(super) enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

/// Reads what is needed to choose the issuer and key, and refuses what no key could make good.
///
/// # Errors
///
/// [`TokenError`] for a token that is too long, malformed, of a refused algorithm or of another type.
pub fn peek(token: &str) -> Result<Unverified, TokenError> {
    let unverified = peek_any(token)?;
    check_type(&unverified, &LOGIN_TYPES)?;
    Ok(unverified)
}

/// The same for any type of token: the caller checks it with [`check_type`].
pub(super) fn peek_any(token: &str) -> Result<Unverified, TokenError> {
    if token.len() > TOKEN_BYTES {
        return Err(TokenError::TooLong { bytes: token.len() });
    }
    if token.split('.').count() != 3 {
        return Err(TokenError::Malformed);
    }
    // An `alg` that the library does not know (`none` among them) fails here as well.
    let header = jsonwebtoken::decode_header(token).map_err(|_| TokenError::Algorithm)?;
    if matches!(
        header.alg,
        Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512
    ) {
        return Err(TokenError::Algorithm);
    }
    for (what, present) in [
        ("crit", header.crit.is_some()),
        ("enc", header.enc.is_some()),
        ("zip", header.zip.is_some()),
        ("b64", header.extras.inner().contains_key("b64")),
    ] {
        if present {
            return Err(TokenError::Header { what });
        }
    }
    let claims: IssuerClaim = jsonwebtoken::dangerous::insecure_decode_claims(token)
        .map_err(|_| TokenError::Malformed)?;
    Ok(Unverified {
        issuer: claims.iss,
        key_id: header.kid,
        typ: header.typ,
        algorithm: header.alg,
    })
}

/// Whether the header's `typ` is one of those, or says nothing.
pub(super) fn check_type(unverified: &Unverified, types: &[&str]) -> Result<(), TokenError> {
    match &unverified.typ {
        Some(typ) if !types.iter().any(|known| typ.eq_ignore_ascii_case(known)) => {
            Err(TokenError::Type {
                typ: typ.chars().take(40).collect(),
            })
        }
        _ => Ok(()),
    }
}

impl Unverified {
    /// The header's `typ`, as claimed.
    pub(super) fn typ(&self) -> Option<&str> {
        self.typ.as_deref()
    }
}

/// Verifies a token against an issuer's keys. `unverified` is what [`peek`] read of it.
///
/// # Errors
///
/// [`TokenError`] for every rule that it breaks; [`TokenError::UnknownKey`] is worth one new look at the issuer's keys.
pub fn verify(
    token: &str,
    unverified: &Unverified,
    keys: &KeySet,
    expected: Expected<'_>,
) -> Result<Verified, TokenError> {
    check_type(
        unverified,
        match expected.slot {
            Slot::Handed | Slot::Access { .. } => &LOGIN_TYPES,
            Slot::Id { .. } => &ID_TYPES,
            Slot::Assertion { .. } => &ASSERTION_TYPES,
        },
    )?;
    if unverified.typ.is_none() && matches!(expected.slot, Slot::Assertion { .. }) {
        return Err(TokenError::Type { typ: String::new() });
    }
    let claims: Claims = signed(token, unverified, keys)?;
    check_slot(&claims, unverified.algorithm, expected.slot)?;
    let extra = Extra::of(
        &claims.others,
        claims.client_id.as_deref().or(claims.azp.as_deref()),
    );
    let account = account(&claims, expected.account_claim);
    check(claims, expected).map(|(principal, not_after_s)| Verified {
        principal,
        not_after_s,
        fingerprint: fingerprint(token),
        development: false,
        account,
        extra,
    })
}

/// The claims, once the signature is known to be by one of the keys.
pub(super) fn signed<T: serde::de::DeserializeOwned + Clone>(
    token: &str,
    unverified: &Unverified,
    keys: &KeySet,
) -> Result<T, TokenError> {
    let key = match keys.find(unverified.key_id.as_deref(), unverified.algorithm) {
        Lookup::Found(key) => key,
        Lookup::Unknown => return Err(TokenError::UnknownKey),
        Lookup::Unfit => return Err(TokenError::UnfitKey),
    };
    jsonwebtoken::decode::<T>(token, key, &signature_only(unverified.algorithm))
        .map(|data| data.claims)
        .map_err(|error| refusal(&error))
}

/// Whether a token says that it is an access token (RFC 9068).
#[must_use]
pub fn is_access_token(token: &str) -> bool {
    peek_any(token)
        .is_ok_and(|token| check_type(&token, &ACCESS_TYPES).is_ok() && token.typ.is_some())
}

/// SHA-256, hex: what records and `whoami` show of a token.
#[must_use]
pub fn fingerprint(token: &str) -> String {
    hex::encode(digest::digest(&digest::SHA256, token.as_bytes()))
}

/// The library checks the signature; [`check`] does the claims.
fn signature_only(algorithm: Algorithm) -> Validation {
    let mut validation = Validation::new(algorithm);
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation.validate_aud = false;
    validation
}

fn refusal(error: &jsonwebtoken::errors::Error) -> TokenError {
    use jsonwebtoken::errors::ErrorKind;
    match error.kind() {
        ErrorKind::InvalidSignature => TokenError::Signature,
        ErrorKind::InvalidAlgorithm | ErrorKind::InvalidEcdsaKey | ErrorKind::InvalidKeyFormat => {
            TokenError::UnfitKey
        }
        _ => TokenError::Malformed,
    }
}

fn check(claims: Claims, expected: Expected<'_>) -> Result<(Principal, i64), TokenError> {
    if claims.iss != expected.issuer {
        return Err(TokenError::Issuer);
    }
    if !names_audience(claims.aud.as_ref(), expected.audience) {
        return Err(TokenError::Audience {
            expected: expected.audience.to_owned(),
        });
    }
    let not_after_s = check_times(&claims, expected.now_s)?;
    let named = named(&claims, expected.claims);
    let subject = claims
        .sub
        .clone()
        .filter(|subject| is_name(subject))
        .ok_or(TokenError::Subject)?;
    let kind = kind(claims.weir_kind.as_deref(), expected.trust_kind)?;
    let elsewhere = claims
        .hasgroups
        .as_ref()
        .is_some_and(|value| *value != false)
        || claims.claim_names.is_some();
    let groups = groups(&claims, expected.groups_claim)?;
    if groups.len() > MAX_GROUPS || !groups.iter().all(|group| is_name(group)) {
        return Err(TokenError::Groups);
    }
    let display = [claims.preferred_username, claims.email, claims.name]
        .into_iter()
        .flatten()
        .find(|name| is_name(name))
        .unwrap_or_else(|| subject.clone());
    let principal = Principal {
        issuer: claims.iss,
        subject,
        kind,
        display,
        groups_complete: !elsewhere && groups.len() != TRUNCATED_GROUPS,
        groups,
        auth_time: claims.auth_time.and_then(instant),
        acr: claims.acr.filter(|acr| is_name(acr)),
        amr: means(claims.amr.as_ref()),
        claims: named,
    };
    Ok((principal, not_after_s))
}

/// By which means the subject logged in (RFC 8176). Providers also write one text, or what is no text: that says nothing.
fn means(amr: Option<&serde_json::Value>) -> Vec<String> {
    let listed = amr.and_then(serde_json::Value::as_array);
    let mut means: Vec<String> = listed
        .into_iter()
        .flatten()
        .chain(amr.filter(|amr| amr.is_string()))
        .filter_map(serde_json::Value::as_str)
        .filter(|word| is_name(word))
        .take(MAX_MEANS)
        .map(str::to_owned)
        .collect();
    means.sort_unstable();
    means.dedup();
    means
}

/// The claims that the configuration names, as far as the token has them as texts. No others are kept: every principal is
/// recorded with all its claims, and what differs from token to token would make another principal of each.
fn named(claims: &Claims, names: &[String]) -> BTreeMap<String, String> {
    let value = |name: &str| match name {
        "email" => claims.email.as_deref(),
        "name" => claims.name.as_deref(),
        "preferred_username" => claims.preferred_username.as_deref(),
        other => claims.others.get(other)?.as_str(),
    };
    names
        .iter()
        .filter_map(|name| {
            let text = value(name).filter(|text| is_name(text))?;
            Some((name.clone(), text.to_owned()))
        })
        .collect()
}

/// Groups under the configured name. One name may stand for a list of one, as some providers write it.
fn groups(claims: &Claims, name: &str) -> Result<Vec<String>, TokenError> {
    let value = match name {
        "groups" => claims.groups.as_ref(),
        other => claims.others.get(other),
    };
    match value {
        None | Some(serde_json::Value::Null) => Ok(Vec::new()),
        Some(value) => serde_json::from_value(value.clone()).map_err(|_| TokenError::Malformed),
    }
}

/// The person's name on hosts. An address that the provider has not verified is nobody's.
fn account(claims: &Claims, name: &str) -> Option<String> {
    let text = match name {
        "sub" => claims.sub.as_deref(),
        "preferred_username" => claims.preferred_username.as_deref(),
        "name" => claims.name.as_deref(),
        "email" => claims
            .email
            .as_deref()
            .filter(|_| claims.email_verified.as_ref().is_none_or(|it| *it == true)),
        other => claims.others.get(other)?.as_str(),
    };
    text.filter(|text| is_name(text)).map(str::to_owned)
}

/// What a token of one slot must say beyond those of others.
fn check_slot(claims: &Claims, algorithm: Algorithm, slot: Slot<'_>) -> Result<(), TokenError> {
    let (client, nonce, access_token) = match slot {
        Slot::Handed | Slot::Assertion { .. } => return Ok(()),
        Slot::Access { client } => {
            let party = claims.azp.as_deref().or(claims.client_id.as_deref());
            return if party.is_none_or(|party| party == client) {
                Ok(())
            } else {
                Err(TokenError::Party)
            };
        }
        Slot::Id {
            client,
            nonce,
            access_token,
        } => (client, nonce, access_token),
    };
    let several = matches!(&claims.aud, Some(OneOrMany::Many(all)) if all.len() > 1);
    if claims
        .azp
        .as_deref()
        .map_or(several, |party| party != client)
    {
        return Err(TokenError::Party);
    }
    if nonce.is_some() && claims.nonce.as_deref() != nonce {
        return Err(TokenError::Nonce);
    }
    if let (Some(claimed), Some(token)) = (&claims.at_hash, access_token)
        && *claimed != access_hash(token, algorithm)
    {
        return Err(TokenError::AccessHash);
    }
    Ok(())
}

/// The left half of the hash that belongs to the signature's algorithm (OpenID Connect Core 1.0, 3.1.3.6).
pub(super) fn access_hash(token: &str, algorithm: Algorithm) -> String {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    let hash = match algorithm {
        Algorithm::ES384 | Algorithm::RS384 | Algorithm::PS384 => &digest::SHA384,
        Algorithm::RS512 | Algorithm::PS512 | Algorithm::EdDSA => &digest::SHA512,
        _ => &digest::SHA256,
    };
    let whole = digest::digest(hash, token.as_bytes());
    URL_SAFE_NO_PAD.encode(&whole.as_ref()[..whole.as_ref().len() / 2])
}

fn check_times(claims: &Claims, now_s: i64) -> Result<i64, TokenError> {
    let expiry_s = claims.exp.and_then(instant).ok_or(TokenError::NoExpiry)?;
    let not_after_s = expiry_s + SKEW_S;
    if now_s >= not_after_s {
        return Err(TokenError::Expired {
            seconds: now_s - expiry_s,
        });
    }
    for start in [claims.nbf, claims.iat].into_iter().flatten() {
        if instant(start).is_none_or(|start_s| start_s > now_s + SKEW_S) {
            return Err(TokenError::NotYet);
        }
    }
    Ok(not_after_s)
}

fn kind(claimed: Option<&str>, trusted: bool) -> Result<PrincipalKind, TokenError> {
    match claimed.filter(|_| trusted) {
        None | Some("human") => Ok(PrincipalKind::Human),
        Some("workload") => Ok(PrincipalKind::Workload),
        Some("agent") => Ok(PrincipalKind::Agent),
        Some(_) => Err(TokenError::Kind),
    }
}

pub(super) fn names_audience(claimed: Option<&OneOrMany>, expected: &str) -> bool {
    match claimed {
        None => false,
        Some(OneOrMany::One(one)) => one == expected,
        Some(OneOrMany::Many(many)) => many.iter().any(|one| one == expected),
    }
}

/// For tokens that are handed over, and access tokens.
const LOGIN_TYPES: [&str; 3] = ["jwt", "at+jwt", "application/at+jwt"];

/// For access tokens alone.
const ACCESS_TYPES: [&str; 2] = ["at+jwt", "application/at+jwt"];

/// For assertions about a person: no other token is one.
const ASSERTION_TYPES: [&str; 2] = ["oauth-id-jag+jwt", "application/oauth-id-jag+jwt"];

/// For ID tokens: an access token is none.
const ID_TYPES: [&str; 1] = ["jwt"];

/// Names reach terminals and reports: nothing empty, endless or unprintable.
pub(super) fn is_name(text: &str) -> bool {
    !text.is_empty() && text.len() <= NAME_BYTES && !text.chars().any(char::is_control)
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the range is checked first; fractions of a second do not matter"
)]
fn instant(seconds: f64) -> Option<i64> {
    (0.0..LATEST_S).contains(&seconds).then_some(seconds as i64)
}

#[cfg(test)]
mod tests;
