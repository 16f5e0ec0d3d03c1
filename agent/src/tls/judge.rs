//! Servers whose certificate is judged otherwise than by the web's rules; the handshake's own signature is always checked.

use std::{fmt::Debug, sync::Arc};

use rustls::{
    DigitallySignedStruct, Error, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{self, CryptoProvider},
    pki_types::{CertificateDer, ServerName, UnixTime},
};

/// What a server shows.
#[derive(Debug, Clone, Copy)]
pub struct Shown<'a> {
    /// Its own certificate.
    pub certificate: &'a CertificateDer<'a>,
    /// What leads from there to an authority.
    pub intermediates: &'a [CertificateDer<'a>],
    /// What it was called by.
    pub name: &'a ServerName<'a>,
    /// What its authority says of the certificate; may be empty.
    pub ocsp_response: &'a [u8],
    /// When it is shown.
    pub now: UnixTime,
}

/// Decides whether a server is the right one.
pub trait Judge: Debug + Send + Sync {
    /// Judges what a server shows.
    ///
    /// # Errors
    ///
    /// When the server is not to be spoken to.
    fn judge(&self, shown: &Shown<'_>) -> Result<(), Error>;
}

/// Asks a [`Judge`] about the certificate, and holds the handshake's signature against it.
#[derive(Debug)]
pub struct Judged<J> {
    /// Who decides.
    pub judge: J,
    /// What checks signatures.
    pub provider: Arc<CryptoProvider>,
}

impl<J: Judge> ServerCertVerifier for Judged<J> {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let shown = Shown {
            certificate,
            intermediates,
            name,
            ocsp_response,
            now,
        };
        self.judge.judge(&shown)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
