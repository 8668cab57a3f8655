//! Who gets through to whom: domains, identities, and peers that do not speak our TLS.

use std::net::Ipv4Addr;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::client::Resumption;
use sekat_identity::ca::{CertificateAuthority, write_identity};
use sekat_identity::tls::{ClientTrust, client_config, client_config_beyond, peer_identity, server_config};
use sekat_identity::{Rejection, Source, TrustBundle};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::harness::{HOUR, ORDER, PATIENCE, PAYMENT, SHOWCASE, World, careless_client, connect, connect_with, id};

const CATALOG: &str = "spiffe://commerce.sekat.local/catalog";

#[tokio::test]
async fn a_foreign_workload_reaches_the_feed_and_no_mesh_port() {
    let world = World::new();
    let catalog = world.source(CATALOG).await;
    let mesh = server_config(&catalog, ClientTrust::OwnDomain);
    let feed = server_config(&catalog, ClientTrust::OwnAndFederated);
    let showcase = client_config(&world.source(SHOWCASE).await, id(CATALOG));
    let order = client_config(&world.source(ORDER).await, id(CATALOG));
    for (what, listener, client, expected) in [
        ("own on mesh", &mesh, &order, (ORDER, CATALOG)),
        ("own on feed", &feed, &order, (ORDER, CATALOG)),
        ("foreign on feed", &feed, &showcase, (SHOWCASE, CATALOG)),
        ("foreign on mesh", &mesh, &showcase, ("foreign_trust_domain", "refused_by_peer")),
    ] {
        let outcome = connect(listener.clone(), client.clone()).await;
        assert_eq!(outcome.names(), expected, "{what}");
    }
}

#[tokio::test]
async fn a_client_talks_to_the_expected_server_only() {
    let world = World::new();
    let server = server_config(&world.source(PAYMENT).await, ClientTrust::OwnDomain);
    let order = world.source(ORDER).await;
    let right = connect(server.clone(), client_config(&order, id(PAYMENT))).await;
    assert_eq!(right.names(), (ORDER, PAYMENT));
    let wrong = connect(server, client_config(&order, id(CATALOG))).await;
    assert_eq!(wrong.client, Err(Rejection::UnexpectedId { expected: id(CATALOG), found: id(PAYMENT) }));
    assert_eq!(wrong.names().0, "refused_by_peer");
}

#[tokio::test]
async fn a_server_beyond_the_own_trust_is_known_by_its_own_bundle_alone() {
    let world = World::new();
    let witness = CertificateAuthority::new("witness.sekat.local").unwrap();
    let name = id("spiffe://witness.sekat.local/witness");
    let svid = witness.issue(&name, HOUR).unwrap();
    let trusted = [("commerce.sekat.local".to_owned(), world.commerce.bundle_pem().to_owned())];
    write_identity(&world.path(&name), &svid, witness.bundle_pem(), &trusted).unwrap();
    let server = Source::open(&world.path(&name)).await.unwrap();
    let server = server_config(&server, ClientTrust::OwnAndFederated);
    let (order, catalog) = (world.source(ORDER).await, world.source(CATALOG).await);
    let bundle = |authority: &CertificateAuthority| {
        TrustBundle::from_pem(authority.trust_domain(), authority.bundle_pem().as_bytes()).unwrap()
    };
    let right = connect(server.clone(), client_config_beyond(&order, name.clone(), bundle(&witness))).await;
    assert_eq!(right.names(), (ORDER, name.as_str()));
    let unknown = connect(server.clone(), client_config(&order, name.clone())).await;
    assert_eq!(unknown.client, Err(Rejection::ForeignTrustDomain { claimed: name.clone() }));
    let stranger = CertificateAuthority::new("witness.sekat.local").unwrap();
    let other = connect(server, client_config_beyond(&order, name.clone(), bundle(&stranger))).await;
    assert_eq!(other.client, Err(Rejection::UntrustedIssuer), "a bundle of the same name");
    // The bundle widens nothing: whom the source trusts, and the bundle does not, is refused.
    let own = server_config(&catalog, ClientTrust::OwnDomain);
    let own = connect(own, client_config_beyond(&order, id(CATALOG), bundle(&witness))).await;
    assert_eq!(own.client, Err(Rejection::ForeignTrustDomain { claimed: id(CATALOG) }));
}

#[tokio::test]
async fn a_client_must_bring_a_certificate_its_key_and_http2() {
    let world = World::new();
    let server = server_config(&world.source(PAYMENT).await, ClientTrust::OwnDomain);
    let right = world.order_with(|_| {});
    let stolen = world.order_with(|_| {});
    let other_key = sekat_identity::ca::Issued { chain_pem: stolen.chain_pem, key_pem: right.key_pem.clone() };
    let with_alpn = |protocols: &[&[u8]]| {
        let mut config = careless_client(Some(&right));
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        config
    };
    for (what, client, expected) in [
        ("all of it", with_alpn(&[b"h2"]), ORDER),
        ("no certificate", careless_client(None), "no_certificate"),
        ("a certificate without its key", with_unproven_key(&other_key), "no_proof_of_key"),
        ("HTTP/1.1", with_alpn(&[b"http/1.1"]), "no_http2"),
        ("no ALPN", with_alpn(&[]), "no_http2"),
    ] {
        let outcome = connect(server.clone(), Arc::new(client)).await;
        assert_eq!(outcome.names().0, expected, "{what}");
        assert_eq!(outcome.client.is_ok(), expected == ORDER, "{what}");
    }
}

/// A client that presents a certificate and signs with the key of another one.
fn with_unproven_key(issued: &sekat_identity::ca::Issued) -> ClientConfig {
    #[derive(Debug)]
    struct Fixed(Arc<rustls::sign::CertifiedKey>);
    impl rustls::client::ResolvesClientCert for Fixed {
        fn resolve(
            &self,
            _roots: &[&[u8]],
            _schemes: &[rustls::SignatureScheme],
        ) -> Option<Arc<rustls::sign::CertifiedKey>> {
            Some(Arc::clone(&self.0))
        }
        fn has_certs(&self) -> bool {
            true
        }
    }
    let (chain, key) = crate::harness::parts(issued);
    let key = rustls::crypto::ring::sign::any_supported_type(&key).unwrap();
    let mut config = careless_client(None);
    config.client_auth_cert_resolver = Arc::new(Fixed(Arc::new(rustls::sign::CertifiedKey::new(chain, key))));
    config
}

#[tokio::test]
async fn nothing_is_resumed() {
    let world = World::new();
    let server = server_config(&world.source(PAYMENT).await, ClientTrust::OwnDomain);
    let mut eager = careless_client(Some(&world.order_with(|_| {})));
    eager.resumption = Resumption::in_memory_sessions(8);
    eager.enable_early_data = true;
    let eager = Arc::new(eager);
    for _ in 0..3 {
        let kind = |connection: &rustls::CommonState| {
            peer_identity(connection)?;
            Ok(format!("{:?}", connection.handshake_kind()))
        };
        let outcome = connect_with(server.clone(), eager.clone(), kind).await;
        // The first hello may lack the right key share; a resumed session would be `Resumed`.
        assert!(outcome.server.as_deref().unwrap().starts_with("Some(Full"), "{outcome:?}");
    }
}

#[tokio::test]
async fn plain_text_and_old_tls_are_refused_by_name() {
    let world = World::new();
    let server = server_config(&world.source(PAYMENT).await, ClientTrust::OwnDomain);
    let tls12 = client_hello_tls12();
    for (what, bytes, expected) in [
        ("HTTP/1.1", b"GET / HTTP/1.1\r\nHost: payment\r\n\r\n".as_slice(), "not_tls"),
        ("HTTP/2 without TLS", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "not_tls"),
        ("TLS 1.2", &tls12, "incompatible"),
        ("silence", b"", "disconnected"),
    ] {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let call = async {
            let mut socket = TcpStream::connect(address).await.unwrap();
            socket.write_all(bytes).await.unwrap();
            socket.shutdown().await.unwrap();
            let mut answer = Vec::new();
            // A reset is as good as an end: the server closed with unread bytes.
            let _end = socket.read_to_end(&mut answer).await;
            answer
        };
        let serve = async {
            let (socket, _) = listener.accept().await.unwrap();
            TlsAcceptor::from(server.clone()).accept(socket).await.map(drop)
        };
        let (served, answer) = tokio::time::timeout(PATIENCE, async { tokio::join!(serve, call) }).await.unwrap();
        assert_eq!(Rejection::of_handshake(&served.unwrap_err()).name(), expected, "{what}");
        if expected == "incompatible" {
            // A fatal alert protocol_version (RFC 8446, section 6.2).
            assert_eq!(answer.get(..7), Some([21, 3, 3, 0, 2, 2, 70].as_slice()), "{what}");
        }
    }
}

/// A well-formed hello of a client that knows TLS 1.2 and nothing newer (RFC 5246, section 7.4.1.2).
fn client_hello_tls12() -> Vec<u8> {
    let extension = |kind: u16, body: &[u8]| {
        [&kind.to_be_bytes(), &u16::try_from(body.len()).unwrap().to_be_bytes(), body].concat()
    };
    let extensions = [
        extension(10, &[0, 2, 0, 23]),         // supported_groups: secp256r1
        extension(11, &[1, 0]),                // ec_point_formats: uncompressed
        extension(13, &[0, 2, 4, 3]),          // signature_algorithms: ecdsa_secp256r1_sha256
        extension(16, &[0, 3, 2, b'h', b'2']), // ALPN: h2
        extension(23, &[]),                    // extended_master_secret
    ]
    .concat();
    let mut hello = vec![3, 3];
    hello.extend([0x5a; 32]); // random
    hello.extend([0, 0, 2, 0xc0, 0x2b, 1, 0]); // no session, ECDHE-ECDSA-AES128-GCM-SHA256, no compression
    hello.extend(u16::try_from(extensions.len()).unwrap().to_be_bytes());
    hello.extend(extensions);
    let length = u16::try_from(hello.len()).unwrap();
    let mut record = vec![22, 3, 1];
    record.extend((length + 4).to_be_bytes());
    record.extend([1, 0]);
    record.extend(length.to_be_bytes());
    record.extend(hello);
    record
}
