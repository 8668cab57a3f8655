//! Who may link whom. The graph of normal dependencies inside the workspace is a reviewed golden file, and walls
//! between groups of crates hold whatever the golden file says.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::Context;

use crate::workspace::{Package, Workspace};

/// One `crate<TAB>dependency` a line, sorted.
const GOLDEN: &str = "tests/golden/crate-graph.tsv";

/// What a crate is for. Patterns end in `*` or are exact; each crate of the workspace matches exactly one group.
const GROUPS: [(&str, &[&str]); 4] = [
    ("model", &["sekat-policy"]),
    ("runtime", RUNTIME),
    ("proof", PROOF),
    // Programs and test code that sit on top, where runtime and proof may meet.
    ("top", &["sekat", "sekat-testkit", "acceptance", "bench", "xtask"]),
];

const RUNTIME: &[&str] = &[
    "sekat-codec",
    "sekat-identity",
    "sekat-mesh",
    "sekat-store",
    "sekat-money",
    "sekat-service",
    "sekat-api-*",
    "sekat-showcase",
    "sekat-catalog",
    "sekat-account",
    "sekat-order",
    "sekat-payment",
    "sekat-merchant",
    "sekat-edge",
    "sekat-psp-connector",
    "sekat-psp-simulator",
];

const PROOF: &[&str] = &[
    "sekat-yaml",
    "sekat-diagnostics",
    "sekat-contract",
    "sekat-compile",
    "sekat-reach",
    "sekat-packets",
    "sekat-audit",
    "sekat-evidence",
];

/// Crates on one side that must not link crates on the other, not even through third crates.
struct Wall {
    from: &'static [&'static str],
    never: &'static [&'static str],
    why: &'static str,
}

const WALLS: [Wall; 7] = [
    Wall { from: &["sekat-policy"], never: &["*"], why: "the model knows nothing" },
    Wall { from: RUNTIME, never: PROOF, why: "what runs shares no code with what checks it" },
    Wall { from: PROOF, never: RUNTIME, why: "a checker shares no code with what it checks" },
    Wall { from: RUNTIME, never: &["sekat-testkit"], why: "test code does not ship" },
    Wall { from: &["sekat-edge"], never: &["sekat-api-*"], why: "an edge forwards frames that it cannot name" },
    Wall {
        from: &["sekat-showcase"],
        never: &[
            "sekat-api-catalog",
            "sekat-api-account",
            "sekat-api-order",
            "sekat-api-payment",
            "sekat-api-connector",
            "sekat-api-merchant",
        ],
        why: "the showcase domain sees the product feed and nothing else of commerce",
    },
    Wall {
        from: &["sekat-psp-simulator"],
        never: &["sekat-*"],
        why: "the bank agrees with the standard, not with our code",
    },
];

type Edges = BTreeSet<(String, String)>;

/// Everything about the graph that does not hold.
pub(crate) fn findings(workspace: &Workspace) -> anyhow::Result<Vec<String>> {
    let edges = edges(&workspace.packages);
    let path = workspace.root.join(GOLDEN);
    let golden = if path.exists() { fs::read_to_string(&path)? } else { String::new() };
    let mut findings = changes(&golden, &edges);
    findings.extend(workspace.packages.iter().filter_map(|package| ungrouped(&package.name)));
    findings.extend(breaches(&edges));
    Ok(findings)
}

/// Writes the graph as it is, for review.
pub(crate) fn bless(workspace: &Workspace) -> anyhow::Result<()> {
    let path = workspace.root.join(GOLDEN);
    fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
    fs::write(&path, render(&edges(&workspace.packages))).with_context(|| format!("cannot write {}", path.display()))
}

fn edges(packages: &[Package]) -> Edges {
    let ours: BTreeSet<&str> = packages.iter().map(|package| package.name.as_str()).collect();
    let mut edges = Edges::new();
    for package in packages {
        let normal = package.dependencies.iter().filter(|it| it.kind.is_none() && it.path.is_some());
        for dependency in normal.filter(|it| ours.contains(it.name.as_str())) {
            edges.insert((package.name.clone(), dependency.name.clone()));
        }
    }
    edges
}

fn render(edges: &Edges) -> String {
    edges.iter().map(|(from, to)| format!("{from}\t{to}\n")).collect()
}

fn changes(golden: &str, edges: &Edges) -> Vec<String> {
    let rendered = render(edges);
    let before: BTreeSet<&str> = golden.lines().collect();
    let now: BTreeSet<&str> = rendered.lines().collect();
    let added = now.difference(&before).map(|line| format!("{GOLDEN}: + {line}"));
    let mut changes: Vec<String> =
        added.chain(before.difference(&now).map(|line| format!("{GOLDEN}: - {line}"))).collect();
    if let Some(last) = changes.last_mut() {
        last.push_str("\n  help: if each line is meant, run `cargo xtask tidy --bless` and review the file");
    }
    changes
}

fn ungrouped(name: &str) -> Option<String> {
    let groups = GROUPS.iter().filter(|(_, patterns)| matches(patterns, name)).count();
    (groups != 1)
        .then(|| format!("xtask/src/crate_graph.rs: {name} is in {groups} groups: say what it is for in GROUPS"))
}

fn breaches(edges: &Edges) -> Vec<String> {
    let mut links: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (from, to) in edges {
        links.entry(from).or_default().push(to);
    }
    let mut found = Vec::new();
    for Wall { from, never, why } in &WALLS {
        for start in links.keys().filter(|name| matches(from, name)) {
            for path in paths(&links, start) {
                if path.last().is_some_and(|end| matches(never, end)) {
                    found.push(format!("crate graph: {}: {why}", path.join(" -> ")));
                }
            }
        }
    }
    found
}

/// One shortest path from `start` to each crate that it links.
fn paths<'a>(links: &BTreeMap<&'a str, Vec<&'a str>>, start: &'a str) -> Vec<Vec<&'a str>> {
    let mut seen = BTreeSet::from([start]);
    let mut level = vec![vec![start]];
    let mut all = Vec::new();
    while !level.is_empty() {
        let mut next = Vec::new();
        for path in level {
            let ends = path.last().and_then(|end| links.get(end)).into_iter().flatten();
            next.extend(ends.filter(|end| seen.insert(end)).map(|end| [path.as_slice(), &[*end]].concat()));
        }
        all.extend(next.iter().cloned());
        level = next;
    }
    all
}

fn matches(patterns: &[&str], name: &str) -> bool {
    patterns.iter().any(|pattern| match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => *pattern == name,
    })
}

#[cfg(test)]
mod tests {
    use super::{Edges, WALLS, breaches, changes, render, ungrouped};

    fn edges(pairs: &[(&str, &str)]) -> Edges {
        pairs.iter().map(|(from, to)| ((*from).to_owned(), (*to).to_owned())).collect()
    }

    #[test]
    fn the_same_graph_has_no_changes_and_another_names_each() {
        let graph = edges(&[("sekat-mesh", "sekat-policy"), ("sekat-order", "sekat-mesh")]);
        assert!(changes(&render(&graph), &graph).is_empty());
        let found = changes("sekat-mesh\tsekat-policy\nsekat-store\tsekat-policy\n", &graph);
        assert_eq!(found.len(), 2);
        assert!(found[0].contains("+ sekat-order\tsekat-mesh") && found[1].contains("- sekat-store\tsekat-policy"));
        assert!(found[1].contains("--bless"), "says how to update");
    }

    #[test]
    fn what_the_design_links_is_behind_no_wall() {
        let graph = [
            ("sekat-showcase", "sekat-api-feed"),
            ("sekat-showcase", "sekat-mesh"),
            ("sekat-mesh", "sekat-policy"),
            ("sekat-edge", "sekat-mesh"),
            ("sekat-contract", "sekat-policy"),
            ("sekat", "sekat-contract"),
            ("sekat", "sekat-api-payment"),
        ];
        assert_eq!(breaches(&edges(&graph)), Vec::<String>::new());
    }

    #[test]
    fn each_wall_stops_a_link_through_a_third_crate() {
        for wall in &WALLS {
            let (from, never) = (wall.from[0], wall.never[0].replace('*', "x"));
            let found = breaches(&edges(&[(from, "third"), ("third", &never)]));
            assert!(
                found.iter().any(|it| it.ends_with(wall.why) && it.contains(&format!("{from} -> third -> {never}"))),
                "{found:?}"
            );
        }
    }

    #[test]
    fn a_crate_that_nobody_has_placed_is_found() {
        assert!(ungrouped("sekat-order").is_none());
        assert!(ungrouped("sekat-novelty").is_some());
    }
}
