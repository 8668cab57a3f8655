//! Intents for tests: a shop, this repository's own mesh, and as many random ones as one likes.

use std::collections::BTreeSet;

use sekat_policy::intent::{
    Audience, Domain, Edge, Endpoint, External, Method, Place, Platform, Port, Protocol, Store, Topic, Workload,
};
use sekat_policy::{Intent, Span};

pub(crate) fn place(namespace: &str, account: &str, labels: &[(&str, &str)]) -> Place {
    let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    Place { namespace: namespace.to_owned(), service_account: account.to_owned(), labels }
}

pub(crate) fn port(name: &str, number: u16, audience: Audience) -> Port {
    Port { name: name.to_owned(), number, protocol: Protocol::Tcp, audience }
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn domain(name: &str, trust_domain: &str) -> Domain {
    Domain {
        name: name.to_owned(),
        trust_domain: trust_domain.to_owned(),
        may_hold: BTreeSet::new(),
        span: Span::default(),
    }
}

fn workload(name: &str, domain: &str, ports: Vec<Port>) -> Workload {
    Workload {
        name: name.to_owned(),
        domain: domain.to_owned(),
        identity: format!("spiffe://{domain}.shop.example/{name}"),
        place: place(domain, name, &[("app", name)]),
        ports,
        span: Span::default(),
    }
}

fn method(path: &str, workload: &str, port: &str) -> Method {
    Method {
        path: path.to_owned(),
        workload: workload.to_owned(),
        port: port.to_owned(),
        request: BTreeSet::new(),
        response: BTreeSet::new(),
        span: Span::default(),
    }
}

fn edge(caller: &str, method: &str) -> Edge {
    Edge { caller: caller.to_owned(), method: method.to_owned(), purpose: None, span: Span::default() }
}

/// A shop in two domains with one of everything.
pub(crate) fn shop() -> Intent {
    let grpc = || port("grpc", 50_051, Audience::Callers);
    let health = || port("health", 8_080, Audience::Probes);
    let dns = Endpoint {
        place: place("kube-system", "", &[("k8s-app", "kube-dns")]),
        ports: vec![(Protocol::Udp, 53), (Protocol::Tcp, 53)],
    };
    let collector =
        Endpoint { place: place("telemetry", "", &[("app", "collector")]), ports: vec![(Protocol::Tcp, 4_317)] };
    Intent {
        domains: vec![domain("commerce", "commerce.shop.example"), domain("showcase", "showcase.shop.example")],
        workloads: vec![
            workload("payment", "commerce", vec![grpc(), health()]),
            workload("order", "commerce", vec![grpc(), health(), port("web", 8_443, Audience::Public)]),
            workload("catalog", "commerce", vec![grpc(), port("feed", 50_052, Audience::Callers), health()]),
            workload("showcase", "showcase", vec![grpc(), health()]),
            workload("ops", "commerce", vec![]),
        ],
        methods: vec![
            method("/shop.payment.v1.PaymentService/Authorize", "payment", "grpc"),
            method("/shop.payment.v1.PaymentService/Refund", "payment", "grpc"),
            method("/shop.payment.v1.PaymentService/Forget", "payment", "grpc"),
            method("/shop.catalog.v1.CatalogService/Reserve", "catalog", "grpc"),
            method("/shop.catalog.v1.FeedService/List", "catalog", "feed"),
            method("/shop.catalog.v1.FeedService/Watch", "catalog", "feed"),
            method("/shop.showcase.v1.ShowcaseService/Get", "showcase", "grpc"),
        ],
        edges: vec![
            edge("order", "/shop.payment.v1.PaymentService/Authorize"),
            edge("ops", "/shop.payment.v1.PaymentService/Refund"),
            edge("order", "/shop.catalog.v1.CatalogService/Reserve"),
            edge("showcase", "/shop.catalog.v1.FeedService/List"),
            edge("order", "/shop.catalog.v1.FeedService/List"),
            edge("order", "/shop.catalog.v1.FeedService/Watch"),
        ],
        stores: vec![Store {
            name: "payment-db".to_owned(),
            classes: BTreeSet::new(),
            place: place("commerce", "payment-db", &[("app", "payment-db")]),
            ports: vec![port("pg", 5_432, Audience::Callers)],
            clients: set(&["payment"]),
            span: Span::default(),
        }],
        topics: vec![Topic {
            name: "order.events".to_owned(),
            publishers: set(&["order"]),
            consumers: set(&["ops"]),
            classes: BTreeSet::new(),
            span: Span::default(),
        }],
        externals: vec![External {
            name: "bank".to_owned(),
            cidrs: vec!["198.51.100.0/24".to_owned()],
            except: vec!["198.51.100.128/25".to_owned()],
            pods: vec![place("partners", "", &[("app", "bank")])],
            ports: vec![(Protocol::Tcp, 443)],
            clients: set(&["payment"]),
            classes: BTreeSet::new(),
            span: Span::default(),
        }],
        platform: Platform {
            dns: Some(dns),
            telemetry: vec![collector],
            probes: vec!["172.20.0.0/16".to_owned()],
            ..Platform::default()
        },
        ..Intent::default()
    }
}

/// A generator of numbers (splitmix64), the same for the same seed on every machine.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `sides`.
    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % sides
    }

    fn is(&mut self, one_in: u64) -> bool {
        self.roll(one_in) == 0
    }

    fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        let at = self.roll(items.len().try_into().expect("few"));
        &items[usize::try_from(at).expect("few")]
    }
}

/// A sound intent of up to five workloads in up to three domains, which may share namespaces.
pub(crate) fn random(seed: u64) -> Intent {
    let mut dice = Dice::new(seed);
    let domains: Vec<Domain> = (0..=dice.roll(3)).map(|n| domain(&format!("d{n}"), &format!("d{n}.example"))).collect();
    let mut intent = Intent { domains, ..Intent::default() };
    for n in 0..2 + dice.roll(4) {
        let name = format!("w{n}");
        let domain = dice.pick(&intent.domains).name.clone();
        let namespace = if dice.is(4) { "shared".to_owned() } else { format!("ns-{domain}") };
        let mut labels = vec![("app", name.as_str())];
        labels.extend(dice.is(2).then_some(("tier", "back")));
        let mut it = workload(&name, &domain, Vec::new());
        it.place = place(&namespace, &format!("sa-{n}"), &labels);
        it.ports = ports(&mut dice);
        intent.workloads.push(it);
    }
    methods(&mut dice, &mut intent);
    let names: Vec<String> = intent.workloads.iter().map(|it| it.name.clone()).collect();
    let some = |dice: &mut Dice| names.iter().filter(|_| dice.is(2)).cloned().collect::<BTreeSet<_>>();
    for n in 0..dice.roll(3) {
        let namespace = if dice.is(2) { "stores" } else { "shared" };
        let protocol = *dice.pick(&Protocol::ALL);
        let audience = *dice.pick(&[Audience::Callers, Audience::Callers, Audience::Callers, Audience::Public]);
        intent.stores.push(Store {
            name: format!("db{n}"),
            classes: BTreeSet::new(),
            place: place(namespace, "", &[("app", &format!("db{n}"))]),
            ports: vec![Port { protocol, ..port("sql", 5_432, audience) }, port("admin", 5_433, Audience::Callers)],
            clients: some(&mut dice),
            span: Span::default(),
        });
    }
    for n in 0..dice.roll(3) {
        let ranges =
            [("192.0.2.0/24", "192.0.2.64/26"), ("10.20.0.0/16", "10.20.9.0/24"), ("2001:db8::/32", "2001:db8:1::/48")];
        let (range, hole) = *dice.pick(&ranges);
        intent.externals.push(External {
            name: format!("x{n}"),
            cidrs: vec![range.to_owned()],
            except: dice.is(2).then(|| hole.to_owned()).into_iter().collect(),
            pods: dice.is(3).then(|| place("partners", "", &[("app", &format!("x{n}"))])).into_iter().collect(),
            ports: if dice.is(3) { Vec::new() } else { vec![(*dice.pick(&Protocol::ALL), 443)] },
            clients: some(&mut dice),
            classes: BTreeSet::new(),
            span: Span::default(),
        });
    }
    intent.platform.probes = dice.is(2).then(|| "172.20.0.0/16".to_owned()).into_iter().collect();
    if dice.is(2) {
        let namespace = *dice.pick(&["kube-system", "shared"]);
        let place = place(namespace, "", &[("k8s-app", "dns")]);
        intent.platform.dns = Some(Endpoint { place, ports: vec![(Protocol::Udp, 53)] });
    }
    if dice.is(2) {
        let place = place("telemetry", "", &[("app", "collector")]);
        intent.platform.telemetry.push(Endpoint { place, ports: vec![(Protocol::Tcp, 4_317)] });
    }
    intent
}

fn ports(dice: &mut Dice) -> Vec<Port> {
    let audiences = [Audience::Callers, Audience::Callers, Audience::Public, Audience::Probes];
    let names = ["grpc", "feed", "web", "health"];
    let all = names.iter().zip(7_000..).zip(audiences);
    let some: Vec<Port> = all.filter(|_| !dice.is(3)).map(|((name, number), it)| port(name, number, it)).collect();
    some
}

fn methods(dice: &mut Dice, intent: &mut Intent) {
    for callee in intent.workloads.clone() {
        for at in &callee.ports {
            for n in 0..dice.roll(4) {
                let path = format!("/pkg.{}.v1.{}Service/M{n}", callee.name, at.name);
                for caller in &intent.workloads {
                    if dice.is(3) && caller.name != callee.name {
                        intent.edges.push(edge(&caller.name, &path));
                    }
                }
                intent.methods.push(method(&path, &callee.name, &at.name));
            }
        }
    }
}
