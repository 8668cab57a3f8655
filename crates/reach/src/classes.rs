//! Classes of pods that no policy can tell apart, neither as its subject nor as a peer nor by a port's name. All
//! that follows is worked out once a class.

use std::collections::{BTreeSet, HashMap};

use roaring::RoaringBitmap;

use crate::extents::{Extent, Index, number};
use crate::objects::{Cluster, Effect, Service, Target, Workload};
use crate::plan::{self, Plans};
use crate::ports::{Conn, PortSet};

/// What a class has in common beside being in the same sets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Traits {
    pub(crate) is_host_network: bool,
    pub(crate) has_other_networks: bool,
    /// Something that is not analysed may decide for it.
    pub(crate) is_opaque: bool,
    /// A gateway that is not analysed may bring traffic to it.
    pub(crate) has_gateway: bool,
    /// The ports behind each port name that policies mention.
    pub(crate) named: Vec<Conn>,
    /// The ports that nodes or load balancers publish.
    pub(crate) published: PortSet,
    /// The ports to which an ingress controller forwards.
    pub(crate) ingress: PortSet,
}

/// All workloads, and one pod of which nothing is known, in classes.
pub(crate) struct Classes {
    /// The class of each workload; the unknown pod is the last.
    pub(crate) of: Vec<u32>,
    pub(crate) members: Vec<Vec<u32>>,
    pub(crate) traits: Vec<Traits>,
    /// The class of the unknown pod, which has no other member.
    pub(crate) unknown: u32,
}

impl Classes {
    /// The workloads of `extent` as classes. Every set that is given here was given to [`classes`].
    pub(crate) fn translate(&self, extent: &Extent) -> Extent {
        let translate = |set: &RoaringBitmap| set.iter().filter_map(|at| self.of.get(at as usize).copied()).collect();
        Extent { certain: translate(&extent.certain), possible: translate(&extent.possible) }
    }
}

pub(crate) fn classes(cluster: &Cluster, index: &Index<'_>, plans: &Plans<'_>) -> Classes {
    let all = traits(cluster, index, plans);
    let mut numbers: HashMap<&Traits, u32> = HashMap::new();
    let mut of: Vec<u32> = Vec::with_capacity(all.len() + 1);
    for one in &all {
        let next = number(numbers.len());
        of.push(*numbers.entry(one).or_insert(next));
    }
    let mut next = number(numbers.len());
    of.push(next);
    next += 1;
    for extent in plans.subjects.iter().chain(&plans.peers) {
        for set in [&extent.certain, &extent.possible] {
            split(&mut of, &mut next, set);
        }
    }
    compact(of, all, plans)
}

/// Parts those in `set` from those that are not.
fn split(of: &mut [u32], next: &mut u32, set: &RoaringBitmap) {
    let mut moved: HashMap<u32, u32> = HashMap::new();
    for at in set {
        let Some(class) = of.get_mut(at as usize) else { continue };
        *class = *moved.entry(*class).or_insert_with(|| {
            *next += 1;
            *next - 1
        });
    }
}

fn compact(mut of: Vec<u32>, all: Vec<Traits>, plans: &Plans<'_>) -> Classes {
    let mut numbers: HashMap<u32, u32> = HashMap::new();
    let (mut members, mut traits) = (Vec::<Vec<u32>>::new(), Vec::new());
    let unknown = Traits { named: plans.names.iter().map(plan::resolve_unknown).collect(), ..Traits::default() };
    for (at, (class, one)) in of.iter_mut().zip(all.into_iter().chain([unknown])).enumerate() {
        let next = number(members.len());
        *class = *numbers.entry(*class).or_insert(next);
        if *class == next {
            members.push(Vec::new());
            traits.push(one);
        }
        if let Some(members) = members.get_mut(*class as usize) {
            members.push(number(at));
        }
    }
    let unknown = of.last().copied().unwrap_or_default();
    Classes { of, members, traits, unknown }
}

fn traits(cluster: &Cluster, index: &Index<'_>, plans: &Plans<'_>) -> Vec<Traits> {
    let of = |effect| cluster.foreign.iter().filter(move |foreign| foreign.effect == effect);
    let namespaces = |effect| of(effect).flat_map(|foreign| &foreign.namespaces).collect::<BTreeSet<_>>();
    let everywhere = |effect| of(effect).any(|foreign| foreign.namespaces.is_empty());
    let [policies, gateways] = [Effect::Policy, Effect::Gateway].map(namespaces);
    let [policy_everywhere, gateway_everywhere] = [Effect::Policy, Effect::Gateway].map(everywhere);
    let mut all: Vec<Traits> = cluster
        .workloads
        .iter()
        .map(|workload| Traits {
            is_host_network: workload.is_host_network,
            has_other_networks: workload.has_other_networks,
            is_opaque: policy_everywhere || policies.contains(&workload.namespace),
            has_gateway: gateway_everywhere || gateways.contains(&workload.namespace),
            named: plans.names.iter().map(|name| plan::resolve(workload, name)).collect(),
            ..Traits::default()
        })
        .collect();
    for service in cluster.services.iter().filter(|service| service.is_published) {
        if service.selector.is_empty() {
            // Somebody else states its endpoints: any pod may be one.
            for (workload, traits) in cluster.workloads.iter().zip(&mut all) {
                for port in &service.ports {
                    traits.published = traits.published.union(&target(workload, port.protocol, &port.target));
                }
            }
            continue;
        }
        add(cluster, index, service, &mut all, |_| true, |traits| &mut traits.published);
    }
    let services: HashMap<(&str, &str), &Service> =
        cluster.services.iter().map(|service| ((service.namespace.as_str(), service.name.as_str()), service)).collect();
    for ingress in &cluster.ingresses {
        for (name, wanted) in &ingress.backends {
            let Some(service) = services.get(&(ingress.namespace.as_str(), name.as_str())) else { continue };
            let is_wanted = |port: &crate::objects::ServicePort| match wanted {
                Target::Number(number) => port.port == *number,
                Target::Name(name) => port.name == *name,
            };
            add(cluster, index, service, &mut all, is_wanted, |traits| &mut traits.ingress);
        }
    }
    all
}

/// Adds the targets of a service's ports to its pods.
fn add(
    cluster: &Cluster,
    index: &Index<'_>,
    service: &Service,
    all: &mut [Traits],
    is_wanted: impl Fn(&crate::objects::ServicePort) -> bool,
    field: impl Fn(&mut Traits) -> &mut PortSet,
) {
    for at in plan::behind(index, service) {
        let (Some(workload), Some(traits)) = (cluster.workloads.get(at as usize), all.get_mut(at as usize)) else {
            continue;
        };
        let field = field(traits);
        for port in service.ports.iter().filter(|port| is_wanted(port)) {
            *field = field.union(&target(workload, port.protocol, &port.target));
        }
    }
}

fn target(workload: &Workload, protocol: sekat_policy::intent::Protocol, target: &Target) -> PortSet {
    match target {
        Target::Number(number) => PortSet::one(protocol, *number),
        Target::Name(name) => plan::resolve(workload, &(Some(protocol), name.clone())).possible,
    }
}
