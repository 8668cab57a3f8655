//! Two domains with their authorities, workloads that answer by script, edges, and apps that call them.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use http::{HeaderMap, HeaderValue, Request, Response, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo};
use opentelemetry_proto::tonic::trace::v1::{Span, TracesData};
use prost::Message as _;
use rustls_pki_types::ServerName;
use sekat_edge::Config;
use sekat_edge::routes::routes;
use sekat_identity::SpiffeId;
use sekat_identity::ca::{CertificateAuthority, write_identity};
use sekat_identity::end_user::{Audience, EndUserClaims, ISSUER, Scope};
use sekat_identity::jws::SigningKey;
use sekat_identity::tls::web_client_config;
use sekat_mesh::{Env, Mesh, Routes, Server, Settings};
use tonic::body::Body;
use tonic::{Code, Status};

/// How long a test waits for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
const DAY: Duration = Duration::from_secs(24 * 3_600);

pub(crate) const GET_ORDER: &str = "/sekat.order.v1.OrderService/GetOrder";
pub(crate) const GET_PRODUCT: &str = "/sekat.catalog.v1.ProductService/GetProduct";
pub(crate) const CREATE_SESSION: &str = "/sekat.account.v1.SessionService/CreateSession";
pub(crate) const VERIFY_SESSION: &str = "/sekat.account.v1.SessionService/VerifySession";

/// So that a test meets no rate limit but its own, which is to come first.
pub(crate) const NO_LIMITS: [(&str, &str); 2] =
    [("SEKAT_RATE_PER_SECOND", "1000000"), ("SEKAT_ANONYMOUS_PER_SECOND", "1000000")];

/// Two domains, and what their workloads were given.
pub(crate) struct World {
    dir: tempfile::TempDir,
    commerce: CertificateAuthority,
    showcase: CertificateAuthority,
    key: SigningKey,
}

impl World {
    pub(crate) fn new() -> Self {
        let world = Self {
            dir: tempfile::tempdir().unwrap(),
            commerce: CertificateAuthority::new("commerce.sekat.local").unwrap(),
            showcase: CertificateAuthority::new("showcase.sekat.local").unwrap(),
            key: SigningKey::generate().unwrap(),
        };
        for name in ["trust", "web"] {
            std::fs::create_dir(world.path(name)).unwrap();
        }
        std::fs::write(world.path("trust/account-token.pem"), world.key.public_pem()).unwrap();
        let address = IpAddr::from([127, 0, 0, 1]);
        let web = world.commerce.issue_web_server(&["localhost"], &[address], DAY).unwrap();
        std::fs::write(world.path("web/tls.crt"), web.chain_pem).unwrap();
        std::fs::write(world.path("web/tls.key"), web.key_pem).unwrap();
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A process of a workload, with its identity and these variables.
    pub(crate) async fn process(&self, workload: &'static str, variables: &[(&str, &str)]) -> Mesh {
        let authority = if workload.starts_with("showcase") { &self.showcase } else { &self.commerce };
        let id = SpiffeId::parse(&format!("spiffe://{}/{workload}", authority.trust_domain())).unwrap();
        let dir = self.path(workload);
        write_identity(&dir, &authority.issue(&id, DAY / 24).unwrap(), authority.bundle_pem(), &[]).unwrap();
        let usual = [
            ("SEKAT_IDENTITY_DIR", dir.display().to_string()),
            ("SEKAT_TRUST_DIR", self.path("trust").display().to_string()),
            ("SEKAT_WEB_TLS_DIR", self.path("web").display().to_string()),
            ("SEKAT_OTLP", format!("file:{}", self.path("otlp").display())),
            ("SEKAT_MESH_LISTEN", "127.0.0.1:0".to_owned()),
            ("SEKAT_PUBLIC_LISTEN", "127.0.0.1:0".to_owned()),
        ];
        let given = variables.iter().map(|(name, value)| (*name, (*value).to_owned()));
        let mut env = Env::from_vars(usual.into_iter().chain(given));
        let settings = Settings::read(&mut env);
        env.finish().unwrap();
        Mesh::open(workload, settings).await.unwrap()
    }

    /// A workload that answers the calls of `edge` as `script` says.
    pub(crate) async fn upstream(
        &self,
        edge: &str,
        workload: &'static str,
        script: impl Fn(&Seen) -> Response<Body> + Clone + Send + Sync + 'static,
    ) -> Upstream {
        let mesh = self.process(workload, &[]).await;
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let record = Arc::clone(&seen);
        let answer = move |request: Request<Body>| {
            let (script, record) = (script.clone(), Arc::clone(&record));
            async move {
                let (parts, body) = request.into_parts();
                let body = body.collect().await.unwrap().to_bytes();
                let call = Seen { path: parts.uri.path().to_owned(), headers: parts.headers, body };
                let response = script(&call);
                record.lock().unwrap().push(call);
                Ok::<_, Infallible>(response)
            }
        };
        let apis = routes(edge).iter().map(|route| route.api).filter(|api| api.workload == workload);
        let mut apis: Vec<_> = apis.collect();
        apis.dedup_by_key(|api| api.package);
        let server = apis.into_iter().fold(mesh.server().records_at_peers("a test"), |server, api| {
            server.api(api, Routes::forward(tower::service_fn(answer.clone())))
        });
        serve(server);
        Upstream { mesh, seen }
    }

    /// An edge before these upstreams; what else it may call is not there.
    pub(crate) async fn edge(&self, role: &'static str, upstreams: &[&Upstream], variables: &[(&str, &str)]) -> Edge {
        let mut names: Vec<&str> = routes(role).iter().map(|route| route.api.workload).collect();
        names.sort_unstable();
        names.dedup();
        let nobody = nobody_listens().to_string();
        let addresses: Vec<(String, String)> = names
            .into_iter()
            .map(|name| {
                let there = upstreams.iter().find(|upstream| upstream.mesh.id().path() == format!("/{name}"));
                let address = there.map_or(nobody.clone(), |it| it.mesh.addresses()["mesh"].to_string());
                (format!("SEKAT_UPSTREAM_{}", name.to_uppercase()), address)
            })
            .collect();
        let addresses = addresses.iter().map(|(name, address)| (name.as_str(), address.as_str()));
        let variables: Vec<_> = variables.iter().copied().chain(addresses).chain([("SEKAT_ROLE", role)]).collect();
        let mesh = self.process(role, &variables).await;
        let mut env = Env::from_vars(variables.iter().copied());
        let config = Config::read(&mut env);
        env.finish().unwrap();
        serve(sekat_edge::build(config, mesh.clone()).await.unwrap());
        Edge { address: mesh.addresses()["public"], mesh, root: self.commerce.bundle_pem().to_owned() }
    }

    /// The `authorization` of a user, signed in anew.
    pub(crate) fn sign_in(&self, scope: Scope) -> String {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let account = "accounts/3f1e9c7a-5b2d-4c1e-8f3a-2b7d9e6c1a04";
        let session = format!("sessions/7c2a1d3e-9b4f-4e5a-8c6d-{number:012x}");
        let creator = scope == Scope::Creator;
        let claims = EndUserClaims {
            iss: ISSUER.to_owned(),
            aud: if creator { Audience::ShowcaseEdge } else { Audience::CommerceEdge },
            sub: if creator { "sari".to_owned() } else { account.to_owned() },
            sid: if creator { session } else { format!("{account}/{session}") },
            scope,
            merchant: (scope == Scope::Seller).then(|| "merchants/5d4c3b2a-1f0e-4d9c-8b7a-6e5f4d3c2b1a".to_owned()),
            exp: now + 600,
            iat: now,
        };
        format!("Bearer {}", claims.sign(&self.key).unwrap())
    }

    /// All spans that were written.
    pub(crate) fn spans(&self) -> Vec<Span> {
        let mut spans = Vec::new();
        for file in std::fs::read_dir(self.path("otlp")).unwrap() {
            let bytes = std::fs::read(file.unwrap().path()).unwrap();
            let mut rest = bytes.as_slice();
            while let Some((length, message)) = rest.split_first_chunk::<4>() {
                let (message, next) = message.split_at(usize::try_from(u32::from_be_bytes(*length)).unwrap());
                let data = TracesData::decode(message).unwrap();
                let scopes = data.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
                spans.extend(scopes.flat_map(|scope| scope.spans));
                rest = next;
            }
        }
        spans
    }
}

static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);

fn serve(server: Server) {
    tokio::spawn(async move { server.serve().await.unwrap() });
}

/// An address where a connection is refused.
fn nobody_listens() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// A workload behind an edge.
pub(crate) struct Upstream {
    pub(crate) mesh: Mesh,
    seen: Arc<Mutex<Vec<Seen>>>,
}

/// A call that reached a workload.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Upstream {
    /// The calls that reached it.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

/// An edge that runs.
pub(crate) struct Edge {
    pub(crate) mesh: Mesh,
    address: SocketAddr,
    root: String,
}

impl Edge {
    /// An app, connected with HTTP/2.
    pub(crate) async fn app(&self) -> App {
        let stream = TokioIo::new(self.connect(b"h2").await);
        let (sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.unwrap();
        tokio::spawn(connection);
        App { sender }
    }

    /// One request over HTTP/1.1.
    pub(crate) async fn http1(&self, request: Request<Full<Bytes>>) -> Response<Bytes> {
        let stream = TokioIo::new(self.connect(b"http/1.1").await);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        let (parts, body) = sender.send_request(request).await.unwrap().into_parts();
        Response::from_parts(parts, body.collect().await.unwrap().to_bytes())
    }

    async fn connect(&self, alpn: &[u8]) -> tokio_rustls::client::TlsStream<tokio::net::TcpStream> {
        let tls = web_client_config(self.root.as_bytes(), &[alpn]).unwrap();
        let stream = tokio::net::TcpStream::connect(self.address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        tokio_rustls::TlsConnector::from(tls).connect(name, stream).await.unwrap()
    }
}

/// A user's app.
#[derive(Clone)]
pub(crate) struct App {
    sender: hyper::client::conn::http2::SendRequest<Full<Bytes>>,
}

/// All of a response.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: Status,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) trailers: HeaderMap,
}

impl App {
    /// Calls a method and reads the answer to its end.
    pub(crate) async fn call(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        let response = self.open(path, headers).await;
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap();
        let trailers = body.trailers().cloned().unwrap_or_default();
        let status = Status::from_header_map(&trailers).or_else(|| Status::from_header_map(&parts.headers));
        Answer { status: status.unwrap(), headers: parts.headers, body: body.to_bytes(), trailers }
    }

    /// As a user who is signed in so; the outcome.
    pub(crate) async fn code(&self, path: &str, authorization: &str) -> Code {
        self.call(path, &[("authorization", authorization)]).await.status.code()
    }

    /// Calls a method until the response begins.
    pub(crate) async fn open(&self, path: &str, headers: &[(&str, &str)]) -> Response<Incoming> {
        let mut request = Request::post(format!("https://localhost{path}"))
            .header(header::CONTENT_TYPE, "application/grpc+proto")
            .header(header::TE, "trailers");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(Bytes::from_static(REQUEST))).unwrap();
        let sent = self.sender.clone().send_request(request);
        tokio::time::timeout(PATIENCE, sent).await.expect("an answer").unwrap()
    }
}

/// A frame whose message is not even protobuf: whoever decodes it fails.
pub(crate) const REQUEST: &[u8] = b"\0\0\0\0\x03\xff\xff\xff";
/// Another one.
pub(crate) const REPLY: &[u8] = b"\0\0\0\0\x02\xfe\xfe";

/// An OK answer with more headers and trailers than anybody needs.
pub(crate) fn ok(_: &Seen) -> Response<Body> {
    answer(REPLY, &[("grpc-status", "0"), ("x-trailer", "of the service")])
}

/// The empty message, OK.
pub(crate) fn empty(_: &Seen) -> Response<Body> {
    answer(b"\0\0\0\0\0", &[("grpc-status", "0")])
}

fn answer(body: &'static [u8], trailers: &'static [(&'static str, &'static str)]) -> Response<Body> {
    let trailers: HeaderMap =
        trailers.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value))).collect();
    let body = Full::new(Bytes::from_static(body)).with_trailers(std::future::ready(Some(Ok(trailers))));
    let mut response = Response::new(Body::new(body));
    for (name, value) in [("content-type", "application/grpc"), ("set-cookie", "a=b"), ("x-header", "of the service")] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// A status and nothing else, with a header that nobody needs.
pub(crate) fn refused(status: &Status) -> Response<Body> {
    let mut response = status.clone().into_http::<Body>();
    response.headers_mut().insert("x-header", HeaderValue::from_static("of the service"));
    response
}

/// Repeats an attempt, each a call over a socket, until it gives a result, within the test's patience.
pub(crate) async fn until<T>(what: &str, mut attempt: impl AsyncFnMut() -> Option<T>) -> T {
    let give_up = Instant::now() + PATIENCE;
    loop {
        if let Some(result) = attempt().await {
            return result;
        }
        assert!(Instant::now() < give_up, "in vain: {what}");
        tokio::task::yield_now().await;
    }
}
