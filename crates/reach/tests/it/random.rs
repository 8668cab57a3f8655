//! The engine and the naive checker on random clusters: they must agree on every pair and every port that matters.

use std::collections::{BTreeMap, BTreeSet};

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use sekat_policy::Span;
use sekat_policy::intent::Protocol;
use sekat_reach::addresses::{Block, Range};
use sekat_reach::labels::{Labels, Open, Operator, Requirement, Selector};
use sekat_reach::objects::{
    Action, Cluster, Effect, Foreign, NamedPort, Namespaces, Peer, Pods, Policy, Ports, Rule, Service, ServicePort,
    Target, Tier, Workload,
};
use sekat_reach::ports::PortSet;
use sekat_reach::{Analysis, Options};

const KEYS: [&str; 2] = ["app", "tier"];
const VALUES: [&str; 3] = ["a", "b", "c"];
const SPACES: [&str; 3] = ["one", "two", "three"];
const PORTS: [u16; 4] = [53, 80, 443, 8080];
const CIDRS: [&str; 5] = ["0.0.0.0/0", "10.1.0.0/16", "203.0.113.0/24", "::/0", "fd00::/8"];

fn text(from: &'static [&'static str]) -> impl Strategy<Value = String> {
    select(from).prop_map(str::to_owned)
}

fn selectors() -> impl Strategy<Value = Selector> {
    let values = || vec(text(&VALUES), 1..3).prop_map(BTreeSet::from_iter);
    let operator = prop_oneof![
        4 => values().prop_map(Operator::In),
        1 => values().prop_map(Operator::NotIn),
        1 => Just(Operator::Exists),
        1 => Just(Operator::DoesNotExist),
    ];
    let requirement = (text(&KEYS), operator).prop_map(|(key, operator)| Requirement { key, operator });
    vec(requirement, 0..3).prop_map(|all| Selector { requirements: all.into_iter().collect() })
}

fn pods() -> impl Strategy<Value = Pods> {
    let namespaces = prop_oneof![text(&SPACES).prop_map(Namespaces::Named), selectors().prop_map(Namespaces::Labelled)];
    (namespaces, selectors()).prop_map(|(namespaces, pods)| Pods { namespaces, pods })
}

fn blocks() -> impl Strategy<Value = Block> {
    let range = || select(&CIDRS[..]).prop_map(|text| Range::parse(text).expect("CIDR"));
    (range(), vec(range(), 0..2)).prop_map(|(cidr, except)| Block { cidr, except })
}

fn peers(tier: Tier) -> BoxedStrategy<Peer> {
    if tier == Tier::Namespaced {
        return prop_oneof![3 => pods().prop_map(Peer::Pods), 1 => blocks().prop_map(Peer::Outside)].boxed();
    }
    prop_oneof![
        4 => pods().prop_map(Peer::Pods),
        2 => blocks().prop_map(|block| Peer::Anywhere(Block { except: Vec::new(), ..block })),
        1 => Just(Peer::Unresolved("addresses of nodes")),
    ]
    .boxed()
}

fn ports() -> impl Strategy<Value = Ports> {
    let protocol = || select(&Protocol::ALL[..]);
    prop_oneof![
        3 => (protocol(), select(&PORTS[..]), 0_u16..40)
            .prop_map(|(protocol, first, more)| Ports::Numbers(PortSet::range(protocol, first, first + more))),
        1 => protocol().prop_map(|protocol| Ports::Numbers(PortSet::of(protocol))),
        1 => (option::of(protocol()), text(&["web", "dns"])).prop_map(|(protocol, name)| Ports::Named(protocol, name)),
    ]
}

fn rules(tier: Tier) -> impl Strategy<Value = Option<Vec<Rule>>> {
    let actions: &'static [Action] =
        if tier == Tier::Namespaced { &[Action::Accept] } else { &[Action::Accept, Action::Deny, Action::Pass] };
    let rule = (select(actions), option::of(vec(peers(tier), 1..3)), option::of(vec(ports(), 1..3)))
        .prop_map(|(action, peers, ports)| Rule { action, peers, ports, span: Span::default() });
    option::of(vec(rule, 0..3))
}

fn policies() -> impl Strategy<Value = Policy> {
    select(&[Tier::Admin, Tier::Namespaced, Tier::Namespaced, Tier::Namespaced, Tier::Baseline][..])
        .prop_flat_map(|tier| (Just(tier), 0_i64..3, pods(), rules(tier), rules(tier)))
        .prop_map(|(tier, priority, subject, ingress, egress)| Policy {
            kind: "Policy",
            name: "policy".to_owned(),
            namespace: None,
            tier,
            priority,
            subject,
            ingress,
            egress,
            span: Span::default(),
        })
}

fn labels() -> impl Strategy<Value = Labels> {
    let known = vec((text(&KEYS), text(&VALUES)), 0..3).prop_map(|pairs| pairs.into_iter().collect::<BTreeMap<_, _>>());
    let keys = Open::Keys(BTreeSet::from([KEYS[0].to_owned()]));
    let open = prop_oneof![6 => Just(Open::Nothing), 1 => Just(keys), 1 => Just(Open::Anything)];
    (known, open).prop_map(|(known, open)| Labels { known, open })
}

fn workloads() -> impl Strategy<Value = Workload> {
    let port = (text(&["web", "dns"]), select(&Protocol::ALL[..]), select(&PORTS[..]))
        .prop_map(|(name, protocol, number)| NamedPort { name, protocol, number });
    let address = select(&["10.1.2.3", "10.9.9.9", "203.0.113.7", "fd00::1"][..])
        .prop_map(|text| Range::parse(text).expect("an address"));
    let flags = (prop::bool::weighted(0.1), prop::bool::weighted(0.1));
    let addresses = option::weighted(0.3, vec(address, 1..3));
    (text(&SPACES), labels(), vec(port, 0..3), flags, addresses).prop_map(
        |(namespace, labels, ports, (is_host_network, has_other_networks), addresses)| Workload {
            namespace,
            name: "workload".to_owned(),
            kind: "Pod".to_owned(),
            labels,
            service_account: "default".to_owned(),
            ports,
            is_host_network,
            has_other_networks,
            addresses,
            span: Span::default(),
        },
    )
}

fn services() -> impl Strategy<Value = Service> {
    let target = prop_oneof![select(&PORTS[..]).prop_map(Target::Number), text(&["web"]).prop_map(Target::Name)];
    let port = (select(&PORTS[..]), target, select(&Protocol::ALL[..]))
        .prop_map(|(port, target, protocol)| ServicePort { name: "port".to_owned(), port, target, protocol });
    (text(&SPACES), selectors(), vec(port, 1..2), any::<bool>()).prop_map(
        |(namespace, selector, ports, is_published)| Service {
            namespace,
            name: "service".to_owned(),
            selector,
            ports,
            is_published,
            span: Span::default(),
        },
    )
}

fn clusters() -> impl Strategy<Value = Cluster> {
    let foreign = (vec(text(&SPACES), 0..2), any::<bool>()).prop_map(|(namespaces, is_policy)| Foreign {
        kind: "Other".to_owned(),
        name: "other".to_owned(),
        namespaces,
        effect: if is_policy { Effect::Policy } else { Effect::Gateway },
        span: Span::default(),
    });
    let namespaces = vec((text(&SPACES), labels()), 0..3);
    let foreign = option::weighted(0.1, foreign);
    (namespaces, vec(workloads(), 1..6), vec(policies(), 0..6), vec(services(), 0..2), foreign).prop_map(
        |(namespaces, workloads, policies, services, foreign)| Cluster {
            namespaces: namespaces.into_iter().collect(),
            workloads,
            policies,
            services,
            foreign: foreign.into_iter().collect(),
            ..Cluster::default()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]
    #[test]
    fn the_engine_agrees_with_the_naive_checker(cluster in clusters()) {
        let analysis = Analysis::new(cluster, Options::default());
        let checked = analysis.recheck();
        prop_assert_eq!(checked.differences, Vec::<String>::new());
    }

}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn the_order_of_objects_does_not_matter(cluster in clusters()) {
        let mut turned = cluster.clone();
        turned.policies.reverse();
        let (one, other) = (Analysis::new(cluster, Options::default()), Analysis::new(turned, Options::default()));
        prop_assert_eq!(one.summary(), other.summary());
        let workloads = one.cluster().workloads.len();
        for (from, to) in (0..workloads).flat_map(|from| (0..workloads).map(move |to| (from, to))) {
            prop_assert_eq!(one.between(from, to), other.between(from, to));
        }
    }

    #[test]
    fn the_summary_counts_what_the_rows_say(cluster in clusters()) {
        let analysis = Analysis::new(cluster, Options::default());
        let (mut allowed, mut unknown) = (0, 0);
        let workloads = analysis.cluster().workloads.len();
        for (from, to) in (0..workloads).flat_map(|from| (0..workloads).map(move |to| (from, to))) {
            let conn = analysis.between(from, to);
            prop_assert!(conn.certain.is_within(&conn.possible));
            if from != to {
                allowed += u64::from(!conn.certain.is_empty());
                unknown += u64::from(conn.certain.is_empty() && !conn.possible.is_empty());
            }
        }
        let summary = analysis.summary();
        prop_assert_eq!((summary.allowed, summary.unknown), (allowed, unknown));
        let mut rows = 0_u64;
        analysis
            .rows(|row| {
                rows += u64::from(row.src.ends_with("[Pod]") && row.dst.ends_with("[Pod]"));
                Ok::<(), ()>(())
            })
            .expect("rows");
        prop_assert_eq!(rows, allowed + unknown);
    }
}
