//! What comes before the first message: requests for encryption, cancellation, and the startup packet.

use super::frontend::take_string;

/// The startup packet's limit, as in the server (`MAX_STARTUP_PACKET_LENGTH`).
pub const MAX_STARTUP_BYTES: usize = 10_000;

const CANCEL_REQUEST: u32 = 80_877_102;
const SSL_REQUEST: u32 = 80_877_103;
const GSSENC_REQUEST: u32 = 80_877_104;

/// `SSLRequest`, as sent to a server.
pub const SSL_REQUEST_BYTES: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

/// One request before the session, and the bytes it took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Startup {
    /// The first byte of a TLS handshake (`sslnegotiation=direct`); nothing is taken.
    DirectTls,
    /// The client asks whether TLS is spoken; 8 bytes.
    SslRequest,
    /// The client asks whether GSSAPI encryption is spoken; 8 bytes.
    GssEncRequest,
    /// A cancellation; forwarded as it is.
    Cancel {
        /// The whole packet. It holds a secret: never log it.
        packet: Vec<u8>,
    },
    /// The session's beginning.
    Message(StartupMessage),
}

impl Startup {
    /// Bytes of the input that this took.
    #[must_use]
    pub fn taken(&self) -> usize {
        match self {
            Self::DirectTls => 0,
            Self::SslRequest | Self::GssEncRequest => 8,
            Self::Cancel { packet } => packet.len(),
            Self::Message(message) => message.packet.len(),
        }
    }
}

/// The startup packet: kept byte for byte, and read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartupMessage {
    /// The whole packet, forwarded unchanged.
    pub packet: Vec<u8>,
    /// The protocol's major version.
    pub major: u16,
    /// The protocol's minor version.
    pub minor: u16,
    parameters: Vec<(Vec<u8>, Vec<u8>)>,
}

impl StartupMessage {
    /// A parameter's value; of a repeated one the last, as the server reads it.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&[u8]> {
        let wanted = name.as_bytes();
        let mut found = self
            .parameters
            .iter()
            .rev()
            .filter(|(key, _)| key == wanted);
        found.next().map(|(_, value)| value.as_slice())
    }

    /// The database user.
    #[must_use]
    pub fn user(&self) -> String {
        self.text("user").unwrap_or_default()
    }

    /// The database, which is the user's name when none is given.
    #[must_use]
    pub fn database(&self) -> String {
        match self.text("database") {
            Some(name) if !name.is_empty() => name,
            _ => self.user(),
        }
    }

    /// A parameter as text; bytes that are not UTF-8 are shown as replacement characters.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<String> {
        self.parameter(name)
            .map(|value| String::from_utf8_lossy(value).into_owned())
    }

    /// Whether this is a walsender's session: any value that the server takes as true, or `database`.
    #[must_use]
    pub fn is_replication(&self) -> bool {
        let Some(value) = self.text("replication") else {
            return false;
        };
        // parse_bool takes prefixes and any case; what it does not take as false is treated as replication.
        let value = value.trim().to_ascii_lowercase();
        !(value.is_empty()
            || "false".starts_with(&value)
            || "no".starts_with(&value)
            || (value.len() > 1 && "off".starts_with(&value))
            || value == "0")
    }

    /// Whether settings in the packet may change how statement text is read.
    #[must_use]
    pub fn sets_backslash_mode(&self) -> bool {
        let key = "standard_conforming_strings";
        self.options_mention(key) || self.setting(key).is_some()
    }

    /// The last value given for a setting, whose names are read in any case, by a parameter of its own.
    #[must_use]
    pub fn setting(&self, name: &str) -> Option<&[u8]> {
        let mut found = self
            .parameters
            .iter()
            .rev()
            .filter(|(key, _)| String::from_utf8_lossy(key).eq_ignore_ascii_case(name));
        found.next().map(|(_, value)| value.as_slice())
    }

    /// Whether the server's command-line options in the packet name a setting.
    #[must_use]
    pub fn options_mention(&self, name: &str) -> bool {
        self.parameters.iter().any(|(key, value)| {
            key == b"options"
                && String::from_utf8_lossy(value)
                    .to_ascii_lowercase()
                    .replace('-', "_")
                    .contains(name)
        })
    }
}

/// Why the first bytes are not a beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StartupError {
    /// The length is outside 8 to 10,000.
    #[error("startup packet announces an invalid length of {length}")]
    Length {
        /// The length field.
        length: usize,
    },
    /// Not version 3.
    #[error("unsupported frontend protocol {major}.{minor}")]
    Version {
        /// Major version.
        major: u16,
        /// Minor version.
        minor: u16,
    },
    /// The parameters are not pairs of strings with a NUL after the last.
    #[error("startup packet is malformed")]
    Malformed,
}

/// Reads the next request; `None` means more bytes are needed.
///
/// # Errors
///
/// [`StartupError`] when the bytes cannot be a beginning; the caller closes.
pub fn take(input: &[u8]) -> Result<Option<Startup>, StartupError> {
    // A length of 0x16…… would be far above the limit: no packet begins so.
    if input.first() == Some(&0x16) {
        return Ok(Some(Startup::DirectTls));
    }
    let Some(length) = input.first_chunk::<4>() else {
        return Ok(None);
    };
    let length = u32::from_be_bytes(*length) as usize;
    if !(8..=MAX_STARTUP_BYTES).contains(&length) {
        return Err(StartupError::Length { length });
    }
    let Some(packet) = input.get(..length) else {
        return Ok(None);
    };
    let Some(code) = packet.get(4..).and_then(|rest| rest.first_chunk::<4>()) else {
        return Err(StartupError::Malformed);
    };
    match u32::from_be_bytes(*code) {
        SSL_REQUEST if length == 8 => Ok(Some(Startup::SslRequest)),
        GSSENC_REQUEST if length == 8 => Ok(Some(Startup::GssEncRequest)),
        // Process id and a key of 4 to 256 bytes.
        CANCEL_REQUEST if (16..=268).contains(&length) => Ok(Some(Startup::Cancel {
            packet: packet.to_vec(),
        })),
        CANCEL_REQUEST | SSL_REQUEST | GSSENC_REQUEST => Err(StartupError::Length { length }),
        version => message(packet, version).map(|message| Some(Startup::Message(message))),
    }
}

fn message(packet: &[u8], version: u32) -> Result<StartupMessage, StartupError> {
    let [a, b, c, d] = version.to_be_bytes();
    let (major, minor) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
    if major != 3 {
        return Err(StartupError::Version { major, minor });
    }
    let mut parameters = Vec::new();
    let mut rest = packet.get(8..).unwrap_or_default();
    loop {
        let (name, after) = take_string(rest).ok_or(StartupError::Malformed)?;
        if name.is_empty() {
            if after.is_empty() {
                break;
            }
            return Err(StartupError::Malformed);
        }
        let (value, after) = take_string(after).ok_or(StartupError::Malformed)?;
        parameters.push((name.to_vec(), value.to_vec()));
        rest = after;
    }
    Ok(StartupMessage {
        packet: packet.to_vec(),
        major,
        minor,
        parameters,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(version: u32, body: &[u8]) -> Vec<u8> {
        let mut out = u32::try_from(8 + body.len())
            .expect("short")
            .to_be_bytes()
            .to_vec();
        out.extend(version.to_be_bytes());
        out.extend(body);
        out
    }

    #[test]
    fn every_prefix_asks_for_more() {
        let whole = packet(0x0003_0000, b"user\0alice\0database\0shop\0\0");
        for end in 0..whole.len() {
            assert_eq!(take(&whole[..end]), Ok(None), "{end} bytes");
        }
        let Ok(Some(Startup::Message(message))) = take(&whole) else {
            panic!("a startup message");
        };
        assert_eq!(message.user(), "alice");
        assert_eq!(message.database(), "shop");
        assert_eq!(message.packet, whole);
    }

    #[test]
    fn the_last_of_a_repeated_parameter_counts() {
        let whole = packet(0x0003_0002, b"user\0a\0user\0b\0\0");
        let Ok(Some(Startup::Message(message))) = take(&whole) else {
            panic!("a startup message");
        };
        assert_eq!(
            (message.user(), message.database()),
            ("b".into(), "b".into())
        );
        assert_eq!(message.minor, 2);
    }

    #[test]
    fn requests_are_told_apart() {
        assert_eq!(take(&SSL_REQUEST_BYTES), Ok(Some(Startup::SslRequest)));
        assert_eq!(
            take(&packet(GSSENC_REQUEST, b"")),
            Ok(Some(Startup::GssEncRequest))
        );
        assert_eq!(take(&[0x16, 3, 1]), Ok(Some(Startup::DirectTls)));
        let cancel = packet(CANCEL_REQUEST, &[7; 8]);
        assert_eq!(
            take(&cancel),
            Ok(Some(Startup::Cancel {
                packet: cancel.clone()
            }))
        );
        let long = packet(CANCEL_REQUEST, &[7; 36]);
        assert!(matches!(take(&long), Ok(Some(Startup::Cancel { .. }))));
    }

    #[test]
    fn what_cannot_be_a_beginning_is_refused() {
        assert_eq!(
            take(b"GET / HTTP/1.1\r\n"),
            Err(StartupError::Length {
                length: 0x4745_5420
            })
        );
        assert_eq!(
            take(&packet(0x0004_0000, b"\0")),
            Err(StartupError::Version { major: 4, minor: 0 })
        );
        assert_eq!(
            take(&packet(0x0003_0000, b"user\0x")),
            Err(StartupError::Malformed)
        );
        assert_eq!(
            take(&packet(0x0003_0000, b"\0x")),
            Err(StartupError::Malformed)
        );
        assert!(take(&packet(CANCEL_REQUEST, b"abc")).is_err());
    }

    #[test]
    fn replication_is_recognised_as_the_server_does() {
        for (value, expected) in [
            ("true", true),
            ("1", true),
            ("database", true),
            ("on", true),
            ("off", false),
            ("f", false),
            ("0", false),
            ("no", false),
        ] {
            let whole = packet(
                0x0003_0000,
                format!("user\0u\0replication\0{value}\0\0").as_bytes(),
            );
            let Ok(Some(Startup::Message(message))) = take(&whole) else {
                panic!("a startup message");
            };
            assert_eq!(message.is_replication(), expected, "{value}");
        }
    }
}
