//! Faults planted into emitted files: the round trip has to name each, so that its silence means something.

use crate::codes::{NARROWER, NOT_UNDERSTOOD, TRAP, WIDER};
use crate::testing::shop;
use crate::{Compiled, File, Target, compile, round_trip};

/// What somebody does to a file.
enum Change {
    /// Replaces a text where it stands first.
    Replace(&'static str, &'static str),
    /// Removes the object of that kind and name.
    Drop(&'static str, &'static str),
    /// Adds an object.
    Add(&'static str),
}
use Change::{Add, Drop, Replace};

/// A change to a file of a target, the code of the finding, and what its message says.
type Fault = (Target, &'static str, Change, &'static str, &'static str);

/// Compiles the shop, plants the fault and returns what the round trip finds.
fn found(target: Target, file: &str, change: &Change) -> Vec<(&'static str, String)> {
    let intent = shop();
    let (mut compiled, errors) = compile(&intent, target);
    assert!(errors.is_empty());
    plant(&mut compiled, file, change);
    round_trip(&intent, &compiled).into_iter().map(|it| (it.code, it.to_string())).collect()
}

fn plant(compiled: &mut Compiled, name: &str, change: &Change) {
    let file = compiled.files.iter_mut().find(|file| file.name == name).unwrap_or_else(|| panic!("no file {name}"));
    let text = match change {
        Replace(from, to) => file.text.replacen(from, to, 1),
        Add(text) => format!("{}---\n{text}", file.text),
        Drop(kind, name) => {
            let is_it = |text: &&str| {
                text.contains(&format!("kind: {kind}\n")) && text.contains(&format!("\n  name: {name}\n"))
            };
            let kept: Vec<&str> = file.text.split("---\n").filter(|text| !is_it(text)).collect();
            kept.join("---\n")
        }
    };
    assert_ne!(text, file.text, "the fault changes nothing in {name}");
    *file = File { text, ..file.clone() };
}

fn each_is_named(faults: &[Fault]) {
    for (number, (target, file, change, code, message)) in faults.iter().enumerate() {
        let found = found(*target, file, change);
        let is_named = found.iter().any(|(its, text)| its == code && text.contains(message));
        let all: String = found.iter().map(|(_, text)| format!("{text}\n")).collect();
        assert!(is_named, "fault {number} of {target}: no {code} with `{message}` in\n{all}");
    }
}

#[test]
fn faults_in_network_policies_are_named() {
    let showcase = "showcase.yaml";
    let commerce = "commerce.yaml";
    let outside = "commerce.external.yaml";
    let at = Target::Kubernetes;
    each_is_named(&[
        (
            at,
            commerce,
            Drop("NetworkPolicy", "default-deny"),
            WIDER,
            "a pod that nobody stated in -elsewhere reach `ops` at port 65535",
        ),
        (at, showcase, Drop("NetworkPolicy", "default-deny"), WIDER, "reach a pod that nobody stated in showcase"),
        (
            at,
            commerce,
            Drop("NetworkPolicy", "order.payment.grpc.ingress"),
            NARROWER,
            "`order` reach `payment` at port 50051",
        ),
        (at, showcase, Drop("NetworkPolicy", "showcase.catalog.feed.egress"), NARROWER, "`showcase` reach `catalog`"),
        (at, showcase, Drop("NetworkPolicy", "dns.egress"), NARROWER, "`showcase` reach `the platform` at port 53"),
        (
            at,
            commerce,
            Replace("      ports:\n        - port: 50051\n          protocol: TCP\n", ""),
            WIDER,
            "`order` reach `catalog` at port 65535 where it arrives",
        ),
        (
            at,
            commerce,
            Replace("kubernetes.io/metadata.name: showcase", "team: any"),
            NARROWER,
            "`showcase` reach `catalog`",
        ),
        (
            at,
            commerce,
            Replace(
                "            matchLabels:\n              kubernetes.io/metadata.name: showcase\n",
                "            {}\n",
            ),
            WIDER,
            "a double of `showcase` in another namespace reach `catalog` at port 50052",
        ),
        (
            at,
            outside,
            Replace("            except:\n              - \"198.51.100.128/25\"\n", ""),
            WIDER,
            "198.51.100.128 outside",
        ),
        (
            at,
            outside,
            Replace(
                "cidr: \"198.51.100.0/24\"\n            except:\n              - \"198.51.100.128/25\"",
                "cidr: \"0.0.0.0/0\"",
            ),
            WIDER,
            "reach an address of nobody",
        ),
        (
            at,
            outside,
            Replace("          podSelector:\n            matchLabels:\n              app: bank\n", ""),
            WIDER,
            "`payment` reach a pod that nobody stated in partners",
        ),
        (at, outside, Replace("app: bank", "app: till"), NARROWER, "`payment` reach `the pods of bank` at port 443"),
        (at, outside, Replace("- port: 443", "- port: https"), NOT_UNDERSTOOD, "port"),
        (
            at,
            commerce,
            Replace("- port: 5432\n", "- port: 5432\n          endPort: 65535\n"),
            WIDER,
            "`payment` reach `payment-db` at port 65535",
        ),
        (
            at,
            commerce,
            Replace("  podSelector: {}\n", "  podSelector: {}\n  future: true\n"),
            NOT_UNDERSTOOD,
            "`future`",
        ),
        (
            at,
            commerce,
            Add("kind: CiliumNetworkPolicy\nmetadata: {name: x}\n"),
            NOT_UNDERSTOOD,
            "of the kind `CiliumNetworkPolicy`",
        ),
    ]);
}

#[test]
fn faults_in_walls_are_named() {
    let walls = "walls.yaml";
    let at = Target::Cnp;
    each_is_named(&[
        (
            at,
            walls,
            Drop("ClusterNetworkPolicy", "sekat.payment.deny"),
            WIDER,
            "`showcase` reach `payment` at port 50051",
        ),
        (
            at,
            walls,
            Drop("ClusterNetworkPolicy", "sekat.payment-db.deny"),
            WIDER,
            "`order` reach `payment-db` at port 5432",
        ),
        (
            at,
            walls,
            Drop("ClusterNetworkPolicy", "sekat.catalog.pass-0"),
            NARROWER,
            "`showcase` reach `catalog` at port 50052",
        ),
        (at, walls, Replace("action: Pass", "action: Accept"), TRAP, "overrules every NetworkPolicy"),
        (at, walls, Replace("priority: 200", "priority: 50"), NARROWER, "`showcase` reach `catalog` at port 50052"),
        (at, walls, Replace("      protocols:\n", "      ports:\n"), NOT_UNDERSTOOD, "`ports`"),
        (at, walls, Replace("tier: Admin", "tier: Baseline"), NOT_UNDERSTOOD, "a tier other than Admin"),
    ]);
}

const AUTHORIZE: &str = "/shop.payment.v1.PaymentService/Authorize\n";
const ANY: &str = "\"/shop.payment.v1.PaymentService/*\"\n";
const REFUND: &str = "`order` reach `payment` at port 50051 with /shop.payment.v1.PaymentService/";

#[test]
fn faults_in_istio_are_named() {
    let commerce = "commerce.yaml";
    let at = Target::Istio;
    let order = "commerce.shop.example/ns/commerce/sa/order\n";
    each_is_named(&[
        (at, commerce, Replace(AUTHORIZE, ANY), WIDER, REFUND),
        (at, commerce, Drop("AuthorizationPolicy", "payment.allow"), NARROWER, "`order` reach `payment`"),
        (at, commerce, Drop("AuthorizationPolicy", "allow-nothing"), WIDER, "reach `ops` at port 65535"),
        (at, commerce, Drop("PeerAuthentication", "default"), TRAP, "nothing demands mutual TLS"),
        (at, commerce, Replace(order, "\"commerce.shop.example/ns/commerce/sa/o*\"\n"), TRAP, "more or something else"),
        (at, commerce, Replace(order, "\"commerce.shop.example/ns/commerce/sa/o*\"\n"), WIDER, "`ops` reach `catalog`"),
        (at, commerce, Replace(order, "\"spiffe://commerce.shop.example/ns/commerce/sa/order\"\n"), TRAP, "a scheme"),
        (at, commerce, Replace("- POST", "- Reserve"), TRAP, "gRPC only has POST"),
        // The port is in the text of the DENY for showcase, the first of the file.
        (
            at,
            commerce,
            Replace("            ports:\n              - \"50052\"\n            notPaths", "            notPaths"),
            TRAP,
            "without `ports`",
        ),
        (
            at,
            commerce,
            Replace("action: ALLOW", "action: AUDIT"),
            NOT_UNDERSTOOD,
            "an action other than ALLOW and DENY",
        ),
        (at, commerce, Replace("            paths:\n", "            hosts:\n"), NOT_UNDERSTOOD, "`hosts`"),
        (at, commerce, Replace("  selector:\n", "  targetRefs:\n"), NOT_UNDERSTOOD, "`targetRefs`"),
    ]);
}

#[test]
fn a_deny_without_ports_takes_what_is_not_http_with_it() {
    // order has a public port, whose TLS is its own: not HTTP to the sidecar.
    let change = Replace(
        "            ports:\n              - \"50051\"\n---\n# Callers of order",
        "            notPaths:\n              - /x.Y/Z\n---\n# Callers of order",
    );
    let found = found(Target::Istio, "commerce.yaml", &change);
    let is_denied = |text: &str| text.contains("does not let `showcase` reach `order` at port 8443");
    assert!(found.iter().any(|(code, text)| *code == NARROWER && is_denied(text)), "{found:#?}");
    assert!(found.iter().any(|(code, _)| *code == TRAP), "{found:#?}");
}

#[test]
fn faults_in_ambient_are_named() {
    let commerce = "commerce.yaml";
    let at = Target::IstioAmbient;
    let of_payment = "  targetRefs:\n    - kind: Service\n      group: \"\"\n      name: payment\n  action: ALLOW\n";
    let by_selector = "  selector:\n    matchLabels:\n      app: payment\n  action: ALLOW\n";
    each_is_named(&[
        (at, commerce, Replace(of_payment, by_selector), TRAP, "instead of a selector"),
        (at, commerce, Replace(of_payment, by_selector), NARROWER, "`order` reach `payment` at port 50051"),
        (at, commerce, Replace(AUTHORIZE, ANY), WIDER, REFUND),
        (at, commerce, Drop("AuthorizationPolicy", "payment.ztunnel"), NARROWER, "`order` reach `payment`"),
        (at, commerce, Drop("Gateway", "waypoint"), NARROWER, "`order` reach `payment`"),
        (at, commerce, Replace("sa/waypoint", "sa/*"), WIDER, "lets"),
        (
            at,
            "showcase.yaml",
            Drop("AuthorizationPolicy", "allow-nothing"),
            WIDER,
            "reach a pod that nobody stated in showcase",
        ),
    ]);
    // Each of the two allow-nothing policies closes one way alone: without the waypoint's, what no ALLOW names passes it,
    // and is stopped behind it.
    let waypoint = Drop("AuthorizationPolicy", "waypoint-allow-nothing");
    assert!(found(at, commerce, &waypoint).is_empty());
}

#[test]
fn faults_in_linkerd_are_named() {
    let commerce = "commerce.yaml";
    let at = Target::Linkerd;
    let method = "            service: shop.payment.v1.PaymentService\n            method: Authorize\n";
    each_is_named(&[
        (at, commerce, Drop("GRPCRoute", "payment.health.probes"), NARROWER, "a probe reach `payment` at port 8080"),
        (at, commerce, Drop("Server", "payment.grpc"), NARROWER, "`order` reach `payment`"),
        (at, commerce, Drop("Namespace", "commerce"), WIDER, "reach `payment` at port 65535"),
        (
            at,
            commerce,
            Replace("default-inbound-policy: deny", "default-inbound-policy: all-authenticated"),
            WIDER,
            "65535",
        ),
        (at, commerce, Replace("accessPolicy: deny", "accessPolicy: all-unauthenticated"), WIDER, "lets"),
        (at, commerce, Replace(method, "            service: shop.payment.v1.PaymentService\n"), WIDER, REFUND),
        (
            at,
            commerce,
            Replace(
                "identityRefs:\n    - kind: ServiceAccount\n      name: order\n      namespace: commerce",
                "identities:\n    - \"*\"",
            ),
            TRAP,
            "names that may be patterns",
        ),
        (
            at,
            commerce,
            Replace(
                "kind: MeshTLSAuthentication\n      name: payment-db.pg",
                "kind: NetworkAuthentication\n      name: probes",
            ),
            WIDER,
            "a probe reach `payment-db` at port 5432",
        ),
        (
            at,
            commerce,
            Replace(
                "kind: MeshTLSAuthentication\n      name: payment-db.pg",
                "kind: NetworkAuthentication\n      name: probes",
            ),
            NARROWER,
            "`payment` reach `payment-db`",
        ),
        (at, commerce, Replace("type: Exact", "type: RegularExpression"), NOT_UNDERSTOOD, "not exact"),
    ]);
}

#[test]
fn faults_in_cilium_are_named() {
    let commerce = "commerce.yaml";
    let at = Target::Cilium;
    let path = "\"^/shop\\\\.payment\\\\.v1\\\\.PaymentService/Authorize$\"";
    let http = "          rules:\n            http:\n              - method: \"^POST$\"\n                path: \"^/shop\\\\.payment\\\\.v1\\\\.PaymentService/Authorize$\"\n";
    let beside = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: old, namespace: commerce}\n\
                  spec:\n  podSelector: {matchLabels: {app: payment}}\n  ingress:\n    - ports: [{port: 50051}]\n";
    each_is_named(&[
        (at, commerce, Replace(http, ""), WIDER, REFUND),
        (at, commerce, Add(beside), TRAP, "`old` switches off the methods"),
        (at, commerce, Add(beside), WIDER, REFUND),
        (at, commerce, Replace(path, "\"^/shop\\\\.payment\\\\.v1\\\\.PaymentService/.*$\""), WIDER, REFUND),
        (at, commerce, Replace(path, "\"/shop\\\\.payment\\\\.v1\\\\.PaymentService/Authorize\""), WIDER, "Authorizex"),
        (
            at,
            commerce,
            Replace(path, "\"^/shop.payment.v1.PaymentService/Authorize$\""),
            WIDER,
            "/shop-payment-v1-PaymentService/Authorize",
        ),
        (at, commerce, Replace(path, "\"^/shop/(Authorize|Refund)$\""), NOT_UNDERSTOOD, "a regular expression"),
        (at, commerce, Drop("CiliumNetworkPolicy", "default-deny"), WIDER, "reach `ops` at port 65535"),
        (at, commerce, Drop("CiliumNetworkPolicy", "payment.ingress"), NARROWER, "`order` reach `payment`"),
        (
            at,
            commerce,
            Replace("fromEntities:\n        - host", "fromCIDRSet:\n        - cidr: \"172.20.0.0/16\""),
            NARROWER,
            "a probe reach",
        ),
        (
            at,
            commerce,
            Replace("fromEntities:\n        - all", "fromEntities:\n        - cluster"),
            NARROWER,
            "somebody outside reach `order` at port 8443",
        ),
        (
            at,
            commerce,
            Replace("            \"k8s:io.kubernetes.pod.namespace\": showcase\n", ""),
            NARROWER,
            "`showcase` reach `catalog`",
        ),
    ]);
}

#[test]
fn faults_in_grpc_policies_are_named() {
    let payment = "payment.grpc.json";
    let at = Target::GrpcRbac;
    let order = "\"spiffe://commerce.shop.example/order\"";
    let path = "\"/shop.payment.v1.PaymentService/Authorize\"";
    each_is_named(&[
        (at, payment, Replace(order, "\"*\""), TRAP, "more than one certificate"),
        (at, payment, Replace(order, "\"*\""), WIDER, "`showcase` reach `payment`"),
        (at, payment, Replace(order, "\"spiffe://commerce.shop.example/order*\""), WIDER, "a double of `order`"),
        (at, payment, Replace(order, "\"\""), TRAP, "whoever shows no certificate"),
        (at, payment, Replace(order, "\"\""), WIDER, "somebody outside reach `payment`"),
        (at, payment, Replace(path, "\"/shop.payment.v1.PaymentService/*\""), WIDER, REFUND),
        (at, payment, Replace("\"source\"", "\"sources\""), NOT_UNDERSTOOD, "`sources`"),
        (
            at,
            payment,
            Replace(
                "\"paths\": [\n          \"/shop.payment.v1.PaymentService/Authorize\"\n        ]",
                "\"paths\": []",
            ),
            WIDER,
            REFUND,
        ),
        (at, "showcase.grpc.json", Replace("\"deny_rules\"", "\"denied\""), NOT_UNDERSTOOD, "`denied`"),
    ]);
}

#[test]
fn faults_in_envoy_filters_are_named() {
    let payment = "payment.grpc.yaml";
    let at = Target::Envoy;
    let order = "exact: \"spiffe://commerce.shop.example/order\"";
    each_is_named(&[
        (at, payment, Replace(order, "prefix: \"spiffe://commerce.shop.example/\""), WIDER, "`ops` reach `payment`"),
        (at, payment, Replace(order, "prefix: \"spiffe://commerce.shop.example/order\""), WIDER, "a double of `order`"),
        (
            at,
            payment,
            Replace("exact: /shop.payment.v1.PaymentService/Authorize", "prefix: /shop.payment"),
            WIDER,
            REFUND,
        ),
        (at, payment, Replace("action: ALLOW", "action: LOG"), NOT_UNDERSTOOD, "an action other than ALLOW"),
        (at, payment, Replace("http.rbac.v3.RBAC", "network.rbac.v3.RBAC"), NARROWER, "`order` reach `payment`"),
        (at, "payment.health.yaml", Replace("prefix_len: 16", "prefix_len: 0"), NOT_UNDERSTOOD, "this range"),
    ]);
}
