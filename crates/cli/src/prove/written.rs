//! The layers that need no running mesh: contracts, code, and the network policies as they are deployed.

use sekat_evidence::{Check, Layer, LayerName};
use sekat_policy::{Diagnostic, Intent};
use sekat_reach::{Analysis, Pair};

/// Each method, and everything that is wrong with what is meant.
pub(super) fn contracts(intent: &Intent, findings: &[Diagnostic]) -> Layer {
    let methods = intent.methods.iter().map(|method| {
        let callers = intent.edges.iter().filter(|edge| edge.method == method.path).count();
        let classes: Vec<&str> = method.request.union(&method.response).map(String::as_str).collect();
        let carries = if classes.is_empty() { "public data".to_owned() } else { classes.join(", ") };
        Check::holds(method.path.clone(), format!("its {callers} callers may hold what it carries: {carries}"))
            .at(format!("{}:{}", method.span.file, method.span.line))
    });
    layer(LayerName::Contracts, methods, findings)
}

/// Each workload's program, and who links what they may not.
pub(super) fn code(intent: &Intent, findings: &[Diagnostic]) -> Layer {
    let workloads = intent.workloads.iter().map(|workload| {
        Check::holds(workload.name.clone(), "links the contracts of those whom it may call and no others")
    });
    layer(LayerName::Code, workloads, findings)
}

/// The manifests against what is meant.
pub(super) fn network(intent: &Intent, analysis: Option<&Analysis>, unread: &[Diagnostic]) -> Layer {
    let Some(analysis) = analysis else { return layer(LayerName::Network, [], unread) };
    let mut sound = Vec::new();
    let checked = analysis.check_each(intent, |Pair { src, dst, open }| {
        let subject = format!("{src} -> {dst}");
        sound.push(if open.is_empty() {
            Check::holds(subject, "no connection is possible, and none is meant")
        } else {
            Check { observed: open, ..Check::holds(subject, "possible where it is meant, and nowhere else") }
        });
    });
    let findings: Vec<_> = unread.iter().cloned().chain(checked.findings).collect();
    layer(LayerName::Network, sound, &findings)
}

/// Checks that hold, and findings. What is named in a finding does not hold as well.
fn layer(name: LayerName, sound: impl IntoIterator<Item = Check>, findings: &[Diagnostic]) -> Layer {
    let mut checks: Vec<Check> = findings.iter().map(crate::findings::check).collect();
    let wrong = |check: &Check| {
        findings.iter().any(|finding| {
            let place = format!("{}:{}", finding.span.file, finding.span.line);
            check.place.as_ref() == Some(&place) || finding.message.contains(&format!("`{}`", check.subject))
        })
    };
    checks.extend(sound.into_iter().filter(|check| !wrong(check)));
    Layer::ran(name, checks)
}
