//! Asks a configured issuer whether people can log in there, and says what to change where they cannot.

use reqwest::Url;
use time::{PrimitiveDateTime, macros::format_description};

use super::{
    fetch::{self, FetchError, Fetcher},
    issuers::{Issuer, IssuerError},
    jwks::KeySet,
    oidc::{Client, Metadata},
    settings::{IssuerSettings, LoginToken},
};
use crate::{clock, telemetry};

/// How far the clocks may be apart before tokens are refused for it, seconds.
const SKEW_S: i64 = 60;

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub grade: Grade,
    /// What it is.
    pub detail: String,
    /// What would help.
    pub remedy: String,
}

/// What a finding means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grade {
    /// As it should be.
    Good,
    /// Somebody should know.
    Note,
    /// Nobody can log in.
    Bad,
}

/// Asks one issuer. Its settings have been checked before.
pub async fn examine(settings: &IssuerSettings) -> Vec<Finding> {
    let mut found = Vec::new();
    match look(settings, &mut found).await {
        Ok(()) => {}
        Err(Problem::Fetch(error)) => {
            found.push(unreachable(settings, &error));
        }
        Err(Problem::Settings(error)) => found.push(Finding {
            grade: Grade::Bad,
            detail: telemetry::chain(&error),
            remedy: "correct the [[issuer]]".to_owned(),
        }),
    }
    found
}

enum Problem {
    Fetch(FetchError),
    Settings(IssuerError),
}

impl From<FetchError> for Problem {
    fn from(error: FetchError) -> Self {
        Self::Fetch(error)
    }
}

async fn look(settings: &IssuerSettings, found: &mut Vec<Finding>) -> Result<(), Problem> {
    // Its kept keys are the running agent's: here nothing is kept.
    let nowhere = std::path::Path::new("/nonexistent");
    let issuer = Issuer::open(settings, nowhere).map_err(Problem::Settings)?;
    let provider = issuer.provider();
    let name = &settings.issuer;
    let metadata = provider.metadata().await?;
    let jwks_uri = settings.jwks_uri.as_ref().or(metadata.jwks_uri.as_ref());
    let Some(jwks_uri) = jwks_uri else {
        found.push(bad(
            format!("{name} publishes no jwks_uri: no token can be verified"),
            "set jwks_uri in the [[issuer]]",
        ));
        return Ok(());
    };
    let answer = provider
        .fetcher()
        .get(&provider.endpoint(jwks_uri)?)
        .await?;
    match KeySet::parse(&answer.body) {
        Ok(_) => found.push(good(format!("{name} answers, and its keys are readable"))),
        Err(error) => found.push(bad(
            format!("the keys of {name} cannot be used: {error}"),
            "have it sign with RS256, PS256, ES256 or EdDSA",
        )),
    }
    found.extend(clock_of(settings, provider.fetcher()).await);
    match issuer.client() {
        Some(client) => people(settings, client, &metadata, found),
        None if settings.development => {}
        None => found.push(note(
            format!("{name} has no client_id: people cannot log in there, only hand tokens over"),
            "register weir with the provider and set client_id (policies/okta.md, entra.md, keycloak.md)",
        )),
    }
    Ok(())
}

/// What `weir login` needs of the provider.
fn people(
    settings: &IssuerSettings,
    client: &Client,
    metadata: &Metadata,
    found: &mut Vec<Finding>,
) {
    let name = &settings.issuer;
    let lists = |list: &Option<Vec<String>>, word: &str| {
        list.as_ref()
            .is_none_or(|all| all.iter().any(|known| known == word))
    };
    if metadata.token_endpoint.is_none() {
        found.push(bad(
            format!("{name} publishes no token_endpoint"),
            "check that the issuer is the provider's exact address",
        ));
    }
    let device = metadata.device_authorization_endpoint.is_some();
    let browser = metadata.authorization_endpoint.is_some();
    match (device, browser) {
        (true, true) => found.push(good(format!("{name} offers codes for devices and browsers"))),
        (true, false) => found.push(good(format!("{name} offers codes for devices"))),
        (false, true) => found.push(note(
            format!("{name} publishes no device_authorization_endpoint: logins need a browser on this host"),
            "allow the grant \"Device Authorization\" for the client, where the provider has it",
        )),
        (false, false) => found.push(bad(
            format!("{name} has neither a device_authorization_endpoint nor an authorization_endpoint"),
            "check that the issuer is the provider's exact address",
        )),
    }
    if browser && !lists(&metadata.code_challenge_methods_supported, "S256") {
        found.push(bad(
            format!("{name} does not take PKCE with S256"),
            "use weir login --device",
        ));
    }
    if !lists(&metadata.grant_types_supported, "refresh_token") {
        found.push(note(
            format!("{name} grants no refresh tokens: logins end with their first token"),
            "allow the grant \"Refresh Token\" for the client",
        ));
    }
    if metadata.revocation_endpoint.is_none() {
        found.push(note(
            format!("{name} publishes no revocation_endpoint: refresh tokens of ended logins stay good until they expire there"),
            "keep their lifetime short",
        ));
    }
    if !lists(
        &metadata.token_endpoint_auth_methods_supported,
        client.method(),
    ) && client.method() != "none"
    {
        found.push(bad(
            format!(
                "{name} does not let clients prove themselves by {}",
                client.method()
            ),
            "give the client a secret or a key, as the provider wants it",
        ));
    }
    for scope in settings.scope().split(' ') {
        if !lists(&metadata.scopes_supported, scope) {
            found.push(note(
                format!("{name} does not list the scope {scope:?}"),
                "leave it out of scopes if the provider refuses the login",
            ));
        }
    }
    if settings.login_token == LoginToken::Id
        && metadata
            .id_token_signing_alg_values_supported
            .as_ref()
            .is_some_and(|all| {
                all.iter()
                    .all(|known| known.starts_with("HS") || known == "none")
            })
    {
        found.push(bad(
            format!("{name} signs ID tokens with shared secrets only"),
            "have it sign with RS256, PS256, ES256 or EdDSA",
        ));
    }
    if !settings.matches_accounts() {
        found.push(note(
            format!("logins at {name} need not match the account on this host"),
            "leave account_match out: whoever is talked into typing a code logs somebody else in",
        ));
    }
}

/// The provider's clock against this host's.
async fn clock_of(settings: &IssuerSettings, fetcher: &Fetcher) -> Option<Finding> {
    let text = format!(
        "{}/.well-known/openid-configuration",
        settings.issuer.trim_end_matches('/')
    );
    let url: Url = fetch::address(&text).ok()?;
    let date = fetcher.get(&url).await.ok()?.date?;
    let theirs_s = parse_date(&date)?;
    let ours_s = i64::try_from(clock::now().as_secs()).ok()?;
    let apart_s = theirs_s - ours_s;
    if apart_s.abs() < SKEW_S {
        return Some(good(format!(
            "the clocks of {} and this host agree",
            settings.issuer
        )));
    }
    Some(bad(
        format!(
            "the clock of {} is {} s {} this host's: its tokens are refused",
            settings.issuer,
            apart_s.abs(),
            if apart_s > 0 { "ahead of" } else { "behind" }
        ),
        "set this host's clock (chrony, systemd-timesyncd)",
    ))
}

/// `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110, 5.6.7).
fn parse_date(text: &str) -> Option<i64> {
    let format = format_description!(
        "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
    );
    let date = PrimitiveDateTime::parse(text, &format).ok()?;
    Some(date.assume_utc().unix_timestamp())
}

fn unreachable(settings: &IssuerSettings, error: &FetchError) -> Finding {
    let remedy = match error {
        FetchError::Answer { .. } => {
            "set issuer to exactly what the provider's discovery document says, to the last slash"
        }
        FetchError::Status { .. } => {
            "check the issuer: its address and /.well-known/openid-configuration must give the discovery document, without a redirect"
        }
        FetchError::Address { .. } => "an issuer on https may name no plain http addresses",
        _ => {
            "open the way from this host to the provider (port 443), and trust its certificate in the system's store"
        }
    };
    Finding {
        // A development issuer need not run when this is asked.
        grade: if settings.development {
            Grade::Note
        } else {
            Grade::Bad
        },
        detail: telemetry::chain(error),
        remedy: remedy.to_owned(),
    }
}

fn good(detail: String) -> Finding {
    Finding {
        grade: Grade::Good,
        detail,
        remedy: String::new(),
    }
}

fn note(detail: String, remedy: &str) -> Finding {
    Finding {
        grade: Grade::Note,
        detail,
        remedy: remedy.to_owned(),
    }
}

fn bad(detail: String, remedy: &str) -> Finding {
    Finding {
        grade: Grade::Bad,
        detail,
        remedy: remedy.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_of_http_is_read() {
        assert_eq!(
            parse_date("Sun, 06 Nov 1994 08:49:37 GMT"),
            Some(784_111_777)
        );
        assert_eq!(parse_date("yesterday"), None);
    }

    #[test]
    fn what_people_need_is_told_from_what_they_can_do_without() {
        let settings = IssuerSettings {
            issuer: "https://idp.example".to_owned(),
            ..IssuerSettings::default()
        };
        let client = Client::open(&super::super::oidc::ClientSettings {
            id: "weir".to_owned(),
            ..Default::default()
        })
        .expect("a public client");
        let grades = |metadata: &Metadata| {
            let mut found = Vec::new();
            people(&settings, &client, metadata, &mut found);
            found.iter().map(|it| it.grade).collect::<Vec<_>>()
        };
        let whole = Metadata {
            token_endpoint: Some("https://idp.example/t".to_owned()),
            authorization_endpoint: Some("https://idp.example/a".to_owned()),
            device_authorization_endpoint: Some("https://idp.example/d".to_owned()),
            revocation_endpoint: Some("https://idp.example/r".to_owned()),
            ..Metadata::default()
        };
        assert_eq!(grades(&whole), [Grade::Good]);
        let without_devices = Metadata {
            device_authorization_endpoint: None,
            ..whole.clone()
        };
        assert_eq!(grades(&without_devices), [Grade::Note]);
        let plain = Metadata {
            code_challenge_methods_supported: Some(vec!["plain".to_owned()]),
            ..whole
        };
        assert_eq!(grades(&plain), [Grade::Good, Grade::Bad]);
        assert!(grades(&Metadata::default()).contains(&Grade::Bad));
    }
}
