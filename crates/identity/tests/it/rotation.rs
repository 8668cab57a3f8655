//! New keys and bundles take effect without a restart, and what is bad does not.

use std::path::Path;

use sekat_identity::ca::{CertificateAuthority, write_identity};
use sekat_identity::tls::{ClientTrust, PeerIdentity, client_config, peer_identity, server_config};
use sekat_identity::{Rejection, Source};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::harness::{HOUR, ORDER, PATIENCE, PAYMENT, SHOWCASE, World, connect, connect_with, id};

/// The identities that `server` and `client` have for each other after a handshake.
async fn peers(server: &Source, client: &Source) -> (PeerIdentity, PeerIdentity) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = TlsAcceptor::from(server_config(server, ClientTrust::OwnAndFederated));
    let connector = TlsConnector::from(client_config(client, server.id()));
    let serve = async {
        let (socket, _) = listener.accept().await.unwrap();
        let stream = acceptor.accept(socket).await.unwrap();
        peer_identity(stream.get_ref().1).unwrap()
    };
    let call = async {
        let socket = TcpStream::connect(address).await.unwrap();
        let stream = connector.connect(address.ip().into(), socket).await.unwrap();
        peer_identity(stream.get_ref().1).unwrap()
    };
    tokio::time::timeout(PATIENCE, async { tokio::join!(serve, call) }).await.unwrap()
}

#[tokio::test]
async fn the_next_handshake_uses_the_new_certificate() {
    let world = World::new();
    let (payment, order) = (world.source(PAYMENT).await, world.source(ORDER).await);
    let server = server_config(&payment, ClientTrust::OwnDomain);
    let client = client_config(&order, id(PAYMENT));
    let seen = |connection: &rustls::CommonState| {
        peer_identity(connection).map(|peer| format!("{:x?}", peer.certificate_sha256()))
    };
    let before = connect_with(server.clone(), client.clone(), seen).await;
    world.write(PAYMENT);
    payment.refresh_now().await.unwrap();
    let between = connect_with(server.clone(), client.clone(), seen).await;
    assert_ne!(before.client.clone().unwrap(), between.client.clone().unwrap());
    assert_eq!(before.server, between.server);
    world.write(ORDER);
    order.refresh_now().await.unwrap();
    let after = connect_with(server, client, seen).await;
    assert_eq!(between.client, after.client);
    assert_ne!(between.server.unwrap(), after.server.unwrap());
}

#[tokio::test]
async fn the_watcher_sees_a_change_by_itself() {
    let world = World::new();
    let payment = world.source(PAYMENT).await;
    let mut generations = payment.subscribe();
    let before = payment.not_after();
    let svid = world.commerce.issue(&id(PAYMENT), 2 * HOUR).unwrap();
    write_identity(&world.path(&id(PAYMENT)), &svid, world.commerce.bundle_pem(), &world.federated(&id(PAYMENT)))
        .unwrap();
    tokio::time::timeout(PATIENCE, generations.changed()).await.unwrap().unwrap();
    assert_eq!(*generations.borrow(), 2);
    assert!(payment.not_after() > before);
}

#[tokio::test]
async fn a_peer_is_trusted_until_its_root_leaves_the_bundle() {
    let world = World::new();
    let (payment, order) = (world.source(PAYMENT).await, world.source(ORDER).await);
    let (caller, _) = peers(&payment, &order).await;
    assert_eq!(payment.still_trusted(&caller), Ok(()));

    let next = CertificateAuthority::new("commerce.sekat.local").unwrap();
    let dir = world.path(&id(PAYMENT));
    let svid = world.commerce.issue(&id(PAYMENT), HOUR).unwrap();
    let overlap = format!("{}{}", next.bundle_pem(), world.commerce.bundle_pem());
    write_identity(&dir, &svid, &overlap, &[]).unwrap();
    payment.refresh_now().await.unwrap();
    assert_eq!(payment.still_trusted(&caller), Ok(()), "both roots are in the bundle");

    let svid = next.issue(&id(PAYMENT), HOUR).unwrap();
    write_identity(&dir, &svid, next.bundle_pem(), &[]).unwrap();
    payment.refresh_now().await.unwrap();
    assert_eq!(payment.still_trusted(&caller), Err(Rejection::UntrustedIssuer), "the old root is gone");
    let refused = connect(server_config(&payment, ClientTrust::OwnDomain), client_config(&order, id(PAYMENT))).await;
    assert!(refused.server.is_err() && refused.client.is_err(), "{refused:?}");

    write_identity(&dir, &svid, &overlap, &[]).unwrap();
    payment.refresh_now().await.unwrap();
    assert_eq!(payment.still_trusted(&caller), Ok(()), "and it is back");
}

#[tokio::test]
async fn a_federated_peer_is_trusted_until_its_bundle_is_gone() {
    let world = World::new();
    let (payment, showcase) = (world.source(PAYMENT).await, world.source(SHOWCASE).await);
    let (caller, server) = peers(&payment, &showcase).await;
    assert_eq!((caller.id().as_str(), server.id().as_str()), (SHOWCASE, PAYMENT));
    assert_eq!(payment.still_trusted(&caller), Ok(()));
    let svid = world.commerce.issue(&id(PAYMENT), HOUR).unwrap();
    write_identity(&world.path(&id(PAYMENT)), &svid, world.commerce.bundle_pem(), &[]).unwrap();
    payment.refresh_now().await.unwrap();
    assert_eq!(payment.still_trusted(&caller), Err(Rejection::ForeignTrustDomain { claimed: id(SHOWCASE) }));
}

#[tokio::test]
async fn a_peer_is_not_trusted_past_its_expiry() {
    let world = World::new();
    let (payment, order) = (world.source(PAYMENT).await, world.source(ORDER).await);
    let brief = world.commerce.issue(&id(ORDER), std::time::Duration::from_secs(3)).unwrap();
    write_identity(&world.path(&id(ORDER)), &brief, world.commerce.bundle_pem(), &[]).unwrap();
    order.refresh_now().await.unwrap();
    let (caller, _) = peers(&payment, &order).await;
    assert_eq!(payment.still_trusted(&caller), Ok(()));
    let expired = async {
        let mut looks = tokio::time::interval(std::time::Duration::from_millis(10));
        while payment.still_trusted(&caller).is_ok() {
            looks.tick().await;
        }
    };
    tokio::time::timeout(PATIENCE, expired).await.unwrap();
    assert_eq!(payment.still_trusted(&caller), Err(Rejection::Expired));
}

#[tokio::test]
async fn bad_files_are_refused_and_the_good_ones_stay() {
    type Spoil = fn(&World, &Path);
    let cases: &[(&str, Spoil)] = &[
        ("the key of another certificate", |world, dir| {
            let other = world.commerce.issue(&id(PAYMENT), HOUR).unwrap();
            std::fs::write(dir.join("svid.key"), other.key_pem).unwrap();
        }),
        ("half a certificate", |_, dir| {
            let path = dir.join("svid.pem");
            let text = std::fs::read_to_string(&path).unwrap();
            std::fs::write(path, &text[..text.len() / 2]).unwrap();
        }),
        ("an empty bundle", |_, dir| std::fs::write(dir.join("bundle.pem"), "").unwrap()),
        ("no certificate", |_, dir| std::fs::remove_file(dir.join("..data/svid.pem")).unwrap()),
        ("no version at all", |_, dir| std::fs::remove_file(dir.join("..data")).unwrap()),
        ("an SVID of another authority", |world, dir| {
            let other = CertificateAuthority::new("commerce.sekat.local").unwrap();
            let svid = other.issue(&id(PAYMENT), HOUR).unwrap();
            write_identity(dir, &svid, world.commerce.bundle_pem(), &world.federated(&id(PAYMENT))).unwrap();
        }),
        ("a federated bundle that is a leaf", |world, dir| {
            let leaf = world.commerce.issue(&id(ORDER), HOUR).unwrap();
            let federated = [("showcase.sekat.local".to_owned(), leaf.chain_pem)];
            let svid = world.commerce.issue(&id(PAYMENT), HOUR).unwrap();
            write_identity(dir, &svid, world.commerce.bundle_pem(), &federated).unwrap();
        }),
        ("a file far too large", |_, dir| {
            std::fs::write(dir.join("bundle.pem"), vec![b'\n'; 2 * 1024 * 1024]).unwrap();
        }),
    ];
    let world = World::new();
    let order = world.source(ORDER).await;
    for (what, spoil) in cases {
        let payment = world.source(PAYMENT).await;
        let dir = world.path(&id(PAYMENT));
        spoil(&world, &dir);
        assert!(payment.refresh_now().await.is_err(), "{what}");
        assert_eq!(*payment.subscribe().borrow(), 1, "{what}");
        let outcome =
            connect(server_config(&payment, ClientTrust::OwnDomain), client_config(&order, id(PAYMENT))).await;
        assert_eq!(outcome.names(), (ORDER, PAYMENT), "{what}");
        std::fs::remove_dir_all(&dir).unwrap();
        world.write(PAYMENT);
        assert_eq!(payment.refresh_now().await.unwrap(), 2, "{what}: good files are taken again");
    }
}
