//! Code against intent: who links a generated contract can call it, so that a Cargo dependency is an edge of the call
//! graph, and each has to be one that is meant.
//!
//! A crate says in its manifest what it is, and a crate that says nothing is neither:
//!
//! ```toml
//! [package.metadata.sekat]
//! api = ["shop.payment.v1"]      # it holds the generated code of these protobuf packages
//! workloads = ["order"]          # it is the program of these workloads
//! forwards = true                # it passes calls on as opaque frames, and needs no contract for that
//! ```
//!
//! Optional dependencies count, because a feature can turn them on; those of tests and build scripts do not, because they
//! are not in the program.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use sekat_policy::{Diagnostic, Intent, Severity, Span};
use sekat_yaml::Node;

use crate::intent_lints::names;
use crate::suggest::did_you_mean;

const UNMEANT: &str = "SK0330";
const UNUSED: &str = "SK0331";
const UNREADABLE: &str = "SK0332";

/// The codes of this comparison, each with its rule in one sentence.
pub static CODES: &[(&str, &str)] = &[
    (UNMEANT, "A crate links the contract of a workload only if its own workload may call it or is that workload."),
    (UNUSED, "Who may call a workload links its contract."),
    (UNREADABLE, "What a crate says about itself is well-formed and names workloads and packages that exist."),
];

/// The name under which findings about the metadata as a whole stand.
const METADATA: &str = "cargo metadata";

/// Compares `metadata`, the output of `cargo metadata --no-deps --format-version 1`, with the intent. Manifests are read
/// again to find the lines that findings name.
#[must_use]
pub fn check(intent: &Intent, metadata: &str) -> Vec<Diagnostic> {
    let mut findings = Vec::new();
    let workspace = match Workspace::read(metadata, &mut findings) {
        Ok(workspace) => workspace,
        Err(finding) => return vec![finding],
    };
    let graph = Graph::of(intent);
    workspace.report_unknown(intent, &graph, &mut findings);
    for program in workspace.crates.values().filter(|it| !it.workloads.is_empty()) {
        let linked = workspace.linked(program);
        let known = program.workloads.iter().filter(|workload| intent.workload(workload).is_some());
        let meant: BTreeSet<&str> = known.flat_map(|workload| graph.meant(workload)).collect();
        for (name, path) in &linked {
            let Some(api) = workspace.crates.get(*name).filter(|api| !api.packages.is_empty()) else { continue };
            if !api.packages.iter().any(|package| meant.contains(package.as_str())) {
                findings.push(unmeant(program, api, path));
            }
        }
        if !program.forwards {
            findings.extend(unused(program, &workspace, &graph, &linked));
        }
    }
    findings.sort_by(|left, right| (&left.span, left.code).cmp(&(&right.span, right.code)));
    findings
}

fn unmeant(program: &Crate, api: &Crate, path: &[&str]) -> Diagnostic {
    // The line is that of the first link, which is the one to cut.
    let first = path.get(1).copied().unwrap_or(&api.name);
    let workloads: Vec<_> = program.workloads.iter().map(|workload| format!("`{workload}`")).collect();
    let text = format!(
        "{} may call nothing of {}, and its crate links it: {}",
        workloads.join(", "),
        api.packages.join(", "),
        path.join(" → "),
    );
    let help = "remove the dependency; or state the edge, if the call is meant";
    Diagnostic::error(UNMEANT, program.line_of(first), text, help)
}

/// Rights to call whose contract the program does not link: perhaps nobody needs them any more.
fn unused(
    program: &Crate,
    workspace: &Workspace,
    graph: &Graph<'_>,
    linked: &BTreeMap<&str, Vec<&str>>,
) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for workload in &program.workloads {
        for package in graph.called.get(workload.as_str()).into_iter().flatten() {
            let mut apis =
                workspace.crates.values().filter(|api| api.packages.iter().any(|it| it == package)).peekable();
            let has_api = apis.peek().is_some();
            if has_api && !apis.any(|api| linked.contains_key(api.name.as_str())) {
                let text = format!("`{workload}` may call {package}, and its crate does not link the contract");
                let help = "remove the right, if nobody uses it; rights that nobody needs are used by attackers";
                let finding = Diagnostic::error(UNUSED, program.line_of(""), text, help);
                found.push(Diagnostic { severity: Severity::Warning, ..finding });
            }
        }
    }
    found
}

/// Which packages workloads serve and may call.
struct Graph<'a> {
    served: BTreeMap<&'a str, BTreeSet<&'a str>>,
    called: BTreeMap<&'a str, BTreeSet<&'a str>>,
}

impl<'a> Graph<'a> {
    fn of(intent: &'a Intent) -> Self {
        let mut graph = Self { served: BTreeMap::new(), called: BTreeMap::new() };
        for method in &intent.methods {
            graph.served.entry(&method.workload).or_default().insert(package(&method.path));
        }
        for edge in &intent.edges {
            graph.called.entry(&edge.caller).or_default().insert(package(&edge.method));
        }
        graph
    }

    fn meant(&self, workload: &str) -> impl Iterator<Item = &'a str> {
        [&self.served, &self.called].into_iter().flat_map(move |map| map.get(workload)).flatten().copied()
    }
}

/// The protobuf package of a gRPC path.
fn package(path: &str) -> &str {
    let service = path.trim_start_matches('/').split('/').next().unwrap_or_default();
    service.rsplit_once('.').map_or("", |(package, _)| package)
}

struct Workspace {
    crates: BTreeMap<String, Crate>,
}

/// A package of the workspace.
struct Crate {
    name: String,
    /// The manifest as findings name it.
    shown: String,
    manifest: String,
    packages: Vec<String>,
    workloads: Vec<String>,
    forwards: bool,
    links: BTreeSet<String>,
}

impl Workspace {
    fn read(metadata: &str, findings: &mut Vec<Diagnostic>) -> Result<Self, Diagnostic> {
        let root = sekat_yaml::documents(METADATA, metadata).next().unwrap_or_else(|| {
            let span = Span { file: METADATA.to_owned(), ..Span::default() };
            let help = "pass what `cargo metadata --no-deps --format-version 1` prints";
            Err(Diagnostic::error(UNREADABLE, span, "there is no metadata", help))
        })?;
        let folder = root.required(METADATA, "workspace_root")?.text(METADATA)?;
        let mut crates = BTreeMap::new();
        for package in root.required(METADATA, "packages")?.list(METADATA)? {
            let read = Crate::read(package, folder, findings)?;
            crates.insert(read.name.clone(), read);
        }
        Ok(Self { crates })
    }

    /// The crates that a program links, each with one shortest path to it.
    fn linked<'a>(&'a self, program: &'a Crate) -> BTreeMap<&'a str, Vec<&'a str>> {
        let mut paths: BTreeMap<&str, Vec<&str>> =
            BTreeMap::from([(program.name.as_str(), vec![program.name.as_str()])]);
        let mut level = vec![program];
        while !level.is_empty() {
            let mut next = Vec::new();
            for from in level {
                let path = paths.get(from.name.as_str()).cloned().unwrap_or_default();
                for to in from.links.iter().filter_map(|link| self.crates.get(link)) {
                    if !paths.contains_key(to.name.as_str()) {
                        paths.insert(&to.name, [path.as_slice(), &[to.name.as_str()]].concat());
                        next.push(to);
                    }
                }
            }
            level = next;
        }
        paths
    }

    fn report_unknown(&self, intent: &Intent, graph: &Graph<'_>, findings: &mut Vec<Diagnostic>) {
        let packages: BTreeSet<&str> = graph.served.values().flatten().copied().collect();
        for known in self.crates.values() {
            let workloads = known.workloads.iter().filter(|workload| intent.workload(workload).is_none());
            let unknown = workloads.map(|it| ("workload", it, did_you_mean(it, names(&intent.workloads))));
            let apis = known.packages.iter().filter(|package| !packages.contains(package.as_str()));
            let unknown = unknown.chain(apis.map(|it| ("package", it, did_you_mean(it, packages.iter().copied()))));
            for (what, name, near) in unknown {
                let text = format!("`{}` says that it has the {what} `{name}`, which does not exist{near}", known.name);
                let help = "correct `package.metadata.sekat` in its manifest";
                findings.push(Diagnostic::error(UNREADABLE, known.line_of(name), text, help));
            }
        }
    }
}

impl Crate {
    fn read(package: &Node, folder: &str, findings: &mut Vec<Diagnostic>) -> Result<Self, Diagnostic> {
        let text = |key: &str| Ok(package.required(METADATA, key)?.text(METADATA)?.to_owned());
        let (name, manifest): (String, String) = (text("name")?, text("manifest_path")?);
        let shown = Path::new(&manifest).strip_prefix(folder).map_or(manifest.clone(), |it| it.display().to_string());
        let mut links = BTreeSet::new();
        for dependency in package.required(METADATA, "dependencies")?.list(METADATA)? {
            // No kind is the kind of what is in the program; no path is a crate of somebody else.
            if dependency.get("kind").is_none() && dependency.get("path").is_some() {
                links.insert(dependency.required(METADATA, "name")?.text(METADATA)?.to_owned());
            }
        }
        let mut known =
            Self { name, shown, manifest, packages: Vec::new(), workloads: Vec::new(), forwards: false, links };
        if let Some(stated) = package.at(&["metadata", "sekat"])
            && let Err(message) = known.state(stated)
        {
            let help = "write `api` and `workloads` as lists of names, `forwards` as true or false";
            findings.push(Diagnostic::error(UNREADABLE, known.line_of("package.metadata.sekat"), message, help));
        }
        Ok(known)
    }

    /// Takes over what the manifest says; the error is a sentence.
    fn state(&mut self, stated: &Node) -> Result<(), String> {
        let malformed = |key: &str| format!("`package.metadata.sekat.{key}` is malformed");
        for (key, value) in stated.map(METADATA).map_err(|_| "`package.metadata.sekat` is no table".to_owned())? {
            let texts = || -> Result<Vec<String>, String> {
                let items = value.list(METADATA).map_err(|_| malformed(&key.name))?;
                let texts = items.iter().map(|item| item.text(METADATA).map(str::to_owned));
                texts.collect::<Result<_, _>>().map_err(|_| malformed(&key.name))
            };
            match key.name.as_str() {
                "api" => self.packages = texts()?,
                "workloads" => self.workloads = texts()?,
                "forwards" => self.forwards = value.bool(METADATA).map_err(|_| malformed(&key.name))?,
                other => return Err(format!("`package.metadata.sekat.{other}` means nothing")),
            }
        }
        Ok(())
    }

    /// The first line of the manifest that holds `word` as a word of its own; without one, the manifest.
    fn line_of(&self, word: &str) -> Span {
        let text = std::fs::read_to_string(&self.manifest).unwrap_or_default();
        let in_name = |letter: char| letter.is_alphanumeric() || matches!(letter, '-' | '_');
        let holds = |line: &str| {
            line.match_indices(word).any(|(at, _)| {
                let before = line.get(..at).and_then(|it| it.chars().next_back());
                let after = line.get(at + word.len()..).and_then(|it| it.chars().next());
                !before.is_some_and(in_name) && !after.is_some_and(in_name)
            })
        };
        let line = text.lines().position(holds).filter(|_| !word.is_empty());
        let line = line.and_then(|line| u32::try_from(line + 1).ok()).unwrap_or(0);
        Span { file: self.shown.clone(), line, column: u32::from(line > 0) }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::intent_lints::fixture::planted;

    /// A workspace of four crates, as cargo would describe it; `shop` calls `bank`, and `showcase` calls nobody there.
    const CRATES: [(&str, &str, &str); 5] = [
        ("shop", r#"{"workloads": ["shop"]}"#, r#"["api-bank", "api-catalog", "helpers"]"#),
        ("showcase", r#"{"workloads": ["showcase"]}"#, r#"["api-catalog", "helpers"]"#),
        ("helpers", "null", "[]"),
        ("api-bank", r#"{"api": ["bank.v1"]}"#, "[]"),
        ("api-catalog", r#"{"api": ["catalog.v1"]}"#, "[]"),
    ];

    fn metadata(root: &Path, crates: &[(&str, &str, &str)]) -> String {
        let packages = crates.iter().map(|(name, sekat, links)| {
            let manifest = root.join(name).join("Cargo.toml");
            let names: Vec<_> = links.split('"').skip(1).step_by(2).collect();
            let lines: String = names.iter().map(|link| format!("{link}.workspace = true\n")).collect();
            fs::create_dir_all(root.join(name)).expect("created");
            fs::write(&manifest, format!("[package]\nname = \"{name}\"\n\n[dependencies]\n{lines}")).expect("written");
            let dependencies: Vec<_> = names
                .iter()
                .map(|link| format!(r#"{{"name": "{link}", "kind": null, "path": "{}"}}"#, root.join(link).display()))
                .collect();
            format!(
                r#"{{"name": "{name}", "manifest_path": "{}", "metadata": {{"sekat": {sekat}}}, "dependencies": [{}]}}"#,
                manifest.display(),
                dependencies.join(", ")
            )
        });
        let packages: Vec<_> = packages.collect();
        format!(r#"{{"workspace_root": "{}", "packages": [{}]}}"#, root.display(), packages.join(", "))
    }

    #[track_caller]
    fn findings(name: &str, sekat: &str, links: &str) -> Vec<(&'static str, String, u32, String)> {
        let root = tempfile::tempdir().expect("a temporary folder");
        let mut crates = CRATES.to_vec();
        crates.iter_mut().filter(|it| it.0 == name).for_each(|it| *it = (name, sekat, links));
        let (intent, wrong) = planted(&[]).read();
        assert_eq!(wrong, []);
        let findings = check(&intent, &metadata(root.path(), &crates));
        findings.into_iter().map(|it| (it.code, it.span.file, it.span.line, it.message)).collect()
    }

    #[test]
    fn links_that_are_meant_are_no_findings() {
        assert_eq!(findings("", "", ""), []);
    }

    #[test]
    fn a_payment_contract_in_the_showcase_is_found_also_behind_another_crate() {
        let own = r#"{"workloads": ["showcase"]}"#;
        let found = findings("showcase", own, r#"["helpers", "api-catalog", "api-bank"]"#);
        let [(code, file, line, message)] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!((*code, file.as_str(), *line), (UNMEANT, "showcase/Cargo.toml", 7));
        assert!(
            message.ends_with("showcase → api-bank") && message.contains("may call nothing of bank.v1"),
            "{message}"
        );
        let found = findings("helpers", "null", r#"["api-bank"]"#);
        let [(code, file, line, message)] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!((*code, file.as_str(), *line), (UNMEANT, "showcase/Cargo.toml", 6));
        assert!(message.ends_with("showcase → helpers → api-bank"), "{message}");
    }

    #[test]
    fn a_right_without_a_link_is_worth_a_word_unless_calls_are_forwarded() {
        let found = findings("shop", r#"{"workloads": ["shop"]}"#, r#"["api-catalog"]"#);
        let [(code, file, _, message)] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!((*code, file.as_str()), (UNUSED, "shop/Cargo.toml"));
        assert!(message.contains("`shop` may call bank.v1"), "{message}");
        assert_eq!(findings("shop", r#"{"workloads": ["shop"], "forwards": true}"#, "[]"), []);
    }

    #[test]
    fn what_a_crate_says_of_itself_is_checked() {
        for (sekat, part) in [
            (r#"{"workloads": ["shopp"]}"#, "workload `shopp`, which does not exist, did you mean `shop`?"),
            (
                r#"{"workloads": ["shop"], "api": ["bank.v2"]}"#,
                "package `bank.v2`, which does not exist, did you mean `bank.v1`?",
            ),
            (r#"{"workload": ["shop"]}"#, "`package.metadata.sekat.workload` means nothing"),
            (r#"{"workloads": "shop"}"#, "malformed"),
            (r#"{"forwards": 1}"#, "malformed"),
            ("[]", "no table"),
        ] {
            let found = findings("shop", sekat, r#"["api-bank", "api-catalog"]"#);
            assert!(found.iter().any(|it| it.0 == UNREADABLE && it.3.contains(part)), "{sekat}: {found:?}");
        }
    }

    #[test]
    fn metadata_that_is_none_is_said_to_be_none() {
        for (text, code) in
            [("", UNREADABLE), ("{", "SK0200"), ("{}", "SK0201"), (r#"{"workspace_root": 1}"#, "SK0201")]
        {
            let found = check(&Intent::default(), text);
            assert_eq!(found.iter().map(|it| it.code).collect::<Vec<_>>(), [code], "{text}");
        }
    }
}
