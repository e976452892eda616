//! A certificate and its private key, read from PEM files (RFC 7468) and checked as far as a server can check its own.

use std::{
    fs::File,
    io::{self, Read},
    os::unix::fs::PermissionsExt,
    path::Path,
    time::{Duration, SystemTime},
};

use tokio_rustls::rustls::{
    Error, InconsistentKeys,
    crypto::ring,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject},
    },
    sign::CertifiedKey,
};
use x509_cert::{Certificate, der::Decode, time::Time};

use super::TlsError;
use crate::config;

/// Far more than any chain; a device given by mistake ends here and not in the memory.
const MAX_FILE_BYTES: u64 = 1 << 20;
/// Read by everybody on the machine.
const WORLD_READABLE: u32 = 0o004;

/// What a server shows and how it proves that it is its own.
#[derive(Debug)]
pub(super) struct Identity {
    pub(super) certified: CertifiedKey,
    pub(super) not_after: Time,
}

/// Reads a certificate, with the chain behind it, and its key.
///
/// # Errors
/// A file cannot be read or has nothing of use, the key is that of another certificate, or the certificate is not valid at `now`.
pub(super) fn read(files: &config::Tls, now: SystemTime) -> Result<Identity, TlsError> {
    let config::Tls { certificate, key } = files;
    let chain = certificates(certificate)?;
    let private = private_key(key)?;
    let certified = CertifiedKey::from_der(chain, private, &ring::default_provider());
    let certified = certified.map_err(|error| match error {
        Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            wrong(key, format!("is not the key of the first certificate in {}", certificate.display()))
        }
        // Of a key that ring does not take, rustls says no more than that.
        error @ Error::General(_) => wrong(key, format!("the private key cannot be used: {error}")),
        error => wrong(certificate, format!("cannot be used: {error}")),
    })?;
    let leaf = certified.cert.first().map(|leaf| Certificate::from_der(leaf));
    let Some(Ok(leaf)) = leaf else { return Err(wrong(certificate, "the first certificate cannot be parsed")) };
    let validity = leaf.tbs_certificate().validity();
    let since_epoch = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    if since_epoch > validity.not_after.to_unix_duration() {
        return Err(wrong(certificate, format!("the certificate expired at {}", validity.not_after)));
    }
    if since_epoch < validity.not_before.to_unix_duration() {
        let text = format!("the certificate is not valid before {}; is the clock right?", validity.not_before);
        return Err(wrong(certificate, text));
    }
    Ok(Identity { not_after: validity.not_after, certified })
}

/// Warns of a key that others can read: whoever has it can pretend to be this server.
pub(super) fn warn_of_open_key(key: &Path) {
    let mode = key.metadata().map(|found| found.permissions().mode()).unwrap_or_default();
    if mode & WORLD_READABLE != 0 {
        log::warn!("{}: every user of this machine can read this private key; chmod o-r it", key.display());
    }
}

/// The certificates of a file, in their order; one at least.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = text_of(path)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match certificates {
        Ok(certificates) if certificates.is_empty() => Err(wrong(path, "there is no certificate in it (PEM)")),
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(wrong(path, format!("is no PEM file: {error}"))),
    }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let text = text_of(path)?;
    PrivateKeyDer::from_pem_slice(&text).map_err(|error| match error {
        pem::Error::NoItemsFound if text.windows(9).any(|word| word == b"ENCRYPTED") => {
            wrong(path, "the private key is encrypted, and there is nobody to ask for its passphrase")
        }
        pem::Error::NoItemsFound => wrong(path, "there is no private key in it (PEM)"),
        error => wrong(path, format!("is no PEM file: {error}")),
    })
}

fn text_of(path: &Path) -> Result<Vec<u8>, TlsError> {
    let mut text = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut text));
    match read {
        Ok(_) if text.len() as u64 > MAX_FILE_BYTES => Err(wrong(path, "is longer than 1 MiB")),
        Ok(_) => Ok(text),
        Err(error) => Err(cannot_read(path, &error)),
    }
}

fn cannot_read(path: &Path, error: &io::Error) -> TlsError {
    wrong(path, format!("cannot be read: {error}"))
}

pub(super) fn wrong(path: &Path, reason: impl Into<String>) -> TlsError {
    TlsError { path: path.to_owned(), reason: reason.into() }
}

/// How long something is valid from `now` on.
pub(super) fn left(not_after: Time, now: SystemTime) -> Duration {
    let since_epoch = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    not_after.to_unix_duration().saturating_sub(since_epoch)
}
