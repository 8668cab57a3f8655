//! Services and ingresses, as far as they bring traffic to pods: policies decide by pods, not by services.

use sekat_policy::intent::Protocol;
use sekat_policy::{Diagnostic, Span};
use sekat_yaml::{Node, Value};

use super::{Head, labels, port, protocol};
use crate::labels::Selector;

/// A service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The pods behind it; an empty one selects none here.
    pub selector: Selector,
    /// Its ports.
    pub ports: Vec<ServicePort>,
    /// Whether nodes or a load balancer take connections for it.
    pub is_published: bool,
    /// Where it stands.
    pub span: Span,
}

/// A port of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePort {
    /// Its name, empty if it has none.
    pub name: String,
    /// The service's port.
    pub port: u16,
    /// The pods' port.
    pub target: Target,
    /// The transport.
    pub protocol: Protocol,
}

/// A port by number or name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// By number.
    Number(u16),
    /// By name.
    Name(String),
}

/// An ingress.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ingress {
    /// Its namespace.
    pub namespace: String,
    /// The services behind it, with their ports.
    pub backends: Vec<(String, Target)>,
    /// Where it stands.
    pub span: Span,
}

pub(super) fn service(head: &Head, node: &Node, file: &str) -> Result<Service, Diagnostic> {
    let spec = node.get("spec");
    let field = |key| spec.and_then(|spec| spec.get(key));
    let selector = labels(field("selector"), file)?;
    let mut all = Selector::default();
    for (key, value) in &selector {
        all.requirements.extend(Selector::label(key, value).requirements);
    }
    let mut ports = Vec::new();
    for node in field("ports").map_or(Ok(&[][..]), |node| node.list(file))? {
        let number = port(node.required(file, "port")?, file)?;
        ports.push(ServicePort {
            name: node.get("name").map(|name| name.text(file)).transpose()?.unwrap_or_default().to_owned(),
            port: number,
            target: node.get("targetPort").map_or(Ok(Target::Number(number)), |node| target(node, file))?,
            protocol: protocol(node.get("protocol"), file)?,
        });
    }
    let kind = field("type").map(|kind| kind.text(file)).transpose()?;
    Ok(Service {
        namespace: head.namespace.clone(),
        name: head.name.clone(),
        selector: all,
        ports,
        is_published: matches!(kind, Some("NodePort" | "LoadBalancer")) || field("externalIPs").is_some(),
        span: head.span.clone(),
    })
}

fn target(node: &Node, file: &str) -> Result<Target, Diagnostic> {
    match &node.value {
        Value::Text(name) => Ok(Target::Name(name.clone())),
        _ => port(node, file).map(Target::Number),
    }
}

pub(super) fn ingress(head: &Head, node: &Node, file: &str) -> Result<Ingress, Diagnostic> {
    let mut backends = Vec::new();
    if let Some(spec) = node.get("spec") {
        for key in ["defaultBackend", "backend"] {
            backends.extend(spec.get(key).map(|node| backend(node, file)).transpose()?.flatten());
        }
        for rule in spec.get("rules").map_or(Ok(&[][..]), |node| node.list(file))? {
            for path in rule.at(&["http", "paths"]).map_or(Ok(&[][..]), |node| node.list(file))? {
                backends.extend(backend(path.required(file, "backend")?, file)?);
            }
        }
    }
    Ok(Ingress { namespace: head.namespace.clone(), backends, span: head.span.clone() })
}

/// Also as earlier versions wrote it. A backend that is no service is none of the cluster's pods.
fn backend(node: &Node, file: &str) -> Result<Option<(String, Target)>, Diagnostic> {
    if let Some(service) = node.get("service") {
        let name = service.required(file, "name")?.text(file)?.to_owned();
        let wanted = service.required(file, "port")?;
        let target = match wanted.get("number") {
            Some(number) => Target::Number(port(number, file)?),
            None => Target::Name(wanted.required(file, "name")?.text(file)?.to_owned()),
        };
        return Ok(Some((name, target)));
    }
    let Some(service) = node.get("serviceName") else { return Ok(None) };
    Ok(Some((service.text(file)?.to_owned(), target(node.required(file, "servicePort")?, file)?)))
}
