//! Ranges of addresses as the operator writes them.

use std::{
    fmt,
    net::{AddrParseError, IpAddr, Ipv6Addr},
    str::FromStr,
};

use serde::Deserialize;

/// A range of addresses. An IPv6 range that contains `::ffff:0:0/96` contains all of IPv4.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct Cidr {
    pub(super) address: Ipv6Addr,
    /// Of the v4-mapped form: 96 more than an IPv4 prefix says.
    pub(super) bits: u8,
}

/// Why a text is not a range of addresses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CidrError {
    /// The part before the slash is no address.
    #[error("{text} does not begin with an IP address")]
    Address {
        /// What was given.
        text: String,
        /// Why.
        #[source]
        source: AddrParseError,
    },
    /// The part after the slash is no prefix length of the address's family.
    #[error("{text} has a prefix length that is not a number up to {most}")]
    Prefix {
        /// What was given.
        text: String,
        /// 32 or 128.
        most: u8,
    },
    /// The address has bits set that the prefix leaves open.
    #[error("{text} has bits beyond its prefix: write {meant}")]
    HostBits {
        /// What was given.
        text: String,
        /// The range it lies in.
        meant: Cidr,
    },
}

/// Every address there is.
pub(super) const ANY: Cidr = Cidr {
    address: Ipv6Addr::UNSPECIFIED,
    bits: 0,
};

const MAPPED_BITS: u8 = 96;

impl Cidr {
    fn new(address: IpAddr, prefix: u8) -> Self {
        match address {
            IpAddr::V4(v4) => Self {
                address: v4.to_ipv6_mapped(),
                bits: MAPPED_BITS + prefix,
            },
            IpAddr::V6(v6) => Self {
                address: v6,
                bits: prefix,
            },
        }
    }

    fn masked(self) -> Self {
        let mask = u128::MAX
            .checked_shl(128 - u32::from(self.bits))
            .unwrap_or(0);
        Self {
            address: (u128::from(self.address) & mask).into(),
            bits: self.bits,
        }
    }

    /// Whether every address of `other` is in this range.
    pub(super) fn contains(self, other: Self) -> bool {
        let cut = Self {
            address: other.address,
            bits: self.bits,
        };
        self.bits <= other.bits && cut.masked().address == self.address
    }
}

impl From<IpAddr> for Cidr {
    fn from(address: IpAddr) -> Self {
        let address = address.to_canonical();
        Self::new(address, if address.is_ipv4() { 32 } else { 128 })
    }
}

impl FromStr for Cidr {
    type Err = CidrError;

    fn from_str(text: &str) -> Result<Self, CidrError> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|source| CidrError::Address {
            text: text.to_owned(),
            source,
        })?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let Some(prefix) = prefix else {
            return Ok(address.into());
        };
        let prefix = prefix
            .parse()
            .ok()
            .filter(|prefix| *prefix <= most)
            .ok_or_else(|| CidrError::Prefix {
                text: text.to_owned(),
                most,
            })?;
        let cidr = Self::new(address, prefix);
        if cidr.masked() == cidr {
            Ok(cidr)
        } else {
            Err(CidrError::HostBits {
                text: text.to_owned(),
                meant: cidr.masked(),
            })
        }
    }
}

impl TryFrom<String> for Cidr {
    type Error = CidrError;

    fn try_from(text: String) -> Result<Self, CidrError> {
        text.parse()
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (
            self.address.to_canonical(),
            self.bits.checked_sub(MAPPED_BITS),
        ) {
            (IpAddr::V4(v4), Some(prefix)) => write!(formatter, "{v4}/{prefix}"),
            _ => write!(formatter, "{}/{}", self.address, self.bits),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cidr(text: &str) -> Cidr {
        text.parse().expect("a range")
    }

    #[test]
    fn texts_come_back_as_written() {
        for text in [
            "10.0.0.0/8",
            "127.0.0.1/32",
            "0.0.0.0/0",
            "2001:db8::/32",
            "::/0",
            "::1/128",
        ] {
            assert_eq!(cidr(text).to_string(), text);
        }
        assert_eq!(cidr("10.1.2.3"), cidr("10.1.2.3/32"));
        assert_eq!(cidr("::ffff:10.0.0.0/104"), cidr("10.0.0.0/8"));
    }

    #[test]
    fn wrong_texts_say_what_is_wrong() {
        let message = |text: &str| text.parse::<Cidr>().expect_err("no range").to_string();
        assert_eq!(
            message("db.example/8"),
            "db.example/8 does not begin with an IP address"
        );
        assert_eq!(
            message("10.0.0.0/33"),
            "10.0.0.0/33 has a prefix length that is not a number up to 32"
        );
        assert_eq!(
            message("10.0.0.0/-1"),
            "10.0.0.0/-1 has a prefix length that is not a number up to 32"
        );
        assert_eq!(
            message("10.0.0.1/8"),
            "10.0.0.1/8 has bits beyond its prefix: write 10.0.0.0/8"
        );
    }
}
