//! What lies around the mesh: hosts outside, and the platform.

use std::collections::{BTreeMap, BTreeSet};

use sekat_policy::intent::{Classes, Endpoint, External, Place, Platform, Protocol};
use sekat_policy::{Intent, Span};
use sekat_yaml::{Node, Value};

use super::reader::Reader;
use super::sections::{class_set, port_number, protocol};
use super::{MALFORMED, NOT_OUTSIDE, values};

pub(super) const EXTERNAL: [&str; 7] = ["name", "cidrs", "except", "pods", "ports", "clients", "classes"];
pub(super) const PODS: [&str; 2] = ["namespace", "selector"];
pub(super) const EXTERNAL_PORT: [&str; 2] = ["port", "protocol"];
pub(super) const PLATFORM: [&str; 3] = ["dns", "telemetry", "probes"];
pub(super) const ENDPOINT: [&str; 3] = ["namespace", "selector", "ports"];

/// The port of DNS (RFC 1035).
const DNS: u16 = 53;

/// Where clouds tell a machine, and whatever runs on it and asks, who it is and which credentials it has: link-local
/// addresses almost everywhere, and those of Amazon (IPv6), Google (IPv6), Alibaba and Azure.
const METADATA: [&str; 6] =
    ["169.254.0.0/16", "fe80::/10", "fd00:ec2::/32", "fd20:ce::254/128", "100.100.100.200/32", "168.63.129.16/32"];

/// What lies outside. `own` are the ranges of the cluster's own addresses, and what each is for.
pub(super) fn externals(
    reader: &mut Reader<'_>,
    node: Option<&Node>,
    intent: &Intent,
    own: &[(String, &'static str)],
) -> Vec<External> {
    let mut externals = Vec::new();
    for item in reader.items(node) {
        if !reader.is_section(item, &EXTERNAL) {
            continue;
        }
        let Some(name) = reader.required_checked(item, "name", values::name) else { continue };
        if item.get("pods").is_none() {
            reader.required(item, "cidrs");
        }
        let (cidrs, except) = addresses(reader, item, own);
        let clients = reader.set(item.get("clients"), values::name);
        let classes = item.get("classes").map(|node| class_set(reader, Some(node), intent));
        externals.push(External {
            cidrs,
            except,
            pods: pods(reader, item.get("pods"), &name, intent),
            ports: port_list(reader, item.get("ports")),
            classes: classes.unwrap_or_else(|| asked_of(intent, &clients)),
            clients,
            name,
            span: item.span(reader.file),
        });
    }
    externals
}

/// What clients may tell the outside if nobody says it: all that they are asked to do.
fn asked_of(intent: &Intent, clients: &BTreeSet<String>) -> Classes {
    intent.methods.iter().filter(|it| clients.contains(&it.workload)).flat_map(|it| it.request.clone()).collect()
}

/// The ranges of an external and its exceptions.
fn addresses(reader: &mut Reader<'_>, item: &Node, own: &[(String, &'static str)]) -> (Vec<String>, Vec<String>) {
    let cidrs = reader.texts(item.get("cidrs"), values::cidr);
    let mut except = Vec::new();
    for (hole, span) in reader.texts(item.get("except"), values::cidr) {
        if cidrs.iter().any(|(cidr, _)| values::contains(cidr, &hole)) {
            except.push(hole);
        } else {
            let message = format!("`{hole}` lies in none of the `cidrs`, so that nothing is excepted");
            reader.report(MALFORMED, span, message, "correct it, or leave it out");
        }
    }
    let metadata = METADATA.iter().map(|range| (*range, "where machines are told their credentials"));
    let inside: Vec<_> = own.iter().map(|(range, what)| (range.as_str(), *what)).chain(metadata).collect();
    for (cidr, span) in &cidrs {
        for (range, what) in &inside {
            let shared = values::overlap(cidr, range).filter(|shared| !values::is_covered(shared, &except));
            if shared.is_some() {
                let message = format!("`{cidr}` reaches {range}, {what}");
                reader.report(NOT_OUTSIDE, span.clone(), message, format!("narrow it, or put {range} into `except`"));
            }
        }
    }
    (cidrs.into_iter().map(|(cidr, _)| cidr).collect(), except)
}

/// Pods that stand for something outside, such as a provider's simulator. In a namespace of the mesh they would be under
/// its policies, and whose they are would have to be stated.
fn pods(reader: &mut Reader<'_>, node: Option<&Node>, external: &str, intent: &Intent) -> Vec<Place> {
    let mut pods = Vec::new();
    for item in reader.items(node) {
        if !reader.is_section(item, &PODS) {
            continue;
        }
        let namespace = reader.required_checked(item, "namespace", values::dns_label);
        let selector = reader.required(item, "selector");
        let labels = reader.labels(selector);
        let Some(namespace) = namespace else { continue };
        if is_of_mesh(intent, &namespace) {
            let span: Span = item.span(reader.file);
            let message = format!("the pods of `{external}` are in namespace `{namespace}`, which is the mesh's");
            reader.report(NOT_OUTSIDE, span, message, "state a service or a store, or name another namespace");
        } else {
            pods.push(Place { namespace, service_account: String::new(), labels });
        }
    }
    pods
}

fn is_of_mesh(intent: &Intent, namespace: &str) -> bool {
    let workloads = intent.workloads.iter().map(|workload| &workload.place);
    workloads.chain(intent.stores.iter().map(|store| &store.place)).any(|place| place.namespace == namespace)
}

/// Numbers, which mean TCP, or `{port, protocol}`.
fn port_list(reader: &mut Reader<'_>, node: Option<&Node>) -> Vec<(Protocol, u16)> {
    let mut ports = Vec::new();
    for item in reader.items(node) {
        let (number, protocol) = match &item.value {
            Value::Map(_) => {
                reader.is_section(item, &EXTERNAL_PORT);
                (reader.required(item, "port"), protocol(reader, item.get("protocol")))
            }
            _ => (Some(item), Some(Protocol::Tcp)),
        };
        let number = number.and_then(|node| port_number(reader, node));
        if let (Some(number), Some(protocol)) = (number, protocol) {
            ports.push((protocol, number));
        }
    }
    ports
}

pub(super) fn platform(reader: &mut Reader<'_>, node: Option<&Node>) -> Platform {
    let Some(node) = node else { return Platform::default() };
    if !reader.is_section(node, &PLATFORM) {
        return Platform::default();
    }
    let dns = node.get("dns").and_then(|node| dns(reader, node));
    let telemetry = reader.items(node.get("telemetry"));
    let telemetry = telemetry.iter().filter_map(|item| endpoint(reader, item)).collect();
    let probes = reader.texts(node.get("probes"), values::cidr).into_iter().map(|(text, _)| text).collect();
    Platform { dns, telemetry, probes, pod_ranges: Vec::new() }
}

/// `namespace/name`, where the name is that of the label `k8s-app`, as cluster DNS has it everywhere; or in full.
fn dns(reader: &mut Reader<'_>, node: &Node) -> Option<Endpoint> {
    let Value::Text(text) = &node.value else { return endpoint(reader, node) };
    let parts = text.split_once('/').filter(|(namespace, name)| {
        values::dns_label(namespace).is_ok() && values::label_value(name).is_ok() && !name.is_empty()
    });
    let Some((namespace, name)) = parts else {
        let help = "write namespace/name, for instance kube-system/kube-dns, or `{namespace, selector, ports}`";
        reader.report(MALFORMED, node.span(reader.file), format!("`{text}` names no resolver"), help);
        return None;
    };
    let labels = BTreeMap::from([("k8s-app".to_owned(), name.to_owned())]);
    let place = Place { namespace: namespace.to_owned(), service_account: String::new(), labels };
    Some(Endpoint { place, ports: vec![(Protocol::Udp, DNS), (Protocol::Tcp, DNS)] })
}

fn endpoint(reader: &mut Reader<'_>, node: &Node) -> Option<Endpoint> {
    if !reader.is_section(node, &ENDPOINT) {
        return None;
    }
    let namespace = reader.required_checked(node, "namespace", values::dns_label);
    let selector = reader.required(node, "selector");
    let labels = reader.labels(selector);
    let ports = reader.required(node, "ports").map(|ports| port_list(reader, Some(ports)));
    let place = Place { namespace: namespace?, service_account: String::new(), labels };
    Some(Endpoint { place, ports: ports? })
}
