//! What the readers take a target's text to mean, on texts that no emitter of ours writes: the cases in which people and
//! tools read it differently.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use sekat_policy::intent::Protocol;

use crate::File;
use crate::attempt::{Attempt, Kind, Party};
use crate::read::reader;
use crate::target::Target;

/// A pod of `shop` with the label `app`, its account and certificate named alike.
fn pod(app: &str, namespace: &str, last: u8) -> Party {
    Party {
        title: app.to_owned(),
        genuine: None,
        kind: Kind::Pod,
        namespace: namespace.to_owned(),
        service: app.to_owned(),
        labels: BTreeMap::from([("app".to_owned(), app.to_owned())]),
        service_account: app.to_owned(),
        trust_domain: "td".to_owned(),
        proxies: "td".to_owned(),
        identity: format!("spiffe://td/{app}"),
        address: IpAddr::V4(Ipv4Addr::new(10, 0, 0, last)),
    }
}

/// Whether `web` of the namespace `from` reaches `db` in `shop`.
fn reaches(target: Target, text: &str, from: &str, (port, protocol): (u16, Protocol), path: Option<&str>) -> bool {
    let name = if target == Target::GrpcRbac { "db.grpc.json" } else { "db.grpc.yaml" };
    let files = [File { name: name.to_owned(), text: text.to_owned() }];
    let (reader, found) = reader(target, &files);
    assert_eq!(found, [], "{text}");
    let (from, to) = (pod("web", from, 1), pod("db", "shop", 2));
    let attempt = Attempt { from: &from, to: &to, port, listener: "grpc", protocol, path };
    reader.judge(&attempt).is_allowed()
}

const TCP: (u16, Protocol) = (5_432, Protocol::Tcp);
const UDP: (u16, Protocol) = (5_432, Protocol::Udp);

fn network_policy(spec: &str) -> String {
    format!(
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: x, namespace: shop}}\nspec: {{{spec}}}\n"
    )
}

#[test]
fn network_policies_mean_what_kubernetes_says() {
    let of_db = "podSelector: {matchLabels: {app: db}}";
    for (spec, from, at, expected) in [
        // Without policyTypes: ingress always, egress only where there are rules for it.
        ("podSelector: {}".to_owned(), "shop", TCP, false),
        ("podSelector: {}, policyTypes: [Egress]".to_owned(), "elsewhere", TCP, true),
        ("podSelector: {}, policyTypes: [Egress]".to_owned(), "shop", TCP, false),
        ("podSelector: {matchLabels: {app: web}}".to_owned(), "shop", TCP, true),
        // No rules deny; one empty rule allows everything.
        (format!("{of_db}, policyTypes: [Ingress], ingress: []"), "shop", TCP, false),
        (format!("{of_db}, policyTypes: [Ingress]"), "shop", TCP, false),
        (format!("{of_db}, ingress: [{{}}]"), "elsewhere", UDP, true),
        (format!("{of_db}, ingress: [{{from: [], ports: []}}]"), "elsewhere", TCP, true),
        // Without a selector of namespaces a peer is in the policy's own.
        (format!("{of_db}, ingress: [{{from: [{{podSelector: {{}}}}]}}]"), "shop", TCP, true),
        (format!("{of_db}, ingress: [{{from: [{{podSelector: {{}}}}]}}]"), "elsewhere", TCP, false),
        (format!("{of_db}, ingress: [{{from: [{{namespaceSelector: {{}}}}]}}]"), "elsewhere", TCP, true),
        // Both selectors of one peer must match; two peers are two chances.
        (
            format!(
                "{of_db}, ingress: [{{from: [{{namespaceSelector: {{}}, podSelector: {{matchLabels: {{app: x}}}}}}]}}]"
            ),
            "elsewhere",
            TCP,
            false,
        ),
        (
            format!(
                "{of_db}, ingress: [{{from: [{{namespaceSelector: {{}}}}, {{podSelector: {{matchLabels: {{app: x}}}}}}]}}]"
            ),
            "elsewhere",
            TCP,
            true,
        ),
        // A label that is not there is not in any list.
        (
            format!(
                "{of_db}, ingress: [{{from: [{{podSelector: {{matchExpressions: [{{key: tier, operator: NotIn, values: [x]}}]}}}}]}}]"
            ),
            "shop",
            TCP,
            true,
        ),
        // A port is TCP unless it says otherwise; a protocol alone is all of its ports and no other protocol's.
        (format!("{of_db}, ingress: [{{ports: [{{port: 5432}}]}}]"), "shop", TCP, true),
        (format!("{of_db}, ingress: [{{ports: [{{port: 5432}}]}}]"), "shop", UDP, false),
        (format!("{of_db}, ingress: [{{ports: [{{protocol: UDP}}]}}]"), "shop", TCP, false),
        (format!("{of_db}, ingress: [{{ports: [{{protocol: UDP}}]}}]"), "shop", UDP, true),
        (format!("{of_db}, ingress: [{{ports: [{{port: 5000, endPort: 5432}}]}}]"), "shop", TCP, true),
        (format!("{of_db}, ingress: [{{ports: [{{port: 5000, endPort: 5431}}]}}]"), "shop", TCP, false),
        // A block counts for pods as well, and its exceptions take away from it alone.
        (format!("{of_db}, ingress: [{{from: [{{ipBlock: {{cidr: 10.0.0.0/24}}}}]}}]"), "shop", TCP, true),
        (
            format!("{of_db}, ingress: [{{from: [{{ipBlock: {{cidr: 10.0.0.0/24, except: [10.0.0.1/32]}}}}]}}]"),
            "shop",
            TCP,
            false,
        ),
        (
            format!(
                "{of_db}, ingress: [{{from: [{{ipBlock: {{cidr: 10.0.0.0/24, except: [10.0.0.1/32]}}}}, {{ipBlock: {{cidr: 10.0.0.1/32}}}}]}}]"
            ),
            "shop",
            TCP,
            true,
        ),
    ] {
        assert_eq!(reaches(Target::Kubernetes, &network_policy(&spec), from, at, None), expected, "{from}: {spec}");
    }
}

fn wall(priority: u16, action: &str) -> String {
    format!(
        "---\nkind: ClusterNetworkPolicy\nmetadata: {{name: x}}\nspec:\n  tier: Admin\n  priority: {priority}\n  \
         subject: {{namespaces: {{}}}}\n  ingress: [{{action: {action}, from: [{{namespaces: {{}}}}]}}]\n"
    )
}

#[test]
fn the_first_wall_by_priority_decides_and_a_tie_is_taken_for_open() {
    for (walls, expected) in [
        (wall(1, "Deny"), false),
        (wall(1, "Pass") + &wall(2, "Deny"), true),
        (wall(2, "Pass") + &wall(1, "Deny"), false),
        (wall(1, "Pass") + &wall(1, "Deny"), true),
        (wall(1, "Deny") + &wall(1, "Pass"), true),
    ] {
        assert_eq!(reaches(Target::Cnp, &walls, "shop", TCP, None), expected, "{walls}");
    }
}

/// Policies of Istio in `shop`, with the mutual TLS that their principals need.
fn istio(specs: &[&str]) -> String {
    let strict = "kind: PeerAuthentication\nmetadata: {name: default, namespace: shop}\nspec: {mtls: {mode: STRICT}}\n";
    let one = |spec: &&str| {
        format!("---\nkind: AuthorizationPolicy\nmetadata: {{name: x, namespace: shop}}\nspec: {{{spec}}}\n")
    };
    format!("{strict}{}", specs.iter().map(one).collect::<String>())
}

#[test]
fn istio_denies_before_it_allows_and_reads_no_http_where_there_is_none() {
    let allow_path = "action: ALLOW, rules: [{to: [{operation: {paths: [/a.B/C], ports: ['5432']}}]}]";
    let deny_path = "action: DENY, rules: [{to: [{operation: {paths: [/a.B/C], ports: ['5432']}}]}]";
    let (call, other) = (Some("/a.B/C"), Some("/a.B/D"));
    for (specs, path, expected) in [
        // Without any ALLOW everything is allowed; an ALLOW without rules allows nothing.
        (&[][..], call, true),
        (&[""], call, false),
        (&["rules: [{}]"], call, true),
        (&[allow_path], call, true),
        (&[allow_path], other, false),
        (&[allow_path], None, false),
        (&["", allow_path], call, true),
        (&[allow_path, ""], call, true),
        (&[deny_path], call, false),
        (&[deny_path], other, true),
        // Of a DENY on what is no HTTP only the port is left.
        (&[deny_path], None, false),
        (&["rules: [{}]", deny_path], call, false),
        (&["selector: {matchLabels: {app: x}}"], call, true),
        (&["rules: [{from: [{source: {principals: [td/ns/shop/sa/web]}}]}]"], call, true),
        (&["rules: [{from: [{source: {principals: [td/ns/other/sa/web]}}]}]"], call, false),
    ] {
        assert_eq!(reaches(Target::Istio, &istio(specs), "shop", TCP, path), expected, "{path:?} {specs:?}");
    }
}

#[test]
fn linkerd_lets_everybody_in_where_nothing_is_stated() {
    let server = "---\nkind: Server\nmetadata: {name: s, namespace: shop}\n\
                  spec: {podSelector: {matchLabels: {app: db}}, port: 5432, proxyProtocol: gRPC}\n";
    let by_both = "---\nkind: MeshTLSAuthentication\nmetadata: {name: m, namespace: shop}\n\
                   spec: {identityRefs: [{kind: ServiceAccount, name: web, namespace: shop}]}\n\
                   ---\nkind: NetworkAuthentication\nmetadata: {name: n, namespace: shop}\nspec: {networks: [{cidr: 10.9.0.0/16}]}\n\
                   ---\nkind: AuthorizationPolicy\nmetadata: {name: a, namespace: shop}\n\
                   spec: {targetRef: {kind: Server, name: s}, requiredAuthenticationRefs: \
                   [{kind: MeshTLSAuthentication, name: m}, {kind: NetworkAuthentication, name: n}]}\n";
    let by_one = by_both.replace(", {kind: NetworkAuthentication, name: n}]", "]");
    let route = "---\nkind: GRPCRoute\nmetadata: {name: r, namespace: shop}\nspec: {parentRefs: [{kind: Server, name: s}], \
                 rules: [{matches: [{method: {service: a.B, method: C}}]}]}\n";
    for (text, path, expected) in [
        (String::new(), "/a.B/C", true),
        (server.to_owned(), "/a.B/C", false),
        (format!("{server}{by_one}"), "/a.B/C", true),
        // All that a policy requires has to hold.
        (format!("{server}{by_both}"), "/a.B/C", false),
        // With a route a call has to match one, even where the Server as a whole is opened.
        (format!("{server}{by_one}{route}"), "/a.B/C", true),
        (format!("{server}{by_one}{route}"), "/a.B/D", false),
        (format!("{server}{route}"), "/a.B/C", false),
    ] {
        assert_eq!(reaches(Target::Linkerd, &text, "shop", TCP, Some(path)), expected, "{path} {text}");
    }
}

#[test]
fn a_rule_of_grpc_without_a_part_is_for_all_of_it() {
    for (rules, expected) in [
        (r#""allow_rules": [{"name": "x"}]"#, true),
        (r#""allow_rules": [{"name": "x", "source": {}, "request": {}}]"#, true),
        (r#""allow_rules": [{"name": "x", "request": {"paths": ["/a.B/C"]}}]"#, true),
        (r#""allow_rules": [{"name": "x", "request": {"paths": ["/a.B/D"]}}]"#, false),
        (r#""allow_rules": [{"name": "x", "source": {"principals": ["spiffe://td/db"]}}]"#, false),
        (r#""deny_rules": [{"name": "y"}], "allow_rules": [{"name": "x"}]"#, false),
    ] {
        let text = format!(r#"{{"name": "p", {rules}}}"#);
        assert_eq!(reaches(Target::GrpcRbac, &text, "shop", TCP, Some("/a.B/C")), expected, "{text}");
    }
}
