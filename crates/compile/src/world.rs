//! The attempts by which an intent and what a target enforces are compared: everybody that is stated and people who
//! look like them, at every port that is stated and one that is not, with every method and what is nearly one.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use sekat_policy::Intent;
use sekat_policy::intent::{Audience, Endpoint, Place, Port, Protocol, Workload};

use crate::attempt::{Attempt, Kind, Party};
use crate::cidr::Cidr;
use crate::plan::{Plan, health_paths};
use crate::target::Sight;

/// A namespace that belongs to nobody in the mesh; no label of DNS begins with a dash.
const ELSEWHERE: &str = "-elsewhere";

/// Everybody, and everything to reach.
pub(crate) struct World {
    callers: Vec<Party>,
    doors: Vec<Door>,
}

/// A port of somebody, and with what it is tried.
struct Door {
    to: Party,
    port: u16,
    listener: String,
    protocol: Protocol,
    audience: Option<Audience>,
    paths: Vec<Option<String>>,
}

impl World {
    /// The attempts that a target with this sight can be asked about.
    pub(crate) fn of(intent: &Intent, sight: Sight) -> Self {
        let plan = Plan::of(intent);
        let addresses = Addresses::of(intent);
        let mut builder = Builder { intent, plan: &plan, sight, addresses, pods: 0 };
        let callers = builder.callers();
        let doors = builder.doors();
        Self { callers, doors }
    }

    pub(crate) fn attempts(&self, intent: &Intent) -> impl Iterator<Item = Attempt<'_>> {
        let probes: Vec<Cidr> = intent.platform.probes.iter().filter_map(|range| Cidr::parse(range)).collect();
        let namespaces: BTreeSet<String> = Plan::of(intent).namespaces().into_iter().map(str::to_owned).collect();
        let pairs = self.doors.iter().flat_map(|door| self.callers.iter().map(move |from| (from, door)));
        let asked = pairs.filter(move |(from, door)| {
            let to_itself = from.genuine.is_some() && from.genuine == door.to.genuine;
            // Whether a range of addresses means the pods in it as well depends on the network plugin.
            let in_range = || probes.iter().any(|range| range.contains(from.address));
            let undecided = door.audience == Some(Audience::Probes) && from.kind == Kind::Pod && in_range();
            // Of what is not ours, only what our own pods reach is ours to close.
            let stated = door.to.genuine.is_some() || namespaces.contains(&door.to.namespace);
            let foreign = !stated && !namespaces.contains(&from.namespace);
            !to_itself && !undecided && !foreign
        });
        asked.flat_map(|(from, door)| {
            let Door { to, port, listener, protocol, .. } = door;
            door.paths.iter().map(move |path| Attempt {
                from,
                to,
                port: *port,
                listener,
                protocol: *protocol,
                path: path.as_deref(),
            })
        })
    }
}

/// Addresses that no stated range covers, if there are any.
struct Addresses {
    pods: Ipv4Addr,
    outside: IpAddr,
}

impl Addresses {
    fn of(intent: &Intent) -> Self {
        let stated = intent.externals.iter().flat_map(|external| &external.cidrs).chain(&intent.platform.probes);
        let ranges: Vec<Cidr> = stated.filter_map(|range| Cidr::parse(range)).collect();
        let is_free = |address: &Ipv4Addr| !ranges.iter().any(|range| range.contains(IpAddr::V4(*address)));
        let choose = |candidates: [Ipv4Addr; 4]| {
            let [first, ..] = candidates;
            candidates.into_iter().find(is_free).unwrap_or(first)
        };
        let pods = [[10, 244, 0, 0], [100, 64, 0, 0], [172, 31, 0, 0], [192, 168, 0, 0]].map(Ipv4Addr::from);
        // Ranges that are kept for documentation, and one for benchmarks.
        let outside = [[203, 0, 113, 7], [198, 51, 100, 7], [192, 0, 2, 7], [198, 18, 0, 7]].map(Ipv4Addr::from);
        Self { pods: choose(pods), outside: IpAddr::V4(choose(outside)) }
    }
}

struct Builder<'a> {
    intent: &'a Intent,
    plan: &'a Plan<'a>,
    sight: Sight,
    addresses: Addresses,
    pods: u32,
}

impl<'a> Builder<'a> {
    fn callers(&mut self) -> Vec<Party> {
        let mut callers = Vec::new();
        for workload in &self.intent.workloads {
            let genuine = self.workload(workload);
            callers.push(self.double(&genuine));
            callers.push(genuine);
        }
        for namespace in self.plan.namespaces() {
            callers.push(self.stranger(namespace));
        }
        callers.push(self.stranger(ELSEWHERE));
        for range in self.intent.platform.probes.iter().filter_map(|range| Cidr::parse(range)) {
            callers.push(Party { kind: Kind::Node, ..unnamed("a probe", range.first()) });
        }
        callers.push(unnamed("somebody outside", self.addresses.outside));
        callers
    }

    fn address(&mut self) -> IpAddr {
        self.pods += 1;
        IpAddr::V4(Ipv4Addr::from_bits(self.addresses.pods.to_bits().saturating_add(self.pods)))
    }

    fn workload(&mut self, workload: &Workload) -> Party {
        let domain = self.intent.domain(&workload.domain);
        let trust_domain = domain.map(|domain| domain.trust_domain.clone()).unwrap_or_default();
        let mut party = self.pod(&workload.name, &workload.place);
        party.trust_domain = trust_domain;
        party.identity.clone_from(&workload.identity);
        party
    }

    fn pod(&mut self, name: &str, place: &Place) -> Party {
        Party {
            genuine: Some(name.to_owned()),
            kind: Kind::Pod,
            namespace: place.namespace.clone(),
            service: name.to_owned(),
            labels: place.labels.clone(),
            service_account: place.service_account.clone(),
            proxies: self.plan.trust_domain(&place.namespace).unwrap_or_default().to_owned(),
            ..unnamed(&format!("`{name}`"), self.address())
        }
    }

    /// Somebody with the same labels, the same account name and nearly the same certificate, in another namespace.
    fn double(&mut self, genuine: &Party) -> Party {
        Party {
            title: format!("a double of {} in another namespace", genuine.title),
            genuine: None,
            namespace: ELSEWHERE.to_owned(),
            identity: format!("{}x", genuine.identity),
            address: self.address(),
            ..genuine.clone()
        }
    }

    /// A pod that nobody has stated, with a certificate of its mesh.
    fn stranger(&mut self, namespace: &str) -> Party {
        let trust_domain = self.plan.trust_domain(namespace).unwrap_or("elsewhere.example");
        Party {
            kind: Kind::Pod,
            namespace: namespace.to_owned(),
            labels: BTreeMap::from([("sekat.dev/stranger".to_owned(), "true".to_owned())]),
            service_account: "default".to_owned(),
            trust_domain: trust_domain.to_owned(),
            identity: format!("spiffe://{trust_domain}/-stranger"),
            ..unnamed(&format!("a pod that nobody stated in {namespace}"), self.address())
        }
    }

    fn doors(&mut self) -> Vec<Door> {
        let mut doors = Vec::new();
        let (intent, guards_stores) = (self.intent, self.sight.stores);
        for workload in &intent.workloads {
            let to = self.workload(workload);
            doors.extend(self.ports(&to, &workload.ports, |port| port.audience != Audience::Public));
        }
        for store in intent.stores.iter().filter(|_| guards_stores) {
            let to = self.pod(&store.name, &store.place);
            doors.extend(self.ports(&to, &store.ports, |_| false));
        }
        if self.sight.unstated_ports && !self.sight.only_walls {
            for namespace in self.plan.namespaces() {
                doors.push(plain(&self.stranger(namespace), 443, Protocol::Tcp));
            }
        }
        if self.sight.egress && !self.sight.only_walls {
            let platform = &self.intent.platform;
            for endpoint in platform.dns.iter().chain(&platform.telemetry) {
                doors.extend(self.endpoint(endpoint));
            }
            doors.extend(self.outside());
            doors.extend(self.pods_outside());
        }
        doors
    }

    /// The stated ports of somebody, and one that is not.
    fn ports(&self, to: &Party, ports: &[Port], calls: impl Fn(&Port) -> bool) -> Vec<Door> {
        let seen = ports.iter().filter(|port| self.sight.datagrams || port.protocol == Protocol::Tcp);
        let mut doors: Vec<Door> = seen
            .map(|port| Door {
                to: to.clone(),
                port: port.number,
                listener: port.name.clone(),
                protocol: port.protocol,
                audience: Some(port.audience),
                paths: if self.sight.methods && calls(port) { self.paths(to, port) } else { vec![None] },
            })
            .collect();
        if self.sight.unstated_ports {
            doors.extend(unstated(to, &ports.iter().map(|port| port.number).collect::<Vec<_>>()));
        }
        doors
    }

    /// Every method of the port, what is nearly one, health, and no call at all.
    fn paths(&self, to: &Party, port: &Port) -> Vec<Option<String>> {
        let here = |workload: &str| to.genuine.as_deref() == Some(workload);
        let served = self.intent.methods.iter().filter(|it| here(&it.workload) && it.port == port.name);
        let methods: BTreeSet<&str> = served.map(|method| method.path.as_str()).collect();
        let mut others: BTreeSet<String> = health_paths().collect();
        for path in &methods {
            let service = path.rsplit_once('/').map_or("", |(service, _)| service);
            others.extend([format!("{path}x"), format!("{service}/-"), path.replace('.', "-")]);
        }
        others.insert("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo".to_owned());
        // Findings quote the first that differs: best a method that exists.
        let methods = methods.into_iter().map(str::to_owned);
        methods.chain(others).map(Some).chain([None]).collect()
    }

    fn endpoint(&mut self, endpoint: &Endpoint) -> Vec<Door> {
        let mut to = self.pod("the platform", &endpoint.place);
        to.genuine = None;
        let mut doors: Vec<Door> = endpoint.ports.iter().map(|(protocol, port)| plain(&to, *port, *protocol)).collect();
        doors.extend(unstated(&to, &endpoint.ports.iter().map(|(_, number)| *number).collect::<Vec<_>>()));
        doors
    }

    /// The pods that stand for something outside, and beside them one that does not.
    fn pods_outside(&mut self) -> Vec<Door> {
        let mut doors = Vec::new();
        for external in &self.intent.externals {
            let ports: BTreeSet<(Protocol, u16)> =
                external.ports.iter().copied().chain([(Protocol::Tcp, 443)]).collect();
            for place in &external.pods {
                let mut to = self.pod(&format!("the pods of {}", external.name), place);
                to.genuine = None;
                for to in [to, self.stranger(&place.namespace)] {
                    doors.extend(ports.iter().map(|(protocol, port)| plain(&to, *port, *protocol)));
                    doors.extend(unstated(&to, &ports.iter().map(|(_, number)| *number).collect::<Vec<_>>()));
                }
            }
        }
        doors
    }

    /// Each range outside at its first address and at that of each exception, and an address of nobody.
    fn outside(&self) -> Vec<Door> {
        let mut doors = vec![plain(&unnamed("an address of nobody", self.addresses.outside), 443, Protocol::Tcp)];
        for external in &self.intent.externals {
            let ports = external.ports.iter().copied().chain([(Protocol::Tcp, 443), (Protocol::Udp, 53)]);
            let ports: BTreeSet<(Protocol, u16)> = ports.collect();
            for range in external.cidrs.iter().chain(&external.except).filter_map(|range| Cidr::parse(range)) {
                let to = unnamed(&format!("{} outside, of `{}`", range.first(), external.name), range.first());
                doors.extend(ports.iter().map(|(protocol, port)| plain(&to, *port, *protocol)));
            }
        }
        doors
    }
}

fn unnamed(title: &str, address: IpAddr) -> Party {
    Party {
        title: title.to_owned(),
        genuine: None,
        kind: Kind::Outside,
        namespace: String::new(),
        service: String::new(),
        labels: BTreeMap::new(),
        service_account: String::new(),
        trust_domain: String::new(),
        proxies: String::new(),
        identity: String::new(),
        address,
    }
}

fn plain(to: &Party, port: u16, protocol: Protocol) -> Door {
    Door { to: to.clone(), port, listener: String::new(), protocol, audience: None, paths: vec![None] }
}

/// A port that is none of `stated`.
fn unstated(to: &Party, stated: &[u16]) -> Option<Door> {
    let free = (1..=u16::MAX).rev().find(|number| !stated.contains(number))?;
    Some(plain(to, free, Protocol::Tcp))
}
