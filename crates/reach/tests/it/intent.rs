//! A stated intent against manifests: each finding has its planted fault, and without it there is none.

use std::collections::{BTreeMap, BTreeSet};

use sekat_policy::intent::{
    Audience, Edge, Endpoint, External, Intent, Method, Place, Platform, Port, Protocol, Store, Workload,
};
use sekat_policy::{Severity, Span};
use sekat_reach::{ABSENT, AMBIGUOUS, MISSING, UNDECIDED, VIOLATED, Verdict};

use crate::support::{analysis, namespace, pod, policy};

fn place(namespace: &str, app: &str) -> Place {
    let labels = BTreeMap::from([("app".to_owned(), app.to_owned())]);
    Place { namespace: namespace.to_owned(), service_account: app.to_owned(), labels }
}

fn port(number: u16, audience: Audience) -> Port {
    Port { name: "grpc".to_owned(), number, protocol: Protocol::Tcp, audience }
}

fn workload(name: &str, audience: Audience) -> Workload {
    Workload {
        name: name.to_owned(),
        domain: "commerce".to_owned(),
        identity: format!("spiffe://commerce/{name}"),
        place: place("shop", name),
        ports: vec![port(50051, audience)],
        span: Span { file: "policy.yaml".to_owned(), line: 7, column: 1 },
    }
}

/// `edge` is public and calls `order`, which keeps its data in `db` and pays at the bank.
fn intent() -> Intent {
    Intent {
        workloads: vec![workload("edge", Audience::Public), workload("order", Audience::Callers)],
        methods: vec![Method {
            path: "/Order/Place".to_owned(),
            workload: "order".to_owned(),
            port: "grpc".to_owned(),
            request: BTreeSet::new(),
            response: BTreeSet::new(),
            span: Span::default(),
        }],
        edges: vec![Edge {
            caller: "edge".to_owned(),
            method: "/Order/Place".to_owned(),
            purpose: None,
            span: Span::default(),
        }],
        stores: vec![Store {
            name: "db".to_owned(),
            classes: BTreeSet::new(),
            place: place("shop", "db"),
            ports: vec![port(5432, Audience::Callers)],
            clients: BTreeSet::from(["order".to_owned()]),
            span: Span::default(),
        }],
        externals: vec![External {
            name: "bank".to_owned(),
            cidrs: vec!["203.0.113.0/24".to_owned()],
            except: Vec::new(),
            pods: Vec::new(),
            ports: vec![(Protocol::Tcp, 443)],
            clients: BTreeSet::from(["order".to_owned()]),
            classes: BTreeSet::new(),
            span: Span::default(),
        }],
        platform: Platform {
            dns: Some(Endpoint { place: place("kube-system", "dns"), ports: vec![(Protocol::Udp, 53)] }),
            ..Platform::default()
        },
        ..Intent::default()
    }
}

fn pods() -> String {
    ["edge", "order", "db"].map(|app| pod("shop", app, &format!("app: {app}"))).concat()
        + &namespace("shop", "")
        + &namespace("kube-system", "")
        + &pod("kube-system", "dns", "app: dns")
        + &pod("kube-system", "guest", "app: guest")
}

/// Exactly what is meant.
fn exact() -> String {
    let peer = |app: &str| format!("{{podSelector: {{matchLabels: {{app: {app}}}}}}}");
    let dns = "{to: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: kube-system}}, podSelector: {matchLabels: {app: dns}}}], ports: [{port: 53, protocol: UDP}]}";
    let select = |app: &str| format!("podSelector: {{matchLabels: {{app: {app}}}}}");
    policy("shop", "deny", "{podSelector: {}, policyTypes: [Ingress, Egress]}")
        + &policy(
            "shop",
            "dns",
            &format!(
                "{{podSelector: {{matchExpressions: [{{key: app, operator: NotIn, values: [db]}}]}}, policyTypes: [Egress], egress: [{dns}]}}"
            ),
        )
        + &policy(
            "shop",
            "edge",
            &format!(
                "{{{}, ingress: [{{ports: [{{port: 50051}}]}}], egress: [{{to: [{}], ports: [{{port: 50051}}]}}]}}",
                select("edge"),
                peer("order")
            ),
        )
        + &policy(
            "shop",
            "order",
            &format!(
                "{{{}, ingress: [{{from: [{}], ports: [{{port: 50051}}]}}], egress: [{{to: [{}], ports: [{{port: 5432}}]}}, {{to: [{{ipBlock: {{cidr: 203.0.113.0/24}}}}], ports: [{{port: 443}}]}}]}}",
                select("order"),
                peer("edge"),
                peer("db")
            ),
        )
        + &policy(
            "shop",
            "db",
            &format!("{{{}, ingress: [{{from: [{}], ports: [{{port: 5432}}]}}]}}", select("db"), peer("order")),
        )
}

/// The codes and messages of what is wrong with manifests by the intent.
fn findings(text: &str, intent: &Intent) -> (Verdict, Vec<(&'static str, String)>) {
    let checked = analysis(text).check(intent);
    assert!(checked.pairs >= 12, "{}", checked.pairs);
    (checked.verdict(), checked.findings.into_iter().map(|one| (one.code, one.message)).collect())
}

#[test]
fn manifests_that_say_what_is_meant_hold() {
    assert_eq!(findings(&(pods() + &exact()), &intent()), (Verdict::Allowed, Vec::new()));
}

#[test]
fn one_policy_more_is_found_with_its_line() {
    let wide = policy(
        "shop",
        "debug",
        "{podSelector: {matchLabels: {app: db}}, ingress: [{from: [{podSelector: {}}], ports: [{port: 5432}]}]}",
    );
    let out = policy(
        "shop",
        "out",
        "{podSelector: {matchLabels: {app: edge}}, policyTypes: [Egress], egress: [{to: [{podSelector: {}}]}]}",
    );
    let text = pods() + &exact() + &wide + &out;
    let checked = analysis(&text).check(&intent());
    assert_eq!(checked.verdict(), Verdict::Denied);
    let found = checked
        .findings
        .iter()
        .find(|one| one.code == VIOLATED && one.message.contains("shop/edge[Pod] to shop/db[Pod]"));
    let found = found.unwrap_or_else(|| panic!("{:#?}", checked.findings));
    assert!(found.message.contains("TCP 5432"), "{found}");
    assert!(found.help.contains("shop/debug, rule 0"), "{found}");
    assert_eq!(found.severity, Severity::Error);
    assert!(checked.witnesses.iter().any(|one| one.dst == "shop/db[Pod]"));
}

#[test]
fn without_any_policy_everything_is_violated() {
    let (verdict, found) = findings(&pods(), &intent());
    assert_eq!(verdict, Verdict::Denied);
    for who in [
        "shop/edge[Pod] to shop/db[Pod]",
        "kube-system/guest[Pod] to shop/order[Pod]",
        "a pod of which nothing is known to shop/db[Pod]",
        "to shop/db[Pod]",
        "shop/db[Pod] to 0.0.0.0-203.0.112.255",
    ] {
        assert!(found.iter().any(|(code, message)| *code == VIOLATED && message.contains(who)), "{who}: {found:#?}");
    }
}

#[test]
fn what_is_meant_and_denied_is_found() {
    let text = pods() + &exact().replace("cidr: 203.0.113.0/24", "cidr: 203.0.113.0/25");
    let (verdict, found) = findings(&text, &intent());
    assert_eq!(verdict, Verdict::Denied);
    assert_eq!(
        found,
        [(MISSING, "shop/order[Pod] to 203.0.113.128-203.0.113.255 at TCP 443 is meant and denied".to_owned())]
    );
    let (_, found) = findings(&(pods() + &exact().replace("port: 5432", "port: 5433")), &intent());
    assert!(
        found
            .iter()
            .any(|(code, message)| *code == MISSING && message.contains("shop/order[Pod] to shop/db[Pod] at TCP 5432"))
    );
    assert!(found.iter().any(|(code, message)| *code == VIOLATED && message.contains("shop/order[Pod] to shop/db[Pod] at TCP 5433")));
}

#[test]
fn what_cannot_be_known_stays_unknown() {
    let cilium = "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {namespace: shop, name: c}\n---\n";
    let (verdict, found) = findings(&(pods() + &exact() + cilium), &intent());
    assert_eq!(verdict, Verdict::Unknown);
    assert!(found.iter().all(|(code, _)| *code == UNDECIDED) && !found.is_empty(), "{found:#?}");
}

#[test]
fn workloads_are_found_by_namespace_and_labels() {
    let (verdict, found) = findings(&(pods().replace("app: order", "app: orders") + &exact()), &intent());
    assert_eq!(verdict, Verdict::Unknown);
    assert!(found.contains(&(ABSENT, "no workload of the manifests is `order`".to_owned())), "{found:#?}");
    let mut elsewhere = intent();
    elsewhere.workloads.push(Workload { ports: Vec::new(), ..workload("ops", Audience::Callers) });
    let (_, found) = findings(&(pods() + &exact()), &elsewhere);
    assert_eq!(
        found,
        [(ABSENT, "no workload of the manifests is `ops`".to_owned())],
        "one without ports is missed too"
    );
    elsewhere.elsewhere.insert("ops".to_owned());
    assert_eq!(findings(&(pods() + &exact()), &elsewhere).1, []);
    elsewhere.elsewhere.insert("order".to_owned());
    let (_, found) = findings(&(pods() + &exact()), &elsewhere);
    assert_eq!(found, [(ABSENT, "`order` is in the manifests, and is said to run elsewhere".to_owned())]);
    let mut twice = intent();
    twice.workloads.push(Workload { place: place("shop", "edge"), ..workload("other", Audience::Public) });
    let (_, found) = findings(&(pods() + &exact()), &twice);
    assert!(found.iter().any(|(code, _)| *code == AMBIGUOUS), "{found:#?}");
}

#[test]
fn pods_may_stand_for_what_is_outside() {
    let mut staged = intent();
    staged.externals[0].cidrs.clear();
    staged.externals[0].pods.push(place("partners", "bank"));
    let bank = |app: &str| namespace("partners", "") + &pod("partners", app, &format!("app: {app}"));
    let to = "namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: partners}}";
    let exact = exact()
        .replace("ipBlock: {cidr: 203.0.113.0/24}", &format!("{to}, podSelector: {{matchLabels: {{app: bank}}}}"));
    let (verdict, found) = findings(&(pods() + &bank("bank") + &exact), &staged);
    assert_eq!((verdict, found), (Verdict::Allowed, vec![]));

    let (_, found) = findings(&(pods() + &bank("till") + &exact), &staged);
    assert!(found.contains(&(ABSENT, "no workload of the manifests stands for `bank`".to_owned())), "{found:#?}");
    let wider = exact.replace(", podSelector: {matchLabels: {app: bank}}", "");
    let (_, found) = findings(&(pods() + &bank("bank") + &pod("partners", "till", "app: till") + &wider), &staged);
    assert!(found.iter().any(|(code, text)| *code == VIOLATED && text.contains("partners/till")), "{found:#?}");
    let closed = exact.replace("app: bank", "app: till");
    let (_, found) = findings(&(pods() + &bank("bank") + &closed), &staged);
    assert!(found.iter().any(|(code, text)| *code == MISSING && text.contains("partners/bank")), "{found:#?}");
    staged.externals[0].clients = BTreeSet::from(["edge".to_owned()]);
    let (_, found) = findings(&(pods() + &bank("bank") + &exact), &staged);
    assert!(found.iter().any(|(code, text)| *code == VIOLATED && text.contains("shop/order")), "{found:#?}");
}
