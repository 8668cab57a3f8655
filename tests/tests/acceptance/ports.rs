//! What each port lets in: the ports between workloads by certificate, the public ones by method and end user, the
//! health ports nothing but probes. Each refusal stands beside what is let in. What is not even TLS, or not by whom it
//! claims to be, is in `man_in_the_middle`.

use acceptance::shop::{Buyer, Person, SessionScope, request_id};
use acceptance::wire::{Identity, Outcome, call, handshake, mint, plain_channel, tls};
use acceptance::{Mesh, wire};
use bytes::Bytes;
use sekat_api_order::v1::CreateCartRequest;
use sekat_api_order::v1::cart_service_client::CartServiceClient;
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::edges::{Edge, GARBAGE, UNKNOWN, judge, paths};

const CHECK: &str = "/grpc.health.v1.Health/Check";
const REFLECTION: &str = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";

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
