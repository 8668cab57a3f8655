//! What is meant of an attempt, asked of the intent itself and seen as far as a target can see.

use sekat_policy::Intent;
use sekat_policy::intent::{Audience, Endpoint, Port};

use crate::attempt::{Attempt, Kind, Party};
use crate::cidr::Cidr;
use crate::plan::health_paths;
use crate::target::{Probes, Sight};

/// Whether `attempt` should pass where only what `sight` sees can be enforced.
pub(crate) fn meant(intent: &Intent, sight: Sight, attempt: &Attempt<'_>) -> bool {
    if sight.only_walls {
        return !is_walled_off(intent, attempt);
    }
    arrives(intent, sight, attempt) && (!sight.egress || leaves(intent, attempt))
}

/// Whether the callee's end should let it in.
pub(crate) fn arrives(intent: &Intent, sight: Sight, attempt: &Attempt<'_>) -> bool {
    let Some(callee) = attempt.to.genuine.as_deref() else {
        return !is_resident(intent, attempt.to) || platform(intent, attempt);
    };
    let Some(port) = port(intent, callee, attempt) else { return false };
    states(intent, attempt, port, sight.methods)
        || match port.audience {
            Audience::Public => true,
            Audience::Probes => is_probe(intent, sight.probes, attempt),
            Audience::Callers => false,
        }
}

/// Whether the caller's end should let it out. Who lives in the mesh opens nothing that is not stated, not even to
/// what is public.
pub(crate) fn leaves(intent: &Intent, attempt: &Attempt<'_>) -> bool {
    if !is_resident(intent, attempt.from) {
        return true;
    }
    if attempt.to.kind == Kind::Outside {
        return external(intent, attempt);
    }
    let Some(callee) = attempt.to.genuine.as_deref() else {
        return platform(intent, attempt) || external(intent, attempt);
    };
    port(intent, callee, attempt).is_some_and(|port| states(intent, attempt, port, false))
}

/// Whether somebody states that this caller connects there, and, where `methods` are seen, calls that method.
fn states(intent: &Intent, attempt: &Attempt<'_>, port: &Port, methods: bool) -> bool {
    let (Some(caller), Some(callee)) = (&attempt.from.genuine, &attempt.to.genuine) else { return false };
    if let Some(store) = intent.stores.iter().find(|store| store.name == *callee) {
        return store.clients.contains(caller) && port.audience != Audience::Probes;
    }
    let mut served = intent.methods.iter().filter(|method| method.workload == *callee && method.port == port.name);
    served.any(|method| (!methods || attempt.path == Some(&method.path)) && intent.allows(caller, &method.path))
}

fn port<'a>(intent: &'a Intent, callee: &str, attempt: &Attempt<'_>) -> Option<&'a Port> {
    let store = intent.stores.iter().find(|store| store.name == callee).map(|store| &store.ports);
    let ports = intent.workload(callee).map(|workload| &workload.ports).or(store)?;
    ports.iter().find(|port| port.number == attempt.port && port.protocol == attempt.protocol)
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

/// Whether it runs in a namespace of the mesh, known or not.
fn is_resident(intent: &Intent, party: &Party) -> bool {
    let workloads = intent.workloads.iter().map(|workload| &workload.place.namespace);
    let mut namespaces = workloads.chain(intent.stores.iter().map(|store| &store.place.namespace));
    party.kind == Kind::Pod && namespaces.any(|namespace| *namespace == party.namespace)
}

/// Whatever lives in the mesh may ask the resolver and send traces.
fn platform(intent: &Intent, attempt: &Attempt<'_>) -> bool {
    let serves = |endpoint: &Endpoint| {
        endpoint.place.namespace == attempt.to.namespace
            && endpoint.place.labels == attempt.to.labels
            && endpoint.ports.contains(&(attempt.protocol, attempt.port))
    };
    let mut endpoints = intent.platform.dns.iter().chain(&intent.platform.telemetry);
    is_resident(intent, attempt.from) && endpoints.any(serves)
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

/// What nobody in a namespace can open: between domains what no edge needs, and stores but for their clients.
fn is_walled_off(intent: &Intent, attempt: &Attempt<'_>) -> bool {
    let Some(callee) = attempt.to.genuine.as_deref() else { return false };
    let port = port(intent, callee, attempt);
    let is_open = port.is_some_and(|port| port.audience == Audience::Public || states(intent, attempt, port, false));
    let domains = |namespace: &str| -> Vec<&str> {
        let here = intent.workloads.iter().filter(|workload| workload.place.namespace == namespace);
        here.map(|workload| workload.domain.as_str()).collect()
    };
    let caller = attempt.from.genuine.as_deref().and_then(|name| intent.workload(name));
    let from = match caller {
        _ if attempt.from.kind != Kind::Pod => return false,
        Some(caller) => vec![caller.domain.as_str()],
        // Of a pod that nobody knows, only its namespace tells the domain, if it has one owner.
        None => domains(&attempt.from.namespace),
    };
    let is_owned = from.first().is_some_and(|first| from.iter().all(|domain| domain == first));
    match intent.workload(callee) {
        Some(workload) => is_owned && from.iter().all(|domain| *domain != workload.domain) && !is_open,
        None => is_owned && !is_open,
    }
}
