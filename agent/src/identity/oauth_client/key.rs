//! A private key from a PEM file, and JWTs signed with it.

use std::{
    fs::File,
    io::{self, Read},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::Path,
};

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
    },
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

/// Why a file is no key to sign with.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// It cannot be read.
    #[error("cannot read it")]
    Read(#[source] io::Error),
    /// Others can read or change it.
    #[error("others than its owner may use it (mode {mode:o}): chmod 600")]
    Open {
        /// Its mode.
        mode: u32,
    },
    /// It belongs to somebody else.
    #[error("it belongs to user {uid}, neither root nor the agent's")]
    Owner {
        /// To whom.
        uid: u32,
    },
    /// Not one of the kinds there are.
    #[error(
        "it holds no private key of P-256, RSA (2048 bits or more) or Ed25519 in PKCS #8 (`openssl pkcs8 -topk8 -nocrypt` converts others)"
    )]
    Kind,
    /// The library failed.
    #[error("cannot sign")]
    Sign,
}

/// A key and the algorithm that goes with it.
pub(super) enum SigningKey {
    Es256(EcdsaKeyPair),
    Rs256(RsaKeyPair),
    EdDsa(Ed25519KeyPair),
}

impl SigningKey {
    /// Reads a file that only its owner may read.
    pub(super) fn read(path: &Path) -> Result<Self, KeyError> {
        let file = File::options()
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(path)
            .map_err(KeyError::Read)?;
        let data = file.metadata().map_err(KeyError::Read)?;
        if !data.is_file() {
            return Err(KeyError::Read(io::Error::other("not a regular file")));
        }
        let mode = data.mode() & 0o7777;
        if mode & 0o077 != 0 {
            return Err(KeyError::Open { mode });
        }
        if data.uid() != 0 && data.uid() != nix::unistd::geteuid().as_raw() {
            return Err(KeyError::Owner { uid: data.uid() });
        }
        let mut text = Vec::new();
        file.take(FILE_BYTES)
            .read_to_end(&mut text)
            .map_err(KeyError::Read)?;
        Self::parse(&text)
    }

    fn parse(pem: &[u8]) -> Result<Self, KeyError> {
        let key = rustls_pemfile::private_key(&mut io::BufReader::new(pem))
            .ok()
            .flatten()
            .ok_or(KeyError::Kind)?;
        let der = key.secret_der();
        if let Ok(pair) = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der) {
            return Ok(Self::Es256(pair));
        }
        if let Ok(pair) = Ed25519KeyPair::from_pkcs8(der) {
            return Ok(Self::EdDsa(pair));
        }
        RsaKeyPair::from_pkcs8(der)
            .or_else(|_| RsaKeyPair::from_der(der))
            .map(Self::Rs256)
            .map_err(|_| KeyError::Kind)
    }

    /// A JWT with these claims.
    pub(super) fn sign(&self, key_id: Option<&str>, claims: &Value) -> Result<String, KeyError> {
        let algorithm = match self {
            Self::Es256(_) => "ES256",
            Self::Rs256(_) => "RS256",
            Self::EdDsa(_) => "EdDSA",
        };
        let mut header = json!({ "alg": algorithm, "typ": "JWT" });
        if let Some(id) = key_id {
            header["kid"] = json!(id);
        }
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&header), part(claims));
        let signature = self.signature(signed.as_bytes())?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    fn signature(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let random = SystemRandom::new();
        match self {
            Self::Es256(pair) => pair
                .sign(&random, message)
                .map(|signature| signature.as_ref().to_vec())
                .map_err(|_| KeyError::Sign),
            Self::EdDsa(pair) => Ok(pair.sign(message).as_ref().to_vec()),
            Self::Rs256(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature)
                    .map(|()| signature)
                    .map_err(|_| KeyError::Sign)
            }
        }
    }
}

/// More than any key takes.
const FILE_BYTES: u64 = 64 * 1024;

#[cfg(test)]
mod tests {
    use std::{os::unix::fs::PermissionsExt, process::Command};

    use jsonwebtoken::{Algorithm, DecodingKey, Validation};

    use super::*;

    fn made(folder: &Path, arguments: &[&str]) -> (std::path::PathBuf, Vec<u8>) {
        let file = folder.join(format!(
            "{}.pem",
            arguments.join("-").replace(['/', ':'], "_")
        ));
        let run = |arguments: &[&str]| {
            let output = Command::new("openssl").args(arguments).output();
            let output = output.expect("openssl");
            assert!(output.status.success(), "{output:?}");
            output.stdout
        };
        let path = file.to_str().expect("a path");
        run(&[&["genpkey", "-out", path, "-algorithm"], arguments].concat());
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).expect("a mode");
        let public = run(&["pkey", "-in", path, "-pubout", "-outform", "DER"]);
        (file, public)
    }

    #[test]
    fn each_kind_of_key_signs_what_its_public_half_verifies() {
        let folder = tempfile::tempdir().expect("a folder");
        let kinds: [(&[&str], Algorithm, usize); 3] = [
            (
                &["EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
                Algorithm::ES256,
                26,
            ),
            (
                &["RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
                Algorithm::RS256,
                24,
            ),
            (&["ED25519"], Algorithm::EdDSA, 12),
        ];
        for (arguments, algorithm, header_bytes) in kinds {
            let (file, public) = made(folder.path(), arguments);
            let key = SigningKey::read(&file).expect("a key");
            let token = key
                .sign(Some("k1"), &json!({ "sub": "me" }))
                .expect("a token");
            // The key itself follows the description of its kind.
            let raw = &public[header_bytes..];
            let public = match algorithm {
                Algorithm::ES256 => DecodingKey::from_ec_der(raw),
                Algorithm::EdDSA => DecodingKey::from_ed_der(raw),
                _ => DecodingKey::from_rsa_der(raw),
            };
            let mut validation = Validation::new(algorithm);
            validation.required_spec_claims.clear();
            let read = jsonwebtoken::decode::<Value>(&token, &public, &validation).expect("signed");
            assert_eq!(read.claims["sub"], "me");
            assert_eq!(read.header.kid.as_deref(), Some("k1"));
        }
    }

    #[test]
    fn a_key_that_others_may_read_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let (file, _) = made(folder.path(), &["ED25519"]);
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).expect("a mode");
        assert!(matches!(
            SigningKey::read(&file),
            Err(KeyError::Open { mode: 0o640 })
        ));
        assert!(matches!(SigningKey::parse(b"no key"), Err(KeyError::Kind)));
    }
}
