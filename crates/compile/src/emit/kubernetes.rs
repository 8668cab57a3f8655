//! NetworkPolicy: each namespace is closed in both directions, and each connection that an edge needs is opened twice,
//! where it leaves and where it arrives. Policies only add up, so nothing here can take back what another one allows.

use sekat_policy::intent::{Audience, Endpoint, External, Place};

use super::{counted, file, match_labels, one, peer, port, ports, ranges};
use crate::File;
use crate::document::{Document, Value, list, map, object};
use crate::plan::{Host, Listener, Plan, Speaks};

const API: &str = "networking.k8s.io/v1";

pub(super) fn emit(plan: &Plan<'_>) -> Vec<File> {
    let namespaces = plan.namespaces();
    namespaces.iter().map(|namespace| {
        let mut documents = vec![closed(namespace)];
        documents.extend(platform(plan, namespace));
        for host in plan.hosts_of(namespace) {
            documents.extend(host.listeners.iter().flat_map(|listener| arriving(plan, host, listener)));
        }
        for workload in plan.workloads_of(namespace) {
            let callees = plan.callees_of(&workload.name);
            documents.extend(callees.map(|(host, listener)| leaving(&workload.name, &workload.place, host, listener)));
        }
        let about = format!(
            "What may reach the pods of {namespace}, and what they may reach. NetworkPolicy sees connections: who may\n\
             call which method on them is held by the mesh."
        );
        file(namespace, &about, &documents)
    })
    .chain(namespaces.iter().filter_map(|namespace| outside(plan, namespace)))
    .collect()
}

/// What the pods of a namespace may reach outside of the mesh: a file of its own, because it differs from place to
/// place where the rest does not. No namespace has a dot in its name.
fn outside(plan: &Plan<'_>, namespace: &str) -> Option<File> {
    let clients = plan.workloads_of(namespace).into_iter();
    let documents: Vec<Document> = clients
        .flat_map(|client| {
            plan.externals_of(&client.name).map(|external| leaving_the_mesh(&client.name, &client.place, external))
        })
        .collect();
    let about = format!("What the pods of {namespace} may reach outside of the mesh.");
    (!documents.is_empty()).then(|| file(&format!("{namespace}.external"), &about, &documents))
}

/// A policy for the pods of a place, or, without one, for all of the namespace.
fn policy(comment: &str, name: &str, namespace: &str, pods: Option<&Place>, rules: [(&str, Value); 1]) -> Document {
    let [(direction, rules)] = rules;
    let kind = if direction == "ingress" { "Ingress" } else { "Egress" };
    let spec = map([
        ("podSelector", pods.map_or(map([]), match_labels)),
        ("policyTypes", one(kind)),
        (direction, list([rules])),
    ]);
    object(comment, API, "NetworkPolicy", name, namespace, spec)
}

fn closed(namespace: &str) -> Document {
    let spec = map([("podSelector", map([])), ("policyTypes", ["Ingress", "Egress"].into_iter().collect())]);
    let comment = "Nothing comes in and nothing goes out but what the policies below allow.";
    object(comment, API, "NetworkPolicy", "default-deny", namespace, spec)
}

/// What all pods need: names, and somebody who takes their traces.
fn platform(plan: &Plan<'_>, namespace: &str) -> Vec<Document> {
    let mut documents = Vec::new();
    let platform = &plan.intent.platform;
    let endpoints = platform.dns.iter().map(|dns| ("dns".to_owned(), dns));
    let telemetry = platform.telemetry.iter().enumerate();
    for (name, Endpoint { place, ports: open }) in
        endpoints.chain(telemetry.map(|(number, collector)| (format!("telemetry-{number}"), collector)))
    {
        let rule = map([("to", one(peer(place))), ("ports", ports(open))]);
        let comment = format!("All pods reach the {name} of the platform in {}.", place.namespace);
        documents.push(policy(&comment, &format!("{name}.egress"), namespace, None, [("egress", rule)]));
        if place.namespace == namespace {
            let from = plan.namespaces().into_iter().map(|namespace| {
                let name = map([(super::NAMESPACE_NAME, namespace.into())]);
                map([("namespaceSelector", map([("matchLabels", name)]))])
            });
            let rule = map([("from", from.collect()), ("ports", ports(open))]);
            let comment = format!("The {name} of the platform runs here and answers the whole mesh.");
            documents.push(policy(&comment, &format!("{name}.ingress"), namespace, Some(place), [("ingress", rule)]));
        }
    }
    documents
}

/// The ingress half of each connection to a listener, and its audience.
fn arriving(plan: &Plan<'_>, host: &Host<'_>, listener: &Listener<'_>) -> Vec<Document> {
    let at = &listener.port;
    let open = one(port(at.protocol, at.number));
    let namespace = &host.place.namespace;
    let ingress =
        |comment: &str, name: String, rule| policy(comment, &name, namespace, Some(host.place), [("ingress", rule)]);
    let mut documents: Vec<Document> = listener
        .admitted
        .iter()
        .map(|admitted| {
            let caller = &admitted.caller.name;
            let why = match listener.speaks {
                Speaks::Grpc => counted(admitted.paths.len(), "method"),
                Speaks::Bytes => "as a client".to_owned(),
            };
            let comment = format!("{caller} reaches {} at {}: {why}.", host.name, at.name);
            let rule = map([("from", one(peer(&admitted.caller.place))), ("ports", open.clone())]);
            ingress(&comment, format!("{caller}.{}.{}.ingress", host.name, at.name), rule)
        })
        .collect();
    let name = format!("{}.{}.ingress", host.name, at.name);
    match at.audience {
        Audience::Callers => {}
        Audience::Public => {
            let comment = format!("{} at {} is open to everybody, also from outside.", host.name, at.name);
            documents.push(ingress(&comment, name, map([("ports", open)])));
        }
        Audience::Probes => {
            let probes = &plan.intent.platform.probes;
            if !probes.is_empty() {
                let from = probes.iter().map(|range| map([("ipBlock", map([("cidr", range.as_str().into())]))]));
                let comment = format!("Probes ask {} for its health.", host.name);
                documents.push(ingress(&comment, name, map([("from", from.collect()), ("ports", open)])));
            }
        }
    }
    documents
}

/// The egress half of a connection.
fn leaving(caller: &str, place: &Place, host: &Host<'_>, listener: &Listener<'_>) -> Document {
    let at = &listener.port;
    let rule = map([("to", one(peer(host.place))), ("ports", one(port(at.protocol, at.number)))]);
    let comment = format!("{caller} reaches {} at {}.", host.name, at.name);
    let name = format!("{caller}.{}.{}.egress", host.name, at.name);
    policy(&comment, &name, &place.namespace, Some(place), [("egress", rule)])
}

fn leaving_the_mesh(caller: &str, place: &Place, external: &External) -> Document {
    let External { name, cidrs, except, pods, ports: open, .. } = external;
    let blocks = ranges(cidrs, except).into_iter().map(|block| map([("ipBlock", block)]));
    let mut rule = vec![("to".to_owned(), pods.iter().map(peer).chain(blocks).collect())];
    if !open.is_empty() {
        rule.push(("ports".to_owned(), ports(open)));
    }
    let comment =
        format!("{caller} leaves the mesh to {name}, and by no host name: NetworkPolicy knows addresses and pods.");
    let name = format!("{caller}.{name}.external");
    policy(&comment, &name, &place.namespace, Some(place), [("egress", Value::Map(rule))])
}
