//! Calls as anybody: with any certificate or none, to any listener, of any method, and what the other side makes of
//! it. Clients here believe every server unless they say otherwise: the servers are under test.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf as _, BufMut as _, Bytes};
use hyper_util::rt::TokioIo;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring::default_provider;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use sekat_identity::ca::{CertificateAuthority, CertificateProfile, Issued};
use sekat_identity::{Source, SpiffeId};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::mesh::Mesh;

/// What a call states as its deadline if nothing else is asked for.
const CALL_LIMIT: Duration = Duration::from_secs(15);
/// Beyond the deadline, for the server to say that it is over.
const CALL_SLACK: Duration = Duration::from_secs(10);
/// For one handshake.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);

/// What a client shows in a handshake.
#[derive(Debug)]
pub struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Clone for Identity {
    fn clone(&self) -> Self {
        Self { chain: self.chain.clone(), key: self.key.clone_key() }
    }
}

impl Identity {
    /// The one in an identity directory, as it is now.
    ///
    /// # Panics
    /// If it cannot be read.
    #[must_use]
    pub fn read(directory: &Path) -> Self {
        let text = |name: &str| std::fs::read_to_string(directory.join(name)).expect("the identity can be read");
        Self::issued(&Issued { chain_pem: text("svid.pem"), key_pem: text("svid.key") })
    }

    /// One that an authority has just issued.
    ///
    /// # Panics
    /// If it is malformed.
    #[must_use]
    pub fn issued(issued: &Issued) -> Self {
        Self {
            chain: CertificateDer::pem_slice_iter(issued.chain_pem.as_bytes()).map(Result::unwrap).collect(),
            key: PrivateKeyDer::from_pem_slice(issued.key_pem.as_bytes()).unwrap(),
        }
    }
}

/// The identity `spiffe://<domain>.sekat.local/<workload>` from `authority`, with `change` made to a right profile.
///
/// # Panics
/// If it cannot be issued.
#[must_use]
pub fn mint(
    authority: &CertificateAuthority,
    domain: &str,
    workload: &str,
    change: impl FnOnce(&mut CertificateProfile),
) -> Identity {
    const VALIDITY: Duration = Duration::from_secs(3_600);
    let id: SpiffeId = format!("spiffe://{domain}.sekat.local/{workload}").parse().expect("a SPIFFE ID");
    let mut profile = CertificateProfile::svid(&id, VALIDITY);
    change(&mut profile);
    Identity::issued(&authority.issue_with(&profile).expect("it can be issued"))
}

impl Mesh {
    /// The authority of a domain, to issue what it never would.
    ///
    /// # Panics
    /// If it cannot be read.
    #[must_use]
    pub fn authority(&self, domain: &str) -> CertificateAuthority {
        let directory = self.data().join("authorities").join(domain);
        let text = |name: &str| std::fs::read_to_string(directory.join(name)).expect("the authority can be read");
        let trust_domain = format!("{domain}.sekat.local");
        CertificateAuthority::from_pem(&trust_domain, &text("authority.pem"), &text("authority.key")).unwrap()
    }

    /// A channel with an identity, or without one, to a listener of `running().mesh`. It connects on first use and
    /// believes every server.
    ///
    /// # Panics
    /// If there is no such listener.
    #[must_use]
    pub fn channel_as(&self, identity: Option<&Identity>, listener: &str) -> Channel {
        channel(&self.running().mesh[listener], tls(identity), invalid_name())
    }

    /// A channel as the mesh itself makes it: it shows the identity in `directory`, whatever that is at the moment of
    /// connecting, and talks to the workload of that listener only.
    ///
    /// # Panics
    /// If the identity cannot be read.
    pub async fn trusting_channel_as(&self, workload: &str, listener: &str) -> Channel {
        channel(&self.running().mesh[listener], self.trusting_tls_as(workload, listener).await, invalid_name())
    }

    /// The TLS of [`Self::trusting_channel_as`].
    ///
    /// # Panics
    /// If the identity cannot be read.
    pub async fn trusting_tls_as(&self, workload: &str, listener: &str) -> Arc<ClientConfig> {
        let source = Source::open(&self.identity(workload)).await.expect("the identity can be read");
        sekat_identity::tls::client_config(&source, server_of(listener).parse().expect("a SPIFFE ID"))
    }

    /// A channel to a public address (`showcase-edge`, `commerce-edge`, `notify-ingress`), as an app makes it. It
    /// checks the server's certificate and connects on first use.
    ///
    /// # Panics
    /// If there is no such edge.
    #[must_use]
    pub fn public(&self, edge: &str) -> Channel {
        let running = self.running();
        let address = match edge {
            "showcase-edge" => &running.showcase_edge,
            "commerce-edge" => &running.commerce_edge,
            "notify-ingress" => &running.notify_ingress,
            _ => panic!("{edge} is no edge"),
        };
        channel(address, web_tls(&running.web_authority), loopback_name())
    }
}

/// The SPIFFE ID of the workload behind a listener of `running().mesh`.
#[must_use]
pub fn server_of(listener: &str) -> String {
    let domain = if listener == "showcase" { "showcase" } else { "commerce" };
    format!("spiffe://{domain}.sekat.local/{}", listener.trim_end_matches("-feed"))
}

/// TLS 1.3 with an identity, or without one, believing every server.
///
/// # Panics
/// If certificate and key do not belong together.
#[must_use]
pub fn tls(identity: Option<&Identity>) -> Arc<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Believer));
    let mut config = match identity.cloned() {
        Some(Identity { chain, key }) => builder.with_client_auth_cert(chain, key).unwrap(),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    Arc::new(config)
}

/// TLS as on the web, with the authority in a PEM file.
///
/// # Panics
/// If the file cannot be read.
#[must_use]
pub fn web_tls(authority: &Path) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(authority).expect("the authority can be read")).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Arc::new(config)
}

/// The name in the certificates of public addresses.
///
/// # Panics
/// Never.
#[must_use]
pub fn loopback_name() -> ServerName<'static> {
    ServerName::try_from("127.0.0.1").unwrap()
}

/// A name that nobody looks at.
fn invalid_name() -> ServerName<'static> {
    ServerName::try_from("sekat.invalid").unwrap()
}

/// A gRPC channel over TLS. It connects on first use, and again when a connection has ended.
///
/// # Panics
/// If `address` is no `host:port`.
#[must_use]
pub fn channel(address: &str, config: Arc<ClientConfig>, name: ServerName<'static>) -> Channel {
    let connector = TlsConnector::from(config);
    let target = address.to_owned();
    let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("host:port");
    endpoint.connect_with_connector_lazy(tower::service_fn(move |_| {
        let (connector, name, target) = (connector.clone(), name.clone(), target.clone());
        async move {
            let stream = TcpStream::connect(&target).await?;
            stream.set_nodelay(true)?;
            Ok::<_, std::io::Error>(TokioIo::new(connector.connect(name, stream).await?))
        }
    }))
}

/// A gRPC channel in plain text.
///
/// # Panics
/// If `address` is no `host:port`.
#[must_use]
pub fn plain_channel(address: &str) -> Channel {
    Endpoint::from_shared(format!("http://{address}")).expect("host:port").connect_lazy()
}

/// What came back from a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The server's status; [`Code::Ok`] with the messages that came.
    Answered {
        /// The status code.
        code: Code,
        /// The stable reason in the status's `ErrorInfo`; empty if it has none.
        reason: String,
        /// The messages of the response.
        messages: Vec<Bytes>,
    },
    /// There was no answer: the connection was refused or broke. With what the client was told.
    Cut(String),
}

impl Outcome {
    /// The code of an answer.
    #[must_use]
    pub fn code(&self) -> Option<Code> {
        match self {
            Self::Answered { code, .. } => Some(*code),
            Self::Cut(_) => None,
        }
    }

    /// Whether the policy does not let this caller call this method here.
    #[must_use]
    pub fn is_denied_by_policy(&self) -> bool {
        self.is(Code::PermissionDenied, "POLICY_DENIED")
    }

    /// Whether it is an answer with this code and reason.
    #[must_use]
    pub fn is(&self, expected: Code, expected_reason: &str) -> bool {
        matches!(self, Self::Answered { code, reason, .. } if *code == expected && reason == expected_reason)
    }
}

/// Calls the method at `path` with the bytes of a message, and an end user's token if one is given. It knows no
/// contract, and reads a stream to its end.
pub async fn call(channel: &Channel, path: &str, token: Option<&str>, message: Bytes) -> Outcome {
    call_within(channel, path, token, message, CALL_LIMIT).await
}

/// Like [`call`], with a deadline, for streams that end in no other way.
///
/// # Panics
/// If the call does not end some time after the deadline.
pub async fn call_within(
    channel: &Channel,
    path: &str,
    token: Option<&str>,
    message: Bytes,
    limit: Duration,
) -> Outcome {
    let mut request = tonic::Request::new(message);
    request.set_timeout(limit);
    if let Some(token) = token {
        request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    }
    let mut grpc = tonic::client::Grpc::new(channel.clone());
    let path = path.parse().expect("a gRPC path");
    let answered = async {
        grpc.ready().await.map_err(|error| Status::from_error(error.into()))?;
        let mut stream = grpc.server_streaming(request, path, Frames).await?.into_inner();
        let mut messages = Vec::new();
        while let Some(message) = stream.message().await? {
            messages.push(message);
        }
        Ok::<_, Status>(messages)
    };
    match tokio::time::timeout(limit + CALL_SLACK, answered).await.expect("a call ends") {
        Ok(messages) => Outcome::Answered { code: Code::Ok, reason: String::new(), messages },
        Err(status) => outcome(&status),
    }
}

/// What a status says. One that was made on this side, because there was no answer, carries its cause.
#[must_use]
pub fn outcome(status: &Status) -> Outcome {
    let mut cause = std::error::Error::source(status);
    if cause.is_none() {
        let reason = status.get_details_error_info().map(|info| info.reason).unwrap_or_default();
        return Outcome::Answered { code: status.code(), reason, messages: Vec::new() };
    }
    let mut text = status.message().to_owned();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    Outcome::Cut(text)
}

/// Whether a process says on its health port that it serves.
pub async fn is_healthy(address: &str) -> bool {
    // grpc.health.v1.HealthCheckResponse{status: SERVING}
    const SERVING: [u8; 2] = [0x08, 0x01];
    let checked = call(&plain_channel(address), "/grpc.health.v1.Health/Check", None, Bytes::new()).await;
    matches!(checked, Outcome::Answered { messages, .. } if messages.iter().any(|message| message[..] == SERVING))
}

/// Connects with TLS and waits for the first byte of HTTP/2: only then a client of TLS 1.3 knows that it was let in.
/// Returns the server's SPIFFE ID.
///
/// # Errors
/// What the client was told instead.
pub async fn handshake(address: &str, config: Arc<ClientConfig>) -> Result<String, String> {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    let shaken = async {
        let stream = TcpStream::connect(address).await?;
        let mut stream = TlsConnector::from(config).connect(invalid_name(), stream).await?;
        stream.write_all(PREFACE).await?;
        stream.read_u8().await?;
        let peer = sekat_identity::tls::peer_identity(stream.get_ref().1).map_err(std::io::Error::other)?;
        Ok::<_, std::io::Error>(peer.id().to_string())
    };
    match tokio::time::timeout(HANDSHAKE_LIMIT, shaken).await {
        Ok(outcome) => outcome.map_err(|error| error.to_string()),
        Err(_) => Err("the server keeps silent".to_owned()),
    }
}

/// Sends bytes in plain text and returns everything that comes back.
///
/// # Panics
/// If nobody listens there, or the server neither answers nor closes.
pub async fn send_plain(address: &str, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).await.expect("somebody listens");
    stream.write_all(bytes).await.expect("the bytes leave");
    let mut answer = Vec::new();
    // A reset is as good as an end: the server closed with unread bytes.
    let read = tokio::time::timeout(HANDSHAKE_LIMIT, stream.read_to_end(&mut answer)).await;
    drop(read.expect("the server closes"));
    answer
}

/// A well-formed hello of a client that knows TLS 1.2 and nothing newer (RFC 5246, section 7.4.1.2).
///
/// # Panics
/// Never: the lengths are small.
#[must_use]
pub fn tls12_hello() -> Vec<u8> {
    let with_length = |bytes: &[u8]| [&u16::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat();
    let extension = |kind: u16, body: &[u8]| [kind.to_be_bytes().as_slice(), &with_length(body)].concat();
    let extensions = [
        extension(10, &[0, 2, 0, 23]),         // supported groups: secp256r1
        extension(13, &[0, 2, 4, 3]),          // signature algorithms: ecdsa_secp256r1_sha256
        extension(16, &[0, 3, 2, b'h', b'2']), // ALPN: h2
    ];
    let random = [7; 32];
    // No session; ECDHE-ECDSA-AES128-GCM-SHA256; no compression.
    let choices = [0, 0, 2, 0xc0, 0x2b, 1, 0];
    let hello = [&[3, 3], random.as_slice(), &choices, &with_length(&extensions.concat())].concat();
    let handshake = [&[1, 0], with_length(&hello).as_slice()].concat();
    [&[22, 3, 1], with_length(&handshake).as_slice()].concat()
}

/// Messages as they are.
#[derive(Clone, Copy, Debug)]
struct Frames;

impl Codec for Frames {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Frames {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(message);
        Ok(())
    }
}

impl Decoder for Frames {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}

/// Believes every server.
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
