//! `NetworkPolicy` of `networking.k8s.io/v1`, with the defaults that the API server would fill in.

use sekat_policy::Diagnostic;
use sekat_policy::intent::Protocol;
use sekat_yaml::{Node, Value};

use super::{
    Action, Head, Namespaces, Peer, Pods, Policy, Ports, Rule, Tier, invalid, only, port, port_name, protocol, range,
    selector,
};
use crate::addresses::Block;
use crate::ports::PortSet;

pub(super) fn read(head: &Head, node: &Node, file: &str) -> Result<Policy, Diagnostic> {
    let spec = node.required(file, "spec")?;
    only(spec, file, &["podSelector", "policyTypes", "ingress", "egress"])?;
    // The server requires the field from 1.0 on and later versions default it; both mean: every pod.
    let pods = spec.get("podSelector").map(|node| selector(node, file)).transpose()?.unwrap_or_default();
    let rules = |key, peers| {
        let rules = spec.get(key).map_or(Ok(&[][..]), |node| node.list(file))?;
        rules.iter().map(|node| rule(head, node, peers, file)).collect::<Result<Vec<_>, _>>()
    };
    let (ingress, egress) = (rules("ingress", "from")?, rules("egress", "to")?);
    // Rules of a direction that is not named have no effect.
    let (decides_ingress, decides_egress) = match types(spec, file)? {
        (false, false) => (true, !egress.is_empty()),
        stated => stated,
    };
    Ok(Policy {
        kind: "NetworkPolicy",
        name: head.name.clone(),
        namespace: Some(head.namespace.clone()),
        tier: Tier::Namespaced,
        priority: 0,
        subject: Pods { namespaces: Namespaces::Named(head.namespace.clone()), pods },
        ingress: decides_ingress.then_some(ingress),
        egress: decides_egress.then_some(egress),
        span: head.span.clone(),
    })
}

/// Whether ingress and egress are named.
fn types(spec: &Node, file: &str) -> Result<(bool, bool), Diagnostic> {
    let (mut ingress, mut egress) = (false, false);
    for node in spec.get("policyTypes").map_or(Ok(&[][..]), |node| node.list(file))? {
        match node.text(file)? {
            "Ingress" => ingress = true,
            "Egress" => egress = true,
            other => {
                return Err(invalid(node, file, format!("`{other}` is no policy type"), "write Ingress or Egress"));
            }
        }
    }
    Ok((ingress, egress))
}

fn rule(head: &Head, node: &Node, peers: &str, file: &str) -> Result<Rule, Diagnostic> {
    only(node, file, &[peers, "ports"])?;
    // An empty list is the same as none: it does not restrict.
    let items = |key| node.get(key).map_or(Ok(&[][..]), |node| node.list(file));
    let peers = items(peers)?.iter().map(|node| peer(head, node, file)).collect::<Result<Vec<_>, _>>()?;
    let ports = items("ports")?.iter().map(|node| ports(node, file)).collect::<Result<Vec<_>, _>>()?;
    Ok(Rule {
        action: Action::Accept,
        peers: (!peers.is_empty()).then_some(peers),
        ports: (!ports.is_empty()).then_some(ports),
        span: node.span(file),
    })
}

fn peer(head: &Head, node: &Node, file: &str) -> Result<Peer, Diagnostic> {
    only(node, file, &["podSelector", "namespaceSelector", "ipBlock"])?;
    let read = |key| node.get(key).map(|node| selector(node, file)).transpose();
    let (pods, namespaces) = (read("podSelector")?, read("namespaceSelector")?);
    let Some(block) = node.get("ipBlock") else {
        let namespaces = match (&pods, namespaces) {
            (None, None) => {
                let help = "name podSelector, namespaceSelector or ipBlock; {} would be ambiguous";
                return Err(invalid(node, file, "a peer that names nobody", help));
            }
            (_, Some(namespaces)) => Namespaces::Labelled(namespaces),
            (Some(_), None) => Namespaces::Named(head.namespace.clone()),
        };
        return Ok(Peer::Pods(Pods { namespaces, pods: pods.unwrap_or_default() }));
    };
    if pods.is_some() || namespaces.is_some() {
        return Err(invalid(node, file, "a peer with a selector and an ipBlock", "make two peers of it"));
    }
    only(block, file, &["cidr", "except"])?;
    let cidr = range(block.required(file, "cidr")?, file)?;
    let mut except = Vec::new();
    for node in block.get("except").map_or(Ok(&[][..]), |node| node.list(file))? {
        let cut = range(node, file)?;
        if !cut.is_within(cidr) {
            return Err(invalid(node, file, "an exception from what is not included", "name a part of `cidr`"));
        }
        except.push(cut);
    }
    Ok(Peer::Outside(Block { cidr, except }))
}

fn ports(node: &Node, file: &str) -> Result<Ports, Diagnostic> {
    only(node, file, &["port", "endPort", "protocol"])?;
    let protocol: Protocol = protocol(node.get("protocol"), file)?;
    let end = node.get("endPort").map(|end| port(end, file).map(|number| (end, number))).transpose()?;
    match (node.get("port"), end) {
        (None, None) => Ok(Ports::Numbers(PortSet::of(protocol))),
        (None, Some((end, _))) => Err(invalid(end, file, "endPort without port", "add `port`")),
        (Some(node), end) if matches!(node.value, Value::Text(_)) => match end {
            None => Ok(Ports::Named(Some(protocol), port_name(node, file)?)),
            Some((end, _)) => Err(invalid(end, file, "endPort after a named port", "write `port` as a number")),
        },
        (Some(first), end) => {
            let number = port(first, file)?;
            let last = end.as_ref().map_or(number, |(_, last)| *last);
            if last < number {
                return Err(invalid(first, file, "endPort is below port", "swap them"));
            }
            Ok(Ports::Numbers(PortSet::range(protocol, number, last)))
        }
    }
}
