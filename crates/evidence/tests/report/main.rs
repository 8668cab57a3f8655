//! The report in a real Chromium: on a phone and on a desk, light and dark, in both languages, on paper, and by axe's rules
//! of WCAG 2 A and AA.
#![cfg(test)]

mod sample;

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use sekat_evidence::Verdict;

/// What `cargo xtask test` has found on this machine; none where it could not.
struct Tools {
    chromium: PathBuf,
    axe: PathBuf,
}

impl Tools {
    fn here() -> Option<Self> {
        let tool = |variable: &str| {
            let found = std::env::var_os(variable).map(PathBuf::from);
            if found.is_none() {
                let lost = format!(
                    "NOT RUN: the report reads well in a browser. `cargo xtask test` installs what it needs and sets {variable}"
                );
                assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "{lost}");
                // Unlike `eprintln`, which the test program keeps to itself unless the test fails.
                drop(writeln!(std::io::stderr(), "{lost}"));
            }
            found
        };
        Some(Self { chromium: tool("SEKAT_CHROMIUM")?, axe: tool("SEKAT_AXE")? })
    }

    /// What a reader of these reports would trip over, one finding a line.
    fn findings(&self, reports: &[PathBuf]) -> Vec<String> {
        let checker = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tools/browser/check-report.mjs");
        let mut command = Command::new("node");
        let output =
            command.arg(checker).arg(&self.chromium).arg(&self.axe).args(reports).output().expect("node starts");
        let [stdout, stderr] = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let expected = if stdout.is_empty() { 0 } else { 3 };
        assert_eq!(output.status.code(), Some(expected), "{stdout}{stderr}");
        stdout.lines().map(str::to_owned).collect()
    }
}

#[test]
fn a_report_reads_well_whatever_it_says() {
    let Some(tools) = Tools::here() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let written = [Verdict::Holds, Verdict::Violated, Verdict::Unknown].map(|verdict| {
        let path = folder.path().join(format!("{verdict}.html"));
        fs::write(&path, sample::page(verdict)).expect("written");
        path
    });
    let findings = tools.findings(&written);
    assert!(findings.is_empty(), "{}", findings.join("\n"));
}

/// What is planted into a report, in place of what, and what has to be said of it.
const FAULTS: [(&str, &str, &str, &str); 14] = [
    ("an-image", "<main>", "<main><img alt=\"\" src=\"x.png\">", "the console says: "),
    (
        "a-style-sheet",
        "<meta http-equiv=\"Content-Security-Policy\"",
        "<link rel=\"stylesheet\" href=\"x.css\"><meta",
        "a request failed",
    ),
    ("a-wide-box", "<main>", "<main><div style=\"width:400px\">x</div>", "id, 360 px, light: the page is "),
    (
        "a-cut-line",
        "<main>",
        "<main><pre style=\"overflow:hidden;white-space:pre;width:50px\">xxxxxxxxxxxxxxx</pre>",
        "is cut off",
    ),
    ("a-pale-light", "--soft:#566173", "--soft:#b6c1d3", "light: color-contrast"),
    ("a-pale-dark", "--soft:#a9b1bd", "--soft:#39414d", "dark: color-contrast"),
    ("no-language", "<html lang=\"id\">", "<html>", "html-has-lang: "),
    (
        "another-heading",
        "<p class=\"title\">",
        "<h2>Laporan</h2><p class=\"title\">",
        "the first heading is no verdict: Laporan",
    ),
    ("a-long-name", ">order<", ">an-order-that-is-wider-than-its-box<", "is wider than its box"),
    ("a-small-paper", "@page{size:A4;", "@page{size:A5;", "A4: its pages are [420,"),
    (
        "two-verdicts",
        "<span lang=\"en\">VIOLATED</span></h1>",
        "<span lang=\"en\">HOLDS</span></h1>",
        "the languages disagree on the verdict",
    ),
    ("a-dead-switch", "for=\"en\"", "", "in the other language: "),
    ("a-wide-print", "@media print{", "@media print{pre{width:300mm}", "id, A4: the page is "),
    ("folded-print", "content-visibility:visible;block-size:auto;display:block", "", "cells are folded away"),
];

#[test]
fn each_fault_of_a_report_is_seen() {
    let Some(tools) = Tools::here() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let good = sample::page(Verdict::Violated);
    let planted = FAULTS.map(|(name, from, to, _)| {
        let bad = good.replacen(from, to, 1);
        assert_ne!(good, bad, "{name}: a report has {from}");
        let path = folder.path().join(format!("{name}.html"));
        fs::write(&path, bad).expect("written");
        path
    });
    let findings = tools.findings(&planted);
    for (name, _, _, complaint) in FAULTS {
        let of_it: Vec<&String> = findings.iter().filter(|line| line.contains(&format!("{name}.html: "))).collect();
        assert!(of_it.iter().any(|line| line.contains(complaint)), "{name}: {of_it:#?}");
    }
}
