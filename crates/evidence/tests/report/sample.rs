//! A bundle's report with everything in it that a report can have: long names, findings, layers that did not run.

use std::collections::BTreeMap;

use sekat_evidence::report::{self, Input};
use sekat_evidence::{Check, Domain, Facts, Flow, Layer, LayerName, Node, NodeKind, Picture, Step, Timeline, Verdict};

const METHOD: &str = "/sekat.payment.v1.PaymentService/ConfirmPaymentIntentWithVirtualAccount";

/// The page of a proof that came to this verdict.
pub(crate) fn page(verdict: Verdict) -> String {
    let input = Input {
        layers: LayerName::ALL.into_iter().map(|name| layer(name, verdict)).collect(),
        picture: picture(),
        timeline: timeline(),
        facts: facts(),
        fingerprint: "4f".repeat(32),
    };
    assert_eq!(Verdict::of(&input.layers), verdict);
    let mut page = Vec::new();
    report::html(&input, &mut page).expect("memory can be written");
    String::from_utf8(page).expect("a report is UTF-8")
}

fn layer(name: LayerName, verdict: Verdict) -> Layer {
    if name == LayerName::Packets && verdict == Verdict::Unknown {
        return Layer::not_run(name, "network namespaces need root or a user namespace");
    }
    let trace = "trace 00f067aa0ba902b7a3ce929d0e0e4736";
    let mut checks: Vec<Check> = (0..12)
        .map(|number| Check {
            observed: "PERMISSION_DENIED, in its span and its audit record".to_owned(),
            ..Check::holds(format!("showcase-{number} -> {METHOD}"), "refused").at(trace)
        })
        .collect();
    if verdict != Verdict::Holds && [LayerName::Probes, LayerName::Canaries].contains(&name) {
        checks.push(Check::unknown(format!("merchant -> {METHOD}"), "refused", "no span of the server says so"));
    }
    if verdict == Verdict::Violated && name == LayerName::Network {
        let place = "deploy/kubernetes/base/policies/sekat-commerce.yaml:118:7";
        let observed = "TCP 8443 is allowed, and nobody means it to be";
        checks.push(Check::violated("showcase -> payment", "denied", observed).coded("SK0510").at(place));
    }
    Layer::ran(name, checks)
}

fn picture() -> Picture {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let node = |name: &str, domain: &str, kind, classes: &[&str]| Node {
        name: name.to_owned(),
        domain: domain.to_owned(),
        kind,
        classes: names(classes),
    };
    let flow = |from: &str, to: &str, classes: &[&str], forbidden| Flow {
        from: from.to_owned(),
        to: to.to_owned(),
        classes: names(classes),
        methods: 3,
        seen: 186,
        forbidden,
    };
    let (both, user) = (["payment", "user"], ["user"]);
    Picture {
        domains: vec![
            Domain { name: "showcase".to_owned(), may_hold: Vec::new() },
            Domain { name: "commerce".to_owned(), may_hold: names(&both) },
        ],
        nodes: vec![
            node("showcase-edge", "showcase", NodeKind::Edge, &[]),
            node("showcase", "showcase", NodeKind::Workload, &[]),
            node("commerce-edge", "commerce", NodeKind::Edge, &both),
            node("order", "commerce", NodeKind::Workload, &both),
            node("account", "commerce", NodeKind::Workload, &user),
            node("catalog", "commerce", NodeKind::Workload, &[]),
            node("payment", "commerce", NodeKind::Workload, &both),
            node("psp-connector", "commerce", NodeKind::Workload, &both),
            node("notify-ingress", "commerce", NodeKind::Edge, &["payment"]),
        ],
        flows: vec![
            flow("showcase-edge", "showcase", &[], false),
            flow("showcase", "catalog", &[], false),
            flow("commerce-edge", "order", &both, false),
            flow("order", "payment", &both, false),
            flow("payment", "psp-connector", &both, false),
            flow("showcase", "payment", &[], true),
            flow("order", "showcase", &[], true),
        ],
    }
}

fn timeline() -> Timeline {
    let call = |number: u64, caller: &str, workload: &str, domain: &str, method: &str, status: &str| Step {
        start_us: number * 7_300,
        duration_us: 90_000 / (number + 1),
        caller: caller.to_owned(),
        workload: workload.to_owned(),
        domain: domain.to_owned(),
        method: method.to_owned(),
        status: status.to_owned(),
    };
    Timeline {
        trace_id: "4bf92f3577b34da6a3ce929d0e0e4736".to_owned(),
        steps: vec![
            call(0, "the app", "showcase-edge", "showcase", "ShowcaseService/GetPage", "OK"),
            call(1, "showcase-edge", "showcase", "showcase", "ShowcaseService/GetPage", "OK"),
            call(2, "commerce-edge", "order", "commerce", "OrderService/CreateOrder", "OK"),
            call(3, "order", "payment", "commerce", "PaymentService/ConfirmPaymentIntentWithVirtualAccount", "OK"),
            call(4, "payment", "psp-connector", "commerce", "ConnectorService/CreateVirtualAccount", "UNAVAILABLE"),
            call(5, "payment", "psp-connector", "commerce", "ConnectorService/CreateVirtualAccount", "OK"),
        ],
    }
}

fn facts() -> Facts {
    let figures = [("declaredEdges", 41), ("spans", 10_224), ("aFigureThatNobodyHasNamedYet", 1)];
    Facts {
        scope: "the mesh of 9 workloads in 2 domains".to_owned(),
        window_start: "2026-11-26T18:45:10.123456789Z".to_owned(),
        window_end: "2026-11-26T18:46:02.987654321Z".to_owned(),
        assumptions: vec![
            "The code that runs was built from the workspace whose dependencies were looked at.".to_owned(),
        ],
        not_covered: vec![
            "What an allowed caller does with what it received.".to_owned(),
            "Something that nobody has translated yet.".to_owned(),
        ],
        tool_version: "0.1.0".to_owned(),
        policy_digest: "00".repeat(32),
        previous: Some("ab".repeat(32)),
        coverage: BTreeMap::from(figures.map(|(name, count)| (name.to_owned(), count))),
    }
}
