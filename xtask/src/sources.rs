//! Rules on the text of source files. Each is a function of a path and a text, so that a test can plant a fault.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;

/// The repository's text files by their path relative to the root.
pub(crate) type Sources = BTreeMap<PathBuf, String>;

/// Longer than this and a file holds more than one thing.
const LINES_MAX: usize = 700;

/// Folders at the root that are not sources: build output, state of `sekat up`, evidence.
const NOT_SOURCES: [&str; 4] = [".git", "target", "data", "evidence"];

/// Never in Rust sources. Written in pieces, so that this file does not contain what it forbids.
const FORBIDDEN_IN_RUST: [(&str, &str); 4] = [
    (concat!("to", "do!("), "finish it or open an issue"),
    (concat!("unimple", "mented!("), "finish it or leave the case out of the type"),
    (concat!("db", "g!("), "use a tracing event"),
    (concat!("#[ig", "nore"), "a test that cannot run here says so at run time and fails in CI"),
];

/// Never in tests: a sleep is either too short on a slow machine or too long on a fast one.
const FORBIDDEN_IN_TESTS: [&str; 2] = [concat!("thread::sl", "eep"), concat!("time::sl", "eep")];

/// Paths that exist on one machine only.
const MACHINE_PATHS: [&str; 4] =
    [concat!("/wo", "rk/"), concat!("/fa", "rm/"), concat!("/ro", "ot/"), concat!("/ho", "me/")];

/// Hosts of package registries: a user's own client configuration names them, never we.
const REGISTRY_HOSTS: [&str; 6] = [
    concat!("static.cra", "tes."),
    concat!("index.cra", "tes."),
    concat!("proxy.go", "lang."),
    concat!("registry.n", "pm"),
    concat!("deb.de", "bian."),
    concat!("repo1.ma", "ven."),
];

/// Reads every text file of the repository; binary files are left out.
pub(crate) fn read(root: &Path) -> anyhow::Result<Sources> {
    let mut sources = Sources::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))? {
            let entry = entry?;
            let (path, kind) = (entry.path(), entry.file_type()?);
            let relative = path.strip_prefix(root)?;
            let skipped =
                NOT_SOURCES.iter().any(|name| relative == Path::new(name)) || relative.ends_with("node_modules");
            if kind.is_dir() && !skipped {
                folders.push(path);
            } else if kind.is_file()
                && let Ok(text) =
                    String::from_utf8(fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?)
            {
                sources.insert(relative.to_owned(), text);
            }
        }
    }
    Ok(sources)
}

/// All findings on one file, each with its place.
pub(crate) fn findings(path: &Path, text: &str) -> Vec<String> {
    let mut findings = foreign_places(path, text);
    if path.extension().is_some_and(|extension| extension == "rs") {
        findings.extend(first_line(path, text));
        findings.extend(length(path, text));
        findings.extend(forbidden_words(path, text));
        findings.extend(sleeping_tests(path, text));
    }
    findings
}

fn first_line(path: &Path, text: &str) -> Option<String> {
    let promised =
        text.lines().next().is_some_and(|line| line.strip_prefix("//!").is_some_and(|rest| !rest.trim().is_empty()));
    (!promised).then(|| format!("{}:1: begin with `//!` and a line on what this file promises", path.display()))
}

fn length(path: &Path, text: &str) -> Option<String> {
    let lines = text.lines().count();
    (lines > LINES_MAX)
        .then(|| format!("{}:{LINES_MAX}: {lines} lines: split it by what changes together", path.display()))
}

fn forbidden_words(path: &Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (number, line) in numbered(text) {
        for (word, instead) in FORBIDDEN_IN_RUST {
            if line.contains(word) {
                found.push(format!("{}:{number}: `{word}`: {instead}", path.display()));
            }
        }
    }
    found
}

/// Test code is a file below `tests/` and what follows `#[cfg(test)] mod name {` in other files.
fn sleeping_tests(path: &Path, text: &str) -> Vec<String> {
    let mut testing = path.components().any(|part| part.as_os_str() == "tests");
    let mut after_attribute = false;
    let mut found = Vec::new();
    for (number, line) in numbered(text) {
        let line = line.trim();
        // `mod name;` is a file of its own, and the code below it is none of the test's.
        testing |= after_attribute && line.starts_with("mod ") && line.ends_with('{');
        after_attribute = line.starts_with("#[cfg(test)]");
        if testing && FORBIDDEN_IN_TESTS.iter().any(|word| line.contains(word)) {
            found.push(format!(
                "{}:{number}: a test waits on a condition with a bound, it does not sleep",
                path.display()
            ));
        }
    }
    found
}

fn foreign_places(path: &Path, text: &str) -> Vec<String> {
    // Lock files are written by their tools, which put the host there.
    if path.extension().is_some_and(|extension| extension == "lock") || path.ends_with("package-lock.json") {
        return Vec::new();
    }
    let mut found = Vec::new();
    for (number, line) in numbered(text) {
        for word in MACHINE_PATHS.iter().filter(|word| starts_path(line, word)) {
            found.push(format!("{}:{number}: `{word}` exists on one machine only", path.display()));
        }
        for word in REGISTRY_HOSTS.iter().filter(|word| line.contains(**word)) {
            found.push(format!(
                "{}:{number}: `{word}`: registries belong into a user's own configuration",
                path.display()
            ));
        }
    }
    found
}

/// Whether a path in the line starts with `word`: in `crates/work/` it does not.
fn starts_path(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line.get(..at).and_then(|start| start.chars().next_back());
        !before.is_some_and(|before| before.is_ascii_alphanumeric() || "._-*}/".contains(before))
    })
}

fn numbered(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(index, line)| (index + 1, line))
}

/// The Rust files that no target reaches through `mod` declarations: they are not compiled, so nothing holds them.
///
/// `#[path]` is understood; a `mod` inside an inline module is not, and would be reported.
pub(crate) fn uncompiled(targets: &BTreeSet<PathBuf>, sources: &Sources) -> Vec<String> {
    let mut reached = BTreeSet::new();
    let mut open: Vec<PathBuf> = targets.iter().cloned().collect();
    while let Some(file) = open.pop() {
        let Some(text) = sources.get(&file) else { continue };
        if reached.insert(file.clone()) {
            let folder = modules_folder(&file, targets.contains(&file));
            let beside = file.parent().unwrap_or(Path::new(""));
            open.extend(modules(text).into_iter().flat_map(|module| match module {
                Module::At(path) => vec![beside.join(path)],
                Module::Named(name) => vec![folder.join(format!("{name}.rs")), folder.join(name).join("mod.rs")],
            }));
        }
    }
    let rust = sources.keys().filter(|path| path.extension().is_some_and(|extension| extension == "rs"));
    rust.filter(|path| !reached.contains(*path))
        .map(|path| format!("{}:1: not compiled: no `mod` declares it", path.display()))
        .collect()
}

/// Where the modules that a file declares are looked for (Rust reference, "Module source filenames").
fn modules_folder(file: &Path, is_root: bool) -> PathBuf {
    if is_root || file.ends_with("mod.rs") {
        file.parent().unwrap_or(Path::new("")).to_owned()
    } else {
        file.with_extension("")
    }
}

enum Module<'a> {
    Named(&'a str),
    At(&'a str),
}

fn modules(text: &str) -> Vec<Module<'_>> {
    let mut found = Vec::new();
    let mut path = None;
    for line in text.lines().map(str::trim) {
        if let Some(rest) = line.strip_prefix("#[path = \"") {
            path = rest.strip_suffix("\"]");
        } else if let Some(name) = line.strip_suffix(';').and_then(declared) {
            found.push(path.take().map_or(Module::Named(name), Module::At));
        }
    }
    found
}

/// The name in `mod name`, with whatever visibility.
fn declared(line: &str) -> Option<&str> {
    let after_visibility = match line.strip_prefix("pub") {
        Some(rest) if rest.starts_with('(') => rest.split_once(')')?.1,
        Some(rest) => rest,
        None => line,
    };
    after_visibility.trim_start().strip_prefix("mod ").filter(|name| !name.contains(char::is_whitespace))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::{Path, PathBuf};

    use super::{
        FORBIDDEN_IN_RUST, FORBIDDEN_IN_TESTS, LINES_MAX, MACHINE_PATHS, REGISTRY_HOSTS, Sources, findings, uncompiled,
    };

    fn in_file(path: &str, text: &str) -> Vec<String> {
        findings(Path::new(path), text)
    }

    #[test]
    fn a_file_that_promises_something_and_holds_it_has_no_findings() {
        let text = "//! Adds.\n\npub fn add(a: i64, b: i64) -> Option<i64> {\n    a.checked_add(b)\n}\n";
        assert_eq!(in_file("crates/x/src/lib.rs", text), Vec::<String>::new());
    }

    #[test]
    fn a_file_without_a_promise_is_found() {
        for text in ["", "use std::fmt;\n", "//!\n", "// Adds.\n"] {
            assert_eq!(in_file("src/x.rs", text).len(), 1, "{text:?}");
        }
    }

    #[test]
    fn a_long_file_is_found_and_one_at_the_limit_is_not() {
        let of = |lines: usize| format!("//! Long.\n{}", "\n".repeat(lines - 1));
        assert!(in_file("src/x.rs", &of(LINES_MAX)).is_empty());
        assert_eq!(in_file("src/x.rs", &of(LINES_MAX + 1)).len(), 1);
    }

    #[test]
    fn each_forbidden_word_is_found_with_its_line() {
        for (word, _) in FORBIDDEN_IN_RUST {
            let found = in_file("src/x.rs", &format!("//! X.\n{word}\n"));
            assert!(found.len() == 1 && found[0].starts_with("src/x.rs:2:"), "{word}: {found:?}");
        }
    }

    #[test]
    fn a_sleep_is_found_in_tests_only() {
        for word in FORBIDDEN_IN_TESTS {
            let plain = format!("//! X.\nfn f() {{ {word}(d) }}\n");
            assert!(in_file("src/x.rs", &plain).is_empty());
            assert_eq!(in_file("tests/tests/x.rs", &plain).len(), 1);
            let unit = format!("//! X.\n#[cfg(test)]\nmod tests {{\n    fn f() {{ {word}(d) }}\n}}\n");
            assert_eq!(in_file("src/x.rs", &unit).len(), 1);
        }
    }

    #[test]
    fn machine_paths_and_registry_hosts_are_found_in_every_text_but_lock_files() {
        for word in MACHINE_PATHS.iter().chain(&REGISTRY_HOSTS) {
            let text = format!("see \"{word}x\"\n");
            assert_eq!(in_file("docs/x.md", &text).len(), 1, "{word}");
            assert!(in_file("Cargo.lock", &text).is_empty());
        }
        for word in MACHINE_PATHS {
            assert!(in_file("docs/x.md", &format!("crates{word}src and https://x{word}\n")).is_empty(), "{word}");
        }
    }

    #[test]
    fn a_file_that_no_module_declares_is_found() {
        let sources = Sources::from(
            [
                ("a/src/lib.rs", "mod used;\npub(crate) mod deep;\n#[path = \"odd/name.rs\"]\npub mod renamed;\n"),
                ("a/src/used.rs", ""),
                ("a/src/deep/mod.rs", "mod inner;"),
                ("a/src/deep/inner.rs", "mod leaf;"),
                ("a/src/deep/inner/leaf.rs", ""),
                ("a/src/odd/name.rs", ""),
                ("a/src/forgotten.rs", "mod used;"),
                ("a/src/deep/used.rs", ""),
            ]
            .map(|(path, text)| (PathBuf::from(path), text.to_owned())),
        );
        let found = uncompiled(&BTreeSet::from([PathBuf::from("a/src/lib.rs")]), &sources);
        let files: Vec<_> = found.iter().filter_map(|finding| finding.split(':').next()).collect();
        assert_eq!(files, ["a/src/deep/used.rs", "a/src/forgotten.rs"]);
    }
}
