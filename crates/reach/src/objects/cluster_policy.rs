//! The cluster-wide policies of `policy.networking.k8s.io`: `ClusterNetworkPolicy` (v1alpha2) and the two that it
//! replaces, `AdminNetworkPolicy` and `BaselineAdminNetworkPolicy` (v1alpha1).

use sekat_policy::Diagnostic;
use sekat_policy::intent::Protocol;
use sekat_yaml::Node;

use super::{
    Action, Head, Namespaces, Peer, Pods, Policy, Ports, Rule, Tier, invalid, only, port, port_name, protocol, range,
    selector,
};
use crate::addresses::Block;
use crate::labels::Selector;
use crate::ports::PortSet;

/// How the three kinds spell the same things.
struct Dialect {
    kind: &'static str,
    accept: &'static str,
    ports: &'static str,
    may_pass: bool,
    fields: &'static [&'static str],
}

const CLUSTER: Dialect = Dialect {
    kind: "ClusterNetworkPolicy",
    accept: "Accept",
    ports: "protocols",
    may_pass: true,
    fields: &["tier", "priority", "subject", "ingress", "egress"],
};
const ADMIN: Dialect = Dialect {
    kind: "AdminNetworkPolicy",
    accept: "Allow",
    ports: "ports",
    may_pass: true,
    fields: &["priority", "subject", "ingress", "egress"],
};
const BASELINE: Dialect = Dialect {
    kind: "BaselineAdminNetworkPolicy",
    accept: "Allow",
    ports: "ports",
    may_pass: false,
    fields: &["subject", "ingress", "egress"],
};

pub(super) fn read(head: &Head, node: &Node, file: &str) -> Result<Policy, Diagnostic> {
    let dialect = match head.kind.as_str() {
        "ClusterNetworkPolicy" => &CLUSTER,
        "AdminNetworkPolicy" => &ADMIN,
        _ => &BASELINE,
    };
    let spec = node.required(file, "spec")?;
    only(spec, file, dialect.fields)?;
    let tier = match (dialect.kind, spec.get("tier")) {
        ("ClusterNetworkPolicy", _) => match spec.required(file, "tier")?.text(file)? {
            "Admin" => Tier::Admin,
            "Baseline" => Tier::Baseline,
            other => {
                let node = spec.required(file, "tier")?;
                return Err(invalid(node, file, format!("`{other}` is no tier"), "write Admin or Baseline"));
            }
        },
        ("AdminNetworkPolicy", _) => Tier::Admin,
        _ => Tier::Baseline,
    };
    let priority = match dialect.kind {
        "BaselineAdminNetworkPolicy" => 0,
        _ => {
            let node = spec.required(file, "priority")?;
            let priority = node.int(file)?;
            if !(0..=1000).contains(&priority) {
                return Err(invalid(node, file, format!("{priority} is no priority"), "write 0 to 1000"));
            }
            priority
        }
    };
    let rules = |key, peers| {
        let rules = spec.get(key).map_or(Ok(&[][..]), |node| node.list(file))?;
        let rules = rules.iter().map(|node| rule(dialect, node, peers, file)).collect::<Result<Vec<_>, _>>()?;
        Ok((!rules.is_empty()).then_some(rules))
    };
    Ok(Policy {
        kind: dialect.kind,
        name: head.name.clone(),
        namespace: None,
        tier,
        priority,
        subject: pods(spec.required(file, "subject")?, file)?,
        ingress: rules("ingress", "from")?,
        egress: rules("egress", "to")?,
        span: head.span.clone(),
    })
}

/// Exactly one of `namespaces` and `pods`.
fn pods(node: &Node, file: &str) -> Result<Pods, Diagnostic> {
    only(node, file, &["namespaces", "pods"])?;
    match (node.get("namespaces"), node.get("pods")) {
        (Some(namespaces), None) => {
            Ok(Pods { namespaces: Namespaces::Labelled(selector(namespaces, file)?), pods: Selector::default() })
        }
        (None, Some(pods)) => {
            only(pods, file, &["namespaceSelector", "podSelector"])?;
            // One that is left out takes everything, as an empty one does.
            let read = |key| pods.get(key).map_or_else(|| Ok(Selector::default()), |node| selector(node, file));
            Ok(Pods { namespaces: Namespaces::Labelled(read("namespaceSelector")?), pods: read("podSelector")? })
        }
        _ => Err(invalid(node, file, "neither or both of namespaces and pods", "name exactly one")),
    }
}

fn rule(dialect: &Dialect, node: &Node, peers: &str, file: &str) -> Result<Rule, Diagnostic> {
    only(node, file, &["name", "action", peers, dialect.ports])?;
    let wanted = node.required(file, "action")?;
    let action = match wanted.text(file)? {
        "Deny" => Action::Deny,
        "Pass" if dialect.may_pass => Action::Pass,
        text if text == dialect.accept => Action::Accept,
        other => {
            let help = format!("write {}, Deny{}", dialect.accept, if dialect.may_pass { " or Pass" } else { "" });
            return Err(invalid(wanted, file, format!("`{other}` is no action of a {}", dialect.kind), &help));
        }
    };
    let items = node.required(file, peers)?;
    let mut read = Vec::new();
    for node in items.list(file)? {
        peer(node, peers == "to", file, &mut read)?;
    }
    if read.is_empty() {
        return Err(invalid(items, file, "a rule without peers", "name at least one peer"));
    }
    let ports = node.get(dialect.ports).map_or(Ok(&[][..]), |node| node.list(file))?;
    let read_port = if dialect.ports == "protocols" { protocols } else { admin_ports };
    let ports = ports.iter().map(|node| read_port(node, file)).collect::<Result<Vec<_>, _>>()?;
    Ok(Rule { action, peers: Some(read), ports: (!ports.is_empty()).then_some(ports), span: node.span(file) })
}

fn peer(node: &Node, is_egress: bool, file: &str, read: &mut Vec<Peer>) -> Result<(), Diagnostic> {
    let entries = node.map(file)?;
    let [(key, value)] = entries else {
        return Err(invalid(node, file, "a peer must have exactly one field", "split it into one peer for each"));
    };
    match key.name.as_str() {
        "namespaces" | "pods" => read.push(Peer::Pods(pods(node, file)?)),
        "networks" if is_egress => {
            for network in value.list(file)? {
                read.push(Peer::Anywhere(Block { cidr: range(network, file)?, except: Vec::new() }));
            }
        }
        "nodes" if is_egress => {
            selector(value, file)?;
            read.push(Peer::Unresolved("addresses of nodes"));
        }
        "domainNames" if is_egress => read.push(Peer::Unresolved("addresses behind domain names")),
        other => {
            let message = format!("the peer `{other}` is not known here");
            return Err(invalid(value, file, message, "an implementation would fail closed; mend or remove it"));
        }
    }
    Ok(())
}

/// `protocols` of v1alpha2: one of `tcp`, `udp`, `sctp` and `destinationNamedPort`.
fn protocols(node: &Node, file: &str) -> Result<Ports, Diagnostic> {
    let entries = node.map(file)?;
    let [(key, value)] = entries else {
        return Err(invalid(node, file, "a protocol must have exactly one field", "split it"));
    };
    let protocol = match key.name.as_str() {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        "sctp" => Protocol::Sctp,
        "destinationNamedPort" => return Ok(Ports::Named(None, port_name(value, file)?)),
        other => {
            let help = "write tcp, udp, sctp or destinationNamedPort";
            return Err(invalid(value, file, format!("the protocol `{other}` is not known"), help));
        }
    };
    only(value, file, &["destinationPort"])?;
    let Some(wanted) = value.get("destinationPort") else { return Ok(Ports::Numbers(PortSet::of(protocol))) };
    only(wanted, file, &["number", "range"])?;
    match (wanted.get("number"), wanted.get("range")) {
        (Some(number), None) => Ok(Ports::Numbers(PortSet::one(protocol, port(number, file)?))),
        (None, Some(range)) => {
            only(range, file, &["start", "end"])?;
            span(range, protocol, file)
        }
        _ => Err(invalid(wanted, file, "neither or both of number and range", "name exactly one")),
    }
}

/// `ports` of v1alpha1: one of `portNumber`, `portRange` and `namedPort`.
fn admin_ports(node: &Node, file: &str) -> Result<Ports, Diagnostic> {
    let entries = node.map(file)?;
    let [(key, value)] = entries else {
        return Err(invalid(node, file, "a port must have exactly one field", "split it"));
    };
    match key.name.as_str() {
        "namedPort" => Ok(Ports::Named(None, port_name(value, file)?)),
        "portNumber" => {
            only(value, file, &["protocol", "port"])?;
            let protocol = protocol(value.get("protocol"), file)?;
            Ok(Ports::Numbers(PortSet::one(protocol, port(value.required(file, "port")?, file)?)))
        }
        "portRange" => {
            only(value, file, &["protocol", "start", "end"])?;
            span(value, protocol(value.get("protocol"), file)?, file)
        }
        other => {
            let help = "write portNumber, portRange or namedPort";
            Err(invalid(value, file, format!("the port `{other}` is not known"), help))
        }
    }
}

fn span(node: &Node, protocol: Protocol, file: &str) -> Result<Ports, Diagnostic> {
    let first = port(node.required(file, "start")?, file)?;
    let last = port(node.required(file, "end")?, file)?;
    if last < first {
        return Err(invalid(node, file, "the end is below the start", "swap them"));
    }
    Ok(Ports::Numbers(PortSet::range(protocol, first, last)))
}
