//! To whom a workload is open beyond the pods that exist: to any pod at all, and to any pod that could be labelled as
//! some rule wants it, also in namespaces that do not exist yet.

use std::collections::BTreeSet;
use std::io::{Result, Write};

use crate::analysis::Analysis;
use crate::labels::{Selector, Truth};
use crate::objects::{Namespaces, Peer, Pods};
use crate::plan::Direction;
use crate::ports::{Conn, PortSet};
use crate::render::field;
use crate::verdict::{Judged, Match, decide};

/// The name of any pod at all, but for those with labels that a rule wants.
pub const ENTIRE_CLUSTER: &str = "entire-cluster";

/// What is open towards pods that may come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exposure {
    /// The workload.
    pub workload: String,
    /// Whether they may connect to it, or it to them.
    pub direction: Direction,
    /// Which pods: all, or those with labels and in namespaces with labels.
    pub peer: String,
    /// What is open as far as this workload's policies decide.
    pub conn: Conn,
    /// Whether policies decide for the workload in this direction at all.
    pub is_protected: bool,
}

impl Analysis {
    /// All exposures, by workload. What is open to any pod is said once; what is open to pods with certain labels, only
    /// if it is more or less than that.
    #[must_use]
    pub fn exposure(&self) -> Vec<Exposure> {
        let mut exposures = Vec::new();
        for direction in [Direction::Egress, Direction::Ingress] {
            let selected = self.model.selected(direction);
            for class in self.classes() {
                let traits = self.model.classes.traits.get(class as usize);
                let is_free = traits.is_none_or(|traits| traits.is_host_network || traits.is_opaque);
                let selected = selected.get(class as usize).filter(|_| !is_free).map_or(&[][..], Vec::as_slice);
                let found = self.of_class(direction, class, selected);
                for workload in self.members(class) {
                    exposures.extend(found.iter().map(|(peer, conn)| Exposure {
                        workload: self.name(*workload as usize),
                        direction,
                        peer: peer.clone(),
                        conn: conn.clone(),
                        is_protected: !selected.is_empty(),
                    }));
                }
            }
        }
        exposures.sort_by(|left, right| {
            (left.direction, &left.workload, &left.peer).cmp(&(right.direction, &right.workload, &right.peer))
        });
        exposures
    }

    fn of_class(&self, direction: Direction, class: u32, selected: &[(usize, Truth)]) -> Vec<(String, Conn)> {
        let unknown = self.model.classes.unknown;
        let open = match direction {
            Direction::Ingress => self.entering(class, unknown),
            Direction::Egress => self.leaving(class, unknown),
        };
        // A pod without any label that a rule wants; pods with such labels are looked at one by one.
        let everybody = Pods { namespaces: Namespaces::Labelled(Selector::default()), pods: Selector::default() };
        let plain = || decide(&self.as_wanted(direction, class, selected, &everybody));
        let all = if selected.is_empty() { open } else { plain() };
        let mut found = Vec::new();
        if !all.possible.is_empty() {
            found.push((ENTIRE_CLUSTER.to_owned(), all.clone()));
        }
        for pods in self.wanted(direction, selected) {
            let conn = decide(&self.as_wanted(direction, class, selected, &pods));
            if conn != all {
                found.push((described(&pods), conn));
            }
        }
        found
    }

    /// The selectors of pods that the rules name.
    fn wanted(&self, direction: Direction, selected: &[(usize, Truth)]) -> BTreeSet<Pods> {
        let policies = selected.iter().filter_map(|(number, _)| {
            let plan = self.model.plans.get(*number)?;
            direction.rules(self.cluster.policies.get(plan.policy)?)
        });
        let peers = policies.flatten().flat_map(|rule| rule.peers.iter().flatten());
        let pods = peers.filter_map(|peer| if let Peer::Pods(pods) = peer { Some(pods.clone()) } else { None });
        pods.filter(|pods| !is_everybody(pods)).collect()
    }

    /// The policies as they look towards a pod that has the labels of `wanted`, and no others that matter.
    fn as_wanted(&self, direction: Direction, class: u32, selected: &[(usize, Truth)], wanted: &Pods) -> Vec<Judged> {
        let mut judged = self.model.judge(direction, class, selected, self.model.classes.unknown);
        for ((number, selects), policy) in selected.iter().zip(&mut judged) {
            let rules = self.model.plans.get(*number).and_then(|plan| self.cluster.policies.get(plan.policy));
            let rules = rules.and_then(|policy| direction.rules(policy)).into_iter().flatten();
            for (rule, Match { ports, .. }) in rules.zip(&mut policy.matches) {
                let Some(peers) = &rule.peers else { continue };
                let truth = peers.iter().map(|peer| implied(wanted, peer)).max().unwrap_or(Truth::No);
                match truth.min(*selects) {
                    Truth::Yes => ports.certain = ports.possible.clone(),
                    Truth::Maybe => ports.certain = PortSet::none(),
                    Truth::No => *ports = Conn::default(),
                }
            }
        }
        judged
    }
}

fn is_everybody(pods: &Pods) -> bool {
    pods.pods.is_empty() && matches!(&pods.namespaces, Namespaces::Labelled(selector) if selector.is_empty())
}

/// Whether a pod that `wanted` takes is taken by `peer`.
fn implied(wanted: &Pods, peer: &Peer) -> Truth {
    let Peer::Pods(pods) = peer else { return Truth::Maybe };
    let within = |narrow: &Selector, wide: &Selector| wide.requirements.is_subset(&narrow.requirements);
    let namespaces = match (&wanted.namespaces, &pods.namespaces) {
        (Namespaces::Named(wanted), Namespaces::Named(name)) => wanted == name,
        (Namespaces::Named(wanted), Namespaces::Labelled(selector)) => {
            within(&Selector::label(crate::objects::NAMESPACE_NAME, wanted), selector)
        }
        (Namespaces::Labelled(wanted), Namespaces::Named(name)) => {
            within(wanted, &Selector::label(crate::objects::NAMESPACE_NAME, name))
        }
        (Namespaces::Labelled(wanted), Namespaces::Labelled(selector)) => within(wanted, selector),
    };
    Truth::of(namespaces && within(&wanted.pods, &pods.pods))
}

/// `shop/[pod with {app=web}]`, `[namespace with {team=a}]/[all pods]`.
fn described(pods: &Pods) -> String {
    let namespaces = match &pods.namespaces {
        Namespaces::Named(name) => name.clone(),
        Namespaces::Labelled(selector) if selector.is_empty() => "[all namespaces]".to_owned(),
        Namespaces::Labelled(selector) => format!("[namespace with {selector}]"),
    };
    let pods = if pods.pods.is_empty() { "[all pods]".to_owned() } else { format!("[pod with {}]", pods.pods) };
    format!("{namespaces}/{pods}")
}

/// `direction,workload,peer,conn`.
///
/// # Errors
/// If `out` fails.
pub fn csv(exposures: &[Exposure], out: &mut impl Write) -> Result<()> {
    writeln!(out, "direction,workload,peer,conn")?;
    for Exposure { workload, direction, peer, conn, .. } in exposures {
        let direction = if *direction == Direction::Egress { "egress" } else { "ingress" };
        for (ports, prefix) in [(&conn.certain, ""), (&conn.unsure(), "UNKNOWN ")] {
            if !ports.is_empty() {
                let conn = format!("{prefix}{ports}");
                let cells = [workload, peer, &conn].map(|text| field(text));
                writeln!(out, "{direction},{}", cells.join(","))?;
            }
        }
    }
    Ok(())
}
