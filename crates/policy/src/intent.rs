//! What is meant to be possible in a mesh: who owns what, who may call which method, and which classes of data lie
//! where. Contracts and policy files are read into it; compilers, analysers and audits start from it and from
//! nothing else. It is plain values: where it came from is kept as places in files and is otherwise forgotten.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt;

use crate::Span;

/// Names of data classes, parents with all their children: what is below `payment` is in every set that has `payment`.
pub type Classes = BTreeSet<String>;

/// Everything that is meant to be possible. What it does not name is meant to be impossible.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Intent {
    /// All classes, each with the classes that it implies; `payment` may imply `payment.card`.
    pub classes: BTreeMap<String, Classes>,
    /// The domains: parts of the mesh under one owner.
    pub domains: Vec<Domain>,
    /// The workloads, those that only call among them.
    pub workloads: Vec<Workload>,
    /// The methods that exist, whoever may call them.
    pub methods: Vec<Method>,
    /// The only calls that are allowed.
    pub edges: Vec<Edge>,
    /// What keeps data and is reached over the network.
    pub stores: Vec<Store>,
    /// News that travels through a broker.
    pub topics: Vec<Topic>,
    /// What lies outside of the mesh.
    pub externals: Vec<External>,
    /// What every workload needs of the platform.
    pub platform: Platform,
    /// What must never be possible, whatever else is stated.
    pub assertions: Vec<Assertion>,
    /// The names of workloads that run somewhere else than where this is enforced, such as on a person's machine.
    pub elsewhere: BTreeSet<String>,
}

/// A part of the mesh under one owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Domain {
    /// Its name, for instance `commerce`.
    pub name: String,
    /// Its SPIFFE trust domain, for instance `commerce.shop.example`.
    pub trust_domain: String,
    /// The classes that its workloads may hold.
    pub may_hold: Classes,
    /// Where it is stated.
    pub span: Span,
}

/// A process of the mesh, in one or more instances.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    /// Its name, unique in the mesh.
    pub name: String,
    /// The name of its domain.
    pub domain: String,
    /// The SPIFFE ID of its certificate, unique in the mesh.
    pub identity: String,
    /// Where its pods run, and how they are known.
    pub place: Place,
    /// The ports on which it listens.
    pub ports: Vec<Port>,
    /// Where it is stated.
    pub span: Span,
}

/// Pods in a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The namespace.
    pub namespace: String,
    /// The service account, which becomes part of a mesh's identity.
    pub service_account: String,
    /// Labels that all of its pods have, and together no others.
    pub labels: BTreeMap<String, String>,
}

/// A port of a workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// Its name, unique within the workload.
    pub name: String,
    /// Its number.
    pub number: u16,
    /// The transport.
    pub protocol: Protocol,
    /// Who is meant to connect.
    pub audience: Audience,
}

/// A transport.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// TCP, the default everywhere.
    #[default]
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

/// Who is meant to connect to a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Audience {
    /// Workloads that an [`Edge`] names, method by method.
    Callers,
    /// Anybody, also from outside of the cluster.
    Public,
    /// The platform's probes.
    Probes,
}

/// A method of a gRPC service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Method {
    /// The gRPC path, for instance `/shop.payment.v1.PaymentService/Authorize`.
    pub path: String,
    /// The name of the workload that serves it.
    pub workload: String,
    /// The name of the port on which it is served.
    pub port: String,
    /// What its request can hold.
    pub request: Classes,
    /// What its response can hold.
    pub response: Classes,
    /// Where it is stated.
    pub span: Span,
}

/// The right of a workload to call a method.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edge {
    /// The name of the caller.
    pub caller: String,
    /// The gRPC path of the method, which says who serves it.
    pub method: String,
    /// What it is for, if that is stated.
    pub purpose: Option<String>,
    /// Where it is stated.
    pub span: Span,
}

/// A database, a queue or a bucket: it holds data and has no methods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    /// Its name, unique in the mesh.
    pub name: String,
    /// What it holds.
    pub classes: Classes,
    /// Where its pods run.
    pub place: Place,
    /// The ports on which it listens.
    pub ports: Vec<Port>,
    /// The names of the workloads that may connect.
    pub clients: BTreeSet<String>,
    /// Where it is stated.
    pub span: Span,
}

/// News of one kind that travels through a broker, where no call shows who reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    /// Its name, for instance `order.events`.
    pub name: String,
    /// The names of the workloads that may publish.
    pub publishers: BTreeSet<String>,
    /// The names of the workloads that may consume.
    pub consumers: BTreeSet<String>,
    /// What its messages can hold.
    pub classes: Classes,
    /// Where it is stated.
    pub span: Span,
}

/// Hosts outside of the mesh, and who may open connections to them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct External {
    /// What they are called, for instance `banks`.
    pub name: String,
    /// Their addresses in CIDR notation.
    pub cidrs: Vec<String>,
    /// Parts of these that are not meant, in CIDR notation.
    pub except: Vec<String>,
    /// Pods of the same cluster that stand for them, in namespaces that are not the mesh's; no service account counts.
    pub pods: Vec<Place>,
    /// The ports; empty for all.
    pub ports: Vec<(Protocol, u16)>,
    /// The names of the workloads that may connect.
    pub clients: BTreeSet<String>,
    /// What may be sent there.
    pub classes: Classes,
    /// Where it is stated.
    pub span: Span,
}

/// What every workload needs of the platform it runs on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Platform {
    /// The resolver, which every workload may ask.
    pub dns: Option<Endpoint>,
    /// Collectors of traces, to which every workload may send.
    pub telemetry: Vec<Endpoint>,
    /// The addresses from which probes come, in CIDR notation.
    pub probes: Vec<String>,
    /// The ranges from which pods have their addresses, in CIDR notation; empty if nobody says.
    pub pod_ranges: Vec<String>,
}

/// Pods of the platform and their ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Where they run; the service account is empty.
    pub place: Place,
    /// The ports.
    pub ports: Vec<(Protocol, u16)>,
}

/// What must never be possible.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assertion {
    /// Who must not.
    pub from: Subject,
    /// What they must not reach.
    pub target: Target,
    /// Whether it must not be possible through others either.
    pub transitive: bool,
    /// Where it is stated.
    pub span: Span,
}

/// Workloads, as assertions name them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// All of them.
    Anybody,
    /// The workload of that name.
    Workload(String),
    /// The workloads of the domain of that name.
    Domain(String),
    /// The workloads of every domain but the one of that name.
    NotDomain(String),
}

/// What an assertion keeps people away from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Data of the class of that name, wherever it lies.
    Class(String),
    /// The workload or store of that name.
    Workload(String),
    /// The workloads of the domain of that name.
    Domain(String),
    /// Anything outside of the cluster.
    Internet,
}

impl Intent {
    /// The domain of that name.
    #[must_use]
    pub fn domain(&self, name: &str) -> Option<&Domain> {
        self.domains.iter().find(|domain| domain.name == name)
    }

    /// The workload of that name.
    #[must_use]
    pub fn workload(&self, name: &str) -> Option<&Workload> {
        self.workloads.iter().find(|workload| workload.name == name)
    }

    /// The workload whose certificate has that SPIFFE ID.
    #[must_use]
    pub fn by_identity(&self, identity: &str) -> Option<&Workload> {
        self.workloads.iter().find(|workload| workload.identity == identity)
    }

    /// The method with that gRPC path.
    #[must_use]
    pub fn method(&self, path: &str) -> Option<&Method> {
        self.methods.iter().find(|method| method.path == path)
    }

    /// Whether the workload of that name may call the method with that gRPC path.
    #[must_use]
    pub fn allows(&self, caller: &str, path: &str) -> bool {
        self.edges.iter().any(|edge| edge.caller == caller && edge.method == path)
    }

    /// `classes` with everything that they imply.
    #[must_use]
    pub fn closed(&self, classes: &Classes) -> Classes {
        let mut closed = classes.clone();
        let mut open: Vec<&String> = classes.iter().collect();
        while let Some(class) = open.pop() {
            for implied in self.classes.get(class).into_iter().flatten() {
                if closed.insert(implied.clone()) {
                    open.push(implied);
                }
            }
        }
        closed
    }

    /// Who connects to which port: all pairs of caller and (workload, port) that some edge needs, each once.
    pub fn connections(&self) -> BTreeSet<(&str, &str, &str)> {
        // A mesh has thousands of edges. Where a path stands twice, the first method counts, as in `method`.
        let methods: HashMap<&str, &Method> = self.methods.iter().rev().map(|it| (it.path.as_str(), it)).collect();
        let callers: HashSet<&str> = self.workloads.iter().map(|workload| workload.name.as_str()).collect();
        let connection = |edge: &'_ Edge| {
            let method = methods.get(edge.method.as_str())?;
            let caller = callers.get(edge.caller.as_str())?;
            Some((*caller, method.workload.as_str(), method.port.as_str()))
        };
        self.edges.iter().filter_map(connection).collect()
    }
}

impl Workload {
    /// The port of that name.
    #[must_use]
    pub fn port(&self, name: &str) -> Option<&Port> {
        self.ports.iter().find(|port| port.name == name)
    }
}

impl Protocol {
    /// All transports.
    pub const ALL: [Self; 3] = [Self::Tcp, Self::Udp, Self::Sctp];

    /// The name that Kubernetes uses.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Sctp => "SCTP",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_brings_what_it_implies_and_a_circle_ends() {
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Classes>();
        let intent = Intent {
            classes: BTreeMap::from([
                ("payment".to_owned(), set(&["payment.card", "payment.bank"])),
                ("payment.card".to_owned(), set(&["payment.card.number"])),
                ("payment.card.number".to_owned(), set(&["payment"])),
            ]),
            ..Intent::default()
        };
        let all = set(&["payment", "payment.bank", "payment.card", "payment.card.number"]);
        assert_eq!(intent.closed(&set(&["payment.card"])), all);
        assert_eq!(intent.closed(&set(&["user"])), set(&["user"]));
    }
}
