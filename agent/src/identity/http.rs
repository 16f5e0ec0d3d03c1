//! As much of HTTP/1.1 as is served here: the development issuer, the answer of a browser's login, pushed security events.
//! One request per connection, bounded in size and time.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time,
};

/// Head and body of a request together.
const REQUEST_BYTES: usize = 16 * 1024;

/// For a whole request, and for a whole response.
const TIMEOUT: Duration = Duration::from_secs(5);

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    Get,
    Post,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) method: Method,
    /// With its query.
    pub(crate) path: String,
    pub(crate) host: String,
    /// Without parameters, in lower case.
    pub(crate) content_type: String,
    pub(crate) authorization: String,
    pub(crate) body: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Response {
    pub(crate) status: u16,
    content_type: &'static str,
    body: Vec<u8>,
}

impl Request {
    pub(crate) fn is_json(&self) -> bool {
        self.content_type == "application/json"
    }
}

/// Why there is no request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Problem {
    Malformed,
    TooLarge,
    Method,
    Late,
}

impl Problem {
    pub(crate) fn status(self) -> u16 {
        match self {
            Self::Malformed => 400,
            Self::Method => 405,
            Self::Late => 408,
            Self::TooLarge => 413,
        }
    }

    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Malformed => "not an HTTP/1.1 request",
            Self::Method => "GET and POST only",
            Self::Late => "too slow",
            Self::TooLarge => "too large",
        }
    }
}

impl Response {
    pub(crate) fn ok(body: &Value) -> Self {
        Self::json(200, body)
    }

    pub(crate) fn json(status: u16, body: &Value) -> Self {
        Self {
            status,
            content_type: "application/json",
            body: body.to_string().into_bytes(),
        }
    }

    /// A page for a person.
    pub(crate) fn page(status: u16, html: &str) -> Self {
        Self {
            status,
            content_type: "text/html; charset=utf-8",
            body: html.as_bytes().to_vec(),
        }
    }

    pub(crate) fn empty(status: u16) -> Self {
        Self {
            status,
            content_type: "text/plain",
            body: Vec::new(),
        }
    }

    pub(crate) fn error(status: u16, text: &str) -> Self {
        Self::json(status, &json!({ "error": text }))
    }
}

pub(crate) async fn read(client: &mut TcpStream) -> Result<Request, Problem> {
    time::timeout(TIMEOUT, read_whole(client))
        .await
        .map_err(|_| Problem::Late)?
}

/// A client that does not take its answer loses it.
pub(crate) async fn write(client: &mut TcpStream, response: Response) {
    let head = format!(
        "HTTP/1.1 {} {}\r\nContent-Type: {}\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        response.status,
        if response.status < 300 {
            "OK"
        } else {
            "Refused"
        },
        response.content_type,
        response.body.len(),
    );
    let bytes = [head.into_bytes(), response.body].concat();
    let send = async {
        client.write_all(&bytes).await?;
        client.shutdown().await
    };
    let _ = time::timeout(TIMEOUT, send).await;
}

async fn read_whole(client: &mut TcpStream) -> Result<Request, Problem> {
    let mut bytes = Vec::new();
    loop {
        let mut chunk = [0_u8; 2048];
        let length = client
            .read(&mut chunk)
            .await
            .map_err(|_| Problem::Malformed)?;
        if length == 0 {
            return Err(Problem::Malformed);
        }
        bytes.extend_from_slice(&chunk[..length]);
        if bytes.len() > REQUEST_BYTES {
            return Err(Problem::TooLarge);
        }
        if let Some(request) = parse(&bytes)? {
            return Ok(request);
        }
    }
}

/// The request, once it is whole.
fn parse(bytes: &[u8]) -> Result<Option<Request>, Problem> {
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
        return Ok(None);
    };
    let head = std::str::from_utf8(&bytes[..end]).map_err(|_| Problem::Malformed)?;
    let mut lines = head.split("\r\n");
    let mut first = lines.next().unwrap_or_default().split(' ');
    let (Some(method), Some(path), Some("HTTP/1.1"), None) =
        (first.next(), first.next(), first.next(), first.next())
    else {
        return Err(Problem::Malformed);
    };
    let method = match method {
        "GET" => Method::Get,
        "POST" => Method::Post,
        _ => return Err(Problem::Method),
    };
    let mut request = Request {
        method,
        path: path.to_owned(),
        host: String::new(),
        content_type: String::new(),
        authorization: String::new(),
        body: Vec::new(),
    };
    let mut body_bytes = 0;
    for line in lines {
        let (name, value) = line.split_once(':').ok_or(Problem::Malformed)?;
        let value = value.trim();
        match name.to_ascii_lowercase().as_str() {
            "host" => value.clone_into(&mut request.host),
            "content-type" => {
                let kind = value.split(';').next().unwrap_or_default();
                request.content_type = kind.trim().to_ascii_lowercase();
            }
            "authorization" => value.clone_into(&mut request.authorization),
            "content-length" => {
                body_bytes = value.parse::<usize>().map_err(|_| Problem::Malformed)?;
            }
            "transfer-encoding" => return Err(Problem::Malformed),
            _ => {}
        }
    }
    if body_bytes > REQUEST_BYTES {
        return Err(Problem::TooLarge);
    }
    let body = &bytes[end + 4..];
    if body.len() < body_bytes {
        return Ok(None);
    }
    request.body = body[..body_bytes].to_vec();
    Ok(Some(request))
}

#[cfg(test)]
mod tests {
    use super::*;

    const POST: &[u8] =
        b"POST /token HTTP/1.1\r\nHost: 127.0.0.1:1\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: 2\r\n\r\n{}";

    #[test]
    fn a_request_is_whole_at_its_last_byte_and_not_before() {
        for at in 0..POST.len() {
            assert_eq!(parse(&POST[..at]), Ok(None), "{at} bytes");
        }
        let request = parse(POST)
            .expect("a good request")
            .expect("a whole request");
        assert_eq!(
            (request.method, request.path.as_str(), request.host.as_str()),
            (Method::Post, "/token", "127.0.0.1:1")
        );
        assert!(request.is_json() && request.body == b"{}");
    }

    #[test]
    fn what_is_no_request_is_refused() {
        for (bytes, problem) in [
            (&b"\x16\x03\x01\r\n\r\n"[..], Problem::Malformed),
            (b"GET / HTTP/1.0\r\n\r\n", Problem::Malformed),
            (b"GET / HTTP/1.1\r\nnonsense\r\n\r\n", Problem::Malformed),
            (b"PUT / HTTP/1.1\r\n\r\n", Problem::Method),
            (
                b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
                Problem::Malformed,
            ),
            (
                b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
                Problem::Malformed,
            ),
            (
                b"POST / HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n",
                Problem::TooLarge,
            ),
        ] {
            assert_eq!(
                parse(bytes),
                Err(problem),
                "{}",
                String::from_utf8_lossy(bytes)
            );
        }
    }
}
