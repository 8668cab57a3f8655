//! NetworkPolicies as nftables: a chain for each pod and direction that is isolated, which returns for what is
//! allowed and drops the rest. What was not isolated, and what both chains let pass, is accepted. Each verdict on a
//! new connection is counted by source, destination, protocol and port.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};

use sekat_policy::intent::Protocol;

use crate::Cidr;
use crate::cluster::{Cluster, Peer, Pod, Policy, PortRange, Rule, named};
use crate::plan::{Endpoint, Role};

/// The one table, in the router and in each pod.
pub(crate) const TABLE: &str = "sekat";
/// New connections that passed.
pub(crate) const ACCEPTED: &str = "accepted";
/// New connections that the source's policies stopped.
pub(crate) const NOT_LET_OUT: &str = "not_let_out";
/// New connections that the destination's policies stopped.
pub(crate) const NOT_LET_IN: &str = "not_let_in";
/// What arrived at a pod.
pub(crate) const ARRIVED: &str = "arrived";

/// Elements that a set of counters can hold. When one is full, its rule no longer matches: verdicts are rules of their
/// own, and what is not counted is not decided.
const CELLS_MAX: u32 = 1 << 18;

/// What the counters are kept by.
const CELL: &str = "ip saddr . ip daddr . meta l4proto . th dport";

/// The table in each pod: it counts what arrives there to open a connection or on one that was opened towards it, and
/// decides nothing. Answers to the pod's own connections go to ports of their own each, and would be many.
pub(crate) fn arrivals() -> String {
    let input = "type filter hook input priority filter; policy accept;";
    let (set, count) = (set(ARRIVED), count(ARRIVED));
    format!(
        "table inet {TABLE} {{\n{set}  chain input {{\n    {input}\n    ct direction reply accept\n{count}  }}\n}}\n"
    )
}

/// The router's table; it replaces the one before as a whole. `zone` keeps connections that were made under other
/// rules from being taken for established ones. Without a cluster, everything passes.
pub(crate) fn router(enforced: Option<&Cluster>, endpoints: &[Endpoint], zone: u16) -> String {
    let mut table = format!("table inet {TABLE}\ndelete table inet {TABLE}\ntable inet {TABLE} {{\n");
    table.extend([ACCEPTED, NOT_LET_OUT, NOT_LET_IN].map(set));
    let (mut out, mut into) = (String::new(), String::new());
    for (index, endpoint) in endpoints.iter().enumerate() {
        let (Some(cluster), Role::Pod(number)) = (enforced, endpoint.role) else { continue };
        let Some(pod) = cluster.pods.get(number).filter(|pod| !pod.host_network) else { continue };
        let compiler = Compiler { cluster, endpoints, pod };
        if let Some(chain) = compiler.chain(&format!("out_{index}"), Direction::Out) {
            table.push_str(&chain);
            let _ = write!(out, "{} : jump out_{index}, ", endpoint.address);
        }
        if let Some(chain) = compiler.chain(&format!("in_{index}"), Direction::In) {
            table.push_str(&chain);
            let _ = write!(into, "{} : jump in_{index}, ", endpoint.address);
        }
    }
    let _ = write!(
        table,
        "  chain zone {{\n    type filter hook prerouting priority raw; policy accept;\n    ct zone set {zone}\n  }}\n"
    );
    table.push_str("  chain forward {\n    type filter hook forward priority filter; policy accept;\n");
    table.push_str("    ct state established,related accept\n");
    for (field, map) in [("saddr", out), ("daddr", into)] {
        if !map.is_empty() {
            let _ = writeln!(table, "    ip {field} vmap {{ {map}}}");
        }
    }
    table.push_str(&count(ACCEPTED));
    table.push_str("  }\n}\n");
    table
}

fn set(name: &str) -> String {
    format!(
        "  set {name} {{\n    type ipv4_addr . ipv4_addr . inet_proto . inet_service\n    size {CELLS_MAX}\n    flags \
         dynamic\n  }}\n"
    )
}

fn count(name: &str) -> String {
    format!("    meta l4proto {{ tcp, udp, sctp }} update @{name} {{ {CELL} counter }}\n")
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Out,
    In,
}

struct Compiler<'a> {
    cluster: &'a Cluster,
    endpoints: &'a [Endpoint],
    pod: &'a Pod,
}

impl Compiler<'_> {
    /// The pod's chain for one direction; none if no policy isolates it there.
    fn chain(&self, name: &str, direction: Direction) -> Option<String> {
        let policies: Vec<(&Policy, &[Rule])> = match direction {
            Direction::Out => self.cluster.isolating(self.pod, |policy| policy.egress.as_deref()).collect(),
            Direction::In => self.cluster.isolating(self.pod, |policy| policy.ingress.as_deref()).collect(),
        };
        if policies.is_empty() {
            return None;
        }
        let (field, dropped) = match direction {
            Direction::Out => ("ip daddr", NOT_LET_OUT),
            Direction::In => ("ip saddr", NOT_LET_IN),
        };
        let mut chain = format!("  chain {name} {{\n");
        for node in self.endpoints.iter().filter(|endpoint| endpoint.role == Role::Node) {
            let _ = writeln!(chain, "    {field} {} return", node.address);
        }
        for (policy, rules) in policies {
            for rule in rules {
                for line in self.lines(policy, rule, direction, field) {
                    let _ = writeln!(chain, "    {line}return");
                }
            }
        }
        chain.push_str(&count(dropped));
        chain.push_str("    drop\n  }\n");
        Some(chain)
    }

    /// What one rule allows: each line is a match, and any of them is enough.
    fn lines(&self, policy: &Policy, rule: &Rule, direction: Direction, field: &str) -> Vec<String> {
        let peers: Vec<String> = match &rule.peers {
            None => vec![String::new()],
            Some(peers) => peers.iter().filter_map(|peer| self.addresses(policy, peer, field)).collect(),
        };
        let mut lines = Vec::new();
        for peer in &peers {
            match &rule.ports {
                None => lines.push(peer.clone()),
                Some(ports) => lines.extend(
                    ports.iter().flat_map(|range| self.port(range, direction)).map(|port| format!("{peer}{port}")),
                ),
            }
        }
        lines
    }

    /// The addresses of a peer; none if it means nobody here.
    fn addresses(&self, policy: &Policy, peer: &Peer, field: &str) -> Option<String> {
        let Peer::Block { cidr, except } = peer else {
            let meant = self.pods().filter(|(_, pod)| self.cluster.matches(policy, peer, pod));
            let addresses: Vec<String> = meant.map(|(address, _)| address.to_string()).collect();
            return (!addresses.is_empty()).then(|| format!("{field} {{ {} }} ", addresses.join(", ")));
        };
        // This world speaks IPv4 only, so that blocks of IPv6 mean nobody.
        let v4 = |block: &Cidr| matches!(block.first(), IpAddr::V4(_));
        let mut matched = v4(cidr).then(|| format!("{field} {cidr} "))?;
        for part in except.iter().filter(|part| v4(part)) {
            let _ = write!(matched, "{field} != {part} ");
        }
        Some(matched)
    }

    /// The matches of a range of ports. A name means what the pod at the receiving end declares under it.
    fn port(&self, range: &PortRange, direction: Direction) -> Vec<String> {
        match range {
            PortRange::All(protocol) => vec![format!("meta l4proto {} ", l4(*protocol))],
            // A range of one is an error to nft.
            PortRange::Numbers(protocol, first, last) if first == last => {
                vec![format!("{} dport {first} ", l4(*protocol))]
            }
            PortRange::Numbers(protocol, first, last) => vec![format!("{} dport {first}-{last} ", l4(*protocol))],
            PortRange::Named(protocol, name) => {
                let number = |number| format!("{} dport {number} ", l4(*protocol));
                match direction {
                    Direction::In => named(&self.pod.ports, *protocol, name).map(number).collect(),
                    Direction::Out => self
                        .declaring()
                        .flat_map(|(address, pod)| {
                            named(&pod.ports, *protocol, name)
                                .map(move |it| format!("ip daddr {address} {} dport {it} ", l4(*protocol)))
                        })
                        .collect(),
                }
            }
        }
    }

    /// The pods that NetworkPolicy sees, with their addresses.
    fn pods(&self) -> impl Iterator<Item = (Ipv4Addr, &Pod)> {
        self.declaring().filter(|(_, pod)| !pod.host_network)
    }

    /// All pods with their addresses, those in a node's network among them: they declare ports too.
    fn declaring(&self) -> impl Iterator<Item = (Ipv4Addr, &Pod)> {
        self.endpoints.iter().filter_map(|endpoint| match endpoint.role {
            Role::Pod(number) => Some((endpoint.address, self.cluster.pods.get(number)?)),
            Role::Node | Role::Outside => None,
        })
    }
}

const fn l4(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
        Protocol::Sctp => "sctp",
    }
}
