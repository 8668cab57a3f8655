//! The client of all servers, and the processes that it calls.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use bytes::Bytes;
use http::uri::PathAndQuery;
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use sekat_identity::Source;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tonic::client::Grpc;
use tonic::metadata::AsciiMetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic_prost::ProstCodec;

use super::echo::{Blob, ECHO_ID, PATH};
use super::{Args, ECHO, Role};
use crate::process::Usage;

/// As many as a service has peers.
const CONNECTIONS: usize = 4;
/// A small message.
const PAYLOAD: &[u8] = &[7; 100];
const DEADLINE: Duration = Duration::from_secs(5);
/// After a turn, until its spans are written (every 200 ms).
const SETTLE: Duration = Duration::from_millis(300);
/// Until a server serves.
const READY_LIMIT: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(10);

/// One of the servers.
#[derive(Debug)]
pub(super) struct Server {
    role: Role,
    process: Child,
    channels: Vec<Channel>,
}

/// What one turn cost.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turn {
    /// Of the server.
    pub(super) cpu_us_per_call: f64,
    pub(super) calls_per_second: f64,
}

impl Server {
    /// Starts it and waits until it serves. It ends with this value.
    pub(super) async fn start(role: Role, directory: &Path, identity: &Source) -> anyhow::Result<Self> {
        let own = directory.join(role.name());
        std::fs::create_dir_all(&own)?;
        let (ready, log) = (own.join("ready.json"), own.join("log"));
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["call-server", "--role", role.name()]).env_clear().kill_on_drop(true);
        command
            .env("SEKAT_IDENTITY_DIR", directory.join(ECHO))
            .env("SEKAT_MESH_LISTEN", "127.0.0.1:0")
            .env("SEKAT_OTLP", format!("file:{}", own.join("traces").display()))
            .env("SEKAT_DATA_DIR", &own)
            .env("SEKAT_READY_FILE", &ready)
            .env("SEKAT_EXIT_WITH_STDIN", "true");
        let output = std::fs::File::create(&log)?;
        command.stdin(Stdio::piped()).stdout(output.try_clone()?).stderr(output);
        let mut process = command.spawn().context("a server cannot be started")?;
        let address = address(&mut process, &ready, &log).await?;
        let channels = (0..CONNECTIONS).map(|_| channel(&address, identity)).collect::<anyhow::Result<_>>()?;
        Ok(Self { role, process, channels })
    }

    pub(super) fn role(&self) -> Role {
        self.role
    }

    /// Calls it at least so many times, in a closed loop.
    pub(super) async fn turn(&self, args: &Args) -> anyhow::Result<Turn> {
        let pid = self.process.id().context("the server has ended")?;
        let each = args.calls.div_ceil(args.at_once);
        let (before, started) = (Usage::of(pid)?, Instant::now());
        let mut running = JoinSet::new();
        for (channel, _) in self.channels.iter().cycle().zip(0..args.at_once) {
            running.spawn(call_repeatedly(channel.clone(), each));
        }
        while let Some(done) = running.join_next().await {
            done??;
        }
        let wall = started.elapsed();
        tokio::time::sleep(SETTLE).await;
        let cpu = Usage::of(pid)?.cpu.saturating_sub(before.cpu);
        let calls = f64::from(each * args.at_once);
        Ok(Turn {
            cpu_us_per_call: cpu.as_secs_f64() * 1_000_000.0 / calls,
            calls_per_second: calls / wall.as_secs_f64(),
        })
    }
}

async fn call_repeatedly(channel: Channel, times: u32) -> anyhow::Result<()> {
    let mut grpc = Grpc::new(channel);
    let path = PathAndQuery::from_static(PATH);
    for _ in 0..times {
        let mut request = tonic::Request::new(Blob { payload: Bytes::from_static(PAYLOAD) });
        request.set_timeout(DEADLINE);
        request.metadata_mut().insert("traceparent", traceparent()?);
        grpc.ready().await?;
        let answer = grpc.unary(request, path.clone(), ProstCodec::<Blob, Blob>::default()).await?;
        if answer.get_ref().payload.len() != PAYLOAD.len() {
            bail!("the answer is not what was sent");
        }
    }
    Ok(())
}

/// A new trace for each call, sampled.
fn traceparent() -> anyhow::Result<AsciiMetadataValue> {
    let trace = uuid::Uuid::new_v4();
    let (span, _) = trace.as_u64_pair();
    Ok(format!("00-{}-{span:016x}-01", trace.simple()).parse()?)
}

async fn address(process: &mut Child, ready: &Path, log: &Path) -> anyhow::Result<String> {
    let said = || std::fs::read_to_string(log).unwrap_or_default();
    let waiting = async {
        let mut interval = tokio::time::interval(POLL);
        loop {
            interval.tick().await;
            if let Some(status) = process.try_wait()? {
                bail!("a server ended with {status}:\n{}", said());
            }
            if let Ok(text) = std::fs::read(ready) {
                let mut addresses: BTreeMap<String, String> = serde_json::from_slice(&text)?;
                return addresses.remove("mesh").context("the server has no mesh listener");
            }
        }
    };
    tokio::time::timeout(READY_LIMIT, waiting).await.with_context(|| format!("a server does not serve:\n{}", said()))?
}

fn channel(address: &str, identity: &Source) -> anyhow::Result<Channel> {
    let config = sekat_identity::tls::client_config(identity, ECHO_ID.parse()?);
    let connector = TlsConnector::from(config);
    // The name is not looked at: the verifier insists on the SPIFFE ID.
    let name = ServerName::try_from("echo.invalid")?;
    let target: Arc<str> = address.into();
    let connect = tower::service_fn(move |_| {
        let (connector, name, target) = (connector.clone(), name.clone(), Arc::clone(&target));
        async move {
            let stream = TcpStream::connect(&*target).await?;
            stream.set_nodelay(true)?;
            Ok::<_, std::io::Error>(TokioIo::new(connector.connect(name, stream).await?))
        }
    });
    Ok(Endpoint::from_shared(format!("http://{address}"))?.connect_with_connector_lazy(connect))
}
