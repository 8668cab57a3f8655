//! Every code of a diagnostic has its page under `docs/diagnostics/`, every page its code, and the index all pages.
//! Whether a page tells the truth is tried by the crate that reports the code.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::sources::Sources;

const FOLDER: &str = "docs/diagnostics";
const INDEX: &str = "docs/diagnostics/README.md";

/// What stands above the tables of the index.
const INTRODUCTION: &str = "\
# Diagnostics

`cargo xtask tidy --bless` writes this index. Each page says what a code means, shows an example, what `sekat` says about
it, and the mend. Examples are changes of something lawful, to which each page links; tests plant them there.

A code never changes its meaning. Errors fail a check, warnings do not. The formats are `human`, `plain` (one line each:
`file:line:column: severity[code]: message; help: help`), `sarif` 2.1.0, and `json`: one object with `version` (1),
`errors`, `warnings` and `findings`, of which each has `code`, `severity`, `file`, `line`, `column` (0 if unknown),
`message`, `help` and `page`. Fields may be added.
";

/// Headings of the index, each with the first code below it.
const HEADINGS: [(&str, &str); 11] = [
    ("SK0000", "Contracts"),
    ("SK0100", "Changes of contracts"),
    ("SK0200", "YAML"),
    ("SK0300", "Policy files"),
    ("SK0310", "What is meant, wherever it is stated"),
    ("SK0330", "Code"),
    ("SK0400", "Compiling"),
    ("SK0500", "Manifests"),
    ("SK0600", "Traces, counters and access records"),
    ("SK0700", "Packets"),
    ("SK0800", "Evidence"),
];

/// Everything about codes and pages that does not hold.
pub(crate) fn findings(sources: &Sources) -> Vec<String> {
    let (codes, pages) = (codes(sources), pages(sources));
    let titles: BTreeSet<&str> = pages.iter().map(|(code, _)| *code).collect();
    let mut findings: Vec<String> = codes
        .iter()
        .filter(|(code, _)| !titles.contains(code.as_str()))
        .map(|(code, file)| format!("{}: {code} has no page {FOLDER}/{code}.md", file.display()))
        .collect();
    for (code, rule) in &pages {
        if !codes.iter().any(|(known, _)| known == code) {
            findings.push(format!("{FOLDER}/{code}.md: no crate reports this code"));
        }
        if rule.is_empty() {
            findings.push(format!("{FOLDER}/{code}.md:1: begin with `# {code}: ` and the rule in one sentence"));
        }
    }
    if sources.get(Path::new(INDEX)).is_none_or(|text| *text != index(sources)) {
        findings.push(format!("{INDEX}: it is not up to date\n  help: `cargo xtask tidy --bless` writes it"));
    }
    findings
}

/// The path of the index and its text.
pub(crate) fn blessed(sources: &Sources) -> (&'static Path, String) {
    (Path::new(INDEX), index(sources))
}

fn index(sources: &Sources) -> String {
    let mut text = INTRODUCTION.to_owned();
    let mut headings = HEADINGS.iter().peekable();
    for (code, rule) in pages(sources) {
        let mut heading = None;
        while let Some((_, title)) = headings.next_if(|(first, _)| *first <= code) {
            heading = Some(title);
        }
        if let Some(title) = heading {
            text.push_str(&format!("\n## {title}\n\n| code | rule |\n|---|---|\n"));
        }
        text.push_str(&format!("| [{code}]({code}.md) | {rule} |\n"));
    }
    text
}

/// The codes that crates name, each once, with a file that does. In sources a code stands alone between quotes.
fn codes(sources: &Sources) -> Vec<(String, PathBuf)> {
    let in_crates = sources.iter().filter(|(path, _)| {
        let mut parts = path.components().map(|part| part.as_os_str());
        parts.next().is_some_and(|part| part == "crates")
            && parts.nth(1).is_some_and(|part| part == "src")
            && path.extension().is_some_and(|extension| extension == "rs")
    });
    let mut codes: Vec<(String, PathBuf)> = Vec::new();
    for (path, text) in in_crates {
        for word in text.split('"').filter(|word| is_code(word)) {
            if !codes.iter().any(|(known, _)| known == word) {
                codes.push((word.to_owned(), path.clone()));
            }
        }
    }
    codes.sort();
    codes
}

fn is_code(word: &str) -> bool {
    word.strip_prefix("SK").is_some_and(|digits| digits.len() == 4 && digits.bytes().all(|byte| byte.is_ascii_digit()))
}

/// The pages in the order of their codes, each with the rule in its title, which is empty if the title is malformed.
fn pages(sources: &Sources) -> Vec<(&str, &str)> {
    let pages = sources.iter().filter(|(path, _)| path.parent() == Some(Path::new(FOLDER)));
    let mut pages: Vec<(&str, &str)> = pages
        .filter_map(|(path, text)| {
            let code = path.file_stem()?.to_str().filter(|name| is_code(name))?;
            let title = text.lines().next().and_then(|line| line.strip_prefix("# ")?.strip_prefix(code));
            Some((code, title.and_then(|rest| rest.strip_prefix(": ")).unwrap_or_default()))
        })
        .collect();
    pages.sort_unstable();
    pages
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::{INDEX, findings, index};
    use crate::sources::Sources;

    fn sources(files: &[(&str, &str)]) -> Sources {
        let mut sources: Sources = files.iter().map(|(path, text)| (PathBuf::from(path), (*text).to_owned())).collect();
        let fresh = index(&sources);
        sources.entry(PathBuf::from(INDEX)).or_insert(fresh);
        sources
    }

    const CODE: (&str, &str) = ("crates/x/src/lib.rs", "const A: &str = \"SK0003\";\nconst NO: &str = \"SK03\";");
    const PAGE: (&str, &str) = ("docs/diagnostics/SK0003.md", "# SK0003: Fields have a class.\n");

    #[test]
    fn codes_with_pages_are_no_findings() {
        let sources = sources(&[CODE, PAGE, ("crates/x/tests/it.rs", "\"SK0999\"")]);
        assert_eq!(findings(&sources), Vec::<String>::new());
        let index = index(&sources);
        assert!(
            index.ends_with(
                "## Contracts\n\n| code | rule |\n|---|---|\n| [SK0003](SK0003.md) | Fields have a class. |\n"
            )
        );
    }

    #[test]
    fn each_fault_is_found() {
        for (files, part) in [
            (&[CODE][..], "crates/x/src/lib.rs: SK0003 has no page"),
            (&[PAGE], "SK0003.md: no crate reports this code"),
            (&[CODE, ("docs/diagnostics/SK0003.md", "# Fields\n")], "SK0003.md:1: begin with"),
            (&[CODE, PAGE, (INDEX, "# Old\n")], "not up to date"),
        ] {
            let found = findings(&sources(files));
            assert!(found.len() == 1 && found[0].contains(part), "{part}: {found:?}");
        }
    }
}
