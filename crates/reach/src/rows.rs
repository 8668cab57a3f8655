//! One row for each way in which pods are selected: every peer with what the policies of one direction leave open
//! towards it. Rows hold sets of peers, never pairs, and peers towards whom everything is shut are left out.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use rayon::prelude::*;
use roaring::RoaringBitmap;

use crate::addresses::Range;
use crate::classes::Classes;
use crate::extents::{Extent, number};
use crate::labels::Truth;
use crate::objects::Peer;
use crate::plan::{Direction, Plan, Plans};
use crate::ports::{Conn, PortSet};
use crate::verdict::{Judged, Match, decide};

/// What is open towards each set of peers. The sets are disjoint; a peer in none of them is shut off.
///
/// Peers are numbered: first the classes of pods, then the ranges of addresses outside.
pub(crate) type Row = Vec<(RoaringBitmap, Conn)>;

/// All that is needed to evaluate the policies for a class and a peer.
pub(crate) struct Model {
    pub(crate) classes: Classes,
    pub(crate) plans: Vec<Plan>,
    /// By number of the set, as classes and ranges.
    pub(crate) subjects: Vec<Extent>,
    pub(crate) peers: Vec<Extent>,
    pub(crate) atoms: Vec<Range>,
    /// The classes on their node's network.
    pub(crate) hosts: RoaringBitmap,
    /// For each port name the classes that resolve it alike.
    by_name: Vec<Vec<RoaringBitmap>>,
}

/// The rows of one direction, and the row of each class.
pub(crate) struct Side {
    pub(crate) rows: Vec<Row>,
    pub(crate) of: Vec<u32>,
}

/// What makes the rows of two classes equal.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Key {
    /// No policy applies.
    Free,
    /// What applies is not known.
    Opaque,
    /// These policies apply; ports that peers connect to may have names here.
    Selected(Vec<(usize, Truth)>, Vec<Conn>),
}

impl Model {
    pub(crate) fn new(plans: Plans<'_>, classes: Classes, atoms: Vec<Range>) -> Self {
        let first = number(classes.members.len());
        let peers = plans.peers.par_iter().zip(&plans.lists).map(|(extent, list)| {
            let mut extent = classes.translate(extent);
            for (at, atom) in (first..).zip(&atoms) {
                let (mut certain, mut possible) = (false, false);
                for peer in list {
                    match peer {
                        Peer::Pods(_) => {}
                        Peer::Outside(block) | Peer::Anywhere(block) => certain |= block.covers(*atom),
                        Peer::Unresolved(_) => possible = true,
                    }
                }
                if certain {
                    extent.certain.insert(at);
                }
                if certain || possible {
                    extent.possible.insert(at);
                }
            }
            extent
        });
        let peers = peers.collect();
        let by_name = (0..plans.names.len()).map(|name| alike(&classes, name)).collect();
        let hosts = (0..).zip(&classes.traits).filter(|(_, traits)| traits.is_host_network).map(|(at, _)| at).collect();
        let subjects = plans.subjects.par_iter().map(|extent| classes.translate(extent)).collect();
        Self { plans: plans.plans, subjects, peers, atoms, hosts, by_name, classes }
    }

    /// The first range's number.
    pub(crate) fn first_atom(&self) -> u32 {
        number(self.classes.members.len())
    }

    fn everybody(&self) -> RoaringBitmap {
        let mut everybody = RoaringBitmap::new();
        everybody.insert_range(0..self.first_atom() + number(self.atoms.len()));
        everybody
    }

    /// The policies that decide for each class, in the order in which they are asked.
    pub(crate) fn selected(&self, direction: Direction) -> Vec<Vec<(usize, Truth)>> {
        let mut selected = vec![Vec::new(); self.classes.members.len()];
        for (number, plan) in self.plans.iter().enumerate() {
            let (Some(_), Some(extent)) = (plan.rules(direction), self.subjects.get(plan.subject)) else { continue };
            for class in &extent.possible {
                if let Some(list) = selected.get_mut(class as usize) {
                    list.push((number, extent.truth(class)));
                }
            }
        }
        selected
    }

    /// The policies as they look from a class towards a peer.
    pub(crate) fn judge(
        &self,
        direction: Direction,
        class: u32,
        selected: &[(usize, Truth)],
        peer: u32,
    ) -> Vec<Judged> {
        // A connection's port is one of its destination.
        let destination = if direction == Direction::Ingress { class } else { peer };
        let named = self.classes.traits.get(destination as usize).map(|traits| traits.named.as_slice());
        let judge = |&(number, selects): &(usize, Truth)| {
            let plan = self.plans.get(number)?;
            let rule = |rule: &crate::plan::PlanRule| {
                let truth = match rule.peers {
                    None => Truth::Yes,
                    Some(set) => self.peers.get(set).map_or(Truth::No, |extent| extent.truth(peer)),
                };
                let mut ports = Conn { certain: rule.numbers.clone(), possible: rule.numbers.clone() };
                for conn in rule.names.iter().filter_map(|name| named?.get(*name)) {
                    ports.certain = ports.certain.union(&conn.certain);
                    ports.possible = ports.possible.union(&conn.possible);
                }
                match truth.min(selects) {
                    Truth::Yes => {}
                    Truth::Maybe => ports.certain = PortSet::none(),
                    Truth::No => ports = Conn::default(),
                }
                Match { action: rule.action, ports }
            };
            let matches = plan.rules(direction)?.iter().map(rule).collect();
            Some(Judged { tier: plan.tier, priority: plan.priority, selects, matches })
        };
        selected.iter().filter_map(judge).collect()
    }

    /// What is open from or to a class, as far as its own side decides.
    pub(crate) fn conn(&self, direction: Direction, class: u32, selected: &[(usize, Truth)], peer: u32) -> Conn {
        let mut conn = decide(&self.judge(direction, class, selected, peer));
        // Whatever policies say, traffic between a pod and its own node passes.
        if self.hosts.contains(peer) {
            conn.possible = PortSet::all();
        }
        conn
    }

    /// All rows of a direction.
    pub(crate) fn side(&self, direction: Direction) -> Side {
        let mut numbers: HashMap<Key, u32> = HashMap::new();
        let mut keys: Vec<(u32, Key)> = Vec::new();
        let mut of = Vec::with_capacity(self.classes.members.len());
        for ((class, selected), traits) in (0..).zip(self.selected(direction)).zip(&self.classes.traits) {
            let key = if traits.is_opaque || class == self.classes.unknown {
                Key::Opaque
            } else if selected.is_empty() {
                Key::Free
            } else {
                let named = if direction == Direction::Ingress { traits.named.clone() } else { Vec::new() };
                Key::Selected(selected, named)
            };
            let next = number(keys.len());
            let row = *numbers.entry(key.clone()).or_insert(next);
            if row == next {
                keys.push((class, key));
            }
            of.push(row);
        }
        let row = |(class, key): &(u32, Key)| match key {
            Key::Free => vec![(self.everybody(), Conn::all())],
            Key::Opaque => vec![(self.everybody(), Conn::unknown())],
            Key::Selected(selected, _) => self.row(direction, *class, selected),
        };
        Side { rows: keys.par_iter().map(row).collect(), of }
    }

    fn row(&self, direction: Direction, class: u32, selected: &[(usize, Truth)]) -> Row {
        let rules = || selected.iter().filter_map(|(number, _)| self.plans.get(*number)?.rules(direction)).flatten();
        let sets: BTreeSet<usize> = rules().filter_map(|rule| rule.peers).collect();
        let names: BTreeSet<usize> = rules().flat_map(|rule| rule.names.iter().copied()).collect();
        let mut groups = vec![self.everybody()];
        part(&mut groups, &self.hosts);
        for extent in sets.iter().filter_map(|set| self.peers.get(*set)) {
            part(&mut groups, &extent.certain);
            part(&mut groups, &extent.possible);
        }
        if direction == Direction::Egress {
            for alike in names.iter().filter_map(|name| self.by_name.get(*name)).flatten() {
                part(&mut groups, alike);
            }
        }
        let mut row: BTreeMap<Conn, RoaringBitmap> = BTreeMap::new();
        for group in groups {
            let Some(peer) = group.min() else { continue };
            let conn = self.conn(direction, class, selected, peer);
            if !conn.possible.is_empty() {
                *row.entry(conn).or_default() |= group;
            }
        }
        row.into_iter().map(|(conn, group)| (group, conn)).collect()
    }
}

/// Parts each group into what is in `set` and what is not.
fn part(groups: &mut Vec<RoaringBitmap>, set: &RoaringBitmap) {
    let mut inside = Vec::new();
    for group in groups.iter_mut() {
        let both = &*group & set;
        if !both.is_empty() && both.len() < group.len() {
            *group -= &both;
            inside.push(both);
        }
    }
    groups.extend(inside);
}

/// The classes that resolve a port name alike, those that do not have it left out.
fn alike(classes: &Classes, name: usize) -> Vec<RoaringBitmap> {
    let mut sets: HashMap<&Conn, RoaringBitmap> = HashMap::new();
    for (class, traits) in (0..).zip(&classes.traits) {
        if let Some(conn) = traits.named.get(name).filter(|conn| !conn.possible.is_empty()) {
            sets.entry(conn).or_default().insert(class);
        }
    }
    sets.into_values().collect()
}
