//! The intent of our own contracts: their options say who calls what, and the conventions of the deployment, which
//! stand here and nowhere else, say where that runs.

use std::collections::{BTreeMap, BTreeSet};

use sekat_policy::intent::{
    Assertion, Audience, Classes, Domain, Edge, Endpoint, Method, Place, Platform, Port, Protocol, Subject, Target,
    Workload,
};
use sekat_policy::{ClassSet, DataClass, Intent, Listener, Span};

use crate::intent_lints::classified;
use crate::model::{self, Model};

/// How the workloads of our contracts are deployed. The default is what `deploy/` uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deployment {
    /// The namespace of a domain is this and the domain's name.
    pub namespace_prefix: String,
    /// The label that holds a workload's name on its pods. The service account has the workload's name too.
    pub label: String,
    /// The port of [`Listener::Mesh`].
    pub mesh_port: u16,
    /// The port of [`Listener::Feed`].
    pub feed_port: u16,
    /// The port of the edges to the outside.
    pub public_port: u16,
    /// The port of the platform's probes.
    pub health_port: u16,
    /// Workloads that take connections from outside although they forward no end user's calls.
    pub ingress: BTreeSet<String>,
    /// What every workload needs of the platform.
    pub platform: Platform,
}

impl Default for Deployment {
    fn default() -> Self {
        let place = |namespace: &str, label: &str, name: &str| Place {
            namespace: namespace.to_owned(),
            service_account: String::new(),
            labels: BTreeMap::from([(label.to_owned(), name.to_owned())]),
        };
        let label = "app.kubernetes.io/name";
        Self {
            namespace_prefix: "sekat-".to_owned(),
            label: label.to_owned(),
            mesh_port: 7000,
            feed_port: 7001,
            public_port: 7443,
            health_port: 7080,
            ingress: BTreeSet::from(["notify-ingress".to_owned()]),
            platform: Platform {
                dns: Some(Endpoint {
                    place: place("kube-system", "k8s-app", "kube-dns"),
                    ports: vec![(Protocol::Udp, 53), (Protocol::Tcp, 53)],
                }),
                telemetry: vec![Endpoint {
                    place: place("sekat-telemetry", label, "otel-collector"),
                    ports: vec![(Protocol::Tcp, 4317)],
                }],
                ..Platform::default()
            },
        }
    }
}

/// Every field of our contracts states its class (SK0003), so that a method passes on exactly what it states: it is a
/// point at which data changes hands on purpose.
const PURPOSE: &str = "as its contract states";

const MESH: &str = "mesh";
const FEED: &str = "feed";

/// The name of a class in an [`Intent`] and in policy files.
pub(crate) fn class_name(class: DataClass) -> String {
    class.name().to_lowercase()
}

/// What contracts that keep the rules mean, deployed in this way. What a contract leaves out grants nothing.
#[must_use]
pub fn intent_of(model: &Model, deployment: &Deployment) -> Intent {
    let span = model.topologies.first().cloned().unwrap_or_default();
    let mut intent = Intent {
        classes: DataClass::ALL.into_iter().map(|class| (class_name(class), Classes::new())).collect(),
        domains: model.domains.iter().map(|domain| self::domain(domain, &span)).collect(),
        workloads: model.workloads.iter().map(|it| workload(model, it, deployment, &span)).collect(),
        methods: methods(model),
        platform: deployment.platform.clone(),
        ..Intent::default()
    };
    intent.edges = model
        .edges()
        .map(|edge| Edge {
            caller: edge.caller.name.clone(),
            method: edge.method.path.clone(),
            purpose: Some(PURPOSE.to_owned()),
            span: edge.method.span.clone(),
        })
        .collect();
    intent.assertions = assertions(model, &intent, &span);
    intent
}

fn classes(set: ClassSet) -> Classes {
    set.iter().map(class_name).collect()
}

fn domain(domain: &model::Domain, span: &Span) -> Domain {
    Domain {
        name: domain.name.clone(),
        trust_domain: domain.trust_domain.clone(),
        may_hold: classes(domain.may_hold),
        span: span.clone(),
    }
}

fn workload(model: &Model, workload: &model::Workload, deployment: &Deployment, span: &Span) -> Workload {
    let port = |name: &str, number, audience| Port { name: name.to_owned(), number, protocol: Protocol::Tcp, audience };
    let serves = |listener| {
        let mut policies = model.services.iter().filter_map(|service| service.policy.as_ref());
        policies.any(|policy| policy.workload == workload.name && policy.listener == listener)
    };
    let mut ports = Vec::new();
    if serves(Listener::Mesh) {
        ports.push(port(MESH, deployment.mesh_port, Audience::Callers));
    }
    if serves(Listener::Feed) {
        ports.push(port(FEED, deployment.feed_port, Audience::Callers));
    }
    if workload.edge || deployment.ingress.contains(&workload.name) {
        ports.push(port("public", deployment.public_port, Audience::Public));
    }
    // What listens nowhere is a tool that calls, and nobody probes it.
    if !ports.is_empty() {
        ports.push(port("health", deployment.health_port, Audience::Probes));
    }
    Workload {
        name: workload.name.clone(),
        domain: workload.domain.clone(),
        identity: model.spiffe_id(&workload.name).unwrap_or_default(),
        place: Place {
            namespace: format!("{}{}", deployment.namespace_prefix, workload.domain),
            service_account: workload.name.clone(),
            labels: BTreeMap::from([(deployment.label.clone(), workload.name.clone())]),
        },
        ports,
        span: span.clone(),
    }
}

fn methods(model: &Model) -> Vec<Method> {
    let methods = model.methods().filter_map(|(service, method)| {
        let policy = service.policy.as_ref()?;
        Some(Method {
            path: method.path.clone(),
            workload: model.workload(&policy.workload)?.name.clone(),
            port: if policy.listener == Listener::Feed { FEED } else { MESH }.to_owned(),
            request: classes(model.classes(&method.request)),
            response: classes(model.classes(&method.response)),
            span: method.span.clone(),
        })
    });
    methods.collect()
}

/// What the topology implies: a domain never obtains what it may not hold, and nobody leaves the mesh without egress.
fn assertions(model: &Model, intent: &Intent, span: &Span) -> Vec<Assertion> {
    let never = |from, target| Assertion { from, target, transitive: true, span: span.clone() };
    let all: Classes = intent.classes.keys().cloned().collect();
    let classes = intent.domains.iter().flat_map(|domain| {
        let forbidden = classified(&all).into_iter().filter(|class| !domain.may_hold.contains(*class));
        forbidden.map(|class| never(Subject::Domain(domain.name.clone()), Target::Class(class.to_owned())))
    });
    let sealed = model.workloads.iter().filter(|workload| !workload.egress);
    let sealed = sealed.map(|workload| never(Subject::Workload(workload.name.clone()), Target::Internet));
    classes.chain(sealed).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::lints::fixture::planted;

    const PROTO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../proto");

    #[test]
    fn contracts_and_conventions_give_places_ports_and_identities() {
        let intent = intent_of(&planted(&[]).model(), &Deployment::default());
        let shop = intent.workload("shop").expect("shop");
        assert_eq!(shop.identity, "spiffe://commerce.test/shop");
        assert_eq!((shop.place.namespace.as_str(), shop.place.service_account.as_str()), ("sekat-commerce", "shop"));
        assert_eq!(shop.place.labels.get("app.kubernetes.io/name").map(String::as_str), Some("shop"));
        let ports = |name: &str| -> Vec<(String, u16, Audience)> {
            let ports = &intent.workload(name).expect("a workload").ports;
            ports.iter().map(|port| (port.name.clone(), port.number, port.audience)).collect()
        };
        let port = |name: &str, number, audience| (name.to_owned(), number, audience);
        let health = port("health", 7080, Audience::Probes);
        assert_eq!(
            ports("shop"),
            [port("mesh", 7000, Audience::Callers), port("feed", 7001, Audience::Callers), health.clone()]
        );
        assert_eq!(ports("shop-edge"), [port("public", 7443, Audience::Public), health]);
        assert_eq!(ports("ops"), [], "it only calls");
        assert!(intent.stores.is_empty(), "stores are files inside of their services");
    }

    #[test]
    fn rights_are_those_of_the_contracts_and_no_others() {
        let model = planted(&[]).model();
        let intent = intent_of(&model, &Deployment::default());
        assert_eq!(intent.externals, [], "a site file says where providers are");
        assert!(intent.allows("shop", "/sekat.bank.v1.BankService/CreateCharge"));
        assert!(!intent.allows("showcase", "/sekat.bank.v1.BankService/CreateCharge"));
        assert!(intent.connections().contains(&("showcase", "shop", "feed")));
        assert!(!intent.connections().iter().any(|(caller, _, port)| *caller == "showcase" && *port == "mesh"));
        let charge = intent.method("/sekat.bank.v1.BankService/CreateCharge").expect("a method");
        assert_eq!(charge.response, Classes::from(["payment".to_owned()]));
    }

    #[test]
    fn the_mesh_of_this_repository_keeps_the_rules_of_intents() {
        let (model, findings) = crate::compile(Path::new(PROTO));
        assert_eq!(findings, []);
        let intent = intent_of(&model.expect("a model"), &Deployment::default());
        assert_eq!(crate::intent_lints::run(&intent), []);
        let showcase = Subject::Domain("showcase".to_owned());
        for class in ["payment", "user", "merchant"] {
            let target = Target::Class(class.to_owned());
            assert!(intent.assertions.iter().any(|it| it.from == showcase && it.target == target), "{class}");
        }
    }

    #[test]
    fn a_showcase_that_may_call_the_bank_breaks_what_the_topology_implies() {
        let policy = r#"callers: ["shop"] kind: METHOD_KIND_WRITE"#;
        let model = planted(&[(policy, &policy.replace("\"shop\"", "\"shop\", \"showcase\""))]).model();
        let codes: BTreeSet<_> = crate::intent_lints::run(&intent_of(&model, &Deployment::default()))
            .into_iter()
            .map(|finding| finding.code)
            .collect();
        assert_eq!(codes, BTreeSet::from(["SK0315", "SK0320"]));
    }
}
