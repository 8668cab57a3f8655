//! The smallest workload: it serves health, runs one task and ends in order. `cargo run -p sekat-mesh --example
//! smallest` says what it wants to be told.

use std::process::ExitCode;
use std::time::Duration;

use sekat_mesh::{BoxError, Env, Mesh, Server};

/// What this workload reads beside the mesh's own variables.
struct Config {
    tick: Duration,
    breaks: bool,
}

fn read(env: &mut Env) -> Config {
    Config { tick: env.required("SEKAT_EXAMPLE_TICK"), breaks: env.optional("SEKAT_EXAMPLE_BREAKS", false) }
}

async fn build(config: Config, mesh: Mesh) -> Result<Server, BoxError> {
    let Config { tick, breaks } = config;
    let ticking = async move {
        loop {
            tokio::time::sleep(tick).await;
            tracing::debug!("tick");
        }
    };
    let fatal = async move {
        if !breaks {
            std::future::pending::<()>().await;
        }
        BoxError::from(Broken(std::io::Error::other("the disk is full")))
    };
    Ok(mesh.server().task("ticking", ticking).fatal(fatal))
}

/// Stands for a store that can no longer commit.
#[derive(Debug, thiserror::Error)]
#[error("the example broke, as it was told to")]
struct Broken(#[source] std::io::Error);

fn main() -> ExitCode {
    sekat_mesh::run("smallest", read, build)
}
