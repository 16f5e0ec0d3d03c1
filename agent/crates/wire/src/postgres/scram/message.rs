//! Reading the four messages of an exchange.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{ScramError, keys};

/// What a client says of channel binding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flag {
    /// `n`: it does not know it.
    Unknown,
    /// `y`: it knows it and believes that the server does not.
    Unoffered,
    /// `p=tls-server-end-point`.
    Bound,
}

/// `client-first-message`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ClientFirst<'m> {
    pub(super) flag: Flag,
    /// With both commas.
    pub(super) header: &'m str,
    pub(super) bare: &'m str,
    pub(super) nonce: &'m str,
}

impl<'m> ClientFirst<'m> {
    pub(super) fn read(message: &'m [u8]) -> Result<Self, ScramError> {
        let text = text(message)?;
        let (flag, rest) = text.split_once(',').ok_or(malformed("no header"))?;
        let flag = match flag {
            "n" => Flag::Unknown,
            "y" => Flag::Unoffered,
            "p=tls-server-end-point" => Flag::Bound,
            _ if flag.starts_with("p=") => {
                return Err(ScramError::Unsupported {
                    what: "another channel binding than tls-server-end-point",
                });
            }
            _ => return Err(malformed("unknown channel binding flag")),
        };
        let (authorization, bare) = rest.split_once(',').ok_or(malformed("no header"))?;
        if !authorization.is_empty() {
            return Err(ScramError::Unsupported {
                what: "an authorization identity",
            });
        }
        let header = text.get(..text.len() - bare.len()).unwrap_or_default();
        let mut attributes = bare.split(',');
        let mut next = || attributes.next().unwrap_or_default();
        let user = next();
        if user.starts_with("m=") {
            return Err(ScramError::Unsupported {
                what: "a mandatory SCRAM extension",
            });
        }
        if !user.starts_with("n=") {
            return Err(malformed("no user name"));
        }
        let nonce = next().strip_prefix("r=").ok_or(malformed("no nonce"))?;
        extensions(attributes)?;
        Ok(Self {
            flag,
            header,
            bare,
            nonce: printable(nonce)?,
        })
    }
}

/// `client-final-message`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ClientFinal<'m> {
    pub(super) binding: Vec<u8>,
    pub(super) nonce: &'m str,
    pub(super) without_proof: &'m str,
    pub(super) proof: [u8; keys::KEY_BYTES],
}

impl<'m> ClientFinal<'m> {
    pub(super) fn read(message: &'m [u8]) -> Result<Self, ScramError> {
        let text = text(message)?;
        let (without_proof, proof) = text.rsplit_once(",p=").ok_or(malformed("no proof"))?;
        let proof = keys::key(proof.as_bytes()).ok_or(malformed("the proof is no key"))?;
        let mut attributes = without_proof.split(',');
        let mut next = || attributes.next().unwrap_or_default();
        let binding = next()
            .strip_prefix("c=")
            .and_then(|binding| STANDARD.decode(binding).ok())
            .ok_or(malformed("no channel binding"))?;
        let nonce = next().strip_prefix("r=").ok_or(malformed("no nonce"))?;
        extensions(attributes)?;
        Ok(Self {
            binding,
            nonce,
            without_proof,
            proof,
        })
    }
}

/// `server-first-message`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ServerFirst<'m> {
    pub(super) text: &'m str,
    pub(super) nonce: &'m str,
    pub(super) salt: Vec<u8>,
    pub(super) iterations: u64,
}

impl<'m> ServerFirst<'m> {
    pub(super) fn read(message: &'m [u8]) -> Result<Self, ScramError> {
        let text = text(message)?;
        let mut attributes = text.split(',');
        let mut next = || attributes.next().unwrap_or_default();
        let nonce = next().strip_prefix("r=").ok_or(malformed("no nonce"))?;
        let salt = next()
            .strip_prefix("s=")
            .and_then(|salt| STANDARD.decode(salt).ok())
            .filter(|salt| !salt.is_empty())
            .ok_or(malformed("no salt"))?;
        let iterations = next()
            .strip_prefix("i=")
            .and_then(|count| count.parse().ok())
            .ok_or(malformed("no iteration count"))?;
        extensions(attributes)?;
        Ok(Self {
            text,
            nonce: printable(nonce)?,
            salt,
            iterations,
        })
    }
}

/// `server-final-message`: the server's signature.
pub(super) fn server_final(message: &[u8]) -> Result<[u8; keys::KEY_BYTES], ScramError> {
    let text = text(message)?;
    if text.starts_with("e=") {
        return Err(ScramError::Refused);
    }
    let mut attributes = text.split(',');
    let signature = attributes.next().unwrap_or_default().strip_prefix("v=");
    let signature = signature
        .and_then(|it| keys::key(it.as_bytes()))
        .ok_or(malformed("no server signature"))?;
    extensions(attributes)?;
    Ok(signature)
}

fn text(message: &[u8]) -> Result<&str, ScramError> {
    let text = std::str::from_utf8(message).map_err(|_| malformed("it is not UTF-8"))?;
    if text.contains('\0') {
        return Err(malformed("it contains a zero byte"));
    }
    Ok(text)
}

fn printable(nonce: &str) -> Result<&str, ScramError> {
    let is_printable = |byte: u8| (0x21..=0x7e).contains(&byte) && byte != b',';
    if !nonce.is_empty() && nonce.bytes().all(is_printable) {
        Ok(nonce)
    } else {
        Err(malformed("unprintable characters in the nonce"))
    }
}

/// Optional extensions are read over; each has a letter for a name.
fn extensions<'m>(attributes: impl Iterator<Item = &'m str>) -> Result<(), ScramError> {
    for attribute in attributes {
        match attribute.as_bytes() {
            [b'm', b'=', ..] => {
                return Err(ScramError::Unsupported {
                    what: "a mandatory SCRAM extension",
                });
            }
            [name, b'=', ..] if name.is_ascii_alphabetic() => {}
            _ => return Err(malformed("an attribute without a name")),
        }
    }
    Ok(())
}

const fn malformed(what: &'static str) -> ScramError {
    ScramError::Malformed { what }
}
