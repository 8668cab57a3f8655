//! Who gets in, and who does not.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::{Method, Request, header};
use sekat_identity::ca::{CertificateAuthority, write_identity};
use sekat_mesh::{Channel, Direction, Mesh, refusal};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tonic::body::Body;
use tonic::{Code, Status};
use tower::Service as _;

use crate::harness::{
    COMMERCE, ECHO, ECHO_ID, EagerLog, FEED, FRONT, Handlers, PATIENCE, Process, SHOWCASE_ID, STRANGER, World, call,
    echo, text,
};

const ECHO_PATH: &str = "/test.v1.EchoService/Echo";

fn counted(mesh: &Mesh, peer: &str, method: &str, status: &str) -> u64 {
    let counts = mesh.counters().into_iter().filter(|count| count.direction == Direction::Server);
    counts.filter(|c| (c.peer.as_str(), c.method, c.status) == (peer, method, status)).map(|c| c.count).sum()
}

#[tokio::test]
async fn a_declared_caller_reaches_the_handler_and_nobody_else_does() {
    let world = World::new();
    let reached = Arc::new(AtomicUsize::new(0));
    let handled = Arc::clone(&reached);
    let server = world
        .echo(Handlers::unary(move |call| {
            handled.fetch_add(1, Ordering::SeqCst);
            async move {
                assert_eq!(call.permit.caller().as_str(), FRONT);
                Ok(text(call.text))
            }
        }))
        .await;
    let (_front, allowed) = world.client(FRONT, &server).await;
    let (_stranger, denied) = world.client(STRANGER, &server).await;

    assert_eq!(call(&allowed, ECHO_PATH, text("hello")).await.unwrap().text, "hello");
    let refused = call(&denied, ECHO_PATH, text("hello")).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    assert_eq!(refusal::reason(&refused).as_deref(), Some("POLICY_DENIED"));
    assert_eq!(reached.load(Ordering::SeqCst), 1, "the refused call reached the handler");

    assert_eq!(counted(&server.mesh, FRONT, ECHO_PATH, "OK"), 1);
    assert_eq!(counted(&server.mesh, STRANGER, ECHO_PATH, "PERMISSION_DENIED"), 1);
}

#[tokio::test]
async fn an_unknown_method_looks_like_a_forbidden_one() {
    let world = World::new();
    let server = world.echo(echo()).await;
    let (_front, front) = world.client(FRONT, &server).await;
    let (_stranger, stranger) = world.client(STRANGER, &server).await;
    let forbidden = call(&stranger, ECHO_PATH, text("")).await.unwrap_err();
    for path in ["/test.v1.EchoService/Nothing", "/test.v1.Nothing/Echo", "/test.v1.EchoService/Echo/", "//x", "/"] {
        let unknown = call(&front, path, text("")).await.unwrap_err();
        let told = |status: &Status| (status.code(), status.message().to_owned(), status.details().to_vec());
        assert_eq!(told(&unknown), told(&forbidden), "{path}");
    }
    assert_eq!(counted(&server.mesh, FRONT, "_OTHER", "PERMISSION_DENIED"), 5);
}

async fn raw(channel: &Channel, method: Method, path: &str, content_type: &str) -> Code {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::CONTENT_TYPE, content_type)
        .header(header::TE, "trailers")
        .body(Body::empty())
        .unwrap();
    let response = channel.clone().call(request).await.unwrap();
    Status::from_header_map(response.headers()).unwrap().code()
}

#[tokio::test]
async fn only_the_canonical_spelling_of_a_call_is_one() {
    let world = World::new();
    let server = world.echo(echo()).await;
    let (_front, front) = world.client(FRONT, &server).await;
    for (method, path, content_type, code) in [
        (Method::GET, ECHO_PATH, "application/grpc", Code::InvalidArgument),
        (Method::POST, ECHO_PATH, "application/json", Code::InvalidArgument),
        (Method::POST, ECHO_PATH, "application/grpc-web", Code::InvalidArgument),
        (Method::POST, "/test.v1.EchoService/Echo?x=1", "application/grpc", Code::InvalidArgument),
        (Method::POST, "/test.v1.EchoService/%45cho", "application/grpc", Code::PermissionDenied),
        (Method::POST, "/test.v1.echoservice/Echo", "application/grpc", Code::PermissionDenied),
    ] {
        assert_eq!(raw(&front, method, path, content_type).await, code, "{path} {content_type}");
    }
}

#[tokio::test]
async fn the_other_domain_reaches_the_feed_and_nothing_else() {
    let world = World::new();
    let mesh = world.process(ECHO_ID, &[("SEKAT_TRUST_DIR", world.default_trust())]).await;
    let server =
        mesh.server().api(&ECHO, echo().echo_routes()).api(&FEED, echo().feed_routes()).access_log(Arc::new(EagerLog));
    let server = Process::start(&mesh, server).await;
    let upstreams =
        [("SEKAT_UPSTREAM_ECHO", server.address("mesh")), ("SEKAT_UPSTREAM_ECHO_FEED", server.address("feed"))];

    let showcase = world.process(SHOWCASE_ID, &upstreams).await;
    let (feed, echo) = (showcase.client(&FEED).unwrap(), showcase.client(&ECHO).unwrap());
    assert_eq!(call(&feed, "/feed.v1.FeedService/Get", text("a")).await.unwrap().text, "a");
    assert_eq!(call(&feed, ECHO_PATH, text("a")).await.unwrap_err().code(), Code::PermissionDenied);
    assert_eq!(call(&echo, ECHO_PATH, text("a")).await.unwrap_err().code(), Code::Unavailable, "refused at TLS");

    let front = world.process(FRONT, &upstreams).await;
    let feed = front.client(&FEED).unwrap();
    assert_eq!(call(&feed, "/feed.v1.FeedService/Get", text("a")).await.unwrap_err().code(), Code::PermissionDenied);
}

#[tokio::test]
async fn an_identity_of_another_authority_is_refused() {
    let world = World::new();
    let server = world.echo(echo()).await;
    let impostor = World { commerce: CertificateAuthority::new(COMMERCE).unwrap(), ..World::new() };
    // It trusts the real authority, so that the refusal is the server's.
    let (mesh, channel) = impostor.client(FRONT, &server).await;
    let id = mesh.id().clone();
    let issued = impostor.commerce.issue(&id, std::time::Duration::from_secs(60)).unwrap();
    let both = format!("{}{}", impostor.commerce.bundle_pem(), world.commerce.bundle_pem());
    write_identity(&impostor.path("front"), &issued, &both, &[]).unwrap();
    mesh.source().refresh_now().await.unwrap();
    assert_eq!(call(&channel, ECHO_PATH, text("a")).await.unwrap_err().code(), Code::Unavailable);
    assert_eq!(server.mesh.counters(), [], "no call was seen");
}

#[tokio::test]
async fn a_peer_whose_authority_is_withdrawn_is_cut_off_on_its_open_connection() {
    let world = World::new();
    let server = world.echo(echo()).await;
    let (_front, front) = world.client(FRONT, &server).await;
    assert!(call(&front, ECHO_PATH, text("a")).await.is_ok());

    let successor = CertificateAuthority::new(COMMERCE).unwrap();
    let issued = successor.issue(server.mesh.id(), std::time::Duration::from_secs(60)).unwrap();
    write_identity(&world.path("echo"), &issued, successor.bundle_pem(), &[]).unwrap();
    server.mesh.source().refresh_now().await.unwrap();

    // It is refused before the call is looked at, and a new connection is not let in.
    let refused = call(&front, ECHO_PATH, text("a")).await.unwrap_err();
    assert_eq!(refusal::reason(&refused).as_deref(), Some("UNREACHABLE"), "{refused:?}");
    let counted: Vec<_> = server.mesh.counters().iter().map(|count| (count.status, count.count)).collect();
    assert!(counted.contains(&("OK", 1)) && counted.contains(&("UNAUTHENTICATED", 1)), "{counted:?}");
}

#[tokio::test]
async fn reflection_is_for_ops_and_for_developers_only() {
    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
    use tonic_reflection::pb::v1::{ServerReflectionRequest, server_reflection_request::MessageRequest};
    let list = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let ops = "spiffe://commerce.sekat.local/ops";
    for (profile, caller, allowed) in [("dev", ops, true), ("dev", FRONT, false), ("prod", ops, false)] {
        let world = World::new();
        let variables = [("SEKAT_TRUST_DIR", world.default_trust()), ("SEKAT_PROFILE", profile.to_owned())];
        let mesh = world.process(ECHO_ID, &variables).await;
        let server = mesh.server().api(&ECHO, echo().echo_routes()).access_log(Arc::new(EagerLog));
        let server = Process::start(&mesh, server).await;
        let (_mesh, channel) = world.client(caller, &server).await;
        let answer =
            ServerReflectionClient::new(channel).server_reflection_info(tokio_stream::once(list.clone())).await;
        match answer {
            Ok(mut texts) => {
                assert!(allowed && texts.get_mut().message().await.unwrap().is_some(), "{profile} {caller}")
            }
            Err(status) => assert!(!allowed && status.code() == Code::PermissionDenied, "{profile} {caller} {status}"),
        }
    }
}

#[tokio::test]
async fn plain_text_gets_no_answer() {
    let world = World::new();
    let server = world.echo(echo()).await;
    for hello in [&b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..], b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
        let mut stream = tokio::net::TcpStream::connect(server.address("mesh")).await.unwrap();
        stream.write_all(hello).await.unwrap();
        let mut answer = Vec::new();
        let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("it is closed");
        // A TLS alert at most; never a byte of HTTP.
        assert!(read.is_err() || answer.first().is_none_or(|byte| *byte == 0x15), "{answer:?}");
    }
}
