//! Certificates made on the spot: an authority, and what it signs for localhost.

use std::time::{Duration, SystemTime};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tokio_rustls::rustls::pki_types::CertificateDer;

pub(crate) const DAY: Duration = Duration::from_secs(24 * 3600);

/// Signs certificates.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: rcgen::Certificate,
}

/// A certificate and its key.
pub(crate) struct Pair {
    /// PEM.
    pub(crate) certificate: String,
    /// PEM.
    pub(crate) key: String,
    pub(crate) der: CertificateDer<'static>,
}

impl Authority {
    pub(crate) fn new() -> Authority {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // Each has a name of its own, as authorities have.
        let number = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos();
        params.distinguished_name.push(DnType::CommonName, format!("authority {number}"));
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Authority { issuer: Issuer::new(params, key), certificate }
    }

    pub(crate) fn pem(&self) -> String {
        self.certificate.pem()
    }

    pub(crate) fn der(&self) -> CertificateDer<'static> {
        self.certificate.der().clone()
    }

    /// A certificate for localhost that is good for a year.
    pub(crate) fn pair(&self) -> Pair {
        self.pair_until(SystemTime::now() + 365 * DAY)
    }

    pub(crate) fn pair_until(&self, not_after: SystemTime) -> Pair {
        self.pair_between(SystemTime::now() - 100 * DAY, not_after)
    }

    pub(crate) fn pair_between(&self, not_before: SystemTime, not_after: SystemTime) -> Pair {
        let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        let epoch = rcgen::date_time_ymd(1970, 1, 1);
        params.not_before = epoch + not_before.duration_since(SystemTime::UNIX_EPOCH).unwrap();
        params.not_after = epoch + not_after.duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Pair { certificate: certificate.pem(), key: key.serialize_pem(), der: certificate.der().clone() }
    }
}
