//! Two sets of manifests compared: equal, wider, narrower, both, each with what appears and what vanishes.

use sekat_reach::{Diff, Relation, diff};

use crate::support::{analysis, pod, policy};

const OPEN: &str =
    "{podSelector: {matchLabels: {app: db}}, ingress: [{from: [{podSelector: {}}], ports: [{port: 80}]}]}";
const WIDER: &str =
    "{podSelector: {matchLabels: {app: db}}, ingress: [{from: [{podSelector: {}}], ports: [{port: 80, endPort: 81}]}]}";
const OTHER: &str =
    "{podSelector: {matchLabels: {app: db}}, ingress: [{from: [{podSelector: {}}], ports: [{port: 81}]}]}";

fn between(before: &str, after: &str) -> Diff {
    let pods = pod("shop", "web", "app: web") + &pod("shop", "db", "app: db");
    let [before, after] = [before, after].map(|spec| analysis(&(pods.clone() + &policy("shop", "p", spec))));
    diff(&before, &after)
}

fn text(diff: &Diff) -> String {
    let mut out = Vec::new();
    diff.text(&mut out).expect("memory");
    String::from_utf8(out).expect("UTF-8")
}

#[test]
fn each_relation_has_its_witness() {
    let same = between(OPEN, &OPEN.replace("{podSelector: {}}", "{podSelector: {matchLabels: {app: web}}}"));
    assert_eq!(text(&same), "equal\n");
    let wider = between(OPEN, WIDER);
    assert_eq!(text(&wider), "wider\n+ shop/web[Pod] → shop/db[Pod]: TCP 81\n");
    let narrower = between(WIDER, OPEN);
    assert_eq!(text(&narrower), "narrower\n- shop/web[Pod] → shop/db[Pod]: TCP 81\n");
    let both = between(OPEN, OTHER);
    assert_eq!(both.relation, Relation::Both);
    assert_eq!(
        text(&both),
        "wider and narrower\n- shop/web[Pod] → shop/db[Pod]: TCP 80\n+ shop/web[Pod] → shop/db[Pod]: TCP 81\n"
    );
}

#[test]
fn addresses_are_compared_where_either_side_cuts_them() {
    let from = |cidr: &str| format!("{{podSelector: {{}}, ingress: [{{from: [{{ipBlock: {{cidr: {cidr}}}}}]}}]}}");
    let found = between(&from("192.0.2.0/24"), &from("192.0.2.0/25"));
    assert_eq!(found.relation, Relation::Narrower);
    let src: Vec<&str> = found.changes.iter().map(|change| change.src.as_str()).collect();
    assert_eq!(src, ["192.0.2.128-192.0.2.255"; 2]);
    let split = from("192.0.2.0/25").replace("from: [", "from: [{ipBlock: {cidr: 192.0.2.128/25}}, ");
    assert_eq!(between(&from("192.0.2.0/24"), &split).relation, Relation::Equal);
}

#[test]
fn doubt_is_wider_than_denied_and_narrower_than_allowed() {
    let of = |rule: &str| format!("{{podSelector: {{matchLabels: {{app: db}}}}, ingress: [{rule}]}}");
    let (denied, doubt, allowed) =
        (of(""), of("{from: [{ipBlock: {cidr: 10.0.0.0/8}}]}"), of("{from: [{podSelector: {}}]}"));
    let pods_only = |diff: Diff| {
        let pods = diff.changes.into_iter().filter(|change| change.src.ends_with("[Pod]"));
        pods.map(|change| (change.appears().is_empty(), change.vanishes().is_empty())).collect::<Vec<_>>()
    };
    assert_eq!(pods_only(between(&denied, &doubt)), [(false, true)]);
    assert_eq!(pods_only(between(&doubt, &allowed)), [(false, true)]);
    assert_eq!(pods_only(between(&allowed, &doubt)), [(true, false)]);
}

#[test]
fn workloads_that_come_and_go_are_named() {
    let web = pod("shop", "web", "app: web");
    let db = pod("shop", "db", "app: db");
    let found = diff(&analysis(&web), &analysis(&(web.clone() + &db)));
    assert_eq!((found.relation, found.added.as_slice()), (Relation::Wider, &["shop/db[Pod]".to_owned()][..]));
    assert!(found.changes.iter().all(|change| change.is_new_end));
    let mut csv = Vec::new();
    found.csv(&mut csv).expect("memory");
    let csv = String::from_utf8(csv).expect("UTF-8");
    assert!(csv.contains("added,shop/web[Pod],shop/db[Pod],No Connections,All Connections"), "{csv}");
    let mut json = Vec::new();
    found.json(&mut json).expect("memory");
    let json: serde_json::Value = serde_json::from_slice(&json).expect("JSON");
    assert_eq!(json["relation"], "wider");
}
