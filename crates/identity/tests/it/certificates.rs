//! Every rule of the X.509-SVID profile: a certificate that breaks just this one is refused by its name, in both
//! directions, and its allowed twin is not.

use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, Issuer, KeyPair, KeyUsagePurpose, SanType};
use sekat_identity::ca::{CertificateAuthority, CertificateProfile, ExtendedKeyUsage, Issued, KeyUsage};
use sekat_identity::tls::{ClientTrust, client_config, peer_identity, server_config};
use sekat_identity::{MAX_SVID_LIFETIME, Rejection, SourceError, TrustBundle};

use crate::harness::{
    HOUR, ORDER, PAYMENT, SHOWCASE, World, careless_client, careless_server, connect, connect_with, id,
};

const SECOND: Duration = Duration::from_secs(1);

/// What is tried, the change to a right SVID of `order`, and the check that must refuse it (`ok` for a twin).
type Case = (&'static str, fn(&mut CertificateProfile), &'static str);

const CASES: &[Case] = &[
    ("a right SVID", |_| {}, "ok"),
    ("no URI", |p| p.uris.clear(), "no_uri_san"),
    ("a host name instead of a URI", |p| p.uris = std::mem::take(&mut p.dns_names), "no_uri_san"),
    ("a host name beside the URI", |p| p.dns_names = vec!["order.internal".into()], "ok"),
    ("two SPIFFE IDs", |p| p.uris.push(PAYMENT.into()), "several_uri_sans"),
    ("the same SPIFFE ID twice", |p| p.uris.push(ORDER.into()), "several_uri_sans"),
    ("another URI after the ID", |p| p.uris.push("https://sekat.local/".into()), "several_uri_sans"),
    ("another URI before the ID", |p| p.uris.insert(0, "https://sekat.local/".into()), "several_uri_sans"),
    ("another scheme", |p| p.uris = vec!["https://commerce.sekat.local/order".into()], "bad_spiffe_id"),
    ("a trust domain's own ID", |p| p.uris = vec!["spiffe://commerce.sekat.local".into()], "bad_spiffe_id"),
    ("a path that climbs", |p| p.uris = vec!["spiffe://commerce.sekat.local/../order".into()], "bad_spiffe_id"),
    ("a certificate authority", |p| p.authority = true, "signing_certificate"),
    ("no key usage", |p| p.key_usage = KeyUsage::Absent, "no_key_usage"),
    ("key usage not critical", |p| p.key_usage = KeyUsage::NotCritical, "key_usage_not_critical"),
    ("keyCertSign", |p| p.key_usage = KeyUsage::SignsCertificates, "key_usage_signs"),
    ("cRLSign", |p| p.key_usage = KeyUsage::SignsRevocations, "key_usage_signs"),
    ("no digitalSignature", |p| p.key_usage = KeyUsage::AgreementOnly, "no_digital_signature"),
    ("no extended key usage", |p| p.extended_key_usage = ExtendedKeyUsage::Absent, "ok"),
    ("server authentication alone", |p| p.extended_key_usage = ExtendedKeyUsage::Server, "extended_key_usage"),
    ("client authentication alone", |p| p.extended_key_usage = ExtendedKeyUsage::Client, "extended_key_usage"),
    ("expired", |p| p.not_after = SystemTime::now() - 2 * SECOND, "expired"),
    ("not yet valid", |p| p.not_before = SystemTime::now() + HOUR / 2, "not_yet_valid"),
    ("ends before it begins", |p| p.not_after = p.not_before - SECOND, "malformed_certificate"),
    ("the longest life", |p| p.not_after = p.not_before + MAX_SVID_LIFETIME, "ok"),
    ("a longer life", |p| p.not_after = p.not_before + MAX_SVID_LIFETIME + 2 * SECOND, "lifetime_too_long"),
    ("an ID of the other domain by this authority", |p| p.uris = vec![SHOWCASE.into()], "untrusted_issuer"),
    (
        "an ID of a domain without a bundle",
        |p| p.uris = vec!["spiffe://elsewhere.local/order".into()],
        "foreign_trust_domain",
    ),
];

#[tokio::test]
async fn each_rule_refuses_the_client_that_breaks_it() {
    let world = World::new();
    let server = server_config(&world.source(PAYMENT).await, ClientTrust::OwnAndFederated);
    for (what, change, expected) in CASES {
        let issued = world.order_with(|profile| {
            // The URI is taken away by exchange with a host name.
            profile.dns_names.clear();
            change(profile);
        });
        let outcome = connect(server.clone(), careless_client(Some(&issued)).into()).await;
        match *expected {
            "ok" => assert_eq!(outcome.server, Ok(ORDER.to_owned()), "{what}"),
            refused => {
                assert_eq!(outcome.names().0, refused, "{what}");
                assert!(outcome.client.is_err(), "{what}: the client was answered");
            }
        }
    }
}

#[tokio::test]
async fn each_rule_refuses_the_server_that_breaks_it() {
    let world = World::new();
    let client = client_config(&world.source(PAYMENT).await, id(ORDER));
    for (what, change, expected) in CASES {
        let server = careless_server(&world.order_with(change));
        let outcome = connect_with(server.into(), client.clone(), anybody).await;
        match *expected {
            "ok" => assert_eq!(outcome.client, Ok(ORDER.to_owned()), "{what}"),
            refused => {
                assert_eq!(outcome.names().1, refused, "{what}");
                assert!(outcome.server.is_err(), "{what}: the server was talked to");
            }
        }
    }
}

/// The peer's identity; a server that asks for no certificate takes anybody.
fn anybody(connection: &rustls::CommonState) -> Result<String, Rejection> {
    match peer_identity(connection) {
        Ok(peer) => Ok(peer.id().to_string()),
        Err(Rejection::NoCertificate) => Ok(String::new()),
        Err(rejection) => Err(rejection),
    }
}

#[tokio::test]
async fn only_the_own_authority_of_a_trust_domain_vouches_for_it() {
    let world = World::new();
    let server = server_config(&world.source(PAYMENT).await, ClientTrust::OwnAndFederated);
    let impostor = CertificateAuthority::new("commerce.sekat.local").unwrap();
    for (what, authority, expected) in [
        ("the domain's own", &world.commerce, "ok"),
        ("another one of the same name", &impostor, "untrusted_issuer"),
        ("the federated domain's", &world.showcase, "untrusted_issuer"),
    ] {
        let issued = authority.issue_with(&CertificateProfile::svid(&id(ORDER), HOUR)).unwrap();
        let outcome = connect(server.clone(), careless_client(Some(&issued)).into()).await;
        match expected {
            "ok" => assert_eq!(outcome.server, Ok(ORDER.to_owned()), "{what}"),
            refused => assert_eq!(outcome.names().0, refused, "{what}"),
        }
    }
}

#[tokio::test]
async fn an_authority_does_not_authenticate_itself() {
    let world = World::new();
    let server = server_config(&world.source(PAYMENT).await, ClientTrust::OwnDomain);
    let root = Issued { chain_pem: world.commerce.bundle_pem().to_owned(), key_pem: world.commerce.key_pem() };
    let outcome = connect(server, careless_client(Some(&root)).into()).await;
    // Its URI names the trust domain and no workload, which is looked at first.
    assert_eq!(outcome.names().0, "bad_spiffe_id");
}

#[tokio::test]
async fn a_leaf_signs_nobody() {
    let world = World::new();
    let server = server_config(&world.source(PAYMENT).await, ClientTrust::OwnDomain);
    let order = world.commerce.issue(&id(ORDER), HOUR).unwrap();
    // Our own authority refuses a leaf as its root, so that the signature is made by hand.
    assert!(CertificateAuthority::from_pem("commerce.sekat.local", &order.chain_pem, &order.key_pem).is_err());
    let rogue = Issuer::from_ca_cert_pem(&order.chain_pem, KeyPair::from_pem(&order.key_pem).unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let mut ops = CertificateParams::default();
    ops.subject_alt_names = vec![SanType::URI("spiffe://commerce.sekat.local/ops".try_into().unwrap())];
    ops.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    (ops.not_before, ops.not_after) = (SystemTime::now().into(), (SystemTime::now() + HOUR).into());
    let forged = ops.signed_by(&key, &rogue).unwrap().pem();
    let forged = Issued { chain_pem: forged + &order.chain_pem, key_pem: key.serialize_pem() };
    let outcome = connect(server, careless_client(Some(&forged)).into()).await;
    assert_eq!(outcome.names().0, "invalid_path");
}

#[test]
fn a_bundle_holds_only_authorities_of_its_trust_domain() {
    let world = World::new();
    let leaf = world.commerce.issue(&id(ORDER), HOUR).unwrap();
    let root = world.commerce.bundle_pem();
    for (what, trust_domain, pem, good) in [
        ("a root", "commerce.sekat.local", root.to_owned(), true),
        ("two roots", "commerce.sekat.local", root.repeat(2), true),
        ("a leaf", "commerce.sekat.local", leaf.chain_pem, false),
        ("another domain's root", "commerce.sekat.local", world.showcase.bundle_pem().to_owned(), false),
        ("nothing", "commerce.sekat.local", String::new(), false),
        ("a root that is cut off", "commerce.sekat.local", root[..root.len() - 40].to_owned(), false),
        ("a name that is no trust domain", "Commerce", root.to_owned(), false),
    ] {
        assert_eq!(TrustBundle::from_pem(trust_domain, pem.as_bytes()).is_ok(), good, "{what}");
    }
}

#[test]
fn an_authority_issues_nothing_that_verifiers_would_refuse() {
    let world = World::new();
    assert!(world.commerce.issue(&id(ORDER), MAX_SVID_LIFETIME - Duration::from_secs(60)).is_ok());
    assert!(world.commerce.issue(&id(ORDER), MAX_SVID_LIFETIME).is_err());
    assert!(world.commerce.issue(&id(ORDER), Duration::MAX).is_err());
    assert!(world.commerce.issue(&id(SHOWCASE), HOUR).is_err());
    assert!(CertificateAuthority::new("Commerce").is_err());
}

#[test]
fn names_of_rejections_are_found_in_wrapped_errors() {
    let tls = rustls::Error::from(Rejection::Expired);
    let wrapped = std::io::Error::other(std::io::Error::new(std::io::ErrorKind::InvalidData, tls));
    assert_eq!(Rejection::find(&wrapped), Some(Rejection::Expired));
    let source = SourceError::Svid { source: Rejection::NoUriSan };
    assert_eq!(Rejection::find(&source), Some(Rejection::NoUriSan));
    assert_eq!(Rejection::find(&std::io::Error::other("anything")), None);
}
