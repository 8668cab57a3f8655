//! Who there is: classes, domains, services and stores.

use std::collections::BTreeMap;

use sekat_policy::Intent;
use sekat_policy::intent::{Audience, Classes, Domain, Place, Port, Protocol, Store, Workload};
use sekat_yaml::{Node, Value};

use super::contracts::Claim;
use super::reader::Reader;
use super::{MALFORMED, values};
use crate::suggest::did_you_mean;

pub(super) const CLASS: [&str; 1] = ["children"];
pub(super) const DOMAIN: [&str; 2] = ["trustDomain", "may"];
pub(super) const SERVICE: [&str; 8] =
    ["name", "domain", "namespace", "serviceAccount", "selector", "ports", "identity", "proto"];
pub(super) const SERVED: [&str; 2] = ["service", "port"];
pub(super) const STORE: [&str; 7] = ["name", "classes", "namespace", "serviceAccount", "selector", "ports", "clients"];
pub(super) const PORT: [&str; 3] = ["port", "protocol", "audience"];

/// Classes with what they imply directly. A child need not be stated apart from its parent.
pub(super) fn classes(reader: &mut Reader<'_>, node: Option<&Node>) -> BTreeMap<String, Classes> {
    let mut classes = BTreeMap::new();
    for (key, value) in reader.entries(node) {
        if let Err(help) = values::name(&key.name) {
            reader.report(MALFORMED, key.span(reader.file), format!("`{}` is no name of a class", key.name), help);
            continue;
        }
        let children = if reader.is_section(value, &CLASS) {
            reader.set(value.get("children"), values::name)
        } else {
            Classes::new()
        };
        for child in &children {
            classes.entry(child.clone()).or_insert_with(Classes::new);
        }
        classes.entry(key.name.clone()).or_insert_with(Classes::new).extend(children);
    }
    classes
}

/// Classes that a section states, with all that they imply.
pub(super) fn class_set(reader: &mut Reader<'_>, node: Option<&Node>, intent: &Intent) -> Classes {
    intent.closed(&reader.set(node, values::name))
}

pub(super) fn domains(reader: &mut Reader<'_>, node: Option<&Node>, intent: &Intent) -> Vec<Domain> {
    let mut domains = Vec::new();
    for (key, value) in reader.entries(node) {
        if let Err(help) = values::name(&key.name) {
            reader.report(MALFORMED, key.span(reader.file), format!("`{}` is no name of a domain", key.name), help);
            continue;
        }
        if reader.is_section(value, &DOMAIN) {
            let trust_domain = reader.required_checked(value, "trustDomain", values::trust_domain);
            let may_hold = class_set(reader, value.get("may"), intent);
            domains.push(Domain {
                name: key.name.clone(),
                trust_domain: trust_domain.unwrap_or_default(),
                may_hold,
                span: key.span(reader.file),
            });
        }
    }
    domains
}

/// The workloads, and which gRPC services each says that it serves.
pub(super) fn services(reader: &mut Reader<'_>, node: Option<&Node>, intent: &Intent) -> (Vec<Workload>, Vec<Claim>) {
    let (mut workloads, mut claims) = (Vec::new(), Vec::new());
    for item in reader.items(node) {
        if !reader.is_section(item, &SERVICE) {
            continue;
        }
        let Some(name) = reader.required_checked(item, "name", values::name) else { continue };
        // A service without a domain is a finding of its own, SK0312.
        let domain = reader.checked(item.get("domain"), values::name).unwrap_or_default();
        let place = place(reader, item, true);
        let ports = ports(reader, item.get("ports"));
        let stated = reader.checked(item.get("identity"), values::any);
        let identity = stated.or_else(|| default_identity(intent, &domain, &place)).unwrap_or_default();
        claims.extend(served(reader, item.get("proto"), &name, &ports));
        workloads.push(Workload { name, domain, identity, place, ports, span: item.span(reader.file) });
    }
    (workloads, claims)
}

/// As service meshes derive it from a service account.
fn default_identity(intent: &Intent, domain: &str, place: &Place) -> Option<String> {
    let Place { namespace, service_account, .. } = place;
    let trust_domain = &intent.domain(domain)?.trust_domain;
    let is_known = ![trust_domain, namespace, service_account].iter().any(|part| part.is_empty());
    is_known.then(|| format!("spiffe://{trust_domain}/ns/{namespace}/sa/{service_account}"))
}

fn place(reader: &mut Reader<'_>, item: &Node, has_identity: bool) -> Place {
    let namespace = reader.required_checked(item, "namespace", values::dns_label).unwrap_or_default();
    let service_account = if has_identity {
        reader.required_checked(item, "serviceAccount", values::dns_name)
    } else {
        reader.checked(item.get("serviceAccount"), values::dns_name)
    };
    let selector = reader.required(item, "selector");
    Place { namespace, service_account: service_account.unwrap_or_default(), labels: reader.labels(selector) }
}

fn ports(reader: &mut Reader<'_>, node: Option<&Node>) -> Vec<Port> {
    let mut ports = Vec::new();
    for (key, value) in reader.entries(node) {
        if let Err(help) = values::port_name(&key.name) {
            reader.report(MALFORMED, key.span(reader.file), format!("`{}` is no name of a port", key.name), help);
            continue;
        }
        let (number, protocol, audience) = match &value.value {
            Value::Map(_) => {
                reader.is_section(value, &PORT);
                let number = reader.required(value, "port");
                (number, protocol(reader, value.get("protocol")), audience(reader, value.get("audience")))
            }
            _ => (Some(value), Some(Protocol::Tcp), Some(Audience::Callers)),
        };
        let number = number.and_then(|node| port_number(reader, node));
        if let (Some(number), Some(protocol), Some(audience)) = (number, protocol, audience) {
            ports.push(Port { name: key.name.clone(), number, protocol, audience });
        }
    }
    ports
}

pub(super) fn port_number(reader: &mut Reader<'_>, node: &Node) -> Option<u16> {
    let number = reader.take(node.int(reader.file))?;
    let port = u16::try_from(number).ok().filter(|port| *port > 0);
    if port.is_none() {
        reader.report(MALFORMED, node.span(reader.file), format!("{number} is no port"), "write 1 to 65535");
    }
    port
}

pub(super) fn protocol(reader: &mut Reader<'_>, node: Option<&Node>) -> Option<Protocol> {
    one_of(reader, node, &Protocol::ALL.map(|it| (it.name(), it)))
}

fn audience(reader: &mut Reader<'_>, node: Option<&Node>) -> Option<Audience> {
    let all = [("callers", Audience::Callers), ("public", Audience::Public), ("probes", Audience::Probes)];
    one_of(reader, node, &all)
}

/// One of a few words; the first if nothing is said.
fn one_of<T: Copy>(reader: &mut Reader<'_>, node: Option<&Node>, words: &[(&str, T)]) -> Option<T> {
    let Some(node) = node else { return words.first().map(|(_, value)| *value) };
    let text = reader.text(Some(node))?;
    let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
    if found.is_none() {
        let known: Vec<_> = words.iter().map(|(word, _)| *word).collect();
        let message = format!("`{text}` cannot stand here{}", did_you_mean(&text, known.iter().copied()));
        reader.report(MALFORMED, node.span(reader.file), message, format!("write one of {}", known.join(", ")));
    }
    found
}

/// What a service says that it serves: names, or names with the port for those with several ports.
fn served(reader: &mut Reader<'_>, node: Option<&Node>, workload: &str, ports: &[Port]) -> Vec<Claim> {
    let for_callers: Vec<_> = ports.iter().filter(|port| port.audience == Audience::Callers).collect();
    let mut claims = Vec::new();
    for item in reader.items(node) {
        let (name, port) = match &item.value {
            Value::Map(_) => {
                reader.is_section(item, &SERVED);
                (reader.required(item, "service"), reader.checked(item.get("port"), values::port_name))
            }
            _ => (Some(item), None),
        };
        let Some(service) = reader.checked(name, values::proto_name) else { continue };
        let span = item.span(reader.file);
        let port = match (port, for_callers.as_slice()) {
            (Some(name), _) => ports.iter().find(|port| port.name == name).map(|port| port.name.clone()),
            (None, [only]) => Some(only.name.clone()),
            (None, _) => None,
        };
        if port.is_none() {
            let message = format!("`{service}` is served on no port of `{workload}`, or on one of several");
            let help = "state the port: `{service: package.Service, port: name}`, with a name of `ports`";
            reader.report(super::UNSERVED, span.clone(), message, help);
        }
        claims.push(Claim { service, workload: workload.to_owned(), port, span });
    }
    claims
}

pub(super) fn stores(reader: &mut Reader<'_>, node: Option<&Node>, intent: &Intent) -> Vec<Store> {
    let mut stores = Vec::new();
    for item in reader.items(node) {
        if !reader.is_section(item, &STORE) {
            continue;
        }
        let Some(name) = reader.required_checked(item, "name", values::name) else { continue };
        reader.required(item, "classes");
        let classes = class_set(reader, item.get("classes"), intent);
        let place = place(reader, item, false);
        let ports = ports(reader, item.get("ports"));
        let clients = reader.set(item.get("clients"), values::name);
        stores.push(Store { name, classes, place, ports, clients, span: item.span(reader.file) });
    }
    stores
}
