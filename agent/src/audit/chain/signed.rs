//! Signed texts beside the segments, a field a line: how they are read, and written whole or not at all.

use std::{fs, io, path::Path, str::Lines};

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{
    key::{PublicKey, SigningKey},
    seal::SealError,
};

/// What stands before the signature, at the start of the last line.
const SIGNATURE: &str = "signature ";

/// What such a text states.
pub(super) trait Stated: Sized {
    /// The text without its signature.
    fn text(&self) -> String;

    /// What the text states; what follows its fields is not looked at.
    fn fields(text: &str) -> Option<Self>;
}

/// Reads a text; `None` when the file is not there.
pub(super) fn read<T: Stated>(path: &Path, key: &PublicKey) -> Result<Option<T>, SealError> {
    match fs::read_to_string(path) {
        Ok(text) => parse(&text, key).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(SealError::Malformed),
        Err(error) => Err(SealError::Read(error)),
    }
}

/// What a text states that the key has signed.
pub(super) fn parse<T: Stated>(text: &str, key: &PublicKey) -> Result<T, SealError> {
    let at = text.find(SIGNATURE).ok_or(SealError::Malformed)?;
    let (signed, signature) = text.split_at(at);
    let stated = T::fields(signed).ok_or(SealError::Malformed)?;
    let signature = signature
        .strip_prefix(SIGNATURE)
        .and_then(|signature| signature.strip_suffix('\n'))
        .and_then(|signature| STANDARD.decode(signature).ok())
        .ok_or(SealError::Malformed)?;
    // Written again from its fields, it has to be the same text: there is one spelling.
    if stated.text() != signed || !key.verify(signed.as_bytes(), &signature) {
        return Err(SealError::Signature);
    }
    Ok(stated)
}

/// Signs a text and writes it to `path` in `dir`, by way of `draft`.
pub(super) fn write(
    dir: &Path,
    draft: &str,
    path: &Path,
    stated: &impl Stated,
    key: &SigningKey,
) -> io::Result<()> {
    let text = stated.text();
    let signature = STANDARD.encode(key.sign(text.as_bytes()));
    let draft = dir.join(draft);
    fs::write(&draft, format!("{text}{SIGNATURE}{signature}\n"))?;
    fs::File::open(&draft)?.sync_all()?;
    fs::rename(&draft, path)?;
    fs::File::open(dir)?.sync_all()
}

/// The fields of a text, in their order.
pub(super) struct Fields<'a>(Lines<'a>);

impl<'a> Fields<'a> {
    /// Those below the title; `None` where another stands.
    pub(super) fn below(title: &str, text: &'a str) -> Option<Self> {
        let mut lines = text.lines();
        (lines.next() == Some(title)).then_some(Self(lines))
    }

    /// The next one, a number.
    pub(super) fn number(&mut self, name: &str) -> Option<u64> {
        self.next(name)?.parse().ok()
    }

    /// The next one, bytes in hexadecimal.
    pub(super) fn bytes<const COUNT: usize>(&mut self, name: &str) -> Option<[u8; COUNT]> {
        hex::decode(self.next(name)?).ok()?.try_into().ok()
    }

    fn next(&mut self, name: &str) -> Option<&'a str> {
        self.0.next()?.strip_prefix(name)?.strip_prefix(' ')
    }
}
