//! What NetworkPolicies allow, by the words of the Kubernetes documentation and rule by rule: no compiled form, so
//! that a mistake of the compiler to nftables shows as a difference between this and the packets.

use std::net::IpAddr;

use sekat_policy::intent::Protocol;

use crate::cluster::{Cluster, ContainerPort, Labels, Peer, Pod, Policy, Rule};

/// One end of a connection.
#[derive(Clone, Copy, Debug)]
pub struct End<'a> {
    /// Its address.
    pub address: IpAddr,
    /// What it is.
    pub party: Party<'a>,
}

/// What an end of a connection is.
#[derive(Clone, Copy, Debug)]
pub enum Party<'a> {
    /// A pod.
    Pod(&'a Pod),
    /// The node on which the pods run.
    Node,
    /// Something outside of the cluster.
    Outside,
}

impl<'a> End<'a> {
    /// The pod, if NetworkPolicy sees it: one in its node's network has the node's address and is no pod to it.
    pub(crate) fn pod(&self) -> Option<&'a Pod> {
        match self.party {
            Party::Pod(pod) if !pod.host_network => Some(pod),
            _ => None,
        }
    }

    fn ports(&self) -> &'a [ContainerPort] {
        match self.party {
            Party::Pod(pod) => &pod.ports,
            Party::Node | Party::Outside => &[],
        }
    }
}

impl Cluster {
    /// Whether `source` may open a connection to the port of `destination`: its own policies have to let it out, and
    /// those of the destination have to let it in.
    #[must_use]
    pub fn allows(&self, source: End<'_>, destination: End<'_>, protocol: Protocol, port: u16) -> bool {
        // Traffic between a pod and the node that it runs on is always allowed, whatever the addresses.
        if matches!(source.party, Party::Node) || matches!(destination.party, Party::Node) {
            return true;
        }
        let one_way = |mine: End<'_>, peer: End<'_>, rules: fn(&Policy) -> Option<&[Rule]>| {
            let Some(pod) = mine.pod() else { return true };
            let mut isolating = self.isolating(pod, rules).peekable();
            isolating.peek().is_none()
                || isolating.any(|(policy, rules)| {
                    rules.iter().any(|rule| {
                        self.meets(policy, rule, peer)
                            && rule.ports.as_ref().is_none_or(|ports| {
                                ports.iter().any(|range| range.holds(protocol, port, destination.ports()))
                            })
                    })
                })
        };
        one_way(source, destination, |policy| policy.egress.as_deref())
            && one_way(destination, source, |policy| policy.ingress.as_deref())
    }

    /// The policies that isolate the pod in one direction, each with its rules for it.
    pub(crate) fn isolating<'a>(
        &'a self,
        pod: &'a Pod,
        rules: fn(&Policy) -> Option<&[Rule]>,
    ) -> impl Iterator<Item = (&'a Policy, &'a [Rule])> {
        let here = move |policy: &&Policy| policy.namespace == pod.namespace && policy.selects.selects(&pod.labels);
        self.policies.iter().filter(here).filter_map(move |policy| Some((policy, rules(policy)?)))
    }

    fn meets(&self, policy: &Policy, rule: &Rule, peer: End<'_>) -> bool {
        let Some(peers) = &rule.peers else { return true };
        peers.iter().any(|allowed| match allowed {
            Peer::Block { cidr, except } => {
                cidr.contains(peer.address) && !except.iter().any(|part| part.contains(peer.address))
            }
            Peer::Pods { .. } => peer.pod().is_some_and(|pod| self.matches(policy, allowed, pod)),
        })
    }

    /// Whether the pod is one of those that the peer of the policy means; blocks of addresses mean none.
    pub(crate) fn matches(&self, policy: &Policy, peer: &Peer, pod: &Pod) -> bool {
        let Peer::Pods { namespaces, pods } = peer else { return false };
        let none = Labels::new();
        let home = match namespaces {
            None => pod.namespace == policy.namespace,
            Some(selector) => selector.selects(self.namespaces.get(&pod.namespace).unwrap_or(&none)),
        };
        home && pods.selects(&pod.labels)
    }
}
