//! The objects that decide who can reach whom, as plain values. The engine and the naive checker share these and
//! nothing else; every field that is read here is checked, and one that is not known is an error, because a misspelt
//! selector would otherwise select everything.

mod cluster_policy;
mod foreign;
mod network_policy;
mod service;
mod workload;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use sekat_policy::intent::Protocol;
use sekat_policy::{Diagnostic, Span};
use sekat_yaml::{Node, Value};

use crate::addresses::{Block, Range};
use crate::labels::{Labels, Open, Operator, Requirement, Selector};
use crate::ports::PortSet;
use crate::{INVALID, NO_OBJECT, TWICE};

pub use foreign::{Effect, Foreign};
pub use service::{Ingress, Service, ServicePort, Target};
pub use workload::{NamedPort, Workload};

/// The label that every namespace has, with its name.
pub const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";

/// All objects of an input.
#[derive(Clone, Debug, Default)]
pub struct Cluster {
    /// The namespaces that exist, with their labels. One that is only mentioned has labels that nobody knows.
    pub namespaces: BTreeMap<String, Labels>,
    /// The pods, each kind of pod of a workload once.
    pub workloads: Vec<Workload>,
    /// The policies of all tiers.
    pub policies: Vec<Policy>,
    /// The services.
    pub services: Vec<Service>,
    /// The ingresses.
    pub ingresses: Vec<Ingress>,
    /// What may change reachability in a way that is not analysed.
    pub foreign: Vec<Foreign>,
    /// How many objects of which kind restrict calls above the transport, which is not analysed.
    pub narrowing: BTreeMap<String, usize>,
    /// How many objects of which kind cannot change reachability.
    pub ignored: BTreeMap<String, usize>,
}

/// A policy of any kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Its kind.
    pub kind: &'static str,
    /// Its name.
    pub name: String,
    /// Its namespace, if it has one.
    pub namespace: Option<String>,
    /// When it is asked.
    pub tier: Tier,
    /// Within a tier, the lower is asked first.
    pub priority: i64,
    /// The pods for which it decides.
    pub subject: Pods,
    /// What may come in; none if it does not decide that.
    pub ingress: Option<Vec<Rule>>,
    /// What may go out; none if it does not decide that.
    pub egress: Option<Vec<Rule>>,
    /// Where it stands.
    pub span: Span,
}

/// When a policy is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Tier {
    /// First: nobody can override it.
    Admin,
    /// Then: the namespaces' own policies, of which one that allows is enough.
    Namespaced,
    /// Last: for pods that no namespaced policy selects.
    Baseline,
}

/// A rule of a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// What happens to what matches.
    pub action: Action,
    /// The other end; none for anybody.
    pub peers: Option<Vec<Peer>>,
    /// The ports at the connection's destination; none for all.
    pub ports: Option<Vec<Ports>>,
    /// Where it stands.
    pub span: Span,
}

/// What happens to what a rule matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Action {
    /// It is allowed.
    Accept,
    /// It is dropped.
    Deny,
    /// The next tier decides.
    Pass,
}

/// Pods, by labels of their namespaces and their own.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pods {
    /// The namespaces.
    pub namespaces: Namespaces,
    /// The pods in them.
    pub pods: Selector,
}

/// Namespaces.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Namespaces {
    /// The one of that name.
    Named(String),
    /// Those with these labels.
    Labelled(Selector),
}

/// The other end of a connection, as a rule names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Peer {
    /// Pods.
    Pods(Pods),
    /// Addresses outside of the cluster; whether also pods with such an address depends on the network plugin.
    Outside(Block),
    /// Addresses, those of pods included.
    Anywhere(Block),
    /// The cluster's nodes, or names that only a resolver knows: addresses outside, and nobody can say which.
    Unresolved(&'static str),
}

/// Ports, as a rule names them.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Ports {
    /// By number.
    Numbers(PortSet),
    /// By the name that the destination's containers give them, in one transport or in any.
    Named(Option<Protocol>, String),
}

impl Cluster {
    /// The labels of a namespace, whether it exists or not.
    #[must_use]
    pub fn namespace(&self, name: &str) -> Cow<'_, Labels> {
        let known = || BTreeMap::from([(NAMESPACE_NAME.to_owned(), name.to_owned())]);
        let missing = || Cow::Owned(Labels { known: known(), open: Open::Anything });
        self.namespaces.get(name).map_or_else(missing, Cow::Borrowed)
    }
}

/// Collects the objects of all files.
#[derive(Default)]
pub(crate) struct Collector {
    cluster: Cluster,
    pods: Vec<workload::Owned>,
    seen: BTreeMap<(String, String, String), Span>,
    /// Kinds whose objects the user knows to be harmless.
    harmless: BTreeSet<String>,
}

impl Collector {
    pub(crate) fn new(harmless: &[String]) -> Self {
        Self { harmless: harmless.iter().cloned().collect(), ..Self::default() }
    }

    /// Takes one object; a List is its items.
    pub(crate) fn object(&mut self, node: &Node, file: &str, findings: &mut Vec<Diagnostic>) {
        let is_other = match &node.value {
            Value::Null => return,
            Value::List(_) => true,
            _ => node.get("kind").is_none() && node.get("apiVersion").is_none(),
        };
        // Values of a chart, a kustomization, a site file: folders hold such files beside manifests, and nobody applies
        // them.
        let of_tools = matches!(
            node.get("apiVersion").map(|version| &version.value),
            Some(Value::Text(version)) if version.starts_with("kustomize.config.k8s.io/") || version == "sekat.dev/v1"
        );
        if of_tools || is_other && matches!(node.value, Value::List(_) | Value::Map(_)) {
            *self.cluster.ignored.entry("no Kubernetes object".to_owned()).or_default() += 1;
            return;
        }
        if let Err(finding) = self.read(node, None, file, findings) {
            findings.push(finding);
        }
    }

    /// Reads an object, which in a list of one kind need not repeat its kind.
    fn read(
        &mut self,
        node: &Node,
        of_list: Option<(&str, &str)>,
        file: &str,
        findings: &mut Vec<Diagnostic>,
    ) -> Result<(), Diagnostic> {
        let head = Head::read(node, of_list, file)?;
        let Some(items) = node.get("items").filter(|_| head.kind.ends_with("List")) else {
            return self.dispatch(&head, node, file);
        };
        let of_list = head.kind.strip_suffix("List").filter(|kind| !kind.is_empty());
        let of_list = of_list.map(|kind| (kind, head.version.as_str()));
        for item in items.list(file)? {
            if let Err(finding) = self.read(item, of_list, file, findings) {
                findings.push(finding);
            }
        }
        Ok(())
    }

    fn dispatch(&mut self, head: &Head, node: &Node, file: &str) -> Result<(), Diagnostic> {
        let cluster = &mut self.cluster;
        match (head.group.as_str(), head.kind.as_str()) {
            ("", "Namespace") => {
                let mut known = labels(node.at(&["metadata", "labels"]), file)?;
                known.insert(NAMESPACE_NAME.to_owned(), head.name.clone());
                cluster.namespaces.insert(head.name.clone(), Labels { known, open: Open::Nothing });
            }
            ("networking.k8s.io" | "extensions", "NetworkPolicy") => {
                cluster.policies.push(network_policy::read(head, node, file)?);
            }
            (
                "policy.networking.k8s.io",
                "ClusterNetworkPolicy" | "AdminNetworkPolicy" | "BaselineAdminNetworkPolicy",
            ) => {
                cluster.policies.push(cluster_policy::read(head, node, file)?);
            }
            ("", "Service") => cluster.services.push(service::service(head, node, file)?),
            ("networking.k8s.io" | "extensions", "Ingress") => {
                cluster.ingresses.push(service::ingress(head, node, file)?);
            }
            (group, kind) => match workload::template(group, kind, node) {
                Some(template) => self.pods.push(workload::read(head, node, template, file)?),
                None if self.harmless.contains(kind) => {
                    *cluster.ignored.entry(kind.to_owned()).or_default() += 1;
                    return Ok(());
                }
                // Which of two counts makes no difference.
                None if !foreign::read(head, node, file, cluster) => return Ok(()),
                None => {}
            },
        }
        self.once(head)
    }

    /// That no object stands twice: which of two counts would depend on the order in which files are applied.
    fn once(&mut self, head: &Head) -> Result<(), Diagnostic> {
        let key = (format!("{}/{}", head.group, head.kind), head.namespace.clone(), head.name.clone());
        // Names that the server completes are never the same.
        if head.name.ends_with('*') {
            return Ok(());
        }
        self.seen.insert(key, head.span.clone()).map_or(Ok(()), |first| Err(twice(&head.name, &first, &head.span)))
    }

    /// Takes what another one has collected.
    pub(crate) fn merge(&mut self, other: Self, findings: &mut Vec<Diagnostic>) {
        for (key, span) in other.seen {
            let name = key.2.clone();
            if let Some(first) = self.seen.insert(key, span.clone()) {
                findings.push(twice(&name, &first, &span));
            }
        }
        self.pods.extend(other.pods);
        let (all, more) = (&mut self.cluster, other.cluster);
        all.namespaces.extend(more.namespaces);
        all.policies.extend(more.policies);
        all.services.extend(more.services);
        all.ingresses.extend(more.ingresses);
        all.foreign.extend(more.foreign);
        for (kind, count) in more.narrowing {
            *all.narrowing.entry(kind).or_default() += count;
        }
        for (kind, count) in more.ignored {
            *all.ignored.entry(kind).or_default() += count;
        }
    }

    pub(crate) fn finish(self) -> Cluster {
        let mut cluster = self.cluster;
        let keys = mentioned(&cluster);
        cluster.workloads = workload::settle(self.pods, &keys);
        cluster
    }
}

fn twice(name: &str, first: &Span, second: &Span) -> Diagnostic {
    let message = format!("`{name}` stands twice; the other one is at {}:{}", first.file, first.line);
    let help = "remove one, or analyse what is applied, for instance the output of kustomize";
    Diagnostic::error(TWICE, second.clone(), message, help)
}

/// The keys of pod labels that some selector mentions.
fn mentioned(cluster: &Cluster) -> BTreeSet<String> {
    let of = |selector: &Selector| selector.requirements.iter().map(|one| one.key.clone()).collect::<Vec<_>>();
    let mut keys = BTreeSet::new();
    for policy in &cluster.policies {
        keys.extend(of(&policy.subject.pods));
        for rule in policy.ingress.iter().chain(&policy.egress).flatten() {
            for peer in rule.peers.iter().flatten() {
                if let Peer::Pods(pods) = peer {
                    keys.extend(of(&pods.pods));
                }
            }
        }
    }
    keys.extend(cluster.services.iter().flat_map(|service| of(&service.selector)));
    keys
}

/// What every object begins with.
pub(crate) struct Head {
    pub(crate) group: String,
    /// The whole `apiVersion`.
    pub(crate) version: String,
    pub(crate) kind: String,
    pub(crate) name: String,
    /// `default` if there is none; meaningless for kinds without namespaces.
    pub(crate) namespace: String,
    pub(crate) has_namespace: bool,
    pub(crate) span: Span,
}

impl Head {
    fn read(node: &Node, of_list: Option<(&str, &str)>, file: &str) -> Result<Self, Diagnostic> {
        node.map(file)?;
        let text = |key: &str, default: Option<&str>| match node.get(key) {
            Some(value) => value.text(file).map(str::to_owned),
            None => default.map(str::to_owned).ok_or_else(|| {
                let message = format!("an object without `{key}`");
                Diagnostic::error(NO_OBJECT, node.span(file), message, format!("add `{key}`"))
            }),
        };
        let kind = text("kind", of_list.map(|(kind, _)| kind))?;
        let version = text("apiVersion", of_list.map(|(_, version)| version))?;
        let group = version.split_once('/').map_or("", |(group, _)| group);
        let meta = |key| node.at(&["metadata", key]).map(|value| value.text(file)).transpose();
        let namespace = meta("namespace")?;
        // `kubectl create` accepts names that the server will complete.
        let name = match meta("name")? {
            Some(name) => name.to_owned(),
            None => meta("generateName")?.map(|name| format!("{name}*")).unwrap_or_default(),
        };
        if name.is_empty() && !kind.ends_with("List") {
            let message = format!("a {kind} without a name");
            return Err(Diagnostic::error(NO_OBJECT, node.span(file), message, "add `metadata.name`"));
        }
        Ok(Self {
            group: group.to_owned(),
            version,
            kind,
            name,
            namespace: namespace.unwrap_or("default").to_owned(),
            has_namespace: namespace.is_some(),
            span: node.span(file),
        })
    }
}

/// That a value is of the right kind but cannot be meant.
pub(crate) fn invalid(node: &Node, file: &str, message: impl Into<String>, help: &str) -> Diagnostic {
    Diagnostic::error(INVALID, node.span(file), message, help)
}

/// That a mapping has no keys but these.
pub(crate) fn only(node: &Node, file: &str, keys: &[&str]) -> Result<(), Diagnostic> {
    match node.map(file)?.iter().find(|(key, _)| !keys.contains(&key.name.as_str())) {
        None => Ok(()),
        Some((key, _)) => {
            let message = format!("the field `{}` is not known here", key.name);
            let help = format!("mend it, or remove it; known are {}", keys.join(", "));
            Err(Diagnostic::error(INVALID, key.span(file), message, help))
        }
    }
}

pub(crate) fn labels(node: Option<&Node>, file: &str) -> Result<BTreeMap<String, String>, Diagnostic> {
    let entries = node.map_or(Ok(&[][..]), |node| node.map(file))?;
    entries.iter().map(|(key, value)| Ok((key.name.clone(), value.text(file)?.to_owned()))).collect()
}

pub(crate) fn selector(node: &Node, file: &str) -> Result<Selector, Diagnostic> {
    only(node, file, &["matchLabels", "matchExpressions"])?;
    let mut requirements: BTreeSet<Requirement> = labels(node.get("matchLabels"), file)?
        .into_iter()
        .map(|(key, value)| Requirement { key, operator: Operator::In(BTreeSet::from([value])) })
        .collect();
    for expression in node.get("matchExpressions").map_or(Ok(&[][..]), |node| node.list(file))? {
        only(expression, file, &["key", "operator", "values"])?;
        let key = expression.required(file, "key")?.text(file)?.to_owned();
        let values = expression.get("values").map_or(Ok(&[][..]), |node| node.list(file))?;
        let values: BTreeSet<String> =
            values.iter().map(|value| value.text(file).map(str::to_owned)).collect::<Result<_, _>>()?;
        let wanted = expression.required(file, "operator")?;
        let operator = match (wanted.text(file)?, values.is_empty()) {
            ("In", false) => Operator::In(values),
            ("NotIn", false) => Operator::NotIn(values),
            ("Exists", true) => Operator::Exists,
            ("DoesNotExist", true) => Operator::DoesNotExist,
            ("In" | "NotIn", true) => {
                return Err(invalid(wanted, file, "In and NotIn need values", "add `values`"));
            }
            ("Exists" | "DoesNotExist", false) => {
                return Err(invalid(wanted, file, "Exists and DoesNotExist take no values", "remove `values`"));
            }
            (other, _) => {
                let message = format!("`{other}` is no operator");
                return Err(invalid(wanted, file, message, "write In, NotIn, Exists or DoesNotExist"));
            }
        };
        requirements.insert(Requirement { key, operator });
    }
    Ok(Selector { requirements })
}

pub(crate) fn range(node: &Node, file: &str) -> Result<Range, Diagnostic> {
    let text = node.text(file)?;
    let help = "write CIDR notation, for instance 10.0.0.0/8";
    if !text.contains('/') {
        return Err(invalid(node, file, format!("`{text}` has no prefix length"), help));
    }
    Range::parse(text).map_err(|message| invalid(node, file, message, help))
}

pub(crate) fn protocol(node: Option<&Node>, file: &str) -> Result<Protocol, Diagnostic> {
    let Some(node) = node else { return Ok(Protocol::Tcp) };
    let text = node.text(file)?;
    Protocol::ALL
        .into_iter()
        .find(|protocol| protocol.name() == text)
        .ok_or_else(|| invalid(node, file, format!("`{text}` is no protocol of Kubernetes"), "write TCP, UDP or SCTP"))
}

pub(crate) fn port(node: &Node, file: &str) -> Result<u16, Diagnostic> {
    let number = node.int(file)?;
    u16::try_from(number)
        .ok()
        .filter(|port| *port > 0)
        .ok_or_else(|| invalid(node, file, format!("{number} is no port"), "write a number from 1 to 65535"))
}

/// A port's name; digits in quotes would be one that no container can have.
pub(crate) fn port_name(node: &Node, file: &str) -> Result<String, Diagnostic> {
    let text = node.text(file)?;
    if text.bytes().any(|byte| byte.is_ascii_alphabetic()) {
        return Ok(text.to_owned());
    }
    Err(invalid(node, file, format!("`{text}` is no name of a port"), "write a number without quotes, or a name"))
}
