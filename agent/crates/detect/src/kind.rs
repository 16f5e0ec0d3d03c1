//! The words for what is found, and the class each belongs to.

use serde::{Deserialize, Serialize};

/// What a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// An e-mail address.
    Email,
    /// A telephone number, with its extension.
    Phone,
    /// The number of a payment card.
    Card,
    /// An international bank account number.
    Iban,
    /// A US social security number.
    Ssn,
    /// A number by which a state knows a person.
    NationalId(Scheme),
    /// An IPv4 or IPv6 address, without port or prefix length.
    Ip,
    /// A hardware address.
    Mac,
    /// An address with a scheme, whole.
    Url,
    /// A host's name.
    Domain,
    /// A date of birth: a date that the text around it calls so.
    BirthDate,
    /// A key, token or password of a service.
    ApiKey,
    /// A JSON Web Token.
    Jwt,
    /// A private key in PEM.
    PrivateKey,
    /// An address that cryptocurrency is sent to.
    CryptoAddress,
}

/// Whose rules a national number follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scheme {
    /// Belgium: rijksregisternummer.
    BeRegister,
    /// Brazil: CPF.
    BrCpf,
    /// Canada: social insurance number.
    CaSin,
    /// Switzerland: AHV number.
    ChAhv,
    /// Germany: Steuer-Identifikationsnummer.
    DeTaxId,
    /// Spain: DNI.
    EsDni,
    /// Spain: NIE.
    EsNie,
    /// Finland: henkilötunnus.
    FiHetu,
    /// France: NIR.
    FrNir,
    /// India: Aadhaar.
    InAadhaar,
    /// Italy: codice fiscale.
    ItFiscalCode,
    /// Netherlands: BSN.
    NlBsn,
    /// Norway: fødselsnummer.
    NoBirthNumber,
    /// Poland: PESEL.
    PlPesel,
    /// Sweden: personnummer.
    SePersonal,
    /// United Kingdom: National Insurance number.
    UkNino,
    /// United States: individual taxpayer identification number.
    UsItin,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 31] = [
        Self::Email,
        Self::Phone,
        Self::Card,
        Self::Iban,
        Self::Ssn,
        Self::Ip,
        Self::Mac,
        Self::Url,
        Self::Domain,
        Self::BirthDate,
        Self::ApiKey,
        Self::Jwt,
        Self::PrivateKey,
        Self::CryptoAddress,
        Self::NationalId(Scheme::BeRegister),
        Self::NationalId(Scheme::BrCpf),
        Self::NationalId(Scheme::CaSin),
        Self::NationalId(Scheme::ChAhv),
        Self::NationalId(Scheme::DeTaxId),
        Self::NationalId(Scheme::EsDni),
        Self::NationalId(Scheme::EsNie),
        Self::NationalId(Scheme::FiHetu),
        Self::NationalId(Scheme::FrNir),
        Self::NationalId(Scheme::InAadhaar),
        Self::NationalId(Scheme::ItFiscalCode),
        Self::NationalId(Scheme::NlBsn),
        Self::NationalId(Scheme::NoBirthNumber),
        Self::NationalId(Scheme::PlPesel),
        Self::NationalId(Scheme::SePersonal),
        Self::NationalId(Scheme::UkNino),
        Self::NationalId(Scheme::UsItin),
    ];

    /// The class of a column that holds such values.
    #[must_use]
    pub const fn class(self) -> &'static str {
        match self {
            Self::Email => "pii.email",
            Self::Phone => "pii.phone",
            Self::Card => "pci.pan",
            Self::Iban => "finance.iban",
            Self::Ssn => "pii.ssn",
            Self::NationalId(_) => "pii.national_id",
            Self::Ip => "network.ip",
            Self::Mac => "network.mac",
            Self::Url => "network.url",
            Self::Domain => "network.domain",
            Self::BirthDate => "pii.birth_date",
            Self::ApiKey => "secret.api_key",
            Self::Jwt => "secret.token",
            Self::PrivateKey => "secret.private_key",
            Self::CryptoAddress => "finance.crypto_address",
        }
    }

    /// The kind in one word, as evidence shows it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Phone => "phone",
            Self::Card => "card",
            Self::Iban => "iban",
            Self::Ssn => "us_ssn",
            Self::NationalId(scheme) => scheme.as_str(),
            Self::Ip => "ip",
            Self::Mac => "mac",
            Self::Url => "url",
            Self::Domain => "domain",
            Self::BirthDate => "birth_date",
            Self::ApiKey => "api_key",
            Self::Jwt => "jwt",
            Self::PrivateKey => "private_key",
            Self::CryptoAddress => "crypto_address",
        }
    }

    const fn bit(self) -> u32 {
        match self {
            Self::Email => 0,
            Self::Phone => 1,
            Self::Card => 2,
            Self::Iban => 3,
            Self::Ssn => 4,
            Self::Ip => 5,
            Self::Mac => 6,
            Self::Url => 7,
            Self::Domain => 8,
            Self::BirthDate => 9,
            Self::ApiKey => 10,
            Self::Jwt => 11,
            Self::PrivateKey => 12,
            Self::CryptoAddress => 13,
            Self::NationalId(scheme) => 14 + scheme as u32,
        }
    }
}

impl Scheme {
    /// Country and name in one word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BeRegister => "be_register",
            Self::BrCpf => "br_cpf",
            Self::CaSin => "ca_sin",
            Self::ChAhv => "ch_ahv",
            Self::DeTaxId => "de_tax_id",
            Self::EsDni => "es_dni",
            Self::EsNie => "es_nie",
            Self::FiHetu => "fi_hetu",
            Self::FrNir => "fr_nir",
            Self::InAadhaar => "in_aadhaar",
            Self::ItFiscalCode => "it_fiscal_code",
            Self::NlBsn => "nl_bsn",
            Self::NoBirthNumber => "no_birth_number",
            Self::PlPesel => "pl_pesel",
            Self::SePersonal => "se_personal",
            Self::UkNino => "uk_nino",
            Self::UsItin => "us_itin",
        }
    }
}

/// A set of kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Kinds(u32);

impl Kinds {
    /// Adds a kind.
    pub const fn add(&mut self, kind: Kind) {
        self.0 |= 1 << kind.bit();
    }

    /// Whether it holds a kind.
    #[must_use]
    pub const fn has(self, kind: Kind) -> bool {
        self.0 & (1 << kind.bit()) != 0
    }

    /// Whether it holds none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The kinds in it.
    pub fn iter(self) -> impl Iterator<Item = Kind> {
        Kind::ALL.into_iter().filter(move |kind| self.has(*kind))
    }
}
