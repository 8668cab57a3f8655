//! The public side: what an edge lets through, for whom, and how it looks further in.

use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message as _;
use rustls_pki_types::ServerName;
use sekat_identity::end_user::{Audience, EndUserClaims, ISSUER, Scope};
use sekat_identity::jws::SigningKey;
use sekat_identity::tls::web_client_config;
use sekat_mesh::context::TraceContext;
use sekat_mesh::{Mesh, refusal};
use tonic::{Code, Status};

use crate::harness::{
    Call, ECHO, ECHO_ID, EDGE, EagerLog, FRONT, Handlers, Process, World, attribute, call, spans, text,
};

const ECHO_PATH: &str = "/test.v1.EchoService/Echo";
const BUYERS_PATH: &str = "/test.v1.EchoService/Buyers";
const GRPC: &str = "application/grpc";
const GRPC_WEB: &str = "application/grpc-web+proto";

/// A service behind an edge, the key of users' tokens, and what the service saw last.
struct Public {
    world: World,
    key: SigningKey,
    seen: Arc<Mutex<Option<Call>>>,
    service: Process,
    edge: Process,
}

impl Public {
    async fn open(variables: &[(&str, String)]) -> Self {
        let world = World::new();
        let key = SigningKey::generate().unwrap();
        let trust = ("SEKAT_TRUST_DIR", world.trust(&key.public_pem()).display().to_string());
        let seen: Arc<Mutex<Option<Call>>> = Arc::default();
        let last = Arc::clone(&seen);
        let handlers = Handlers::unary(move |call| {
            let reply = text(call.text.clone());
            *last.lock().unwrap() = Some(call);
            async move { Ok(reply) }
        });
        let otlp = ("SEKAT_OTLP", format!("file:{}", world.path("otlp").display()));
        let mesh = world.process(ECHO_ID, &[trust.clone(), otlp.clone()]).await;
        let server = mesh.server().api(&ECHO, handlers.echo_routes()).access_log(Arc::new(EagerLog));
        let service = Process::start(&mesh, server).await;

        let web = ("SEKAT_WEB_TLS_DIR", web_identity(&world));
        let upstream = ("SEKAT_UPSTREAM_ECHO", service.address("mesh"));
        let mesh = world.process(EDGE, &[&[trust, otlp, web, upstream], variables].concat()).await;
        let server = mesh.server().edge([&ECHO], mesh.client(&ECHO).unwrap());
        let edge = Process::start(&mesh, server).await;
        Self { world, key, seen, service, edge }
    }

    fn token(&self, scope: Scope) -> String {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        let account = "accounts/3f1e9c7a-5b2d-4c1e-8f3a-2b7d9e6c1a04";
        let session = "sessions/7c2a1d3e-9b4f-4e5a-8c6d-1f2e3a4b5c6d";
        let creator = scope == Scope::Creator;
        let claims = EndUserClaims {
            iss: ISSUER.to_owned(),
            aud: if creator { Audience::ShowcaseEdge } else { Audience::CommerceEdge },
            sub: if creator { "sari".to_owned() } else { account.to_owned() },
            sid: if creator { session.to_owned() } else { format!("{account}/{session}") },
            scope,
            merchant: (scope == Scope::Seller).then(|| "merchants/5d4c3b2a-1f0e-4d9c-8b7a-6e5f4d3c2b1a".to_owned()),
            exp: now + 600,
            iat: now,
        };
        claims.sign(&self.key).unwrap()
    }

    /// One public call; its status and the text of the answer.
    async fn call(&self, path: &str, headers: &[(&str, &str)]) -> Result<String, Status> {
        let response = self.exchange(Protocol::Http2, path, GRPC, headers).await;
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap();
        let trailers = body.trailers().cloned().unwrap_or_default();
        let status = Status::from_header_map(&trailers).or_else(|| Status::from_header_map(&parts.headers)).unwrap();
        if status.code() != Code::Ok {
            return Err(status);
        }
        Ok(crate::harness::Text::decode(&body.to_bytes()[5..]).unwrap().text)
    }

    async fn exchange(
        &self,
        protocol: Protocol,
        path: &str,
        content_type: &str,
        headers: &[(&str, &str)],
    ) -> Response<Incoming> {
        let mut builder = Request::post(format!("https://localhost{path}"))
            .header(header::CONTENT_TYPE, content_type)
            .header(header::TE, "trailers");
        if matches!(protocol, Protocol::Http1) {
            builder = Request::post(path).header(header::HOST, "localhost").header(header::CONTENT_TYPE, content_type);
        }
        for (name, value) in headers {
            builder = builder.header(*name, *value);
        }
        send(&self.world, &self.edge, protocol, builder.body(framed("hello")).unwrap()).await
    }
}

#[derive(Clone, Copy)]
enum Protocol {
    Http1,
    Http2,
}

fn framed(message: &str) -> Full<Bytes> {
    let message = text(message).encode_to_vec();
    let mut bytes = vec![0];
    bytes.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
    bytes.extend(message);
    Full::new(bytes.into())
}

/// A certificate for `localhost` in a directory for `SEKAT_WEB_TLS_DIR`.
fn web_identity(world: &World) -> String {
    let dir = world.path("web");
    std::fs::create_dir_all(&dir).unwrap();
    let address = IpAddr::from([127, 0, 0, 1]);
    let issued = world.commerce.issue_web_server(&["localhost"], &[address], Duration::from_secs(3_600)).unwrap();
    std::fs::write(dir.join("tls.crt"), issued.chain_pem).unwrap();
    std::fs::write(dir.join("tls.key"), issued.key_pem).unwrap();
    dir.display().to_string()
}

async fn send(world: &World, to: &Process, protocol: Protocol, request: Request<Full<Bytes>>) -> Response<Incoming> {
    let alpn: &[u8] = match protocol {
        Protocol::Http1 => b"http/1.1",
        Protocol::Http2 => b"h2",
    };
    let tls = web_client_config(world.commerce.bundle_pem().as_bytes(), &[alpn]).unwrap();
    let stream = tokio::net::TcpStream::connect(to.address("public")).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let stream = tokio_rustls::TlsConnector::from(tls).connect(name, stream).await.unwrap();
    match protocol {
        Protocol::Http1 => {
            let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
            tokio::spawn(connection);
            sender.send_request(request).await.unwrap()
        }
        Protocol::Http2 => {
            let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
            let (mut sender, connection) = handshake.await.unwrap();
            tokio::spawn(connection);
            sender.send_request(request).await.unwrap()
        }
    }
}

#[tokio::test]
async fn an_edge_forwards_what_the_contract_lets_it_and_nothing_else() {
    let public = Public::open(&[]).await;
    assert_eq!(public.call(ECHO_PATH, &[]).await.unwrap(), "hello");
    assert_eq!(public.seen.lock().unwrap().as_ref().unwrap().permit.caller().as_str(), EDGE);

    for path in ["/test.v1.EchoService/Internal", "/test.v1.EchoService/Nothing", "/grpc.health.v1.Health/Check"] {
        let status = public.call(path, &[]).await.unwrap_err();
        assert_eq!(refusal::reason(&status).as_deref(), Some("POLICY_DENIED"), "{path}");
    }
    let seen = public.service.mesh.counters();
    assert_eq!(seen.iter().map(|count| count.count).sum::<u64>(), 1, "{seen:?}");
}

#[tokio::test]
async fn a_buyers_method_takes_a_buyers_token_and_no_other() {
    let public = Public::open(&[]).await;
    let bearer = |token: &str| format!("Bearer {token}");
    let buyer = bearer(&public.token(Scope::Buyer));
    for _ in 0..2 {
        assert_eq!(public.call(BUYERS_PATH, &[("authorization", &buyer)]).await.unwrap(), "hello");
    }
    {
        let seen = public.seen.lock().unwrap();
        let permit = &seen.as_ref().unwrap().permit;
        assert!(permit.buyer().unwrap().starts_with("accounts/"));
        assert_eq!(permit.account().unwrap(), permit.buyer().unwrap());
        assert_eq!(permit.access().end_user, permit.buyer().unwrap());
        assert_eq!(permit.seller().unwrap_err().code(), Code::PermissionDenied);
    }
    let foreign = Public::open(&[]).await.token(Scope::Buyer);
    let tampered = format!("{}x", public.token(Scope::Buyer));
    for (authorization, code) in [
        (None, Code::Unauthenticated),
        (Some(bearer(&public.token(Scope::Seller))), Code::PermissionDenied),
        (Some(bearer(&public.token(Scope::Creator))), Code::Unauthenticated),
        (Some(bearer(&foreign)), Code::Unauthenticated),
        (Some(bearer(&tampered)), Code::Unauthenticated),
        (Some(bearer("")), Code::Unauthenticated),
        (Some("Basic YTpi".to_owned()), Code::Unauthenticated),
    ] {
        let headers: Vec<_> = authorization.iter().map(|value| ("authorization", value.as_str())).collect();
        assert_eq!(public.call(BUYERS_PATH, &headers).await.unwrap_err().code(), code, "{authorization:?}");
    }
    // A bad token is not ignored where none is needed.
    let status = public.call(ECHO_PATH, &[("authorization", &bearer(&foreign))]).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
}

#[tokio::test]
async fn the_service_checks_users_itself_and_does_not_take_an_edges_word() {
    let public = Public::open(&[]).await;
    // An edge that forgot to check: the same identity, calling directly.
    let careless = public.edge.mesh.client(&ECHO).unwrap();
    let status = call(&careless, BUYERS_PATH, text("a")).await.unwrap_err();
    assert_eq!(refusal::reason(&status).as_deref(), Some("END_USER_REQUIRED"));

    let (_front, front) = public.world.client(FRONT, &public.service).await;
    assert!(call(&front, "/test.v1.EchoService/Internal", text("a")).await.is_ok());
}

#[tokio::test]
async fn grpc_web_over_http_1_is_understood_and_other_http_is_not() {
    let public = Public::open(&[]).await;
    let response = public.exchange(Protocol::Http1, ECHO_PATH, GRPC_WEB, &[]).await;
    assert_eq!(response.status(), 200);
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let body = String::from_utf8_lossy(&body);
    assert!(body.contains("hello") && body.contains("grpc-status:0"), "{body:?}");

    let refused = public.exchange(Protocol::Http1, "/test.v1.EchoService/Internal", GRPC_WEB, &[]).await;
    let in_headers = refused.headers().get("grpc-status").cloned();
    let body = refused.into_body().collect().await.unwrap().to_bytes();
    let denied = in_headers.is_some_and(|code| code == "7") || String::from_utf8_lossy(&body).contains("grpc-status:7");
    assert!(denied, "{body:?}");
    assert_eq!(public.exchange(Protocol::Http1, ECHO_PATH, "text/html", &[]).await.status(), 400);
}

#[tokio::test]
async fn strangers_choose_the_trace_id_but_neither_sampling_nor_baggage() {
    let stated = TraceContext::root(false);
    let traceparent = stated.to_traceparent();
    let headers = [("traceparent", traceparent.as_str()), ("tracestate", "a=b"), ("baggage", "c=d"), ("cookie", "e=f")];
    for (ratio, sampled) in [("1", true), ("0", false)] {
        let public = Public::open(&[("SEKAT_SAMPLE_RATIO", ratio.to_owned())]).await;
        public.call(ECHO_PATH, &headers).await.unwrap();
        let seen = public.seen.lock().unwrap().take().unwrap();
        let trace = seen.permit.trace();
        assert_eq!((trace.trace_id, trace.sampled), (stated.trace_id, sampled));
        for dropped in ["tracestate", "baggage", "cookie"] {
            assert!(!seen.headers.contains_key(dropped), "{dropped}");
        }
        for mesh in [&public.edge.mesh, &public.service.mesh] {
            mesh.flush().await;
        }
        let spans = spans(&public.world.path("otlp"));
        assert_eq!(spans.len(), if sampled { 3 } else { 0 });
        for (service, span) in spans.iter().filter(|(service, span)| service == "commerce-edge" && span.kind == 2) {
            assert_eq!(span.parent_span_id, stated.span_id, "{service}");
            assert_eq!(attribute(&span.attributes, "sekat.peer.id"), None);
        }
    }
}

async fn ingress(world: &World) -> (Mesh, Process) {
    let web = ("SEKAT_WEB_TLS_DIR", web_identity(world));
    let otlp = ("SEKAT_OTLP", format!("file:{}", world.path("otlp").display()));
    let mesh = world.process("spiffe://commerce.sekat.local/notify-ingress", &[web, otlp]).await;
    let router = axum::Router::new().route("/notify/{bank}", axum::routing::post(async |body: Bytes| body));
    let process = Process::start(&mesh, mesh.server().https(router)).await;
    (mesh, process)
}

#[tokio::test]
async fn a_webhook_is_served_limited_and_traced_by_its_route() {
    let world = World::new();
    let (mesh, ingress) = ingress(&world).await;
    let post = |path: &str, bytes: usize| {
        let request = Request::post(path).header(header::HOST, "localhost");
        request.body(Full::new(Bytes::from(vec![b'x'; bytes]))).unwrap()
    };
    for (path, bytes, status) in
        [("/notify/bca-4711", 2_048, 200), ("/notify/bca-4711", 100_000, 413), ("/elsewhere-4711", 10, 404)]
    {
        let response = send(&world, &ingress, Protocol::Http1, post(path, bytes)).await;
        assert_eq!(response.status(), status, "{path}");
    }
    mesh.flush().await;
    let spans = spans(&world.path("otlp"));
    let names: Vec<_> = spans.iter().map(|(_, span)| span.name.as_str()).collect();
    assert_eq!(names, ["POST /notify/{bank}", "POST /notify/{bank}", "POST _OTHER"]);
    assert!(!format!("{spans:?}").contains("4711"), "what a caller wrote is in a span");
}
