//! Who pretends to be somebody, speaks no TLS or an old one, or stands in the middle and alters or replays what passes:
//! each is refused, reaches no handler, and is counted once, at the listener that refused it and under its reason. Each
//! table begins with its twin that is let in.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use acceptance::records::RefusedConnections;
use acceptance::relay::{Relay, Tampering};
use acceptance::wire::{
    Identity, call, channel, handshake, loopback_name, mint, send_plain, tls, tls12_hello, web_tls,
};
use acceptance::{Mesh, Options};
use bytes::Bytes;
use rustls::ClientConfig;
use sekat_identity::ca::CertificateAuthority;

use crate::edges::{domain_of, id_of};

/// Clear text that other servers would answer.
const HTTP_1: &[u8] = b"GET / HTTP/1.1\r\nHost: payment\r\n\r\n";
const HTTP_2: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
/// A fatal alert `protocol_version` (RFC 8446, section 6.2), as TLS 1.2 clients read it.
const WRONG_VERSION: [u8; 7] = [21, 3, 3, 0, 2, 2, 70];
const EDGES: [&str; 3] = ["showcase-edge", "commerce-edge", "notify-ingress"];

/// By workload, what it has to have counted.
#[derive(Debug, Default)]
struct Expected(BTreeMap<String, RefusedConnections>);

impl Expected {
    fn refused(&mut self, workload: &str, listener: &str, reason: &str) {
        let workload = self.0.entry(workload.to_owned()).or_default();
        *workload.entry(listener.to_owned()).or_default().entry(reason.to_owned()).or_default() += 1;
    }
}

/// The workload and the listener behind a key of `running().mesh`.
fn place(key: &str) -> (&str, &str) {
    key.strip_suffix("-feed").map_or((key, "mesh"), |workload| (workload, "feed"))
}

#[tokio::test]
async fn whoever_pretends_or_tampers_is_refused_and_counted() {
    let mut mesh = Mesh::start(Options::empty());
    let mut expected = Expected::default();
    refuses_certificates(&mesh, &mut expected).await;
    refuses_clear_text_and_old_tls(&mesh, &mut expected).await;
    let calls = refuses_tampering(&mesh, &mut expected).await;
    let workloads: Vec<String> = mesh.running().health.into_keys().collect();
    mesh.stop().await;
    for workload in workloads {
        let mut counted = mesh.refused_connections(&workload);
        for reasons in counted.values_mut() {
            // Who goes away within the handshake was not refused: processes do when they are stopped.
            reasons.remove("disconnected");
        }
        counted.retain(|_, reasons| !reasons.is_empty());
        assert_eq!(counted, expected.0.remove(&workload).unwrap_or_default(), "{workload}");
    }
    for (workload, path) in calls {
        let counted = mesh.counters(workload).into_iter().filter(|count| count.method == path);
        let seen: u64 = counted.filter(|count| count.direction == "server").map(|count| count.count).sum();
        // The one that nobody touched, and the genuine one of two that were the same.
        assert!((1..=2).contains(&seen), "{seen} calls of {path} reached {workload}");
    }
}

async fn refuses_certificates(mesh: &Mesh, expected: &mut Expected) {
    let past = SystemTime::now() - Duration::from_secs(5);
    for (listener, address) in mesh.running().mesh.iter().filter(|(listener, _)| !listener.ends_with("-feed")) {
        let domain = domain_of(listener);
        let (peer, other) = if domain == "commerce" { ("ops", "showcase") } else { ("showcase-edge", "commerce") };
        let (own, foreign) = (mesh.authority(domain), mesh.authority(other));
        let same_name = CertificateAuthority::new(own.trust_domain()).unwrap();
        let nothing = |_: &mut _| {};
        let http_1 = {
            let mut config = ClientConfig::clone(&tls(Some(&Identity::read(&mesh.identity(peer)))));
            config.alpn_protocols = vec![b"http/1.1".to_vec()];
            Arc::new(config)
        };
        let with = |identity: Identity| tls(Some(&identity));
        for (what, config, refused) in [
            ("its own", with(Identity::read(&mesh.identity(peer))), None),
            ("its own, minted here", with(mint(&own, domain, peer, nothing)), None),
            ("none", tls(None), Some("no_certificate")),
            ("another domain's", with(mint(&foreign, other, "showcase", nothing)), Some("foreign_trust_domain")),
            ("its name by another domain", with(mint(&foreign, domain, peer, nothing)), Some("untrusted_issuer")),
            ("its name by a stranger", with(mint(&same_name, domain, peer, nothing)), Some("untrusted_issuer")),
            ("an expired one", with(mint(&own, domain, peer, |it| it.not_after = past)), Some("expired")),
            (
                "one with two names",
                with(mint(&own, domain, peer, |it| it.uris.push(id_of("payment")))),
                Some("several_uri_sans"),
            ),
            ("one without a name", with(mint(&own, domain, peer, |it| it.uris.clear())), Some("no_uri_san")),
            ("an authority's", with(mint(&own, domain, peer, |it| it.authority = true)), Some("signing_certificate")),
            ("its own, for HTTP/1.1", http_1, Some("no_http2")),
        ] {
            match (handshake(address, config).await, refused) {
                (Ok(server), None) => assert_eq!(server, id_of(listener), "{what}"),
                (Err(_), Some(reason)) => expected.refused(listener, "mesh", reason),
                (outcome, _) => panic!("{what} at {listener}: {outcome:?}, expected {refused:?}"),
            }
        }
    }
}

async fn refuses_clear_text_and_old_tls(mesh: &Mesh, expected: &mut Expected) {
    let running = mesh.running();
    let public = EDGES.into_iter().zip([&running.showcase_edge, &running.commerce_edge, &running.notify_ingress]);
    let public = public.map(|(edge, address)| (edge, "public", address));
    let mesh_ports = running.mesh.iter().map(|(key, address)| {
        let (workload, listener) = place(key);
        (workload, listener, address)
    });
    for (workload, listener, address) in mesh_ports.chain(public) {
        for (what, bytes) in [("HTTP/1.1", HTTP_1), ("HTTP/2", HTTP_2)] {
            let answer = send_plain(address, bytes).await;
            // An alert, or nothing; never a response.
            assert!(answer.first().is_none_or(|first| *first == 21), "{what} at {address}: {answer:?}");
            expected.refused(workload, listener, "not_tls");
        }
        let answer = send_plain(address, &tls12_hello()).await;
        assert_eq!(answer, WRONG_VERSION, "TLS 1.2 at {address}");
        expected.refused(workload, listener, "incompatible");
    }
    // The twin: the public ports speak TLS 1.3 without a client's certificate.
    for edge in EDGES {
        let outcome = call(&mesh.public(edge), "/grpc.health.v1.Health/Check", None, Bytes::new()).await;
        assert!(outcome.code().is_some(), "{edge} speaks TLS 1.3: {outcome:?}");
    }
}

/// A workload's call and an app's, each through a man in the middle. Returns which methods were called where.
async fn refuses_tampering(mesh: &Mesh, expected: &mut Expected) -> [(&'static str, &'static str); 2] {
    // No contract knows it; a call that arrives is counted all the same.
    let message = Bytes::from_static(&[0xff; 400]);
    let running = mesh.running();
    let as_ops = mesh.trusting_tls_as("ops", "payment").await;
    let as_app = web_tls(&running.web_authority);
    let balance = "/sekat.payment.v1.LedgerService/GetLedgerAccount";
    let order = "/sekat.order.v1.OrderService/GetOrder";
    for (workload, listener, address, config, path) in [
        ("payment", "mesh", &running.mesh["payment"], as_ops, balance),
        ("commerce-edge", "public", &running.commerce_edge, as_app, order),
    ] {
        let relay = Relay::before(address).await;
        let channel = channel(relay.address(), config, loopback_name());
        let untouched = call(&channel, path, None, message.clone()).await;
        assert!(untouched.code().is_some(), "an honest relay changes nothing: {untouched:?}");
        let recorded = relay.sent();
        for tampering in [Tampering::Alter, Tampering::Repeat] {
            relay.tamper(tampering);
            let outcome = call(&channel, path, None, message.clone()).await;
            // The answer to a record that arrived twice may leave before the second is read.
            assert!(outcome.code().is_none() || tampering == Tampering::Repeat, "{tampering:?}: {outcome:?}");
            expected.refused(workload, listener, "bad_record");
        }
        let answer = send_plain(address, &recorded).await;
        assert_eq!(answer.first(), Some(&22), "the server begins a handshake with keys of its own");
        expected.refused(workload, listener, "bad_record");
    }
    [("payment", balance), ("commerce-edge", order)]
}
