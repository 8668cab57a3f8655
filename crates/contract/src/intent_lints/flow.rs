//! Who can obtain which class, and who can reach whom, by what is declared.
//!
//! An edge with a purpose is a point at which somebody decided what is passed on: exactly the classes of its method, and
//! no call beyond it. An edge without one promises nothing, so it is taken to pass on all that either side holds, and
//! to open the way to whatever the other side reaches. Stores, topics and externals state what they hold.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use sekat_policy::Intent;
use sekat_policy::intent::Edge;

use super::index::Index;

/// What each workload holds, and how it came to it.
pub(super) struct Flows<'a> {
    held: BTreeMap<Fact<'a>, Step<'a>>,
}

/// That a workload holds a class.
type Fact<'a> = (&'a str, &'a str);

struct Step<'a> {
    /// How, for instance `/shop.v1.Orders/GetOrder returns it`.
    how: String,
    /// From whom, unless the workload is meant to hold it.
    from: Option<Fact<'a>>,
}

impl<'a> Flows<'a> {
    pub(super) fn of(intent: &'a Intent) -> Self {
        let mut flows = Self { held: BTreeMap::new() };
        let mut open = VecDeque::new();
        for (fact, how) in declared(intent) {
            flows.learn(fact, Step { how, from: None }, &mut open);
        }
        let methods = Index::of(intent).methods;
        let mut unbound: BTreeMap<&str, Vec<(&str, &Edge)>> = BTreeMap::new();
        for edge in intent.edges.iter().filter(|edge| edge.purpose.is_none()) {
            let Some(method) = methods.get(edge.method.as_str()) else { continue };
            unbound.entry(&method.workload).or_default().push((&edge.caller, edge));
            unbound.entry(&edge.caller).or_default().push((&method.workload, edge));
        }
        // Breadth first, so that each way is a shortest one.
        while let Some((holder, class)) = open.pop_front() {
            for (other, edge) in unbound.get(holder).into_iter().flatten() {
                let how = format!("from `{holder}` by `{}`, an edge without purpose", edge.method);
                flows.learn((other, class), Step { how, from: Some((holder, class)) }, &mut open);
            }
        }
        flows
    }

    fn learn(&mut self, fact: Fact<'a>, step: Step<'a>, open: &mut VecDeque<Fact<'a>>) {
        if let Entry::Vacant(place) = self.held.entry(fact) {
            place.insert(step);
            open.push_back(fact);
        }
    }

    /// How a workload comes to hold a class, if it does: whether directly, and all steps.
    pub(super) fn way(&self, workload: &'a str, class: &'a str) -> Option<(bool, String)> {
        let mut step = self.held.get(&(workload, class))?;
        let (is_direct, mut way) = (step.from.is_none(), format!("`{workload}` has it {}", step.how));
        while let Some((holder, class)) = step.from {
            step = self.held.get(&(holder, class))?;
            way.push_str(&format!("; `{holder}` has it {}", step.how));
        }
        Some((is_direct, way))
    }
}

/// What workloads hold because it is stated so.
fn declared(intent: &Intent) -> Vec<(Fact<'_>, String)> {
    let methods = Index::of(intent).methods;
    let mut facts: Vec<(Fact<'_>, String)> = Vec::new();
    for edge in &intent.edges {
        let Some(method) = methods.get(edge.method.as_str()) else { continue };
        for class in &method.response {
            facts.push(((&edge.caller, class), format!("from `{}` by `{}`", method.workload, method.path)));
        }
        for class in &method.request {
            facts.push(((&edge.caller, class), format!("to pass it to `{}` in `{}`", method.workload, method.path)));
        }
    }
    for method in &intent.methods {
        for class in method.request.union(&method.response) {
            facts.push(((&method.workload, class), format!("because it serves `{}`", method.path)));
        }
    }
    for store in &intent.stores {
        for client in &store.clients {
            facts.extend(store.classes.iter().map(|class| ((&**client, &**class), format!("from `{}`", store.name))));
        }
    }
    for topic in &intent.topics {
        for workload in topic.consumers.union(&topic.publishers) {
            facts.extend(topic.classes.iter().map(|it| ((&**workload, &**it), format!("from `{}`", topic.name))));
        }
    }
    facts
}

/// Who reaches whom, and whether the way goes on from there.
pub(super) struct Ways<'a> {
    /// By caller: what it connects to, and whether it may be taken to pass through that.
    open: BTreeMap<&'a str, BTreeMap<&'a str, bool>>,
}

impl<'a> Ways<'a> {
    pub(super) fn of(intent: &'a Intent) -> Self {
        let methods = Index::of(intent).methods;
        let mut open: BTreeMap<&str, BTreeMap<&str, bool>> = BTreeMap::new();
        for edge in &intent.edges {
            let Some(method) = methods.get(edge.method.as_str()) else { continue };
            *open.entry(&edge.caller).or_default().entry(&method.workload).or_insert(false) |= edge.purpose.is_none();
        }
        let stores = intent.stores.iter().map(|store| (&store.clients, &store.name));
        for (clients, name) in stores.chain(intent.externals.iter().map(|external| (&external.clients, &external.name)))
        {
            for client in clients {
                open.entry(client).or_default().entry(name).or_insert(false);
            }
        }
        Self { open }
    }

    /// What a workload reaches.
    pub(super) fn from(&self, start: &'a str) -> Reached<'a> {
        let mut before: BTreeMap<&str, (usize, &str)> = BTreeMap::new();
        let mut passed = BTreeSet::from([start]);
        let mut queue = VecDeque::from([(0, start)]);
        // Breadth first, so that who arrives first came by a shortest way.
        while let Some((distance, from)) = queue.pop_front() {
            for (name, goes_on) in self.open.get(from).into_iter().flatten() {
                before.entry(name).or_insert((distance + 1, from));
                if *goes_on && passed.insert(name) {
                    queue.push_back((distance + 1, name));
                }
            }
        }
        before.remove(start);
        Reached { before }
    }
}

/// Workloads, stores and externals by name, each with its distance and the last hop of a shortest way there.
pub(super) struct Reached<'a> {
    before: BTreeMap<&'a str, (usize, &'a str)>,
}

impl<'a> Reached<'a> {
    /// The nearest of those that `wanted` accepts, as the hops that lead there, the start among them.
    pub(super) fn nearest(&self, wanted: impl Fn(&str) -> bool) -> Option<Vec<&'a str>> {
        let reached = self.before.iter().filter(|(name, _)| wanted(name));
        let (end, _) = reached.min_by_key(|(_, (distance, _))| *distance)?;
        let (mut hops, mut at) = (vec![*end], *end);
        while let Some((_, from)) = self.before.get(at) {
            hops.push(from);
            at = from;
        }
        hops.reverse();
        Some(hops)
    }
}
