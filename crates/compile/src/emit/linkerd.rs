//! Linkerd: a Server a port, closed; a GRPCRoute for each set of methods with the same callers; who they are.
//!
//! Traps that this owns: a port without a Server keeps the default of its pod, so every stated port has one and the
//! namespace's default is deny; once a Server has routes the implied permission of probes is gone, so the port of
//! probes has a route of its own; references in one policy are ANDed, so each policy has exactly one.

use std::collections::{BTreeMap, BTreeSet};

use sekat_policy::intent::{Audience, Workload};

use super::{counted, file, match_labels, one};
use crate::File;
use crate::document::{Document, Value, list, map, object};
use crate::plan::{HEALTH_METHODS, HEALTH_SERVICE, Host, Listener, Plan, Speaks};

const POLICY: &str = "policy.linkerd.io";
const GATEWAY: &str = "gateway.networking.k8s.io";
/// The API takes so many matches in a rule.
const MATCHES_MAX: usize = 64;

pub(super) fn emit(plan: &Plan<'_>) -> Vec<File> {
    let namespaces = plan.namespaces();
    namespaces.iter().map(|namespace| {
        let mut documents = vec![closed(namespace)];
        if !plan.intent.platform.probes.is_empty() {
            documents.push(probes(plan, namespace));
        }
        for host in plan.hosts_of(namespace) {
            for listener in host.streams() {
                documents.extend(guarded(plan, host, listener));
            }
        }
        let about = format!(
            "Who may call what in {namespace}. Linkerd reads the annotation of the namespace when a pod starts: restart\n\
             the pods after the first time."
        );
        file(namespace, &about, &documents)
    })
    .collect()
}

fn closed(namespace: &str) -> Document {
    let annotations =
        map([("config.linkerd.io/default-inbound-policy", "deny".into()), ("linkerd.io/inject", "enabled".into())]);
    let root = map([
        ("apiVersion", "v1".into()),
        ("kind", "Namespace".into()),
        ("metadata", map([("name", namespace.into()), ("annotations", annotations)])),
    ]);
    Document { comment: "Ports that nobody has stated are closed.".to_owned(), root }
}

fn probes(plan: &Plan<'_>, namespace: &str) -> Document {
    let ranges = plan.intent.platform.probes.iter().map(|range| map([("cidr", range.as_str().into())]));
    let spec = map([("networks", ranges.collect())]);
    let comment = "Where probes come from.";
    object(comment, "policy.linkerd.io/v1alpha1", "NetworkAuthentication", "probes", namespace, spec)
}

/// A listener with all that opens it.
fn guarded(plan: &Plan<'_>, host: &Host<'_>, listener: &Listener<'_>) -> Vec<Document> {
    let namespace = &host.place.namespace;
    let server = format!("{}.{}", host.name, listener.port.name);
    let is_public = listener.port.audience == Audience::Public;
    let (comment, access) = if is_public {
        (format!("{server} is open to everybody."), "all-unauthenticated")
    } else {
        (format!("{server} is closed but for what is stated below."), "deny")
    };
    let spec = map([
        ("podSelector", match_labels(host.place)),
        ("port", listener.port.number.into()),
        ("proxyProtocol", if listener.speaks == Speaks::Grpc { "gRPC" } else { "opaque" }.into()),
        ("accessPolicy", access.into()),
    ]);
    let mut documents = vec![object(&comment, "policy.linkerd.io/v1beta3", "Server", &server, namespace, spec)];
    if is_public {
        return documents;
    }
    match listener.speaks {
        Speaks::Bytes if listener.admitted.is_empty() => {}
        Speaks::Bytes => {
            let clients: BTreeSet<&str> = listener.admitted.iter().map(|it| it.caller.name.as_str()).collect();
            documents.push(identities(plan, &server, namespace, &clients));
            documents.push(authorization(&server, namespace, ["Server", &server], ["MeshTLSAuthentication", &server]));
        }
        Speaks::Grpc => documents.extend(routes(plan, &server, namespace, listener)),
    }
    if listener.port.audience == Audience::Probes && !plan.intent.platform.probes.is_empty() {
        let name = format!("{server}.probes");
        let health = HEALTH_METHODS.iter().map(|method| method_match(HEALTH_SERVICE, method)).collect();
        documents.push(route("Probes ask for health.", &name, namespace, &server, health));
        documents.push(authorization(&name, namespace, ["GRPCRoute", &name], ["NetworkAuthentication", "probes"]));
    }
    documents
}

/// Methods with the same callers share a route, because a policy stands for a whole route.
fn routes(plan: &Plan<'_>, server: &str, namespace: &str, listener: &Listener<'_>) -> Vec<Document> {
    let mut callers: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for admitted in &listener.admitted {
        for path in &admitted.paths {
            callers.entry(path).or_default().insert(&admitted.caller.name);
        }
    }
    let mut groups: BTreeMap<BTreeSet<&str>, Vec<Value>> = BTreeMap::new();
    for (path, callers) in callers {
        let parts = path.strip_prefix('/').and_then(|path| path.split_once('/'));
        groups.entry(callers).or_default().extend(parts.map(|(service, method)| method_match(service, method)));
    }
    let mut documents = Vec::new();
    let chunked = groups.iter().flat_map(|(callers, matches)| matches.chunks(MATCHES_MAX).map(move |it| (callers, it)));
    for (number, (callers, matches)) in chunked.enumerate() {
        let name = format!("{server}.{number}");
        let who = callers.iter().copied().collect::<Vec<_>>().join(", ");
        let comment = format!("{} for {who}.", counted(matches.len(), "method"));
        documents.push(route(&comment, &name, namespace, server, matches.iter().cloned().collect()));
        documents.push(identities(plan, &name, namespace, callers));
        documents.push(authorization(&name, namespace, ["GRPCRoute", &name], ["MeshTLSAuthentication", &name]));
    }
    documents
}

fn method_match(service: &str, method: &str) -> Value {
    let exact = [("type", "Exact".into()), ("service", service.into()), ("method", method.into())];
    map([("method", map(exact))])
}

fn route(comment: &str, name: &str, namespace: &str, server: &str, matches: Value) -> Document {
    let parent = map([("group", POLICY.into()), ("kind", "Server".into()), ("name", server.into())]);
    let spec = map([("parentRefs", one(parent)), ("rules", list([map([("matches", matches)])]))]);
    object(comment, "gateway.networking.k8s.io/v1", "GRPCRoute", name, namespace, spec)
}

/// Callers by service account: of an identity as a text, Linkerd would read a `*`.
fn identities(plan: &Plan<'_>, name: &str, namespace: &str, callers: &BTreeSet<&str>) -> Document {
    let account = |workload: &Workload| {
        map([
            ("kind", "ServiceAccount".into()),
            ("name", workload.place.service_account.as_str().into()),
            ("namespace", workload.place.namespace.as_str().into()),
        ])
    };
    let accounts = callers.iter().filter_map(|caller| plan.intent.workload(caller)).map(account);
    let spec = map([("identityRefs", accounts.collect())]);
    let comment = format!("Callers of {name}.");
    object(&comment, "policy.linkerd.io/v1alpha1", "MeshTLSAuthentication", name, namespace, spec)
}

fn authorization(name: &str, namespace: &str, target: [&str; 2], required: [&str; 2]) -> Document {
    let reference = |[kind, name]: [&str; 2]| {
        let group = if kind == "GRPCRoute" { GATEWAY } else { POLICY };
        map([("group", group.into()), ("kind", kind.into()), ("name", name.into())])
    };
    let spec = map([("targetRef", reference(target)), ("requiredAuthenticationRefs", one(reference(required)))]);
    object("", "policy.linkerd.io/v1alpha1", "AuthorizationPolicy", name, namespace, spec)
}
