//! One trace over all hops, told by certificates, and counted beside.

use std::pin::Pin;
use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};

use sekat_mesh::Mesh;
use sekat_mesh::context::{self, Context, TraceContext};
use tonic::body::Body;
use tonic::{Code, Request, Status};

use crate::harness::{
    ECHO, ECHO_ID, EagerLog, FRONT, Handlers, LEAF, Process, STRANGER, World, attribute, call, echo, eventually, spans,
    text,
};

const ECHO_PATH: &str = "/test.v1.EchoService/Echo";

struct Chain {
    world: World,
    front: Mesh,
    channel: sekat_mesh::Channel,
    echo: Process,
    leaf: Process,
}

/// front → echo → leaf, all writing spans into one directory.
async fn chain(handlers: impl FnOnce(sekat_mesh::Channel) -> Handlers) -> Chain {
    let world = World::new();
    let otlp = ("SEKAT_OTLP", format!("file:{}", world.path("otlp").display()));
    let leaf = world.process("spiffe://commerce.sekat.local/leaf", std::slice::from_ref(&otlp)).await;
    let leaf_server = leaf.server().api(&LEAF, echo().leaf_routes());
    let leaf = Process::start(&leaf, leaf_server).await;
    let trust = ("SEKAT_TRUST_DIR", world.default_trust());
    let mesh = world.process(ECHO_ID, &[("SEKAT_UPSTREAM_LEAF", leaf.address("mesh")), trust, otlp.clone()]).await;
    let server = mesh.server().api(&ECHO, handlers(mesh.client(&LEAF).unwrap()).echo_routes());
    let echo = Process::start(&mesh, server.access_log(Arc::new(EagerLog))).await;
    let front = world.process(FRONT, &[("SEKAT_UPSTREAM_ECHO", echo.address("mesh")), otlp]).await;
    let channel = front.client(&ECHO).unwrap();
    Chain { world, front, channel, echo, leaf }
}

impl Chain {
    async fn spans(&self) -> Vec<(String, opentelemetry_proto::tonic::trace::v1::Span)> {
        for mesh in [&self.front, &self.echo.mesh, &self.leaf.mesh] {
            mesh.flush().await;
        }
        spans(&self.world.path("otlp"))
    }
}

fn relay(leaf: sekat_mesh::Channel) -> Handlers {
    Handlers::unary(move |request| {
        let leaf = leaf.clone();
        async move { call(&leaf, "/leaf.v1.LeafService/Leaf", text(request.text)).await }
    })
}

#[tokio::test]
async fn two_hops_make_one_trace_with_callers_from_certificates() {
    let chain = chain(relay).await;
    let mut request = Request::new(text("a"));
    // What a liar would send; none of it may show.
    request.metadata_mut().insert("x-caller", "spiffe://commerce.sekat.local/ops".parse().unwrap());
    request.metadata_mut().insert("baggage", "sekat.peer.id=ops".parse().unwrap());
    call(&chain.channel, ECHO_PATH, request).await.unwrap();

    let spans = chain.spans().await;
    let named = |service: &str, kind: i32| {
        let mut found = spans.iter().filter(|(name, span)| name == service && span.kind == kind);
        let (_, span) = found.next().unwrap_or_else(|| panic!("no span of kind {kind} by {service}"));
        assert!(found.next().is_none());
        span
    };
    let (client, server) = (3, 2);
    let story = [
        (named("front", client), "test.v1.EchoService/Echo"),
        (named("echo", server), "test.v1.EchoService/Echo"),
        (named("echo", client), "leaf.v1.LeafService/Leaf"),
        (named("leaf", server), "leaf.v1.LeafService/Leaf"),
    ];
    assert_eq!(spans.len(), 4);
    let mut parent: Vec<u8> = Vec::new();
    for (span, name) in story {
        assert_eq!(span.name, name);
        assert_eq!(span.trace_id, story[0].0.trace_id);
        assert_eq!(span.parent_span_id, parent);
        assert_eq!(attribute(&span.attributes, "rpc.method").as_deref(), Some(name));
        assert_eq!(attribute(&span.attributes, "rpc.grpc.status_code").as_deref(), Some("0"));
        assert_eq!(attribute(&span.attributes, "rpc.response.status_code").as_deref(), Some("OK"));
        parent.clone_from(&span.span_id);
    }
    let on_server = &story[1].0.attributes;
    assert_eq!(attribute(on_server, "sekat.peer.id").as_deref(), Some(FRONT));
    assert_eq!(attribute(on_server, "sekat.decision").as_deref(), Some("allow"));
    assert_eq!(attribute(on_server, "sekat.domain").as_deref(), Some("commerce"));
    assert_eq!(attribute(on_server, "sekat.data_class").as_deref(), Some("PUBLIC"));
    assert_eq!(attribute(on_server, "sekat.policy.digest"), Some(sekat_mesh::policy_digest(&[&ECHO])));
    assert_eq!(attribute(&story[3].0.attributes, "sekat.peer.id").as_deref(), Some(ECHO_ID));
}

#[tokio::test]
async fn a_refusal_is_a_span_with_its_event_and_no_error() {
    let chain = chain(relay).await;
    let (_stranger, denied) = chain.world.client(STRANGER, &chain.echo).await;
    assert_eq!(call(&denied, ECHO_PATH, text("a")).await.unwrap_err().code(), Code::PermissionDenied);
    assert!(call(&denied, "/a.B/Secret4711", text("a")).await.is_err());

    let spans = chain.spans().await;
    let [known, unknown] = spans.as_slice() else { panic!("{spans:?}") };
    for ((_, span), method) in [(known, "test.v1.EchoService/Echo"), (unknown, "_OTHER")] {
        assert_eq!(span.name, method);
        assert_eq!(attribute(&span.attributes, "sekat.decision").as_deref(), Some("deny"));
        assert_eq!(attribute(&span.attributes, "rpc.response.status_code").as_deref(), Some("PERMISSION_DENIED"));
        assert_eq!(span.events[0].name, "sekat.refused");
        assert_eq!(attribute(&span.events[0].attributes, "sekat.reason").as_deref(), Some("POLICY_DENIED"));
        assert!(span.status.is_none());
    }
    let sequence = |index: usize| attribute(&spans[index].1.attributes, "sekat.audit.seq").unwrap();
    assert_eq!((sequence(0).as_str(), sequence(1).as_str()), ("1", "2"));
    assert!(!format!("{spans:?}").contains("Secret4711"), "a caller's text is in a span");
}

#[tokio::test]
async fn an_unsampled_trace_leaves_no_span_and_is_handed_on() {
    let (seen, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let chain = chain(|leaf| {
        Handlers::unary(move |request| {
            seen.send(request.permit.trace()).unwrap();
            let leaf = leaf.clone();
            async move { call(&leaf, "/leaf.v1.LeafService/Leaf", text(request.text)).await }
        })
    })
    .await;
    let silent = TraceContext::root(false);
    let context = Context::detached(None, Some(silent));
    context::scope(context, call(&chain.channel, ECHO_PATH, text("a"))).await.unwrap();
    let trace = heard.recv().await.unwrap();
    assert_eq!((trace.trace_id, trace.sampled), (silent.trace_id, false));
    assert!(chain.spans().await.is_empty());
    assert_eq!(chain.leaf.mesh.counters().len(), 1, "counters do not pass the trace pipeline");
}

#[tokio::test]
async fn links_join_traces_on_clients_and_on_servers() {
    let cause = TraceContext::root(true);
    let chain = chain(move |_| {
        Handlers::unary(move |request| async move {
            context::link(cause);
            Ok(text(request.text))
        })
    })
    .await;
    let parent = TraceContext::root(true);
    let context = Context::detached(None, Some(parent)).linked(cause);
    context::scope(context, call(&chain.channel, ECHO_PATH, text("a"))).await.unwrap();
    let spans = chain.spans().await;
    assert_eq!(spans.len(), 2);
    for (service, span) in &spans {
        assert_eq!(span.trace_id, parent.trace_id, "{service}");
        assert_eq!(span.links.len(), 1, "{service}");
        assert_eq!(span.links[0].trace_id, cause.trace_id, "{service}");
    }
}

/// A collector that is out of order for its first `refusals` exports.
async fn collector(refusals: usize) -> (String, Arc<Mutex<usize>>) {
    #[derive(Clone)]
    struct Collector(Arc<Mutex<usize>>, Arc<Mutex<usize>>);
    impl tonic::server::NamedService for Collector {
        const NAME: &'static str = "opentelemetry.proto.collector.trace.v1.TraceService";
    }
    impl tower::Service<http::Request<Body>> for Collector {
        type Response = http::Response<Body>;
        type Error = std::convert::Infallible;
        type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;
        fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Self::Error>> {
            std::task::Poll::Ready(Ok(()))
        }
        fn call(&mut self, request: http::Request<Body>) -> Self::Future {
            let Self(refusals, received) = self.clone();
            let export = tower::service_fn(move |request: Request<ExportTraceServiceRequest>| {
                let spans = request.into_inner().resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
                let spans: usize = spans.map(|scope| scope.spans.len()).sum();
                let mut left = refusals.lock().unwrap();
                let refused = left.checked_sub(1).map(|fewer| *left = fewer);
                if refused.is_none() {
                    *received.lock().unwrap() += spans;
                }
                let reply = refused.map_or(Ok(()), |()| Err(Status::unavailable("out of order")));
                std::future::ready(reply.map(|()| tonic::Response::new(ExportTraceServiceResponse::default())))
            });
            Box::pin(async move {
                let codec = tonic_prost::ProstCodec::default();
                Ok(tonic::server::Grpc::new(codec).unary(export, request).await)
            })
        }
    }
    let received = Arc::new(Mutex::new(0));
    let service = Collector(Arc::new(Mutex::new(refusals)), Arc::clone(&received));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
    tokio::spawn(tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming));
    (address, received)
}

#[tokio::test]
async fn a_collector_that_is_out_of_order_for_a_while_misses_nothing() {
    let (address, received) = collector(2).await;
    let world = World::new();
    let server = world.echo(echo()).await;
    let upstream = ("SEKAT_UPSTREAM_ECHO", server.address("mesh"));
    let front = world.process(FRONT, &[upstream, ("SEKAT_OTLP", address)]).await;
    let channel = front.client(&ECHO).unwrap();
    for _ in 0..30 {
        call(&channel, ECHO_PATH, text("a")).await.unwrap();
    }
    eventually("all spans arrive", async || *received.lock().unwrap() == 30).await;
    assert_eq!(front.spans_dropped(), 0);
}

#[tokio::test]
async fn spans_and_counters_agree() {
    let chain = chain(relay).await;
    for _ in 0..50 {
        call(&chain.channel, ECHO_PATH, text("a")).await.unwrap();
    }
    let spans = chain.spans().await;
    assert_eq!(spans.len(), 200);
    for mesh in [&chain.front, &chain.echo.mesh, &chain.leaf.mesh] {
        assert_eq!(mesh.spans_dropped(), 0);
        for count in mesh.counters() {
            assert_eq!((count.count, count.status), (50, "OK"), "{count:?}");
        }
    }
}
