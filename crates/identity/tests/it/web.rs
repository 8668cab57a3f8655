//! Public listeners: names checked as on the web, certificates renewed without a restart.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use rustls_pki_types::ServerName;
use sekat_identity::ca::{CertificateAuthority, Issued};
use sekat_identity::tls::{ClientTrust, server_config, web_client_config, web_server_config};
use sekat_identity::{Rejection, SourceError};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::harness::{HOUR, PATIENCE, PAYMENT, World};

fn write(dir: &Path, issued: &Issued) {
    std::fs::write(dir.join("web.key"), &issued.key_pem).unwrap();
    std::fs::write(dir.join("web.pem"), &issued.chain_pem).unwrap();
}

#[tokio::test]
async fn a_public_listener_proves_its_name() {
    let dir = TempDir::new().unwrap();
    let authority = CertificateAuthority::new("web.sekat.local").unwrap();
    let stranger = CertificateAuthority::new("web.sekat.local").unwrap();
    let local = IpAddr::V4(Ipv4Addr::LOCALHOST);
    write(dir.path(), &authority.issue_web_server(&["localhost"], &[local], HOUR).unwrap());
    let server = web_server_config(&dir.path().join("web.pem"), &dir.path().join("web.key")).await.unwrap();
    for (what, roots, name, good) in [
        ("its host name", &authority, "localhost", true),
        ("its address", &authority, "127.0.0.1", true),
        ("another host name", &authority, "bank.example", false),
        ("another authority", &stranger, "localhost", false),
    ] {
        let client = web_client_config(roots.bundle_pem().as_bytes(), &[b"http/1.1"]).unwrap();
        let listener = TcpListener::bind((local, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let serve = async {
            let (socket, _) = listener.accept().await.unwrap();
            TlsAcceptor::from(server.clone()).accept(socket).await.map(drop)
        };
        let call = async {
            let socket = TcpStream::connect(address).await.unwrap();
            let name = ServerName::try_from(name.to_owned()).unwrap();
            TlsConnector::from(client).connect(name, socket).await.map(drop)
        };
        let (served, called) = tokio::time::timeout(PATIENCE, async { tokio::join!(serve, call) }).await.unwrap();
        assert_eq!((served.is_ok(), called.is_ok()), (good, good), "{what}: {called:?}");
    }
}

#[tokio::test]
async fn a_web_certificate_is_no_identity() {
    let world = World::new();
    let server = server_config(&world.source(PAYMENT).await, ClientTrust::OwnDomain);
    let issued = world.commerce.issue_web_server(&["order"], &[], HOUR).unwrap();
    let outcome = crate::harness::connect(server, crate::harness::careless_client(Some(&issued)).into()).await;
    assert_eq!(outcome.server, Err(Rejection::NoUriSan));
}

#[tokio::test]
async fn a_key_of_another_certificate_does_not_start() {
    let dir = TempDir::new().unwrap();
    let authority = CertificateAuthority::new("web.sekat.local").unwrap();
    let (one, other) = (
        authority.issue_web_server(&["a"], &[], HOUR).unwrap(),
        authority.issue_web_server(&["b"], &[], HOUR).unwrap(),
    );
    write(dir.path(), &Issued { chain_pem: one.chain_pem, key_pem: other.key_pem });
    let error = web_server_config(&dir.path().join("web.pem"), &dir.path().join("web.key")).await.unwrap_err();
    assert!(matches!(error, SourceError::Key { .. }), "{error}");
}
