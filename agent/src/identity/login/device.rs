//! The device's code (RFC 8628): the person types it, on whatever has a browser, and weir asks until it is done.

use std::time::{Duration, Instant};

use tokio::time;

use super::{Flow, LONGEST, LoginError, Prompt, Wanted, common_fields};
use crate::identity::{
    fetch,
    issuers::Issuer,
    oidc::{Client, DeviceCode, GrantError, Tokens},
};

/// Between two questions when the provider does not say (RFC 8628, 3.2), and what `slow_down` adds (3.5).
const INTERVAL: Duration = Duration::from_secs(5);
const SLOWER: Duration = Duration::from_secs(5);
const INTERVALS: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_mins(1);

/// Longer codes nobody types.
const CODE_BYTES: usize = 64;

/// A code that is waited for.
#[derive(Debug)]
pub(super) struct Device {
    code: DeviceCode,
    interval: Duration,
    until: Instant,
}

pub(super) async fn begin(
    issuer: &Issuer,
    wanted: &Wanted,
) -> Result<(Prompt, Device), LoginError> {
    let client = client(issuer)?;
    let scope = issuer.settings().scope();
    let max_age = wanted.max_age_s.map(|seconds| seconds.to_string());
    let fields = common_fields(&scope, max_age.as_deref(), wanted);
    let code = issuer.provider().device_code(client, &fields).await?;
    let printable = |text: &str| !text.chars().any(char::is_control);
    let addresses = [
        Some(&code.verification_uri),
        code.verification_uri_complete.as_ref(),
    ];
    let good = printable(&code.user_code)
        && code.user_code.len() <= CODE_BYTES
        && addresses
            .into_iter()
            .flatten()
            .all(|uri| printable(uri) && fetch::address(uri).is_ok());
    if !good {
        return Err(LoginError::Prompt);
    }
    let lives = Duration::from_secs(code.expires_in).min(LONGEST);
    let prompt = Prompt {
        issuer: issuer.settings().issuer.clone(),
        flow: Flow::Device,
        url: code.verification_uri.clone(),
        code: Some(code.user_code.clone()),
        url_complete: code.verification_uri_complete.clone(),
        expires_s: lives.as_secs(),
    };
    let interval = code.interval.map_or(INTERVAL, Duration::from_secs);
    Ok((
        prompt,
        Device {
            interval: interval.clamp(*INTERVALS.start(), *INTERVALS.end()),
            until: Instant::now() + lives,
            code,
        },
    ))
}

impl Device {
    /// Asks until the person is done, says no, or the code ends. An unreachable provider is asked again.
    pub(super) async fn wait(mut self, issuer: &Issuer) -> Result<Tokens, LoginError> {
        let client = client(issuer)?;
        loop {
            if Instant::now() + self.interval > self.until {
                time::sleep(self.until.saturating_duration_since(Instant::now())).await;
                return Err(LoginError::Late);
            }
            time::sleep(self.interval).await;
            let fields = [
                ("grant_type", GRANT_TYPE),
                ("device_code", self.code.device_code.expose()),
            ];
            match issuer.provider().token(client, &fields).await {
                Ok(tokens) => return Ok(tokens),
                Err(error) if error.is("authorization_pending") => {}
                Err(error) if error.is("slow_down") => self.interval += SLOWER,
                // RFC 8628, 3.5: a connection that times out is a reason to ask less often.
                Err(GrantError::Unreachable(_)) => {
                    self.interval = (self.interval * 2).min(*INTERVALS.end());
                }
                Err(error) if error.is("access_denied") => return Err(LoginError::Denied),
                Err(error) if error.is("expired_token") => return Err(LoginError::Late),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn client(issuer: &Issuer) -> Result<&Client, LoginError> {
    issuer.client().ok_or_else(|| LoginError::NoClient {
        issuer: issuer.settings().issuer.clone(),
    })
}

const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:device_code";
