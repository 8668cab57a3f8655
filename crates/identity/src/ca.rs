//! A small certificate authority for `sekat up` and for tests, and the writer of the directories that
//! [`Source`](crate::Source) reads. Production uses an authority of its own; only the files are the interface.

mod files;

use std::fmt;
use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, SystemTime};

use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType,
};
use time::OffsetDateTime;

pub use files::write_identity;

use crate::id::{SpiffeId, SpiffeIdError, check_trust_domain};
use crate::source::{SourceError, TrustBundle, certified_key};
use crate::verify::MAX_SVID_LIFETIME;

/// How long a root is valid. `sekat up` keeps its authorities with the data directory, for as long as that lives.
const ROOT_LIFETIME: Duration = Duration::from_hours(10 * 365 * 24);
/// The longest validity of a web server's certificate, which is that of the public web (CA/Browser Forum, 6.3.2).
const MAX_WEB_LIFETIME: Duration = Duration::from_hours(398 * 24);
/// Certificates are valid from a moment ago, so that a peer whose clock is behind accepts them.
const BACKDATE: Duration = Duration::from_mins(1);
/// Of a directory that keeps an authority: the certificate alone, for whoever is to trust it.
const CERTIFICATE_FILE: &str = "authority.pem";
/// Of the same, key and certificate in one file, so that a crash cannot leave a pair that does not fit.
const KEY_FILE: &str = "authority.key";
/// Where the key ends and the certificate begins (RFC 7468).
const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----";

/// A root certificate and its key (ECDSA P-256), for one trust domain.
pub struct CertificateAuthority {
    trust_domain: String,
    certificate_pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate chain and its key, both PEM.
pub struct Issued {
    /// The chain, leaf first. The root is not part of it.
    pub chain_pem: String,
    /// The private key, PKCS #8. A secret.
    pub key_pem: String,
}

impl fmt::Debug for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issued").finish_non_exhaustive()
    }
}

impl CertificateAuthority {
    /// Makes a new authority for `trust_domain`. It may sign leaves and no further authority.
    ///
    /// # Errors
    /// If `trust_domain` is none.
    pub fn new(trust_domain: &str) -> Result<Self, CaError> {
        check_trust_domain(trust_domain)?;
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let now = SystemTime::now();
        let mut root = CertificateParams::default();
        root.not_before = OffsetDateTime::from(now - BACKDATE);
        root.not_after = OffsetDateTime::from(now + ROOT_LIFETIME);
        root.distinguished_name = subject(trust_domain);
        root.subject_alt_names = vec![SanType::URI(format!("spiffe://{trust_domain}").try_into()?)];
        root.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        root.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate_pem = root.self_signed(&key)?.pem();
        Self::from_pem(trust_domain, &certificate_pem, &key.serialize_pem())
    }

    /// An authority from its PEM certificate and key.
    ///
    /// # Errors
    /// If one is malformed, they do not belong together, or the certificate may not sign for `trust_domain`.
    pub fn from_pem(trust_domain: &str, certificate_pem: &str, key_pem: &str) -> Result<Self, CaError> {
        TrustBundle::from_pem(trust_domain, certificate_pem.as_bytes())?;
        certified_key(CERTIFICATE_FILE, certificate_pem.as_bytes(), KEY_FILE, key_pem.as_bytes())?;
        let issuer = Issuer::from_ca_cert_pem(certificate_pem, KeyPair::from_pem(key_pem)?)?;
        Ok(Self { trust_domain: trust_domain.to_owned(), certificate_pem: certificate_pem.to_owned(), issuer })
    }

    /// Loads the authority that is kept in `dir`, or makes one there.
    ///
    /// # Errors
    /// If the files cannot be read or written, or are malformed.
    pub fn open_or_create(dir: &Path, trust_domain: &str) -> Result<Self, CaError> {
        let whole = dir.join(KEY_FILE);
        if whole.exists() {
            let pem = files::read(&whole)?;
            let (key, certificate) = pem.split_at(pem.find(CERTIFICATE).unwrap_or(pem.len()));
            let authority = Self::from_pem(trust_domain, certificate, key)?;
            authority.publish(dir)?;
            return Ok(authority);
        }
        let authority = Self::new(trust_domain)?;
        authority.save(dir)?;
        Ok(authority)
    }

    /// Keeps the authority in `dir`, in place of one that is there.
    ///
    /// # Errors
    /// If the files cannot be written; what was there before is then still in force.
    pub fn save(&self, dir: &Path) -> Result<(), CaError> {
        files::create_dir(dir)?;
        files::replace(&dir.join(KEY_FILE), &format!("{}{}", self.key_pem(), self.certificate_pem))?;
        self.publish(dir)
    }

    /// The file may be missing or old: a crash can come between the two.
    fn publish(&self, dir: &Path) -> Result<(), CaError> {
        files::replace(&dir.join(CERTIFICATE_FILE), &self.certificate_pem)
    }

    /// The trust domain.
    #[must_use]
    pub fn trust_domain(&self) -> &str {
        &self.trust_domain
    }

    /// The trust bundle: the root certificate, PEM.
    #[must_use]
    pub fn bundle_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// The private key, PKCS #8 PEM. A secret.
    #[must_use]
    pub fn key_pem(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    /// Issues an SVID with a new key, valid from a minute ago for `validity` from now.
    ///
    /// # Errors
    /// If `id` is of another trust domain, or `validity` is longer than verifiers accept.
    pub fn issue(&self, id: &SpiffeId, validity: Duration) -> Result<Issued, CaError> {
        if id.trust_domain() != self.trust_domain {
            return Err(CaError::ForeignTrustDomain { id: id.clone(), trust_domain: self.trust_domain.clone() });
        }
        check_lifetime(validity, MAX_SVID_LIFETIME)?;
        self.issue_with(&CertificateProfile::svid(id, validity))
    }

    /// Issues a web server's certificate with a new key, valid from a minute ago for `validity` from now.
    ///
    /// # Errors
    /// If a name is no host name, or `validity` is longer than 398 days.
    pub fn issue_web_server(
        &self,
        names: &[&str],
        addresses: &[IpAddr],
        validity: Duration,
    ) -> Result<Issued, CaError> {
        check_lifetime(validity, MAX_WEB_LIFETIME)?;
        let mut profile = CertificateProfile::empty(validity);
        profile.dns_names = names.iter().map(|name| (*name).to_owned()).collect();
        profile.addresses = addresses.to_vec();
        profile.extended_key_usage = ExtendedKeyUsage::Server;
        self.issue_with(&profile)
    }

    /// Issues whatever `profile` says, right or wrong: the way to certificates that verifiers must refuse.
    ///
    /// # Errors
    /// If a name cannot be written into a certificate.
    pub fn issue_with(&self, profile: &CertificateProfile) -> Result<Issued, CaError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let certificate = profile.params()?.signed_by(&key, &self.issuer)?;
        Ok(Issued { chain_pem: certificate.pem(), key_pem: key.serialize_pem() })
    }
}

impl fmt::Debug for CertificateAuthority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertificateAuthority").field("trust_domain", &self.trust_domain).finish_non_exhaustive()
    }
}

/// What a leaf says. [`CertificateProfile::svid`] is right; each field can be made wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateProfile {
    /// The URIs among the subject alternative names.
    pub uris: Vec<String>,
    /// The host names among them.
    pub dns_names: Vec<String>,
    /// The addresses among them.
    pub addresses: Vec<IpAddr>,
    /// The first moment of validity.
    pub not_before: SystemTime,
    /// The last one.
    pub not_after: SystemTime,
    /// Whether the basic constraints make it a certificate authority.
    pub authority: bool,
    /// The key usage.
    pub key_usage: KeyUsage,
    /// The extended key usage.
    pub extended_key_usage: ExtendedKeyUsage,
}

/// The key usage of a leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyUsage {
    /// `digitalSignature`, critical: that of an SVID.
    Signature,
    /// The same, not critical.
    NotCritical,
    /// `digitalSignature` and `keyCertSign`.
    SignsCertificates,
    /// `digitalSignature` and `cRLSign`.
    SignsRevocations,
    /// `keyAgreement` alone.
    AgreementOnly,
    /// No such extension.
    Absent,
}

/// The extended key usage of a leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExtendedKeyUsage {
    /// Server and client authentication: that of an SVID.
    Both,
    /// Server authentication alone.
    Server,
    /// Client authentication alone.
    Client,
    /// No such extension.
    Absent,
}

impl CertificateProfile {
    /// The profile of the SVID of `id`, valid from a minute ago for `validity` from now.
    #[must_use]
    pub fn svid(id: &SpiffeId, validity: Duration) -> Self {
        let mut profile = Self::empty(validity);
        profile.uris = vec![id.to_string()];
        profile
    }

    fn empty(validity: Duration) -> Self {
        let now = SystemTime::now();
        Self {
            uris: Vec::new(),
            dns_names: Vec::new(),
            addresses: Vec::new(),
            not_before: now - BACKDATE,
            not_after: now + validity,
            authority: false,
            key_usage: KeyUsage::Signature,
            extended_key_usage: ExtendedKeyUsage::Both,
        }
    }

    fn params(&self) -> Result<CertificateParams, CaError> {
        let mut params = CertificateParams::default();
        params.not_before = OffsetDateTime::from(self.not_before);
        params.not_after = OffsetDateTime::from(self.not_after);
        params.distinguished_name = subject("workload");
        params.use_authority_key_identifier_extension = true;
        params.is_ca = if self.authority { IsCa::Ca(BasicConstraints::Unconstrained) } else { IsCa::ExplicitNoCa };
        let name = |text: &String| Ia5String::try_from(text.as_str());
        for uri in &self.uris {
            params.subject_alt_names.push(SanType::URI(name(uri)?));
        }
        for dns_name in &self.dns_names {
            params.subject_alt_names.push(SanType::DnsName(name(dns_name)?));
        }
        params.subject_alt_names.extend(self.addresses.iter().map(|address| SanType::IpAddress(*address)));
        match self.key_usage {
            KeyUsage::NotCritical => params.custom_extensions.push(key_usage_not_critical()),
            other => params.key_usages = other.purposes(),
        }
        params.extended_key_usages = self.extended_key_usage.purposes();
        Ok(params)
    }
}

impl KeyUsage {
    fn purposes(self) -> Vec<KeyUsagePurpose> {
        use KeyUsagePurpose::{CrlSign, DigitalSignature, KeyAgreement, KeyCertSign};
        match self {
            Self::Signature | Self::NotCritical => vec![DigitalSignature],
            Self::SignsCertificates => vec![DigitalSignature, KeyCertSign],
            Self::SignsRevocations => vec![DigitalSignature, CrlSign],
            Self::AgreementOnly => vec![KeyAgreement],
            Self::Absent => Vec::new(),
        }
    }
}

impl ExtendedKeyUsage {
    fn purposes(self) -> Vec<ExtendedKeyUsagePurpose> {
        use ExtendedKeyUsagePurpose::{ClientAuth, ServerAuth};
        match self {
            Self::Both => vec![ServerAuth, ClientAuth],
            Self::Server => vec![ServerAuth],
            Self::Client => vec![ClientAuth],
            Self::Absent => Vec::new(),
        }
    }
}

/// Key usage as `rcgen` does not write it: `digitalSignature` in an extension that is not critical.
fn key_usage_not_critical() -> CustomExtension {
    const KEY_USAGE_OID: [u64; 4] = [2, 5, 29, 15];
    // BIT STRING of one bit, set (RFC 5280, section 4.2.1.3).
    CustomExtension::from_oid_content(&KEY_USAGE_OID, vec![0x03, 0x02, 0x07, 0x80])
}

fn check_lifetime(validity: Duration, longest: Duration) -> Result<(), CaError> {
    if validity.saturating_add(BACKDATE) > longest { Err(CaError::Lifetime { validity, longest }) } else { Ok(()) }
}

/// The subject says nothing that anybody reads: identities are in the alternative names.
fn subject(common_name: &str) -> DistinguishedName {
    /// The longest common name (RFC 5280, appendix A.1).
    const MAX_COMMON_NAME: usize = 64;
    let mut name = DistinguishedName::new();
    name.push(DnType::OrganizationName, "sekat");
    name.push(DnType::CommonName, common_name.chars().take(MAX_COMMON_NAME).collect::<String>());
    name
}

/// Why a certificate is not issued, kept or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CaError {
    /// Not a trust domain.
    #[error("the certificate authority is not named after a trust domain")]
    TrustDomain(#[from] SpiffeIdError),
    /// The identity belongs to another authority.
    #[error("{id} is not of the trust domain {trust_domain}; ask its own certificate authority")]
    ForeignTrustDomain {
        /// The identity that was asked for.
        id: SpiffeId,
        /// The authority's trust domain.
        trust_domain: String,
    },
    /// Verifiers would refuse the certificate.
    #[error("a certificate for {validity:?} would be refused; ask for less than {longest:?}")]
    Lifetime {
        /// The validity that was asked for.
        validity: Duration,
        /// The longest that is accepted, the minute before now included.
        longest: Duration,
    },
    /// The authority's certificate and key cannot sign for its trust domain.
    #[error("the authority's certificate and key are of no use; move them away and make new ones")]
    Authority(#[from] SourceError),
    /// Making or reading a certificate failed.
    #[error("the certificate or its key cannot be made or read")]
    Certificate(#[from] rcgen::Error),
    /// A file cannot be read or written.
    #[error("cannot read or write {}; check that this user may", path.display())]
    File {
        /// The file or directory.
        path: std::path::PathBuf,
        /// The cause.
        source: std::io::Error,
    },
}
