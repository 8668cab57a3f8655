//! The layer of the packets: the deployed policies in network namespaces, every ordered pair tried.

use std::path::PathBuf;

use sekat_evidence::{Check, Layer, LayerName};
use sekat_packets::{Addresses, Observed, World};
use sekat_policy::Severity;

use super::written::of_finding;

/// Sends packets between all pods of the manifests, under their policies.
pub(super) fn layer(manifests: &[PathBuf]) -> Layer {
    if !sekat_packets::permitted() {
        let why = "network namespaces need root: run as root, or under `unshare --user --map-root-user --net --mount`";
        return Layer::not_run(LayerName::Packets, why);
    }
    let (cluster, findings) = sekat_packets::read(manifests);
    if findings.iter().any(|finding| finding.severity == Severity::Error) {
        return Layer::ran(LayerName::Packets, findings.iter().map(of_finding).collect());
    }
    let tried = World::build(&cluster, Addresses::default()).and_then(|mut world| {
        world.enforce(&cluster)?;
        world.observe(&cluster)
    });
    let report = match tried {
        Ok(report) => report,
        Err(error) => return Layer::not_run(LayerName::Packets, format!("the packets could not be sent: {error}")),
    };
    let word = |reached: bool| if reached { "arrives" } else { "dropped" };
    let checks = report.rows.iter().map(|row| {
        let cell = &row.cell;
        let subject = format!("{} -> {} {} {}", cell.source, cell.destination, cell.protocol, cell.port);
        match row.observed {
            _ if row.holds() => Check::holds(subject, word(row.expected)),
            Observed::Inconclusive => {
                Check::unknown(subject, word(row.expected), "neither arrived nor counted as dropped")
            }
            observed => Check::violated(subject, word(row.expected), word(observed == Observed::Reached)),
        }
    });
    let untried = report.findings().into_iter().filter(|finding| finding.severity == Severity::Warning);
    let checks = checks.chain(untried.map(|finding| of_finding(&finding)).collect::<Vec<_>>()).collect();
    Layer::ran(LayerName::Packets, checks)
}
