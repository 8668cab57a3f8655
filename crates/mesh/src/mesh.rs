//! One process of the mesh: its identity, its listeners, its telemetry, its clients.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::ClientConfig;
use sekat_identity::end_user::Audience;
use sekat_identity::jws::VerifyingKeys;
use sekat_identity::tls::client_config_beyond;
use sekat_identity::{Source, SourceError, SpiffeId, TrustBundle};
use sekat_policy::{Api, Listener};
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::client::{Addresses, Channel};
use crate::end_user::EndUsers;
use crate::env::{Env, FromEnv};
use crate::listen::{Surface, accept};
use crate::received::Received;
use crate::server::Server;
use crate::shutdown::ShutdownToken;
use crate::telemetry::bridge::Bridge;
use crate::telemetry::counters::{CallCount, RefusedConnections};
use crate::telemetry::recorder::Recorder;
use crate::telemetry::{Sampler, Target, Telemetry, log};

/// How long a process waits for its identity to be issued before it gives up.
const IDENTITY_WAIT: Duration = Duration::from_secs(30);
/// Between two looks.
const IDENTITY_POLL: Duration = Duration::from_millis(100);
/// For the last spans at the end of a process.
const FLUSH_LIMIT: Duration = Duration::from_secs(2);

/// What the mesh itself reads from the environment.
#[derive(Clone, Debug)]
pub struct Settings {
    identity_dir: PathBuf,
    pub(crate) listen: Listen,
    upstreams: BTreeMap<String, Addresses>,
    otlp: Option<Target>,
    /// Who the OTLP receiver has to be, and the roots of its trust domain; `https` needs both.
    otlp_peer: Option<SpiffeId>,
    otlp_bundle: Option<PathBuf>,
    sample_ratio: f64,
    pub(crate) profile: Profile,
    trust_dir: Option<PathBuf>,
    pub(crate) web_tls_dir: Option<PathBuf>,
    data_dir: Option<PathBuf>,
    received_file: Option<PathBuf>,
    pub(crate) ready_file: Option<PathBuf>,
    pub(crate) exits_with_stdin: bool,
    pub(crate) log: log::Filter,
    pub(crate) log_format: log::Format,
}

/// Where the process listens; port 0 lets the system choose.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Listen {
    mesh: Option<SocketAddr>,
    feed: Option<SocketAddr>,
    public: Option<SocketAddr>,
    health: Option<SocketAddr>,
}

/// What the process is run for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Profile {
    /// Reflection for `ops`, no lame-duck time.
    Dev,
    /// Nothing that only people at a desk need.
    Prod,
}

impl FromEnv for Profile {
    const EXPECTED: &'static str = "dev or prod";
    fn from_env(text: &str) -> Option<Self> {
        match text {
            "dev" => Some(Self::Dev),
            "prod" => Some(Self::Prod),
            _ => None,
        }
    }
    fn placeholder() -> Self {
        Self::Prod
    }
}

impl Settings {
    /// Reads all of the mesh's own variables; the crate's documentation lists them.
    #[must_use]
    pub fn read(env: &mut Env) -> Self {
        let sample_ratio = env.optional("SEKAT_SAMPLE_RATIO", 1.0);
        if !(0.0..=1.0).contains(&sample_ratio) {
            env.problem("SEKAT_SAMPLE_RATIO", "must be between 0 and 1");
        }
        let otlp: Option<Target> = env.maybe("SEKAT_OTLP");
        let (otlp_peer, otlp_bundle) = (env.maybe("SEKAT_OTLP_PEER"), env.maybe("SEKAT_OTLP_BUNDLE"));
        let is_encrypted = otlp.as_ref().is_some_and(Target::is_encrypted);
        if is_encrypted != otlp_peer.is_some() || is_encrypted != otlp_bundle.is_some() {
            env.problem("SEKAT_OTLP", "is https: exactly if SEKAT_OTLP_PEER and SEKAT_OTLP_BUNDLE say who is there");
        }
        Self {
            identity_dir: env.required("SEKAT_IDENTITY_DIR"),
            listen: Listen {
                mesh: env.maybe("SEKAT_MESH_LISTEN"),
                feed: env.maybe("SEKAT_FEED_LISTEN"),
                public: env.maybe("SEKAT_PUBLIC_LISTEN"),
                health: env.maybe("SEKAT_HEALTH_LISTEN"),
            },
            upstreams: env.with_prefix(UPSTREAM_PREFIX),
            otlp,
            otlp_peer,
            otlp_bundle,
            sample_ratio,
            profile: env.optional("SEKAT_PROFILE", Profile::Prod),
            trust_dir: env.maybe("SEKAT_TRUST_DIR"),
            web_tls_dir: env.maybe("SEKAT_WEB_TLS_DIR"),
            data_dir: env.maybe("SEKAT_DATA_DIR"),
            received_file: env.maybe("SEKAT_RECEIVED_FILE"),
            ready_file: env.maybe("SEKAT_READY_FILE"),
            exits_with_stdin: env.optional("SEKAT_EXIT_WITH_STDIN", false),
            log: env.optional("SEKAT_LOG", log::Filter::info()),
            log_format: env.optional("SEKAT_LOG_FORMAT", log::Format::Human),
        }
    }

    /// TLS to the OTLP receiver, if it is to be proven to each other who is there.
    fn otlp_tls(&self, source: &Source) -> Result<Option<Arc<ClientConfig>>, ConfigError> {
        let (Some(peer), Some(path)) = (&self.otlp_peer, &self.otlp_bundle) else { return Ok(None) };
        let unusable = |source| ConfigError::Material { name: "SEKAT_OTLP_BUNDLE", source };
        let pem = std::fs::read(path).map_err(|source| ConfigError::OtlpBundle { source })?;
        let bundle = TrustBundle::from_pem(peer.trust_domain(), &pem).map_err(unusable)?;
        Ok(Some(client_config_beyond(source, peer.clone(), bundle)))
    }

    /// The recorder of the spans that these settings ask for.
    pub(crate) fn recorder(&self) -> Arc<Recorder> {
        Arc::new(Recorder::new(self.otlp.is_some()))
    }
}

const UPSTREAM_PREFIX: &str = "SEKAT_UPSTREAM_";

/// The variable that holds the addresses of the workload that serves `api`.
fn upstream_variable(api: &Api) -> String {
    let workload = api.workload.to_uppercase().replace('-', "_");
    let listener = if api.listener == Listener::Feed { "_FEED" } else { "" };
    format!("{workload}{listener}")
}

/// The configuration lacks something, or something in it does not fit.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A variable is not set that this workload needs.
    #[error("{name} is required: {why}")]
    Missing {
        /// The variable.
        name: String,
        /// What it is needed for.
        why: String,
    },
    /// A listen address cannot be used.
    #[error("{name}: cannot listen on {address}; is another process there?")]
    Listen {
        /// The variable.
        name: &'static str,
        /// Its value.
        address: SocketAddr,
        /// What the operating system says.
        source: io::Error,
    },
    /// Keys, certificates or the identity cannot be read.
    #[error("{name} does not hold what it should")]
    Material {
        /// The variable.
        name: &'static str,
        /// What is wrong.
        source: SourceError,
    },
    /// A contract cannot be used; its generator is at fault.
    #[error("the contract {package}: {what}")]
    Contract {
        /// The contract.
        package: &'static str,
        /// What is wrong.
        what: String,
    },
    /// Spans cannot be written.
    #[error("SEKAT_OTLP: the directory cannot be written")]
    Spans {
        /// What the operating system says.
        source: io::Error,
    },
    /// The roots of the OTLP receiver cannot be read.
    #[error("SEKAT_OTLP_BUNDLE: the file cannot be read")]
    OtlpBundle {
        /// What the operating system says.
        source: io::Error,
    },
    /// What is received cannot be copied.
    #[error("SEKAT_RECEIVED_FILE: the file cannot be written")]
    Received {
        /// What the operating system says.
        source: io::Error,
    },
    /// The server was put together wrongly.
    #[error("{0}")]
    Server(String),
}

/// One process of the mesh. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Mesh(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    workload: &'static str,
    settings: Settings,
    id: SpiffeId,
    source: Source,
    telemetry: Arc<Telemetry>,
    shutdown: ShutdownToken,
    health: HealthReporter,
    connections: TaskTracker,
    bound: Mutex<BTreeMap<&'static str, TcpListener>>,
    addresses: BTreeMap<&'static str, SocketAddr>,
}

impl Mesh {
    /// Binds all listeners, waits up to 30 seconds for the identity and answers health probes with "not serving".
    /// For processes that host several workloads; a service's `main` calls [`crate::run()`].
    ///
    /// # Errors
    /// If an address is taken, the identity does not come, or spans cannot be written.
    pub async fn open(workload: &'static str, settings: Settings) -> Result<Self, ConfigError> {
        let recorder = settings.recorder();
        Self::open_with(workload, settings, recorder).await
    }

    pub(crate) async fn open_with(
        workload: &'static str,
        settings: Settings,
        recorder: Arc<Recorder>,
    ) -> Result<Self, ConfigError> {
        // A second installation fails and changes nothing.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut bound = bind(settings.listen).await?;
        let addresses = bound.iter().filter_map(|(name, at)| Some((*name, at.local_addr().ok()?))).collect();
        let source = identity(&settings).await?;
        let id = source.id();
        let received = settings.received_file.as_deref().map(Received::open).transpose();
        let received = received.map_err(|source| ConfigError::Received { source })?;
        let otlp = settings.otlp.as_ref().map(|target| Ok::<_, ConfigError>((target, settings.otlp_tls(&source)?)));
        let telemetry = Telemetry::start(
            workload,
            domain_of(&id),
            recorder,
            otlp.transpose()?,
            settings.data_dir.as_deref(),
            received,
        )
        .map_err(|source| ConfigError::Spans { source })?;

        let (health, service) = tonic_health::server::health_reporter();
        health.set_service_status("", ServingStatus::NotServing).await;
        let shutdown = ShutdownToken::default();
        let connections = TaskTracker::new();
        if let Some(listener) = bound.remove(HEALTH) {
            let routes = tonic::service::Routes::new(service).prepare();
            tokio::spawn(accept(listener, Surface::Health { routes }, shutdown.clone(), TaskTracker::new()));
        }
        let bound = Mutex::new(bound);
        Ok(Self(Arc::new(Inner {
            workload,
            settings,
            id,
            source,
            telemetry,
            shutdown,
            health,
            connections,
            bound,
            addresses,
        })))
    }

    /// A client of the workload that serves `api`, at the addresses of `SEKAT_UPSTREAM_<WORKLOAD>`. It connects when
    /// it is first used. Needs a Tokio runtime.
    ///
    /// # Errors
    /// If the variable is not set.
    pub fn client(&self, api: &'static Api) -> Result<Channel, ConfigError> {
        let variable = upstream_variable(api);
        let addresses = self.0.settings.upstreams.get(&variable).ok_or_else(|| ConfigError::Missing {
            name: format!("{UPSTREAM_PREFIX}{variable}"),
            why: format!("{} calls {}", self.0.workload, api.workload),
        })?;
        let server = SpiffeId::parse(api.server_id)
            .map_err(|error| ConfigError::Contract { package: api.package, what: error.to_string() })?;
        Channel::new(api, server, addresses, &self.0.source, &self.0.telemetry, self.sampler())
    }

    /// A server on this process's listeners.
    pub fn server(&self) -> Server {
        Server::new(self.clone())
    }

    /// The identity of this process.
    #[must_use]
    pub fn id(&self) -> &SpiffeId {
        &self.0.id
    }

    /// The watched identity behind it.
    #[must_use]
    pub fn source(&self) -> &Source {
        &self.0.source
    }

    /// The name of the domain that this workload belongs to: the first label of its trust domain.
    #[must_use]
    pub fn domain(&self) -> &str {
        domain_of(&self.0.id)
    }

    /// The end of this process, to be begun or waited for.
    #[must_use]
    pub fn shutdown(&self) -> ShutdownToken {
        self.0.shutdown.clone()
    }

    /// How many calls ended how, by direction, peer, method and status, since the process began.
    #[must_use]
    pub fn counters(&self) -> Vec<CallCount> {
        self.0.telemetry.counters.snapshot()
    }

    /// How many connections each listener refused and why, since the process began.
    #[must_use]
    pub fn refused_connections(&self) -> RefusedConnections {
        self.0.telemetry.counters.refused_connections()
    }

    /// Spans that were lost since the process began: there was no room for them, or the collector refused them.
    #[must_use]
    pub fn spans_dropped(&self) -> u64 {
        self.0.telemetry.recorder.dropped()
    }

    /// The addresses that are bound, by listener: `mesh`, `feed`, `public`, `health`.
    #[must_use]
    pub fn addresses(&self) -> &BTreeMap<&'static str, SocketAddr> {
        &self.0.addresses
    }

    /// The `tracing` layer that puts business spans into this process's traces. [`crate::run()`] installs it.
    pub fn span_layer<S>(&self) -> impl tracing_subscriber::Layer<S> + use<S>
    where
        S: tracing::Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
    {
        Bridge::new(Arc::clone(&self.0.telemetry.recorder))
    }

    /// Exports all spans that have ended and writes the counters as the last of this run, within two seconds.
    pub async fn flush(&self) {
        self.0.telemetry.flush(FLUSH_LIMIT).await;
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.0.settings
    }

    pub(crate) fn telemetry(&self) -> &Arc<Telemetry> {
        &self.0.telemetry
    }

    pub(crate) fn health(&self) -> &HealthReporter {
        &self.0.health
    }

    pub(crate) fn connections(&self) -> &TaskTracker {
        &self.0.connections
    }

    pub(crate) fn workload(&self) -> &'static str {
        self.0.workload
    }

    pub(crate) fn sampler(&self) -> Sampler {
        Sampler::new(self.0.settings.sample_ratio)
    }

    /// Hands out a bound listener, once.
    pub(crate) fn take_listener(&self, listener: ListenerName) -> Result<TcpListener, ConfigError> {
        let mut bound = self.0.bound.lock().unwrap_or_else(PoisonError::into_inner);
        bound.remove(listener.name).ok_or_else(|| ConfigError::Missing {
            name: listener.variable.to_owned(),
            why: format!("{} serves on it", self.0.workload),
        })
    }

    /// A listener that is configured and not served would accept connections and never answer.
    pub(crate) fn close_unused_listeners(&self) {
        let unused = std::mem::take(&mut *self.0.bound.lock().unwrap_or_else(PoisonError::into_inner));
        for name in unused.into_keys() {
            tracing::warn!(name, "this workload serves nothing on a listener that it is given; it is closed");
        }
    }

    /// The verifier of end users' tokens, if the process was given the keys.
    pub(crate) async fn end_users(&self) -> Result<Option<EndUsers>, ConfigError> {
        let Some(dir) = &self.0.settings.trust_dir else { return Ok(None) };
        let audience = match self.domain() {
            "commerce" => Audience::CommerceEdge,
            "showcase" => Audience::ShowcaseEdge,
            _ => return Ok(None),
        };
        let keys = VerifyingKeys::open(&dir.join("account-token.pem")).await;
        let keys = keys.map_err(|source| ConfigError::Material { name: "SEKAT_TRUST_DIR", source })?;
        Ok(Some(EndUsers::new(keys, audience)))
    }
}

/// A listener's name in logs and the variable that holds its address.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ListenerName {
    pub(crate) name: &'static str,
    variable: &'static str,
}

pub(crate) const MESH_LISTENER: ListenerName = ListenerName { name: "mesh", variable: "SEKAT_MESH_LISTEN" };
pub(crate) const FEED_LISTENER: ListenerName = ListenerName { name: "feed", variable: "SEKAT_FEED_LISTEN" };
pub(crate) const PUBLIC_LISTENER: ListenerName = ListenerName { name: "public", variable: "SEKAT_PUBLIC_LISTEN" };
const HEALTH_LISTENER: ListenerName = ListenerName { name: HEALTH, variable: "SEKAT_HEALTH_LISTEN" };
pub(crate) const HEALTH: &str = "health";

async fn bind(listen: Listen) -> Result<BTreeMap<&'static str, TcpListener>, ConfigError> {
    let wanted = [
        (MESH_LISTENER, listen.mesh),
        (FEED_LISTENER, listen.feed),
        (PUBLIC_LISTENER, listen.public),
        (HEALTH_LISTENER, listen.health),
    ];
    let mut bound = BTreeMap::new();
    for (listener, address) in wanted {
        let Some(address) = address else { continue };
        let socket = TcpListener::bind(address).await;
        let socket = socket.map_err(|source| ConfigError::Listen { name: listener.variable, address, source })?;
        bound.insert(listener.name, socket);
    }
    Ok(bound)
}

async fn identity(settings: &Settings) -> Result<Source, ConfigError> {
    let give_up = tokio::time::Instant::now() + IDENTITY_WAIT;
    let mut said = false;
    loop {
        match Source::open(&settings.identity_dir).await {
            Ok(source) => return Ok(source),
            Err(source) if tokio::time::Instant::now() >= give_up => {
                return Err(ConfigError::Material { name: "SEKAT_IDENTITY_DIR", source });
            }
            Err(error) => {
                if !std::mem::replace(&mut said, true) {
                    tracing::warn!(error = &error as &dyn std::error::Error, "no identity yet; waiting for it");
                }
                tokio::time::sleep(IDENTITY_POLL).await;
            }
        }
    }
}

fn domain_of(id: &SpiffeId) -> &str {
    id.trust_domain().split('.').next().unwrap_or_default()
}
