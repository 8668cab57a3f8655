//! What a cluster's manifests say, as far as NetworkPolicy looks at it: namespaces, pods and policies, after the
//! defaults that the API server would fill in.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use sekat_policy::Span;
use sekat_policy::intent::Protocol;

use crate::Cidr;

/// Labels of a pod or a namespace.
pub type Labels = BTreeMap<String, String>;

/// The label that the API server gives to every namespace: its name.
pub(crate) const NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// Everything that was read.
#[derive(Clone, Debug, Default)]
pub struct Cluster {
    /// The labels of each namespace that has pods, policies or a manifest.
    pub namespaces: BTreeMap<String, Labels>,
    /// One pod of each workload.
    pub pods: Vec<Pod>,
    /// The NetworkPolicies.
    pub policies: Vec<Policy>,
}

/// One pod of a workload.
#[derive(Clone, Debug)]
pub struct Pod {
    /// Its namespace.
    pub namespace: String,
    /// The name of its workload.
    pub name: String,
    /// The workload's kind, for instance `Deployment`.
    pub kind: String,
    /// Its labels.
    pub labels: Labels,
    /// The ports that its containers declare.
    pub ports: Vec<ContainerPort>,
    /// Whether it lives in its node's network, where NetworkPolicy does not see it.
    pub host_network: bool,
    /// Where its workload is stated.
    pub span: Span,
}

/// A port that a container declares.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ContainerPort {
    /// Its number.
    pub number: u16,
    /// Its transport.
    pub protocol: Protocol,
    /// Its name, if it has one.
    pub name: Option<String>,
}

/// A NetworkPolicy of `networking.k8s.io/v1`.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The pods of its namespace that it isolates.
    pub selects: Selector,
    /// What may come in; `None` if it does not isolate in that direction, empty if nothing may.
    pub ingress: Option<Vec<Rule>>,
    /// What may go out; `None` if it does not isolate in that direction, empty if nothing may.
    pub egress: Option<Vec<Rule>>,
    /// Where it is stated.
    pub span: Span,
}

/// One alternative of a policy: some peers on some ports.
#[derive(Clone, Debug)]
pub struct Rule {
    /// The peers, any of them; `None` for everybody.
    pub peers: Option<Vec<Peer>>,
    /// The ports, any of them; `None` for all ports of all protocols.
    pub ports: Option<Vec<PortRange>>,
    /// Where it is stated.
    pub span: Span,
}

/// Who may be at the other end.
#[derive(Clone, Debug)]
pub enum Peer {
    /// Pods.
    Pods {
        /// Of which namespaces; `None` for the policy's own.
        namespaces: Option<Selector>,
        /// Which of their pods.
        pods: Selector,
    },
    /// Addresses, whether a pod has them or not.
    Block {
        /// The block.
        cidr: Cidr,
        /// The parts of it that are not meant.
        except: Vec<Cidr>,
    },
}

/// Ports of one protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PortRange {
    /// All.
    All(Protocol),
    /// From the first number to the last.
    Numbers(Protocol, u16, u16),
    /// The port that the destination pod declares under this name.
    Named(Protocol, String),
}

/// A label selector: all requirements have to hold; without any, everything is selected.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector(pub Vec<Requirement>);

/// What a label has to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    /// The label.
    pub key: String,
    /// What is asked of it.
    pub test: Test,
}

/// What is asked of a label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Test {
    /// It exists and is one of these.
    In(BTreeSet<String>),
    /// It is none of these; a label that does not exist is none.
    NotIn(BTreeSet<String>),
    /// It exists.
    Exists,
    /// It does not exist.
    DoesNotExist,
}

impl Selector {
    /// Whether something with these labels is selected.
    #[must_use]
    pub fn selects(&self, labels: &Labels) -> bool {
        self.0.iter().all(|Requirement { key, test }| match (test, labels.get(key)) {
            (Test::In(values), Some(value)) => values.contains(value),
            (Test::In(_), None) | (Test::Exists, None) | (Test::DoesNotExist, Some(_)) => false,
            (Test::NotIn(values), Some(value)) => !values.contains(value),
            (Test::NotIn(_) | Test::DoesNotExist, None) | (Test::Exists, Some(_)) => true,
        })
    }
}

impl PortRange {
    /// Whether the port of a destination that declares `ports` is meant.
    pub(crate) fn holds(&self, protocol: Protocol, number: u16, ports: &[ContainerPort]) -> bool {
        match self {
            Self::All(mine) => *mine == protocol,
            Self::Numbers(mine, first, last) => *mine == protocol && (*first..=*last).contains(&number),
            Self::Named(mine, name) => {
                *mine == protocol && named(ports, *mine, name).any(|resolved| resolved == number)
            }
        }
    }
}

/// The numbers that a pod's port name stands for, with that protocol: two containers may each use the name.
pub(crate) fn named<'a>(
    ports: &'a [ContainerPort],
    protocol: Protocol,
    name: &'a str,
) -> impl Iterator<Item = u16> + 'a {
    let same = move |port: &&ContainerPort| port.protocol == protocol && port.name.as_deref() == Some(name);
    ports.iter().filter(same).map(|port| port.number)
}

/// `namespace/name[Kind]`.
impl fmt::Display for Pod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}[{}]", self.namespace, self.name, self.kind)
    }
}
