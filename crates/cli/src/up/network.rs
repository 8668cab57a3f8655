//! The network of pods: every process in a network namespace of its own, under the network policies that are deployed.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use sekat_packets::{Addresses, Cluster, Forward, Pod, World};
use sekat_policy::Severity;

use super::ports::{Ports, names};
use super::supervisor::Process;
use crate::exit::Usage;
use crate::{findings, manifests};

/// Where the bank simulator's controls are in its pod: nobody reaches them over the network.
const BANK_CONTROL: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7444);

/// Where each listener is.
pub(crate) struct Listeners {
    ports: Ports,
    network: Option<Network>,
}

/// Namespaces of all processes, and the ways into them.
struct Network {
    world: World,
    /// Names of pods by process.
    pods: BTreeMap<&'static str, String>,
    /// Addresses of listeners in the network of pods.
    inside: BTreeMap<&'static str, SocketAddr>,
    /// From this machine's loopback to listeners, as if the node had connected.
    ways_in: BTreeMap<&'static str, Forward>,
}

impl Listeners {
    /// All on this machine's loopback.
    pub(crate) const fn on_loopback(ports: Ports) -> Self {
        Self { ports, network: None }
    }

    /// Each in the namespace of its pod in the manifests, under their policies.
    ///
    /// # Errors
    /// If the manifests cannot be read or lack a pod or port, or this user may not make network namespaces.
    pub(crate) fn in_pods(ports: Ports, paths: &[PathBuf]) -> anyhow::Result<Self> {
        let (cluster, found) = manifests::cluster(paths)?;
        findings::tell(&found)?;
        if found.iter().any(|finding| finding.severity == Severity::Error) {
            bail!(Usage("the manifests cannot be used: see above".to_owned()));
        }
        let world = World::build(&cluster, Addresses::default())
            .context("the network of pods cannot be made; without -f everything runs on loopback")?;
        let (mut pods, mut inside, mut ways_in) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        for name in names() {
            let Some((process, port)) = name.split_once(' ').or(Some((name, "public"))) else { continue };
            let pod = pod(&cluster, process)?;
            let pod_name = pod.to_string();
            let (address, way_in) = if port == "control" {
                (BANK_CONTROL, world.port_forward(&pod_name, BANK_CONTROL)?)
            } else {
                let address = SocketAddr::from((world.address(&pod_name)?, port_of(pod, port)?));
                (address, world.forward(address)?)
            };
            inside.insert(name, address);
            ways_in.insert(name, way_in);
            pods.insert(process, pod_name);
        }
        Ok(Self { ports, network: Some(Network { world, pods, inside, ways_in }) })
    }

    /// Where processes of the mesh listen and find each other.
    pub(crate) fn inside(&self, name: &str) -> anyhow::Result<SocketAddr> {
        match &self.network {
            None => self.ports.address(name),
            Some(network) => network.inside.get(name).copied().with_context(|| format!("no listener is called {name}")),
        }
    }

    /// Where clients on this machine find it.
    pub(crate) fn address(&self, name: &str) -> anyhow::Result<SocketAddr> {
        match self.network.as_ref().and_then(|network| network.ways_in.get(name)) {
            None => self.ports.address(name),
            Some(way_in) => Ok(way_in.address()),
        }
    }

    /// The addresses in the network of pods by listener; none without one.
    pub(crate) fn pods(&self) -> BTreeMap<String, String> {
        let inside = self.network.iter().flat_map(|network| &network.inside);
        inside.map(|(name, address)| ((*name).to_owned(), address.to_string())).collect()
    }

    /// The process as it is to be started: in its namespace, if it has one.
    pub(crate) fn place(&self, process: Process) -> anyhow::Result<Process> {
        let Some(network) = &self.network else { return Ok(process) };
        let Some(pod) = network.pods.get(process.name) else { return Ok(process) };
        let program = process.program.to_str().context("the programs' path is not UTF-8: move them")?;
        let command = network.world.command(pod, program)?;
        let text = |text: &std::ffi::OsStr| text.to_string_lossy().into_owned();
        let mut arguments: Vec<String> = command.get_args().map(text).collect();
        arguments.extend(process.arguments);
        let mut environment = process.environment;
        environment.extend(command.get_envs().filter_map(|(name, value)| Some((text(name), text(value?)))));
        Ok(Process { program: command.get_program().into(), arguments, environment, ..process })
    }
}

/// The pod of a process.
fn pod<'a>(cluster: &'a Cluster, process: &str) -> anyhow::Result<&'a Pod> {
    let mut pods = cluster.pods.iter().filter(|pod| pod.name == process);
    match (pods.next(), pods.next()) {
        (Some(pod), None) => Ok(pod),
        (None, _) => {
            let message = format!(
                "the manifests have no pod called {process}, and the mesh needs one: add its manifest with another -f"
            );
            Err(Usage(message).into())
        }
        (Some(one), Some(other)) => {
            Err(Usage(format!("the manifests have two pods called {process}, {one} and {other}: name one set with -f"))
                .into())
        }
    }
}

fn port_of(pod: &Pod, name: &str) -> anyhow::Result<u16> {
    let found = pod.ports.iter().find(|port| port.name.as_deref() == Some(name));
    let message = || Usage(format!("{}:{}: the pod {pod} has no port called {name}", pod.span.file, pod.span.line));
    Ok(found.ok_or_else(message)?.number)
}
