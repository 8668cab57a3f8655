//! The edges: where calls from outside enter a domain. One program, three roles.
//!
//! - `showcase-edge` and `commerce-edge` pass end users' calls on as frames that they cannot read, to the workload
//!   that the contracts name. INVARIANT: no API crate is linked (`cargo xtask tidy`), so that no message of commerce
//!   exists, even as a type, in the showcase domain.
//! - `commerce-edge` asks account whether the session of a token still stands: one that was revoked is refused
//!   within a second.
//! - `notify-ingress` takes payment providers' notifications over HTTPS and hands them to payment, unjudged.
//!
//! An edge holds no data.

mod config;
mod forward;
mod notify;
mod rate;
mod session;
mod upstream;

/// The methods that each role may call, compiled from the contracts.
pub mod routes {
    include!(concat!(env!("OUT_DIR"), "/routes.rs"));
}

use std::convert::Infallible;
use std::sync::Arc;

use sekat_mesh::{BoxError, ConfigError, Mesh, Server};

pub use config::{Config, Rate, Rates, Role};
use forward::Forwarder;
use rate::RateLimits;
use session::Sessions;
use upstream::Upstreams;

/// Calls that an edge passes on at a time. It mostly waits for workloads that have limits of their own; this one
/// bounds its memory (at a message each, 128 MiB) and lets no slow workload take all slots from the others.
const IN_FLIGHT: usize = 512;

/// Connects to the workloads behind this edge and hands the server to the mesh.
///
/// # Errors
/// If the identity is not that of the role, or an upstream's address is missing.
pub async fn build(config: Config, mesh: Mesh) -> Result<Server, BoxError> {
    let upstreams = Upstreams::connect(&mesh, config.role)?;
    let server = mesh
        .server()
        .max_in_flight(IN_FLIGHT)
        .records_at_peers("an edge has no store; each workload behind it records the access before it answers");
    if config.role == Role::NotifyIngress {
        return Ok(server.https(notify::router(&upstreams)?));
    }
    let sessions = (config.role == Role::CommerceEdge).then(|| Sessions::new(&upstreams)).transpose()?;
    let rates = Arc::new(RateLimits::new(config.rates));
    let apis = upstreams.apis();
    let forwarder = Arc::new(Forwarder { upstreams, rates: Arc::clone(&rates), sessions });
    let forward = tower::service_fn(move |request| {
        let forwarder = Arc::clone(&forwarder);
        async move { Ok::<_, Infallible>(forwarder.forward(request).await) }
    });
    Ok(server.edge(apis, forward).origins(config.origins).task("rate limits", async move { rates.forget_idle().await }))
}

/// A contract that this program counts on has changed under it.
fn missing_method(path: &str) -> ConfigError {
    ConfigError::Server(format!("the contracts do not let this edge call {path}, which it is made for"))
}
