//! Listeners: bound at once, then one accept loop each. A peer that stalls in its handshake blocks nobody, a
//! connection lives as long as the limits say and ends with GOAWAY, and the loop stops when draining begins. (tonic's
//! own server waits for connections without limit, ages them without jitter and takes its certificate once.)

mod tls;

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use sekat_identity::tls::PeerIdentity;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::body::Body;
use tonic::service::Routes;
use tower::Service as _;
use tower::util::ServiceExt as _;

use crate::limits::{
    CONNECTION_AGE, CONNECTION_AGE_JITTER_PERCENT, CONNECTION_AGE_PER_CERTIFICATE_LIFE, CONNECTION_GRACE,
    CONNECTION_IDLE, CONNECTIONS, DRAIN_STREAMS, HEADER_LIST_BYTES, KEEPALIVE_TIMEOUT, SERVER_KEEPALIVE_INTERVAL,
    STREAMS_PER_CONNECTION, Slots,
};
use crate::origins::{Origins, expose, is_preflight, preflight};
use crate::reply::CallBody;
use crate::shutdown::ShutdownToken;
use crate::stack::{Activity, Connection, Peer, Stack};
use crate::telemetry::counters::Direction;
use crate::telemetry::otlp::Attributes;

use tls::Encrypted;
pub(crate) use tls::Tls;

/// After an error of `accept` itself, for instance when file descriptors run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// For the headers of an HTTP/1.1 request.
const HTTP1_HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// What a listener serves.
pub(crate) enum Surface {
    /// Workloads, over mutual TLS.
    Workloads { tls: Arc<Tls>, stack: Arc<Stack> },
    /// Anybody, over TLS: gRPC, and gRPC-Web in HTTP/1.1 too.
    Public { tls: Arc<Tls>, stack: Arc<Stack>, origins: Origins },
    /// Anybody, over TLS: plain HTTP.
    Web { tls: Arc<Tls>, router: axum::Router },
    /// Probes, in plain text: health and nothing else.
    Health { routes: Routes },
}

/// Accepts and serves connections until draining begins. All connections end with `shutdown`.
pub(crate) async fn accept(listener: TcpListener, surface: Surface, shutdown: ShutdownToken, connections: TaskTracker) {
    let surface = Arc::new(surface);
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    let mut draining = pin!(shutdown.draining());
    loop {
        let accepted = async {
            // At the limit, peers wait in the kernel's queue.
            let place = Arc::clone(&room).acquire_owned().await.map_err(io::Error::other)?;
            listener.accept().await.map(|(stream, address)| (place, stream, address))
        };
        let accepted = tokio::select! {
            biased;
            () = &mut draining => return,
            accepted = accepted => accepted,
        };
        let (place, stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let surface = Arc::clone(&surface);
        let shutdown = shutdown.clone();
        connections.spawn(async move {
            let stopped = shutdown.clone();
            tokio::select! {
                () = surface.serve(stream, address, &shutdown) => {}
                () = stopped.stopped() => {}
            }
            drop(place);
        });
    }
}

impl Surface {
    async fn serve(&self, stream: TcpStream, address: SocketAddr, shutdown: &ShutdownToken) {
        // Without effect on correctness; the kernel may refuse for a peer that is gone.
        let _ = stream.set_nodelay(true);
        match self {
            Self::Workloads { tls, stack } => {
                let Some(stream) = tls.accept(stream).await else { return };
                let Some(peer) = stream.workload() else { return };
                serve_workload(tls.listener(), stream, peer, stack, shutdown).await;
            }
            Self::Public { tls, stack, origins } => {
                let Some(stream) = tls.accept(stream).await else { return };
                serve_public(stream, address, stack, origins, shutdown).await;
            }
            Self::Web { tls, router } => {
                let Some(stream) = tls.accept(stream).await else { return };
                serve_web(stream, router.clone(), shutdown).await;
            }
            Self::Health { routes } => {
                let lifetime = Lifetime::new(shutdown, CONNECTION_AGE);
                let routes = routes.clone();
                let service = service_fn(move |request: Request<Incoming>| {
                    let mut routes = routes.clone();
                    async move { routes.call(request).await }
                });
                drive(stream, service, http2_only(), lifetime).await;
            }
        }
    }
}

async fn serve_workload(
    listener: &'static str,
    stream: Encrypted,
    peer: PeerIdentity,
    stack: &Arc<Stack>,
    shutdown: &ShutdownToken,
) {
    let ends = peer.not_after().min(stack.source.not_after());
    let left = ends.duration_since(SystemTime::now()).unwrap_or_default();
    let age = CONNECTION_AGE.min(left / CONNECTION_AGE_PER_CERTIFICATE_LIFE);
    let lifetime = Lifetime::new(shutdown, age);
    let id = peer.id().as_str().to_owned();
    let connection = Arc::new(Connection {
        span: Attributes::default().text("sekat.peer.id", &id).0.into(),
        counters: stack.telemetry.counters.peer(Direction::Server, listener, &id, &stack.table.methods),
        peer: Peer::Workload(peer),
        ending: lifetime.streams_end.clone(),
        activity: Arc::clone(&lifetime.activity),
    });
    let stack = Arc::clone(stack);
    let service = service_fn(move |request: Request<Incoming>| {
        let (stack, connection) = (Arc::clone(&stack), Arc::clone(&connection));
        // Boxed, because hyper and tokio move a call's future and would copy its kilobytes each time.
        Box::pin(async move { Ok::<Response<CallBody>, Infallible>(stack.serve(connection, request).await) })
    });
    drive(stream, service, http2_only(), lifetime).await;
}

async fn serve_public(
    stream: Encrypted,
    address: SocketAddr,
    stack: &Arc<Stack>,
    origins: &Origins,
    shutdown: &ShutdownToken,
) {
    let lifetime = Lifetime::new(shutdown, CONNECTION_AGE);
    let connection = Arc::new(Connection {
        span: Arc::default(),
        counters: stack.telemetry.counters.peer(Direction::Server, "public", "public", &stack.table.methods),
        peer: Peer::Public(address),
        ending: lifetime.streams_end.clone(),
        activity: Arc::clone(&lifetime.activity),
    });
    let stack = Arc::clone(stack);
    let grpc = tower::service_fn(move |request: Request<Body>| {
        let (stack, connection) = (Arc::clone(&stack), Arc::clone(&connection));
        async move { Ok::<Response<CallBody>, Infallible>(stack.serve(connection, request).await) }
    });
    // gRPC-Web stands outside of the stack, which then sees gRPC and nothing else.
    let grpc_web = tower::ServiceBuilder::new().layer(tonic_web::GrpcWebLayer::new()).service(grpc);
    let origins = origins.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        let (grpc_web, origin) = (grpc_web.clone(), origins.allowed(&request));
        async move {
            let mut response = match &origin {
                Some(_) if is_preflight(&request) => preflight(),
                _ => grpc_web.oneshot(request).await?,
            };
            if let Some(origin) = origin {
                expose(origin, response.headers_mut());
            }
            Ok::<_, Infallible>(response)
        }
    });
    drive(stream, service, http1_too(), lifetime).await;
}

async fn serve_web(stream: Encrypted, router: axum::Router, shutdown: &ShutdownToken) {
    let lifetime = Lifetime::new(shutdown, CONNECTION_AGE);
    let activity = Arc::clone(&lifetime.activity);
    let service = service_fn(move |request: Request<Incoming>| {
        activity.begun.fetch_add(1, Ordering::Relaxed);
        let mut router = router.clone();
        async move { router.call(request).await }
    });
    drive(stream, service, http1_too(), lifetime).await;
}

/// How long a connection lives.
struct Lifetime {
    shutdown: ShutdownToken,
    age: Duration,
    /// Cancelled when the connection's streams have to end, or when the connection itself has to.
    streams_end: CancellationToken,
    activity: Arc<Activity>,
}

impl Lifetime {
    fn new(shutdown: &ShutdownToken, age: Duration) -> Self {
        let spread = 100 - CONNECTION_AGE_JITTER_PERCENT + rand::random_range(0..=2 * CONNECTION_AGE_JITTER_PERCENT);
        Self {
            shutdown: shutdown.clone(),
            age: age * spread / 100,
            streams_end: CancellationToken::new(),
            activity: Arc::new(Activity { begun: AtomicUsize::new(0), streams: Slots::new(usize::MAX) }),
        }
    }

    /// Ready when the connection is to say GOAWAY, with the time that its streams then have.
    async fn over(&self) -> Duration {
        let idle = async {
            loop {
                let before = self.activity.begun.load(Ordering::Relaxed);
                tokio::time::sleep(CONNECTION_IDLE).await;
                let same = before == self.activity.begun.load(Ordering::Relaxed);
                if same && self.activity.streams.taken() == 0 {
                    return;
                }
            }
        };
        tokio::select! {
            () = self.shutdown.draining() => DRAIN_STREAMS,
            () = tokio::time::sleep(self.age) => CONNECTION_GRACE,
            () = idle => CONNECTION_GRACE,
            // A peer that is no longer trusted: its streams are ending already.
            () = self.streams_end.cancelled() => Duration::ZERO,
        }
    }
}

/// Serves one connection to its end: until the peer leaves, or its life is over and its calls are done.
async fn drive<I, S, B>(stream: I, service: S, builder: auto::Builder<TokioExecutor>, lifetime: Lifetime)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Service<Request<Incoming>, Response = Response<B>, Future: Send + 'static>,
    S::Error: Into<tonic::codegen::StdError>,
    B: http_body::Body<Data: Send> + Send + 'static,
    B::Error: Into<tonic::codegen::StdError>,
{
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let streams_grace = tokio::select! {
        _ended = connection.as_mut() => return,
        grace = lifetime.over() => grace,
    };
    connection.as_mut().graceful_shutdown();
    // New calls are refused now, the running ones end; then the streams are told to.
    if tokio::time::timeout(streams_grace, connection.as_mut()).await.is_ok() {
        return;
    }
    lifetime.streams_end.cancel();
    // A peer that reads nothing does not hold the connection for ever.
    let _ = tokio::time::timeout(CONNECTION_GRACE, connection).await;
}

fn http2_only() -> auto::Builder<TokioExecutor> {
    http1_too().http2_only()
}

fn http1_too() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HTTP1_HEADER_TIMEOUT);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_PER_CONNECTION)
        .max_header_list_size(HEADER_LIST_BYTES)
        .keep_alive_interval(SERVER_KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .auto_date_header(false);
    builder
}

/// Ready when all of `connections` are done.
pub(crate) fn all_done(connections: &TaskTracker) -> impl Future<Output = ()> + '_ {
    connections.close();
    connections.wait()
}
