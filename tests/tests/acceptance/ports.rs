//! What each port lets in: the ports between workloads by certificate, the public ones by method and end user, the
//! health ports nothing but probes. Each refusal stands beside what is let in.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use acceptance::shop::{Buyer, Person, SessionScope, request_id};
use acceptance::wire::{Identity, Outcome, call, handshake, mint, plain_channel, send_plain, tls, tls12_hello};
use acceptance::{Mesh, wire};
use bytes::Bytes;
use rustls::ClientConfig;
use sekat_api_order::v1::CreateCartRequest;
use sekat_api_order::v1::cart_service_client::CartServiceClient;
use sekat_identity::ca::CertificateAuthority;
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::edges::{Edge, GARBAGE, UNKNOWN, domain_of, id_of, judge, paths};

const CHECK: &str = "/grpc.health.v1.Health/Check";
const REFLECTION: &str = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
/// Clear text that other servers would answer.
const HTTP_1: &[u8] = b"GET / HTTP/1.1\r\nHost: payment\r\n\r\n";
const HTTP_2: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
/// A fatal alert `protocol_version` (RFC 8446, section 6.2), as TLS 1.2 clients read it.
const WRONG_VERSION: [u8; 7] = [21, 3, 3, 0, 2, 2, 70];

#[tokio::test]
async fn a_port_between_workloads_lets_in_its_own_domain_and_no_other_certificate() {
    let mesh = Mesh::shared();
    let expired = |profile: &mut sekat_identity::ca::CertificateProfile| {
        profile.not_after = SystemTime::now() - Duration::from_secs(5);
    };
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
        for (what, config, is_let_in) in [
            ("its own", with(Identity::read(&mesh.identity(peer))), true),
            ("its own, minted here", with(mint(&own, domain, peer, nothing)), true),
            ("none", tls(None), false),
            ("the other domain's", with(mint(&foreign, other, "showcase", nothing)), false),
            ("its own name by the other domain's authority", with(mint(&foreign, domain, peer, nothing)), false),
            ("its own name by a stranger's authority", with(mint(&same_name, domain, peer, nothing)), false),
            ("an expired one", with(mint(&own, domain, peer, expired)), false),
            ("one with two names", with(mint(&own, domain, peer, |it| it.uris.push(id_of("payment")))), false),
            ("one without a name", with(mint(&own, domain, peer, |it| it.uris.clear())), false),
            ("an authority's", with(mint(&own, domain, peer, |it| it.authority = true)), false),
            ("its own, for HTTP/1.1", http_1, false),
        ] {
            match handshake(address, config).await {
                Ok(server) => assert!(is_let_in && server == id_of(listener), "{listener} lets {what} in as {server}"),
                Err(told) => assert!(!is_let_in, "{listener} refuses {what}: {told}"),
            }
        }
    }
}

#[tokio::test]
async fn the_feed_lets_in_both_domains_and_the_showcase_gets_into_no_other_port_of_commerce() {
    let mesh = Mesh::shared();
    for workload in ["showcase", "showcase-edge"] {
        let identity = Identity::read(&mesh.identity(workload));
        for (listener, address) in &mesh.running().mesh {
            let outcome = handshake(address, tls(Some(&identity))).await;
            let expected = ["showcase", "catalog-feed"].contains(&listener.as_str());
            assert_eq!(outcome.is_ok(), expected, "{workload} at {listener}: {outcome:?}");
        }
    }
    let foreign = mint(&mesh.authority("showcase"), "commerce", "showcase", |_| {});
    let feed = &mesh.running().mesh["catalog-feed"];
    let outcome = handshake(feed, tls(Some(&foreign))).await;
    assert!(outcome.is_err(), "each domain's authority speaks for its own names only: {outcome:?}");
}

#[tokio::test]
async fn clear_text_and_old_tls_are_refused_at_every_port_with_tls() {
    let mesh = Mesh::shared();
    let running = mesh.running();
    let public = [&running.showcase_edge, &running.commerce_edge, &running.notify_ingress];
    for address in running.mesh.values().chain(public) {
        for (what, bytes) in [("HTTP/1.1", HTTP_1), ("HTTP/2", HTTP_2)] {
            let answer = send_plain(address, bytes).await;
            // An alert, or nothing; never a response.
            assert!(answer.first().is_none_or(|first| *first == 21), "{what} at {address}: {answer:?}");
        }
        let answer = send_plain(address, &tls12_hello()).await;
        assert_eq!(answer, WRONG_VERSION, "TLS 1.2 at {address}");
    }
    // The twin: the same ports speak TLS 1.3, which the public ones do without a client's certificate.
    for edge in ["showcase-edge", "commerce-edge", "notify-ingress"] {
        let outcome = call(&mesh.public(edge), CHECK, None, Bytes::new()).await;
        assert!(outcome.code().is_some(), "{edge} speaks TLS 1.3: {outcome:?}");
    }
}

#[tokio::test]
async fn a_health_port_answers_probes_and_nothing_else() {
    let mesh = Mesh::shared();
    let health = mesh.running().health;
    assert_eq!(health.len(), 10, "one a workload: {health:?}");
    let edges = Edge::all();
    for (workload, address) in &health {
        assert!(wire::is_healthy(address).await, "{workload} serves");
        let channel = plain_channel(address);
        for path in paths(&edges).into_iter().chain([REFLECTION]) {
            let outcome = call(&channel, path, None, Bytes::new()).await;
            assert_eq!(outcome.code(), Some(Code::Unimplemented), "{path} at {workload}'s health port: {outcome:?}");
        }
        let outcome = handshake(address, tls(Some(&Identity::read(&mesh.identity(workload))))).await;
        assert!(outcome.is_err(), "{workload}'s health port speaks no TLS: {outcome:?}");
    }
}

#[tokio::test]
async fn the_public_reaches_what_its_scope_admits_and_neither_edge_takes_the_others_token() {
    let mesh = Mesh::shared();
    let edges = Edge::all();
    let mut people = vec![(None, None)];
    for scope in [SessionScope::Buyer, SessionScope::Seller, SessionScope::Creator] {
        people.push((Some(scope), Some(Person::sign_up(&mesh, scope).await)));
    }
    let mut violations = Vec::new();
    let mut reached = 0;
    for edge in ["showcase-edge", "commerce-edge"] {
        let channel = mesh.public(edge);
        for path in paths(&edges).into_iter().chain(UNKNOWN).chain([REFLECTION]) {
            // What an edge calls on its own behalf has no scope, and is not for the public.
            let right =
                edges.iter().find(|right| right.caller == edge && right.path == path && !right.scopes.is_empty());
            for (scope, person) in &people {
                for message in [Bytes::new(), GARBAGE] {
                    let outcome = call(&channel, path, person.as_ref().map(Person::token), message).await;
                    match judge(right, *scope, &outcome) {
                        Ok(handled) => reached += usize::from(handled),
                        Err(expected) => {
                            violations.push(format!("{scope:?} at {edge}{path}: {outcome:?}, expected {expected}"))
                        }
                    }
                }
            }
        }
    }
    assert!(violations.is_empty(), "{} violations:\n{}", violations.len(), violations.join("\n"));
    assert!(reached > 100, "{reached} calls reached a handler");
}

#[tokio::test]
async fn a_field_beyond_the_limit_of_its_contract_is_refused_by_name() {
    let mesh = Mesh::shared();
    let buyer = Buyer::sign_up(&mesh).await;
    let mut carts = CartServiceClient::new(mesh.public("commerce-edge"));
    let mut create = async |request_id: String| {
        let creation = CreateCartRequest { request_id, ..Default::default() };
        carts.create_cart(buyer.request(creation)).await.map(tonic::Response::into_inner)
    };
    create(request_id()).await.expect("36 bytes are within the 64");
    let refused = create("x".repeat(65)).await.expect_err("65 bytes are not");
    assert_eq!(refused.code(), Code::InvalidArgument);
    let fields = refused.get_details_bad_request().expect("a BadRequest").field_violations;
    let named: Vec<_> = fields.iter().map(|found| (found.field.as_str(), found.description.as_str())).collect();
    assert_eq!(named, [("request_id", "must be at most 64 bytes long")]);
}

#[tokio::test]
async fn a_token_that_was_altered_or_made_by_somebody_else_is_refused() {
    let mesh = Mesh::shared();
    let buyer = Person::sign_up(&mesh, SessionScope::Buyer).await;
    let path = "/sekat.order.v1.OrderService/ListOrders";
    let channel = mesh.public("commerce-edge");
    let (head, signature) = buyer.token().rsplit_once('.').expect("a compact JWS");
    let flipped: String = signature.chars().rev().collect();
    for (what, token, holds) in [
        ("her own", buyer.token().to_owned(), true),
        ("another signature", format!("{head}.{flipped}"), false),
        ("no signature", format!("{head}."), false),
        ("no token at all", "token".to_owned(), false),
        ("the refresh token", buyer.session.refresh_token.clone(), false),
    ] {
        let outcome = call(&channel, path, Some(&token), Bytes::new()).await;
        let refused = outcome.is(Code::Unauthenticated, "END_USER_TOKEN");
        assert_eq!(refused, !holds, "{what}: {outcome:?}");
    }
}

#[tokio::test]
async fn providers_find_one_path_at_notify_ingress_and_no_grpc() {
    let mesh = Mesh::shared();
    let channel = mesh.public("notify-ingress");
    let edges = Edge::all();
    for path in paths(&edges).into_iter().chain([CHECK, REFLECTION]) {
        let outcome = call(&channel, path, None, Bytes::new()).await;
        // HTTP 404, which gRPC clients read so.
        assert_eq!(outcome.code(), Some(Code::Unimplemented), "{path}: {outcome:?}");
    }
    let outcome = call(&channel, "/v1.0/transfer-va/payment", None, GARBAGE).await;
    let answered = outcome.code().is_some_and(|code| code != Code::Unimplemented);
    assert!(answered, "the one path is served, and refuses what no bank signed: {outcome:?}");
}

#[tokio::test]
async fn reflection_is_for_ops_alone() {
    let mesh = Mesh::shared();
    for listener in ["order", "payment", "account"] {
        for (workload, may) in [("ops", true), ("commerce-edge", false), ("merchant", false)] {
            let identity = Identity::read(&mesh.identity(workload));
            let channel = mesh.channel_as(Some(&identity), listener);
            let outcome = call(&channel, REFLECTION, None, Bytes::new()).await;
            let reached = matches!(outcome, Outcome::Answered { .. }) && !outcome.is_denied_by_policy();
            assert_eq!(reached, may, "{workload} at {listener}: {outcome:?}");
        }
    }
}
