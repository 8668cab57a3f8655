//! One NetworkPolicy, with the defaults of the API server and its refusals: a policy that it would refuse is not
//! deployed, and a field that it would drop does not limit anybody, so both are errors here.

use std::collections::BTreeSet;

use sekat_policy::Diagnostic;
use sekat_policy::intent::Protocol;
use sekat_yaml::{Node, Value};

use crate::Cidr;
use crate::cluster::{Peer, Policy, PortRange, Requirement, Rule, Selector, Test};
use crate::read::{INVALID_POLICY, labels, port_number, protocol};

/// Reads the policy. Parts with errors are left out of it.
pub(crate) fn policy(file: &str, node: &Node, namespace: String, name: String) -> (Policy, Vec<Diagnostic>) {
    let mut reader = Reader { file, found: Vec::new() };
    let mut policy =
        Policy { namespace, name, selects: Selector::default(), ingress: None, egress: None, span: node.span(file) };
    if let Some(spec) = reader.or_report(node.required(file, "spec")) {
        reader.known(spec, &["podSelector", "policyTypes", "ingress", "egress"]);
        policy.selects = reader.selector(spec.get("podSelector"));
        let (ingress, egress) = reader.directions(spec);
        policy.ingress = ingress.then(|| reader.rules(spec.get("ingress"), "from"));
        policy.egress = egress.then(|| reader.rules(spec.get("egress"), "to"));
    }
    (policy, reader.found)
}

struct Reader<'a> {
    file: &'a str,
    found: Vec<Diagnostic>,
}

impl Reader<'_> {
    fn or_report<T>(&mut self, read: Result<T, Diagnostic>) -> Option<T> {
        read.map_err(|error| self.found.push(error)).ok()
    }

    fn invalid(&mut self, node: &Node, message: impl Into<String>, help: &str) {
        self.found.push(Diagnostic::error(INVALID_POLICY, node.span(self.file), message, help));
    }

    /// A misspelt field is dropped by the API server, which leaves a wider rule than the one that was meant.
    fn known(&mut self, node: &Node, fields: &[&str]) {
        let Some(entries) = self.or_report(node.map(self.file)) else { return };
        for (key, _) in entries.iter().filter(|(key, _)| !fields.contains(&key.name.as_str())) {
            let message = format!("`{}` is no field here: the API server drops it", key.name);
            let help = format!("the fields are {}", fields.join(", "));
            self.found.push(Diagnostic::error(INVALID_POLICY, key.span(self.file), message, help));
        }
    }

    fn list<'n>(&mut self, node: Option<&'n Node>) -> &'n [Node] {
        node.and_then(|node| self.or_report(node.list(self.file))).unwrap_or_default()
    }

    /// Whether it isolates for ingress and for egress. Not stated, it always does for ingress, and for egress if it
    /// has a rule for it: `egress: []` alone is no rule.
    fn directions(&mut self, spec: &Node) -> (bool, bool) {
        let types = self.list(spec.get("policyTypes"));
        if types.is_empty() {
            return (true, !self.list(spec.get("egress")).is_empty());
        }
        let (mut ingress, mut egress) = (false, false);
        for node in types {
            match self.or_report(node.text(self.file)) {
                Some("Ingress") => ingress = true,
                Some("Egress") => egress = true,
                Some(_) => self.invalid(node, "no such policy type", "write Ingress or Egress"),
                None => {}
            }
        }
        (ingress, egress)
    }

    fn rules(&mut self, node: Option<&Node>, peers: &str) -> Vec<Rule> {
        let rules = self.list(node);
        rules.iter().map(|rule| self.rule(rule, peers)).collect()
    }

    fn rule(&mut self, node: &Node, peers: &str) -> Rule {
        self.known(node, &[peers, "ports"]);
        let allowed = self.list(node.get(peers));
        let ports = self.list(node.get("ports"));
        // An empty list is no list: everybody, all ports.
        let some = |list: &[Node]| !list.is_empty();
        Rule {
            peers: some(allowed).then(|| allowed.iter().filter_map(|peer| self.peer(peer)).collect()),
            ports: some(ports).then(|| ports.iter().filter_map(|port| self.port(port)).collect()),
            span: node.span(self.file),
        }
    }

    fn peer(&mut self, node: &Node) -> Option<Peer> {
        self.known(node, &["podSelector", "namespaceSelector", "ipBlock"]);
        let (pods, namespaces) = (node.get("podSelector"), node.get("namespaceSelector"));
        match (node.get("ipBlock"), pods.is_some() || namespaces.is_some()) {
            (Some(block), false) => self.block(block),
            (Some(_), true) => {
                self.invalid(node, "ipBlock and a selector in one peer", "make them two peers");
                None
            }
            (None, true) => Some(Peer::Pods {
                namespaces: namespaces.map(|selector| self.selector(Some(selector))),
                pods: self.selector(pods),
            }),
            (None, false) => {
                self.invalid(node, "a peer without selector or ipBlock", "for every pod, write namespaceSelector: {}");
                None
            }
        }
    }

    fn block(&mut self, node: &Node) -> Option<Peer> {
        self.known(node, &["cidr", "except"]);
        let cidr = self.or_report(node.required(self.file, "cidr")).and_then(|node| self.cidr(node))?;
        let mut except = Vec::new();
        for part in self.list(node.get("except")) {
            let Some(block) = self.cidr(part) else { continue };
            if cidr.strictly_covers(&block) {
                except.push(block);
            } else {
                self.invalid(part, format!("{block} is not a part of {cidr}"), "except takes away from cidr only");
            }
        }
        Some(Peer::Block { cidr, except })
    }

    fn cidr(&mut self, node: &Node) -> Option<Cidr> {
        let text = self.or_report(node.text(self.file))?;
        let cidr = text.parse().ok();
        if cidr.is_none() {
            self.invalid(node, format!("`{text}` is no block of addresses"), "write it like 192.0.2.0/24");
        }
        cidr
    }

    fn port(&mut self, node: &Node) -> Option<PortRange> {
        self.known(node, &["protocol", "port", "endPort"]);
        let protocol =
            node.get("protocol").map_or(Some(Protocol::Tcp), |node| self.or_report(protocol(self.file, node)))?;
        let (port, end) = (node.get("port"), node.get("endPort"));
        match (port, end) {
            (None, None) => Some(PortRange::All(protocol)),
            (Some(Node { value: Value::Text(name), .. }), None) if name.bytes().any(|it| it.is_ascii_alphabetic()) => {
                Some(PortRange::Named(protocol, name.clone()))
            }
            (Some(Node { value: Value::Text(_), .. }) | None, Some(end)) => {
                self.invalid(end, "endPort without a port number", "give `port` as the first number of the range");
                None
            }
            (Some(first), end) => {
                let first = self.or_report(port_number(self.file, first))?;
                let last = end.map_or(Some(first), |end| self.or_report(port_number(self.file, end)))?;
                if last < first {
                    self.invalid(node, format!("the range {first}-{last} ends before it begins"), "raise endPort");
                    return None;
                }
                Some(PortRange::Numbers(protocol, first, last))
            }
        }
    }

    fn selector(&mut self, node: Option<&Node>) -> Selector {
        let Some(node) = node else { return Selector::default() };
        self.known(node, &["matchLabels", "matchExpressions"]);
        let labels = self.or_report(labels(self.file, node.get("matchLabels"))).unwrap_or_default();
        let one = |(key, value)| Requirement { key, test: Test::In(BTreeSet::from([value])) };
        let mut requirements: Vec<Requirement> = labels.into_iter().map(one).collect();
        let expressions = self.list(node.get("matchExpressions"));
        requirements.extend(expressions.iter().filter_map(|expression| self.requirement(expression)));
        Selector(requirements)
    }

    fn requirement(&mut self, node: &Node) -> Option<Requirement> {
        self.known(node, &["key", "operator", "values"]);
        let key = self.or_report(node.required(self.file, "key").and_then(|key| key.text(self.file)))?.to_owned();
        let operator = self.or_report(node.required(self.file, "operator").and_then(|it| it.text(self.file)))?;
        let values = self.list(node.get("values"));
        let values: Option<BTreeSet<String>> =
            values.iter().map(|value| self.or_report(value.text(self.file)).map(str::to_owned)).collect();
        let values = values?;
        let test = match (operator, values.is_empty()) {
            ("In", false) => Test::In(values),
            ("NotIn", false) => Test::NotIn(values),
            ("Exists", true) => Test::Exists,
            ("DoesNotExist", true) => Test::DoesNotExist,
            ("In" | "NotIn", true) => {
                self.invalid(node, format!("{operator} without values"), "give at least one value");
                return None;
            }
            ("Exists" | "DoesNotExist", false) => {
                self.invalid(node, format!("{operator} with values"), "leave the values out");
                return None;
            }
            _ => {
                self.invalid(node, format!("no operator `{operator}`"), "write In, NotIn, Exists or DoesNotExist");
                return None;
            }
        };
        Some(Requirement { key, test })
    }
}
