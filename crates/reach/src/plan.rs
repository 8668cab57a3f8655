//! Policies with their selectors replaced by sets: each distinct list of peers is worked out once.

use std::collections::BTreeMap;

use rayon::prelude::*;
use sekat_policy::intent::Protocol;

use crate::extents::{Extent, Index};
use crate::objects::{Action, Cluster, Namespaces, Peer, Pods, Policy, Ports, Rule, Tier, Workload};
use crate::ports::{Conn, PortSet};

/// A direction, seen from the pod for which a policy decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Direction {
    /// What comes in.
    Ingress,
    /// What goes out.
    Egress,
}

impl Direction {
    /// The rules of a policy for it; none if the policy does not decide it.
    #[must_use]
    pub(crate) const fn rules(self, policy: &Policy) -> Option<&Vec<Rule>> {
        match self {
            Self::Ingress => policy.ingress.as_ref(),
            Self::Egress => policy.egress.as_ref(),
        }
    }
}

/// A policy, ready to be evaluated.
pub(crate) struct Plan {
    /// Its number among the cluster's policies.
    pub(crate) policy: usize,
    pub(crate) tier: Tier,
    pub(crate) priority: i64,
    /// The number of its subject's set.
    pub(crate) subject: usize,
    pub(crate) ingress: Option<Vec<PlanRule>>,
    pub(crate) egress: Option<Vec<PlanRule>>,
}

/// A rule, ready to be evaluated.
pub(crate) struct PlanRule {
    pub(crate) action: Action,
    /// The number of its peers' set; none for everybody.
    pub(crate) peers: Option<usize>,
    pub(crate) numbers: PortSet,
    /// The numbers of the port names in it.
    pub(crate) names: Vec<usize>,
}

/// A port's name in one transport, or in any.
pub(crate) type PortName = (Option<Protocol>, String);

/// All policies in the order in which they are asked, and what they refer to.
pub(crate) struct Plans<'a> {
    pub(crate) plans: Vec<Plan>,
    pub(crate) subjects: Vec<Extent>,
    pub(crate) peers: Vec<Extent>,
    /// The lists of peers, by number.
    pub(crate) lists: Vec<Vec<&'a Peer>>,
    pub(crate) names: Vec<PortName>,
}

impl Plan {
    pub(crate) const fn rules(&self, direction: Direction) -> Option<&Vec<PlanRule>> {
        match direction {
            Direction::Ingress => self.ingress.as_ref(),
            Direction::Egress => self.egress.as_ref(),
        }
    }
}

/// Gives equal things one number.
struct Numbers<T> {
    numbers: BTreeMap<T, usize>,
}

impl<T: Ord + Clone> Numbers<T> {
    const fn new() -> Self {
        Self { numbers: BTreeMap::new() }
    }

    fn of(&mut self, thing: T) -> usize {
        let next = self.numbers.len();
        *self.numbers.entry(thing).or_insert(next)
    }

    fn in_order(self) -> Vec<T> {
        let mut all: Vec<(T, usize)> = self.numbers.into_iter().collect();
        all.sort_unstable_by_key(|(_, number)| *number);
        all.into_iter().map(|(thing, _)| thing).collect()
    }
}

pub(crate) fn plans<'a>(cluster: &'a Cluster, index: &Index<'_>) -> Plans<'a> {
    let (mut subjects, mut peers, mut names) = (Numbers::<&Pods>::new(), Numbers::new(), Numbers::new());
    let mut rule = |rule: &'a Rule| {
        let list = rule.peers.as_ref().map(|list| {
            let mut list: Vec<&Peer> = list.iter().collect();
            list.sort_unstable();
            list.dedup();
            peers.of(list)
        });
        let mut plan = PlanRule { action: rule.action, peers: list, numbers: PortSet::none(), names: Vec::new() };
        match &rule.ports {
            None => plan.numbers = PortSet::all(),
            Some(ports) => {
                for ports in ports {
                    match ports {
                        Ports::Numbers(set) => plan.numbers = plan.numbers.union(set),
                        Ports::Named(protocol, name) => plan.names.push(names.of((*protocol, name.clone()))),
                    }
                }
            }
        }
        plan
    };
    let mut plans: Vec<Plan> = cluster
        .policies
        .iter()
        .enumerate()
        .map(|(number, policy)| Plan {
            policy: number,
            tier: policy.tier,
            priority: policy.priority,
            subject: subjects.of(&policy.subject),
            ingress: policy.ingress.as_ref().map(|rules| rules.iter().map(&mut rule).collect()),
            egress: policy.egress.as_ref().map(|rules| rules.iter().map(&mut rule).collect()),
        })
        .collect();
    plans.sort_by_key(|plan| (plan.tier, plan.priority));
    let lists = peers.in_order();
    Plans {
        plans,
        subjects: subjects.in_order().par_iter().map(|pods| index.subjects(pods)).collect(),
        peers: lists.par_iter().map(|list| index.peers(list)).collect(),
        lists,
        names: names.in_order(),
    }
}

/// The ports behind a name at a workload.
pub(crate) fn resolve(workload: &Workload, (protocol, name): &PortName) -> Conn {
    let named = workload.ports.iter().filter(|port| port.name == *name);
    let ports = named.filter(|port| protocol.is_none_or(|wanted| wanted == port.protocol));
    let set = ports.fold(PortSet::none(), |set, port| set.union(&PortSet::one(port.protocol, port.number)));
    Conn { certain: set.clone(), possible: set }
}

/// The ports behind a name at a pod of which nothing is known: any.
pub(crate) fn resolve_unknown((protocol, _): &PortName) -> Conn {
    Conn { certain: PortSet::none(), possible: protocol.map_or_else(PortSet::all, PortSet::of) }
}

/// The pods behind a service, in its own namespace.
pub(crate) fn behind(index: &Index<'_>, service: &crate::objects::Service) -> roaring::RoaringBitmap {
    if service.selector.is_empty() {
        return roaring::RoaringBitmap::new();
    }
    let namespaces = Namespaces::Named(service.namespace.clone());
    let mut pods = index.pods(&Pods { namespaces, pods: service.selector.clone() }).possible;
    pods.remove(index.unknown);
    pods
}
