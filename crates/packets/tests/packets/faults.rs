//! Planted faults: a policy that is wider than the one that is meant changes the cells that it widens and no others,
//! and each of them is a finding.

use std::collections::BTreeSet;

use sekat_packets::{Cell, MISMATCH, Observed};
use sekat_policy::intent::Protocol::{Sctp, Tcp, Udp};

use crate::support::{PODS, cell, cluster, go_on, world};

const WEB: &str = "a/web[Deployment]";
const DB: &str = "a/db[StatefulSet]";
const OTHER: &str = "b/web[Deployment]";
const JOB: &str = "c/job[CronJob]";

/// The store is for the web of its own namespace, on its port; and it may ask nobody.
const MEANT: &str = "\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: db, namespace: a}
spec:
  podSelector: {matchLabels: {app: db}}
  policyTypes: [Ingress, Egress]
  ingress:
  - from: [{podSelector: {matchLabels: {app: web}}}]
    ports: [{port: 5432}]
  egress: []
";

struct Fault {
    what: &'static str,
    /// Text of the policy, and what stands there instead.
    planted: (&'static str, &'static str),
    widened: Vec<Cell>,
}

fn faults() -> Vec<Fault> {
    // All that anybody may send to a pod on the ports that are tried there, with each protocol.
    let all = |from: &str, to: &str, ports: &[u16]| -> Vec<Cell> {
        let each = |protocol| ports.iter().map(move |port| cell(from, to, protocol, *port));
        [Tcp, Udp, Sctp].into_iter().flat_map(each).collect()
    };
    vec![
        Fault {
            what: "the pods of every namespace",
            planted: (
                "podSelector: {matchLabels: {app: web}}}]",
                "podSelector: {matchLabels: {app: web}}, namespaceSelector: {}}]",
            ),
            widened: vec![cell(OTHER, DB, Tcp, 5432)],
        },
        Fault {
            what: "the other protocol too",
            planted: ("[{port: 5432}]", "[{port: 5432}, {port: 5432, protocol: UDP}]"),
            widened: vec![cell(WEB, DB, Udp, 5432)],
        },
        Fault {
            what: "everybody, addresses outside too",
            planted: ("from: [{podSelector: {matchLabels: {app: web}}}]", "from: []"),
            widened: [OTHER, JOB, "192.0.2.1", "a/agent[DaemonSet]"].map(|from| cell(from, DB, Tcp, 5432)).to_vec(),
        },
        Fault {
            what: "no egress rules because the type is missing",
            planted: ("[Ingress, Egress]", "[Ingress]"),
            widened: [
                all(DB, WEB, &[80, 7000]),
                all(DB, OTHER, &[8080, 7000]),
                all(DB, JOB, &[7000]),
                all(DB, "a/agent[DaemonSet]", &[9100, 7000]),
                all(DB, "192.0.2.1", &[5432, 7000]),
            ]
            .concat(),
        },
    ]
}

#[test]
fn a_widened_policy_changes_its_cells_and_no_others() {
    if !go_on("faults::a_widened_policy_changes_its_cells_and_no_others") {
        return;
    }
    let with = |policy: &str| cluster(&format!("{PODS}---\n{policy}"));
    let meant = with(MEANT);
    let mut world = world(&meant);
    assert!(world.observe(&meant).unwrap().findings().is_empty(), "what is meant holds before a fault is planted");
    for Fault { what, planted: (text, instead), widened } in faults() {
        let policy = MEANT.replace(text, instead);
        assert_ne!(policy, MEANT, "{what} is planted");
        // What is enforced is the widened policy; what is expected is still the one that is meant.
        world.enforce(&with(&policy)).unwrap();
        let report = world.observe(&meant).unwrap();
        let found: BTreeSet<_> = report.rows.iter().filter(|row| !row.holds()).map(|row| row.cell.clone()).collect();
        assert_eq!(found, widened.into_iter().collect(), "{what}");
        assert!(report.findings().iter().all(|finding| finding.code == MISMATCH), "{what}");
    }
    world.relax().unwrap();
    let report = world.observe(&meant).unwrap();
    assert!(report.rows.iter().all(|row| row.observed == Observed::Reached), "without rules everything passes");
}

/// A listener that is gone, or rules that another program has changed: no answer and no counted drop is no verdict.
#[test]
fn what_is_lost_without_a_trace_is_not_taken_for_denied() {
    if !go_on("faults::what_is_lost_without_a_trace_is_not_taken_for_denied") {
        return;
    }
    let cluster = cluster(&PODS.replace("hostNetwork: true", "hostNetwork: false"));
    let world = world(&cluster);
    let rules = "table inet other { chain input { type filter hook input priority -10; tcp dport 8080 drop; }; }";
    let mut command = world.command(OTHER, "nft").unwrap();
    assert!(command.arg(rules).status().unwrap().success());
    let report = world.observe(&cluster).unwrap();
    let lost: Vec<_> = report.rows.iter().filter(|row| !row.holds()).collect();
    assert!(!lost.is_empty() && lost.iter().all(|row| row.observed == Observed::Inconclusive), "{lost:?}");
    let lost: BTreeSet<_> =
        lost.iter().map(|row| (row.cell.destination.as_str(), row.cell.protocol, row.cell.port)).collect();
    assert_eq!(lost, BTreeSet::from([(OTHER, Tcp, 8080)]));
}
