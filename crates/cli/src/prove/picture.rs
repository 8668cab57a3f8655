//! What the report draws, out of what is meant and what was seen.

use std::collections::BTreeMap;

use sekat_audit::Report;
use sekat_evidence::{Domain, Flow, Layer, LayerName, Node, NodeKind, Picture, Verdict};
use sekat_policy::Intent;
use sekat_policy::intent::{Audience, Classes};

/// Domains, workloads, and all flows between workloads: those that are meant, and those that were tried and refused. What
/// the probes tried is counted from their layer: a server that refuses a certificate makes no span.
pub(super) fn of(intent: &Intent, seen: Option<&Report>, layers: &[Layer]) -> Picture {
    let sensitive = |classes: &Classes| -> Vec<String> {
        intent.closed(classes).into_iter().filter(|class| class == "user" || class == "payment").collect()
    };
    let domains =
        intent.domains.iter().map(|domain| Domain { name: domain.name.clone(), may_hold: sensitive(&domain.may_hold) });
    let nodes = intent.workloads.iter().map(|workload| {
        let public = workload.ports.iter().any(|port| port.audience == Audience::Public);
        let served = intent.methods.iter().filter(|method| method.workload == workload.name);
        let classes: Classes = served.flat_map(|method| method.request.union(&method.response)).cloned().collect();
        Node {
            name: workload.name.clone(),
            domain: workload.domain.clone(),
            kind: if public { NodeKind::Edge } else { NodeKind::Workload },
            classes: sensitive(&classes),
        }
    });
    let mut flows = Flows::default();
    for edge in &intent.edges {
        let Some(method) = intent.method(&edge.method) else { continue };
        let flow = flows.of(&edge.caller, &method.workload, false);
        flow.methods += 1;
        flow.classes.extend(sensitive(&method.request.union(&method.response).cloned().collect()));
        flow.classes.sort();
        flow.classes.dedup();
    }
    for edge in seen.into_iter().flat_map(|report| &report.edges) {
        if [&edge.caller, &edge.callee].into_iter().any(|name| intent.workload(name).is_none()) {
            continue;
        }
        if edge.allowed > 0 && intent.allows(&edge.caller, &edge.method) {
            flows.of(&edge.caller, &edge.callee, false).seen += edge.allowed;
        }
        let unannounced = edge.blocked.saturating_sub(edge.announced);
        if unannounced > 0 {
            flows.of(&edge.caller, &edge.callee, true).seen += unannounced;
        }
    }
    flows.refused(intent, layers);
    Picture { domains: domains.collect(), nodes: nodes.collect(), flows: flows.0.into_values().collect() }
}

/// Flows by who calls whom, and whether that is forbidden.
#[derive(Default)]
struct Flows(BTreeMap<(String, String, bool), Flow>);

impl Flows {
    /// The probes that were refused, wherever that was.
    fn refused(&mut self, intent: &Intent, layers: &[Layer]) {
        let probes = layers.iter().filter(|layer| layer.name == LayerName::Probes).flat_map(|layer| &layer.checks);
        for probe in probes.filter(|probe| probe.outcome == Verdict::Holds) {
            // Checks of a whole workload name no call.
            let Some((caller, path)) = probe.subject.split_once(" -> ") else { continue };
            if let (Some(caller), Some(method)) = (intent.workload(caller), intent.method(path)) {
                self.of(&caller.name, &method.workload, true).seen += 1;
            }
        }
    }

    fn of(&mut self, from: &str, to: &str, forbidden: bool) -> &mut Flow {
        let (from, to) = (from.to_owned(), to.to_owned());
        self.0.entry((from.clone(), to.clone(), forbidden)).or_insert_with(|| Flow {
            from,
            to,
            classes: Vec::new(),
            methods: 0,
            seen: 0,
            forbidden,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use sekat_contract::Deployment;
    use sekat_contract::check::{self, Meant};
    use sekat_evidence::{Check, report};

    use super::super::{ASSUMPTIONS, NOT_COVERED};
    use super::*;

    #[test]
    fn every_probe_that_was_refused_is_counted_and_no_other_check() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto");
        let meant = Meant::Contracts { root: &root, deployment: &Deployment::default() };
        let (intent, findings) = check::run(&meant, None, None);
        assert_eq!(findings, []);
        let path = "/sekat.payment.v1.PaymentIntentService/CapturePaymentIntent";
        let probe = |caller: &str| format!("{caller} -> {path}");
        let checks = vec![
            Check { observed: "refused in the TLS handshake".to_owned(), ..Check::holds(probe("showcase"), "refused") },
            Check::holds(probe("showcase"), "refused"),
            Check::holds(probe("merchant"), "refused"),
            Check::violated(probe("showcase"), "refused", "let in: Ok"),
            Check::unknown(probe("showcase"), "refused", "no answer"),
            Check::holds(probe("nobody"), "refused"),
            Check::holds("payment", "no connection of strangers"),
        ];
        let layers = [Layer::ran(LayerName::Probes, checks.clone()), Layer::ran(LayerName::Traces, checks)];
        let flows = of(&intent, None, &layers).flows;
        let refused = flows.iter().filter(|flow| flow.forbidden);
        let refused: Vec<_> = refused.map(|flow| (flow.from.as_str(), flow.to.as_str(), flow.seen)).collect();
        assert_eq!(refused, [("merchant", "payment", 1), ("showcase", "payment", 2)]);
    }

    /// Here, because only here are the sentences that `prove` states.
    #[test]
    fn every_sentence_that_is_stated_is_told_in_indonesian() {
        for sentence in ASSUMPTIONS.iter().chain(&NOT_COVERED) {
            assert!(
                report::indonesian(&sentence.replace("{}", "3")).is_some(),
                "give the report a translation of: {sentence}"
            );
        }
    }
}
