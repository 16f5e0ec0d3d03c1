//! HTTP as the tests need it: a listener on loopback that answers as it is told, and one request to an address there.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

/// Takes one request after the other, each on a connection of its own, until the process ends.
#[derive(Clone, Copy, Debug)]
pub struct HttpListener {
    address: SocketAddr,
}

/// What somebody asks.
#[derive(Debug)]
pub struct Request {
    /// `POST /path HTTP/1.1`.
    pub line: String,
    /// Names in lower case.
    headers: Vec<(String, String)>,
    /// Empty when there is none.
    pub body: String,
}

/// What is answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// `200 OK`.
    pub status: &'static str,
    /// JSON; empty when there is nothing to say.
    pub body: String,
}

impl HttpListener {
    /// Listens on a free port; `answer` is asked about every request that comes whole.
    ///
    /// # Errors
    ///
    /// When there is no port.
    pub fn start(mut answer: impl FnMut(Request) -> Answer + Send + 'static) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").context("no port")?;
        let address = listener.local_addr().context("no address")?;
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let mut reader = BufReader::new(stream);
                if let Some(request) = Request::read(&mut reader) {
                    // Who has gone away is not told.
                    let _ = answer(request).write(reader.into_inner());
                }
            }
        });
        Ok(Self { address })
    }

    /// The address of a path there.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

impl Request {
    /// The value of a header; its name in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(found, _)| found == name)
            .map(|(_, value)| value.as_str())
    }

    fn read(reader: &mut BufReader<TcpStream>) -> Option<Self> {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
            match line.trim_end() {
                "" => break,
                line => lines.push(line.to_owned()),
            }
        }
        let mut lines = lines.into_iter();
        let mut request = Self {
            line: lines.next()?,
            headers: lines
                .filter_map(|line| {
                    let (name, value) = line.split_once(':')?;
                    Some((name.to_ascii_lowercase(), value.trim().to_owned()))
                })
                .collect(),
            body: String::new(),
        };
        if let Some(length) = request.header("content-length") {
            let mut body = vec![0; length.parse().ok()?];
            reader.read_exact(&mut body).ok()?;
            request.body = String::from_utf8(body).ok()?;
        }
        Some(request)
    }
}

impl Answer {
    /// A status alone.
    #[must_use]
    pub fn status(status: &'static str) -> Self {
        Self {
            status,
            body: String::new(),
        }
    }

    fn write(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let Self { status, body } = self;
        let length = body.len();
        write!(
            stream,
            "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        )
    }
}

/// Posts a body to an address on loopback; returns status and body.
///
/// # Errors
///
/// When nobody answers.
pub fn post(
    url: &str,
    content_type: &str,
    authorization: &str,
    body: &str,
) -> Result<(u16, String)> {
    let host = url.strip_prefix("http://").context("not http")?;
    let mut stream = TcpStream::connect(host).with_context(|| format!("cannot reach {url}"))?;
    stream.set_read_timeout(Some(Duration::from_mins(1)))?;
    write!(
        stream,
        "POST / HTTP/1.1\r\nHost: {host}\r\nContent-Type: {content_type}\r\nAuthorization: {authorization}\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no HTTP answer")?;
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    let body = if head
        .to_ascii_lowercase()
        .contains("transfer-encoding: chunked")
    {
        unchunk(body)
    } else {
        body.to_owned()
    };
    Ok((status.context("no HTTP status")?, body))
}

fn unchunk(mut body: &str) -> String {
    let mut whole = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let Ok(size) = usize::from_str_radix(size.trim(), 16) else {
            break;
        };
        let Some(chunk) = rest.get(..size) else {
            break;
        };
        whole += chunk;
        body = rest.get(size + 2..).unwrap_or_default();
    }
    whole
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_request_comes_whole_and_its_answer_goes_back() {
        let (send, got) = mpsc::channel();
        let listener = HttpListener::start(move |request| {
            send.send(request).expect("somebody looks");
            Answer {
                status: "403 Forbidden",
                body: "{\"why\": 1}".to_owned(),
            }
        });
        let url = listener.expect("a port").url("");
        let answered =
            post(&url, "text/plain", "Bearer x", "what\r\n\r\nis sent").expect("answered");
        assert_eq!(answered, (403, "{\"why\": 1}".to_owned()));
        let request = got.recv().expect("a request");
        assert_eq!(request.line, "POST / HTTP/1.1");
        assert_eq!(request.header("authorization"), Some("Bearer x"));
        assert_eq!(request.body, "what\r\n\r\nis sent");
    }
}
