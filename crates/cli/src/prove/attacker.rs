//! A client as somebody would write it who has taken over a workload: with its certificate, and without asking who the
//! server is.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::transport::Channel;

use super::probes::LIMIT;
use crate::edges::channel;

/// What became of a connection.
pub(super) enum Connection {
    /// The server took the certificate. The channel connects on first use.
    Open(Channel),
    /// The server refused it, with this alert.
    Refused(String),
    /// Nobody can say.
    Unclear(String),
}

/// Connects to whoever is at `address` with the certificate in `identity`.
pub(super) async fn connect(address: &str, identity: &Path) -> anyhow::Result<Connection> {
    let config = config(identity)?;
    let name = ServerName::try_from("sekat.invalid")?;
    // In TLS 1.3 a client learns only after its part of the handshake what the server makes of its certificate: either
    // an alert comes, or the settings of HTTP/2.
    let handshake = async {
        let stream = TcpStream::connect(address).await?;
        let mut stream = TlsConnector::from(Arc::clone(&config)).connect(name.clone(), stream).await?;
        stream.read_u8().await
    };
    match tokio::time::timeout(LIMIT, handshake).await {
        Ok(Ok(_)) => Ok(Connection::Open(channel(address, config, name)?)),
        Ok(Err(error)) => match error.get_ref().and_then(|cause| cause.downcast_ref()) {
            Some(Error::AlertReceived(alert)) => Ok(Connection::Refused(format!("{alert:?}"))),
            _ => Ok(Connection::Unclear(error.to_string())),
        },
        Err(_) => Ok(Connection::Unclear("no answer".to_owned())),
    }
}

fn config(identity: &Path) -> anyhow::Result<Arc<ClientConfig>> {
    let (chain, key) = (identity.join("svid.pem"), identity.join("svid.key"));
    let certificates = CertificateDer::pem_file_iter(&chain).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let certificates = certificates.with_context(|| format!("{} cannot be read", chain.display()))?;
    let key = PrivateKeyDer::from_pem_file(&key).with_context(|| format!("{} cannot be read", key.display()))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let believing = Arc::new(Believing(Arc::clone(&provider)));
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(believing)
        .with_client_auth_cert(certificates, key)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// Believes every server.
#[derive(Debug)]
struct Believing(Arc<CryptoProvider>);

impl ServerCertVerifier for Believing {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
