//! ClusterNetworkPolicy, tier Admin: what no owner of a namespace can open. Between domains, and before stores, what
//! an edge needs is passed on to NetworkPolicy and everything else is denied. Nothing is ever accepted here, because
//! an `Accept` would overrule the policies below it.

use std::collections::BTreeSet;

use sekat_policy::intent::{Audience, Place, Port, Protocol};
use sekat_policy::{Diagnostic, Span};

use super::{NAMESPACE_NAME, file, match_labels, one, too_many};
use crate::File;
use crate::document::{Document, Value, map, object};
use crate::plan::{Host, Plan};

const API: &str = "policy.networking.k8s.io/v1alpha2";
/// The API takes so many rules in a policy and so many peers in a rule.
const RULES_MAX: usize = 25;
const PEERS_MAX: usize = 25;
/// What is passed on is looked at before what is denied. Policies of one priority have different subjects, or do the
/// same, so that their order cannot matter.
const PASS_PRIORITY: u16 = 100;
const DENY_PRIORITY: u16 = 200;

pub(super) fn emit(plan: &Plan<'_>) -> (Vec<File>, Vec<Diagnostic>) {
    let mut findings = Vec::new();
    let mut documents = Vec::new();
    for host in &plan.hosts {
        let strangers = strangers(plan, host);
        if strangers.is_empty() {
            continue;
        }
        if strangers.len() > RULES_MAX * PEERS_MAX {
            let message = format!("`{}` would be closed to more than {} peers", host.name, RULES_MAX * PEERS_MAX);
            findings.push(too_many(&Span::default(), message, "give each domain namespaces of its own"));
        }
        let passes: Vec<Value> = passes(host);
        for (number, rules) in passes.chunks(RULES_MAX).enumerate() {
            let name = format!("sekat.{}.pass-{number}", host.name);
            let comment = format!("What may reach {}: NetworkPolicy has the last word.", host.name);
            documents.push(policy(&comment, &name, host.place, PASS_PRIORITY, rules));
        }
        let denials: Vec<Value> = strangers.chunks(PEERS_MAX).map(|peers| rule("Deny", peers.to_vec(), None)).collect();
        let comment = format!("Nobody else of these reaches {}, whatever a NetworkPolicy says.", host.name);
        documents.push(policy(&comment, &format!("sekat.{}.deny", host.name), host.place, DENY_PRIORITY, &denials));
    }
    let about = "Walls between domains and before stores, which owners of namespaces cannot open.\n\
                 They come beside NetworkPolicy, which decides what these pass on.";
    (vec![file("walls", about, &documents)], findings)
}

fn policy(comment: &str, name: &str, subject: &Place, priority: u16, rules: &[Value]) -> Document {
    let spec = map([
        ("tier", "Admin".into()),
        ("priority", priority.into()),
        ("subject", pods(subject)),
        ("ingress", Value::List(rules.to_vec())),
    ]);
    object(comment, API, "ClusterNetworkPolicy", name, "", spec)
}

fn rule(action: &str, from: Vec<Value>, port: Option<&Port>) -> Value {
    let mut rule = vec![("action".to_owned(), action.into()), ("from".to_owned(), Value::List(from))];
    if let Some(port) = port {
        let protocol = match port.protocol {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
            Protocol::Sctp => "sctp",
        };
        let at = map([("destinationPort", map([("number", port.number.into())]))]);
        rule.push(("protocols".to_owned(), one(map([(protocol, at)]))));
    }
    Value::Map(rule)
}

fn pods(place: &Place) -> Value {
    let namespace = map([(NAMESPACE_NAME, place.namespace.as_str().into())]);
    let pod = map([("namespaceSelector", map([("matchLabels", namespace)])), ("podSelector", match_labels(place))]);
    map([("pods", pod)])
}

/// The connections to a host that the wall before it has to let through. Probes are none of them: they come from
/// machines, which no peer of this API names and no wall stops.
fn passes(host: &Host<'_>) -> Vec<Value> {
    let mut rules = Vec::new();
    for listener in &host.listeners {
        let is_foreign = |domain: &str| host.domain.is_none_or(|own| own.name != domain);
        let foreign = listener.admitted.iter().filter(|admitted| is_foreign(&admitted.caller.domain));
        let peers: Vec<Value> = foreign.map(|admitted| pods(&admitted.caller.place)).collect();
        rules.extend(peers.chunks(PEERS_MAX).map(|peers| rule("Pass", peers.to_vec(), Some(listener.port))));
        if listener.port.audience == Audience::Public {
            let everybody = map([("namespaces", map([]))]);
            rules.push(rule("Pass", vec![everybody], Some(listener.port)));
        }
    }
    rules
}

/// Those whom a host is closed to: whole namespaces where they have one owner, single workloads where not.
fn strangers(plan: &Plan<'_>, host: &Host<'_>) -> Vec<Value> {
    let mut whole: BTreeSet<&str> = BTreeSet::new();
    let mut single = Vec::new();
    for namespace in plan.namespaces() {
        let here = plan.workloads_of(namespace);
        let domains: BTreeSet<&str> = here.iter().map(|workload| workload.domain.as_str()).collect();
        let is_stranger = |domain: &str| host.domain.is_none_or(|own| own.name != domain);
        if domains.len() == 1 && domains.iter().all(|domain| is_stranger(domain)) {
            whole.insert(namespace);
        } else {
            let strangers = here.iter().filter(|workload| is_stranger(&workload.domain));
            single.extend(strangers.map(|workload| pods(&workload.place)));
        }
    }
    namespaces(&whole).into_iter().chain(single).collect()
}

/// Namespaces as one peer, if there are any.
fn namespaces(names: &BTreeSet<&str>) -> Option<Value> {
    let names_them =
        map([("key", NAMESPACE_NAME.into()), ("operator", "In".into()), ("values", names.iter().copied().collect())]);
    (!names.is_empty()).then(|| map([("namespaces", map([("matchExpressions", one(names_them))]))]))
}
