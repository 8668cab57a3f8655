//! A cluster of network namespaces: one for each pod, one for the node, one for everything outside, and a router
//! between them that enforces the policies. It lasts as long as the value, or the process.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::process::Command;
use std::sync::Arc;
use std::thread::{self, ScopedJoinHandle};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use sekat_policy::intent::Protocol;

use crate::cluster::Cluster;
use crate::counters::{Counters, Key};
use crate::forward::Forward;
use crate::listen::{Answering, bind};
use crate::netns::Netns;
use crate::plan::{Addresses, Endpoint, Role, endpoints};
use crate::probe::{Probe, settle};
use crate::report::{Cell, Report, Row};
use crate::{Error, owner, rules};

/// Where every pod's default route leads: the router, by an address that no policy can mean.
const GATEWAY: Ipv4Addr = Ipv4Addr::new(169, 254, 1, 1);
/// Cells that are tried at once: each costs a socket, and a listener's backlog holds 128 connections.
const WINDOW: usize = 768;
/// Namespaces whose counters are read at once: starting `nft` costs more than what it does.
const READERS: usize = 16;

/// The namespaces of a cluster.
pub struct World {
    router: Netns,
    /// The namespace of each pod in the order of [`Cluster::pods`], then the node's, then the one of all outside.
    spaces: Vec<Arc<Netns>>,
    addresses: Addresses,
    endpoints: Vec<Endpoint>,
    /// Addresses outside that policies name and that are too many to be tried.
    untried: Vec<Ipv4Addr>,
    /// Names of pods; what is enforced must be about the same.
    pods: Vec<String>,
    /// The conntrack zone of the rules in force.
    zone: u16,
    mark: String,
}

impl World {
    /// Builds the namespaces of the cluster's pods and enforces its policies. Programs that an earlier run has left
    /// when it was killed are ended first.
    ///
    /// # Errors
    /// If this process may not make network namespaces (see [`crate::permit`]), or `ip` or `nft` is missing or fails.
    pub fn build(cluster: &Cluster, addresses: Addresses) -> Result<Self, Error> {
        owner::sweep();
        raise_descriptors()?;
        let router = Netns::new()?;
        // The file is of the namespace of the thread that opens it.
        router.enter(|| {
            std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").map_err(Error::system("let the router forward"))
        })?;
        let (endpoints, untried) = endpoints(cluster, addresses)?;
        let mut batch = String::from("link set lo up\n");
        let mut spaces = Vec::new();
        for number in 0..cluster.pods.len().saturating_add(2) {
            let space = Netns::new()?;
            let peer = format!("p{number}");
            let mine: Vec<Ipv4Addr> = own(&endpoints, number, cluster.pods.len()).map(|it| it.address).collect();
            space.ip(&attach(&mine, &peer, &router.path()))?;
            space.nft(&rules::arrivals())?;
            batch.push_str(&format!("addr add {GATEWAY}/32 dev {peer}\nlink set {peer} up\n"));
            // Whatever is no pod's or node's address is outside.
            if number > cluster.pods.len() {
                batch.push_str(&format!("route add default dev {peer} scope link\n"));
            } else {
                mine.iter().for_each(|it| batch.push_str(&format!("route add {it}/32 dev {peer} scope link\n")));
            }
            spaces.push(Arc::new(space));
        }
        router.ip(&batch)?;
        let pods = cluster.pods.iter().map(ToString::to_string).collect();
        let mut world = Self { router, spaces, addresses, endpoints, untried, pods, zone: 0, mark: owner::mark() };
        world.enforce(cluster)?;
        Ok(world)
    }

    /// Replaces the rules by the cluster's policies. Its pods have to be the world's. Connections that other rules
    /// have let pass have to pass these too.
    ///
    /// # Errors
    /// If there are other pods, or `nft` or `ip` fails.
    pub fn enforce(&mut self, cluster: &Cluster) -> Result<(), Error> {
        if let Some(other) = cluster.pods.iter().map(ToString::to_string).find(|pod| !self.pods.contains(pod)) {
            return Err(Error::Unknown(other));
        }
        if let Some(gone) = self.pods.get(cluster.pods.len()) {
            return Err(Error::Unknown(gone.clone()));
        }
        let (endpoints, untried) = endpoints(cluster, self.addresses)?;
        let new: String = endpoints
            .iter()
            .filter(|it| it.role == Role::Outside && !self.endpoints.iter().any(|old| old.address == it.address))
            .map(|it| format!("addr replace {}/32 dev eth0\n", it.address))
            .collect();
        if !new.is_empty() {
            self.space(self.pods.len().saturating_add(1))?.ip(&new)?;
        }
        self.endpoints = endpoints;
        self.untried = untried;
        self.load(Some(cluster))
    }

    /// Takes the policies away: everything passes.
    ///
    /// # Errors
    /// If `nft` fails.
    pub fn relax(&mut self) -> Result<(), Error> {
        self.load(None)
    }

    fn load(&mut self, enforced: Option<&Cluster>) -> Result<(), Error> {
        // Zone 0 is that of connections without one.
        self.zone = self.zone.checked_add(1).unwrap_or(1);
        self.router.nft(&rules::router(enforced, &self.endpoints, self.zone))
    }

    /// The address of a pod, named `namespace/name[Kind]`, or of `node`.
    ///
    /// # Errors
    /// If there is none of that name.
    pub fn address(&self, name: &str) -> Result<Ipv4Addr, Error> {
        let found = self.endpoints.iter().find(|endpoint| endpoint.name == name);
        found.map(|endpoint| endpoint.address).ok_or_else(|| Error::Unknown(name.to_owned()))
    }

    /// A command that will run `program` in the network of a pod, of `node`, or of an address outside. It needs
    /// `nsenter` of util-linux. When the world goes, what still runs in it is killed.
    ///
    /// # Errors
    /// If there is none of that name.
    pub fn command(&self, name: &str, program: &str) -> Result<Command, Error> {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.named(name)?.path())).arg("--").arg(program);
        command.env(owner::MARK, &self.mark);
        Ok(command)
    }

    /// Runs `work` in the network of a pod, of `node`, or of an address outside; sockets that it makes stay there.
    ///
    /// # Errors
    /// If there is none of that name, or `work` fails.
    pub fn within<T: Send>(&self, name: &str, work: impl FnOnce() -> std::io::Result<T> + Send) -> Result<T, Error> {
        self.named(name)?.enter(|| work().map_err(Error::system("work in a pod's network")))
    }

    /// Opens a port on this machine's loopback from which connections go to `to`, as if the node had made them.
    ///
    /// # Errors
    /// If no port can be opened.
    pub fn forward(&self, to: SocketAddr) -> Result<Forward, Error> {
        Forward::open(Arc::clone(self.space(self.pods.len())?), to)
    }

    /// The same from inside of a pod's own network, as `kubectl port-forward` does: also to what listens on its loopback.
    ///
    /// # Errors
    /// If there is no pod of that name, or no port can be opened.
    pub fn port_forward(&self, pod: &str, to: SocketAddr) -> Result<Forward, Error> {
        Forward::open(Arc::clone(self.named(pod)?), to)
    }

    /// Tries every ordered pair with a pod in it on every port with every protocol, and holds what packets did
    /// against what the cluster's policies say.
    ///
    /// # Errors
    /// If packets cannot be sent or counters not be read, or a program of the caller listens on a port of a pod that is
    /// to be tried. What packets do is never an error.
    pub fn observe(&self, expected: &Cluster) -> Result<Report, Error> {
        let mut sources = Vec::new();
        for endpoint in &self.endpoints {
            let bound = self.of(endpoint)?.enter(|| {
                let at = endpoint.ports.iter().map(|port| SocketAddrV4::new(endpoint.address, *port));
                at.map(bind).collect::<Result<Vec<_>, Error>>()
            })?;
            sources.extend(bound.into_iter().flatten());
        }
        let answering = Answering::start(sources)?;
        let cells = self.cells();
        let before = self.counters()?;
        let mut tried = Vec::with_capacity(cells.len());
        for window in cells.chunks(WINDOW) {
            let probes = self.send(window)?;
            tried.extend(settle(probes, &before, || Counters::verdicts(&self.router))?);
        }
        let after = self.counters()?;
        drop(answering);
        let rows = tried.iter().zip(&cells).filter_map(|(tried, cell)| {
            let (from, to) = (self.endpoints.get(cell.0)?, self.endpoints.get(cell.1)?);
            let (observed, tally) = tried.judge(&after, &before);
            let (.., protocol, port) = tried.key();
            let span = [to, from].into_iter().find_map(|endpoint| match endpoint.role {
                Role::Pod(number) => Some(expected.pods.get(number)?.span.clone()),
                Role::Node | Role::Outside => None,
            });
            Some(Row {
                cell: Cell { source: from.name.clone(), destination: to.name.clone(), protocol, port },
                expected: expected.allows(from.end(expected)?, to.end(expected)?, protocol, port),
                observed,
                tally,
                span: span.unwrap_or_default(),
            })
        });
        let mut rows: Vec<Row> = rows.collect();
        rows.sort_by(|a, b| a.cell.cmp(&b.cell));
        Ok(Report { rows, untried: self.untried.clone() })
    }

    /// Source and destination by number, protocol and port. Pairs without a pod are no cluster's business, and what a
    /// pod says to itself never leaves it.
    fn cells(&self) -> Vec<(usize, usize, Protocol, u16)> {
        let pod = |endpoint: &Endpoint| matches!(endpoint.role, Role::Pod(_));
        let mut cells = Vec::new();
        for (from, source) in self.endpoints.iter().enumerate() {
            for (to, destination) in self.endpoints.iter().enumerate() {
                if from != to && (pod(source) || pod(destination)) {
                    for protocol in Protocol::ALL {
                        cells.extend(destination.ports.iter().map(|port| (from, to, protocol, *port)));
                    }
                }
            }
        }
        cells
    }

    /// Sends the first packet of each cell, from inside the source's namespace.
    fn send(&self, cells: &[(usize, usize, Protocol, u16)]) -> Result<Vec<Probe>, Error> {
        let mut probes = Vec::with_capacity(cells.len());
        for of_one in cells.chunk_by(|a, b| a.0 == b.0) {
            let Some(source) = of_one.first().and_then(|cell| self.endpoints.get(cell.0)) else { continue };
            let first = probes.len();
            let sent = self.of(source)?.enter(|| {
                let keys = of_one.iter().filter_map(|cell| self.key(*cell));
                keys.zip(first..).map(|(key, n)| Probe::send(key, n)).collect::<Result<Vec<_>, Error>>()
            })?;
            probes.extend(sent);
        }
        Ok(probes)
    }

    fn key(&self, (from, to, protocol, port): (usize, usize, Protocol, u16)) -> Option<Key> {
        Some((self.endpoints.get(from)?.address, self.endpoints.get(to)?.address, protocol, port))
    }

    /// The router's verdicts and what has arrived everywhere.
    fn counters(&self) -> Result<Counters, Error> {
        let mut counters = Counters::verdicts(&self.router)?;
        for spaces in self.spaces.chunks(READERS) {
            let read = thread::scope(|scope| {
                let readers: Vec<_> =
                    spaces.iter().map(|space| scope.spawn(move || Counters::arrivals(space))).collect();
                readers.into_iter().map(ScopedJoinHandle::join).collect::<Vec<_>>()
            });
            for arrived in read {
                counters.extend(arrived.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?);
            }
        }
        Ok(counters)
    }

    fn of(&self, endpoint: &Endpoint) -> Result<&Arc<Netns>, Error> {
        self.space(match endpoint.role {
            Role::Pod(number) => number,
            Role::Node => self.pods.len(),
            Role::Outside => self.pods.len().saturating_add(1),
        })
    }

    fn space(&self, number: usize) -> Result<&Arc<Netns>, Error> {
        self.spaces.get(number).ok_or_else(|| Error::Unknown(format!("namespace {number}")))
    }

    fn named(&self, name: &str) -> Result<&Arc<Netns>, Error> {
        let found = self.endpoints.iter().find(|endpoint| endpoint.name == name);
        found.map_or_else(|| Err(Error::Unknown(name.to_owned())), |endpoint| self.of(endpoint))
    }
}

impl Drop for World {
    fn drop(&mut self) {
        owner::end_own(&self.mark);
    }
}

/// The endpoints whose addresses the namespace of that number has.
fn own(endpoints: &[Endpoint], number: usize, pods: usize) -> impl Iterator<Item = &Endpoint> {
    endpoints.iter().filter(move |endpoint| match endpoint.role {
        Role::Pod(index) => index == number,
        Role::Node => number == pods,
        Role::Outside => number > pods,
    })
}

/// The batch that connects a new namespace with the router.
fn attach(addresses: &[Ipv4Addr], peer: &str, router: &str) -> String {
    let mut batch = format!("link set lo up\nlink add eth0 type veth peer name {peer} netns {router}\n");
    for address in addresses {
        batch.push_str(&format!("addr add {address}/32 dev eth0\n"));
    }
    batch.push_str("link set eth0 up\n");
    batch.push_str(&format!("route add {GATEWAY} dev eth0 scope link\nroute add default via {GATEWAY} dev eth0\n"));
    batch
}

/// A probe is a socket, and so is a listener: as many as this user may have.
fn raise_descriptors() -> Result<(), Error> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })
        .map_err(Error::system("raise the limit of open files"))
}
