//! Real packets against the NetworkPolicies that are deployed: one network namespace a pod, the policies as nftables
//! rules in a router between them, real listeners, and every ordered pair on every port.
//!
//! It reads the manifests by itself and shares no code with the compiler that wrote them or the analyser that judges
//! them; so an agreement between those and the packets means something.

mod cidr;
mod cluster;
mod counters;
mod error;
mod evaluate;
mod forward;
mod listen;
mod netns;
mod owner;
mod permit;
mod plan;
mod probe;
mod read;
mod read_policy;
mod report;
mod rules;
mod sctp;
mod world;

pub use cidr::Cidr;
pub use cluster::{Cluster, ContainerPort, Labels, Peer, Pod, Policy, PortRange, Requirement, Rule, Selector, Test};
pub use error::Error;
pub use evaluate::{End, Party};
pub use forward::Forward;
pub use owner::sweep;
pub use permit::{in_user_namespace, permit, permitted};
pub use plan::Addresses;
pub use read::{
    DUPLICATE, INVALID_POLICY, UNKNOWN_NAMESPACE, UNREADABLE, UNSUPPORTED_POLICY, read, read_text, read_texts,
};
pub use report::{Cell, Difference, INCONCLUSIVE, MISMATCH, Observed, Report, Row, Tally, UNTRIED};
pub use world::World;
