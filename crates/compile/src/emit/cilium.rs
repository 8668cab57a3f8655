//! CiliumNetworkPolicy: like NetworkPolicy, but with methods as HTTP rules. It replaces the `kubernetes` target: a
//! rule without HTTP for the same port and peer, in whatever kind of policy, switches the HTTP rules off.
//!
//! Traps that this owns: a path is a regular expression, so it is anchored and its dots are escaped; a CIDR matches
//! nothing inside the cluster, nodes among them, so probes come from the entity `host`.

use sekat_policy::intent::{Audience, Endpoint, External, Place, Protocol};

use super::{file, match_labels, one, port_text, ranges};
use crate::File;
use crate::document::{Document, Value, list, map, object};
use crate::plan::{Host, Listener, Plan, Speaks};

const API: &str = "cilium.io/v2";
/// The label by which Cilium knows the namespace of a pod.
const NAMESPACE: &str = "k8s:io.kubernetes.pod.namespace";

pub(super) fn emit(plan: &Plan<'_>) -> Vec<File> {
    let namespaces = plan.namespaces();
    namespaces.iter().map(|namespace| {
        let mut documents = vec![closed(namespace)];
        documents.extend(platform(plan, namespace));
        for host in plan.hosts_of(namespace) {
            let rules: Vec<Value> = host.listeners.iter().flat_map(|it| arriving(plan, it)).collect();
            if !rules.is_empty() {
                let comment = format!("Who reaches {}, and with which methods.", host.name);
                let name = format!("{}.ingress", host.name);
                documents.push(policy(&comment, &name, host.place, "ingress", rules));
            }
        }
        for workload in plan.workloads_of(namespace) {
            let callees = plan.callees_of(&workload.name);
            let mut rules: Vec<Value> = callees.map(|(host, listener)| leaving(host, listener)).collect();
            rules.extend(plan.externals_of(&workload.name).flat_map(leaving_the_mesh));
            if !rules.is_empty() {
                let comment = format!("What {} reaches.", workload.name);
                let name = format!("{}.egress", workload.name);
                documents.push(policy(&comment, &name, &workload.place, "egress", rules));
            }
        }
        let about = format!(
            "What may reach the pods of {namespace}, and what they may reach, method by method. Use it instead of the\n\
             kubernetes target, never beside it: an L4 rule for one of these ports would switch its methods off."
        );
        file(namespace, &about, &documents)
    })
    .collect()
}

fn closed(namespace: &str) -> Document {
    let deny = map([("ingress", true.into()), ("egress", true.into())]);
    let spec = map([
        ("endpointSelector", map([])),
        ("enableDefaultDeny", deny),
        ("ingress", list([map([])])),
        ("egress", list([map([])])),
    ]);
    let comment = "Nothing comes in and nothing goes out but what the policies below allow.";
    object(comment, API, "CiliumNetworkPolicy", "default-deny", namespace, spec)
}

fn policy(comment: &str, name: &str, place: &Place, direction: &str, rules: Vec<Value>) -> Document {
    let spec = map([("endpointSelector", match_labels(place)), (direction, Value::List(rules))]);
    object(comment, API, "CiliumNetworkPolicy", name, &place.namespace, spec)
}

fn platform(plan: &Plan<'_>, namespace: &str) -> Vec<Document> {
    let platform = &plan.intent.platform;
    let mut documents = Vec::new();
    let endpoints: Vec<&Endpoint> = platform.dns.iter().chain(&platform.telemetry).collect();
    let out = endpoints.iter().map(|it| map([("toEndpoints", one(peer(&it.place))), ("toPorts", open(&it.ports))]));
    if !endpoints.is_empty() {
        let spec = map([("endpointSelector", map([])), ("egress", out.collect())]);
        let comment = "All pods reach the resolver and the collectors of traces.";
        documents.push(object(comment, API, "CiliumNetworkPolicy", "platform-egress", namespace, spec));
    }
    let here = endpoints.iter().filter(|endpoint| endpoint.place.namespace == namespace);
    documents.extend(here.enumerate().map(|(number, endpoint)| {
        let from = plan.namespaces().into_iter().map(|name| map([("matchLabels", map([(NAMESPACE, name.into())]))]));
        let rule = map([("fromEndpoints", from.collect()), ("toPorts", open(&endpoint.ports))]);
        let name = format!("platform-{number}-ingress");
        policy("The platform answers the whole mesh.", &name, &endpoint.place, "ingress", vec![rule])
    }));
    documents
}

fn arriving(plan: &Plan<'_>, listener: &Listener<'_>) -> Vec<Value> {
    let at = [(listener.port.protocol, listener.port.number)];
    let mut rules = Vec::new();
    for admitted in &listener.admitted {
        let ports = match listener.speaks {
            Speaks::Bytes => open(&at),
            Speaks::Grpc => {
                let http = admitted
                    .paths
                    .iter()
                    .map(|path| map([("method", "^POST$".into()), ("path", exactly(path).into())]));
                one(map([("ports", numbers(&at)), ("rules", map([("http", http.collect())]))]))
            }
        };
        rules.push(map([("fromEndpoints", one(peer(&admitted.caller.place))), ("toPorts", ports)]));
    }
    let entity = match listener.port.audience {
        Audience::Callers => None,
        Audience::Public => Some("all"),
        Audience::Probes => Some("host").filter(|_| !plan.intent.platform.probes.is_empty()),
    };
    rules.extend(entity.map(|entity| map([("fromEntities", one(entity)), ("toPorts", open(&at))])));
    rules
}

fn leaving(host: &Host<'_>, listener: &Listener<'_>) -> Value {
    let at = [(listener.port.protocol, listener.port.number)];
    map([("toEndpoints", one(peer(host.place))), ("toPorts", open(&at))])
}

/// A rule for addresses and one for pods: a CIDR matches no pod, and a rule with both would need a peer that is both.
fn leaving_the_mesh(external: &External) -> Vec<Value> {
    let blocks: Vec<Value> = ranges(&external.cidrs, &external.except);
    let pods: Vec<Value> = external.pods.iter().map(peer).collect();
    let peers = [("toCIDRSet", blocks), ("toEndpoints", pods)].into_iter().filter(|(_, peers)| !peers.is_empty());
    let rule = |(key, peers): (&str, Vec<Value>)| {
        let mut rule = vec![(key.to_owned(), Value::List(peers))];
        if !external.ports.is_empty() {
            rule.push(("toPorts".to_owned(), open(&external.ports)));
        }
        Value::Map(rule)
    };
    peers.map(rule).collect()
}

fn peer(place: &Place) -> Value {
    let mut labels = vec![(NAMESPACE.to_owned(), place.namespace.as_str().into())];
    labels.extend(place.labels.iter().map(|(key, value)| (format!("k8s:{key}"), value.as_str().into())));
    map([("matchLabels", Value::Map(labels))])
}

fn open(ports: &[(Protocol, u16)]) -> Value {
    one(map([("ports", numbers(ports))]))
}

fn numbers(ports: &[(Protocol, u16)]) -> Value {
    ports.iter().map(|(protocol, at)| map([("port", port_text(*at)), ("protocol", protocol.name().into())])).collect()
}

/// A regular expression that matches `path` and nothing else; of a path's characters only the dot means anything.
fn exactly(path: &str) -> String {
    format!("^{}$", path.replace('.', "\\."))
}
