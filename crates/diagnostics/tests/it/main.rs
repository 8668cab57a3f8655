//! Each format as a whole, on findings that have everything and on findings that have nothing.

use sekat_diagnostics::{Context, Format, count, render};
use sekat_policy::{Diagnostic, Severity, Span};

const SOURCE: &str = "edges:\n  - {from: showcase, to: payment}\n";

fn span(file: &str, line: u32, column: u32) -> Span {
    Span { file: file.to_owned(), line, column }
}

fn findings() -> Vec<Diagnostic> {
    let edge = Diagnostic::error("SK0315", span("policy.yaml", 2, 12), "`showcase` may call it", "remove the edge");
    let selector = Diagnostic {
        severity: Severity::Warning,
        ..Diagnostic::error("SK0321", span("gone.yaml", 7, 1), "a pod could match both", "tell them apart")
    };
    let nowhere = Diagnostic::error("SK0002", Span::default(), "no file declares a topology", "state one");
    vec![edge, selector, nowhere]
}

fn rendered(format: Format, findings: &[Diagnostic], colour: bool) -> String {
    let source = |file: &str| (file == "policy.yaml").then(|| SOURCE.to_owned());
    let rules = [("SK0315", "Callers hold what they may."), ("SK0999", "Never found.")];
    let context = Context { colour, source: &source, rules: &rules, version: "0.1.0" };
    let mut out = Vec::new();
    assert!(render(&mut out, format, findings, &context).is_ok(), "a vector takes everything");
    String::from_utf8_lossy(&out).into_owned()
}

#[test]
fn people_see_the_line_and_the_mend() {
    let expected = "\
error[SK0315]: `showcase` may call it
 --> policy.yaml:2:12
  |
2 |   - {from: showcase, to: payment}
  |            ^^^^^^^^
  = help: remove the edge
  = see docs/diagnostics/SK0315.md

warning[SK0321]: a pod could match both
 --> gone.yaml:7:1
  = help: tell them apart
  = see docs/diagnostics/SK0321.md

error[SK0002]: no file declares a topology
  = help: state one
  = see docs/diagnostics/SK0002.md

2 errors, 1 warning
";
    assert_eq!(rendered(Format::Human, &findings(), false), expected);
    assert_eq!(rendered(Format::Human, &[], false), "");
}

#[test]
fn colours_change_nothing_but_colours() {
    let coloured = rendered(Format::Human, &findings(), true);
    assert!(coloured.contains("\u{1b}[1m\u{1b}[31merror[SK0315]\u{1b}[0m"), "{coloured:?}");
    let mut plain = String::new();
    let mut rest = coloured.as_str();
    while let Some((before, after)) = rest.split_once("\u{1b}[") {
        plain.push_str(before);
        rest = after.split_once('m').map_or("", |(_, rest)| rest);
    }
    plain.push_str(rest);
    assert_eq!(plain, rendered(Format::Human, &findings(), false));
}

#[test]
fn a_long_line_is_cut_around_the_place() {
    let line = format!("{}HERE {}", "a ".repeat(100), "b ".repeat(100));
    let finding = Diagnostic::error("SK0301", span("long.yaml", 1, 201), "x", "y");
    let source = |_: &str| Some(line.clone());
    let context = Context { colour: false, source: &source, rules: &[], version: "0" };
    let mut out = Vec::new();
    render(&mut out, Format::Human, &[finding], &context).expect("written");
    let text = String::from_utf8(out).expect("text");
    let lines: Vec<_> = text.lines().collect();
    assert!(lines[3].chars().count() < 120 && lines[3].starts_with("1 | …") && lines[3].ends_with('…'), "{text}");
    let at = lines[3].chars().position(|c| c == 'H').expect("the word");
    assert_eq!(lines[4].chars().position(|c| c == '^'), Some(at), "{text}");
    assert!(lines[4].ends_with(" ^^^^"), "{text}");
}

#[test]
fn places_beyond_the_text_are_no_trouble() {
    for (line, column) in [(1, 0), (1, 1), (1, 900), (2, 34), (3, 1), (u32::MAX, u32::MAX)] {
        let finding = Diagnostic::error("SK0301", span("policy.yaml", line, column), "x", "y");
        assert!(rendered(Format::Human, &[finding], false).contains("help: y"));
    }
}

#[test]
fn grep_sees_one_line_a_finding_whatever_is_in_it() {
    let mut all = findings();
    all.push(Diagnostic::error("SK0302", span("a\nb.yaml", 1, 2), "`\u{1b}[2J` is no name", "a\nb"));
    let expected = "\
policy.yaml:2:12: error[SK0315]: `showcase` may call it; help: remove the edge
gone.yaml:7:1: warning[SK0321]: a pod could match both; help: tell them apart
:0:0: error[SK0002]: no file declares a topology; help: state one
a\\u{a}b.yaml:1:2: error[SK0302]: `\\u{1b}[2J` is no name; help: a\\u{a}b
";
    assert_eq!(rendered(Format::Plain, &all, true), expected);
}

#[test]
fn programs_read_json() {
    let report: serde_json::Value =
        serde_json::from_str(&rendered(Format::Json, &findings(), true)).expect("valid JSON");
    assert_eq!((&report["version"], &report["errors"], &report["warnings"]), (&1.into(), &2.into(), &1.into()));
    let first = &report["findings"][0];
    assert_eq!(first["code"], "SK0315");
    assert_eq!((&first["file"], &first["line"]), (&"policy.yaml".into(), &2.into()));
    assert_eq!(first["page"], "docs/diagnostics/SK0315.md");
}

#[test]
fn sarif_keeps_the_schema_of_its_standard() {
    let schema: serde_json::Value =
        serde_json::from_str(include_str!("../sarif-2.1.0.schema.json")).expect("the schema is JSON");
    let (mut compiler, mut schemas) = (boon::Compiler::new(), boon::Schemas::new());
    compiler.enable_format_assertions();
    compiler.add_resource("sarif.json", schema).expect("a resource");
    let index = compiler.compile("sarif.json", &mut schemas).expect("a schema");
    let mut all = findings();
    all.push(Diagnostic::error("SK0302", span("/srv/Toko Bü.yaml", 1, 0), "x", "y"));
    for findings in [all.as_slice(), &[]] {
        let log: serde_json::Value = serde_json::from_str(&rendered(Format::Sarif, findings, true)).expect("JSON");
        schemas.validate(&log, index).unwrap_or_else(|error| panic!("{error}\n{log:#}"));
        let run = &log["runs"][0];
        assert_eq!(run["results"].as_array().map(Vec::len), Some(findings.len()));
        for result in run["results"].as_array().expect("results") {
            let rule = result["ruleIndex"].as_u64().and_then(|at| usize::try_from(at).ok()).expect("an index");
            assert_eq!(run["tool"]["driver"]["rules"][rule]["id"], result["ruleId"]);
        }
        // The check itself is tried: one wrong word, and the schema says no.
        let mut broken = log.clone();
        broken["runs"][0]["columnKind"] = "letters".into();
        assert!(schemas.validate(&broken, index).is_err());
    }
}

#[test]
fn formats_have_names() {
    for format in Format::ALL {
        assert_eq!(format.name().parse(), Ok(format));
    }
    assert!("xml".parse::<Format>().is_err_and(|help| help.contains("sarif")));
    assert_eq!(count(&findings()), (2, 1));
}
