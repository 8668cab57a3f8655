//! Kinds that are not analysed: those that may change who reaches whom, those that restrict calls above the
//! transport, and those that can do neither. A kind that nobody knows may do anything.

use sekat_policy::Span;
use sekat_yaml::{Node, Value};

use super::{Cluster, Head};

/// An object that may change reachability in a way that is not analysed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Foreign {
    /// Its kind and group, as `CiliumNetworkPolicy of cilium.io`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// The namespaces that it may affect; empty for all.
    pub namespaces: Vec<String>,
    /// What it may do.
    pub effect: Effect,
    /// Where it stands.
    pub span: Span,
}

/// What an object may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Allow or deny anything for pods.
    Policy,
    /// Bring traffic to pods from a gateway.
    Gateway,
}

/// Groups whose objects restrict calls that the network lets through, and nothing else.
const NARROWING: [(&str, &[&str]); 2] = [
    ("security.istio.io", &["AuthorizationPolicy", "PeerAuthentication", "RequestAuthentication"]),
    (
        "policy.linkerd.io",
        &[
            "Server",
            "ServerAuthorization",
            "AuthorizationPolicy",
            "MeshTLSAuthentication",
            "NetworkAuthentication",
            "HTTPRoute",
            "HTTPLocalRateLimitPolicy",
        ],
    ),
];

/// Groups in which nothing bears on who reaches whom at the transport.
const HARMLESS_GROUPS: [&str; 29] = [
    "admissionregistration.k8s.io",
    "apiextensions.k8s.io",
    "apiregistration.k8s.io",
    "authentication.k8s.io",
    "authorization.k8s.io",
    "autoscaling",
    "autoscaling.k8s.io",
    "batch",
    "bitnami.com",
    "cert-manager.io",
    "certificates.k8s.io",
    "coordination.k8s.io",
    "discovery.k8s.io",
    "events.k8s.io",
    "external-secrets.io",
    "flowcontrol.apiserver.k8s.io",
    "keda.sh",
    "metrics.k8s.io",
    "monitoring.coreos.com",
    "node.k8s.io",
    "policy",
    "rbac.authorization.k8s.io",
    "resource.k8s.io",
    "scheduling.k8s.io",
    "security.openshift.io",
    "snapshot.storage.k8s.io",
    "storage.k8s.io",
    "telemetry.istio.io",
    "wgpolicyk8s.io",
];

/// The like in groups that also have other kinds.
const HARMLESS: [(&str, &[&str]); 4] = [
    (
        "",
        &[
            "Binding",
            "ComponentStatus",
            "ConfigMap",
            "Endpoints",
            "Event",
            "LimitRange",
            "Node",
            "PersistentVolume",
            "PersistentVolumeClaim",
            "PodTemplate",
            "ResourceQuota",
            "Secret",
            "ServiceAccount",
        ],
    ),
    ("apps", &["ControllerRevision"]),
    ("networking.k8s.io", &["IngressClass"]),
    ("gateway.networking.k8s.io", &["GatewayClass", "ReferenceGrant", "BackendTLSPolicy"]),
];

/// Kinds that bring traffic from a gateway's pods, where policies still decide.
const GATEWAYS: [(&str, &[&str]); 4] = [
    ("gateway.networking.k8s.io", &["Gateway", "HTTPRoute", "GRPCRoute", "TCPRoute", "TLSRoute", "UDPRoute"]),
    ("route.openshift.io", &["Route"]),
    ("networking.istio.io", &["Gateway", "VirtualService"]),
    ("traefik.io", &["IngressRoute", "IngressRouteTCP", "IngressRouteUDP"]),
];

fn is_in(table: &[(&str, &[&str])], head: &Head) -> bool {
    table.iter().any(|(group, kinds)| *group == head.group && kinds.contains(&head.kind.as_str()))
}

/// Takes an object; whether it may change who reaches whom.
pub(super) fn read(head: &Head, node: &Node, file: &str, cluster: &mut Cluster) -> bool {
    let kind = if head.group.is_empty() { head.kind.clone() } else { format!("{} of {}", head.kind, head.group) };
    if is_in(&NARROWING, head) {
        *cluster.narrowing.entry(kind).or_default() += 1;
        return false;
    }
    if is_in(&HARMLESS, head) || HARMLESS_GROUPS.contains(&head.group.as_str()) {
        *cluster.ignored.entry(kind).or_default() += 1;
        return false;
    }
    let is_gateway = is_in(&GATEWAYS, head);
    let mut namespaces = Vec::new();
    // A kind without a namespace is cluster-wide, or applied to a namespace that is not stated here: to any.
    if head.has_namespace {
        namespaces.push(head.namespace.clone());
        if is_gateway {
            named(node, file, &mut namespaces);
        }
    }
    let effect = if is_gateway { Effect::Gateway } else { Effect::Policy };
    cluster.foreign.push(Foreign { kind, name: head.name.clone(), namespaces, effect, span: head.span.clone() });
    true
}

/// The namespaces that references inside of an object name.
fn named(node: &Node, file: &str, found: &mut Vec<String>) {
    match &node.value {
        Value::List(items) => items.iter().for_each(|item| named(item, file, found)),
        Value::Map(entries) => {
            for (key, value) in entries {
                match value.text(file) {
                    Ok(text) if key.name == "namespace" => found.push(text.to_owned()),
                    _ => named(value, file, found),
                }
            }
        }
        _ => {}
    }
}
