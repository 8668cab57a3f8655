//! One address: a connection made when it is needed, replaced before it is given up when certificates rotate, and a
//! pause after failures.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use sekat_identity::{Source, SpiffeId};
use tokio::net::TcpStream;
use tokio::sync::{Notify, watch};
use tokio_rustls::TlsConnector;

use super::retry::spread;
use super::wire::{Failure, SendBody};
use crate::BoxError;
use crate::limits::{CLIENT_KEEPALIVE_INTERVAL, HEADER_LIST_BYTES, KEEPALIVE_TIMEOUT};
use crate::telemetry::otlp::Attributes;

/// For TCP and TLS together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// After the first failure to connect; doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// With what all endpoints of one workload connect.
pub(super) struct Connector {
    tls: Arc<ClientConfig>,
    /// Grows when the own certificate or a bundle changes.
    generation: watch::Receiver<u64>,
    server: SpiffeId,
}

impl Connector {
    pub(super) fn new(tls: Arc<ClientConfig>, source: &Source, server: &SpiffeId) -> Self {
        Self { tls, generation: source.subscribe(), server: server.clone() }
    }
}

/// One address of a workload.
pub(super) struct Endpoint {
    address: SocketAddr,
    connector: Arc<Connector>,
    span: Arc<[u8]>,
    state: Mutex<State>,
    changed: Notify,
    busy: AtomicUsize,
}

#[derive(Default)]
struct State {
    live: Option<Live>,
    connecting: bool,
    /// Not before then is another connection tried.
    retry_at: Option<Instant>,
    failures: u32,
}

struct Live {
    sender: SendRequest<SendBody>,
    generation: u64,
    /// Whether an answer has come over it. In TLS 1.3 a client learns only afterwards that it was not let in.
    proven: Arc<AtomicBool>,
}

/// A connection, for one call.
pub(super) struct Connection {
    sender: SendRequest<SendBody>,
    proven: Arc<AtomicBool>,
}

/// Counts a call at its endpoint while it runs.
pub(super) struct Busy(Arc<Endpoint>);

enum Found {
    Connection(Connection),
    Connecting,
    Failing,
}

impl Endpoint {
    pub(super) fn new(address: SocketAddr, connector: Arc<Connector>) -> Arc<Self> {
        let span = Attributes::default()
            .text("sekat.peer.id", connector.server.as_str())
            .text("server.address", &address.ip().to_string())
            .int("server.port", i64::from(address.port()));
        let mut generation = connector.generation.clone();
        let endpoint = Arc::new(Self {
            address,
            connector,
            span: span.0.into(),
            state: Mutex::default(),
            changed: Notify::new(),
            busy: AtomicUsize::new(0),
        });
        // An idle connection is renewed too: the next call may come when its identity is no longer trusted.
        let renewed = Arc::downgrade(&endpoint);
        tokio::spawn(async move {
            while generation.changed().await.is_ok() {
                let Some(endpoint) = renewed.upgrade() else { return };
                if endpoint.state().has_connection() {
                    endpoint.find();
                }
            }
        });
        endpoint
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address and the identity as span attributes.
    pub(super) fn span(&self) -> Arc<[u8]> {
        Arc::clone(&self.span)
    }

    /// Calls that run over it.
    pub(super) fn busy(&self) -> usize {
        self.busy.load(Ordering::Relaxed)
    }

    /// Whether it just failed and is not to be tried yet.
    pub(super) fn is_failing(&self) -> bool {
        let state = self.state();
        !state.has_connection() && state.retry_at.is_some_and(|at| Instant::now() < at)
    }

    /// The connection, made first if there is none. Calls that come meanwhile wait for the same one.
    pub(super) async fn connection(self: &Arc<Self>) -> Result<(Connection, Busy), Failure> {
        self.busy.fetch_add(1, Ordering::Relaxed);
        let busy = Busy(Arc::clone(self));
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            match self.find() {
                Found::Connection(connection) => return Ok((connection, busy)),
                Found::Failing => return Err(Failure::unsent()),
                Found::Connecting => changed.await,
            }
        }
    }

    /// Makes the next call open a new connection. Calls that run over the old one end there.
    pub(super) fn forget_connection(&self) {
        self.state().live = None;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(self: &Arc<Self>) -> Found {
        let generation = *self.connector.generation.borrow();
        let mut state = self.state();
        let usable = state.live.as_ref().filter(|live| !live.sender.is_closed());
        let found = usable.map(|live| {
            let connection = Connection { sender: live.sender.clone(), proven: Arc::clone(&live.proven) };
            (Found::Connection(connection), live.generation == generation)
        });
        let paused = state.retry_at.is_some_and(|at| Instant::now() < at);
        let (found, fresh) = found.unwrap_or((if paused { Found::Failing } else { Found::Connecting }, false));
        if !fresh && !paused && !state.connecting {
            // With an old connection in hand the new one is made beside it, and calls do not wait.
            state.connecting = true;
            tokio::spawn(Arc::clone(self).connect(generation));
        }
        if state.connecting && matches!(found, Found::Failing) { Found::Connecting } else { found }
    }

    async fn connect(self: Arc<Self>, generation: u64) {
        let made = tokio::time::timeout(CONNECT_TIMEOUT, self.handshake()).await;
        let made = made.unwrap_or_else(|elapsed| Err(elapsed.into()));
        let mut state = self.state();
        state.connecting = false;
        match made {
            Ok((sender, proven)) => {
                state.live = Some(Live { sender, generation, proven });
                state.retry_at = None;
            }
            Err(error) => {
                tracing::warn!(
                    server = self.connector.server.as_str(),
                    address = %self.address,
                    error = error.as_ref() as &dyn std::error::Error,
                    "no connection"
                );
                state.pause();
            }
        }
        drop(state);
        self.changed.notify_waiters();
    }

    async fn handshake(self: &Arc<Self>) -> Result<(SendRequest<SendBody>, Arc<AtomicBool>), BoxError> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        // The identity is checked, not the name; none is sent.
        let name = ServerName::IpAddress(self.address.ip().into());
        let stream = TlsConnector::from(Arc::clone(&self.connector.tls)).connect(name, stream).await?;
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(CLIENT_KEEPALIVE_INTERVAL)
            .keep_alive_timeout(KEEPALIVE_TIMEOUT)
            .keep_alive_while_idle(false)
            .max_header_list_size(HEADER_LIST_BYTES)
            .handshake(TokioIo::new(stream))
            .await?;
        let proven = Arc::new(AtomicBool::new(false));
        let (endpoint, answered) = (Arc::downgrade(self), Arc::clone(&proven));
        tokio::spawn(async move {
            let ended = connection.await;
            let Some(endpoint) = endpoint.upgrade() else { return };
            if answered.load(Ordering::Relaxed) {
                return;
            }
            if let Err(error) = ended {
                let error = &error as &dyn std::error::Error;
                let server = endpoint.connector.server.as_str();
                tracing::warn!(server, address = %endpoint.address, error, "the connection was not let in");
                endpoint.state().pause();
            }
        });
        Ok((sender, proven))
    }
}

impl State {
    fn has_connection(&self) -> bool {
        self.live.as_ref().is_some_and(|live| !live.sender.is_closed())
    }

    fn pause(&mut self) {
        let pause = FIRST_PAUSE.saturating_mul(1_u32.checked_shl(self.failures).unwrap_or(u32::MAX));
        self.failures = self.failures.saturating_add(1);
        self.retry_at = Some(Instant::now() + spread(pause.min(LONGEST_PAUSE)));
        self.live = self.live.take().filter(|live| live.proven.load(Ordering::Relaxed));
    }
}

impl Connection {
    pub(super) async fn send(&mut self, request: Request<SendBody>) -> Result<Response<Incoming>, Failure> {
        let response = self.sender.try_send_request(request).await.map_err(Failure::of_send)?;
        self.proven.store(true, Ordering::Relaxed);
        Ok(response)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.busy.fetch_sub(1, Ordering::Relaxed);
    }
}
