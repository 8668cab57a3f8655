//! What the report draws, out of what is meant and what was seen.

use std::collections::BTreeMap;

use sekat_audit::Report;
use sekat_evidence::{Domain, Flow, Node, NodeKind, Picture};
use sekat_policy::Intent;
use sekat_policy::intent::{Audience, Classes};

/// Domains, workloads, and all flows between workloads: those that are meant, and those that were tried and refused.
pub(super) fn of(intent: &Intent, seen: Option<&Report>) -> Picture {
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
        if edge.blocked > 0 {
            flows.of(&edge.caller, &edge.callee, true).seen += edge.blocked;
        }
    }
    Picture { domains: domains.collect(), nodes: nodes.collect(), flows: flows.0.into_values().collect() }
}

/// Flows by who calls whom, and whether that is forbidden.
#[derive(Default)]
struct Flows(BTreeMap<(String, String, bool), Flow>);

impl Flows {
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
