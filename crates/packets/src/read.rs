//! Manifests into a [`Cluster`]. Everything that is wrong is reported at once, each with its place; what was read
//! next to an error is no base for a verdict.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use sekat_policy::intent::Protocol;
use sekat_policy::{Diagnostic, Severity, Span};
use sekat_yaml::{Node, Value};

use crate::cluster::{Cluster, ContainerPort, Labels, NAME_LABEL, Pod};
use crate::read_policy;

/// A file or folder that cannot be read.
pub const UNREADABLE: &str = "SK0700";
/// A policy that the API server would refuse, or a field of it that it would drop.
pub const INVALID_POLICY: &str = "SK0701";
/// A policy of a kind that is not turned into packet rules: what it does is not tried.
pub const UNSUPPORTED_POLICY: &str = "SK0702";
/// Pods in a namespace whose labels are not in the input.
pub const UNKNOWN_NAMESPACE: &str = "SK0703";
/// Something that stands in the input twice.
pub const DUPLICATE: &str = "SK0704";

/// Where the namespace of an object is not stated.
const DEFAULT_NAMESPACE: &str = "default";
/// Lists within lists; `kubectl` writes one level.
const LIST_DEPTH_MAX: u8 = 4;

/// Reads files and, recursively, the `.yaml`, `.yml` and `.json` files of folders.
#[must_use]
pub fn read(paths: &[PathBuf]) -> (Cluster, Vec<Diagnostic>) {
    let mut reader = Reader::default();
    let mut files = BTreeSet::new();
    for path in paths {
        reader.collect(path, true, &mut files);
    }
    for file in files {
        let name = file.display().to_string();
        match fs::read_to_string(&file) {
            Ok(text) => reader.text(&name, &text),
            Err(error) => reader.unreadable(&file, &error),
        }
    }
    reader.finish()
}

/// Reads one text, which `file` names in findings.
#[must_use]
pub fn read_text(file: &str, text: &str) -> (Cluster, Vec<Diagnostic>) {
    read_texts([(file, text)])
}

/// Reads several texts, each with the name that findings give it.
#[must_use]
pub fn read_texts<'a>(texts: impl IntoIterator<Item = (&'a str, &'a str)>) -> (Cluster, Vec<Diagnostic>) {
    let mut reader = Reader::default();
    for (file, text) in texts {
        reader.text(file, text);
    }
    reader.finish()
}

#[derive(Default)]
struct Reader {
    cluster: Cluster,
    /// Namespaces with a manifest.
    stated: BTreeSet<String>,
    /// What was seen, by kind, namespace and name.
    seen: BTreeSet<(String, String, String)>,
    found: Vec<Diagnostic>,
}

impl Reader {
    fn collect(&mut self, path: &Path, named: bool, files: &mut BTreeSet<PathBuf>) {
        if !path.is_dir() {
            let manifest = path.extension().is_some_and(|it| it == "yaml" || it == "yml" || it == "json");
            if named || manifest {
                files.insert(path.to_owned());
            }
            return;
        }
        match fs::read_dir(path).and_then(Iterator::collect::<Result<Vec<_>, _>>) {
            // A link to a folder may lead back to where we are; one to a file may not.
            Ok(entries) => {
                for path in entries.iter().map(fs::DirEntry::path).filter(|path| !(path.is_symlink() && path.is_dir()))
                {
                    self.collect(&path, false, files);
                }
            }
            Err(error) => self.unreadable(path, &error),
        }
    }

    fn unreadable(&mut self, path: &Path, error: &std::io::Error) {
        let span = Span { file: path.display().to_string(), ..Span::default() };
        self.found.push(Diagnostic::error(
            UNREADABLE,
            span,
            format!("cannot be read: {error}"),
            "name a file or folder that exists and is readable",
        ));
    }

    fn text(&mut self, file: &str, text: &str) {
        for document in sekat_yaml::documents(file, text) {
            match document {
                Ok(node) if node.is_null() => {}
                Ok(node) => self.object(file, &node, 0),
                Err(error) => self.found.push(error),
            }
        }
    }

    fn object(&mut self, file: &str, node: &Node, depth: u8) {
        let read = self.try_object(file, node, depth);
        self.found.extend(read.err());
    }

    fn try_object(&mut self, file: &str, node: &Node, depth: u8) -> Result<(), Diagnostic> {
        let kind = node.required(file, "kind")?.text(file)?;
        let version = node.required(file, "apiVersion")?.text(file)?;
        if kind.ends_with("List") && node.get("items").is_some() {
            if depth == LIST_DEPTH_MAX {
                return Err(node.unexpected(file, "a list that holds objects, not further lists"));
            }
            for item in node.required(file, "items")?.list(file)? {
                self.object(file, item, depth.saturating_add(1));
            }
            return Ok(());
        }
        let group = version.split_once('/').map_or("", |(group, _)| group);
        match (group, kind) {
            ("", "Namespace") => self.namespace(file, node),
            ("networking.k8s.io", "NetworkPolicy") => {
                let (namespace, name) = self.identity(file, node, kind)?;
                let (policy, found) = read_policy::policy(file, node, namespace, name);
                self.found.extend(found);
                self.cluster.policies.push(policy);
                Ok(())
            }
            ("", "Pod") => self.pod(file, node, kind, node),
            ("", "ReplicationController") | ("apps", "Deployment" | "ReplicaSet" | "StatefulSet" | "DaemonSet") => {
                self.pod(file, node, kind, node.required(file, "spec")?.required(file, "template")?)
            }
            ("batch", "Job") => self.pod(file, node, kind, node.required(file, "spec")?.required(file, "template")?),
            ("batch", "CronJob") => {
                let job = node.required(file, "spec")?.required(file, "jobTemplate")?.required(file, "spec")?;
                self.pod(file, node, kind, job.required(file, "template")?)
            }
            _ if kind.ends_with("NetworkPolicy") => Err(Diagnostic::error(
                UNSUPPORTED_POLICY,
                node.span(file),
                format!("{version} {kind} decides about packets, and is not turned into packet rules here"),
                "leave it out, and do not take this run's verdict for the pods that it selects",
            )),
            _ => Ok(()),
        }
    }

    /// Namespace and name; an object that stands twice is an error, because only one of the two would be deployed.
    fn identity(&mut self, file: &str, node: &Node, kind: &str) -> Result<(String, String), Diagnostic> {
        let metadata = node.required(file, "metadata")?;
        let name = metadata.get("name").or_else(|| metadata.get("generateName"));
        let name = name.map_or_else(|| metadata.required(file, "name"), Ok)?.text(file)?.to_owned();
        let namespace = metadata.get("namespace").map_or(Ok(DEFAULT_NAMESPACE), |node| node.text(file))?.to_owned();
        if !self.seen.insert((kind.to_owned(), namespace.clone(), name.clone())) {
            let message = format!("{kind} {namespace}/{name} stands in the input twice");
            return Err(Diagnostic::error(DUPLICATE, node.span(file), message, "leave one of them out"));
        }
        Ok((namespace, name))
    }

    fn namespace(&mut self, file: &str, node: &Node) -> Result<(), Diagnostic> {
        let (_, name) = self.identity(file, node, "Namespace")?;
        let mut labels = labels(file, node.at(&["metadata", "labels"]))?;
        labels.insert(NAME_LABEL.to_owned(), name.clone());
        self.stated.insert(name.clone());
        self.cluster.namespaces.insert(name, labels);
        Ok(())
    }

    fn pod(&mut self, file: &str, node: &Node, kind: &str, template: &Node) -> Result<(), Diagnostic> {
        let (namespace, name) = self.identity(file, node, kind)?;
        let spec = template.required(file, "spec")?;
        let host_network = spec.get("hostNetwork").map_or(Ok(false), |value| value.bool(file))?;
        let mut ports = BTreeSet::new();
        let containers = spec.required(file, "containers")?.list(file)?;
        // An init container that always restarts is a sidecar: it serves as long as the pod does.
        let init = spec.get("initContainers").map_or(Ok(&[] as &[Node]), |node| node.list(file))?;
        let always = |node: &&Node| matches!(node.get("restartPolicy").map(|it| &it.value), Some(Value::Text(it)) if it == "Always");
        for container in containers.iter().chain(init.iter().filter(always)) {
            for port in container.get("ports").map_or(Ok(&[] as &[Node]), |ports| ports.list(file))? {
                ports.insert(container_port(file, port)?);
            }
        }
        self.cluster.pods.push(Pod {
            labels: labels(file, template.at(&["metadata", "labels"]))?,
            kind: kind.to_owned(),
            ports: ports.into_iter().collect(),
            span: node.span(file),
            namespace,
            name,
            host_network,
        });
        Ok(())
    }

    fn finish(mut self) -> (Cluster, Vec<Diagnostic>) {
        let places = self.cluster.pods.iter().map(|pod| (&pod.namespace, &pod.span));
        let places = places.chain(self.cluster.policies.iter().map(|policy| (&policy.namespace, &policy.span)));
        for (namespace, span) in places {
            if self.stated.contains(namespace) || self.cluster.namespaces.contains_key(namespace) {
                continue;
            }
            let labels = Labels::from([(NAME_LABEL.to_owned(), namespace.clone())]);
            self.cluster.namespaces.insert(namespace.clone(), labels);
            self.found.push(Diagnostic {
                code: UNKNOWN_NAMESPACE,
                severity: Severity::Warning,
                span: span.clone(),
                message: format!("there is no Namespace `{namespace}`: it is taken to have no labels but its name"),
                help: "add the Namespace, so that selectors see its labels".to_owned(),
            });
        }
        self.cluster.pods.sort_by(|a, b| (&a.namespace, &a.name, &a.kind).cmp(&(&b.namespace, &b.name, &b.kind)));
        (self.cluster, self.found)
    }
}

pub(crate) fn labels(file: &str, node: Option<&Node>) -> Result<Labels, Diagnostic> {
    let entries = node.map_or(Ok(&[] as &[_]), |node| node.map(file))?;
    entries.iter().map(|(key, value)| Ok((key.name.clone(), value.text(file)?.to_owned()))).collect()
}

fn container_port(file: &str, node: &Node) -> Result<ContainerPort, Diagnostic> {
    Ok(ContainerPort {
        number: port_number(file, node.required(file, "containerPort")?)?,
        protocol: node.get("protocol").map_or(Ok(Protocol::Tcp), |node| protocol(file, node))?,
        name: node.get("name").map(|name| name.text(file).map(str::to_owned)).transpose()?,
    })
}

pub(crate) fn port_number(file: &str, node: &Node) -> Result<u16, Diagnostic> {
    let number = u16::try_from(node.int(file)?).ok().filter(|number| *number > 0);
    number.ok_or_else(|| node.unexpected(file, "a port from 1 to 65535"))
}

pub(crate) fn protocol(file: &str, node: &Node) -> Result<Protocol, Diagnostic> {
    let text = node.text(file)?;
    let found = Protocol::ALL.into_iter().find(|protocol| protocol.name() == text);
    found.ok_or_else(|| {
        let message = format!("`{text}` is no protocol of Kubernetes");
        Diagnostic::error(INVALID_POLICY, node.span(file), message, "write TCP, UDP or SCTP")
    })
}
