//! Who gets which address, and what is worth trying: chosen from the manifests alone, so that two runs are the same.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use sekat_policy::intent::Protocol;

use crate::cluster::{Cluster, Peer, PortRange, Rule};
use crate::evaluate::{End, Party};
use crate::{Cidr, Error};

/// An address outside of the cluster that is always there: TEST-NET-1 of RFC 5737.
const OUTSIDE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// Most addresses that stand for the outside. Each is tried against every pod.
const OUTSIDE_MAX: usize = 32;
/// Ports of which the lowest that nobody declares or names is the one that nobody declares.
const UNDECLARED: std::ops::Range<u16> = 7000..65_000;
/// What the kernel does not route like any other address: this network, loopback, link-local, multicast and above.
const RESERVED: [(Ipv4Addr, u8); 4] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(224, 0, 0, 0), 3),
];

/// Which addresses a world uses.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    /// The block of pods.
    pub pods: Cidr,
    /// The block of nodes: the first address is the node of the pods, those behind it are for pods in a node's network.
    pub nodes: Cidr,
}

/// The blocks that many clusters have.
impl Default for Addresses {
    fn default() -> Self {
        let block = |a, b, prefix| Cidr::new(Ipv4Addr::new(a, b, 0, 0).into(), prefix);
        let whole = Cidr::whole_v4();
        Self { pods: block(10, 244, 16).unwrap_or(whole), nodes: block(172, 18, 16).unwrap_or(whole) }
    }
}

/// Something that sends and listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) name: String,
    pub(crate) address: Ipv4Addr,
    pub(crate) role: Role,
    /// Numbers on which it listens, and which are tried, with every protocol.
    pub(crate) ports: BTreeSet<u16>,
}

/// What an endpoint is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// The pod with that index.
    Pod(usize),
    Node,
    Outside,
}

impl Endpoint {
    /// The same as the policies see it.
    pub(crate) fn end<'a>(&self, cluster: &'a Cluster) -> Option<End<'a>> {
        let party = match self.role {
            Role::Pod(index) => Party::Pod(cluster.pods.get(index)?),
            Role::Node => Party::Node,
            Role::Outside => Party::Outside,
        };
        Some(End { address: self.address.into(), party })
    }
}

/// All endpoints of a cluster: its pods, its node, and addresses outside of it; and the addresses outside that are too
/// many to be tried.
pub(crate) fn endpoints(cluster: &Cluster, addresses: Addresses) -> Result<(Vec<Endpoint>, Vec<Ipv4Addr>), Error> {
    let named = named_ports(cluster);
    let undeclared = undeclared(cluster, &named);
    // Beside its own ports, a pod is tried at the ends of the ranges that policies name and just behind them, where a
    // mistake by one would show.
    let ranges = named.iter().filter(|(_, first, last)| first < last);
    let edges: BTreeSet<u16> = ranges.flat_map(|(_, first, last)| [*first, *last, last.saturating_add(1)]).collect();
    let mut endpoints = Vec::new();
    let (mut pods, mut nodes) = (0_u32, 1_u32);
    for (index, pod) in cluster.pods.iter().enumerate() {
        let (block, next) = if pod.host_network { (addresses.nodes, &mut nodes) } else { (addresses.pods, &mut pods) };
        *next = next.saturating_add(1);
        let address = block.nth(*next).ok_or(Error::Full { pods: cluster.pods.len(), block })?;
        let mut ports: BTreeSet<u16> = pod.ports.iter().map(|port| port.number).collect();
        ports.extend(undeclared.iter().chain(&edges));
        endpoints.push(Endpoint { name: pod.to_string(), address, role: Role::Pod(index), ports });
    }
    let mut ports: BTreeSet<u16> = named.iter().flat_map(|(_, first, last)| [*first, *last]).collect();
    ports.extend(undeclared);
    let node = addresses.nodes.nth(1).ok_or(Error::Full { pods: 1, block: addresses.nodes })?;
    endpoints.push(Endpoint { name: "node".to_owned(), address: node, role: Role::Node, ports: ports.clone() });
    let mut all = outside(cluster, addresses).into_iter();
    for address in all.by_ref().take(OUTSIDE_MAX) {
        endpoints.push(Endpoint { name: address.to_string(), address, role: Role::Outside, ports: ports.clone() });
    }
    Ok((endpoints, all.collect()))
}

fn rules(cluster: &Cluster) -> impl Iterator<Item = &Rule> {
    cluster.policies.iter().flat_map(|policy| policy.ingress.iter().chain(&policy.egress).flatten())
}

/// The numbered ports that policies name.
fn named_ports(cluster: &Cluster) -> Vec<(Protocol, u16, u16)> {
    let ranges = rules(cluster).flat_map(|rule| rule.ports.iter().flatten());
    ranges
        .filter_map(|range| match range {
            PortRange::Numbers(protocol, first, last) => Some((*protocol, *first, *last)),
            PortRange::All(_) | PortRange::Named(..) => None,
        })
        .collect()
}

fn undeclared(cluster: &Cluster, named: &[(Protocol, u16, u16)]) -> Option<u16> {
    let declared: BTreeSet<u16> = cluster.pods.iter().flat_map(|pod| &pod.ports).map(|port| port.number).collect();
    let meant = |number: u16| named.iter().any(|(_, first, last)| (*first..=*last).contains(&number));
    UNDECLARED.into_iter().find(|number| !declared.contains(number) && !meant(*number))
}

/// Addresses for the outside: the one that is always there, then the first and the last of each block and exception that policies name, where these are
/// not the cluster's own.
fn outside(cluster: &Cluster, addresses: Addresses) -> Vec<Ipv4Addr> {
    let peers = rules(cluster).flat_map(|rule| rule.peers.iter().flatten());
    let blocks = peers.flat_map(|peer| match peer {
        Peer::Block { cidr, except } => std::iter::once(cidr).chain(except).copied().collect(),
        Peer::Pods { .. } => Vec::new(),
    });
    let usable = |address: &Ipv4Addr| {
        let ip = IpAddr::V4(*address);
        let reserved = RESERVED
            .iter()
            .any(|(first, prefix)| Cidr::new((*first).into(), *prefix).is_some_and(|block| block.contains(ip)));
        !reserved && !addresses.pods.contains(ip) && !addresses.nodes.contains(ip)
    };
    let edges: BTreeSet<Ipv4Addr> =
        blocks.flat_map(|block| [block.first(), block.last()]).filter_map(v4).filter(usable).collect();
    let mut all = vec![OUTSIDE];
    all.extend(edges.into_iter().filter(|address| *address != OUTSIDE));
    all
}

const fn v4(address: IpAddr) -> Option<Ipv4Addr> {
    match address {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_many_addresses_are_left_out_and_named() {
        let peers = |count: usize| {
            let blocks: Vec<_> = (0..count).map(|n| format!("{{ipBlock: {{cidr: 198.51.100.{n}/32}}}}")).collect();
            let spec = format!("{{podSelector: {{}}, ingress: [{{from: [{}]}}]}}", blocks.join(", "));
            let text =
                format!("apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: p}}\nspec: {spec}\n");
            endpoints(&crate::read_text("p.yaml", &text).0, Addresses::default()).unwrap()
        };
        // One place is taken by the address that is always there.
        let (all, untried) = peers(OUTSIDE_MAX - 1);
        assert_eq!((all.len(), untried.len()), (OUTSIDE_MAX + 1, 0));
        let (all, untried) = peers(OUTSIDE_MAX + 1);
        assert_eq!((all.len(), untried.len()), (OUTSIDE_MAX + 1, 2));
        assert!(all.iter().any(|endpoint| endpoint.address == OUTSIDE));
    }

    #[test]
    fn a_block_that_is_full_is_an_error() {
        let pod = |n: u32| format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: p{n}}}\nspec: {{containers: []}}\n");
        let cluster = crate::read_text("p.yaml", &[pod(1), pod(2)].join("---\n")).0;
        let small = |prefix| Addresses {
            pods: Cidr::new(Ipv4Addr::new(10, 9, 0, 0).into(), prefix).unwrap(),
            ..Addresses::default()
        };
        assert!(matches!(endpoints(&cluster, small(31)), Err(Error::Full { pods: 2, .. })));
        assert!(endpoints(&cluster, small(30)).is_ok());
    }
}
