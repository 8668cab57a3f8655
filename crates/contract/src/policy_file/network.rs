//! What lies around the mesh: hosts outside, and the platform.

use std::collections::BTreeMap;

use sekat_policy::Intent;
use sekat_policy::intent::{Endpoint, External, Place, Platform, Protocol};
use sekat_yaml::{Node, Value};

use super::reader::Reader;
use super::sections::{class_set, port_number, protocol};
use super::{MALFORMED, values};

pub(super) const EXTERNAL: [&str; 6] = ["name", "cidrs", "except", "ports", "clients", "classes"];
pub(super) const EXTERNAL_PORT: [&str; 2] = ["port", "protocol"];
pub(super) const PLATFORM: [&str; 3] = ["dns", "telemetry", "probes"];
pub(super) const ENDPOINT: [&str; 3] = ["namespace", "selector", "ports"];

/// The port of DNS (RFC 1035).
const DNS: u16 = 53;

pub(super) fn externals(reader: &mut Reader<'_>, node: Option<&Node>, intent: &Intent) -> Vec<External> {
    let mut externals = Vec::new();
    for item in reader.items(node) {
        if !reader.is_section(item, &EXTERNAL) {
            continue;
        }
        let Some(name) = reader.required_checked(item, "name", values::name) else { continue };
        reader.required(item, "cidrs");
        let cidrs: Vec<_> = reader.texts(item.get("cidrs"), values::cidr).into_iter().map(|(text, _)| text).collect();
        let mut except = Vec::new();
        for (hole, span) in reader.texts(item.get("except"), values::cidr) {
            if cidrs.iter().any(|cidr| values::contains(cidr, &hole)) {
                except.push(hole);
            } else {
                let message = format!("`{hole}` lies in none of the `cidrs`, so that nothing is excepted");
                reader.report(MALFORMED, span, message, "correct it, or leave it out");
            }
        }
        externals.push(External {
            name,
            cidrs,
            except,
            ports: port_list(reader, item.get("ports")),
            clients: reader.set(item.get("clients"), values::name),
            classes: class_set(reader, item.get("classes"), intent),
            span: item.span(reader.file),
        });
    }
    externals
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
    Platform { dns, telemetry, probes }
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
