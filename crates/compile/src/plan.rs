//! What all emitters need to know of an intent: for each listener, who is let in and to what. Sorted by name, so that
//! the order of a policy file changes no output.

use std::collections::{BTreeMap, BTreeSet};

use sekat_policy::Intent;
use sekat_policy::intent::{Audience, Domain, External, Place, Port, Protocol, Workload};

/// The methods of `grpc.health.v1.Health`, which probes call; the list of its statuses is for people.
pub(crate) const HEALTH_SERVICE: &str = "grpc.health.v1.Health";
pub(crate) const HEALTH_METHODS: [&str; 2] = ["Check", "Watch"];

/// The paths that probes call.
pub(crate) fn health_paths() -> impl Iterator<Item = String> {
    HEALTH_METHODS.iter().map(|method| format!("/{HEALTH_SERVICE}/{method}"))
}

/// Everything that listens in the mesh.
pub(crate) struct Plan<'a> {
    pub(crate) intent: &'a Intent,
    pub(crate) hosts: Vec<Host<'a>>,
}

/// Pods that listen: a workload's or a store's.
pub(crate) struct Host<'a> {
    pub(crate) name: &'a str,
    pub(crate) place: &'a Place,
    /// None for stores, which belong to their clients.
    pub(crate) domain: Option<&'a Domain>,
    pub(crate) listeners: Vec<Listener<'a>>,
}

/// A port and who is let in besides its audience.
pub(crate) struct Listener<'a> {
    pub(crate) port: &'a Port,
    /// Whether methods are served there, or bytes that nobody between can read.
    pub(crate) speaks: Speaks,
    pub(crate) admitted: Vec<Admitted<'a>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speaks {
    Grpc,
    Bytes,
}

/// A caller and what it may call; no paths where there are no methods.
pub(crate) struct Admitted<'a> {
    pub(crate) caller: &'a Workload,
    pub(crate) paths: BTreeSet<&'a str>,
}

impl<'a> Plan<'a> {
    pub(crate) fn of(intent: &'a Intent) -> Self {
        let mut hosts: Vec<Host<'a>> =
            intent.workloads.iter().map(|workload| workload_host(intent, workload)).collect();
        hosts.extend(intent.stores.iter().map(|store| {
            let mut clients: Vec<_> = store.clients.iter().filter_map(|name| intent.workload(name)).collect();
            clients.sort_by_key(|client| &client.name);
            let listener = |port: &'a Port| {
                let clients = clients.iter().filter(|_| port.audience != Audience::Probes);
                let admitted = clients.map(|caller| Admitted { caller, paths: BTreeSet::new() }).collect();
                Listener { port, speaks: Speaks::Bytes, admitted }
            };
            let listeners = store.ports.iter().map(listener).collect();
            Host { name: &store.name, place: &store.place, domain: None, listeners }
        }));
        hosts.sort_by_key(|host| host.name);
        Self { intent, hosts }
    }

    /// The namespaces of the mesh, which are closed but for what is stated.
    pub(crate) fn namespaces(&self) -> BTreeSet<&'a str> {
        let callers = self.intent.workloads.iter().map(|workload| workload.place.namespace.as_str());
        callers.chain(self.hosts.iter().map(|host| host.place.namespace.as_str())).collect()
    }

    /// The hosts of a namespace.
    pub(crate) fn hosts_of(&self, namespace: &str) -> impl Iterator<Item = &Host<'a>> {
        self.hosts.iter().filter(move |host| host.place.namespace == namespace)
    }

    /// The listeners that a workload connects to, with the owners.
    pub(crate) fn callees_of(&self, caller: &str) -> impl Iterator<Item = (&Host<'a>, &Listener<'a>)> {
        let all = self.hosts.iter().flat_map(|host| host.listeners.iter().map(move |listener| (host, listener)));
        all.filter(move |(_, listener)| listener.admitted.iter().any(|admitted| admitted.caller.name == caller))
    }

    /// What lies outside and the workload of that name may connect to.
    pub(crate) fn externals_of(&self, client: &str) -> impl Iterator<Item = &'a External> {
        self.intent.externals.iter().filter(move |external| external.clients.contains(client))
    }

    /// The trust domain in which the proxies of a namespace have their identities: that of its workloads, or, where
    /// there are only stores, of their clients.
    pub(crate) fn trust_domain(&self, namespace: &str) -> Option<&'a str> {
        let clients = self.hosts_of(namespace).flat_map(|host| &host.listeners).flat_map(|listener| &listener.admitted);
        let clients: Vec<&Workload> = clients.map(|admitted| admitted.caller).collect();
        let first = self.workloads_of(namespace).into_iter().chain(clients).next()?;
        self.intent.domain(&first.domain).map(|domain| domain.trust_domain.as_str())
    }

    /// The workloads of a namespace by name.
    pub(crate) fn workloads_of(&self, namespace: &str) -> Vec<&'a Workload> {
        let here = self.intent.workloads.iter().filter(|workload| workload.place.namespace == namespace);
        let mut here: Vec<_> = here.collect();
        here.sort_by_key(|workload| &workload.name);
        here
    }
}

impl<'a> Host<'a> {
    /// The listeners on TCP, which is all that meshes see.
    pub(crate) fn streams(&self) -> impl Iterator<Item = &Listener<'a>> {
        self.listeners.iter().filter(|listener| listener.port.protocol == Protocol::Tcp)
    }
}

fn workload_host<'a>(intent: &'a Intent, workload: &'a Workload) -> Host<'a> {
    let mut admitted: BTreeMap<(&str, &str), BTreeSet<&'a str>> = BTreeMap::new();
    for method in intent.methods.iter().filter(|method| method.workload == workload.name) {
        for edge in intent.edges.iter().filter(|edge| edge.method == method.path) {
            admitted.entry((&method.port, &edge.caller)).or_default().insert(&method.path);
        }
    }
    let listener = |port: &'a Port| {
        let callers = admitted.iter().filter(|((name, _), _)| *name == port.name);
        let callers = callers.filter_map(|((_, caller), paths)| {
            Some(Admitted { caller: intent.workload(caller)?, paths: paths.clone() })
        });
        // What the public sends is encrypted for the workload itself.
        let speaks = if port.audience == Audience::Public { Speaks::Bytes } else { Speaks::Grpc };
        Listener { port, speaks, admitted: callers.collect() }
    };
    Host {
        name: &workload.name,
        place: &workload.place,
        domain: intent.domain(&workload.domain),
        listeners: workload.ports.iter().map(listener).collect(),
    }
}
