//! Who may call what is a file that people review: `tests/golden/edges.tsv`.

use acceptance::cli::repository;
use acceptance::golden::assert_golden;

use crate::edges::{Edge, domain_of};

#[test]
fn the_contracts_say_what_was_reviewed() {
    let (model, findings) = sekat_contract::compile(&repository().join("proto"));
    let findings: Vec<_> = findings.iter().map(ToString::to_string).collect();
    assert!(findings.is_empty(), "{}", findings.join("\n"));
    let model = model.expect("the contracts compile");
    assert_golden("edges.tsv", &sekat_contract::golden::caller_method_table(&model));
}

#[test]
fn what_was_reviewed_keeps_the_promise() {
    let edges = Edge::all();
    let crossing: Vec<_> = edges.iter().filter(|edge| domain_of(&edge.caller) != domain_of(&edge.callee)).collect();
    assert!(!crossing.is_empty());
    for edge in &crossing {
        let feed = (edge.caller.as_str(), edge.callee.as_str(), edge.listener.as_str());
        assert_eq!(feed, ("showcase", "catalog", "catalog-feed"), "nothing else crosses: {edge:?}");
    }
    let in_showcase = |edge: &&Edge| [&edge.caller, &edge.callee].into_iter().any(|end| domain_of(end) == "showcase");
    for edge in edges.iter().filter(in_showcase) {
        let classes = edge.classes.iter().map(String::as_str);
        let foreign: Vec<_> = classes.filter(|class| !["PUBLIC", "INTERNAL"].contains(class)).collect();
        assert!(foreign.is_empty(), "{foreign:?} is in the showcase domain: {edge:?}");
    }
}
