//! What a picture shows: peers in groups, and arrows between them. A picture of many workloads would be black with
//! arrows, so above a limit each namespace is drawn as one peer.

use std::collections::{BTreeMap, BTreeSet};

use crate::analysis::Analysis;
use crate::ports::{Conn, PortSet};

/// Above this many workloads, namespaces are drawn instead.
const MOST_PEERS: usize = 60;

/// Peers and arrows.
pub(super) struct Graph {
    /// The peers of each group; those outside of namespaces are in the group without a name.
    pub(super) groups: BTreeMap<String, BTreeSet<String>>,
    pub(super) arrows: BTreeMap<(String, String), Conn>,
}

pub(super) fn graph(analysis: &Analysis) -> Graph {
    let is_coarse = analysis.cluster().workloads.len() > MOST_PEERS;
    let mut graph = Graph { groups: BTreeMap::new(), arrows: BTreeMap::new() };
    for at in 0..analysis.cluster().workloads.len() {
        let name = analysis.name(at);
        graph.add(&peer(&name, is_coarse));
    }
    let found: Result<(), std::convert::Infallible> = analysis.rows(|row| {
        let [src, dst] = [row.src, row.dst].map(|name| peer(name, is_coarse));
        graph.add(&src);
        graph.add(&dst);
        let all = graph.arrows.entry((src, dst)).or_default();
        all.certain = all.certain.union(&row.conn.certain);
        all.possible = all.possible.union(&row.conn.possible);
        Ok(())
    });
    match found {
        Ok(()) => graph,
        Err(never) => match never {},
    }
}

impl Graph {
    fn add(&mut self, peer: &str) {
        let group = peer.split_once('/').map_or("", |(namespace, _)| namespace);
        self.groups.entry(group.to_owned()).or_default().insert(peer.to_owned());
    }
}

/// A peer as it is drawn: itself, or its namespace's `…/all`.
fn peer(name: &str, is_coarse: bool) -> String {
    match name.split_once('/') {
        Some((namespace, _)) if is_coarse => format!("{namespace}/all workloads"),
        _ => name.to_owned(),
    }
}

/// The words at an arrow, and whether all of it is certain.
pub(super) fn words(conn: &Conn) -> (String, bool) {
    let unsure = conn.unsure();
    let is_certain = unsure == PortSet::none();
    let text = match (conn.certain.is_empty(), is_certain) {
        (_, true) => conn.certain.to_string(),
        (true, false) => format!("UNKNOWN {unsure}"),
        (false, false) => format!("{}; UNKNOWN {unsure}", conn.certain),
    };
    (text.replace("All Connections", "all"), is_certain)
}
