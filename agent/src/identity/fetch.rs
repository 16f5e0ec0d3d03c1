//! Asking an identity provider over HTTP: https only (http on loopback), no redirects, five seconds, a bounded answer.

use std::{net::IpAddr, time::Duration};

use reqwest::{Client, Response, Url, header, redirect};

/// From connecting to the last byte.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The most that any answer may hold.
pub const ANSWER_BYTES: usize = 256 * 1024;

/// Why a provider's answer could not be had.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// Not an address that is asked.
    #[error("{url} is no https address (http is for loopback only)")]
    Address {
        /// As configured or as the provider said.
        url: String,
    },
    /// The client could not be made.
    #[error("cannot prepare the HTTP client")]
    Client(#[source] reqwest::Error),
    /// Nobody answered, or not in time.
    #[error("cannot reach {url}")]
    Reach {
        /// What was asked.
        url: String,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// A redirect or an error.
    #[error("{url} answered {status}")]
    Status {
        /// What was asked.
        url: String,
        /// The HTTP status.
        status: u16,
    },
    /// More than [`ANSWER_BYTES`].
    #[error("{url} answered with more than {ANSWER_BYTES} bytes")]
    TooLong {
        /// What was asked.
        url: String,
    },
    /// The answer does not say what it must.
    #[error("the answer of {url} cannot be read: {why}")]
    Answer {
        /// What was asked.
        url: String,
        /// What is wrong.
        why: String,
    },
}

/// A provider's answer.
#[derive(Debug)]
pub struct Answer {
    /// The body.
    pub body: Vec<u8>,
    /// How long it may be kept, by its `Cache-Control`; `None` when it does not say.
    pub fresh: Option<Duration>,
    /// The provider's own time, as its `Date` states it.
    pub date: Option<String>,
}

/// A provider's answer to a form: an error of the protocol is one too.
#[derive(Debug)]
pub struct Reply {
    /// 2xx, 400, 401 or 403.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
}

/// An HTTP client under these rules.
#[derive(Debug, Clone)]
pub struct Fetcher {
    client: Client,
}

impl Fetcher {
    /// A client for the hosts of one issuer. A loopback issuer needs no trusted certificates and no proxy.
    ///
    /// # Errors
    ///
    /// [`FetchError::Client`] when the platform's certificates cannot be loaded.
    pub fn open(issuer: &Url) -> Result<Self, FetchError> {
        let mut builder = Client::builder()
            .redirect(redirect::Policy::none())
            .timeout(TIMEOUT)
            .user_agent(concat!("weir/", env!("CARGO_PKG_VERSION")));
        if issuer.scheme() == "http" {
            builder = builder.no_proxy().tls_certs_only([]);
        }
        Ok(Self {
            client: builder.build().map_err(FetchError::Client)?,
        })
    }

    /// Gets a document.
    ///
    /// # Errors
    ///
    /// [`FetchError`] for anything but a whole answer with status 200.
    pub async fn get(&self, url: &Url) -> Result<Answer, FetchError> {
        let request = self
            .client
            .get(url.clone())
            .header(header::ACCEPT, "application/json");
        read(url, request.send().await).await
    }

    /// Posts a JSON document and returns the answer.
    ///
    /// # Errors
    ///
    /// [`FetchError`] for anything but a whole answer with status 200.
    pub async fn post(&self, url: &Url, body: &serde_json::Value) -> Result<Answer, FetchError> {
        read(url, self.client.post(url.clone()).json(body).send().await).await
    }

    /// Posts a JSON document with a bearer token and returns the answer.
    ///
    /// # Errors
    ///
    /// [`FetchError`] for anything but a whole answer with status 200.
    pub async fn post_with(
        &self,
        url: &Url,
        bearer: Option<&str>,
        body: &serde_json::Value,
    ) -> Result<Answer, FetchError> {
        let mut request = self.client.post(url.clone()).json(body);
        if let Some(bearer) = bearer {
            request = request.bearer_auth(bearer);
        }
        read(url, request.send().await).await
    }

    /// Posts a form, with the `Authorization` given.
    ///
    /// # Errors
    ///
    /// [`FetchError`] for anything but a whole answer with a status that the protocol has a meaning for.
    pub async fn post_form(
        &self,
        url: &Url,
        fields: &[(&str, &str)],
        authorization: Option<&str>,
    ) -> Result<Reply, FetchError> {
        let mut request = self
            .client
            .post(url.clone())
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(header::ACCEPT, "application/json")
            .body(encode_form(fields));
        if let Some(authorization) = authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        let (status, answer) = receive(url, request.send().await).await?;
        match status {
            200..=299 | 400 | 401 | 403 => Ok(Reply {
                status,
                body: answer.body,
            }),
            _ => Err(FetchError::Status {
                url: url.to_string(),
                status,
            }),
        }
    }
}

/// `application/x-www-form-urlencoded`.
#[must_use]
pub fn encode_form(fields: &[(&str, &str)]) -> String {
    Url::parse_with_params("http://localhost", fields)
        .ok()
        .and_then(|url| url.query().map(str::to_owned))
        .unwrap_or_default()
}

/// Reads an address and holds it to the rules.
///
/// # Errors
///
/// [`FetchError::Address`] when it is neither https nor http on loopback, or carries a password.
pub fn address(text: &str) -> Result<Url, FetchError> {
    let refused = || FetchError::Address {
        url: text.to_owned(),
    };
    let url = Url::parse(text).map_err(|_| refused())?;
    let plain_is_local = url.scheme() == "http" && is_loopback(&url);
    let anonymous = url.username().is_empty() && url.password().is_none();
    if (url.scheme() == "https" || plain_is_local) && anonymous {
        Ok(url)
    } else {
        Err(refused())
    }
}

/// Whether the address names this host by number (or `localhost`), so that nobody else can answer.
#[must_use]
pub fn is_loopback(url: &Url) -> bool {
    let Some(host) = url.host_str() else {
        return false;
    };
    let number = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || number
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

async fn read(url: &Url, sent: reqwest::Result<Response>) -> Result<Answer, FetchError> {
    let (status, answer) = receive(url, sent).await?;
    if status == 200 {
        Ok(answer)
    } else {
        Err(FetchError::Status {
            url: url.to_string(),
            status,
        })
    }
}

async fn receive(url: &Url, sent: reqwest::Result<Response>) -> Result<(u16, Answer), FetchError> {
    let reach = |source| FetchError::Reach {
        url: url.to_string(),
        source,
    };
    let mut response = sent.map_err(reach)?;
    let status = response.status().as_u16();
    let text = |name| {
        let value = response.headers().get(name)?;
        Some(value.to_str().ok()?.to_owned())
    };
    let date = text(header::DATE);
    let fresh = text(header::CACHE_CONTROL).as_deref().and_then(freshness);
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(reach)? {
        if body.len() + chunk.len() > ANSWER_BYTES {
            return Err(FetchError::TooLong {
                url: url.to_string(),
            });
        }
        body.extend_from_slice(&chunk);
    }
    Ok((status, Answer { body, fresh, date }))
}

/// What a `Cache-Control` header allows; `no-store` and `no-cache` allow nothing.
fn freshness(header: &str) -> Option<Duration> {
    let header = header.to_ascii_lowercase();
    let mut directives = header.split(',').map(str::trim);
    if directives
        .clone()
        .any(|directive| directive == "no-store" || directive == "no-cache")
    {
        return Some(Duration::ZERO);
    }
    let seconds = directives.find_map(|directive| directive.strip_prefix("max-age="))?;
    Some(Duration::from_secs(seconds.trim_matches('"').parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_https_and_loopback_http_are_asked() {
        for good in [
            "https://idp.example/a",
            "http://127.0.0.1:9",
            "http://[::1]:9/x",
            "http://localhost:1",
        ] {
            assert!(address(good).is_ok(), "{good}");
        }
        for bad in [
            "http://idp.example",
            "http://10.0.0.1",
            "http://127.0.0.1.evil.example",
            "http://localhost.evil.example",
            "https://user:secret@idp.example",
            "ftp://127.0.0.1",
            "file:///etc/passwd",
            "unix:/run/x",
            "",
        ] {
            assert!(address(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn forms_are_encoded() {
        let form = encode_form(&[("a", "x y&z"), ("b", "é=\n")]);
        assert_eq!(form, "a=x+y%26z&b=%C3%A9%3D%0A");
    }

    #[test]
    fn cache_control_is_read() {
        assert_eq!(
            freshness("public, max-age=300"),
            Some(Duration::from_mins(5))
        );
        assert_eq!(freshness("Max-Age=\"7\""), Some(Duration::from_secs(7)));
        assert_eq!(freshness("max-age=300, no-store"), Some(Duration::ZERO));
        assert_eq!(freshness("public"), None);
        assert_eq!(freshness("max-age=soon"), None);
    }
}
