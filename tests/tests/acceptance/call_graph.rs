//! Who may call what is a file that people review: `tests/golden/edges.tsv`.

use acceptance::cli::repository;
use acceptance::golden::assert_golden;

#[test]
fn the_contracts_say_what_was_reviewed() {
    let (model, findings) = sekat_contract::compile(&repository().join("proto"));
    let findings: Vec<_> = findings.iter().map(ToString::to_string).collect();
    assert!(findings.is_empty(), "{}", findings.join("\n"));
    let model = model.expect("the contracts compile");
    assert_golden("edges.tsv", &sekat_contract::golden::caller_method_table(&model));
}
