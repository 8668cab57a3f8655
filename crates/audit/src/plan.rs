//! The policy, made ready to be asked for every span: names are numbers, and what is allowed is a set.

use std::collections::{HashMap, HashSet};

use sekat_policy::intent::{Audience, Intent};

use crate::names::{Name, Names};
use crate::options::Options;

/// A workload, by its place in the policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Who(pub(crate) usize);

/// A method of the policy.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MethodPlan {
    pub(crate) workload: Who,
    /// Whether each access needs a record.
    pub(crate) recorded: bool,
}

#[derive(Debug)]
pub(crate) struct WorkloadPlan {
    pub(crate) name: Name,
    pub(crate) identity: Name,
    pub(crate) domain: Name,
    /// Whether it has a port for anybody.
    pub(crate) public: bool,
}

#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) workloads: Vec<WorkloadPlan>,
    identities: HashMap<Name, Who>,
    services: HashMap<Name, Who>,
    methods: HashMap<Name, MethodPlan>,
    edges: HashSet<(Who, Name)>,
    stores: HashMap<Name, HashSet<Who>>,
    topics: HashMap<Name, (HashSet<Who>, HashSet<Who>)>,
    platform: HashSet<Name>,
    digests: HashSet<Name>,
    pub(crate) probes: HashSet<u128>,
}

/// Methods of the platform, which carry no data: probes may call them everywhere.
const PLATFORM: [&str; 2] = ["/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch"];
/// What every workload calls at its collector.
const TELEMETRY: [&str; 3] = [
    "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
    "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
    "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
];

impl Plan {
    pub(crate) fn new(intent: &Intent, options: &Options, names: &mut Names) -> Self {
        let index: HashMap<&str, Who> =
            intent.workloads.iter().enumerate().map(|(index, workload)| (workload.name.as_str(), Who(index))).collect();
        let whos = |set: &std::collections::BTreeSet<String>| -> HashSet<Who> {
            set.iter().filter_map(|name| index.get(name.as_str()).copied()).collect()
        };
        let workloads = intent.workloads.iter().map(|workload| WorkloadPlan {
            name: names.number(&workload.name),
            identity: names.number(&workload.identity),
            domain: names.number(&workload.domain),
            public: workload.ports.iter().any(|port| port.audience == Audience::Public),
        });
        let workloads: Vec<WorkloadPlan> = workloads.collect();
        let numbered = || workloads.iter().enumerate().map(|(index, workload)| (workload, Who(index)));
        let identities = numbered().map(|(workload, who)| (workload.identity, who)).collect();
        let mut services: HashMap<Name, Who> = numbered().map(|(workload, who)| (workload.name, who)).collect();
        for (service, workload) in &options.services {
            if let Some(who) = index.get(workload.as_str()) {
                services.insert(names.number(service), *who);
            }
        }
        let is_recorded = |classes| {
            intent.closed(classes).iter().any(|class| options.recorded_classes.contains(&class.to_ascii_lowercase()))
        };
        let mut methods = HashMap::new();
        for method in &intent.methods {
            if let Some(workload) = index.get(method.workload.as_str()) {
                let recorded = is_recorded(&method.request) || is_recorded(&method.response);
                methods.insert(names.number(&method.path), MethodPlan { workload: *workload, recorded });
            }
        }
        let edges = intent
            .edges
            .iter()
            .filter_map(|edge| Some((*index.get(edge.caller.as_str())?, names.number(&edge.method))));
        let edges = edges.collect();
        let stores = intent.stores.iter().map(|store| (names.number(&store.name), whos(&store.clients))).collect();
        let topics = intent
            .topics
            .iter()
            .map(|topic| (names.number(&topic.name), (whos(&topic.publishers), whos(&topic.consumers))));
        let topics = topics.collect();
        let telemetry: &[&str] = if intent.platform.telemetry.is_empty() { &[] } else { &TELEMETRY };
        let platform = PLATFORM.iter().chain(telemetry).map(|path| names.number(path)).collect();
        let digests = options.policy_digests.iter().map(|digest| names.number(digest)).collect();
        let probes = options.probes.iter().map(|trace| u128::from_be_bytes(*trace)).collect();
        Self { workloads, identities, services, methods, edges, stores, topics, platform, digests, probes }
    }

    pub(crate) fn workload(&self, who: Who) -> Option<&WorkloadPlan> {
        self.workloads.get(who.0)
    }

    pub(crate) fn name(&self, who: Who) -> Name {
        self.workload(who).map_or(Name::OTHER, |workload| workload.name)
    }

    pub(crate) fn by_identity(&self, identity: Name) -> Option<Who> {
        self.identities.get(&identity).copied()
    }

    pub(crate) fn by_service(&self, service: Name) -> Option<Who> {
        self.services.get(&service).copied()
    }

    pub(crate) fn method(&self, path: Name) -> Option<MethodPlan> {
        self.methods.get(&path).copied()
    }

    pub(crate) fn allows(&self, caller: Who, path: Name) -> bool {
        self.edges.contains(&(caller, path))
    }

    pub(crate) fn is_platform(&self, path: Name) -> bool {
        self.platform.contains(&path)
    }

    /// Who may connect to the store of that name.
    pub(crate) fn store(&self, name: Name) -> Option<&HashSet<Who>> {
        self.stores.get(&name)
    }

    /// Who may publish and who may consume on the topic of that name.
    pub(crate) fn topic(&self, name: Name) -> Option<&(HashSet<Who>, HashSet<Who>)> {
        self.topics.get(&name)
    }

    /// Whether a policy of that digest may have decided.
    pub(crate) fn knows_digest(&self, digest: Name) -> bool {
        self.digests.is_empty() || self.digests.contains(&digest)
    }
}
