//! The answer as rows: a source, a destination, and what is open between them.

use std::collections::BTreeMap;

use rayon::prelude::*;

use crate::analysis::Analysis;
use crate::plan::Direction;
use crate::ports::Conn;

/// What brings traffic into the cluster by an Ingress: pods that the manifests do not show.
pub const INGRESS_CONTROLLER: &str = "{ingress-controller}";
/// The like for gateways, routes and virtual services.
pub const GATEWAY: &str = "{gateway}";
/// Sources that are worked out at once, between two writes.
const BATCH: usize = 64;

/// A row of the answer.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    /// Who connects: `namespace/name[Kind]`, a range of addresses, or a controller.
    pub src: &'a str,
    /// To whom.
    pub dst: &'a str,
    /// What is open between them. Something is.
    pub conn: &'a Conn,
}

/// Where a source's traffic comes from.
enum Origin {
    Workload(usize),
    Range,
    Controller(fn(&Analysis, u32) -> Conn),
}

impl Analysis {
    /// A workload's name as a peer: `namespace/name[Kind]`.
    #[must_use]
    pub fn name(&self, workload: usize) -> String {
        let one = self.cluster.workloads.get(workload);
        one.map(|one| format!("{}/{}[{}]", one.namespace, one.name, one.kind)).unwrap_or_default()
    }

    /// Visits all rows, sorted by source and destination. Rows are made as they are visited: there may be as many as
    /// pairs of workloads. Peers between which nothing is open have none, nor has anybody with themselves.
    ///
    /// # Errors
    /// The first error of `visit`, which ends it.
    pub fn rows<E>(&self, mut visit: impl FnMut(Row<'_>) -> Result<(), E>) -> Result<(), E> {
        let names: Vec<String> = (0..self.cluster.workloads.len()).map(|at| self.name(at)).collect();
        let outside = self.reached_from_outside();
        let mut sources: Vec<(&str, Origin)> =
            names.iter().enumerate().map(|(at, name)| (name.as_str(), Origin::Workload(at))).collect();
        sources.extend(outside.keys().map(|range| (range.as_str(), Origin::Range)));
        sources.push((INGRESS_CONTROLLER, Origin::Controller(by_ingress)));
        sources.push((GATEWAY, Origin::Controller(by_gateway)));
        sources.sort_by_key(|(name, _)| *name);
        for batch in sources.chunks(BATCH) {
            let found: Vec<Vec<(String, Conn)>> =
                batch.par_iter().map(|(name, origin)| self.from(name, origin, &names, &outside)).collect();
            for ((src, _), rows) in batch.iter().zip(&found) {
                for (dst, conn) in rows {
                    visit(Row { src, dst, conn })?;
                }
            }
        }
        Ok(())
    }

    /// Everybody to whom a source can connect, in the order of their names.
    fn from(
        &self,
        name: &str,
        origin: &Origin,
        names: &[String],
        outside: &BTreeMap<String, BTreeMap<u32, Conn>>,
    ) -> Vec<(String, Conn)> {
        let mut rows = Vec::new();
        let mut push = |class: u32, conn: &Conn, but: Option<usize>| {
            let members = self.members(class).iter().map(|at| *at as usize);
            rows.extend(
                members.filter(|at| Some(*at) != but).filter_map(|at| Some((names.get(at)?.clone(), conn.clone()))),
            );
        };
        match origin {
            Origin::Workload(at) => {
                let class = self.class(*at);
                for (conn, targets) in self.edges(class) {
                    targets.iter().for_each(|target| push(target, &conn, Some(*at)));
                }
                let ranges = self.outside(Direction::Egress, class);
                rows.extend(ranges.into_iter().map(|(range, conn)| (range.to_string(), conn)));
            }
            Origin::Range => {
                for (class, conn) in outside.get(name).into_iter().flatten() {
                    push(*class, conn, None);
                }
            }
            Origin::Controller(conn) => {
                for class in self.classes() {
                    let conn = conn(self, class);
                    if !conn.possible.is_empty() {
                        push(class, &conn, None);
                    }
                }
            }
        }
        rows.sort_by(|left, right| left.0.cmp(&right.0));
        rows
    }

    /// What may be brought to a class by pods that the manifests do not show.
    pub(crate) fn by_controllers(&self, class: u32) -> impl Iterator<Item = (&'static str, Conn)> {
        let all = [(INGRESS_CONTROLLER, by_ingress(self, class)), (GATEWAY, by_gateway(self, class))];
        all.into_iter().filter(|(_, conn)| !conn.possible.is_empty())
    }

    /// What each range of addresses outside can reach.
    fn reached_from_outside(&self) -> BTreeMap<String, BTreeMap<u32, Conn>> {
        let mut outside: BTreeMap<String, BTreeMap<u32, Conn>> = BTreeMap::new();
        for class in self.classes() {
            for (range, conn) in self.outside(Direction::Ingress, class) {
                outside.entry(range.to_string()).or_default().insert(class, conn);
            }
        }
        outside
    }

    /// The kinds that leave something open, the assumptions that were made, and what is not looked at: what a reader
    /// must know to rely on the rows.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        let ranges: Vec<String> = self.options.pod_ranges.iter().map(ToString::to_string).collect();
        if self.cluster.workloads.iter().any(|one| one.addresses.is_none()) {
            notes.push(format!("pods whose addresses are not stated are taken to be in {}", ranges.join(", ")));
        }
        notes.push("a pod is always reached by its own node, and by itself".to_owned());
        notes.push("the network plugin is taken to enforce policies of both directions".to_owned());
        for foreign in &self.cluster.foreign {
            let place = match foreign.namespaces.as_slice() {
                [] => "everywhere".to_owned(),
                some => format!("in {}", some.join(", ")),
            };
            let at = format!("{}:{}", foreign.span.file, foreign.span.line);
            notes.push(format!(
                "{at}: {} `{}` is not analysed and leaves unknown what it may change {place}",
                foreign.kind, foreign.name
            ));
        }
        for (kind, count) in &self.cluster.narrowing {
            notes.push(format!("{count} × {kind}: may refuse calls that the network lets through; not analysed"));
        }
        notes
    }
}

fn by_ingress(analysis: &Analysis, class: u32) -> Conn {
    let ports = analysis.model.classes.traits.get(class as usize).map(|traits| traits.ingress.clone());
    analysis.entering(class, analysis.model.classes.unknown).only(&ports.unwrap_or_default())
}

fn by_gateway(analysis: &Analysis, class: u32) -> Conn {
    if !analysis.model.classes.traits.get(class as usize).is_some_and(|traits| traits.has_gateway) {
        return Conn::default();
    }
    let possible = analysis.entering(class, analysis.model.classes.unknown).possible;
    Conn { possible, ..Conn::default() }
}
