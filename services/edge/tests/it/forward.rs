//! What passes an edge, and what does not.

use std::collections::BTreeSet;
use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Request, Response, header};
use http_body::Frame;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Bytes;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use sekat_identity::end_user::Scope;
use sekat_mesh::context::TraceContext;
use sekat_mesh::{Env, refusal};
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use tonic::body::Body;
use tonic::{Code, Status};

use crate::harness::{
    CREATE_SESSION, GET_ORDER, GET_PRODUCT, PATIENCE, REPLY, REQUEST, VERIFY_SESSION, World, empty, ok, refused,
};

const WATCH_ORDER: &str = "/sekat.order.v1.OrderService/WatchOrder";
const CREATE_LISTING: &str = "/sekat.catalog.v1.ListingService/CreateListing";
const GET_SHOWCASE: &str = "/sekat.showcase.v1.ShowcaseService/GetShowcase";
const CREATE_SHOWCASE: &str = "/sekat.showcase.v1.ShowcaseService/CreateShowcase";

fn names(headers: &HeaderMap) -> BTreeSet<&str> {
    headers.keys().map(http::HeaderName::as_str).collect()
}

#[tokio::test]
async fn a_call_passes_with_its_token_and_without_whatever_else_came_along() {
    let world = World::new();
    let account = world.upstream("commerce-edge", "account", empty).await;
    let order = world.upstream("commerce-edge", "order", ok).await;
    let edge = world.edge("commerce-edge", &[&account, &order], &[]).await;
    let buyer = world.sign_in(Scope::Buyer);
    let headers = [
        ("authorization", buyer.as_str()),
        ("tracestate", "a=b"),
        ("baggage", "c=d"),
        ("cookie", "e=f"),
        ("user-agent", "an app"),
        ("x-forwarded-for", "192.0.2.1"),
        ("x-junk-bin", "aaaa"),
        ("grpc-timeout", "5S"),
    ];
    let answer = edge.app().await.call(GET_ORDER, &headers).await;

    let [seen] = order.seen().try_into().unwrap();
    assert_eq!((seen.path.as_str(), seen.body.as_ref()), (GET_ORDER, REQUEST));
    let passed_on = BTreeSet::from(["authorization", "content-type", "grpc-timeout", "te", "traceparent"]);
    assert_eq!(names(&seen.headers), passed_on);
    assert_eq!(seen.headers[header::AUTHORIZATION], buyer.as_str());

    assert_eq!((answer.status.code(), answer.body.as_ref()), (Code::Ok, REPLY));
    assert_eq!(names(&answer.headers), BTreeSet::from(["content-type"]));
    assert_eq!(names(&answer.trailers), BTreeSet::from(["grpc-status"]));
}

#[tokio::test]
async fn a_refusal_comes_back_with_its_details() {
    let world = World::new();
    let refusal = refusal::refuse(Code::NotFound, "PRODUCT_NOT_FOUND", "no such product");
    let catalog = world.upstream("commerce-edge", "catalog", move |_| refused(&refusal)).await;
    let edge = world.edge("commerce-edge", &[&catalog], &[]).await;
    let answer = edge.app().await.call(GET_PRODUCT, &[]).await;
    assert_eq!((answer.status.code(), answer.status.message()), (Code::NotFound, "no such product"));
    assert_eq!(refusal::reason(&answer.status).as_deref(), Some("PRODUCT_NOT_FOUND"));
    let kept = BTreeSet::from(["content-type", "grpc-message", "grpc-status", "grpc-status-details-bin"]);
    assert_eq!(names(&answer.headers), kept);
}

#[tokio::test]
async fn a_compressed_message_is_refused_where_it_can_still_be_told_apart() {
    let world = World::new();
    let catalog = world.upstream("commerce-edge", "catalog", ok).await;
    let app = world.edge("commerce-edge", &[&catalog], &[]).await.app().await;
    let answer = app.call(GET_PRODUCT, &[("grpc-encoding", "gzip")]).await;
    assert_eq!(refusal::reason(&answer.status).as_deref(), Some("COMPRESSION"));
    assert_eq!(answer.headers["grpc-accept-encoding"], "identity");
    assert_eq!(app.call(GET_PRODUCT, &[("grpc-encoding", "identity")]).await.status.code(), Code::Ok);
    assert_eq!(catalog.seen().len(), 1);
}

#[tokio::test]
async fn a_stream_passes_message_by_message() {
    let world = World::new();
    let account = world.upstream("commerce-edge", "account", empty).await;
    // The second message is sent only once the app has got the first.
    let first_arrived = Arc::new(Semaphore::new(0));
    let gate = Arc::clone(&first_arrived);
    let script = move |_: &_| {
        let gate = Arc::clone(&gate);
        let (messages, body) = mpsc::channel::<Result<Frame<Bytes>, Status>>(1);
        tokio::spawn(async move {
            messages.send(Ok(Frame::data(Bytes::from_static(REPLY)))).await.unwrap();
            gate.acquire().await.unwrap().forget();
            messages.send(Ok(Frame::data(Bytes::from_static(REPLY)))).await.unwrap();
            let trailers = HeaderMap::from_iter([(Status::GRPC_STATUS, HeaderValue::from_static("10"))]);
            messages.send(Ok(Frame::trailers(trailers))).await.unwrap();
        });
        let mut response = Response::new(Body::new(StreamBody::new(ReceiverStream::new(body))));
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        response
    };
    let order = world.upstream("commerce-edge", "order", script).await;
    let edge = world.edge("commerce-edge", &[&account, &order], &[]).await;
    let buyer = world.sign_in(Scope::Buyer);
    let response = edge.app().await.open(WATCH_ORDER, &[("authorization", &buyer)]).await;
    let mut frames = Box::pin(response.into_body().into_data_stream());
    let mut next = async || tokio::time::timeout(PATIENCE, frames.next()).await.expect("a message");
    assert_eq!(next().await.unwrap().unwrap(), REPLY);
    first_arrived.add_permits(1);
    assert_eq!(next().await.unwrap().unwrap(), REPLY);

    first_arrived.add_permits(1);
    let again = edge.app().await.call(WATCH_ORDER, &[("authorization", &buyer)]).await;
    assert_eq!((again.status.code(), again.body.len()), (Code::Aborted, 2 * REPLY.len()));
}

#[tokio::test]
async fn an_edge_passes_on_what_the_contracts_let_it_and_nothing_else() {
    let world = World::new();
    let catalog = world.upstream("commerce-edge", "catalog", ok).await;
    let showcase = world.upstream("showcase-edge", "showcase", ok).await;
    let commerce_edge = world.edge("commerce-edge", &[&catalog], &[]).await.app().await;
    let showcase_edge = world.edge("showcase-edge", &[&showcase], &[]).await.app().await;
    assert_eq!(commerce_edge.call(GET_PRODUCT, &[]).await.status.code(), Code::Ok);
    assert_eq!(showcase_edge.call(GET_SHOWCASE, &[]).await.status.code(), Code::Ok);
    for (app, path) in [
        (&commerce_edge, GET_SHOWCASE),
        (&commerce_edge, "/sekat.catalog.v1.PricingService/QuotePrices"),
        (&commerce_edge, "/sekat.catalog.feed.v1.ProductFeedService/ListFeedProducts"),
        (&commerce_edge, "/sekat.payment.v1.NotificationService/IngestNotification"),
        (&commerce_edge, "/sekat.catalog.v1.ProductService/Nothing"),
        (&commerce_edge, "/grpc.health.v1.Health/Check"),
        (&showcase_edge, GET_PRODUCT),
        (&showcase_edge, GET_ORDER),
        (&showcase_edge, CREATE_SESSION),
        (&showcase_edge, "//sekat.showcase.v1.ShowcaseService/GetShowcase"),
    ] {
        let status = app.call(path, &[]).await.status;
        assert_eq!(status.code(), Code::PermissionDenied, "{path}");
        assert_eq!(refusal::reason(&status).as_deref(), Some("POLICY_DENIED"), "{path}");
    }
    assert_eq!((catalog.seen().len(), showcase.seen().len()), (1, 1));
}

#[tokio::test]
async fn a_token_holds_for_its_scope_at_its_edge() {
    let world = World::new();
    let account = world.upstream("commerce-edge", "account", empty).await;
    let order = world.upstream("commerce-edge", "order", ok).await;
    let catalog = world.upstream("commerce-edge", "catalog", ok).await;
    let showcase = world.upstream("showcase-edge", "showcase", ok).await;
    let commerce_edge = world.edge("commerce-edge", &[&account, &order, &catalog], &[]).await.app().await;
    let showcase_edge = world.edge("showcase-edge", &[&showcase], &[]).await.app().await;
    let [buyer, seller, creator] = [Scope::Buyer, Scope::Seller, Scope::Creator].map(|scope| world.sign_in(scope));
    let stranger = World::new().sign_in(Scope::Buyer);
    for (app, path, who, authorization, code) in [
        (&commerce_edge, GET_ORDER, "buyer", &buyer, Code::Ok),
        (&commerce_edge, GET_ORDER, "seller", &seller, Code::PermissionDenied),
        (&commerce_edge, GET_ORDER, "creator", &creator, Code::Unauthenticated),
        (&commerce_edge, GET_ORDER, "stranger", &stranger, Code::Unauthenticated),
        (&commerce_edge, CREATE_LISTING, "seller", &seller, Code::Ok),
        (&commerce_edge, CREATE_LISTING, "buyer", &buyer, Code::PermissionDenied),
        (&showcase_edge, CREATE_SHOWCASE, "creator", &creator, Code::Ok),
        (&showcase_edge, CREATE_SHOWCASE, "buyer", &buyer, Code::Unauthenticated),
        // A token of the other edge is not ignored where none is needed.
        (&showcase_edge, GET_SHOWCASE, "buyer", &buyer, Code::Unauthenticated),
        (&showcase_edge, GET_SHOWCASE, "creator", &creator, Code::Ok),
    ] {
        assert_eq!(app.code(path, authorization).await, code, "{path} as {who}");
    }
    let without = commerce_edge.call(GET_ORDER, &[]).await.status;
    assert_eq!(without.code(), Code::Unauthenticated);
    assert_eq!((order.seen().len(), catalog.seen().len(), showcase.seen().len()), (1, 1, 2));
}

#[tokio::test]
async fn grpc_web_over_http_1_is_answered() {
    let world = World::new();
    let catalog = world.upstream("commerce-edge", "catalog", ok).await;
    let edge = world.edge("commerce-edge", &[&catalog], &[]).await;
    let request = |content_type: &str| {
        let request = Request::post(GET_PRODUCT).header(header::HOST, "localhost");
        request.header(header::CONTENT_TYPE, content_type).body(Full::new(Bytes::from_static(REQUEST))).unwrap()
    };
    let response = edge.http1(request("application/grpc-web+proto")).await;
    assert_eq!(response.status(), 200);
    let trailers = b"\x80\0\0\0\x0fgrpc-status:0\r\n";
    assert_eq!(response.body().as_ref(), [REPLY, trailers].concat());
    assert_eq!(catalog.seen().first().unwrap().body, REQUEST);
    assert_eq!(edge.http1(request("text/html")).await.status(), 400);
}

#[tokio::test]
async fn an_edge_adds_one_span_to_a_trace_and_none_for_its_own_questions() {
    let world = World::new();
    let account = world.upstream("commerce-edge", "account", empty).await;
    let order = world.upstream("commerce-edge", "order", ok).await;
    let edge = world.edge("commerce-edge", &[&account, &order], &[]).await;
    let apps = TraceContext::root(true);
    let (traceparent, buyer) = (apps.to_traceparent(), world.sign_in(Scope::Buyer));
    let headers = [("traceparent", traceparent.as_str()), ("authorization", buyer.as_str())];
    assert_eq!(edge.app().await.call(GET_ORDER, &headers).await.status.code(), Code::Ok);
    for mesh in [&edge.mesh, &account.mesh, &order.mesh] {
        mesh.flush().await;
    }
    let (story, aside): (Vec<_>, Vec<_>) = world.spans().into_iter().partition(|span| span.trace_id == apps.trace_id);
    let [first, second] = story.try_into().unwrap();
    let (at_edge, at_order) = if first.parent_span_id == apps.span_id { (first, second) } else { (second, first) };
    assert_eq!(at_edge.parent_span_id, apps.span_id);
    assert_eq!(at_order.parent_span_id, at_edge.span_id);
    for span in [&at_edge, &at_order] {
        assert_eq!((span.name.as_str(), span.kind()), (GET_ORDER.trim_start_matches('/'), SpanKind::Server));
    }
    let names: BTreeSet<_> = aside.iter().map(|span| span.name.as_str()).collect();
    assert_eq!(names, BTreeSet::from([VERIFY_SESSION.trim_start_matches('/')]));
    // What was passed on counts all the same.
    let counted = edge.mesh.counters().into_iter().filter(|count| count.method == GET_ORDER).count();
    assert_eq!(counted, 2, "as a server and as a client");
}

#[tokio::test]
async fn a_role_needs_its_own_identity() {
    let world = World::new();
    let upstreams = ["ACCOUNT", "CATALOG", "MERCHANT", "ORDER", "PAYMENT", "SHOWCASE"];
    let upstreams = upstreams.map(|name| (format!("SEKAT_UPSTREAM_{name}"), "127.0.0.1:9".to_owned()));
    let variables: Vec<_> = upstreams.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let mesh = world.process("commerce-edge", &variables).await;
    for (role, fits) in [("commerce-edge", true), ("showcase-edge", false), ("notify-ingress", false)] {
        let config = sekat_edge::Config::read(&mut Env::from_vars([("SEKAT_ROLE", role)]));
        let built = sekat_edge::build(config, mesh.clone()).await;
        assert_eq!(built.is_ok(), fits, "{role}");
        if let Err(error) = built {
            assert!(error.to_string().contains("SEKAT_IDENTITY_DIR holds spiffe://commerce"), "{error}");
        }
    }
}
