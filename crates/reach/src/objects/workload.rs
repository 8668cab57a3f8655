//! Pods, from every kind that makes some. Pods of one owner that no selector of the input can tell apart are one
//! workload under the owner's name; where one can, each stands for itself.

use std::collections::{BTreeMap, BTreeSet};

use sekat_policy::intent::Protocol;
use sekat_policy::{Diagnostic, Span};
use sekat_yaml::Node;

use super::{Head, labels, port, protocol};
use crate::INVALID;
use crate::addresses::Range;
use crate::labels::{Labels, Open};

/// Labels that controllers put on the pods that they make, whatever the template says.
const BY_CONTROLLER: [&str; 12] = [
    "pod-template-hash",
    "controller-revision-hash",
    "pod-template-generation",
    "statefulset.kubernetes.io/pod-name",
    "apps.kubernetes.io/pod-index",
    "batch.kubernetes.io/controller-uid",
    "batch.kubernetes.io/job-name",
    "batch.kubernetes.io/job-completion-index",
    "controller-uid",
    "job-name",
    "topology.kubernetes.io/region",
    "topology.kubernetes.io/zone",
];

/// Pods that are alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    /// The namespace.
    pub namespace: String,
    /// The name of the owner, or of the pod.
    pub name: String,
    /// The kind of the owner, or `Pod`.
    pub kind: String,
    /// The pods' labels.
    pub labels: Labels,
    /// The service account under which they run.
    pub service_account: String,
    /// The ports that containers name.
    pub ports: Vec<NamedPort>,
    /// Whether they use their node's network, where policies for pods do not apply.
    pub is_host_network: bool,
    /// Whether they are attached to further networks, where policies for pods do not apply either.
    pub has_other_networks: bool,
    /// Their addresses; none if they are not known or change with each restart.
    pub addresses: Option<Vec<Range>>,
    /// Where they stand.
    pub span: Span,
}

/// A port that a container names.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NamedPort {
    /// The name.
    pub name: String,
    /// The transport.
    pub protocol: Protocol,
    /// The number.
    pub number: u16,
}

/// A pod or a template, with who made it.
pub(super) struct Owned {
    workload: Workload,
    owner: Option<(String, String)>,
}

/// The pod in an object of a kind that has one.
pub(super) fn template<'a>(group: &str, kind: &str, node: &'a Node) -> Option<Option<&'a Node>> {
    let path: &[&str] = match (group, kind) {
        ("", "Pod") => return Some(Some(node)),
        ("apps" | "extensions", "Deployment" | "ReplicaSet" | "DaemonSet" | "StatefulSet")
        | ("", "ReplicationController")
        | ("batch", "Job") => &["spec", "template"],
        ("batch", "CronJob") => &["spec", "jobTemplate", "spec", "template"],
        _ => return None,
    };
    Some(node.at(path))
}

pub(super) fn read(head: &Head, node: &Node, template: Option<&Node>, file: &str) -> Result<Owned, Diagnostic> {
    let Some(template) = template else {
        return Err(super::invalid(node, file, format!("a {} without a template of its pods", head.kind), "add it"));
    };
    let mut known = labels(template.at(&["metadata", "labels"]), file)?;
    let is_pod = head.kind == "Pod";
    if !is_pod && known.is_empty() && head.version.contains("v1beta") {
        known = labels(node.at(&["metadata", "labels"]), file)?;
    }
    let spec = template.required(file, "spec")?;
    let open = if is_pod { Open::Nothing } else { Open::Keys(BY_CONTROLLER.map(str::to_owned).into()) };
    let text = |key| spec.get(key).map(|node| node.text(file)).transpose();
    let account = text("serviceAccountName")?.or(text("serviceAccount")?).unwrap_or("default").to_owned();
    let workload = Workload {
        namespace: head.namespace.clone(),
        name: head.name.clone(),
        kind: head.kind.clone(),
        labels: Labels { known, open },
        service_account: account,
        ports: ports(spec, file)?,
        is_host_network: spec.get("hostNetwork").map(|node| node.bool(file)).transpose()?.unwrap_or(false),
        has_other_networks: template.at(&["metadata", "annotations", "k8s.v1.cni.cncf.io/networks"]).is_some(),
        addresses: if is_pod { addresses(node, file)? } else { None },
        span: head.span.clone(),
    };
    let mut owner = None;
    for reference in node.at(&["metadata", "ownerReferences"]).map_or(Ok(&[][..]), |node| node.list(file))? {
        let is_controller = reference.get("controller").map(|node| node.bool(file)).transpose()?;
        if is_controller.unwrap_or(true) && owner.is_none() {
            let text = |key| reference.required(file, key)?.text(file).map(str::to_owned);
            owner = Some((text("kind")?, text("name")?));
        }
    }
    Ok(Owned { workload, owner })
}

/// What Kubernetes takes as a container port's name: a service name of RFC 6335, section 5.1, in lower case.
fn is_port_name(name: &str) -> bool {
    let letters = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    let hyphens = !name.starts_with('-') && !name.ends_with('-') && !name.contains("--");
    (1..=15).contains(&name.len()) && letters && hyphens && name.bytes().any(|byte| byte.is_ascii_lowercase())
}

/// Ports of all containers; those that start first may go on running beside the others.
fn ports(spec: &Node, file: &str) -> Result<Vec<NamedPort>, Diagnostic> {
    let mut ports = BTreeSet::new();
    for key in ["containers", "initContainers"] {
        for container in spec.get(key).map_or(Ok(&[][..]), |node| node.list(file))? {
            for node in container.get("ports").map_or(Ok(&[][..]), |node| node.list(file))? {
                let number = port(node.required(file, "containerPort")?, file)?;
                let protocol = protocol(node.get("protocol"), file)?;
                if let Some(node) = node.get("name") {
                    let name = node.text(file)?.to_owned();
                    if !is_port_name(&name) {
                        let message = format!("`{name}` is no name of a port, and the API server refuses it");
                        let help =
                            "use at most 15 of a-z, 0-9 and single hyphens within, with a letter among them (RFC 6335)";
                        return Err(Diagnostic::error(INVALID, node.span(file), message, help));
                    }
                    ports.insert(NamedPort { name, protocol, number });
                }
            }
        }
    }
    Ok(ports.into_iter().collect())
}

fn addresses(node: &Node, file: &str) -> Result<Option<Vec<Range>>, Diagnostic> {
    let mut texts = Vec::new();
    for one in node.at(&["status", "podIPs"]).map_or(Ok(&[][..]), |node| node.list(file))? {
        texts.extend(one.get("ip"));
    }
    if texts.is_empty() {
        texts.extend(node.at(&["status", "podIP"]));
    }
    let read = |node: &&Node| {
        let help = "write an IP address";
        node.text(file)?.parse().map(Range::one).map_err(|_| super::invalid(node, file, "no IP address", help))
    };
    let ranges = texts.iter().map(read).collect::<Result<Vec<_>, Diagnostic>>()?;
    Ok((!ranges.is_empty()).then_some(ranges))
}

type Key = (String, String, String);

/// One workload for the pods of one owner, or several if a selector with one of `keys` can tell them apart.
pub(super) fn settle(pods: Vec<Owned>, keys: &BTreeSet<String>) -> Vec<Workload> {
    let key = |workload: &Workload| (workload.namespace.clone(), workload.kind.clone(), workload.name.clone());
    let owners: BTreeMap<Key, Option<(String, String)>> =
        pods.iter().map(|pod| (key(&pod.workload), pod.owner.clone())).collect();
    let mut groups: BTreeMap<Key, Vec<Workload>> = BTreeMap::new();
    for Owned { mut workload, .. } in pods {
        let own = key(&workload);
        let top = top(&owners, own.clone());
        if top != own {
            // A pod that is made again gets another address.
            workload.addresses = None;
        }
        let idle = |key: &str| BY_CONTROLLER.contains(&key) && !keys.contains(key);
        workload.labels.known.retain(|key, _| !idle(key));
        workload.labels.open = match std::mem::take(&mut workload.labels.open) {
            Open::Keys(open) => match open.into_iter().filter(|key| !idle(key)).collect::<BTreeSet<_>>() {
                none if none.is_empty() => Open::Nothing,
                some => Open::Keys(some),
            },
            other => other,
        };
        groups.entry(top).or_default().push(workload);
    }
    groups.into_iter().flat_map(|(top, group)| merge(top, group)).collect()
}

/// The last owner of whom the input knows.
fn top(owners: &BTreeMap<Key, Option<(String, String)>>, mut at: Key) -> Key {
    let mut steps = 0;
    while let (Some(Some((kind, name))), true) = (owners.get(&at), steps < 8) {
        at = (at.0, kind.clone(), name.clone());
        steps += 1;
    }
    at
}

fn merge((_, kind, name): Key, group: Vec<Workload>) -> Vec<Workload> {
    // Pods say more than the template from which they were made; and that says more than an older one.
    let (pods, templates): (Vec<_>, Vec<_>) = group.into_iter().partition(|workload| workload.kind == "Pod");
    let (own, older): (Vec<_>, Vec<_>) = templates.into_iter().partition(|workload| workload.kind == kind);
    let mut variants: Vec<Workload> = Vec::new();
    let chosen = [pods, own, older].into_iter().find(|some| !some.is_empty()).unwrap_or_default();
    for workload in chosen {
        let same = |other: &&mut Workload| {
            let place = |one: &Workload| (one.is_host_network, one.has_other_networks);
            other.labels == workload.labels && other.ports == workload.ports && place(other) == place(&workload)
        };
        match variants.iter_mut().find(same) {
            None => variants.push(workload),
            Some(first) => {
                first.addresses = first.addresses.take().zip(workload.addresses).map(|(a, b)| [a, b].concat())
            }
        }
    }
    if let [one] = variants.as_mut_slice() {
        one.kind = kind;
        one.name = name;
    }
    variants
}
