//! Where things are in a data directory. `up` writes it; `buy` and outsiders read it.

use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::{Deserialize, Serialize};

/// The paths of one data directory.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    root: PathBuf,
}

impl Layout {
    /// A data directory; nothing is created yet.
    pub(crate) fn new(root: &Path) -> anyhow::Result<Self> {
        let root = std::path::absolute(root)
            .with_context(|| format!("the data directory {} has no absolute path", root.display()))?;
        Ok(Self { root })
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }
    /// Held while `up` runs, so that no second one uses the same stores.
    pub(crate) fn lock(&self) -> PathBuf {
        self.root.join("up.lock")
    }
    /// Exists while the mesh is up; see [`Running`].
    pub(crate) fn running(&self) -> PathBuf {
        self.root.join("up.ready.json")
    }
    pub(crate) fn authority(&self, name: &str) -> PathBuf {
        self.root.join("authorities").join(name)
    }
    pub(crate) fn identity(&self, workload: &str) -> PathBuf {
        self.root.join("identities").join(workload)
    }
    /// Public keys that all services read.
    pub(crate) fn trust(&self) -> PathBuf {
        self.root.join("trust")
    }
    /// The roots of the witness's trust domain.
    pub(crate) fn witness_bundle(&self) -> PathBuf {
        self.trust().join("witness.pem")
    }
    /// Private keys and certificates of one process; nobody else's.
    pub(crate) fn secrets(&self, workload: &str) -> PathBuf {
        self.root.join("secrets").join(workload)
    }
    pub(crate) fn store(&self, workload: &str) -> PathBuf {
        self.root.join("stores").join(workload)
    }
    pub(crate) fn traces(&self) -> PathBuf {
        self.root.join("traces")
    }
    /// What a witness of the spans wrote: hash-chained segments.
    pub(crate) fn witness(&self) -> PathBuf {
        self.root.join("witness")
    }
    /// What one proof leaves for the next: the signer's key, the digest of the newest bundle, the probes so far.
    pub(crate) fn evidence(&self) -> PathBuf {
        self.root.join("evidence")
    }
    /// A copy of everything that a workload of the showcase received.
    pub(crate) fn received(&self, workload: &str) -> PathBuf {
        self.root.join("received").join(workload)
    }
    pub(crate) fn log(&self, process: &str) -> PathBuf {
        self.root.join("logs").join(format!("{process}.log"))
    }
}

/// What a client needs to know of a running mesh.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Running {
    /// The process that runs it.
    pub(crate) pid: u32,
    /// Public gRPC address of the showcase, `host:port`.
    pub(crate) showcase_edge: String,
    /// Public gRPC address of commerce.
    pub(crate) commerce_edge: String,
    /// Where providers send notifications.
    pub(crate) notify_ingress: String,
    /// The certificate authority of the public addresses, a PEM file.
    pub(crate) web_authority: PathBuf,
    /// Payment's mesh address, for `ops`.
    pub(crate) payment: String,
    /// The identity directory of `ops`.
    pub(crate) ops_identity: PathBuf,
    /// The bank simulator's control address.
    pub(crate) bank_control: String,
    /// Where spans of clients go: `file:DIR` or the URL of an OTLP receiver.
    pub(crate) otlp: String,
    /// Where the mesh's own go instead, if `up` started a witness of them.
    pub(crate) witness: Option<String>,
    /// Jaeger's address, if `up` started one.
    pub(crate) jaeger: Option<String>,
    /// Mesh addresses by workload; catalog's feed is `catalog-feed`.
    pub(crate) mesh: std::collections::BTreeMap<String, String>,
    /// Health addresses by workload.
    pub(crate) health: std::collections::BTreeMap<String, String>,
    /// With a network of pods, the addresses in it by listener.
    pub(crate) pods: std::collections::BTreeMap<String, String>,
    /// Process ids by process, as they were at the last start of each.
    pub(crate) pids: std::collections::BTreeMap<String, u32>,
}

impl Running {
    /// Reads what a running `up` wrote.
    ///
    /// # Errors
    /// If no mesh is up in that directory.
    pub(crate) fn read(layout: &Layout) -> anyhow::Result<Self> {
        let path = layout.running();
        let text = std::fs::read(&path).with_context(|| {
            format!("no mesh is up in {}: start one with `sekat up --data {0}`", layout.root().display())
        })?;
        serde_json::from_slice(&text).with_context(|| {
            format!("{} was not written by this version of sekat: start the mesh again", path.display())
        })
    }

    /// Writes it so that a reader sees all of it or nothing.
    pub(crate) fn write(&self, layout: &Layout) -> anyhow::Result<()> {
        let path = layout.running();
        let temporary = path.with_extension("tmp");
        std::fs::write(&temporary, serde_json::to_vec_pretty(self)?)
            .and_then(|()| std::fs::rename(&temporary, &path))
            .with_context(|| format!("{} cannot be written", path.display()))
    }
}
