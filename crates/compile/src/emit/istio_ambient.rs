//! Istio without sidecars. Two enforcers share the work and each understands only its own policies, so there are two
//! sets: the waypoint of a namespace reads policies that name a Service (`targetRefs`) and sees methods; ztunnel reads
//! policies with a `selector`, sees connections, and lets in nobody but the waypoint.
//!
//! Traps that this owns: ztunnel drops an ALLOW rule with anything of HTTP in it, and enforces such a DENY without it,
//! so its policies have none; a waypoint ignores selectors, so its policies have none; and a waypoint compares the port
//! of the Service, not that of the pod, so both have to be the same number.

use sekat_policy::intent::Audience;

use super::istio::{self, Probing};
use super::{file, istio_principal, match_labels, one, port_text};
use crate::File;
use crate::document::{Document, Value, list, map, object};
use crate::plan::{Host, Plan};

/// The name of the waypoint of each namespace, of its Service and of its service account.
const WAYPOINT: &str = "waypoint";

pub(super) fn emit(plan: &Plan<'_>) -> Vec<File> {
    let namespaces = plan.namespaces();
    namespaces.iter().map(|namespace| {
        let mut documents = vec![waypoint(namespace), istio::strict(namespace)];
        documents.extend([istio::nothing(namespace), waypoint_nothing(namespace)]);
        for host in plan.hosts_of(namespace) {
            let service = one(map([("kind", "Service".into()), ("group", "".into()), ("name", host.name.into())]));
            let service = [("targetRefs", service)];
            documents.extend(istio::plain_ports(host));
            documents.extend(istio::denials(plan, host, &service));
            documents.extend(istio::allowance(plan, host, &service, Probing::Nothing));
            documents.extend(behind(plan, host));
        }
        let about = format!(
            "Who may call what in {namespace}, for ambient mode. The namespace needs the labels\n\
             istio.io/dataplane-mode: ambient and istio.io/use-waypoint: {WAYPOINT}; without the second nobody is let in.\n\
             Services are named after their workloads and have the ports of the pods."
        );
        file(namespace, &about, &documents)
    })
    .collect()
}

fn waypoint(namespace: &str) -> Document {
    let listener = map([("name", "mesh".into()), ("port", 15_008_u16.into()), ("protocol", "HBONE".into())]);
    let spec = map([("gatewayClassName", "istio-waypoint".into()), ("listeners", list([listener]))]);
    let comment = "The proxy that sees methods. All calls to Services of this namespace go through it.";
    object(comment, "gateway.networking.k8s.io/v1", "Gateway", WAYPOINT, namespace, spec)
}

fn waypoint_nothing(namespace: &str) -> Document {
    let gateway =
        map([("kind", "Gateway".into()), ("group", "gateway.networking.k8s.io".into()), ("name", WAYPOINT.into())]);
    let spec = map([("targetRefs", one(gateway)), ("action", "ALLOW".into())]);
    let comment = "The waypoint, too, allows nothing but what is stated for a Service.";
    object(comment, istio::API, "AuthorizationPolicy", "waypoint-allow-nothing", namespace, spec)
}

/// What ztunnel lets through to the pods: the waypoint, and those who cannot take the way through it.
fn behind(plan: &Plan<'_>, host: &Host<'_>) -> Option<Document> {
    let namespace = &host.place.namespace;
    let mut rules = Vec::new();
    let called = |audience| audience == Audience::Callers;
    let ports = host.streams().filter(|it| called(it.port.audience) || !it.admitted.is_empty());
    let ports: Vec<Value> = ports.map(|listener| port_text(listener.port.number)).collect();
    if let Some(trust_domain) = plan.trust_domain(namespace).filter(|_| !ports.is_empty()) {
        let principal = istio_principal(trust_domain, namespace, WAYPOINT);
        let source = map([("source", map([("principals", one(principal))]))]);
        let to = one(map([("operation", map([("ports", Value::List(ports))]))]));
        rules.push(map([("from", one(source)), ("to", to)]));
    }
    for listener in host.streams() {
        let at = one(port_text(listener.port.number));
        match listener.port.audience {
            Audience::Callers => {}
            Audience::Public => rules.push(map([("to", one(map([("operation", map([("ports", at)]))])))])),
            Audience::Probes => rules.extend(istio::probes(plan, at, false)),
        }
    }
    let comment = format!("Only through the waypoint to {}; methods are not seen here.", host.name);
    let selector = [("selector", match_labels(host.place))];
    let name = format!("{}.ztunnel", host.name);
    (!rules.is_empty()).then(|| istio::policy(&comment, &name, namespace, &selector, "ALLOW", Value::List(rules)))
}
