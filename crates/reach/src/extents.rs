//! Which pods a selector takes: an inverted index from labels to sets of workloads, so that a selector costs a few
//! set operations and not a look at every pod.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use roaring::RoaringBitmap;

use crate::addresses::Range;
use crate::labels::{Labels, Open, Operator, Requirement, Selector, Truth};
use crate::objects::{Cluster, Namespaces, Peer, Pods};

/// A set of which some members are certain. `certain` is within `possible`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Extent {
    pub(crate) certain: RoaringBitmap,
    pub(crate) possible: RoaringBitmap,
}

impl Extent {
    pub(crate) fn truth(&self, member: u32) -> Truth {
        if self.certain.contains(member) {
            Truth::Yes
        } else if self.possible.contains(member) {
            Truth::Maybe
        } else {
            Truth::No
        }
    }

    fn and(mut self, other: &Self) -> Self {
        self.certain &= &other.certain;
        self.possible &= &other.possible;
        self
    }

    fn or(&mut self, other: &Self) {
        self.certain |= &other.certain;
        self.possible |= &other.possible;
    }
}

/// An index over all workloads, and one more: a pod of which nothing is known.
pub(crate) struct Index<'a> {
    /// The number of the unknown pod, which follows that of the last workload.
    pub(crate) unknown: u32,
    everybody: RoaringBitmap,
    pub(crate) hosts: RoaringBitmap,
    by_label: HashMap<(&'a str, &'a str), RoaringBitmap>,
    by_key: HashMap<&'a str, RoaringBitmap>,
    /// Those that may have further labels, with their number.
    open: Vec<(u32, &'a Labels)>,
    /// Namespaces with their labels and their pods.
    namespaces: Vec<(String, Labels, RoaringBitmap)>,
    /// Those whose addresses are known, and the others.
    placed: Vec<(u32, &'a [Range])>,
    unplaced: RoaringBitmap,
    pod_ranges: &'a [Range],
}

/// The number of something in a list; no input has four thousand million objects.
pub(crate) fn number(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}

const UNKNOWN: &Labels = &Labels { known: BTreeMap::new(), open: Open::Anything };

impl<'a> Index<'a> {
    pub(crate) fn new(cluster: &'a Cluster, pod_ranges: &'a [Range]) -> Self {
        let unknown = number(cluster.workloads.len());
        let mut index = Self {
            unknown,
            everybody: (0..=unknown).collect(),
            hosts: RoaringBitmap::new(),
            by_label: HashMap::new(),
            by_key: HashMap::new(),
            open: vec![(unknown, UNKNOWN)],
            namespaces: Vec::new(),
            placed: Vec::new(),
            unplaced: RoaringBitmap::from([unknown]),
            pod_ranges,
        };
        let mut namespaces: BTreeMap<&str, RoaringBitmap> =
            cluster.namespaces.keys().map(|name| (name.as_str(), RoaringBitmap::new())).collect();
        for (workload, at) in cluster.workloads.iter().zip(0..) {
            namespaces.entry(&workload.namespace).or_default().insert(at);
            for (key, value) in &workload.labels.known {
                index.by_label.entry((key, value)).or_default().insert(at);
                index.by_key.entry(key).or_default().insert(at);
            }
            if workload.labels.open != Open::Nothing {
                index.open.push((at, &workload.labels));
            }
            if workload.is_host_network {
                index.hosts.insert(at);
            }
            match &workload.addresses {
                Some(ranges) => index.placed.push((at, ranges)),
                None => _ = index.unplaced.insert(at),
            }
        }
        index.namespaces = namespaces
            .into_iter()
            .map(|(name, members)| (name.to_owned(), cluster.namespace(name).into_owned(), members))
            .collect();
        index
    }

    /// The pods for which a policy decides: those on their node's network are never among them.
    pub(crate) fn subjects(&self, pods: &Pods) -> Extent {
        let mut extent = self.pods(pods);
        extent.certain -= &self.hosts;
        extent.possible -= &self.hosts;
        extent
    }

    /// The pods that a rule's peers take together. Traffic of a pod on its node's network looks like the node's:
    /// no selector takes it for certain, and any may.
    pub(crate) fn peers(&self, peers: &[&Peer]) -> Extent {
        let mut all = Extent::default();
        for peer in peers {
            match peer {
                Peer::Pods(pods) => all.or(&self.pods(pods)),
                Peer::Outside(block) => {
                    all.possible |= self.where_addresses(|ranges| ranges.iter().any(|range| block.touches(*range)))
                }
                Peer::Anywhere(_) | Peer::Unresolved(_) => {}
            }
        }
        let blocks: Vec<_> =
            peers.iter().filter_map(|peer| if let Peer::Anywhere(block) = peer { Some(block) } else { None }).collect();
        if !blocks.is_empty() {
            all.certain |= self
                .where_addresses(|ranges| ranges.iter().all(|range| blocks.iter().any(|block| block.covers(*range))));
            all.possible |= self
                .where_addresses(|ranges| ranges.iter().any(|range| blocks.iter().any(|block| block.touches(*range))));
        }
        all.certain -= &self.hosts;
        all.possible |= &self.hosts;
        all
    }

    fn where_addresses(&self, holds: impl Fn(&[Range]) -> bool) -> RoaringBitmap {
        let mut found = if holds(self.pod_ranges) { self.unplaced.clone() } else { RoaringBitmap::new() };
        found.extend(self.placed.iter().filter(|(_, ranges)| holds(ranges)).map(|(at, _)| *at));
        found
    }

    pub(crate) fn pods(&self, pods: &Pods) -> Extent {
        let mut places = Extent::default();
        for (name, labels, members) in &self.namespaces {
            let truth = match &pods.namespaces {
                Namespaces::Named(wanted) => Truth::of(name == wanted),
                Namespaces::Labelled(selector) => selector.takes(labels),
            };
            match truth {
                Truth::Yes => {
                    places.certain |= members;
                    places.possible |= members;
                }
                Truth::Maybe => places.possible |= members,
                Truth::No => {}
            }
        }
        places.possible.insert(self.unknown);
        if matches!(&pods.namespaces, Namespaces::Labelled(selector) if selector.is_empty()) {
            places.certain.insert(self.unknown);
        }
        self.selector(&pods.pods, places)
    }

    fn selector(&self, selector: &Selector, within: Extent) -> Extent {
        selector.requirements.iter().fold(within, |extent, requirement| extent.and(&self.requirement(requirement)))
    }

    fn requirement(&self, Requirement { key, operator }: &Requirement) -> Extent {
        let open: RoaringBitmap =
            self.open.iter().filter(|(_, labels)| labels.is_open(key)).map(|(at, _)| *at).collect();
        let has = |values: &BTreeSet<String>| {
            let mut has = RoaringBitmap::new();
            for value in values {
                if let Some(members) = self.by_label.get(&(key.as_str(), value.as_str())) {
                    has |= members;
                }
            }
            has
        };
        let (stated, is_wanted) = match operator {
            Operator::In(values) => (has(values), true),
            Operator::NotIn(values) => (has(values), false),
            Operator::Exists => (self.by_key.get(key.as_str()).cloned().unwrap_or_default(), true),
            Operator::DoesNotExist => (self.by_key.get(key.as_str()).cloned().unwrap_or_default(), false),
        };
        if is_wanted {
            return Extent { possible: &stated | &open, certain: stated };
        }
        let possible = &self.everybody - &stated;
        Extent { certain: &possible - &open, possible }
    }
}
