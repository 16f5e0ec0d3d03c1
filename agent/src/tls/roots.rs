//! The certificate authorities in a PEM file.

use std::{fs, io, path::Path};

use rustls::{Error, RootCertStore};

/// Why they cannot be used.
pub(super) enum RootsError {
    /// The file.
    Read(io::Error),
    /// One of them.
    Certificate(Error),
}

/// Reads all of them; a file without any gives an empty store.
pub(super) fn read_roots(path: &Path) -> Result<RootCertStore, RootsError> {
    let pem = fs::read(path).map_err(RootsError::Read)?;
    let mut roots = RootCertStore::empty();
    for certificate in rustls_pemfile::certs(&mut pem.as_slice()) {
        roots
            .add(certificate.map_err(RootsError::Read)?)
            .map_err(RootsError::Certificate)?;
    }
    Ok(roots)
}
