//! Workloads that serve, and workloads that only call.

use std::fs::File;
use std::path::PathBuf;

use sekat_mesh::{BoxError, Channel, Mesh, Server};
use sekat_policy::Api;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::{PATIENCE, eventually};

/// A workload that serves.
pub struct Process {
    /// Its side of the mesh: counters, identity, addresses.
    pub mesh: Mesh,
    data: PathBuf,
    served: JoinHandle<Result<(), BoxError>>,
}

impl Process {
    pub(crate) async fn start(mesh: Mesh, server: Server, data: PathBuf) -> Self {
        let process = Self { mesh, data, served: tokio::spawn(server.serve()) };
        eventually("it serves", async || {
            assert!(!process.served.is_finished(), "the server ended");
            process.is_serving().await
        })
        .await;
        process
    }

    /// Where it listens: `mesh`, `feed`, `public` or `health`.
    ///
    /// # Panics
    /// If it does not.
    #[must_use]
    pub fn address(&self, listener: &str) -> String {
        self.mesh.addresses().get(listener).expect("it has no such listener").to_string()
    }

    /// Ends it in order, and returns when its store is free.
    ///
    /// # Panics
    /// If it does not end, or ends with an error.
    pub async fn stop(self) {
        self.mesh.shutdown().begin();
        let ended = tokio::time::timeout(PATIENCE, self.served).await;
        ended.expect("it does not end").unwrap().unwrap();
        let data = self.data;
        eventually("its store is free", async || {
            let mut files = std::fs::read_dir(&data).unwrap().map(|entry| entry.unwrap().path());
            files.all(|path| path.extension() != Some("lock".as_ref()) || File::open(path).unwrap().try_lock().is_ok())
        })
        .await;
    }

    async fn is_serving(&self) -> bool {
        let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{}", self.address("health"))).unwrap();
        let Ok(channel) = endpoint.connect().await else { return false };
        let answer = HealthClient::new(channel).check(HealthCheckRequest::default()).await;
        answer.is_ok_and(|answer| answer.into_inner().status() == ServingStatus::Serving)
    }
}

/// A workload that serves in a runtime of its own, so that it can be killed.
pub struct Killable {
    /// Taken when it ends.
    runtime: Option<Runtime>,
}

impl Killable {
    /// Returns when it is bound.
    pub(crate) async fn start(server: impl Future<Output = Server> + Send + 'static) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let started = runtime.spawn(async move { drop(tokio::spawn(server.await.serve())) });
        started.await.unwrap();
        Self { runtime: Some(runtime) }
    }

    /// Ends it as `kill -9` does, in the middle of whatever it does: only what is on the disk stays.
    ///
    /// # Panics
    /// Never: it runs until it is killed.
    pub async fn kill(mut self) {
        let runtime = self.runtime.take();
        tokio::task::spawn_blocking(move || drop(runtime)).await.unwrap();
    }
}

impl Drop for Killable {
    /// At the end of a test nobody waits for it.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// A workload that only calls.
pub struct Caller {
    /// Its side of the mesh.
    pub mesh: Mesh,
}

impl Caller {
    /// A channel to the workload that serves `api`, in the same world.
    ///
    /// # Panics
    /// If no workload of a world serves it.
    #[must_use]
    pub fn channel(&self, api: &'static Api) -> Channel {
        self.mesh.client(api).unwrap()
    }
}
