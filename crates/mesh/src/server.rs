//! A workload's server, put together by the workload and run by the mesh: which contracts it serves, where accesses
//! are recorded, what runs beside it, and its orderly end.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use sekat_identity::tls::{ClientTrust, server_config, web_server_config};
use sekat_policy::{AccessLog, Api, EndUserScope, Listener, MethodPolicy};
use tokio::task::JoinSet;
use tonic::body::Body;
use tonic_health::ServingStatus;
use tower::Service;

use crate::authorize::Table;
use crate::limits::{
    DRAIN, IN_FLIGHT_FLOOR, IN_FLIGHT_PER_CORE, InFlight, LAME_DUCK, MESSAGE_BYTES, OPEN_STREAMS, Slots,
};
use crate::listen::{Surface, Tls, accept, all_done};
use crate::mesh::{ConfigError, FEED_LISTENER, HEALTH, ListenerName, MESH_LISTENER, Mesh, PUBLIC_LISTENER, Profile};
use crate::origins::Origins;
use crate::routes::Routes;
use crate::stack::{AccessRecords, Stack};
use crate::{BoxError, reflection, telemetry, web};

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;
type Fatal = Pin<Box<dyn Future<Output = BoxError> + Send>>;

/// A workload's server while it is put together.
#[must_use = "a server does nothing until it is returned to `run` or served"]
pub struct Server {
    mesh: Mesh,
    apis: Vec<(&'static Api, Routes)>,
    public: Option<Public>,
    origins: Origins,
    access_log: Option<AccessRecords>,
    tasks: Vec<(&'static str, Task)>,
    fatal: Vec<Fatal>,
    max_in_flight: usize,
    message_bytes: usize,
}

/// What an edge serves to the public.
enum Public {
    Grpc(Vec<&'static Api>, Routes),
    Https(axum::Router),
}

impl Server {
    pub(crate) fn new(mesh: Mesh) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            mesh,
            apis: Vec::new(),
            public: None,
            origins: Origins::default(),
            access_log: None,
            tasks: Vec::new(),
            fatal: Vec::new(),
            max_in_flight: (cores * IN_FLIGHT_PER_CORE).max(IN_FLIGHT_FLOOR),
            message_bytes: MESSAGE_BYTES,
        }
    }

    /// Serves a contract, on the listener that it names, with the services in `routes`.
    pub fn api(mut self, api: &'static Api, routes: Routes) -> Self {
        self.apis.push((api, routes));
        self
    }

    /// Serves the public, for an edge: those methods of `apis` that name this workload as a caller and have an
    /// end-user scope, and no others. `forwarder` gets admitted calls as opaque gRPC; their extensions hold a
    /// [`crate::Visitor`]. gRPC-Web is translated before.
    pub fn edge<S>(mut self, apis: impl IntoIterator<Item = &'static Api>, forwarder: S) -> Self
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + Sync + 'static,
        S::Future: Send + 'static,
    {
        self.public = Some(Public::Grpc(apis.into_iter().collect(), Routes::forward(forwarder)));
        self
    }

    /// Lets web pages of these origins call an [`edge`](Self::edge) from browsers. Default: none.
    pub fn origins(mut self, origins: Origins) -> Self {
        self.origins = origins;
        self
    }

    /// Serves plain HTTPS to the public, for webhooks: bodies up to 64 KiB, 10 seconds a request, each request a
    /// span named by its route.
    pub fn https(mut self, router: axum::Router) -> Self {
        self.public = Some(Public::Https(router));
        self
    }

    /// Where accesses to classified data are recorded before a response leaves.
    pub fn access_log(mut self, log: Arc<dyn AccessLog>) -> Self {
        self.access_log = Some(AccessRecords::Here(log));
        self
    }

    /// States that this workload makes no records, because it has no store, and `why` its peers' records suffice.
    pub fn records_at_peers(mut self, why: &'static str) -> Self {
        tracing::info!(why, "accesses are recorded at the peers");
        self.access_log = Some(AccessRecords::AtPeers);
        self
    }

    /// Runs `task` beside the server until the last call has ended. A task that panics stops the process.
    pub fn task(mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) -> Self {
        self.tasks.push((name, Box::pin(task)));
        self
    }

    /// Stops the process, at once and with this error, when `fatal` resolves: a store that can no longer commit.
    pub fn fatal(mut self, fatal: impl Future<Output = BoxError> + Send + 'static) -> Self {
        self.fatal.push(Box::pin(fatal));
        self
    }

    /// Admits at most so many calls at a time. Default: 8 a core, at least 64.
    pub fn max_in_flight(mut self, calls: usize) -> Self {
        self.max_in_flight = calls;
        self
    }

    /// Accepts and sends messages up to so many bytes. Default: 256 KiB.
    pub fn max_message_bytes(mut self, bytes: usize) -> Self {
        self.message_bytes = bytes;
        self
    }

    /// Serves until the shutdown begins or something fatal happens, and then ends in an orderly way.
    ///
    /// # Errors
    /// If the server was put together wrongly, lacks configuration, or stopped for a fatal reason.
    pub async fn serve(mut self) -> Result<(), BoxError> {
        let mesh = self.mesh.clone();
        let mut fatal: JoinSet<BoxError> = std::mem::take(&mut self.fatal).into_iter().collect();
        let tasks = std::mem::take(&mut self.tasks);
        let names: Vec<String> = self.apis.iter().flat_map(|(api, _)| services(api)).collect();
        let mut served = Vec::new();
        for (listener, surface) in self.surfaces().await? {
            let socket = mesh.take_listener(listener)?;
            served.push(listener.name);
            tokio::spawn(accept(socket, surface, mesh.shutdown(), mesh.connections().clone()));
        }
        let mut running = JoinSet::new();
        for (name, task) in tasks {
            running.spawn(async move {
                task.await;
                name
            });
        }
        set_health(&mesh, &names, ServingStatus::Serving).await;
        mesh.close_unused_listeners();
        announce_ready(&mesh, &served)?;

        let outcome = tokio::select! {
            () = until_shutdown(&mesh, &names) => Ok(()),
            error = first(&mut fatal) => Err(error),
            error = first_panic(&mut running) => Err(error),
        };
        set_health(&mesh, &names, ServingStatus::NotServing).await;
        end(&mesh, outcome.is_ok()).await;
        running.shutdown().await;
        mesh.flush().await;
        outcome
    }

    /// The listeners and what they serve, all checked.
    async fn surfaces(self) -> Result<Vec<(ListenerName, Surface)>, ConfigError> {
        let Self { mesh, apis, public, origins, access_log, max_in_flight, message_bytes, .. } = self;
        check_access_log(&apis, access_log.is_some())?;
        let access_log = access_log.unwrap_or(AccessRecords::AtPeers);
        let in_flight = InFlight::new(max_in_flight);
        let streams = Slots::new(OPEN_STREAMS);
        let stack = async |served: Vec<(&'static Api, Routes)>| -> Result<Arc<Stack>, ConfigError> {
            let end_users = mesh.end_users().await?;
            check_end_users(&served, end_users.is_some())?;
            Ok(Arc::new(Stack {
                telemetry: Arc::clone(mesh.telemetry()),
                sampler: mesh.sampler(),
                source: mesh.source().clone(),
                table: Table::new(mesh.domain(), served),
                end_users,
                access_log: access_log.clone(),
                in_flight: Arc::clone(&in_flight),
                streams: Arc::clone(&streams),
                message_bytes,
            }))
        };

        let mut surfaces = Vec::new();
        let (feed, mut workloads): (Vec<_>, Vec<_>) =
            apis.into_iter().partition(|(api, _)| api.listener == Listener::Feed);
        if mesh.settings().profile == Profile::Dev && !workloads.is_empty() {
            let apis: Vec<_> = workloads.iter().chain(&feed).map(|(api, _)| *api).collect();
            workloads.push(reflection::service(&mesh, &apis)?);
        }
        for (listener, served, trust) in
            [(MESH_LISTENER, workloads, ClientTrust::OwnDomain), (FEED_LISTENER, feed, ClientTrust::OwnAndFederated)]
        {
            if !served.is_empty() {
                let tls = Tls::new(listener.name, server_config(mesh.source(), trust), mesh.telemetry());
                surfaces.push((listener, Surface::Workloads { tls, stack: stack(served).await? }));
            }
        }
        match public {
            None => {}
            Some(Public::Grpc(apis, routes)) => {
                let served = apis.into_iter().map(|api| (api, routes.clone())).collect();
                let (tls, stack) = (public_tls(&mesh).await?, stack(served).await?);
                surfaces.push((PUBLIC_LISTENER, Surface::Public { tls, stack, origins }));
            }
            Some(Public::Https(router)) => {
                let router = web::guard(router, &mesh, max_in_flight);
                surfaces.push((PUBLIC_LISTENER, Surface::Web { tls: public_tls(&mesh).await?, router }));
            }
        }
        Ok(surfaces)
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let apis: Vec<_> = self.apis.iter().map(|(api, _)| api.package).collect();
        f.debug_struct("Server").field("apis", &apis).finish_non_exhaustive()
    }
}

/// A method whose accesses are recorded needs a place for the records, or a stated reason why not.
fn check_access_log(apis: &[(&'static Api, Routes)], has_log: bool) -> Result<(), ConfigError> {
    let recorded = apis.iter().flat_map(|(api, _)| api.methods).find(|method| method.is_recorded());
    match recorded {
        Some(method) if !has_log => Err(ConfigError::Server(format!(
            "{} touches classified data: give the server an access_log, or say records_at_peers",
            method.path
        ))),
        _ => Ok(()),
    }
}

/// A method that only signed-in users reach needs the keys with which their tokens are verified.
fn check_end_users(served: &[(&'static Api, Routes)], has_keys: bool) -> Result<(), ConfigError> {
    let needs_keys =
        |method: &&MethodPolicy| !method.scopes.is_empty() && !method.scopes.contains(&EndUserScope::Anonymous);
    match served.iter().flat_map(|(api, _)| api.methods).find(needs_keys) {
        Some(method) if !has_keys => Err(ConfigError::Missing {
            name: "SEKAT_TRUST_DIR".to_owned(),
            why: format!("{} needs an end user, whose token account-token.pem verifies", method.path),
        }),
        _ => Ok(()),
    }
}

async fn public_tls(mesh: &Mesh) -> Result<Arc<Tls>, ConfigError> {
    let dir = mesh.settings().web_tls_dir.as_ref().ok_or_else(|| ConfigError::Missing {
        name: "SEKAT_WEB_TLS_DIR".to_owned(),
        why: "the public listener's tls.crt and tls.key lie there".to_owned(),
    })?;
    let config = web_server_config(&dir.join("tls.crt"), &dir.join("tls.key")).await;
    let config = config.map_err(|source| ConfigError::Material { name: "SEKAT_WEB_TLS_DIR", source })?;
    Ok(Tls::new(PUBLIC_LISTENER.name, config, mesh.telemetry()))
}

/// The full names of a contract's services, from its methods' paths.
fn services(api: &Api) -> Vec<String> {
    let mut names: Vec<String> = api
        .methods
        .iter()
        .filter_map(|method| method.path.trim_start_matches('/').split_once('/'))
        .map(|(service, _)| service.to_owned())
        .collect();
    names.sort();
    names.dedup();
    names
}

async fn set_health(mesh: &Mesh, services: &[String], status: ServingStatus) {
    for service in services.iter().map(String::as_str).chain([""]) {
        mesh.health().set_service_status(service, status).await;
    }
}

/// One line in the log and, for whoever started the process, one file: the addresses that are now served.
fn announce_ready(mesh: &Mesh, served: &[&str]) -> Result<(), BoxError> {
    let addresses: BTreeMap<_, _> = mesh
        .addresses()
        .iter()
        .filter(|(name, _)| **name == HEALTH || served.contains(name))
        .map(|(name, address)| (*name, address.to_string()))
        .collect();
    let json = serde_json::to_string(&addresses)?;
    tracing::info!(workload = mesh.workload(), id = mesh.id().as_str(), addresses = json, "ready");
    if let Some(path) = &mesh.settings().ready_file {
        telemetry::replace(path, json.as_bytes())?;
    }
    Ok(())
}

async fn until_shutdown(mesh: &Mesh, services: &[String]) {
    mesh.shutdown().begun().await;
    let lame_duck = if mesh.settings().profile == Profile::Dev { Duration::ZERO } else { LAME_DUCK };
    set_health(mesh, services, ServingStatus::NotServing).await;
    tokio::time::sleep(lame_duck).await;
}

/// Ends connections: in order and within the limit, or at once.
async fn end(mesh: &Mesh, in_order: bool) {
    let shutdown = mesh.shutdown();
    shutdown.drain();
    let drained = all_done(mesh.connections());
    let limit = if in_order { DRAIN } else { Duration::ZERO };
    if tokio::time::timeout(limit, drained).await.is_err() && in_order {
        tracing::warn!("calls were still running when the time for draining was over");
    }
    shutdown.cut();
}

/// The first fatal error; never, if nothing can be fatal.
async fn first(fatal: &mut JoinSet<BoxError>) -> BoxError {
    match fatal.join_next().await {
        Some(Ok(error)) => error,
        Some(Err(error)) => error.into(),
        None => std::future::pending().await,
    }
}

/// The first background task that panics; the others may end when they like.
async fn first_panic(running: &mut JoinSet<&'static str>) -> BoxError {
    loop {
        match running.join_next().await {
            Some(Ok(name)) => tracing::debug!(name, "a background task has ended"),
            Some(Err(error)) => return error.into(),
            None => return std::future::pending().await,
        }
    }
}
