//! Exposure to pods that do not exist yet.

use sekat_reach::exposure::{ENTIRE_CLUSTER, csv};
use sekat_reach::{Analysis, Direction};

use crate::support::{analysis, namespace, pod, policy};

fn exposed(analysis: &Analysis, direction: Direction) -> Vec<(String, String)> {
    let all =
        analysis.exposure().into_iter().filter(|one| one.direction == direction && one.workload == "shop/db[Pod]");
    all.map(|one| (one.peer, one.conn.certain.to_string())).collect()
}

fn with(ingress: &str) -> Analysis {
    let spec = format!("{{podSelector: {{matchLabels: {{app: db}}}}, ingress: {ingress}}}");
    analysis(&(namespace("shop", "") + &pod("shop", "db", "app: db") + &policy("shop", "p", &spec)))
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(peer, conn)| ((*peer).to_owned(), (*conn).to_owned())).collect()
}

#[test]
fn without_a_policy_it_is_open_to_the_whole_cluster() {
    let found = analysis(&(pod("shop", "db", "app: db")));
    assert_eq!(exposed(&found, Direction::Ingress), pairs(&[(ENTIRE_CLUSTER, "All Connections")]));
    assert!(found.exposure().iter().all(|one| !one.is_protected));
    assert_eq!(exposed(&with("[]"), Direction::Ingress), []);
    assert_eq!(exposed(&with("[]"), Direction::Egress), pairs(&[(ENTIRE_CLUSTER, "All Connections")]));
}

#[test]
fn any_pod_that_could_be_labelled_so_may_come() {
    let found = with(
        "[{from: [{namespaceSelector: {}}], ports: [{port: 80}]}, \
          {from: [{podSelector: {matchLabels: {app: web}}}], ports: [{port: 81}]}, \
          {from: [{namespaceSelector: {matchLabels: {team: a}}}], ports: [{port: 82}]}, \
          {from: [{namespaceSelector: {matchLabels: {team: a}}, podSelector: {matchLabels: {app: web}}}], ports: [{port: 83}]}]",
    );
    assert_eq!(
        exposed(&found, Direction::Ingress),
        pairs(&[
            ("[namespace with {team=a}]/[all pods]", "TCP 80,82"),
            ("[namespace with {team=a}]/[pod with {app=web}]", "TCP 80,82-83"),
            (ENTIRE_CLUSTER, "TCP 80"),
            ("shop/[pod with {app=web}]", "TCP 80-81"),
        ])
    );
    let mut out = Vec::new();
    csv(&found.exposure(), &mut out).expect("memory");
    let out = String::from_utf8(out).expect("UTF-8");
    assert!(out.contains("ingress,shop/db[Pod],shop/[pod with {app=web}],TCP 80-81\n"), "{out}");
}

#[test]
fn an_admin_rule_may_take_out_pods_of_the_whole_cluster() {
    let deny = "apiVersion: policy.networking.k8s.io/v1alpha2\nkind: ClusterNetworkPolicy\nmetadata: {name: d}\n\
                spec: {tier: Admin, priority: 1, subject: {namespaces: {}}, ingress: [{action: Deny, from: [{namespaces: {matchLabels: {team: b}}}]}]}\n";
    let found = analysis(&(namespace("shop", "") + &pod("shop", "db", "app: db") + deny));
    let ingress = exposed(&found, Direction::Ingress);
    assert!(
        ingress.contains(&("[namespace with {team=b}]/[all pods]".to_owned(), "No Connections".to_owned())),
        "{ingress:?}"
    );
}
