//! The servers with the mesh's stack: workloads like any other.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use sekat_mesh::{BoxError, Env, Mesh, Server};
use sekat_store::{Store, StoreConfig};
use tonic::service::Routes;

use super::ECHO;
use super::echo::{Echo, PUBLIC, RECORDED};

pub(super) fn run_public() -> ExitCode {
    sekat_mesh::run(ECHO, |_| (), async |(), mesh: Mesh| Ok(mesh.server().api(&PUBLIC, Routes::new(Echo))))
}

pub(super) fn run_recorded() -> ExitCode {
    sekat_mesh::run(ECHO, |env: &mut Env| env.required("SEKAT_DATA_DIR"), recorded)
}

/// The records go into a store on the disk; each is synced before its answer leaves.
async fn recorded(directory: PathBuf, mesh: Mesh) -> Result<Server, BoxError> {
    let store = Store::open(StoreConfig::new(directory, ECHO, "0", &[])).await?;
    let fatal = store.fatal();
    let server = mesh.server().api(&RECORDED, Routes::new(Echo)).access_log(Arc::new(store));
    Ok(server.fatal(async move { fatal.await.into() }))
}
