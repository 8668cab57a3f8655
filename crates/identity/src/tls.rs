//! TLS between workloads: version 1.3 only, both sides with an SVID, HTTP/2, no resumption, keys and bundles always
//! the current ones. Resumption stays off because a resumed session skips the certificate checks.

mod web;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::SystemTime;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, Resumption};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, ring, verify_tls13_signature};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{
    ClientConfig, CommonState, ConfigBuilder, ConfigSide, DigitallySignedStruct, DistinguishedName, PeerIncompatible,
    ServerConfig, SignatureScheme, WantsVerifier, WantsVersions,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

pub use web::{web_client_config, web_server_config};

use crate::id::SpiffeId;
use crate::rejection::Rejection;
use crate::source::{Source, TrustBundle};
use crate::verify::{check_chain, check_profile};
use crate::watch::sha256;

/// The ALPN name of HTTP/2 (RFC 9113, section 3.1): the only protocol between workloads.
const H2: &[u8] = b"h2";

/// Whose workloads a listener trusts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientTrust {
    /// Workloads of the own trust domain.
    OwnDomain,
    /// Also workloads of the trust domains whose bundles lie in `bundles`.
    OwnAndFederated,
}

/// The configuration of a listener that only workloads may reach. It follows the rotation of `source`: each
/// handshake uses the key and the bundles of its moment. Take the caller from [`peer_identity`] afterwards.
#[must_use]
pub fn server_config(source: &Source, trust: ClientTrust) -> Arc<ServerConfig> {
    let verifier = Verifier::new(source);
    let mut config = tls13(ServerConfig::builder_with_provider(provider()))
        .with_client_cert_verifier(Arc::new(ClientVerifier { verifier, trust }))
        .with_cert_resolver(Arc::new(CurrentKey(source.clone())));
    config.alpn_protocols = vec![H2.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    Arc::new(config)
}

/// The configuration of a client that talks to `expected` and to nobody else, of the own or a federated trust
/// domain. The server name that the connection is made with is neither sent nor checked; an IP address will do.
#[must_use]
pub fn client_config(source: &Source, expected: SpiffeId) -> Arc<ClientConfig> {
    client(source, expected, None)
}

/// The same for a server of a trust domain that no listener of this workload is to trust, such as whoever takes its spans:
/// the server has to be `expected` by `bundle` alone. The client's key follows the rotation of `source`; the bundle stays
/// what it is.
#[must_use]
pub fn client_config_beyond(source: &Source, expected: SpiffeId, bundle: TrustBundle) -> Arc<ClientConfig> {
    client(source, expected, Some(bundle))
}

fn client(source: &Source, expected: SpiffeId, beyond: Option<TrustBundle>) -> Arc<ClientConfig> {
    let verifier = Verifier::new(source);
    let mut config = tls13(ClientConfig::builder_with_provider(provider()))
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(ServerVerifier { verifier, expected, beyond }))
        .with_client_cert_resolver(Arc::new(CurrentKey(source.clone())));
    config.alpn_protocols = vec![H2.to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_sni = false;
    Arc::new(config)
}

/// The workload at the other end of a connection. Cheap to clone; make it once a connection.
#[derive(Clone)]
pub struct PeerIdentity {
    id: SpiffeId,
    not_after: SystemTime,
    certificate_sha256: [u8; 32],
    verified: Arc<Verified>,
}

/// What [`Source::still_trusted`] needs in order to verify again.
pub(crate) struct Verified {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    /// The digest of the bundles against which the chain was verified last; 0 before the first time.
    pub(crate) bundles: AtomicU64,
}

impl PeerIdentity {
    /// The identity that the certificate proves.
    #[must_use]
    pub const fn id(&self) -> &SpiffeId {
        &self.id
    }

    /// The end of the certificate's validity.
    #[must_use]
    pub const fn not_after(&self) -> SystemTime {
        self.not_after
    }

    /// The SHA-256 of the certificate, which names it in logs and records.
    #[must_use]
    pub const fn certificate_sha256(&self) -> [u8; 32] {
        self.certificate_sha256
    }

    pub(crate) fn verified(&self) -> &Verified {
        &self.verified
    }
}

impl fmt::Debug for PeerIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerIdentity").field("id", &self.id).field("not_after", &self.not_after).finish_non_exhaustive()
    }
}

/// The peer of a connection whose handshake, with one of the configurations of this module, is complete.
///
/// # Errors
/// If HTTP/2 was not agreed on (a client may leave out ALPN, which TLS alone lets pass), or there is no certificate.
pub fn peer_identity(connection: &CommonState) -> Result<PeerIdentity, Rejection> {
    if connection.alpn_protocol() != Some(H2) {
        return Err(Rejection::NoHttp2);
    }
    let chain = connection.peer_certificates().unwrap_or_default();
    let leaf_der = chain.first().ok_or(Rejection::NoCertificate)?;
    let leaf = check_profile(leaf_der)?;
    Ok(PeerIdentity {
        id: leaf.id,
        not_after: leaf.not_after,
        certificate_sha256: sha256(leaf_der),
        verified: Arc::new(Verified {
            chain: chain.iter().map(|certificate| certificate.clone().into_owned()).collect(),
            bundles: AtomicU64::new(0),
        }),
    })
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

#[expect(clippy::expect_used, reason = "fails only for a provider without TLS 1.3 suites, and ring's is compiled in")]
fn tls13<S: ConfigSide>(builder: ConfigBuilder<S, WantsVersions>) -> ConfigBuilder<S, WantsVerifier> {
    builder.with_protocol_versions(&[&rustls::version::TLS13]).expect("ring has cipher suites for TLS 1.3")
}

/// Offers the key that is current at the moment of the handshake.
#[derive(Debug)]
struct CurrentKey(Source);

impl ResolvesServerCert for CurrentKey {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(self.0.current().svid().certified()))
    }
}

impl ResolvesClientCert for CurrentKey {
    fn resolve(&self, _roots: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(self.0.current().svid().certified()))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// What both directions share: the checks of a chain, and of the proof that the peer holds the leaf's key.
#[derive(Debug)]
struct Verifier {
    source: Source,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Verifier {
    fn new(source: &Source) -> Self {
        Self { source: source.clone(), algorithms: ring::default_provider().signature_verification_algorithms }
    }

    fn chain(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        trust: ClientTrust,
        now: UnixTime,
    ) -> Result<SpiffeId, Rejection> {
        let chain: Vec<CertificateDer<'_>> = std::iter::once(leaf).chain(intermediates).cloned().collect();
        self.source.current().check_peer(&chain, trust, now)
    }

    fn proof_of_key(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, leaf, signed, &self.algorithms)
    }
}

#[derive(Debug)]
struct ClientVerifier {
    verifier: Verifier,
    trust: ClientTrust,
}

impl ClientCertVerifier for ClientVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // Hints would outlive a rotation, and a workload has one certificate to offer anyway.
        &[]
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        self.verifier.chain(leaf, intermediates, self.trust, now)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _leaf: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(PeerIncompatible::ServerDoesNotSupportTls12Or13.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.proof_of_key(message, leaf, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.algorithms.supported_schemes()
    }
}

#[derive(Debug)]
struct ServerVerifier {
    verifier: Verifier,
    expected: SpiffeId,
    /// The only bundle that counts, if it is none of the source's.
    beyond: Option<TrustBundle>,
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let found = match &self.beyond {
            None => self.verifier.chain(leaf, intermediates, ClientTrust::OwnAndFederated, now)?,
            Some(bundle) => {
                let chain: Vec<_> = std::iter::once(leaf).chain(intermediates).cloned().collect();
                let bundle_of = |id: &SpiffeId| {
                    let own = id.trust_domain() == bundle.trust_domain();
                    own.then_some(bundle).ok_or_else(|| Rejection::ForeignTrustDomain { claimed: id.clone() })
                };
                check_chain(&chain, bundle_of, self.verifier.algorithms.all, now)?.id
            }
        };
        if found == self.expected {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(Rejection::UnexpectedId { expected: self.expected.clone(), found }.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _leaf: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(PeerIncompatible::ServerDoesNotSupportTls12Or13.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.proof_of_key(message, leaf, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.algorithms.supported_schemes()
    }
}
