//! Two certificate authorities, identity directories made of them, and a handshake over a loopback socket.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring::default_provider;
use rustls::{ClientConfig, CommonState, DigitallySignedStruct, ServerConfig, SignatureScheme};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use sekat_identity::ca::{CertificateAuthority, CertificateProfile, Issued, write_identity};
use sekat_identity::{Rejection, Source, SpiffeId};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

pub(crate) const HOUR: Duration = Duration::from_secs(3600);
/// No single wait of a test is longer; reaching it is a failure.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
pub(crate) const PAYMENT: &str = "spiffe://commerce.sekat.local/payment";
pub(crate) const ORDER: &str = "spiffe://commerce.sekat.local/order";
pub(crate) const SHOWCASE: &str = "spiffe://showcase.sekat.local/showcase";

pub(crate) fn id(text: &str) -> SpiffeId {
    text.parse().unwrap()
}

/// Both domains, each with its authority, and a place for identity directories.
pub(crate) struct World {
    pub(crate) dir: TempDir,
    pub(crate) commerce: CertificateAuthority,
    pub(crate) showcase: CertificateAuthority,
}

impl World {
    pub(crate) fn new() -> Self {
        Self {
            dir: TempDir::new().unwrap(),
            commerce: CertificateAuthority::new("commerce.sekat.local").unwrap(),
            showcase: CertificateAuthority::new("showcase.sekat.local").unwrap(),
        }
    }

    pub(crate) fn authority(&self, id: &SpiffeId) -> &CertificateAuthority {
        if id.trust_domain() == self.commerce.trust_domain() { &self.commerce } else { &self.showcase }
    }

    /// The other trust domain of a workload and its roots, as [`write_identity`] takes it.
    pub(crate) fn federated(&self, id: &SpiffeId) -> Vec<(String, String)> {
        let others = [&self.commerce, &self.showcase].into_iter().filter(|ca| ca.trust_domain() != id.trust_domain());
        others.map(|ca| (ca.trust_domain().to_owned(), ca.bundle_pem().to_owned())).collect()
    }

    pub(crate) fn path(&self, id: &SpiffeId) -> PathBuf {
        self.dir.path().join(id.path().trim_start_matches('/'))
    }

    /// Writes a fresh identity for `id`, federated with the other domain.
    pub(crate) fn write(&self, text: &str) -> PathBuf {
        let id = id(text);
        let authority = self.authority(&id);
        let path = self.path(&id);
        let svid = authority.issue(&id, HOUR).unwrap();
        write_identity(&path, &svid, authority.bundle_pem(), &self.federated(&id)).unwrap();
        path
    }

    pub(crate) async fn source(&self, id: &str) -> Source {
        Source::open(&self.write(id)).await.unwrap()
    }

    /// A certificate of the commerce authority for [`ORDER`], with `change` made to the profile of an SVID.
    pub(crate) fn order_with(&self, change: impl FnOnce(&mut CertificateProfile)) -> Issued {
        let mut profile = CertificateProfile::svid(&id(ORDER), HOUR);
        change(&mut profile);
        self.commerce.issue_with(&profile).unwrap()
    }
}

/// What each side made of the connection, and the certificate hash that it saw.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) server: Result<String, Rejection>,
    pub(crate) client: Result<String, Rejection>,
}

impl Outcome {
    /// Both sides, as text: a peer's identity or the name of a rejection.
    pub(crate) fn names(&self) -> (&str, &str) {
        let name = |side: &'_ Result<String, Rejection>| match side {
            Ok(_) => None,
            Err(rejection) => Some(rejection.name()),
        };
        let text = |side| name(side).unwrap_or_else(|| side.as_deref().unwrap_or_default());
        (text(&self.server), text(&self.client))
    }
}

/// Connects both over loopback and sends one byte to and fro: in TLS 1.3 a client learns only then that it was
/// refused. `peer` reads the peer of a connection.
pub(crate) async fn connect(server: Arc<ServerConfig>, client: Arc<ClientConfig>) -> Outcome {
    let peer = |connection: &CommonState| {
        sekat_identity::tls::peer_identity(connection).map(|peer| peer.id().as_str().to_owned())
    };
    connect_with(server, client, peer).await
}

pub(crate) async fn connect_with<P>(server: Arc<ServerConfig>, client: Arc<ClientConfig>, peer: P) -> Outcome
where
    P: Fn(&CommonState) -> Result<String, Rejection>,
{
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let serve = async {
        let (socket, _) = listener.accept().await.unwrap();
        let mut stream =
            TlsAcceptor::from(server).accept(socket).await.map_err(|error| Rejection::of_handshake(&error))?;
        let found = peer(stream.get_ref().1)?;
        let mut byte = [0];
        stream.read_exact(&mut byte).await.map_err(|error| Rejection::of_handshake(&error))?;
        stream.write_all(&byte).await.map_err(|error| Rejection::of_handshake(&error))?;
        Ok(found)
    };
    let call = async {
        let socket = TcpStream::connect(address).await.unwrap();
        let name = ServerName::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST).into());
        let mut stream =
            TlsConnector::from(client).connect(name, socket).await.map_err(|error| Rejection::of_handshake(&error))?;
        let found = peer(stream.get_ref().1)?;
        let mut byte = [7];
        stream.write_all(&byte).await.map_err(|error| Rejection::of_handshake(&error))?;
        stream.read_exact(&mut byte).await.map_err(|error| Rejection::of_handshake(&error))?;
        Ok(found)
    };
    let (server, client) = tokio::time::timeout(PATIENCE, async { tokio::join!(serve, call) }).await.unwrap();
    Outcome { server, client }
}

/// A client that presents whatever it is given, if anything, and believes every server.
pub(crate) fn careless_client(issued: Option<&Issued>) -> ClientConfig {
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Believer));
    let mut config = match issued {
        Some(issued) => {
            let (chain, key) = parts(issued);
            builder.with_client_auth_cert(chain, key).unwrap()
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    config
}

/// A server that presents whatever it is given and asks for no certificate.
pub(crate) fn careless_server(issued: &Issued) -> ServerConfig {
    let (chain, key) = parts(issued);
    let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    config
}

pub(crate) fn parts(issued: &Issued) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let chain = CertificateDer::pem_slice_iter(issued.chain_pem.as_bytes()).map(Result::unwrap).collect();
    (chain, PrivateKeyDer::from_pem_slice(issued.key_pem.as_bytes()).unwrap())
}

#[derive(Debug)]
struct Believer;

impl ServerCertVerifier for Believer {
    fn verify_server_cert(
        &self,
        _leaf: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _leaf: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _leaf: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        default_provider().signature_verification_algorithms.supported_schemes()
    }
}
