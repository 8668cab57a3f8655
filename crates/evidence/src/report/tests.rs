//! The report is a page that loads nothing and runs nothing, whatever the results say.

use std::collections::BTreeMap;

use super::*;
use crate::layer::{Check, LayerName};
use crate::picture::{Domain, Flow, Node, NodeKind, Step};

fn report(check: Check) -> String {
    drawn(&input(check))
}

fn node(name: &str, domain: &str) -> Node {
    Node { name: name.to_owned(), domain: domain.to_owned(), kind: NodeKind::Workload, classes: Vec::new() }
}

fn refused(from: &str, to: &str) -> Flow {
    let (from, to) = (from.to_owned(), to.to_owned());
    Flow { from, to, classes: Vec::new(), methods: 0, seen: 7, forbidden: true }
}

fn input(check: Check) -> Input {
    let domain = |name: &str| Domain { name: name.to_owned(), may_hold: Vec::new() };
    Input {
        layers: LayerName::ALL.into_iter().map(|name| Layer::ran(name, vec![check.clone()])).collect(),
        picture: Picture {
            domains: vec![domain("showcase"), domain("commerce")],
            nodes: vec![node("showcase", "showcase"), node("payment", "commerce")],
            flows: Vec::new(),
        },
        timeline: Timeline::default(),
        facts: Facts {
            scope: "a mesh".to_owned(),
            window_start: String::new(),
            window_end: String::new(),
            assumptions: Vec::new(),
            not_covered: vec!["<b>".to_owned()],
            tool_version: String::new(),
            policy_digest: String::new(),
            previous: None,
            coverage: BTreeMap::new(),
        },
        fingerprint: "ab".to_owned(),
    }
}

fn drawn(input: &Input) -> String {
    let mut page = Vec::new();
    html(input, &mut page).unwrap();
    String::from_utf8(page).unwrap()
}

#[test]
fn no_result_becomes_markup() {
    let hostile = "\"'><script>alert(1)</script>\u{202e}\0";
    let page = report(Check::violated(hostile, hostile, hostile).at(hostile).coded(hostile));
    for bad in ["<script", "\u{202e}", "\0", "<b>"] {
        assert!(!page.contains(bad), "{bad:?}");
    }
    assert!(page.contains("&lt;script&gt;") && page.contains("[U+202E]"));
}

#[test]
fn nothing_is_loaded_and_nothing_runs() {
    let page = report(Check::holds("a", "b"));
    for bad in ["http://", "https://", "url(", "@import", "src=", "<link", "<script", " on"] {
        let bad = if bad == " on" { " onclick" } else { bad };
        assert!(!page.contains(bad), "{bad}");
    }
    assert!(page.contains("default-src 'none'"));
}

#[test]
fn the_verdict_comes_first_in_both_languages() {
    for (check, id, en) in [
        (Check::holds("a", "b"), "TERBUKTI", "HOLDS"),
        (Check::violated("a", "b", "c"), "DILANGGAR", "VIOLATED"),
        (Check::unknown("a", "b", "c"), "BELUM TERBUKTI", "NOT PROVEN"),
    ] {
        let page = report(check);
        let (_, heading) = page.split_once("<h1>").unwrap();
        let (heading, _) = heading.split_once("</h1>").unwrap();
        assert_eq!(heading, format!("<span lang=\"id\">{id}</span><span lang=\"en\">{en}</span>"));
    }
    let page = report(Check::holds("a", "b"));
    assert_eq!(page.matches("<span lang=\"id\">").count(), page.matches("<span lang=\"en\">").count());
}

#[test]
fn times_are_told_to_the_second_and_what_is_no_time_as_it_is() {
    let mut input = input(Check::holds("a", "b"));
    input.facts.window_start = "2026-11-26T18:45:10.123456789Z".to_owned();
    input.facts.window_end = "2026-11-26T18:46:00Z".to_owned();
    assert!(drawn(&input).contains("2026-11-26 18:45:10 UTC – 2026-11-26 18:46:00 UTC"));
    for odd in ["yesterday", "2026-11-26T18:4Z", "2026-11-26T18:45:10+07:00", "TZ"] {
        input.facts.window_start = odd.to_owned();
        assert!(drawn(&input).contains(&format!(": {odd} – ")), "{odd}");
    }
}

#[test]
fn statements_are_told_in_indonesian_and_unknown_ones_as_they_are() {
    let mut input = input(Check::holds("a", "b"));
    input.facts.scope = "the mesh of 12 workloads in 2 domains".to_owned();
    input.facts.assumptions = vec!["Pigs fly.".to_owned()];
    let page = drawn(&input);
    assert!(page.contains("<span lang=\"id\">mesh yang terdiri atas 12 layanan dalam 2 wilayah</span>"));
    assert!(
        page.contains("<span lang=\"en\" class=\"keep\">Pigs fly.</span> <span lang=\"id\">(dalam bahasa Inggris)")
    );
    for other in
        ["the mesh of twelve workloads in 2 domains", "the mesh of 12 workloads in 2 domains!", "the mesh of 12"]
    {
        assert_eq!(indonesian(other), None, "{other}");
    }
}

#[test]
fn the_border_of_the_last_domain_is_inside_the_drawing_however_many_there_are() {
    for count in 1..=6 {
        let mut input = input(Check::holds("a", "b"));
        let domain = |number| Domain { name: format!("domain-{number}"), may_hold: Vec::new() };
        input.picture.domains = (0..count).map(domain).collect();
        input.picture.nodes =
            (0..count).map(|number| node(&format!("n{number}"), &format!("domain-{number}"))).collect();
        let pairs = (0..count).flat_map(|from| (0..count).map(move |to| (from, to)));
        input.picture.flows = pairs.map(|(from, to)| refused(&format!("n{from}"), &format!("n{to}"))).collect();
        let page = drawn(&input);
        let number = |text: &str, before: &str| -> usize {
            let rest = text.split_once(before).unwrap().1;
            rest.split(['"', ' ']).next().unwrap().parse().unwrap()
        };
        let view = number(&page, "viewBox=\"-1 0 ");
        let lands: Vec<&str> = page.split("class=\"land\" ").skip(1).collect();
        assert_eq!((lands.len(), page.matches("<g class=\"barred\">").count()), (count, count * (count - 1)));
        for land in lands {
            let right = number(land, "x=\"") + number(land, "width=\"");
            assert!(right + 2 <= view, "{count} domains: {right} of {view}");
        }
    }
}

#[test]
fn a_purchase_names_each_call_its_time_and_what_failed() {
    let mut input = input(Check::holds("a", "b"));
    let step = |start_us, duration_us, status: &str| Step {
        start_us,
        duration_us,
        caller: "order".to_owned(),
        workload: "payment".to_owned(),
        domain: "commerce".to_owned(),
        method: "PaymentService/Open".to_owned(),
        status: status.to_owned(),
    };
    input.timeline.steps = vec![step(0, 10_000, "OK"), step(9_999, 0, "UNAVAILABLE"), step(u64::MAX, 1, "OK")];
    let page = drawn(&input);
    assert!(page.contains("+0.0 ms · 10.0 ms") && page.contains("+9.9 ms · 0.0 ms"));
    assert_eq!(page.matches("class=\"bad\"").count(), 1);
    assert!(page.contains("<strong class=\"bad\">UNAVAILABLE</strong>"));
}
