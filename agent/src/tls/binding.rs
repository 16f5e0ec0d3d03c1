//! `tls-server-end-point`: the hash of a certificate that a SCRAM log-in is bound to.
//!
//! The hash is that of the certificate's own signature, and SHA-256 in place of MD5 and SHA-1
//! (<https://www.rfc-editor.org/rfc/rfc5929#section-4>). Where the signature has none of its own (Ed25519), PostgreSQL and its
//! clients have no binding either.

use aws_lc_rs::digest::{Algorithm, SHA224, SHA256, SHA384, SHA512, digest};

/// A certificate's hash; `None` when its signature names no hash that is known.
#[must_use]
pub fn tls_server_end_point(certificate: &[u8]) -> Option<Vec<u8>> {
    let algorithm = signature_hash(certificate)?;
    Some(digest(algorithm, certificate).as_ref().to_vec())
}

fn signature_hash(certificate: &[u8]) -> Option<&'static Algorithm> {
    // Certificate ::= SEQUENCE { tbsCertificate, signatureAlgorithm, signatureValue }
    let (SEQUENCE, certificate, _) = element(certificate)? else {
        return None;
    };
    let (_, _, rest) = element(certificate)?;
    let (SEQUENCE, algorithm, _) = element(rest)? else {
        return None;
    };
    let (OBJECT_IDENTIFIER, name, parameters) = element(algorithm)? else {
        return None;
    };
    if name == RSA_PSS {
        return pss_hash(parameters);
    }
    let known = SIGNATURES.iter().find(|(oid, _)| *oid == name)?;
    Some(known.1)
}

/// `RSASSA-PSS-params`: the hash is the first, optional field; SHA-1 when it is left out.
fn pss_hash(parameters: &[u8]) -> Option<&'static Algorithm> {
    let (SEQUENCE, fields, _) = element(parameters)? else {
        return None;
    };
    let Some((FIRST_FIELD, field, _)) = element(fields) else {
        return Some(&SHA256);
    };
    let (SEQUENCE, algorithm, _) = element(field)? else {
        return None;
    };
    let (OBJECT_IDENTIFIER, name, _) = element(algorithm)? else {
        return None;
    };
    let known = HASHES.iter().find(|(oid, _)| *oid == name)?;
    Some(known.1)
}

/// One DER element: its tag, its content, what follows it.
fn element(input: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = input.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x84 => {
            let count = usize::from(first - 0x80);
            let bytes = rest.get(..count)?;
            let length = bytes
                .iter()
                .fold(0, |length, byte| (length << 8) | usize::from(*byte));
            (length, rest.get(count..)?)
        }
        _ => return None,
    };
    Some((tag, rest.get(..length)?, rest.get(length..)?))
}

const SEQUENCE: u8 = 0x30;
const OBJECT_IDENTIFIER: u8 = 0x06;
const FIRST_FIELD: u8 = 0xa0;

const RSA_PSS: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a";

/// Signature algorithms by their object identifiers: <https://www.rfc-editor.org/rfc/rfc8017#appendix-A.2.4>,
/// <https://www.rfc-editor.org/rfc/rfc5758>.
static SIGNATURES: [(&[u8], &Algorithm); 13] = [
    // RSA with MD5, SHA-1, SHA-224, SHA-256, SHA-384, SHA-512.
    (b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x04", &SHA256),
    (b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x05", &SHA256),
    (b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0e", &SHA224),
    (b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b", &SHA256),
    (b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0c", &SHA384),
    (b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0d", &SHA512),
    // ECDSA with SHA-1, SHA-224, SHA-256, SHA-384, SHA-512.
    (b"\x2a\x86\x48\xce\x3d\x04\x01", &SHA256),
    (b"\x2a\x86\x48\xce\x3d\x04\x03\x01", &SHA224),
    (b"\x2a\x86\x48\xce\x3d\x04\x03\x02", &SHA256),
    (b"\x2a\x86\x48\xce\x3d\x04\x03\x03", &SHA384),
    (b"\x2a\x86\x48\xce\x3d\x04\x03\x04", &SHA512),
    // DSA with SHA-1, SHA-256.
    (b"\x2a\x86\x48\xce\x38\x04\x03", &SHA256),
    (b"\x60\x86\x48\x01\x65\x03\x04\x03\x02", &SHA256),
];

static HASHES: [(&[u8], &Algorithm); 5] = [
    (b"\x2b\x0e\x03\x02\x1a", &SHA256),
    (b"\x60\x86\x48\x01\x65\x03\x04\x02\x04", &SHA224),
    (b"\x60\x86\x48\x01\x65\x03\x04\x02\x01", &SHA256),
    (b"\x60\x86\x48\x01\x65\x03\x04\x02\x02", &SHA384),
    (b"\x60\x86\x48\x01\x65\x03\x04\x02\x03", &SHA512),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn der(tag: u8, content: &[u8]) -> Vec<u8> {
        let mut out = vec![tag];
        if let Ok(short @ 0..0x80) = u8::try_from(content.len()) {
            out.push(short);
        } else {
            let length = u16::try_from(content.len()).expect("a test's");
            out.push(0x82);
            out.extend(length.to_be_bytes());
        }
        out.extend(content);
        out
    }

    /// Long enough for lengths of several bytes.
    fn certificate(oid: &[u8], parameters: &[u8]) -> Vec<u8> {
        let algorithm = [der(OBJECT_IDENTIFIER, oid), parameters.to_vec()].concat();
        let body = [
            der(SEQUENCE, &[7; 300]),
            der(SEQUENCE, &algorithm),
            der(3, &[0, 1, 2]),
        ]
        .concat();
        der(SEQUENCE, &body)
    }

    #[test]
    fn the_hash_is_that_of_the_signature_and_never_a_broken_one() {
        for (oid, algorithm) in SIGNATURES {
            let certificate = certificate(oid, &[5, 0]);
            let expected = digest(algorithm, &certificate);
            assert_eq!(
                tls_server_end_point(&certificate).as_deref(),
                Some(expected.as_ref())
            );
        }
        let length = |oid: &[u8]| tls_server_end_point(&certificate(oid, &[])).map(|it| it.len());
        assert_eq!(length(SIGNATURES[1].0), Some(32), "SHA-1");
        assert_eq!(length(b"\x2b\x65\x70"), None, "Ed25519");
    }

    #[test]
    fn pss_names_its_hash_in_its_parameters() {
        for (oid, algorithm) in HASHES {
            let hash = der(SEQUENCE, &der(OBJECT_IDENTIFIER, oid));
            let parameters = der(SEQUENCE, &der(FIRST_FIELD, &hash));
            let certificate = certificate(RSA_PSS, &parameters);
            let expected = digest(algorithm, &certificate);
            assert_eq!(
                tls_server_end_point(&certificate).as_deref(),
                Some(expected.as_ref())
            );
        }
        let default = certificate(RSA_PSS, &der(SEQUENCE, &[]));
        assert_eq!(tls_server_end_point(&default).map(|it| it.len()), Some(32));
    }

    #[test]
    fn a_certificate_that_is_cut_off_has_no_hash() {
        let whole = certificate(SIGNATURES[8].0, &[]);
        for end in 0..whole.len() {
            assert_eq!(tls_server_end_point(&whole[..end]), None, "{end} bytes");
        }
    }
}
