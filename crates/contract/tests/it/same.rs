//! The same facts in contracts with options and in a policy file are the same intent.

use std::collections::BTreeSet;
use std::fs;

use sekat_contract::check::{self, Meant};
use sekat_contract::{Deployment, policy_file};
use sekat_policy::Intent;

use crate::pages::Base;

/// What the contracts of the fixture and the conventions of the deployment say, said by hand.
const POLICY: &str = r#"
apiVersion: sekat.dev/v1
kind: Policy
classes: {public: , user: , payment: , merchant: , internal: }
domains:
  commerce: {trustDomain: commerce.test, may: [public, user, payment, merchant, internal]}
  showcase: {trustDomain: showcase.test, may: [public, internal]}
services:
  - {name: shop-edge, domain: commerce, namespace: sekat-commerce, serviceAccount: shop-edge, selector: {app.kubernetes.io/name: shop-edge}, identity: "spiffe://commerce.test/shop-edge", ports: {public: {port: 7443, audience: public}, health: {port: 7080, audience: probes}}}
  - {name: shop, domain: commerce, namespace: sekat-commerce, serviceAccount: shop, selector: {app.kubernetes.io/name: shop}, identity: "spiffe://commerce.test/shop", ports: {mesh: 7000, feed: 7001, health: {port: 7080, audience: probes}}, proto: [{service: sekat.shop.v1.OrderService, port: mesh}, {service: sekat.shop.feed.v1.FeedService, port: feed}]}
  - {name: ledger, domain: commerce, namespace: sekat-commerce, serviceAccount: ledger, selector: {app.kubernetes.io/name: ledger}, identity: "spiffe://commerce.test/ledger"}
  - {name: bank, domain: commerce, namespace: sekat-commerce, serviceAccount: bank, selector: {app.kubernetes.io/name: bank}, identity: "spiffe://commerce.test/bank", ports: {mesh: 7000, health: {port: 7080, audience: probes}}}
  - {name: showcase, domain: showcase, namespace: sekat-showcase, serviceAccount: showcase, selector: {app.kubernetes.io/name: showcase}, identity: "spiffe://showcase.test/showcase"}
  - {name: ops, domain: commerce, namespace: sekat-commerce, serviceAccount: ops, selector: {app.kubernetes.io/name: ops}, identity: "spiffe://commerce.test/ops"}
protos: [.]
edges:
  - {from: [shop-edge, ledger], to: shop, methods: [sekat.shop.v1.OrderService/GetOrder]}
  - {from: shop-edge, to: shop, methods: [sekat.shop.v1.OrderService/UpdateOrder]}
  - {from: ledger, to: shop, methods: [sekat.shop.v1.OrderService/WatchOrders, sekat.shop.v1.OrderService/DeleteOrder]}
  - {from: shop, to: bank, methods: [sekat.bank.v1.BankService/CreateCharge]}
  - {from: showcase, to: shop, methods: ["sekat.shop.feed.v1.*/List*"]}
"#;

/// Everything but places in files, purposes and what the deployment adds.
fn facts(intent: &Intent) -> BTreeSet<String> {
    let domains = intent.domains.iter().map(|it| format!("{} {} {:?}", it.name, it.trust_domain, it.may_hold));
    let workloads = intent
        .workloads
        .iter()
        .map(|it| format!("{} {} {} {:?} {:?}", it.name, it.domain, it.identity, it.place, it.ports));
    let methods = intent
        .methods
        .iter()
        .map(|it| format!("{} {} {} {:?} {:?}", it.path, it.workload, it.port, it.request, it.response));
    let edges = intent.edges.iter().map(|it| format!("{} {}", it.caller, it.method));
    domains.chain(workloads).chain(methods).chain(edges).collect()
}

#[test]
fn options_and_policy_file_say_the_same() {
    let root = Base::Contracts.write();
    let deployment = Deployment::default();
    let (own, findings) = check::run(&Meant::Contracts { root: root.path(), deployment: &deployment }, None, None);
    assert_eq!(findings, []);
    let policy = root.path().join("policy.yaml");
    fs::write(&policy, POLICY).expect("written");
    let (stated, findings) = policy_file::read(&policy);
    assert_eq!(findings, []);
    assert_eq!(facts(&stated), facts(&own));
    assert_eq!(stated.classes, own.classes);
    assert_eq!(stated.connections(), own.connections());
}
