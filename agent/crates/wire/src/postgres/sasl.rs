//! The messages that carry a SASL log-in: which mechanisms are offered, what is chosen, and the mechanism's own data.
//!
//! <https://www.postgresql.org/docs/current/sasl-authentication.html>

use super::{
    backend::{AUTHENTICATION_SASL, authentication_request, tag as backend},
    frontend::{message, tag as frontend, take_string},
};

/// `AuthenticationSASLContinue`.
pub const AUTHENTICATION_SASL_CONTINUE: u32 = 11;
/// `AuthenticationSASLFinal`.
pub const AUTHENTICATION_SASL_FINAL: u32 = 12;

/// The longest message of a log-in that is read (`PG_MAX_SASL_MESSAGE_LENGTH`).
/// <https://github.com/postgres/postgres/blob/REL_18_STABLE/src/backend/libpq/auth-sasl.c>
pub const MAX_SASL_BYTES: usize = 65_535;

/// A SCRAM mechanism.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mechanism {
    /// `SCRAM-SHA-256`.
    Plain,
    /// `SCRAM-SHA-256-PLUS`: bound to the TLS channel.
    Plus,
}

impl Mechanism {
    /// As it is written in messages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain => "SCRAM-SHA-256",
            Self::Plus => "SCRAM-SHA-256-PLUS",
        }
    }
}

/// Which SCRAM mechanisms an `AuthenticationSASL` offers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Offer {
    /// `SCRAM-SHA-256`.
    pub plain: bool,
    /// `SCRAM-SHA-256-PLUS`.
    pub plus: bool,
}

impl Offer {
    /// Reads an `Authentication…` message's body; `None` when it is not the offer of SASL mechanisms.
    #[must_use]
    pub fn read(body: &[u8]) -> Option<Self> {
        if authentication_request(body)? != AUTHENTICATION_SASL {
            return None;
        }
        let mut offer = Self::default();
        let mut rest = body.get(4..)?;
        loop {
            let (name, after) = take_string(rest)?;
            if name.is_empty() {
                return after.is_empty().then_some(offer);
            }
            offer.plain |= name == Mechanism::Plain.name().as_bytes();
            offer.plus |= name == Mechanism::Plus.name().as_bytes();
            rest = after;
        }
    }

    /// The `AuthenticationSASL` that makes it. The stronger mechanism comes first, as the server has it.
    #[must_use]
    pub fn write(self) -> Vec<u8> {
        let mut list = Vec::new();
        for (offered, mechanism) in [(self.plus, Mechanism::Plus), (self.plain, Mechanism::Plain)] {
            if offered {
                list.extend_from_slice(mechanism.name().as_bytes());
                list.push(0);
            }
        }
        list.push(0);
        authentication(AUTHENTICATION_SASL, &list)
    }
}

/// A client's `SASLInitialResponse`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InitialResponse<'b> {
    /// The mechanism it chooses, as it says it.
    pub mechanism: &'b [u8],
    /// The mechanism's first message; `None` when the client waits for the server's.
    pub data: Option<&'b [u8]>,
}

impl<'b> InitialResponse<'b> {
    /// Reads a message's body; `None` when it is something else.
    #[must_use]
    pub fn read(body: &'b [u8]) -> Option<Self> {
        let (mechanism, rest) = take_string(body)?;
        let length = i32::from_be_bytes(*rest.first_chunk()?);
        let rest = rest.get(4..)?;
        let data = match usize::try_from(length) {
            Ok(length) if length == rest.len() => Some(rest),
            Err(_) if length == -1 && rest.is_empty() => None,
            _ => return None,
        };
        Some(Self { mechanism, data })
    }

    /// The mechanism, where it is one of SCRAM's.
    #[must_use]
    pub fn scram(&self) -> Option<Mechanism> {
        [Mechanism::Plain, Mechanism::Plus]
            .into_iter()
            .find(|mechanism| mechanism.name().as_bytes() == self.mechanism)
    }
}

/// A `SASLInitialResponse`.
#[must_use]
pub fn initial_response(mechanism: Mechanism, data: &str) -> Vec<u8> {
    let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
    let parts = [
        mechanism.name().as_bytes(),
        b"\0",
        &length.to_be_bytes(),
        data.as_bytes(),
    ];
    message(frontend::PASSWORD, &parts)
}

/// A `SASLResponse`.
#[must_use]
pub fn response(data: &str) -> Vec<u8> {
    message(frontend::PASSWORD, &[data.as_bytes()])
}

/// A `PasswordMessage`. It holds a secret.
#[must_use]
pub fn password(text: &str) -> Vec<u8> {
    message(frontend::PASSWORD, &[text.as_bytes(), b"\0"])
}

/// An `AuthenticationSASLContinue`.
#[must_use]
pub fn proceed(data: &str) -> Vec<u8> {
    authentication(AUTHENTICATION_SASL_CONTINUE, data.as_bytes())
}

/// An `AuthenticationSASLFinal`.
#[must_use]
pub fn complete(data: &str) -> Vec<u8> {
    authentication(AUTHENTICATION_SASL_FINAL, data.as_bytes())
}

/// The mechanism's data in an `AuthenticationSASLContinue` or `…Final`; `None` when the message is another.
#[must_use]
pub fn data_of(body: &[u8], code: u32) -> Option<&[u8]> {
    if authentication_request(body)? == code {
        body.get(4..)
    } else {
        None
    }
}

fn authentication(code: u32, data: &[u8]) -> Vec<u8> {
    message(backend::AUTHENTICATION, &[&code.to_be_bytes(), data])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offer_is_read_as_it_was_written() {
        for (plain, plus) in [(true, true), (true, false), (false, true)] {
            let offer = Offer { plain, plus };
            assert_eq!(Offer::read(&offer.write()[5..]), Some(offer));
        }
        let mixed = b"\0\0\0\x0aOAUTHBEARER\0SCRAM-SHA-256\0\0";
        let offer = Offer::read(mixed).expect("an offer");
        assert!(offer.plain && !offer.plus);
    }

    #[test]
    fn every_prefix_of_an_offer_is_refused() {
        let whole = Offer {
            plain: true,
            plus: true,
        }
        .write();
        for end in 0..whole.len() - 5 {
            assert_eq!(Offer::read(&whole[5..5 + end]), None, "{end} bytes");
        }
    }

    #[test]
    fn every_prefix_of_an_initial_response_is_refused() {
        let whole = initial_response(Mechanism::Plus, "n,,n=,r=abc");
        let body = &whole[5..];
        let read = InitialResponse::read(body).expect("whole");
        assert_eq!(read.scram(), Some(Mechanism::Plus));
        assert_eq!(read.data, Some(&b"n,,n=,r=abc"[..]));
        for end in 0..body.len() {
            assert_eq!(InitialResponse::read(&body[..end]), None, "{end} bytes");
        }
        let mut longer = body.to_vec();
        longer.push(b'x');
        assert_eq!(InitialResponse::read(&longer), None);
        let silent = b"SCRAM-SHA-256\0\xff\xff\xff\xff";
        assert_eq!(
            InitialResponse::read(silent).map(|read| read.data),
            Some(None)
        );
        assert_eq!(InitialResponse::read(b"X\0\xff\xff\xff\xfe"), None);
    }

    #[test]
    fn data_is_taken_from_its_own_message_only() {
        let frame = proceed("r=1");
        assert_eq!(
            data_of(&frame[5..], AUTHENTICATION_SASL_CONTINUE),
            Some(&b"r=1"[..])
        );
        assert_eq!(data_of(&frame[5..], AUTHENTICATION_SASL_FINAL), None);
        assert_eq!(data_of(&frame[5..8], AUTHENTICATION_SASL_CONTINUE), None);
    }
}
