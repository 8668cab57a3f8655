//! The servers with the mesh's stack: workloads like any other.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use sekat_mesh::{BoxError, Env, Mesh, Routes, Server};
use sekat_store::{Store, StoreConfig};

use super::ECHO;
use super::echo::{Echo, PUBLIC, RECORDED};

/// Above what the client has in flight: how calls are refused is not measured here.
const IN_FLIGHT: usize = 1_024;

pub(super) fn run_public() -> ExitCode {
    sekat_mesh::run(ECHO, |_| (), async |(), mesh: Mesh| Ok(server(&mesh).api(&PUBLIC, Routes::new(Echo))))
}

fn server(mesh: &Mesh) -> Server {
    mesh.server().max_in_flight(IN_FLIGHT)
}

pub(super) fn run_recorded() -> ExitCode {
    sekat_mesh::run(ECHO, |env: &mut Env| env.required("SEKAT_DATA_DIR"), recorded)
}

/// The records go into a store on the disk; each is synced before its answer leaves.
async fn recorded(directory: PathBuf, mesh: Mesh) -> Result<Server, BoxError> {
    let store = Store::open(StoreConfig::new(directory, ECHO, "0", &[])).await?;
    let fatal = store.fatal();
    let server = server(&mesh).api(&RECORDED, Routes::new(Echo)).access_log(Arc::new(store));
    Ok(server.fatal(async move { fatal.await.into() }))
}
