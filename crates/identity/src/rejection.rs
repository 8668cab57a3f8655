//! Why a connection was refused: one value for each check, with a stable name for logs and counters.

use std::error::Error;
use std::io;
use std::sync::Arc;

use rustls::{AlertDescription, CertificateError, OtherError, PeerIncompatible};

use crate::id::{SpiffeId, SpiffeIdError};

/// Why a peer is not let in. [`Rejection::name`] is stable: dashboards and tests count by it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Rejection {
    // The connection.
    /// The peer does not speak TLS.
    #[error("the peer does not speak TLS")]
    NotTls,
    /// The peer offers no version, cipher suite or key exchange that is accepted here.
    #[error("the peer cannot do TLS 1.3 with an accepted cipher suite")]
    Incompatible,
    /// HTTP/2 was not agreed on by ALPN.
    #[error("the peer did not agree on HTTP/2 by ALPN")]
    NoHttp2,
    /// The peer presented no certificate.
    #[error("the peer presented no certificate")]
    NoCertificate,
    /// The peer could not prove that it holds its certificate's key.
    #[error("the peer did not prove that it holds the key of its certificate")]
    NoProofOfKey,
    /// The peer refused us.
    #[error("the peer refused this side by a TLS alert")]
    RefusedByPeer,
    /// The connection broke before the handshake ended.
    #[error("the connection ended within the handshake")]
    Disconnected,
    /// The handshake was not over in time.
    #[error("the handshake was not over in time")]
    TimedOut,
    /// A record that was not sealed by the peer for this place in this connection: altered, replayed or forged.
    #[error("a record was altered, replayed or forged on the way")]
    BadRecord,
    /// The handshake failed otherwise.
    #[error("the TLS handshake failed")]
    Handshake,

    // The leaf.
    /// The leaf is not one well-formed X.509 version 3 certificate.
    #[error("the certificate is malformed")]
    MalformedCertificate,
    /// No URI among the subject alternative names.
    #[error("the certificate names no SPIFFE ID")]
    NoUriSan,
    /// More than one URI among the subject alternative names, of whatever scheme (X509-SVID, section 2).
    #[error("the certificate names more than one URI")]
    SeveralUriSans,
    /// The URI is not a workload's SPIFFE ID.
    #[error("the certificate's URI is not a workload's SPIFFE ID")]
    BadSpiffeId(#[source] SpiffeIdError),
    /// The leaf may sign certificates by its basic constraints (X509-SVID, section 4.1).
    #[error("a signing certificate does not authenticate a workload")]
    SigningCertificate,
    /// No key usage extension (X509-SVID, section 4.3).
    #[error("the certificate has no key usage")]
    NoKeyUsage,
    /// The key usage extension is not critical (X509-SVID, section 4.3).
    #[error("the certificate's key usage is not marked critical")]
    KeyUsageNotCritical,
    /// The key may not make signatures.
    #[error("the certificate's key usage lacks digitalSignature")]
    NoDigitalSignature,
    /// The key may sign certificates or revocation lists by its key usage.
    #[error("the certificate's key usage has keyCertSign or cRLSign")]
    KeyUsageSigns,
    /// An extended key usage without both server and client authentication (X509-SVID, section 4.4).
    #[error("the certificate's extended key usage lacks server or client authentication")]
    ExtendedKeyUsage,
    /// Valid for longer than [`MAX_SVID_LIFETIME`](crate::MAX_SVID_LIFETIME).
    #[error("the certificate is valid for longer than is accepted")]
    LifetimeTooLong,
    /// A certificate of the chain is no longer valid.
    #[error("the certificate has expired")]
    Expired,
    /// A certificate of the chain is not yet valid.
    #[error("the certificate is not yet valid")]
    NotYetValid,

    // Trust.
    /// The peer's trust domain is not trusted here. Who the peer is was therefore not checked: it is what its
    /// certificate claims.
    #[error("the trust domain of {claimed}, as the certificate claims, is not trusted here")]
    ForeignTrustDomain {
        /// The identity in the certificate, of whomever has made it.
        claimed: SpiffeId,
    },
    /// No path of signatures to the bundle of the peer's own trust domain.
    #[error("the certificate was not issued by its own trust domain")]
    UntrustedIssuer,
    /// A path exists but breaks a rule of RFC 5280: path length, an unknown critical extension, an algorithm.
    #[error("the certificate's path is not valid")]
    InvalidPath,
    /// The server is a trusted workload, but not the one that was asked for.
    #[error("the server is {found}, not the expected {expected}")]
    UnexpectedId {
        /// The identity that the client insists on.
        expected: SpiffeId,
        /// The identity in the server's certificate.
        found: SpiffeId,
    },
}

impl Rejection {
    /// The stable name of the check, in `snake_case`.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::NotTls => "not_tls",
            Self::Incompatible => "incompatible",
            Self::NoHttp2 => "no_http2",
            Self::NoCertificate => "no_certificate",
            Self::NoProofOfKey => "no_proof_of_key",
            Self::RefusedByPeer => "refused_by_peer",
            Self::Disconnected => "disconnected",
            Self::TimedOut => "timed_out",
            Self::BadRecord => "bad_record",
            Self::Handshake => "handshake",
            Self::MalformedCertificate => "malformed_certificate",
            Self::NoUriSan => "no_uri_san",
            Self::SeveralUriSans => "several_uri_sans",
            Self::BadSpiffeId(_) => "bad_spiffe_id",
            Self::SigningCertificate => "signing_certificate",
            Self::NoKeyUsage => "no_key_usage",
            Self::KeyUsageNotCritical => "key_usage_not_critical",
            Self::NoDigitalSignature => "no_digital_signature",
            Self::KeyUsageSigns => "key_usage_signs",
            Self::ExtendedKeyUsage => "extended_key_usage",
            Self::LifetimeTooLong => "lifetime_too_long",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::ForeignTrustDomain { .. } => "foreign_trust_domain",
            Self::UntrustedIssuer => "untrusted_issuer",
            Self::InvalidPath => "invalid_path",
            Self::UnexpectedId { .. } => "unexpected_id",
        }
    }

    /// Who a peer that was refused for its trust domain says it is. Nobody has checked that: anybody can make such a
    /// certificate.
    #[must_use]
    pub const fn claimed(&self) -> Option<&SpiffeId> {
        match self {
            Self::ForeignTrustDomain { claimed } => Some(claimed),
            _ => None,
        }
    }

    /// Why a handshake that `tokio-rustls` gave up failed.
    #[must_use]
    pub fn of_handshake(error: &io::Error) -> Self {
        let broke = if error.kind() == io::ErrorKind::TimedOut { Self::TimedOut } else { Self::Disconnected };
        Self::find(error).unwrap_or(broke)
    }

    /// The rejection or TLS error somewhere in the causes of `error`, for instance of a client's transport error.
    #[must_use]
    pub fn find(error: &(dyn Error + 'static)) -> Option<Self> {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(rejection) = error.downcast_ref::<Self>() {
                return Some(rejection.clone());
            }
            if let Some(tls) = error.downcast_ref::<rustls::Error>() {
                return Some(Self::of_tls(tls));
            }
            // An `io::Error` skips the error that it wraps when it is asked for its source.
            let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
            next = match wrapped {
                Some(wrapped) => Some(wrapped),
                None => error.source(),
            };
        }
        None
    }

    fn of_tls(error: &rustls::Error) -> Self {
        match error {
            rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(cause))) => {
                cause.downcast_ref::<Self>().cloned().unwrap_or(Self::Handshake)
            }
            rustls::Error::InvalidCertificate(CertificateError::BadSignature) => Self::NoProofOfKey,
            rustls::Error::NoCertificatesPresented
            | rustls::Error::PeerIncompatible(PeerIncompatible::NoCertificateRequestSignatureSchemesInCommon) => {
                Self::NoCertificate
            }
            rustls::Error::NoApplicationProtocol
            | rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol) => Self::NoHttp2,
            rustls::Error::PeerIncompatible(_) | rustls::Error::AlertReceived(AlertDescription::ProtocolVersion) => {
                Self::Incompatible
            }
            rustls::Error::DecryptError => Self::BadRecord,
            rustls::Error::InvalidMessage(_) => Self::NotTls,
            rustls::Error::AlertReceived(_) => Self::RefusedByPeer,
            _ => Self::Handshake,
        }
    }
}

impl From<Rejection> for rustls::Error {
    fn from(rejection: Rejection) -> Self {
        Self::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(rejection))))
    }
}

impl From<webpki::Error> for Rejection {
    fn from(error: webpki::Error) -> Self {
        match error {
            webpki::Error::CertExpired { .. } => Self::Expired,
            webpki::Error::CertNotValidYet { .. } => Self::NotYetValid,
            webpki::Error::UnknownIssuer | webpki::Error::InvalidSignatureForPublicKey => Self::UntrustedIssuer,
            webpki::Error::BadDer | webpki::Error::BadDerTime | webpki::Error::TrailingData(_) => {
                Self::MalformedCertificate
            }
            _ => Self::InvalidPath,
        }
    }
}
