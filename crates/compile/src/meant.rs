//! What is meant of an attempt, asked of the intent itself and seen as far as a target can see.

use std::collections::{BTreeSet, HashMap, HashSet};

use sekat_policy::Intent;
use sekat_policy::intent::{Audience, Endpoint, Port, Store, Workload};

use crate::attempt::{Attempt, Kind, Party};
use crate::cidr::Cidr;
use crate::plan::health_paths;
use crate::target::{Probes, Sight};

/// An intent, by what attempts are looked up by: there are more than the square of its workloads.
pub(crate) struct Meant<'a> {
    intent: &'a Intent,
    sight: Sight,
    workloads: HashMap<&'a str, &'a Workload>,
    stores: HashMap<&'a str, &'a Store>,
    /// Who may call what.
    rights: HashSet<(&'a str, &'a str)>,
    /// Whether somebody may call something there: caller, callee and the name of the port.
    connections: BTreeSet<(&'a str, &'a str, &'a str)>,
    /// The paths of a callee and the name of a port.
    served: HashMap<(&'a str, &'a str), HashSet<&'a str>>,
    /// The domains whose workloads run in a namespace; none where there are only stores.
    namespaces: HashMap<&'a str, Vec<&'a str>>,
}

impl<'a> Meant<'a> {
    pub(crate) fn of(intent: &'a Intent, sight: Sight) -> Self {
        let mut served: HashMap<_, HashSet<&str>> = HashMap::new();
        for method in &intent.methods {
            served.entry((method.workload.as_str(), method.port.as_str())).or_default().insert(&method.path);
        }
        let mut namespaces: HashMap<&str, Vec<&str>> = HashMap::new();
        for workload in &intent.workloads {
            namespaces.entry(&workload.place.namespace).or_default().push(&workload.domain);
        }
        for store in &intent.stores {
            namespaces.entry(&store.place.namespace).or_default();
        }
        Self {
            intent,
            sight,
            workloads: intent.workloads.iter().map(|it| (it.name.as_str(), it)).collect(),
            stores: intent.stores.iter().map(|it| (it.name.as_str(), it)).collect(),
            rights: intent.edges.iter().map(|edge| (edge.caller.as_str(), edge.method.as_str())).collect(),
            connections: intent.connections(),
            served,
            namespaces,
        }
    }

    /// Whether `attempt` should pass where only what can be seen can be enforced.
    pub(crate) fn passes(&self, attempt: &Attempt<'_>) -> bool {
        if self.sight.only_walls {
            return !self.is_walled_off(attempt);
        }
        self.arrives(attempt) && (!self.sight.egress || self.leaves(attempt))
    }

    /// Whether the callee's end should let it in.
    pub(crate) fn arrives(&self, attempt: &Attempt<'_>) -> bool {
        let Some(callee) = attempt.to.genuine.as_deref() else {
            return !self.is_resident(attempt.to) || self.platform(attempt);
        };
        let Some(port) = self.port(callee, attempt) else { return false };
        self.states(attempt, port, self.sight.methods)
            || match port.audience {
                Audience::Public => true,
                Audience::Probes => is_probe(self.intent, self.sight.probes, attempt),
                Audience::Callers => false,
            }
    }

    /// Whether the caller's end should let it out. Who lives in the mesh opens nothing that is not stated, not even to
    /// what is public.
    pub(crate) fn leaves(&self, attempt: &Attempt<'_>) -> bool {
        if !self.is_resident(attempt.from) {
            return true;
        }
        if attempt.to.kind == Kind::Outside {
            return external(self.intent, attempt);
        }
        let Some(callee) = attempt.to.genuine.as_deref() else {
            return self.platform(attempt) || external(self.intent, attempt);
        };
        self.port(callee, attempt).is_some_and(|port| self.states(attempt, port, false))
    }

    /// Whether somebody states that this caller connects there, and, where `methods` are seen, calls that method.
    fn states(&self, attempt: &Attempt<'_>, port: &Port, methods: bool) -> bool {
        let (Some(caller), Some(callee)) = (&attempt.from.genuine, &attempt.to.genuine) else { return false };
        let (caller, callee, port_name) = (caller.as_str(), callee.as_str(), port.name.as_str());
        if let Some(store) = self.stores.get(callee) {
            return store.clients.contains(caller) && port.audience != Audience::Probes;
        }
        if !methods {
            return self.connections.contains(&(caller, callee, port_name));
        }
        let is_served = |path: &str| self.served.get(&(callee, port_name)).is_some_and(|paths| paths.contains(path));
        attempt.path.is_some_and(|path| is_served(path) && self.rights.contains(&(caller, path)))
    }

    fn port(&self, callee: &str, attempt: &Attempt<'_>) -> Option<&'a Port> {
        let of_store = || self.stores.get(callee).map(|store| &store.ports);
        let ports = self.workloads.get(callee).map(|workload| &workload.ports).or_else(of_store)?;
        ports.iter().find(|port| port.number == attempt.port && port.protocol == attempt.protocol)
    }

    /// Whether it runs in a namespace of the mesh, known or not.
    fn is_resident(&self, party: &Party) -> bool {
        party.kind == Kind::Pod && self.namespaces.contains_key(party.namespace.as_str())
    }

    /// Whatever lives in the mesh may ask the resolver and send traces.
    fn platform(&self, attempt: &Attempt<'_>) -> bool {
        let serves = |endpoint: &Endpoint| {
            endpoint.place.namespace == attempt.to.namespace
                && endpoint.place.labels == attempt.to.labels
                && endpoint.ports.contains(&(attempt.protocol, attempt.port))
        };
        let platform = &self.intent.platform;
        self.is_resident(attempt.from) && platform.dns.iter().chain(&platform.telemetry).any(serves)
    }

    /// What nobody in a namespace can open: between domains what no edge needs, and stores but for their clients.
    fn is_walled_off(&self, attempt: &Attempt<'_>) -> bool {
        let Some(callee) = attempt.to.genuine.as_deref() else { return false };
        let port = self.port(callee, attempt);
        let is_open = port.is_some_and(|port| port.audience == Audience::Public || self.states(attempt, port, false));
        let caller = attempt.from.genuine.as_deref().and_then(|name| self.workloads.get(name));
        let from = match caller {
            _ if attempt.from.kind != Kind::Pod => return false,
            Some(caller) => vec![caller.domain.as_str()],
            // Of a pod that nobody knows, only its namespace tells the domain, if it has one owner.
            None => self.namespaces.get(attempt.from.namespace.as_str()).cloned().unwrap_or_default(),
        };
        let is_owned = from.first().is_some_and(|first| from.iter().all(|domain| domain == first));
        match self.workloads.get(callee) {
            Some(workload) => is_owned && from.iter().all(|domain| *domain != workload.domain) && !is_open,
            None => is_owned && !is_open,
        }
    }
}

fn is_probe(intent: &Intent, sight: Probes, attempt: &Attempt<'_>) -> bool {
    let mut ranges = intent.platform.probes.iter().filter_map(|range| Cidr::parse(range));
    let comes_from_there = ranges.any(|range| range.contains(attempt.from.address));
    let asks_for_health = health_paths().any(|path| attempt.path == Some(&path));
    match sight {
        Probes::Addresses => comes_from_there,
        Probes::Health => comes_from_there && asks_for_health,
        Probes::HealthFromAnybody => asks_for_health,
    }
}

fn external(intent: &Intent, attempt: &Attempt<'_>) -> bool {
    let Some(client) = &attempt.from.genuine else { return false };
    let to = attempt.to;
    let holds = |ranges: &[String]| {
        ranges.iter().filter_map(|range| Cidr::parse(range)).any(|range| range.contains(to.address))
    };
    intent.externals.iter().any(|external| {
        let port = external.ports.is_empty() || external.ports.contains(&(attempt.protocol, attempt.port));
        let is_there = match to.kind {
            Kind::Pod => external.pods.iter().any(|pods| pods.namespace == to.namespace && pods.labels == to.labels),
            _ => holds(&external.cidrs) && !holds(&external.except),
        };
        external.clients.contains(client) && port && is_there
    })
}
