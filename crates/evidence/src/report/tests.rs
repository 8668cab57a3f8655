//! The report is a page that loads nothing and runs nothing, whatever the results say.

use std::collections::BTreeMap;

use super::*;
use crate::layer::{Check, LayerName};
use crate::picture::{Domain, Node, NodeKind};

fn report(check: Check) -> String {
    let domain = |name: &str| Domain { name: name.to_owned(), may_hold: Vec::new() };
    let node = |name: &str, domain: &str| Node {
        name: name.to_owned(),
        domain: domain.to_owned(),
        kind: NodeKind::Workload,
        classes: Vec::new(),
    };
    let input = Input {
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
    };
    let mut page = Vec::new();
    html(&input, &mut page).unwrap();
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
        (Check::holds("a", "b"), "TERPENUHI", "HOLDS"),
        (Check::violated("a", "b", "c"), "DILANGGAR", "VIOLATED"),
        (Check::unknown("a", "b", "c"), "BELUM TERBUKTI", "NOT PROVEN"),
    ] {
        let page = report(check);
        let main = page.find("<main>").unwrap();
        assert!(page[..main].contains(id) && page[..main].contains(en), "{id}");
    }
    let page = report(Check::holds("a", "b"));
    assert_eq!(page.matches("<span lang=\"id\">").count(), page.matches("<span lang=\"en\">").count());
}
