//! Who can reach whom: what leaves one pod and is let in by the other.

use std::collections::BTreeMap;

use rayon::prelude::*;
use roaring::RoaringBitmap;

use crate::Options;
use crate::addresses::{Block, Range, atoms};
use crate::classes::classes;
use crate::extents::{Index, number};
use crate::objects::{Cluster, Peer};
use crate::plan::{Direction, plans};
use crate::ports::{Conn, PortSet};
use crate::rows::{Model, Row, Side};

/// Groups of a row up to this size are found from their members; larger ones are few.
const NARROW: u64 = 64;

/// The whole of an input, analysed.
pub struct Analysis {
    pub(crate) cluster: Cluster,
    pub(crate) options: Options,
    pub(crate) model: Model,
    pub(crate) ingress: Side,
    pub(crate) egress: Side,
    /// The ranges of addresses that rules for ingress, and those that rules for egress tell apart.
    cuts: [Vec<Range>; 2],
    /// For each class the small groups of ingress rows that it is in: row and group.
    narrow: Vec<Vec<(u32, u32)>>,
    /// All other groups.
    wide: Vec<(u32, u32)>,
    /// For each ingress row the classes that have it.
    users: Vec<RoaringBitmap>,
    /// The classes that are attached to further networks.
    other_networks: RoaringBitmap,
}

/// How many ordered pairs of different workloads there are of each verdict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Workloads.
    pub workloads: u64,
    /// Classes of workloads that no policy can tell apart.
    pub classes: u64,
    /// Policies.
    pub policies: u64,
    /// Pairs between which some connection is allowed for certain.
    pub allowed: u64,
    /// Pairs between which nothing is certain and something is possible.
    pub unknown: u64,
    /// Pairs between which nothing is possible.
    pub denied: u64,
}

impl Analysis {
    /// Analyses a cluster. The result does not depend on the order of its objects.
    #[must_use]
    pub fn new(cluster: Cluster, options: Options) -> Self {
        let index = Index::new(&cluster, &options.pod_ranges);
        let plans = plans(&cluster, &index);
        let classes = classes(&cluster, &index, &plans);
        let cuts = [Direction::Ingress, Direction::Egress].map(|direction| atoms(blocks(&cluster, direction)));
        let both = [Direction::Ingress, Direction::Egress].into_iter().flat_map(|one| blocks(&cluster, one));
        let model = Model::new(plans, classes, atoms(both));
        let (ingress, egress) = rayon::join(|| model.side(Direction::Ingress), || model.side(Direction::Egress));
        let mut users = vec![RoaringBitmap::new(); ingress.rows.len()];
        for (class, row) in (0..).zip(&ingress.of) {
            if let Some(users) = users.get_mut(*row as usize).filter(|_| class != model.classes.unknown) {
                users.insert(class);
            }
        }
        let (mut narrow, mut wide) = (vec![Vec::new(); model.classes.members.len()], Vec::new());
        for (at, row) in (0..).zip(&ingress.rows) {
            for (group_at, (group, _)) in (0..).zip(row) {
                if group.len() > NARROW {
                    wide.push((at, group_at));
                    continue;
                }
                for class in group {
                    if let Some(list) = narrow.get_mut(class as usize) {
                        list.push((at, group_at));
                    }
                }
            }
        }
        let other_networks =
            (0..).zip(&model.classes.traits).filter(|(_, one)| one.has_other_networks).map(|(at, _)| at).collect();
        Self { cluster, options, model, ingress, egress, cuts, narrow, wide, users, other_networks }
    }

    /// What was analysed.
    #[must_use]
    pub const fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// The classes to which a class can connect, by what is open. Classes that it cannot reach are in none.
    pub(crate) fn edges(&self, class: u32) -> BTreeMap<Conn, RoaringBitmap> {
        let mut edges: BTreeMap<Conn, RoaringBitmap> = BTreeMap::new();
        let empty = Row::new();
        let leaving = self.egress.of.get(class as usize).and_then(|row| self.egress.rows.get(*row as usize));
        let narrow = self.narrow.get(class as usize).into_iter().flatten();
        for &(row, group) in narrow.chain(&self.wide) {
            let Some((sources, entering)) = self.ingress.rows.get(row as usize).and_then(|row| row.get(group as usize))
            else {
                continue;
            };
            let Some(users) = self.users.get(row as usize).filter(|_| sources.contains(class)) else { continue };
            for (targets, conn) in leaving.unwrap_or(&empty) {
                let targets = targets & users;
                let conn = if targets.is_empty() { Conn::default() } else { conn.and(entering) };
                if !conn.possible.is_empty() {
                    *edges.entry(conn).or_default() |= targets;
                }
            }
        }
        if self.other_networks.contains(class) { self.beside(edges) } else { edges }
    }

    /// Over a further network, to which policies do not apply, anything may be open.
    fn beside(&self, edges: BTreeMap<Conn, RoaringBitmap>) -> BTreeMap<Conn, RoaringBitmap> {
        let mut unsure: BTreeMap<Conn, RoaringBitmap> = BTreeMap::new();
        let mut unseen = self.other_networks.clone();
        for (conn, targets) in edges {
            unseen -= &targets;
            let beside = &targets & &self.other_networks;
            let open = Conn { certain: conn.certain.clone(), possible: PortSet::all() };
            for (conn, targets) in [(open, beside.clone()), (conn, targets - beside)] {
                if !targets.is_empty() {
                    *unsure.entry(conn).or_default() |= targets;
                }
            }
        }
        if !unseen.is_empty() {
            *unsure.entry(Conn::unknown()).or_default() |= unseen;
        }
        unsure
    }

    /// What is open between two classes.
    pub(crate) fn edge(&self, from: u32, to: u32) -> Conn {
        let mut conn = self.leaving(from, to).and(&self.entering(to, from));
        if self.other_networks.contains(from) && self.other_networks.contains(to) {
            conn.possible = PortSet::all();
        }
        conn
    }

    /// What the policies for a class let out to a peer.
    pub(crate) fn leaving(&self, class: u32, peer: u32) -> Conn {
        find(&self.egress, class, peer)
    }

    /// What the policies for a class let in from a peer.
    pub(crate) fn entering(&self, class: u32, peer: u32) -> Conn {
        let mut conn = find(&self.ingress, class, peer);
        if peer >= self.model.first_atom()
            && let Some(traits) = self.model.classes.traits.get(class as usize)
        {
            conn.possible = conn.possible.union(&traits.published);
        }
        conn
    }

    /// The ranges of addresses from or to which something is open for a class. IPv6 is left out where it says what
    /// IPv4 says, as a whole.
    pub(crate) fn outside(&self, direction: Direction, class: u32) -> Vec<(Range, Conn)> {
        let mut conns = self.at(direction, class, self.cuts(direction));
        if conns.first().is_some_and(|(_, first)| conns.iter().all(|(_, conn)| conn == first)) {
            conns.retain(|(range, _)| !range.is_v6());
        }
        conns.retain(|(_, conn)| !conn.possible.is_empty());
        conns
    }

    /// The ranges of addresses that rules of a direction tell apart.
    pub(crate) fn cuts(&self, direction: Direction) -> &[Range] {
        let [ingress, egress] = &self.cuts;
        if direction == Direction::Ingress { ingress } else { egress }
    }

    /// What is open for a class from or to ranges of addresses, in their order, which rules of that direction do not
    /// cut any further.
    pub(crate) fn at(&self, direction: Direction, class: u32, ranges: &[Range]) -> Vec<(Range, Conn)> {
        let mut atoms = (self.model.first_atom()..).zip(&self.model.atoms).peekable();
        let mut conns = Vec::with_capacity(ranges.len());
        for range in ranges {
            // Any atom that they share stands for the range.
            while atoms.next_if(|(_, atom)| !atom.touches(*range)).is_some() {}
            let Some((peer, _)) = atoms.peek() else { break };
            let conn = match direction {
                Direction::Ingress => self.entering(class, *peer),
                Direction::Egress => self.leaving(class, *peer),
            };
            conns.push((*range, conn));
        }
        conns
    }

    /// The class of a workload.
    pub(crate) fn class(&self, workload: usize) -> u32 {
        self.model.classes.of.get(workload).copied().unwrap_or_default()
    }

    pub(crate) fn members(&self, class: u32) -> &[u32] {
        self.model.classes.members.get(class as usize).map_or(&[], Vec::as_slice)
    }

    /// All classes of workloads.
    pub(crate) fn classes(&self) -> impl Iterator<Item = u32> {
        let unknown = self.model.classes.unknown;
        (0..number(self.model.classes.members.len())).filter(move |class| *class != unknown)
    }

    /// Counts pairs; it takes a step for each set of classes, not for each pair.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let workloads = self.cluster.workloads.len() as u64;
        let classes: Vec<u32> = self.classes().collect();
        let is_single = classes.len() as u64 == workloads;
        let of_class = |class: &u32| {
            let (mut allowed, mut unknown) = (0, 0);
            let size = self.members(*class).len() as u64;
            for (conn, targets) in self.edges(*class) {
                let all = if is_single {
                    targets.len()
                } else {
                    targets.iter().map(|target| self.members(target).len() as u64).sum()
                };
                // Nobody is their own peer.
                let pairs = size * all - if targets.contains(*class) { size } else { 0 };
                if conn.certain.is_empty() { unknown += pairs } else { allowed += pairs }
            }
            (allowed, unknown)
        };
        let (allowed, unknown) =
            classes.par_iter().map(of_class).reduce(|| (0, 0), |left, right| (left.0 + right.0, left.1 + right.1));
        Summary {
            workloads,
            classes: classes.len() as u64,
            policies: self.cluster.policies.len() as u64,
            allowed,
            unknown,
            denied: workloads * workloads.saturating_sub(1) - allowed - unknown,
        }
    }
}

fn find(side: &Side, class: u32, peer: u32) -> Conn {
    let row = side.of.get(class as usize).and_then(|row| side.rows.get(*row as usize));
    row.into_iter().flatten().find(|(group, _)| group.contains(peer)).map(|(_, conn)| conn.clone()).unwrap_or_default()
}

/// The blocks of addresses that rules of a direction name.
fn blocks(cluster: &Cluster, direction: Direction) -> impl Iterator<Item = &Block> {
    let rules = cluster.policies.iter().filter_map(move |policy| direction.rules(policy)).flatten();
    rules.flat_map(|rule| rule.peers.iter().flatten()).filter_map(|peer| match peer {
        Peer::Outside(block) | Peer::Anywhere(block) => Some(block),
        Peer::Pods(_) | Peer::Unresolved(_) => None,
    })
}
