//! The engine's checker: one pair, one port at a time. Slow and short on purpose, it shares nothing but the objects.

use sekat_policy::intent::Protocol;

use crate::addresses::Range;
use crate::labels::Truth::{self, Maybe, No, Yes};
use crate::objects::*;
use crate::recheck::End;

/// A connection: whether it is allowed at both ends.
pub fn connects(cluster: &Cluster, pod_ranges: &[Range], from: End<'_>, to: End<'_>, port: (Protocol, u16)) -> Truth {
    let named = if let End::Pod(pod) = to { Some(pod) } else { None };
    let check = |at: End<'_>, other: End<'_>, is_ingress: bool| match at {
        End::Outside(_) => Yes,
        End::Pod(pod) => side(&Naive { cluster, pod_ranges, named, port, is_ingress, other }, pod),
    };
    let both = check(from, to, false).min(check(to, from, true));
    match (from, to) {
        (End::Pod(one), End::Pod(two)) if one.has_other_networks && two.has_other_networks => both.max(Maybe),
        (End::Outside(_), End::Pod(pod)) if published(cluster, pod, port) => both.max(Maybe),
        _ => both,
    }
}

struct Naive<'a> {
    cluster: &'a Cluster,
    pod_ranges: &'a [Range],
    named: Option<&'a Workload>,
    port: (Protocol, u16),
    is_ingress: bool,
    other: End<'a>,
}

fn side(naive: &Naive<'_>, pod: &Workload) -> Truth {
    let is_here = |names: &[String]| names.is_empty() || names.contains(&pod.namespace);
    if naive.cluster.foreign.iter().any(|one| one.effect == Effect::Policy && is_here(&one.namespaces)) {
        return Maybe;
    }
    if pod.is_host_network {
        return Yes;
    }
    let baseline = ordered(naive, pod, Tier::Baseline, Yes);
    let (mut isolated, mut allowed) = (No, No);
    for (policy, rules) in policies(naive, Tier::Namespaced) {
        let selects = takes(naive.cluster, &policy.subject, pod);
        isolated = isolated.max(selects);
        allowed = allowed.max(selects.min(rules.iter().map(|rule| matches(naive, rule)).max().unwrap_or(No)));
    }
    let namespaced = match isolated {
        No => baseline,
        Maybe => allowed.max(baseline).min(Maybe),
        Yes => allowed,
    };
    let decided = ordered(naive, pod, Tier::Admin, namespaced);
    if matches!(naive.other, End::Pod(other) if other.is_host_network) { decided.max(Maybe) } else { decided }
}

fn policies<'a>(naive: &Naive<'a>, tier: Tier) -> Vec<(&'a Policy, &'a Vec<Rule>)> {
    let rules = |policy: &'a Policy| if naive.is_ingress { &policy.ingress } else { &policy.egress }.as_ref();
    let mut all: Vec<_> = naive.cluster.policies.iter().filter(|policy| policy.tier == tier).collect();
    all.sort_by_key(|policy| policy.priority);
    all.into_iter().filter_map(|policy| Some((policy, rules(policy)?))).collect()
}

/// A tier in which the first match decides: all that may be the first, in any order of equal priorities, must agree.
fn ordered(naive: &Naive<'_>, pod: &Workload, tier: Tier, next: Truth) -> Truth {
    let mut rest = next;
    let all = policies(naive, tier);
    for equals in all.chunk_by(|left, right| left.0.priority == right.0.priority).rev() {
        let (mut outcomes, mut some_decides) = (Vec::new(), No);
        for (policy, rules) in equals {
            let selects = takes(naive.cluster, &policy.subject, pod);
            for rule in *rules {
                let matches = selects.min(matches(naive, rule));
                some_decides = some_decides.max(matches);
                match (matches, rule.action) {
                    (No, _) => continue,
                    (_, Action::Accept) => outcomes.push(Yes),
                    (_, Action::Deny) => outcomes.push(No),
                    (_, Action::Pass) => outcomes.push(next),
                }
                if matches == Yes {
                    break;
                }
            }
        }
        if some_decides != Yes {
            outcomes.push(rest);
        }
        let (least, most) = (outcomes.iter().min(), outcomes.iter().max());
        rest = if least == most { least.copied().unwrap_or(rest) } else { Maybe };
    }
    rest
}

fn matches(naive: &Naive<'_>, rule: &Rule) -> Truth {
    let is_port = |ports: &Ports| match ports {
        Ports::Numbers(set) => set.contains(naive.port.0, naive.port.1),
        Ports::Named(wanted, name) => {
            wanted.is_none_or(|wanted| wanted == naive.port.0)
                && naive.named.is_some_and(|pod| has(pod, name, naive.port))
        }
    };
    let is_port = rule.ports.as_ref().is_none_or(|ports| ports.iter().any(is_port));
    let Some(peers) = rule.peers.as_ref().filter(|_| is_port) else { return Truth::of(is_port) };
    let (ranges, pod) = match naive.other {
        End::Pod(pod) if pod.is_host_network => return Maybe,
        End::Pod(pod) => (pod.addresses.as_deref().unwrap_or(naive.pod_ranges), Some(pod)),
        End::Outside(ref range) => (std::slice::from_ref(range), None),
    };
    let covers = |peer: &Peer, range: &Range| match peer {
        Peer::Anywhere(block) => block.covers(*range),
        Peer::Outside(block) => pod.is_none() && block.covers(*range),
        _ => false,
    };
    if ranges.iter().all(|range| peers.iter().any(|peer| covers(peer, range))) {
        return Yes;
    }
    let one = |peer: &Peer| match (peer, pod) {
        (Peer::Pods(pods), Some(pod)) => takes(naive.cluster, pods, pod),
        (Peer::Outside(block) | Peer::Anywhere(block), Some(_)) if ranges.iter().any(|range| block.touches(*range)) => {
            Maybe
        }
        (Peer::Unresolved(_), None) => Maybe,
        _ => No,
    };
    peers.iter().map(one).max().unwrap_or(No)
}

fn takes(cluster: &Cluster, pods: &Pods, pod: &Workload) -> Truth {
    let is_namespace = match &pods.namespaces {
        Namespaces::Named(name) => Truth::of(*name == pod.namespace),
        Namespaces::Labelled(selector) => selector.takes(&cluster.namespace(&pod.namespace)),
    };
    is_namespace.min(pods.pods.takes(&pod.labels))
}

fn has(pod: &Workload, name: &str, port: (Protocol, u16)) -> bool {
    pod.ports.iter().any(|own| own.name == name && (own.protocol, own.number) == port)
}

fn published(cluster: &Cluster, pod: &Workload, port: (Protocol, u16)) -> bool {
    let is_target = |own: &ServicePort| match &own.target {
        Target::Number(number) => (own.protocol, *number) == port,
        Target::Name(name) => own.protocol == port.0 && has(pod, name, port),
    };
    let may_be_behind = |one: &Service| {
        one.selector.is_empty() || one.namespace == pod.namespace && one.selector.takes(&pod.labels) != No
    };
    let mut behind = cluster.services.iter().filter(|one| one.is_published && may_be_behind(one));
    behind.any(|one| one.ports.iter().any(is_target))
}
