//! Istio with sidecars: mutual TLS everywhere, nothing allowed in a namespace, and for each workload what its callers
//! may do. A DENY for each foreign domain stands before that, because ALLOW policies only add up.
//!
//! Traps that this owns: `ports` is always set, because without it a DENY on methods would deny all of TCP; principals
//! are whole and have no scheme; the HTTP method of gRPC is always POST.

use std::collections::{BTreeMap, BTreeSet};

use sekat_policy::intent::{Audience, Workload};

use super::{counted, file, istio_principal, match_labels, one, port_text};
use crate::File;
use crate::document::{Document, Value, map, object};
use crate::plan::{Host, Listener, Plan, Speaks, health_paths};

pub(super) const API: &str = "security.istio.io/v1";

pub(super) fn emit(plan: &Plan<'_>) -> Vec<File> {
    let namespaces = plan.namespaces();
    namespaces
        .iter()
        .map(|namespace| {
            let mut documents = vec![strict(namespace), nothing(namespace)];
            for host in plan.hosts_of(namespace) {
                let selector = [("selector", match_labels(host.place))];
                documents.extend(plain_ports(host));
                documents.extend(denials(plan, host, &selector));
                documents.extend(allowance(plan, host, &selector, Probing::Methods));
            }
            let about = format!("Who may call what in {namespace}, for sidecars; waypoints ignore these selectors.");
            file(namespace, &about, &documents)
        })
        .collect()
}

/// How much of a probe the enforcer sees.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Probing {
    Methods,
    Nothing,
}

/// Mutual TLS for a namespace: a principal is known only where it is spoken.
pub(super) fn strict(namespace: &str) -> Document {
    let spec = map([("mtls", map([("mode", "STRICT".into())]))]);
    let comment = "Mutual TLS: without it there is no principal to compare.";
    object(comment, API, "PeerAuthentication", "default", namespace, spec)
}

pub(super) fn nothing(namespace: &str) -> Document {
    let comment = "Nothing is allowed but what the policies below allow.";
    object(comment, API, "AuthorizationPolicy", "allow-nothing", namespace, map([]))
}

/// Ports at which peers without a certificate of the mesh connect: the public, and probes.
pub(super) fn plain_ports(host: &Host<'_>) -> Option<Document> {
    let plain = host.streams().filter(|listener| listener.port.audience != Audience::Callers);
    let modes: Vec<(String, Value)> =
        plain.map(|listener| (listener.port.number.to_string(), map([("mode", "PERMISSIVE".into())]))).collect();
    let spec = |modes| {
        map([
            ("selector", match_labels(host.place)),
            ("mtls", map([("mode", "STRICT".into())])),
            ("portLevelMtls", Value::Map(modes)),
        ])
    };
    let comment = format!("Peers of {} that have no certificate of the mesh: the public, and probes.", host.name);
    (!modes.is_empty()).then(|| {
        object(&comment, API, "PeerAuthentication", &format!("{}.ports", host.name), &host.place.namespace, spec(modes))
    })
}

/// What other domains must not do, whatever else is allowed. One policy a foreign domain.
pub(super) fn denials(plan: &Plan<'_>, host: &Host<'_>, target: &[(&str, Value); 1]) -> Vec<Document> {
    let mut foreign: BTreeMap<&str, Vec<&Workload>> = BTreeMap::new();
    for workload in &plan.intent.workloads {
        if host.domain.is_some_and(|own| own.name != workload.domain) {
            foreign.entry(&workload.domain).or_default().push(workload);
        }
    }
    let mut documents = Vec::new();
    for (domain, workloads) in foreign {
        let principals: BTreeSet<String> = workloads.iter().filter_map(|it| principal(plan, it)).collect();
        let mut operations = Vec::new();
        for listener in host.streams() {
            if listener.speaks == Speaks::Bytes || listener.port.audience != Audience::Callers {
                continue;
            }
            let admitted = listener.admitted.iter().filter(|admitted| admitted.caller.domain == domain);
            let open: BTreeSet<&str> = admitted.flat_map(|admitted| admitted.paths.iter().copied()).collect();
            let mut operation = vec![("ports".to_owned(), one(port_text(listener.port.number)))];
            if !open.is_empty() {
                operation.push(("notPaths".to_owned(), open.into_iter().collect()));
            }
            operations.push(map([("operation", Value::Map(operation))]));
        }
        if operations.is_empty() {
            continue;
        }
        let source = map([("source", map([("principals", principals.into_iter().collect())]))]);
        let rules = one(map([("from", one(source)), ("to", Value::List(operations))]));
        let name = format!("{}.deny.{domain}", host.name);
        let comment = format!("Of {}, {domain} calls nothing but what is listed here, whoever allows it.", host.name);
        documents.push(policy(&comment, &name, &host.place.namespace, target, "DENY", rules));
    }
    documents
}

/// What callers, the public and probes may do at a host; nothing where there are none, because the namespace is closed.
pub(super) fn allowance(
    plan: &Plan<'_>,
    host: &Host<'_>,
    target: &[(&str, Value); 1],
    probing: Probing,
) -> Option<Document> {
    let mut rules = Vec::new();
    let mut calls = 0;
    for listener in host.streams() {
        let at = one(port_text(listener.port.number));
        if listener.port.audience == Audience::Public {
            rules.push(map([("to", one(map([("operation", map([("ports", at)]))])))]));
            continue;
        }
        for admitted in &listener.admitted {
            calls += admitted.paths.len();
            let principals = principal(plan, admitted.caller);
            let source = map([("source", map([("principals", principals.into_iter().collect())]))]);
            let operation = operation(listener, at.clone(), admitted.paths.iter().map(|path| (*path).into()).collect());
            rules.push(map([("from", one(source)), ("to", one(operation))]));
        }
        if listener.port.audience == Audience::Probes && probing == Probing::Methods {
            rules.extend(probes(plan, at, true));
        }
    }
    let comment = format!("Callers of {}: {}.", host.name, counted(calls, "allowed call"));
    let name = format!("{}.allow", host.name);
    let policy = |rules| policy(&comment, &name, &host.place.namespace, target, "ALLOW", Value::List(rules));
    (!rules.is_empty()).then(|| policy(rules))
}

fn operation(listener: &Listener<'_>, at: Value, paths: Vec<Value>) -> Value {
    let operation = match listener.speaks {
        Speaks::Bytes => map([("ports", at)]),
        Speaks::Grpc => map([("ports", at), ("methods", one("POST")), ("paths", Value::List(paths))]),
    };
    map([("operation", operation)])
}

/// Probes have no certificate: they are known by their addresses.
pub(super) fn probes(plan: &Plan<'_>, at: Value, methods: bool) -> Option<Value> {
    let ranges = &plan.intent.platform.probes;
    let source = map([("source", map([("ipBlocks", ranges.iter().map(String::as_str).collect())]))]);
    let operation = if methods {
        map([("ports", at), ("methods", one("POST")), ("paths", health_paths().collect())])
    } else {
        map([("ports", at)])
    };
    let to = one(map([("operation", operation)]));
    (!ranges.is_empty()).then(|| map([("from", one(source)), ("to", to)]))
}

pub(super) fn policy(
    comment: &str,
    name: &str,
    namespace: &str,
    target: &[(&str, Value); 1],
    action: &str,
    rules: Value,
) -> Document {
    let [(key, whom)] = target.clone();
    let spec = map([(key, whom), ("action", action.into()), ("rules", rules)]);
    object(comment, API, "AuthorizationPolicy", name, namespace, spec)
}

fn principal(plan: &Plan<'_>, workload: &Workload) -> Option<String> {
    let domain = plan.intent.domain(&workload.domain)?;
    Some(istio_principal(&domain.trust_domain, &workload.place.namespace, &workload.place.service_account))
}
