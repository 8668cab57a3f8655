//! Identity directories: what they must hold, how they are written, and that a reader never sees half of one.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use sekat_identity::ca::{CertificateAuthority, write_identity};
use sekat_identity::{Source, SourceError};
use tempfile::TempDir;

use crate::harness::{HOUR, ORDER, PAYMENT, World, id};

#[tokio::test]
async fn plain_files_without_links_will_do() {
    let world = World::new();
    let svid = world.commerce.issue(&id(ORDER), HOUR).unwrap();
    let dir = world.dir.path();
    std::fs::write(dir.join("svid.pem"), &svid.chain_pem).unwrap();
    std::fs::write(dir.join("svid.key"), &svid.key_pem).unwrap();
    let missing = Source::open(dir).await.unwrap_err();
    assert!(matches!(&missing, SourceError::Read { path, .. } if path.ends_with("bundle.pem")), "{missing}");
    std::fs::write(dir.join("bundle.pem"), world.commerce.bundle_pem()).unwrap();
    let source = Source::open(dir).await.unwrap();
    assert_eq!(source.id(), id(ORDER));
    assert_eq!(format!("{source:?}"), format!("Source({ORDER})"));
}

#[tokio::test]
async fn an_svid_that_peers_would_refuse_does_not_start() {
    let world = World::new();
    let dir = world.dir.path().join("order");
    for (what, svid) in [
        ("expired", world.order_with(|p| p.not_after = std::time::SystemTime::now() - HOUR / 120)),
        ("two URIs", world.order_with(|p| p.uris.push(PAYMENT.into()))),
    ] {
        write_identity(&dir, &svid, world.commerce.bundle_pem(), &[]).unwrap();
        let error = Source::open(&dir).await.unwrap_err();
        assert!(matches!(error, SourceError::Svid { .. }), "{what}: {error}");
    }
}

#[tokio::test]
async fn two_trust_domains_with_one_root_key_are_refused() {
    let world = World::new();
    let svid = world.commerce.issue(&id(ORDER), HOUR).unwrap();
    let dir = world.dir.path().join("order");
    let open = async |other: &str| {
        let federated = [("showcase.sekat.local".to_owned(), other.to_owned())];
        write_identity(&dir, &svid, world.commerce.bundle_pem(), &federated).unwrap();
        Source::open(&dir).await
    };
    assert!(open(world.showcase.bundle_pem()).await.is_ok());
    let shared = nameless_root_with(&world.commerce.key_pem());
    assert!(matches!(open(&shared).await, Err(SourceError::SharedRoot { .. })));
}

/// A root that names no trust domain, with a given key.
fn nameless_root_with(key_pem: &str) -> String {
    let mut root = rcgen::CertificateParams::default();
    root.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Constrained(0));
    root.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign];
    root.self_signed(&rcgen::KeyPair::from_pem(key_pem).unwrap()).unwrap().pem()
}

#[test]
fn files_are_readable_by_their_owner_only_and_old_versions_go() {
    let world = World::new();
    for _ in 0..4 {
        world.write(PAYMENT);
    }
    let dir = world.path(&id(PAYMENT));
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&dir), 0o700);
    for name in ["svid.pem", "svid.key", "bundle.pem", "bundles/showcase.sekat.local.pem"] {
        assert_eq!(mode(&dir.join(name)), 0o600, "{name}");
    }
    let entries = std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap());
    let versions = entries.filter(|entry| entry.file_type().unwrap().is_dir() && entry.file_name() != "bundles");
    assert_eq!(versions.count(), 2, "the current version and the one before");
    let bad = [("../escape".to_owned(), String::new())];
    let svid = world.commerce.issue(&id(PAYMENT), HOUR).unwrap();
    assert!(write_identity(&dir, &svid, world.commerce.bundle_pem(), &bad).is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_never_sees_a_torn_pair() {
    let world = Arc::new(World::new());
    let payment = world.source(PAYMENT).await;
    let writer = tokio::task::spawn_blocking({
        let world = Arc::clone(&world);
        move || (0..100).for_each(|_| drop(world.write(PAYMENT)))
    });
    while !writer.is_finished() {
        match payment.refresh_now().await {
            Ok(_) | Err(SourceError::Unsettled { .. }) => {}
            Err(error) => panic!("a torn read: {error:?}"),
        }
    }
    writer.await.unwrap();
    assert!(payment.refresh_now().await.unwrap() > 1);
}

#[test]
fn an_authority_is_kept_and_found_again() {
    let dir = TempDir::new().unwrap();
    let first = CertificateAuthority::open_or_create(&dir.path().join("ca"), "commerce.sekat.local").unwrap();
    let again = CertificateAuthority::open_or_create(&dir.path().join("ca"), "commerce.sekat.local").unwrap();
    assert_eq!(first.bundle_pem(), again.bundle_pem());
    assert_eq!(first.key_pem(), again.key_pem());
    assert!(again.issue(&id(ORDER), HOUR).is_ok());
    let [key, certificate] = ["ca/authority.key", "ca/authority.pem"].map(|name| dir.path().join(name));
    assert_eq!(std::fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    // A crash between the two files: the one that holds both decides.
    std::fs::write(&certificate, "").unwrap();
    CertificateAuthority::open_or_create(&dir.path().join("ca"), "commerce.sekat.local").unwrap();
    assert_eq!(std::fs::read_to_string(&certificate).unwrap(), first.bundle_pem());
    for spoilt in
        [CertificateAuthority::new("commerce.sekat.local").unwrap().key_pem() + first.bundle_pem(), first.key_pem()]
    {
        std::fs::write(&key, spoilt).unwrap();
        assert!(CertificateAuthority::open_or_create(&dir.path().join("ca"), "commerce.sekat.local").is_err());
    }
}
