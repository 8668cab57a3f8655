//! Jaeger, started beside the mesh and reachable from this machine only.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::bail;
use tokio::sync::watch;

use super::ports::Ports;
use super::supervisor::{Process, Supervised};
use crate::layout::Layout;

/// Starts Jaeger v2 in memory. Its listeners are set one by one because its defaults listen on all interfaces, and
/// its own queries are not traced.
pub(crate) fn start(
    binary: &Path,
    layout: &Layout,
    ports: Ports,
    restarted: watch::Sender<u64>,
) -> anyhow::Result<Supervised> {
    if binary.is_absolute() && !binary.exists() {
        bail!("Jaeger is not at {}: `cargo xtask tools` builds it and says where it is", binary.display());
    }
    let set = |key: &str, value: String| format!("--set={key}={value}");
    let arguments = vec![
        set("extensions.jaeger_query.http.endpoint", ports.address("jaeger ui")?.to_string()),
        set("extensions.jaeger_query.grpc.endpoint", ports.address("jaeger query")?.to_string()),
        set("extensions.jaeger_query.enable_tracing", "false".to_owned()),
        set("extensions.healthcheckv2.http.endpoint", ports.address("jaeger health")?.to_string()),
        set("receivers.otlp.protocols.grpc.endpoint", ports.address("jaeger otlp")?.to_string()),
        set("receivers.otlp.protocols.http.endpoint", ports.address("jaeger otlp http")?.to_string()),
    ];
    let path = std::env::var("PATH").unwrap_or_default();
    Supervised::start(
        Process {
            name: "jaeger",
            program: binary.to_path_buf(),
            arguments,
            environment: BTreeMap::from([("PATH".to_owned(), path)]),
            log: layout.log("jaeger"),
        },
        restarted,
    )
}
