//! `sekat witness`: takes spans over mutual TLS, writes down who sent them in hash-chained segments, and passes them on.
//! What is acknowledged is on disk; an exporter can say what it likes about itself, but not send it as somebody else.

mod forward;

use std::fs::{File, TryLockError};
use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anstream::eprintln;
use anyhow::{Context as _, bail};
use bytes::{Buf as _, BufMut as _, Bytes};
use http::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use sekat_audit::segments::{Head, Writer};
use sekat_audit::source::otlp;
use sekat_audit::{Recorded, Resource, Sink, Span};
use sekat_identity::tls::{ClientTrust, peer_identity, server_config};
use sekat_identity::{Rejection, Source, SpiffeId};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};

use self::forward::Forward;
use crate::exit::Exit;

/// The name of the chain: whoever audits it has to know it.
pub(crate) const CHAIN: &str = "witness";
/// The method of OTLP.
const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
/// The largest message: four times what collectors take by default.
const MESSAGE_BYTES: usize = 16 << 20;
/// Connections at once; further ones wait in the kernel's queue.
const CONNECTIONS: usize = 1024;
/// After a connection could not be taken: too many open files are not fewer a microsecond later.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// For one handshake.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(5);
/// For connections to end, and for what is to be passed on, once it is to stop.
const DRAIN_LIMIT: Duration = Duration::from_secs(5);

/// Flags of `sekat witness`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The witness's identity: `svid.pem`, `svid.key`, `bundle.pem`, and the roots of each trust domain whose workloads may
    /// send spans, as `TRUST-DOMAIN.pem`. The files are watched.
    #[arg(long, value_name = "DIR")]
    identity: PathBuf,
    /// Where it listens for OTLP/gRPC.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:4317")]
    listen: SocketAddr,
    /// Where segments are written; a chain that is there is verified and continued.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// An OTLP/gRPC receiver to which everything is passed on, as http://host:port, with `sekat.exporter.id` on each
    /// resource and no copy of it that a client sent.
    #[arg(long, value_name = "URL")]
    forward: Option<http::Uri>,
    /// End when standard input does, because whoever started it is gone.
    #[arg(long, hide = true)]
    exit_with_stdin: bool,
}

/// Takes spans until it is told to stop.
pub(crate) async fn run(args: Args) -> anyhow::Result<Exit> {
    let mut stop = crate::up::Stop::listen()?;
    let source = Source::open(&args.identity).await.context("the identity cannot be used")?;
    let _lock = lock(&args.out)?;
    let writer = Writer::open(&args.out, CHAIN).context("the chain cannot be continued: move it away, and keep it")?;
    let listener = TcpListener::bind(args.listen).await;
    let listener = listener.with_context(|| format!("{} cannot be listened on: choose another", args.listen))?;
    let forward = args.forward.map(Forward::start).transpose()?;
    let tls = TlsAcceptor::from(server_config(&source, ClientTrust::OwnAndFederated));
    eprintln!("{} takes spans at https://{}", source.id(), listener.local_addr()?);
    tell(&args.out, writer.head());
    let witness = Arc::new(Witness { writer: Mutex::new(writer), forward });
    let (draining, drained) = watch::channel(false);
    let mut connections = JoinSet::new();
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    let mut stdin_ends = std::pin::pin!(stdin_ends(args.exit_with_stdin));
    loop {
        let accept = async {
            let place = Arc::clone(&room).acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            accepted = accept => accepted,
            _ = connections.join_next(), if !connections.is_empty() => continue,
            () = stop.requested() => break,
            () = &mut stdin_ends => break,
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                eprintln!("a connection could not be taken: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (tls, witness, drained) = (tls.clone(), Arc::clone(&witness), drained.clone());
        connections.spawn(async move {
            if let Err(rejection) = serve(tls, stream, witness, drained).await {
                let claimed = rejection.claimed().map(|id| format!(", who claims to be {id}")).unwrap_or_default();
                eprintln!("refused {address}{claimed}: {rejection}");
            }
            drop(place);
        });
    }
    draining.send_replace(true);
    let ended = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(DRAIN_LIMIT, ended).await.is_err() {
        connections.abort_all();
    }
    if let Some(forward) = &witness.forward {
        forward.drain(DRAIN_LIMIT).await;
    }
    tell(&args.out, witness.writer.lock().unwrap_or_else(PoisonError::into_inner).head());
    Ok(Exit::Holds)
}

/// Held by the kernel for as long as this process lives: two writers would break the chain of each other.
fn lock(out: &Path) -> anyhow::Result<File> {
    std::fs::create_dir_all(out).with_context(|| format!("{} cannot be made", out.display()))?;
    let path = out.join("witness.lock");
    let file = File::create(&path).with_context(|| format!("{} cannot be made", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => bail!("another witness writes into {}: choose another --out", out.display()),
        Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("{} cannot be locked", path.display())),
    }
}

/// Where the chain stands: whoever keeps this sees later whether its end was cut off.
fn tell(out: &Path, head: Head) {
    let hash: String = head.hash.iter().map(|byte| format!("{byte:02x}")).collect();
    eprintln!("{}: {} records, head {hash}", out.display(), head.records);
}

/// Ready when standard input ends, if that means anything.
async fn stdin_ends(means_something: bool) {
    if !means_something {
        return std::future::pending().await;
    }
    let (ended, end) = tokio::sync::oneshot::channel();
    // On a thread of its own: a read of a terminal cannot be cancelled, and would keep the runtime from ending.
    std::thread::spawn(move || {
        drop(std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink()));
        let _ = ended.send(());
    });
    drop(end.await);
}

/// One connection to its end.
async fn serve(
    tls: TlsAcceptor,
    stream: TcpStream,
    witness: Arc<Witness>,
    mut drained: watch::Receiver<bool>,
) -> Result<(), Rejection> {
    let shaken = tokio::time::timeout(HANDSHAKE_LIMIT, tls.accept(stream)).await;
    let stream = shaken.map_err(|_| Rejection::TimedOut)?.map_err(|error| Rejection::of_handshake(&error))?;
    let exporter = peer_identity(stream.get_ref().1)?.id().clone();
    let service = tower::service_fn(move |request| answer(Arc::clone(&witness), exporter.clone(), request));
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http2().max_concurrent_streams(16);
    let service = TowerToHyperService::new(service);
    let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
    // How a connection ends is its client's affair: what was acknowledged is written.
    let draining = async { drop(drained.wait_for(|draining| *draining).await) };
    tokio::select! {
        _ = connection.as_mut() => {}
        () = draining => {
            connection.as_mut().graceful_shutdown();
            drop(connection.await);
        }
    }
    Ok(())
}

async fn answer<B>(
    witness: Arc<Witness>,
    exporter: SpiffeId,
    request: Request<B>,
) -> Result<Response<tonic::body::Body>, std::convert::Infallible>
where
    B: http_body::Body + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>> + Send,
{
    if request.uri().path() != EXPORT {
        return Ok(Status::unimplemented("a witness takes traces, by OTLP over gRPC").into_http());
    }
    let mut grpc = tonic::server::Grpc::new(Encoded).max_decoding_message_size(MESSAGE_BYTES);
    Ok(grpc.unary(Export { witness, exporter }, request).await)
}

/// Everything that connections share.
struct Witness {
    writer: Mutex<Writer>,
    forward: Option<Forward>,
}

impl Witness {
    /// Writes a message down; it is on disk when this returns.
    async fn take(self: Arc<Self>, exporter: SpiffeId, message: Bytes) -> Result<(), Status> {
        // What cannot be read would end the audit of the whole chain.
        if let Err(error) = otlp::decode(&message, exporter.as_str(), &mut Nothing) {
            return Err(Status::invalid_argument(error.to_string()));
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let at = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        let written = tokio::task::spawn_blocking({
            let (witness, exporter, message) = (Arc::clone(&self), exporter.clone(), message.clone());
            move || {
                let mut writer = witness.writer.lock().unwrap_or_else(PoisonError::into_inner);
                writer.append(at, exporter.as_str(), &message)?;
                writer.sync()
            }
        });
        match written.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                eprintln!("spans of {exporter} cannot be written: {error}");
                return Err(Status::unavailable("the witness cannot write; try again"));
            }
            Err(_) => return Err(Status::unavailable("the witness stops")),
        }
        if let Some(forward) = &self.forward {
            forward.pass(exporter, message);
        }
        Ok(())
    }
}

/// Looks at nothing: reading alone shows whether a message is OTLP.
struct Nothing;

impl Sink for Nothing {
    fn span(&mut self, _: &Resource<'_>, _: &Span<'_>) {}
    fn recorded(&mut self, _: &Resource<'_>, _: Recorded) {}
}

/// The method, for one connection's exporter.
struct Export {
    witness: Arc<Witness>,
    exporter: SpiffeId,
}

impl tonic::server::UnaryService<Bytes> for Export {
    type Response = ();
    type Future = Pin<Box<dyn Future<Output = Result<tonic::Response<()>, Status>> + Send>>;

    fn call(&mut self, request: tonic::Request<Bytes>) -> Self::Future {
        let taken = Arc::clone(&self.witness).take(self.exporter.clone(), request.into_inner());
        Box::pin(async { taken.await.map(tonic::Response::new) })
    }
}

/// The codec of messages that stay as they are, and of answers that say no more than that they were taken.
struct Encoded;

impl Codec for Encoded {
    type Encode = ();
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;
    fn encoder(&mut self) -> Self {
        Self
    }
    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Encoded {
    type Item = ();
    type Error = Status;
    fn encode(&mut self, (): (), to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put_slice(&[]);
        Ok(())
    }
}

impl Decoder for Encoded {
    type Item = Bytes;
    type Error = Status;
    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}
