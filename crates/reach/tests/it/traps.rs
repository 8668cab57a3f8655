//! The traps of NetworkPolicy and the defects that other analysers have had: a test for each, the allow beside the
//! deny.

use sekat_policy::intent::Protocol;
use sekat_reach::addresses::Range;
use sekat_reach::{Options, Verdict};

use crate::support::{analysis, analysis_with, conn, errors, namespace, pod, policy};

/// Two pods in one namespace and one in another, whose labels are known.
fn three() -> String {
    namespace("shop", "team: shop")
        + &namespace("other", "team: other")
        + &pod("shop", "web", "app: web")
        + &pod("shop", "db", "app: db")
        + &pod("other", "guest", "app: guest")
}

const WEB: &str = "shop/web[Pod]";
const DB: &str = "shop/db[Pod]";
const GUEST: &str = "other/guest[Pod]";
const ANYWHERE: &str = "0.0.0.0-255.255.255.255";

/// Trap 1: whether a block of addresses takes pods that have them depends on the plugin; outside it is certain.
#[test]
fn a_block_over_pod_addresses_is_neither_allowed_nor_denied() {
    let to = |cidr: &str| {
        let spec = format!(
            "{{podSelector: {{matchLabels: {{app: web}}}}, policyTypes: [Egress], egress: [{{to: [{{ipBlock: {{cidr: {cidr}}}}}]}}]}}"
        );
        three() + &policy("shop", "egress", &spec)
    };
    let all = analysis(&to("0.0.0.0/0"));
    assert_eq!(conn(&all, WEB, DB), "No Connections | All Connections");
    assert_eq!(conn(&all, WEB, ANYWHERE), "All Connections");
    let bank = analysis(&to("203.0.113.0/24"));
    assert_eq!(conn(&bank, WEB, DB), "No Connections");
    assert_eq!(conn(&bank, WEB, "203.0.113.0-203.0.113.255"), "All Connections");
    assert_eq!(conn(&bank, WEB, "203.0.114.0-255.255.255.255"), "No Connections");
    let public_pods = Options { pod_ranges: vec![Range::V4], ..Options::default() };
    assert_eq!(conn(&analysis_with(&to("203.0.113.0/24"), public_pods), WEB, DB), "No Connections | All Connections");
}

/// Trap 2: an empty list of rules allows nothing; a list with an empty rule allows everything.
#[test]
fn no_rule_denies_and_an_empty_rule_allows() {
    for (rules, expected) in [("[]", "No Connections"), ("[{}]", "All Connections"), ("null", "No Connections")] {
        let spec = format!("{{podSelector: {{}}, policyTypes: [Ingress], ingress: {rules}}}");
        assert_eq!(conn(&analysis(&(three() + &policy("shop", "p", &spec))), WEB, DB), expected, "{rules}");
    }
    let spec = "{podSelector: {}, policyTypes: [Ingress]}";
    assert_eq!(conn(&analysis(&(three() + &policy("shop", "p", spec))), WEB, DB), "No Connections");
}

/// Trap 3: without policyTypes a policy decides ingress, and egress only if it has rules for it.
#[test]
fn policy_types_default_as_the_server_does() {
    let of = |spec: &str| analysis(&(three() + &policy("shop", "p", spec)));
    let ingress = of("{podSelector: {matchLabels: {app: web}}}");
    assert_eq!(conn(&ingress, DB, WEB), "No Connections");
    assert_eq!(conn(&ingress, WEB, DB), "All Connections");
    let both =
        of("{podSelector: {matchLabels: {app: web}}, egress: [{to: [{podSelector: {matchLabels: {app: none}}}]}]}");
    assert_eq!(conn(&both, DB, WEB), "No Connections");
    assert_eq!(conn(&both, WEB, DB), "No Connections");
    let empty = of("{podSelector: {matchLabels: {app: web}}, egress: []}");
    assert_eq!(conn(&empty, WEB, DB), "All Connections");
    let stated = of("{podSelector: {matchLabels: {app: web}}, policyTypes: [Egress]}");
    assert_eq!(conn(&stated, DB, WEB), "All Connections");
    assert_eq!(conn(&stated, WEB, DB), "No Connections");
}

/// Trap 4: a pod on its node's network is selected by no policy, and looks like the node to others.
#[test]
fn policies_do_not_hold_a_pod_on_its_nodes_network() {
    let host = pod("shop", "host", "app: host").replace("spec: {", "spec: {hostNetwork: true, ");
    let deny = policy("shop", "deny", "{podSelector: {}, policyTypes: [Ingress, Egress]}");
    let analysis = analysis(&(three() + &host + &deny));
    assert_eq!(conn(&analysis, GUEST, "shop/host[Pod]"), "All Connections");
    assert_eq!(conn(&analysis, "shop/host[Pod]", GUEST), "All Connections");
    assert_eq!(conn(&analysis, "shop/host[Pod]", WEB), "No Connections | All Connections");
    assert_eq!(conn(&analysis, DB, WEB), "No Connections");
    let why = analysis.explain("host", "web", None, None).expect("both exist");
    assert_eq!(why.verdict, Verdict::Unknown);
    assert!(why.to_string().contains("own node"), "{why}");
}

/// Trap 5: a port without a protocol is TCP; a protocol without a port is all ports of it and nothing else.
#[test]
fn a_port_is_tcp_and_a_protocol_is_all_its_ports() {
    let of = |ports: &str| {
        let spec = format!("{{podSelector: {{matchLabels: {{app: db}}}}, ingress: [{{ports: {ports}}}]}}");
        conn(&analysis(&(three() + &policy("shop", "p", &spec))), WEB, DB)
    };
    assert_eq!(of("[{port: 80}]"), "TCP 80");
    assert_eq!(of("[{protocol: UDP}]"), "UDP 1-65535");
    assert_eq!(of("[{protocol: SCTP, port: 9}]"), "SCTP 9");
    assert_eq!(of("[{port: 80, endPort: 90}, {protocol: UDP, port: 53}]"), "TCP 80-90,UDP 53");
    assert_eq!(of("[{protocol: TCP}, {protocol: UDP}, {protocol: SCTP}]"), "All Connections");
    assert_eq!(of("[]"), "All Connections");
}

/// The first defect: an explanation must not ignore the protocol of a rule without a port.
#[test]
fn an_explanation_says_what_the_listing_says() {
    let spec = "{podSelector: {matchLabels: {app: db}}, ingress: [{ports: [{protocol: UDP}]}]}";
    let analysis = analysis(&(three() + &policy("shop", "udp", spec)));
    let verdict = |protocol| analysis.explain(WEB, DB, Some(80), Some(protocol)).expect("both exist").verdict;
    assert_eq!(verdict(Protocol::Tcp), Verdict::Denied);
    assert_eq!(verdict(Protocol::Udp), Verdict::Allowed);
    assert_eq!(analysis.explain(WEB, DB, None, None).expect("both exist").verdict, Verdict::Partly);
}

/// Trap 6: an empty namespaceSelector is every namespace, none is the policy's own; and both in one peer are "and".
#[test]
fn namespace_selectors_widen_only_where_they_stand() {
    let of = |from: &str| {
        let spec = format!("{{podSelector: {{matchLabels: {{app: db}}}}, ingress: [{{from: {from}}}]}}");
        let analysis = analysis(&(three() + &policy("shop", "p", &spec)));
        [conn(&analysis, WEB, DB), conn(&analysis, GUEST, DB)].map(|conn| conn == "All Connections")
    };
    assert_eq!(of("[{podSelector: {}}]"), [true, false]);
    assert_eq!(of("[{namespaceSelector: {}}]"), [true, true]);
    assert_eq!(of("[{namespaceSelector: {matchLabels: {team: other}}}]"), [false, true]);
    assert_eq!(of("[{namespaceSelector: {}, podSelector: {matchLabels: {app: guest}}}]"), [false, true]);
    assert_eq!(
        of("[{namespaceSelector: {matchLabels: {team: shop}}, podSelector: {matchLabels: {app: guest}}}]"),
        [false, false]
    );
    assert_eq!(
        of("[{namespaceSelector: {matchLabels: {team: shop}}}, {podSelector: {matchLabels: {app: x}}}]"),
        [true, false]
    );
    assert_eq!(
        of("[{namespaceSelector: {matchExpressions: [{key: team, operator: NotIn, values: [shop]}]}}]"),
        [false, true]
    );
    assert_eq!(of("[{namespaceSelector: {matchExpressions: [{key: team, operator: Exists}]}}]"), [true, true]);
    assert_eq!(
        of(
            "[{namespaceSelector: {matchExpressions: [{key: kubernetes.io/metadata.name, operator: In, values: [other]}]}}]"
        ),
        [false, true]
    );
}

/// Trap 7: what a pod says to itself is nobody's rule; it is no row.
#[test]
fn nobody_has_a_row_with_themselves() {
    assert_eq!(conn(&analysis(&three()), WEB, WEB), "No Connections");
}

/// Trap 8: the ports of a service do not count, those of its pods do.
#[test]
fn policies_decide_after_a_services_address_is_translated() {
    let service = "apiVersion: v1\nkind: Service\nmetadata: {namespace: shop, name: db}\n\
                   spec: {selector: {app: db}, ports: [{port: 80, targetPort: 5432}]}\n---\n";
    let of = |port: u16| {
        let spec = format!(
            "{{podSelector: {{matchLabels: {{app: web}}}}, policyTypes: [Egress], egress: [{{ports: [{{port: {port}}}]}}]}}"
        );
        conn(&analysis(&(three() + service + &policy("shop", "p", &spec))), WEB, DB)
    };
    assert_eq!(of(5432), "TCP 5432");
    assert_eq!(of(80), "TCP 80");
}

/// Trap 9: it takes both sides to let a connection through, and policies add up.
#[test]
fn both_sides_must_agree_and_policies_add_up() {
    let out = policy(
        "shop",
        "out",
        "{podSelector: {matchLabels: {app: web}}, policyTypes: [Egress], egress: [{to: [{podSelector: {matchLabels: {app: db}}}], ports: [{port: 80}, {port: 81}]}]}",
    );
    let one = policy(
        "shop",
        "one",
        "{podSelector: {matchLabels: {app: db}}, ingress: [{from: [{podSelector: {}}], ports: [{port: 81}, {port: 82}]}]}",
    );
    let more = policy("shop", "more", "{podSelector: {}, policyTypes: [Ingress], ingress: [{ports: [{port: 80}]}]}");
    assert_eq!(conn(&analysis(&(three() + &out)), WEB, DB), "TCP 80-81");
    assert_eq!(conn(&analysis(&(three() + &out + &one)), WEB, DB), "TCP 81");
    assert_eq!(conn(&analysis(&(three() + &out + &one + &more)), WEB, DB), "TCP 80-81");
    assert_eq!(conn(&analysis(&(three() + &out)), WEB, GUEST), "No Connections");
}

/// Trap 10: an exception of one rule does not take away what another one allows.
#[test]
fn an_exception_cuts_its_own_block_only() {
    let spec = "{podSelector: {matchLabels: {app: db}}, ingress: [{from: [{ipBlock: {cidr: 192.0.2.0/24, except: [192.0.2.128/25]}}]}, {from: [{ipBlock: {cidr: 192.0.2.192/26}}], ports: [{port: 80}]}]}";
    let analysis = analysis(&(three() + &policy("shop", "p", spec)));
    assert_eq!(conn(&analysis, "192.0.2.0-192.0.2.127", DB), "All Connections");
    assert_eq!(conn(&analysis, "192.0.2.128-192.0.2.191", DB), "No Connections");
    assert_eq!(conn(&analysis, "192.0.2.192-192.0.2.255", DB), "TCP 80");
    assert_eq!(conn(&analysis, "0.0.0.0-192.0.1.255", DB), "No Connections");
}

/// A port's name is looked up at the destination, pod by pod, with its protocol.
#[test]
fn named_ports_are_those_of_the_destination() {
    let with_port = |name: &str, port: u16, protocol: &str| {
        pod("shop", name, &format!("app: {name}")).replace(
            "{name: c}",
            &format!("{{name: c, ports: [{{name: web, containerPort: {port}, protocol: {protocol}}}]}}"),
        )
    };
    let pods = with_port("a", 8080, "TCP") + &with_port("b", 9090, "TCP") + &with_port("c", 7070, "UDP");
    let ingress = policy("shop", "in", "{podSelector: {}, ingress: [{ports: [{port: web}]}]}");
    let found = analysis(&(pods.clone() + &ingress));
    assert_eq!(conn(&found, "shop/a[Pod]", "shop/b[Pod]"), "TCP 9090");
    assert_eq!(conn(&found, "shop/b[Pod]", "shop/a[Pod]"), "TCP 8080");
    assert_eq!(conn(&found, "shop/a[Pod]", "shop/c[Pod]"), "No Connections");
    let egress = policy(
        "shop",
        "out",
        "{podSelector: {matchLabels: {app: c}}, policyTypes: [Egress], egress: [{ports: [{port: web}]}]}",
    );
    let found = analysis(&(pods + &egress));
    assert_eq!(conn(&found, "shop/c[Pod]", "shop/a[Pod]"), "TCP 8080");
    assert_eq!(conn(&found, "shop/c[Pod]", "shop/b[Pod]"), "TCP 9090");
    assert_eq!(conn(&found, "shop/c[Pod]", ANYWHERE), "No Connections");
}

/// The fourth defect: pods of one owner that policies tell apart each stand for themselves.
#[test]
fn pods_of_one_owner_may_differ() {
    let owned = |name: &str, labels: &str| {
        pod("shop", name, labels).replace(
            "labels:",
            "ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: web-1, uid: u, controller: true}], labels:",
        )
    };
    let pods = owned("web-1-a", "app: web, canary: 'yes', pod-template-hash: x")
        + &owned("web-1-b", "app: web, pod-template-hash: y")
        + &pod("shop", "db", "app: db");
    let canary = policy(
        "shop",
        "p",
        "{podSelector: {matchLabels: {app: db}}, ingress: [{from: [{podSelector: {matchLabels: {canary: 'yes'}}}]}]}",
    );
    let found = analysis(&(pods + &canary));
    assert_eq!(conn(&found, "shop/web-1-a[Pod]", DB), "All Connections");
    assert_eq!(conn(&found, "shop/web-1-b[Pod]", DB), "No Connections");
    let alike = owned("web-1-a", "app: web, pod-template-hash: x")
        + &owned("web-1-b", "app: web, pod-template-hash: y")
        + &pod("shop", "db", "app: db");
    assert_eq!(conn(&analysis(&alike), "shop/web-1[ReplicaSet]", DB), "All Connections");
}

/// A label that a controller will set, and labels of a namespace that is not stated, leave a match open.
#[test]
fn labels_that_are_not_stated_leave_a_match_open() {
    let job = "apiVersion: batch/v1\nkind: Job\nmetadata: {namespace: shop, name: job}\n\
               spec: {template: {metadata: {labels: {app: job}}, spec: {containers: [{name: c}]}}}\n---\n";
    let by_label = |label: &str| {
        policy(
            "shop",
            "p",
            &format!(
                "{{podSelector: {{matchLabels: {{app: db}}}}, ingress: [{{from: [{{podSelector: {{matchLabels: {{{label}}}}}}}]}}]}}"
            ),
        )
    };
    let of = |label: &str| conn(&analysis(&(three() + job + &by_label(label))), "shop/job[Job]", DB);
    assert_eq!(of("batch.kubernetes.io/job-name: job"), "No Connections | All Connections");
    assert_eq!(of("color: red"), "No Connections");
    assert_eq!(of("app: job"), "All Connections");
    let from = policy(
        "shop",
        "p",
        "{podSelector: {matchLabels: {app: db}}, ingress: [{from: [{namespaceSelector: {matchLabels: {team: other}}}]}]}",
    );
    let stranger = pod("unstated", "guest", "app: guest");
    let found = analysis(&(three() + &stranger + &from));
    assert_eq!(conn(&found, "unstated/guest[Pod]", DB), "No Connections | All Connections");
    assert_eq!(conn(&found, GUEST, DB), "All Connections");
    assert_eq!(conn(&found, WEB, DB), "No Connections");
}

/// Kinds that are not analysed leave unknown what they may change, and nothing else.
#[test]
fn foreign_policies_leave_their_namespace_unknown() {
    let cilium =
        "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {namespace: other, name: c}\nspec: {}\n---\n";
    let found = analysis(&(three() + cilium));
    assert_eq!(conn(&found, WEB, GUEST), "No Connections | All Connections");
    assert_eq!(conn(&found, WEB, DB), "All Connections");
    let closed = policy("shop", "deny", "{podSelector: {}, policyTypes: [Ingress]}");
    assert_eq!(conn(&analysis(&(three() + cilium + &closed)), GUEST, WEB), "No Connections");
    let made_up = "apiVersion: example.com/v1\nkind: Firewall\nmetadata: {name: c}\n---\n";
    assert_eq!(conn(&analysis(&(three() + made_up)), WEB, DB), "No Connections | All Connections");
    let harmless = Options { harmless_kinds: vec!["Firewall".to_owned()], ..Options::default() };
    assert_eq!(conn(&analysis_with(&(three() + made_up), harmless), WEB, DB), "All Connections");
    let narrowing =
        "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {namespace: shop, name: a}\n---\n";
    let narrowed = analysis(&(three() + narrowing));
    assert_eq!(conn(&narrowed, WEB, DB), "All Connections");
    assert!(narrowed.notes().iter().any(|note| note.contains("AuthorizationPolicy")));
}

/// Whoever applies a file twice, or misspells a field, hears about it; and nothing of the input is used.
#[test]
fn what_is_wrong_is_said_with_its_line() {
    for (text, line, message) in [
        (policy("shop", "p", "{podselector: {}}"), 4, "`podselector` is not known"),
        (policy("shop", "p", "{podSelector: {matchLabels: {a: 1}}}"), 4, "a whole number where text is expected"),
        (policy("shop", "p", "{podSelector: {}, ingress: [{from: [{}]}]}"), 4, "names nobody"),
        (policy("shop", "p", "{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/33}}]}]}"), 4, "`/33`"),
        (
            policy(
                "shop",
                "p",
                "{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8, except: [11.0.0.0/8]}}]}]}",
            ),
            4,
            "exception",
        ),
        (
            policy(
                "shop",
                "p",
                "{podSelector: {}, ingress: [{from: [{podSelector: {}, ipBlock: {cidr: 10.0.0.0/8}}]}]}",
            ),
            4,
            "a selector and an ipBlock",
        ),
        (
            policy("shop", "p", "{podSelector: {}, ingress: [{ports: [{port: 90, endPort: 80}]}]}"),
            4,
            "endPort is below",
        ),
        (policy("shop", "p", "{podSelector: {}, ingress: [{ports: [{port: 70000}]}]}"), 4, "70000 is no port"),
        (policy("shop", "p", "{podSelector: {}, ingress: [{ports: [{port: '80'}]}]}"), 4, "no name of a port"),
        (policy("shop", "p", "{podSelector: {}, ingress: [{ports: [{protocol: ICMP}]}]}"), 4, "`ICMP`"),
        (policy("shop", "p", "{podSelector: {matchExpressions: [{key: a, operator: In}]}}"), 4, "need values"),
        ("apiVersion: v1\nmetadata: {name: a}\n".to_owned(), 1, "without `kind`"),
        ("kind: List\napiVersion: v1\nitems: [{metadata: {name: a}}]\n".to_owned(), 3, "without `kind`"),
        ("a: [\n".to_owned(), 2, ""),
        (pod("a", "b", "") + &pod("a", "b", ""), 6, "stands twice"),
        (port_called("much-longer-than-it-may"), 4, "no name of a port"),
        (port_called("two--hyphens"), 4, "no name of a port"),
        (port_called("80"), 4, "no name of a port"),
    ] {
        let found = errors(&text);
        assert!(found.iter().any(|one| one.span.line == line && one.message.contains(message)), "{text}\n{found:?}");
    }
}

fn port_called(name: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: a}}\n\
         spec: {{containers: [{{name: b, ports: [{{name: '{name}', containerPort: 80}}]}}]}}\n"
    )
}

#[test]
fn names_of_ports_are_as_long_as_they_may_be() {
    assert_eq!(analysis(&port_called("fifteen-letters")).cluster().workloads.len(), 1);
}

/// What cannot change who reaches whom may stand twice: folders of examples are full of it.
#[test]
fn harmless_objects_may_stand_twice() {
    let twice = |kind: &str| {
        let one = format!("---\napiVersion: monitoring.coreos.com/v1\nkind: {kind}\nmetadata: {{name: a}}\n");
        one.clone() + &one
    };
    assert_eq!(analysis(&(pod("a", "b", "") + &twice("ServiceMonitor"))).cluster().workloads.len(), 1);
    let foreign = twice("CiliumNetworkPolicy").replace("monitoring.coreos.com", "cilium.io");
    assert_eq!(errors(&(pod("a", "b", "") + &foreign)).len(), 1, "what may change it may not");
}

/// Lists, also of one kind whose items do not repeat it, and files beside manifests.
#[test]
fn lists_are_read_item_by_item() {
    let list =
        "apiVersion: v1\nkind: PodList\nitems:\n- metadata: {name: a}\n  spec: {}\n- metadata: {name: b}\n  spec: {}\n";
    let kustomization = "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: [a.yaml]\n";
    let analysis = analysis(&format!("{list}---\nreplicaCount: 1\n---\n[1, 2]\n---\n{kustomization}"));
    assert_eq!(conn(&analysis, "default/a[Pod]", "default/b[Pod]"), "All Connections");
    assert_eq!(analysis.cluster().ignored.get("no Kubernetes object"), Some(&3));
}

/// Ways in that policies for pods do not see: a gateway that is not analysed, ports that nodes publish, a further
/// network. Each leaves open exactly what it may open.
#[test]
fn other_ways_in_leave_open_what_they_may_open() {
    let closed = policy("shop", "deny", "{podSelector: {matchLabels: {app: db}}, policyTypes: [Ingress]}");
    let route =
        "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {namespace: shop, name: r}\n---\n";
    let found = analysis(&(three() + &closed + route));
    assert_eq!(conn(&found, "{gateway}", WEB), "No Connections | All Connections");
    assert_eq!(conn(&found, "{gateway}", DB), "No Connections");
    assert_eq!(conn(&found, "{gateway}", GUEST), "No Connections");
    let service = |kind: &str| {
        format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{namespace: shop, name: db}}\n\
             spec: {{type: {kind}, selector: {{app: db}}, ports: [{{port: 80, targetPort: 5432}}]}}\n---\n"
        )
    };
    let published = analysis(&(three() + &closed + &service("NodePort")));
    assert_eq!(conn(&published, ANYWHERE, DB), "No Connections | TCP 5432");
    assert_eq!(conn(&published, WEB, DB), "No Connections");
    // Whose endpoints somebody else states, whoever that is.
    let unstated = service("NodePort").replace("selector: {app: db}, ", "");
    assert_ne!(unstated, service("NodePort"), "{unstated}");
    let published = analysis(&(three() + &closed + &unstated));
    assert_eq!(conn(&published, ANYWHERE, DB), "No Connections | TCP 5432");
    assert_eq!(conn(&published, WEB, DB), "No Connections");
    assert_eq!(conn(&analysis(&(three() + &closed + &service("ClusterIP"))), ANYWHERE, DB), "No Connections");
    let attached = |app: &str| {
        pod("shop", app, &format!("app: {app}"))
            .replace("labels:", "annotations: {k8s.v1.cni.cncf.io/networks: net}, labels:")
    };
    let both = analysis(&(attached("web") + &attached("db") + &pod("shop", "plain", "app: plain") + &closed));
    assert_eq!(conn(&both, WEB, DB), "No Connections | All Connections");
    assert_eq!(conn(&both, "shop/plain[Pod]", DB), "No Connections");
}
