//! Workloads that serve, and workloads that only call.

use std::fs::File;
use std::path::PathBuf;

use sekat_mesh::{BoxError, Channel, Mesh, Server};
use sekat_policy::Api;
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
