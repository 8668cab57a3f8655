//! Policies with contracts beside them, and each fault that reading can find, beside its lawful twin.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use sekat_policy::intent::{Audience, Classes, Protocol, Subject, Target};
use sekat_policy::{Diagnostic, Intent};

use super::{calls, contracts, network, read, sections, site};
use crate::intent_lints::fixture::planted;

/// A policy of one server and one client, whose methods come from `shop.proto`.
const POLICY: &str = "\
apiVersion: sekat.dev/v1
kind: Policy
classes: {payment: {children: [payment.card]}, user: }
domains:
  commerce: {trustDomain: commerce.test, may: [payment, user]}
services:
  - {name: shop, domain: commerce, namespace: shop, serviceAccount: shop, selector: {app: shop}, ports: {grpc: 1, web: {port: 2, audience: public}}, proto: [shop.v1.Shop]}
  - {name: till, domain: commerce, namespace: shop, serviceAccount: till, selector: {app: till}}
protos: [protos]
fields:
  shop.v1.Card.*: payment.card
  shop.v1.Receipt.blob: []
edges:
  - {from: till, to: shop, methods: [shop.v1.Shop/Pay, \"shop.v1.Shop/List*\"]}
";

const PROTO: &str = "\
syntax = \"proto3\";
package shop.v1;
import \"google/protobuf/timestamp.proto\";
service Shop {
  rpc Pay(PayRequest) returns (Receipt);
  rpc ListGoods(ListRequest) returns (ListResponse);
  rpc ListCards(ListRequest) returns (Card);
}
message Card { string number = 1; }
message PayRequest { Card card = 1; }
message Receipt {
  bytes blob = 1;
  google.protobuf.Timestamp paid_at = 2;
}
message ListRequest { string word = 1; }
message ListResponse { repeated string goods = 1; ListResponse next = 2; }
";

struct Case {
    policy: String,
    proto: String,
}

#[track_caller]
fn case(policy: &[(&str, &str)], proto: &[(&str, &str)]) -> Case {
    let edit = |text: &str, edits: &[(&str, &str)]| {
        edits.iter().fold(text.to_owned(), |text, (from, to)| {
            assert_eq!(text.matches(from).count(), 1, "{from:?}");
            text.replace(from, to)
        })
    };
    // The list of cards is what a wildcard must not grant; most cases go without it.
    let mut policy = edit(POLICY, policy);
    if !policy.contains("keep-cards") {
        policy = policy.replace("\"shop.v1.Shop/List*\"", "\"shop.v1.Shop/ListG*\"");
    }
    Case { policy: policy.replace(" # keep-cards", ""), proto: edit(PROTO, proto) }
}

impl Case {
    fn read(&self) -> (Intent, Vec<Diagnostic>) {
        let root = tempfile::tempdir().expect("a temporary folder");
        fs::create_dir(root.path().join("protos")).expect("created");
        fs::write(root.path().join("protos/shop.proto"), &self.proto).expect("written");
        fs::write(root.path().join("policy.yaml"), &self.policy).expect("written");
        read(&root.path().join("policy.yaml"))
    }

    #[track_caller]
    fn finds(&self, code: &str, at: &str, part: &str) {
        let findings = self.read().1;
        let [finding] = findings.as_slice() else { panic!("one finding, not {findings:#?}") };
        let text = if finding.span.file.ends_with(".proto") { &self.proto } else { &self.policy };
        let line = text.lines().nth((finding.span.line as usize).wrapping_sub(1)).unwrap_or_default();
        assert!(
            finding.code == code && line.contains(at) && finding.message.contains(part) && !finding.help.is_empty(),
            "{finding}\nat {line:?}"
        );
    }

    #[track_caller]
    fn finds_nothing(&self) {
        let findings = self.read().1;
        assert!(findings.is_empty(), "{findings:#?}");
    }
}

fn set(classes: &[&str]) -> Classes {
    classes.iter().map(|class| (*class).to_owned()).collect()
}

#[test]
fn methods_and_their_classes_come_from_the_contracts() {
    let (intent, findings) = case(&[], &[]).read();
    assert_eq!(findings, []);
    let pay = intent.method("/shop.v1.Shop/Pay").expect("a method");
    assert_eq!((pay.workload.as_str(), pay.port.as_str(), pay.span.line), ("shop", "grpc", 5));
    assert_eq!((&pay.request, &pay.response), (&set(&["payment.card"]), &set(&[])));
    assert!(intent.allows("till", "/shop.v1.Shop/ListGoods") && !intent.allows("till", "/shop.v1.Shop/ListCards"));
    let shop = intent.workload("shop").expect("a service");
    assert_eq!(shop.identity, "spiffe://commerce.test/ns/shop/sa/shop");
    assert_eq!(shop.port("web").map(|port| port.audience), Some(Audience::Public));
}

#[test]
fn a_descriptor_set_says_the_same_as_its_files() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let case = case(&[("protos: [protos]", "protos: [all.binpb]")], &[]);
    fs::write(root.path().join("shop.proto"), &case.proto).expect("written");
    let image = crate::source::Source::load(root.path(), "").image;
    let policy = root.path().join("policy.yaml");
    fs::write(&policy, &case.policy).expect("written");
    let findings = read(&policy).1;
    assert!(findings.iter().any(|it| it.code == "SK0303" && it.message.contains("`all.binpb`")), "{findings:#?}");
    fs::write(root.path().join("all.binpb"), b"no descriptors").expect("written");
    let findings = read(&policy).1;
    assert!(findings.iter().any(|it| it.code == "SK0303" && it.message.contains("no descriptor set")), "{findings:#?}");
    fs::write(root.path().join("all.binpb"), image).expect("written");
    let (intent, findings) = read(&policy);
    assert_eq!(findings, []);
    assert_eq!(intent.method("/shop.v1.Shop/Pay").map(|it| &it.request), Some(&set(&["payment.card"])));
}

#[test]
fn a_contract_that_does_not_compile_is_one_finding_among_others() {
    let findings = case(&[], &[("string number = 1", "strin number = 1")]).read().1;
    assert!(findings.iter().any(|it| it.code == "SK0001" && it.span.line == 9), "{findings:#?}");
}

#[test]
fn what_is_no_policy_is_said_to_be_none() {
    planted(&[("apiVersion: sekat.dev/v1", "apiVersion: sekat.dev/v2")]).finds("SK0300", "apiVersion", "sekat.dev/v2");
    planted(&[("kind: Policy", "kind: Pod")]).finds("SK0300", "kind: Pod", "`Pod`");
    planted(&[("kind: Policy\n", "")]).finds("SK0201", "apiVersion", "`kind` is missing");
    planted(&[("assert:", "---\nassert:")]).finds("SK0300", "assert:", "a second document");
    planted(&[("assert:", "assert: [")]).finds_among_others("SK0200", "");
    let (intent, findings) = read(Path::new("no/such/policy.yaml"));
    assert_eq!(intent, Intent::default());
    assert_eq!(findings.iter().map(|it| it.code).collect::<Vec<_>>(), ["SK0300"]);
    assert_eq!(super::read_text("p.yaml", "", Path::new("")).1.first().map(|it| it.code), Some("SK0300"));
}

#[test]
fn a_key_that_means_nothing_is_found_at_every_level() {
    for (from, to, at, part) in [
        ("assert:", "asert: []\nassert:", "asert", "unknown key `asert`, did you mean `assert`?"),
        ("{trustDomain: showcase.test}", "{trustDomain: showcase.test, mya: []}", "mya", "did you mean `may`?"),
        ("purpose: checkout}", "purpose: checkout, port: 1}", "port", "unknown key `port`"),
        ("classes: [payment.bank]}", "classes: [payment.bank], host: x}", "host", "unknown key `host`"),
        ("probes: [10.0.0.0/8]", "probe: [10.0.0.0/8]", "probe:", "did you mean `probes`?"),
        ("user: {children: [user.address]}", "user: {children: [user.address], childs: []}", "childs", "`childs`"),
        (
            "{from: showcase, to: internet}",
            "{from: showcase, to: internet, transitiv: true}",
            "transitiv",
            "`transitive`",
        ),
    ] {
        planted(&[(from, to)]).finds("SK0301", at, part);
    }
}

#[test]
fn a_malformed_value_is_found_where_it_stands() {
    for (from, to, part) in [
        ("trustDomain: showcase.test", "trustDomain: \"spiffe://showcase.test\"", "`spiffe://showcase.test`"),
        ("namespace: showcase,", "namespace: Showcase,", "`Showcase`"),
        ("serviceAccount: showcase", "serviceAccount: show_case", "`show_case`"),
        ("selector: {app: showcase}", "selector: {}", "an empty selector"),
        ("selector: {app: showcase}", "selector: {app: \"a b\"}", "`a b`"),
        ("audience: public", "audience: publik", "`publik` cannot stand here, did you mean `public`?"),
        ("audience: public", "audience: public, protocol: tcp", "did you mean `TCP`?"),
        ("port: 8080", "port: 80800", "80800 is no port"),
        ("port: 8080", "port: 0", "0 is no port"),
        ("{http: {port", "{\"1\": {port", "`1` is no name of a port"),
        ("203.0.113.0/24", "203.0.113.1/24", "`203.0.113.1/24`"),
        ("ports: [443]", "ports: [443], except: [10.0.0.0/8]", "lies in none"),
        ("kube-system/kube-dns", "kube-dns", "names no resolver"),
        ("{from: showcase, to: internet}", "{from: showcase, domain: showcase, to: internet}", "both say who"),
        ("{from: showcase, to: internet}", "{from: showcase}", "0 targets"),
        ("{from: showcase, to: internet}", "{from: showcase, to: internet, class: user}", "2 targets"),
        ("[bank.v1.Bank/Charge]", "[bank.v1.Bank]", "`bank.v1.Bank`"),
        ("shop.v1.Orders/GetOrder:", "shop.v1.Orders/*:", "`shop.v1.Orders/*` is no method"),
    ] {
        let policy = planted(&[(from, to)]);
        policy.finds_among_others("SK0302", part);
        assert!(policy.read().1.iter().all(|it| it.span.line > 0), "{from}");
    }
    let wrong = planted(&[("ports: [443]", "ports: [\"443\"]")]);
    wrong.finds("SK0201", "443", "text where a whole number is expected");
    planted(&[("audience: public", "audience: public, protocol: UDP")]).finds_nothing();
}

#[test]
fn a_pattern_that_matches_nothing_is_found() {
    let card = "shop.v1.Card.*: payment.card";
    case(&[(card, &format!("{card}\n  shop.v1.Crad: user"))], &[]).finds(
        "SK0304",
        "Crad",
        "did you mean `shop.v1.Card`?",
    );
    case(&[(card, &format!("{card}\n  shop.v1.Card.number: user"))], &[]).finds_nothing();
    planted(&[("\"catalog.v1.Catalog/*\"", "\"catalog.v1.Catalog/Search*\"")]).finds(
        "SK0304",
        "Search",
        "no method of `catalog` matches `catalog.v1.Catalog/Search*`",
    );
}

#[test]
fn of_patterns_that_match_the_first_counts_star_or_not() {
    let (name, stars, message) = ("shop.v1.Receipt.blob", "\"shop.v1.Receipt.*\"", "shop.v1.Receipt");
    for (first, second, expected) in [
        (name, stars, &["payment.card", "user"][..]),
        (stars, name, &["user"]),
        (message, stars, &["user"]),
        (stars, message, &["user"]),
        (name, message, &["payment.card", "user"]),
    ] {
        let patterns = format!("{first}: user\n  {second}: payment.card");
        let (intent, findings) = case(&[("shop.v1.Receipt.blob: []", &patterns)], &[]).read();
        assert_eq!(findings, [], "{patterns}");
        let pay = intent.method("/shop.v1.Shop/Pay").expect("a method");
        assert_eq!(pay.response, set(expected), "{patterns}");
    }
}

#[test]
fn a_wildcard_grants_no_classified_method() {
    let (from, to) = ("\"shop.v1.Shop/List*\"]}", "\"shop.v1.Shop/List*\"]} # keep-cards");
    let all = case(&[(from, to)], &[]);
    all.finds("SK0305", "List*", "covers methods that carry classified data: /shop.v1.Shop/ListCards");
    let intent = all.read().0;
    assert!(intent.allows("till", "/shop.v1.Shop/ListGoods"), "the rest is granted");
    assert!(!intent.allows("till", "/shop.v1.Shop/ListCards"));
    let named = "shop.v1.Shop/ListCards, \"shop.v1.Shop/List*\"]}";
    let intent = case(&[(from, named)], &[]).read().0;
    assert!(intent.allows("till", "/shop.v1.Shop/ListCards"), "by its name it is");
}

#[test]
fn opaque_data_needs_an_explicit_class() {
    for (field, kind) in [
        ("bytes extra = 3;", "bytes"),
        ("map<string, string> extra = 3;", "a map"),
        ("map<string, Card> extra = 3;", "a map"),
        ("repeated google.protobuf.Any extra = 3;", "google.protobuf.Any"),
        ("google.protobuf.Struct extra = 3;", "google.protobuf.Struct"),
    ] {
        let stamp = "google.protobuf.Timestamp paid_at = 2;";
        let import = "import \"google/protobuf/timestamp.proto\";";
        let more = format!("{import}\nimport \"google/protobuf/any.proto\";\nimport \"google/protobuf/struct.proto\";");
        let proto = [(stamp, &*format!("{stamp}\n  {field}")), (import, &*more)];
        case(&[], &proto).finds("SK0306", field, &format!("`shop.v1.Receipt.extra` is {kind}"));
        let blob = "shop.v1.Receipt.blob: []";
        let stated = case(&[(blob, &format!("{blob}\n  shop.v1.Receipt.extra: user"))], &proto);
        stated.finds_nothing();
        let pay = stated.read().0.method("/shop.v1.Shop/Pay").map(|it| it.response.clone()).expect("a method");
        assert!(pay.contains("user"), "{pay:?}");
    }
}

#[test]
fn extensions_and_bare_any_are_opaque_too() {
    let proto2 = [
        ("syntax = \"proto3\";", "syntax = \"proto2\";"),
        ("message ListRequest { string", "message ListRequest { extensions 100 to 199; optional string"),
        ("message Card { string", "message Card { optional string"),
        ("PayRequest { Card", "PayRequest { optional Card"),
        ("  bytes", "  optional bytes"),
        ("  google.protobuf.Timestamp", "  optional google.protobuf.Timestamp"),
        ("; ListResponse", "; optional ListResponse"),
    ];
    case(&[], &proto2).finds("SK0306", "message ListRequest", "`shop.v1.ListRequest` has extensions");
    let blob = "shop.v1.Receipt.blob: []";
    case(&[(blob, &format!("{blob}\n  \"shop.v1.ListRequest.[extensions]\": []"))], &proto2).finds_nothing();

    let any = [
        ("returns (Receipt)", "returns (google.protobuf.Any)"),
        (
            "google/protobuf/timestamp.proto\";",
            "google/protobuf/timestamp.proto\";\nimport \"google/protobuf/any.proto\";",
        ),
    ];
    let findings = case(&[(blob, "shop.v1.Card: payment.card")], &any).read().1;
    assert!(
        findings.iter().any(|it| it.code == "SK0306" && it.message.contains("takes or returns google.protobuf.Any"))
    );
    let stated = "methods:\n  shop.v1.Shop/Pay: {response: []}\nedges:";
    case(&[("edges:", stated), (blob, "shop.v1.Card: payment.card")], &any).finds_nothing();
}

#[test]
fn every_grpc_service_has_one_server_and_known_methods() {
    let more = "service More { rpc Do(ListRequest) returns (ListRequest); }\nmessage Card {";
    case(&[], &[("message Card {", more)]).finds("SK0307", "service More", "no service serves `shop.v1.More`");
    case(&[("edges:", "unserved: [shop.v1.More]\nedges:")], &[("message Card {", more)]).finds_nothing();
    let two = ("selector: {app: till}", "selector: {app: till}, ports: {grpc: 1}, proto: [shop.v1.Shop]");
    case(&[two], &[]).finds("SK0307", "name: till", "is served by `shop` and by `till`");
    planted(&[("proto: [bank.v1.Bank]", "proto: [bank.v1.Bank, bank.v1.Banc]")]).finds(
        "SK0307",
        "bank.v1.Banc",
        "nothing says which methods `bank.v1.Banc` has",
    );
    planted(&[(
        "  catalog.v1.Catalog/Get:",
        "  catalogue.v1.Catalog/Get: {request: [], response: []}\n  catalog.v1.Catalog/Get:",
    )])
    .finds("SK0307", "catalogue", "did you mean `catalog.v1.Catalog`?");
}

#[test]
fn a_grpc_service_is_served_on_one_port() {
    let ports = "ports: {grpc: 1, web: {port: 2, audience: public}}";
    let two = [(ports, "ports: {grpc: 1, more: 3}")];
    let findings = case(&two, &[]).read().1;
    assert!(findings.iter().any(|it| it.code == "SK0307" && it.message.contains("one of several")), "{findings:#?}");
    let stated = ("proto: [shop.v1.Shop]", "proto: [{service: shop.v1.Shop, port: more}]");
    let (intent, findings) = case(&[two[0], stated], &[]).read();
    assert_eq!(findings, []);
    assert_eq!(intent.method("/shop.v1.Shop/Pay").map(|it| it.port.as_str()), Some("more"));
}

#[test]
fn a_method_is_called_where_it_is_served() {
    planted(&[("to: bank, methods", "to: catalog, methods")]).finds(
        "SK0308",
        "bank.v1.Bank/Charge",
        "`/bank.v1.Bank/Charge` is served by `bank`, not by `catalog`",
    );
}

#[test]
fn a_stated_method_overrides_its_messages_and_has_to_exist() {
    let stated = |path: &str| case(&[("edges:", &format!("methods:\n  {path}: {{response: [user]}}\nedges:"))], &[]);
    let pay = stated("shop.v1.Shop/Pay").read();
    assert_eq!(pay.1, []);
    let pay = pay.0.method("/shop.v1.Shop/Pay").cloned().expect("a method");
    assert_eq!((pay.request, pay.response), (set(&["payment.card"]), set(&["user"])));
    stated("shop.v1.Shop/Pya").finds("SK0311", "Pya", "did you mean `/shop.v1.Shop/Pay`?");
    planted(&[("{request: [], response: [user.address]}", "{response: [user.address]}")]).finds(
        "SK0306",
        "GetOrder",
        "does not say what it carries",
    );
}

#[test]
fn everything_around_the_mesh_is_read() {
    let (intent, findings) = planted(&[]).read();
    assert_eq!(findings, []);
    let dns = intent.platform.dns.as_ref().expect("a resolver");
    assert_eq!(dns.ports, [(Protocol::Udp, 53), (Protocol::Tcp, 53)]);
    assert_eq!(intent.platform.telemetry.first().map(|it| it.ports.clone()), Some(vec![(Protocol::Tcp, 4317)]));
    assert_eq!(intent.platform.probes, ["10.0.0.0/8"]);
    assert_eq!(intent.externals.first().map(|it| it.ports.clone()), Some(vec![(Protocol::Tcp, 443)]));
    let first = intent.assertions.first().expect("an assertion");
    assert_eq!(
        (&first.from, &first.target),
        (&Subject::NotDomain("commerce".to_owned()), &Target::Class("payment".to_owned()))
    );
    assert!(first.transitive);
    assert_eq!(
        intent.stores.first().map(|it| it.classes.clone()),
        Some(set(&["payment", "payment.bank", "payment.card"]))
    );
}

/// The sections of the schema for editors, by their names there, beside the keys that are read.
const SECTIONS: [(&str, &[&str]); 17] = [
    ("class", &sections::CLASS),
    ("domain", &sections::DOMAIN),
    ("service", &sections::SERVICE),
    ("served", &sections::SERVED),
    ("port", &sections::PORT),
    ("store", &sections::STORE),
    ("method", &contracts::METHOD),
    ("edge", &calls::EDGE),
    ("topic", &calls::TOPIC),
    ("assert", &calls::ASSERT),
    ("deny", &calls::DENY),
    ("external", &network::EXTERNAL),
    ("pods", &network::PODS),
    ("listedPort", &network::EXTERNAL_PORT),
    ("platform", &network::PLATFORM),
    ("endpoint", &network::ENDPOINT),
    ("", &super::KEYS),
];

#[test]
fn the_schema_for_editors_knows_the_same_keys() {
    let read = |text| sekat_yaml::documents("schema", text).next().expect("a document").expect("JSON");
    let policy = read(include_str!("../../../../docs/policy.schema.json"));
    let site = read(include_str!("../../../../docs/site.schema.json"));
    let of_policy = SECTIONS.map(|(name, keys)| (if name.is_empty() { vec![] } else { vec!["$defs", name] }, keys));
    let of_site: [(Vec<&str>, &[&str]); 2] = [(vec![], &site::KEYS), (vec!["properties", "ranges"], &site::RANGES)];
    let all = of_policy.into_iter().map(|it| (&policy, it)).chain(of_site.into_iter().map(|it| (&site, it)));
    for (schema, (path, keys)) in all {
        let (section, name) = (schema.at(&path), path.join("."));
        let properties = section.and_then(|section| section.get("properties")).expect(&name);
        let known = properties.map("schema").expect("a mapping").iter().map(|(key, _)| key.name.as_str());
        assert_eq!(known.collect::<BTreeSet<_>>(), keys.iter().copied().collect::<BTreeSet<_>>(), "{name}");
    }
}

#[test]
fn a_damaged_file_is_read_to_its_end_or_refused_and_never_breaks_the_reader() {
    let text = include_str!("../intent_lints/fixture.yaml");
    let lines: Vec<_> = text.lines().collect();
    let repeated = |at: usize, times: usize| -> String {
        let line = |(line, text): (usize, &&str)| format!("{text}\n").repeat(if line == at { times } else { 1 });
        lines.iter().enumerate().map(line).collect()
    };
    let cut = (0..text.len()).step_by(41).filter_map(|end| text.get(..end).map(str::to_owned));
    let damaged = (0..lines.len()).flat_map(|at| [repeated(at, 0), repeated(at, 2)]);
    let mut faulty = 0;
    for text in cut.chain(damaged) {
        let (intent, findings) = super::read_text("p.yaml", &text, Path::new(""));
        faulty += usize::from(!findings.is_empty());
        assert!(!findings.is_empty() || !intent.domains.is_empty(), "nothing was read and nothing was said:\n{text}");
    }
    assert!(faulty > 100, "{faulty}");
}
