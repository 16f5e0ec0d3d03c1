//! A blocking PostgreSQL client that throws every result away.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::responses::{ResponseError, Responses};

/// One logged-in connection.
///
/// Knows the trust method only: the benchmark's servers ask for no password.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
}

/// Why a connection or a statement failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The address does not answer in time.
    #[error("cannot connect to {address}")]
    Connect {
        /// Where the connection was to go.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The connection broke while a request was sent or its answer read.
    #[error("cannot exchange messages with the server")]
    Exchange(#[from] io::Error),
    /// The server's answer is an error or cannot be followed.
    #[error("cannot complete the request")]
    Response(#[from] ResponseError),
}

impl Client {
    /// Connects and logs in without a password; reads until the first `ReadyForQuery`.
    ///
    /// # Errors
    ///
    /// [`ClientError`]; connecting and each answer may take ten seconds at most.
    pub fn connect(
        address: SocketAddr,
        user: &str,
        database: &str,
        buffer: &mut [u8],
    ) -> Result<Self, ClientError> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)
            .map_err(|source| ClientError::Connect { address, source })?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut client = Self { stream };
        client.stream.write_all(&startup(user, database))?;
        client.discard(buffer)?;
        Ok(client)
    }

    /// Sends `statement` as one simple query and reads its whole answer through `buffer`.
    /// Returns the bytes the server sent.
    ///
    /// # Errors
    ///
    /// [`ClientError`] when the statement fails or the connection breaks.
    pub fn query(&mut self, statement: &str, buffer: &mut [u8]) -> Result<u64, ClientError> {
        self.stream
            .write_all(&message(b'Q', &[statement.as_bytes(), b"\0"]))?;
        self.discard(buffer)
    }

    /// Prepares `statement` under `name`.
    ///
    /// # Errors
    ///
    /// [`ClientError`] when the statement fails or the connection breaks.
    pub fn prepare(
        &mut self,
        name: &str,
        statement: &str,
        buffer: &mut [u8],
    ) -> Result<(), ClientError> {
        let no_parameter_types = b"\0\0\0";
        let parts = [
            name.as_bytes(),
            b"\0",
            statement.as_bytes(),
            no_parameter_types,
        ];
        let mut bytes = message(b'P', &parts);
        bytes.extend(message(b'S', &[]));
        self.stream.write_all(&bytes)?;
        self.discard(buffer)?;
        Ok(())
    }

    /// Executes what was prepared under `name`, with one parameter as text, in the messages that
    /// libpq sends for it.
    ///
    /// # Errors
    ///
    /// [`ClientError`] when the statement fails or the connection breaks.
    pub fn execute(
        &mut self,
        name: &str,
        parameter: &str,
        buffer: &mut [u8],
    ) -> Result<(), ClientError> {
        let value_bytes = length_of(&[parameter.as_bytes()]) - 4;
        // The unnamed portal; one parameter, all in text; every result column in text.
        let mut bytes = message(
            b'B',
            &[
                b"\0",
                name.as_bytes(),
                b"\0\0\0\0\x01",
                &value_bytes.to_be_bytes(),
                parameter.as_bytes(),
                b"\0\x01\0\0",
            ],
        );
        bytes.extend(message(b'D', &[b"P\0"]));
        bytes.extend(message(b'E', &[b"\0\0\0\0\0"]));
        bytes.extend(message(b'S', &[]));
        self.stream.write_all(&bytes)?;
        self.discard(buffer)?;
        Ok(())
    }

    /// Runs `statement`, which must be a `COPY … FROM STDIN`, and sends it `row` again and again:
    /// `messages` times `row` as one `CopyData` each. Returns the bytes sent.
    ///
    /// # Errors
    ///
    /// [`ClientError`] when the statement fails or the connection breaks.
    pub fn copy_in(
        &mut self,
        statement: &str,
        row: &[u8],
        messages: u32,
        buffer: &mut [u8],
    ) -> Result<u64, ClientError> {
        self.stream
            .write_all(&message(b'Q', &[statement.as_bytes(), b"\0"]))?;
        let data = message(b'd', &[row]);
        let batch = data.repeat(COPY_BATCH_MESSAGES as usize);
        let mut sent = 0;
        let mut left = messages;
        while left > 0 {
            let now = left.min(COPY_BATCH_MESSAGES);
            let bytes = &batch[..data.len() * now as usize];
            self.stream.write_all(bytes)?;
            sent += bytes.len() as u64;
            left -= now;
        }
        self.stream.write_all(&message(b'c', &[]))?;
        self.discard(buffer)?;
        Ok(sent)
    }

    fn discard(&mut self, buffer: &mut [u8]) -> Result<u64, ClientError> {
        let mut responses = Responses::default();
        let mut bytes = 0;
        loop {
            let count = self.stream.read(buffer)?;
            if count == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
            bytes += count as u64;
            if responses.take(&buffer[..count])?.is_break() {
                return Ok(bytes);
            }
        }
    }
}

fn startup(user: &str, database: &str) -> Vec<u8> {
    let mut body = PROTOCOL_3_0.to_be_bytes().to_vec();
    for word in ["user", user, "database", database] {
        body.extend_from_slice(word.as_bytes());
        body.push(0);
    }
    body.push(0);
    let mut bytes = length_of(&[&body]).to_be_bytes().to_vec();
    bytes.append(&mut body);
    bytes
}

fn message(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let mut bytes = vec![tag];
    bytes.extend_from_slice(&length_of(parts).to_be_bytes());
    for part in parts {
        bytes.extend_from_slice(part);
    }
    bytes
}

/// The length field of a message with these parts: it counts itself.
fn length_of(parts: &[&[u8]]) -> u32 {
    let body: usize = parts.iter().map(|part| part.len()).sum();
    u32::try_from(body + 4).expect("requests of the benchmark are far below 4 GiB")
}

const PROTOCOL_3_0: u32 = 196_608;

/// A benchmark that waits longer than this for one answer has nothing left to measure.
const PATIENCE: Duration = Duration::from_secs(10);

/// About 32 KiB per write with the benchmark's rows, so that the client is not the bottleneck.
const COPY_BATCH_MESSAGES: u32 = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_carries_its_own_length() {
        assert_eq!(
            message(b'Q', &[b"SELECT 1", b"\0"]),
            b"Q\0\0\0\x0dSELECT 1\0"
        );
    }

    #[test]
    fn the_startup_message_ends_with_an_empty_name() {
        let bytes = startup("u", "d");
        assert_eq!(bytes.len(), bytes[3] as usize);
        assert_eq!(&bytes[4..], b"\0\x03\0\0user\0u\0database\0d\0\0");
    }
}
