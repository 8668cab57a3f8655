//! Cluster-wide policies before and behind those of namespaces.

use crate::support::{analysis, conn, errors, namespace, pod, policy};

fn two() -> String {
    namespace("shop", "team: shop")
        + &namespace("bank", "team: bank")
        + &pod("shop", "web", "app: web")
        + &pod("bank", "db", "app: db")
}

const WEB: &str = "shop/web[Pod]";
const DB: &str = "bank/db[Pod]";

fn cluster_policy(name: &str, tier: &str, priority: u32, ingress: &str) -> String {
    format!(
        "apiVersion: policy.networking.k8s.io/v1alpha2\nkind: ClusterNetworkPolicy\nmetadata: {{name: {name}}}\n\
         spec: {{tier: {tier}, priority: {priority}, subject: {{namespaces: {{matchLabels: {{team: bank}}}}}}, ingress: [{ingress}]}}\n---\n"
    )
}

fn rule(action: &str, ports: &str) -> String {
    format!("{{action: {action}, from: [{{namespaces: {{matchLabels: {{team: shop}}}}}}]{ports}}}")
}

const ALLOW_ALL: &str = "{podSelector: {}, ingress: [{}]}";
const DENY_ALL: &str = "{podSelector: {}, policyTypes: [Ingress]}";

#[test]
fn what_the_admin_tier_decides_nobody_overrides() {
    let deny = cluster_policy("deny", "Admin", 10, &rule("Deny", ""));
    assert_eq!(conn(&analysis(&(two() + &deny + &policy("bank", "all", ALLOW_ALL))), WEB, DB), "No Connections");
    let accept =
        cluster_policy("accept", "Admin", 10, &rule("Accept", ", protocols: [{tcp: {destinationPort: {number: 80}}}]"));
    assert_eq!(conn(&analysis(&(two() + &accept + &policy("bank", "none", DENY_ALL))), WEB, DB), "TCP 80");
    let pass = cluster_policy("pass", "Admin", 5, &rule("Pass", ", protocols: [{udp: {}}]"));
    let passed = two() + &pass + &deny;
    assert_eq!(conn(&analysis(&(passed.clone() + &policy("bank", "all", ALLOW_ALL))), WEB, DB), "UDP 1-65535");
    assert_eq!(conn(&analysis(&(passed + &policy("bank", "none", DENY_ALL))), WEB, DB), "No Connections");
}

#[test]
fn the_baseline_decides_only_for_pods_without_a_policy() {
    let deny = cluster_policy("base", "Baseline", 10, &rule("Deny", ""));
    assert_eq!(conn(&analysis(&(two() + &deny)), WEB, DB), "No Connections");
    assert_eq!(conn(&analysis(&(two() + &deny + &policy("bank", "all", ALLOW_ALL))), WEB, DB), "All Connections");
    let elsewhere = policy("bank", "p", "{podSelector: {matchLabels: {app: none}}, ingress: [{}]}");
    assert_eq!(conn(&analysis(&(two() + &deny + &elsewhere)), WEB, DB), "No Connections");
}

#[test]
fn priorities_order_and_equal_ones_do_not() {
    let accept = |priority| cluster_policy("accept", "Admin", priority, &rule("Accept", ""));
    let deny = |priority| cluster_policy("deny", "Admin", priority, &rule("Deny", ""));
    assert_eq!(conn(&analysis(&(two() + &accept(1) + &deny(2))), WEB, DB), "All Connections");
    assert_eq!(conn(&analysis(&(two() + &accept(2) + &deny(1))), WEB, DB), "No Connections");
    assert_eq!(conn(&analysis(&(two() + &accept(1) + &deny(1))), WEB, DB), "No Connections | All Connections");
    let both = cluster_policy("both", "Admin", 1, &format!("{}, {}", rule("Deny", ""), rule("Accept", "")));
    assert_eq!(conn(&analysis(&(two() + &both)), WEB, DB), "No Connections");
}

/// The networks of these policies take pods too, unlike those of namespaced ones; but IPv6 is another way.
#[test]
fn networks_take_pods() {
    let of = |networks: &str| {
        let text = format!(
            "apiVersion: policy.networking.k8s.io/v1alpha2\nkind: ClusterNetworkPolicy\nmetadata: {{name: n}}\n\
             spec: {{tier: Admin, priority: 1, subject: {{namespaces: {{}}}}, egress: [{{action: Deny, to: [{{networks: [{networks}]}}]}}]}}\n"
        );
        analysis(&(two() + &text))
    };
    let v4 = of("0.0.0.0/0");
    assert_eq!(conn(&v4, WEB, DB), "No Connections | All Connections");
    assert_eq!(conn(&v4, WEB, "0.0.0.0-255.255.255.255"), "No Connections");
    assert_eq!(conn(&v4, WEB, "::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"), "All Connections");
    assert_eq!(conn(&of("0.0.0.0/0, '::/0'"), WEB, DB), "No Connections");
}

#[test]
fn the_older_kinds_mean_the_same() {
    let admin = |action: &str| {
        format!(
            "apiVersion: policy.networking.k8s.io/v1alpha1\nkind: AdminNetworkPolicy\nmetadata: {{name: a}}\n\
             spec: {{priority: 1, subject: {{pods: {{namespaceSelector: {{}}, podSelector: {{matchLabels: {{app: db}}}}}}}}, \
             ingress: [{{action: {action}, from: [{{namespaces: {{}}}}], ports: [{{portNumber: {{protocol: TCP, port: 80}}}}, {{portRange: {{protocol: UDP, start: 5, end: 7}}}}]}}]}}\n---\n"
        )
    };
    let none = policy("bank", "none", DENY_ALL);
    assert_eq!(conn(&analysis(&(two() + &admin("Allow") + &none)), WEB, DB), "TCP 80,UDP 5-7");
    let denied = conn(&analysis(&(two() + &admin("Deny"))), WEB, DB);
    assert_eq!(denied, "SCTP 1-65535,TCP 1-79,81-65535,UDP 1-4,8-65535");
    let base = "apiVersion: policy.networking.k8s.io/v1alpha1\nkind: BaselineAdminNetworkPolicy\nmetadata: {name: default}\n\
                spec: {subject: {namespaces: {}}, ingress: [{action: Deny, from: [{namespaces: {}}]}]}\n---\n";
    assert_eq!(conn(&analysis(&(two() + base)), WEB, DB), "No Connections");
    assert_eq!(conn(&analysis(&(two() + base + &policy("bank", "all", ALLOW_ALL))), WEB, DB), "All Connections");
}

#[test]
fn what_an_implementation_would_not_understand_is_an_error() {
    for (text, message) in [
        (cluster_policy("a", "Admin", 1, &rule("Allow", "")), "`Allow` is no action"),
        (cluster_policy("a", "Other", 1, &rule("Deny", "")), "no tier"),
        (cluster_policy("a", "Admin", 1001, &rule("Deny", "")), "no priority"),
        (cluster_policy("a", "Admin", 1, "{action: Deny, from: []}"), "without peers"),
        (
            cluster_policy("a", "Admin", 1, "{action: Deny, from: [{networks: [10.0.0.0/8]}]}"),
            "`networks` is not known",
        ),
        (cluster_policy("a", "Admin", 1, &rule("Deny", ", ports: []")), "`ports` is not known"),
    ] {
        let found = errors(&(two() + &text));
        assert!(found.iter().any(|one| one.message.contains(message)), "{message}: {found:?}");
    }
}
