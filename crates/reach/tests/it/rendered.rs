//! What the renderers write for one small cluster, and that unknown connections are in all of it.

use std::io::{Result, Write};

use sekat_reach::{Analysis, render};

use crate::support::{analysis, pod, policy};

fn small() -> Analysis {
    let service = "apiVersion: v1\nkind: Service\nmetadata: {namespace: shop, name: web}\n\
                   spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}\n---\n\
                   apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {namespace: shop, name: in}\n\
                   spec: {rules: [{http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}}]}\n---\n";
    analysis(
        &(pod("shop", "web", "app: web")
            + &pod("shop", "db", "app: db")
            + service
            + &policy(
                "shop",
                "web",
                "{podSelector: {matchLabels: {app: web}}, ingress: [{from: [{namespaceSelector: {}}]}], egress: [{to: [{podSelector: {matchLabels: {app: db}}}], ports: [{port: 80}, {port: 443}, {port: 53, protocol: UDP}]}]}",
            )
            + &policy(
                "shop",
                "db",
                "{podSelector: {matchLabels: {app: db}}, ingress: [{from: [{podSelector: {}}], ports: [{port: 80}, {port: 443}]}, {from: [{ipBlock: {cidr: 10.0.0.0/8}}], ports: [{port: 53, protocol: UDP}]}], egress: []}",
            )),
    )
}

fn rendered(render: impl Fn(&Analysis, &mut Vec<u8>) -> Result<()>) -> String {
    let mut out = Vec::new();
    render(&small(), &mut out).expect("memory");
    String::from_utf8(out).expect("UTF-8")
}

#[test]
fn csv_has_the_columns_that_people_compare() {
    assert_eq!(
        rendered(render::csv),
        "src,dst,conn\n\
         10.0.0.0-10.255.255.255,shop/db[Pod],UDP 53\n\
         shop/db[Pod],0.0.0.0-255.255.255.255,All Connections\n\
         shop/db[Pod],shop/web[Pod],All Connections\n\
         shop/web[Pod],shop/db[Pod],\"TCP 80,443\"\n\
         shop/web[Pod],shop/db[Pod],UNKNOWN UDP 53\n\
         {ingress-controller},shop/web[Pod],TCP 8080\n"
    );
}

#[test]
fn a_name_that_would_break_a_line_is_quoted() {
    let found = analysis(&(pod("shop", "'a,\"b'", "app: a") + &pod("shop", "c", "app: c")));
    let mut out = Vec::new();
    render::csv(&found, &mut out).expect("memory");
    let out = String::from_utf8(out).expect("UTF-8");
    assert!(out.contains("\nshop/c[Pod],\"shop/a,\"\"b[Pod]\",All Connections\n"), "{out}");
}

#[test]
fn json_says_why_something_is_unknown() {
    let rows: serde_json::Value = serde_json::from_str(&rendered(render::json)).expect("JSON");
    let rows = rows.as_array().expect("an array");
    assert_eq!(rows.len(), 6);
    let unknown = rows.iter().find(|row| row["verdict"] == "unknown").expect("one is unknown");
    assert_eq!((&unknown["src"], &unknown["conn"]), (&"shop/web[Pod]".into(), &"UDP 53".into()));
    let reasons = unknown["reasons"].to_string();
    assert!(reasons.contains("shop/db, rule 1") && reasons.contains("network plugin"), "{reasons}");
}

#[test]
fn tables_and_pictures_have_every_row() {
    let markdown = rendered(render::markdown);
    assert!(markdown.contains("| shop/web[Pod] | shop/db[Pod] | UNKNOWN UDP 53 |"), "{markdown}");
    let table = rendered(render::table);
    assert!(table.contains("2 workloads, 2 policies: 2 pairs allowed, 0 unknown, 0 denied"), "{table}");
    let dot = rendered(render::dot);
    assert!(
        dot.contains("\"shop/web[Pod]\" -> \"shop/db[Pod]\" [label=\"TCP 80,443; UNKNOWN UDP 53\" style=dashed]"),
        "{dot}"
    );
    let svg = rendered(render::svg);
    assert!(svg.contains("shop/web[Pod] → shop/db[Pod]: TCP 80,443; UNKNOWN UDP 53"), "{svg}");
    assert_eq!(svg.matches("class=\"w\"").count(), 5, "{svg}");
    assert_eq!(svg.matches("<path fill").count(), 5, "{svg}");
}

/// A writer that is full.
struct Full;

impl Write for Full {
    fn write(&mut self, _: &[u8]) -> Result<usize> {
        Err(std::io::Error::other("full"))
    }

    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}

#[test]
fn a_full_disk_is_an_error_and_no_short_answer() {
    assert!(render::csv(&small(), &mut Full).is_err());
    assert!(render::json(&small(), &mut Full).is_err());
    assert!(render::svg(&small(), &mut Full).is_err());
}
