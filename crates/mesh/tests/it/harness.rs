//! A small world for tests: two domains with their authorities, processes with real sockets and certificates, and a
//! service whose handlers are closures.

use std::convert::Infallible;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::{Span, TracesData};
use prost::Message as _;
use sekat_identity::SpiffeId;
use sekat_identity::ca::{CertificateAuthority, write_identity};
use sekat_mesh::{BoxError, Channel, Env, Mesh, Permit, Routes, Server, Settings};
use sekat_policy::{
    Access, AccessLog, Api, ClassSet, DataClass, EndUserScope, Listener, MethodKind, MethodPolicy, Recording,
};
use tokio::task::JoinHandle;
use tokio_stream::{Stream, StreamExt as _};
use tonic::Status;
use tonic::body::Body;
use tonic::server::NamedService;
use tonic_prost::ProstCodec;
use tower::service_fn;

pub(crate) const COMMERCE: &str = "commerce.sekat.local";
pub(crate) const SHOWCASE: &str = "showcase.sekat.local";
pub(crate) const FRONT: &str = "spiffe://commerce.sekat.local/front";
pub(crate) const STRANGER: &str = "spiffe://commerce.sekat.local/stranger";
pub(crate) const ECHO_ID: &str = "spiffe://commerce.sekat.local/echo";
pub(crate) const EDGE: &str = "spiffe://commerce.sekat.local/commerce-edge";
pub(crate) const SHOWCASE_ID: &str = "spiffe://showcase.sekat.local/showcase";
/// How long a test waits for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

const PUBLIC: ClassSet = ClassSet::EMPTY.with(DataClass::Public);
const USER: ClassSet = ClassSet::EMPTY.with(DataClass::User);

const fn method(path: &'static str, classes: ClassSet, kind: MethodKind) -> MethodPolicy {
    MethodPolicy {
        path,
        callers: &[FRONT, EDGE],
        request: classes,
        response: classes,
        kind,
        scopes: &[EndUserScope::Anonymous],
        deadline: Duration::from_secs(10),
    }
}

const RETRIES: &str = r#"{"methodConfig": [{"name": [{"service": "test.v1.EchoService"}, {"service": "leaf.v1.LeafService"}],
    "retryPolicy": {"maxAttempts": 4, "initialBackoff": "0.05s", "maxBackoff": "1s", "backoffMultiplier": 2,
    "retryableStatusCodes": ["UNAVAILABLE"]}}]}"#;

pub(crate) static ECHO: Api = Api {
    package: "test.v1",
    workload: "echo",
    domain: "commerce",
    server_id: ECHO_ID,
    listener: Listener::Mesh,
    methods: &[
        method("/test.v1.EchoService/Echo", PUBLIC, MethodKind::Read),
        method("/test.v1.EchoService/Private", USER, MethodKind::Write),
        method("/test.v1.EchoService/Watch", PUBLIC, MethodKind::ServerStream),
        method("/test.v1.EchoService/WatchPrivate", USER, MethodKind::ServerStream),
        MethodPolicy {
            callers: &[EDGE],
            scopes: &[EndUserScope::Buyer],
            ..method("/test.v1.EchoService/Buyers", PUBLIC, MethodKind::Read)
        },
        MethodPolicy {
            callers: &[FRONT],
            scopes: &[],
            ..method("/test.v1.EchoService/Internal", PUBLIC, MethodKind::Read)
        },
    ],
    service_config: RETRIES,
    descriptor_set: &[],
};

pub(crate) static LEAF: Api = Api {
    package: "leaf.v1",
    workload: "leaf",
    domain: "commerce",
    server_id: "spiffe://commerce.sekat.local/leaf",
    listener: Listener::Mesh,
    methods: &[MethodPolicy { callers: &[ECHO_ID], ..method("/leaf.v1.LeafService/Leaf", PUBLIC, MethodKind::Read) }],
    service_config: RETRIES,
    descriptor_set: &[],
};

pub(crate) static FEED: Api = Api {
    package: "feed.v1",
    workload: "echo",
    domain: "commerce",
    server_id: ECHO_ID,
    listener: Listener::Feed,
    methods: &[MethodPolicy {
        callers: &[SHOWCASE_ID],
        ..method("/feed.v1.FeedService/Get", PUBLIC, MethodKind::Read)
    }],
    service_config: "",
    descriptor_set: &[],
};

/// The one message of the test services.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Text {
    #[prost(string, tag = "1")]
    pub(crate) text: String,
}

pub(crate) fn text(text: impl Into<String>) -> Text {
    Text { text: text.into() }
}

/// What a handler is called with.
pub(crate) struct Call {
    pub(crate) permit: Permit,
    pub(crate) text: String,
    pub(crate) headers: http::HeaderMap,
}

type Reply = Pin<Box<dyn Future<Output = Result<Text, Status>> + Send>>;
pub(crate) type Texts = Pin<Box<dyn Stream<Item = Result<Text, Status>> + Send>>;

const NAMES: [&str; 3] = ["test.v1.EchoService", "leaf.v1.LeafService", "feed.v1.FeedService"];

/// A gRPC service whose unary methods are one closure and whose streams (methods named `Watch…`) another.
#[derive(Clone)]
struct Service<const NAME: usize> {
    unary: Arc<dyn Fn(Call) -> Reply + Send + Sync>,
    stream: Arc<dyn Fn(Call) -> Texts + Send + Sync>,
}

impl<const NAME: usize> NamedService for Service<NAME> {
    const NAME: &'static str = NAMES[NAME];
}

impl<const NAME: usize> tower::Service<Request<Body>> for Service<NAME> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let method = request.uri().path().rsplit('/').next().unwrap().to_owned();
        let Self { unary, stream } = self.clone();
        Box::pin(async move {
            let mut grpc = tonic::server::Grpc::new(ProstCodec::default());
            let streams = method.starts_with("Watch");
            let call = move |request: tonic::Request<Text>| {
                let permit = Permit::of(&request)?;
                let headers = request.metadata().clone().into_headers();
                Ok::<_, Status>(Call { permit, text: request.into_inner().text, headers })
            };
            if streams {
                let respond = service_fn(move |request| {
                    let texts = call(request).map(|call| tonic::Response::new(stream(call)));
                    async move { texts }
                });
                return Ok(grpc.server_streaming(respond, request).await);
            }
            let respond = service_fn(move |request| {
                let reply = call(request).map(|call| unary(call));
                async move { reply?.await.map(tonic::Response::new) }
            });
            Ok(grpc.unary(respond, request).await)
        })
    }
}

/// Handlers that answer with what they were sent, and streams that say it once and then stay open.
pub(crate) fn echo() -> Handlers {
    Handlers::unary(async |call| Ok(text(call.text)))
}

/// The closures of a test service.
#[derive(Clone)]
pub(crate) struct Handlers {
    unary: Arc<dyn Fn(Call) -> Reply + Send + Sync>,
    stream: Arc<dyn Fn(Call) -> Texts + Send + Sync>,
}

impl Handlers {
    pub(crate) fn unary<F, R>(handler: F) -> Self
    where
        F: Fn(Call) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Text, Status>> + Send + 'static,
    {
        let stream =
            |call: Call| -> Texts { Box::pin(tokio_stream::once(Ok(text(call.text))).chain(tokio_stream::pending())) };
        Self { unary: Arc::new(move |call| Box::pin(handler(call))), stream: Arc::new(stream) }
    }

    pub(crate) fn stream(self, handler: impl Fn(Call) -> Texts + Send + Sync + 'static) -> Self {
        Self { stream: Arc::new(handler), ..self }
    }

    fn routes<const NAME: usize>(&self) -> Routes {
        Routes::new(Service::<NAME> { unary: Arc::clone(&self.unary), stream: Arc::clone(&self.stream) })
    }

    pub(crate) fn echo_routes(&self) -> Routes {
        self.routes::<0>()
    }

    pub(crate) fn leaf_routes(&self) -> Routes {
        self.routes::<1>()
    }

    pub(crate) fn feed_routes(&self) -> Routes {
        self.routes::<2>()
    }
}

/// Two domains and the directories of their workloads.
pub(crate) struct World {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) commerce: CertificateAuthority,
    pub(crate) showcase: CertificateAuthority,
}

impl World {
    pub(crate) fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            commerce: CertificateAuthority::new(COMMERCE).unwrap(),
            showcase: CertificateAuthority::new(SHOWCASE).unwrap(),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Issues an identity, anew if there was one.
    pub(crate) fn issue(&self, id: &str, validity: Duration) -> PathBuf {
        let id = SpiffeId::parse(id).unwrap();
        let (own, other) = if id.trust_domain() == COMMERCE {
            (&self.commerce, &self.showcase)
        } else {
            (&self.showcase, &self.commerce)
        };
        let dir = self.path(&id.path().replace('/', ""));
        let federated = [(other.trust_domain().to_owned(), other.bundle_pem().to_owned())];
        write_identity(&dir, &own.issue(&id, validity).unwrap(), own.bundle_pem(), &federated).unwrap();
        dir
    }

    /// The keys with which users' tokens are verified, at `trust`.
    pub(crate) fn trust(&self, public_key_pem: &str) -> PathBuf {
        let dir = self.path("trust");
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join("account-token.pem"), public_key_pem).unwrap();
        dir
    }

    /// A process with the identity `id` and these variables beside the usual ones.
    pub(crate) async fn process(&self, id: &str, variables: &[(&str, String)]) -> Mesh {
        let dir = self.issue(id, Duration::from_secs(3_600));
        let workload: &'static str = SpiffeId::parse(id).unwrap().path().trim_start_matches('/').to_owned().leak();
        let usual = [
            ("SEKAT_IDENTITY_DIR", dir.display().to_string()),
            ("SEKAT_MESH_LISTEN", "127.0.0.1:0".to_owned()),
            ("SEKAT_FEED_LISTEN", "127.0.0.1:0".to_owned()),
            ("SEKAT_PUBLIC_LISTEN", "127.0.0.1:0".to_owned()),
            ("SEKAT_HEALTH_LISTEN", "127.0.0.1:0".to_owned()),
            ("SEKAT_PROFILE", "dev".to_owned()),
        ];
        let mut env = Env::from_vars(usual.into_iter().chain(variables.iter().cloned()));
        let settings = Settings::read(&mut env);
        env.finish().unwrap();
        Mesh::open(workload, settings).await.unwrap()
    }

    /// The echo service with these handlers; accesses are recorded in `log`.
    pub(crate) async fn echo(&self, handlers: Handlers) -> Process {
        let mesh = self.process(ECHO_ID, &[("SEKAT_TRUST_DIR", self.default_trust())]).await;
        let server = mesh.server().api(&ECHO, handlers.echo_routes()).access_log(Arc::new(EagerLog));
        Process::start(&mesh, server).await
    }

    pub(crate) fn default_trust(&self) -> String {
        let key = sekat_identity::jws::SigningKey::generate().unwrap();
        self.trust(&key.public_pem()).display().to_string()
    }

    /// A client of the echo service as `id`.
    pub(crate) async fn client(&self, id: &str, server: &Process) -> (Mesh, Channel) {
        self.client_of(id, &[server]).await
    }

    pub(crate) async fn client_of(&self, id: &str, servers: &[&Process]) -> (Mesh, Channel) {
        let addresses: Vec<String> = servers.iter().map(|server| server.address("mesh")).collect();
        let mesh = self.process(id, &[("SEKAT_UPSTREAM_ECHO", addresses.join(","))]).await;
        let channel = mesh.client(&ECHO).unwrap();
        (mesh, channel)
    }
}

/// A server that runs.
pub(crate) struct Process {
    pub(crate) mesh: Mesh,
    served: JoinHandle<Result<(), BoxError>>,
}

impl Process {
    pub(crate) async fn start(mesh: &Mesh, server: Server) -> Self {
        let served = tokio::spawn(server.serve());
        let health = mesh.addresses()["health"];
        let process = Self { mesh: mesh.clone(), served };
        eventually("it serves", async || {
            assert!(!process.served.is_finished(), "the server ended");
            serving(health).await
        })
        .await;
        process
    }

    pub(crate) fn address(&self, listener: &str) -> String {
        self.mesh.addresses()[listener].to_string()
    }

    /// Shuts down in order.
    pub(crate) async fn stop(self) -> Result<(), BoxError> {
        self.mesh.shutdown().begin();
        self.ended().await
    }

    /// Ends it as a crash would: connections break, nothing is said.
    pub(crate) fn kill(self) {
        self.mesh.shutdown().cut();
        self.served.abort();
    }

    pub(crate) async fn ended(self) -> Result<(), BoxError> {
        tokio::time::timeout(PATIENCE, self.served).await.expect("it ends").unwrap()
    }
}

/// Whether the health service says SERVING.
pub(crate) async fn serving(address: std::net::SocketAddr) -> bool {
    use tonic_health::pb::health_client::HealthClient;
    let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{address}")).unwrap();
    let Ok(channel) = endpoint.connect().await else { return false };
    let request = tonic_health::pb::HealthCheckRequest { service: String::new() };
    HealthClient::new(channel).check(request).await.is_ok_and(|reply| reply.into_inner().status == 1)
}

/// Waits for a condition, within the test's patience.
pub(crate) async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let mut look = tokio::time::interval(Duration::from_millis(5));
    let waiting = async {
        while !holds().await {
            look.tick().await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("in vain: {what}"));
}

/// Calls a unary method.
pub(crate) async fn call(
    channel: &Channel,
    path: &'static str,
    request: impl tonic::IntoRequest<Text>,
) -> Result<Text, Status> {
    let mut grpc = tonic::client::Grpc::new(channel.clone());
    grpc.ready().await.unwrap();
    let path = http::uri::PathAndQuery::from_static(path);
    Ok(grpc.unary(request.into_request(), path, ProstCodec::<Text, Text>::default()).await?.into_inner())
}

/// Calls a streaming method.
pub(crate) async fn watch(
    channel: &Channel,
    path: &'static str,
    request: impl tonic::IntoRequest<Text>,
) -> Result<tonic::Streaming<Text>, Status> {
    let mut grpc = tonic::client::Grpc::new(channel.clone());
    grpc.ready().await.unwrap();
    let path = http::uri::PathAndQuery::from_static(path);
    Ok(grpc.server_streaming(request.into_request(), path, ProstCodec::<Text, Text>::default()).await?.into_inner())
}

/// An access log that is durable at once.
pub(crate) struct EagerLog;

impl AccessLog for EagerLog {
    fn record<'a>(&'a self, access: &'a Arc<Access>) -> Recording<'a> {
        access.mark_recorded();
        Box::pin(std::future::ready(Ok(())))
    }
}

/// All spans in the OTLP files of a directory, with the names of their services.
pub(crate) fn spans(dir: &Path) -> Vec<(String, Span)> {
    let mut spans = Vec::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        let mut rest = bytes.as_slice();
        while let Some((length, tail)) = rest.split_first_chunk::<4>() {
            let (message, tail) = tail.split_at(usize::try_from(u32::from_be_bytes(*length)).unwrap());
            rest = tail;
            for resource in TracesData::decode(message).unwrap().resource_spans {
                let service = attribute(&resource.resource.as_ref().unwrap().attributes, "service.name").unwrap();
                let all = resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
                spans.extend(all.map(|span| (service.clone(), span)));
            }
        }
    }
    spans
}

/// An attribute as text.
pub(crate) fn attribute(attributes: &[opentelemetry_proto::tonic::common::v1::KeyValue], key: &str) -> Option<String> {
    let value = attributes.iter().find(|attribute| attribute.key == key)?.value.clone()?.value?;
    Some(match value {
        Value::StringValue(text) => text,
        Value::IntValue(number) => number.to_string(),
        other => format!("{other:?}"),
    })
}
