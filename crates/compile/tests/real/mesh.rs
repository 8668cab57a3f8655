//! The intent of this repository's own mesh, from the reviewed table of its edges and the conventions of its deployment:
//! a namespace a domain, labels and service accounts by name, the same ports everywhere.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use sekat_policy::intent::{Audience, Domain, Edge, Endpoint, Method, Place, Platform, Port, Protocol, Workload};
use sekat_policy::{Intent, Span};

/// Workloads of each domain that serve methods, edges that serve the public, and those that only call.
const WORKLOADS: [(&str, &str, &[&str]); 11] = [
    ("account", "commerce", &["mesh"]),
    ("catalog", "commerce", &["mesh", "feed"]),
    ("commerce-edge", "commerce", &["public"]),
    ("merchant", "commerce", &["mesh"]),
    ("notify-ingress", "commerce", &["public"]),
    ("ops", "commerce", &[]),
    ("order", "commerce", &["mesh"]),
    ("payment", "commerce", &["mesh"]),
    ("psp-connector", "commerce", &["mesh"]),
    ("showcase", "showcase", &["mesh"]),
    ("showcase-edge", "showcase", &["public"]),
];

/// What the contracts mean, as the deployment places it.
pub(crate) fn intent() -> Intent {
    let mut intent = Intent {
        domains: ["commerce", "showcase"].map(domain).into(),
        workloads: WORKLOADS.map(|(name, domain, ports)| workload(name, domain, ports)).into(),
        platform: Platform {
            dns: Some(Endpoint {
                place: place("kube-system", "", "k8s-app", "kube-dns"),
                ports: vec![(Protocol::Udp, 53), (Protocol::Tcp, 53)],
            }),
            telemetry: vec![Endpoint {
                place: place("sekat-telemetry", "", "app.kubernetes.io/name", "otel-collector"),
                ports: vec![(Protocol::Tcp, 4_317)],
            }],
            // Kubernetes lets the kubelet of a pod's own machine in by itself; nobody else has to.
            probes: Vec::new(),
        },
        ..Intent::default()
    };
    let table = fs::read_to_string(crate::root().join("tests/golden/edges.tsv")).expect("the table of edges");
    let mut paths = BTreeSet::new();
    for line in table.lines().skip(1) {
        let columns: Vec<&str> = line.split('\t').collect();
        let [caller, callee, listener, path] = columns[..4] else { panic!("a line of the table: {line}") };
        let span = Span { file: "tests/golden/edges.tsv".to_owned(), line: 0, column: 0 };
        if paths.insert(path.to_owned()) {
            intent.methods.push(Method {
                path: path.to_owned(),
                workload: callee.to_owned(),
                port: listener.to_owned(),
                request: BTreeSet::new(),
                response: BTreeSet::new(),
                span: span.clone(),
            });
        }
        intent.edges.push(Edge { caller: caller.to_owned(), method: path.to_owned(), purpose: None, span });
    }
    intent
}

fn domain(name: &str) -> Domain {
    Domain {
        name: name.to_owned(),
        trust_domain: format!("{name}.sekat.local"),
        may_hold: BTreeSet::new(),
        span: Span::default(),
    }
}

fn place(namespace: &str, account: &str, key: &str, value: &str) -> Place {
    Place {
        namespace: namespace.to_owned(),
        service_account: account.to_owned(),
        labels: BTreeMap::from([(key.to_owned(), value.to_owned())]),
    }
}

fn workload(name: &str, domain: &str, listeners: &[&str]) -> Workload {
    let port = |name: &str| {
        let (number, audience) = match name {
            "mesh" => (7_000, Audience::Callers),
            "feed" => (7_001, Audience::Callers),
            "public" => (7_443, Audience::Public),
            _ => (7_080, Audience::Probes),
        };
        Port { name: name.to_owned(), number, protocol: Protocol::Tcp, audience }
    };
    let health = (!listeners.is_empty()).then_some("health");
    Workload {
        name: name.to_owned(),
        domain: domain.to_owned(),
        identity: format!("spiffe://{domain}.sekat.local/{name}"),
        place: place(&format!("sekat-{domain}"), name, "app.kubernetes.io/name", name),
        ports: listeners.iter().copied().chain(health).map(port).collect(),
        span: Span::default(),
    }
}
