//! What changes between two sets of manifests: the connections that appear, and those that vanish. Workloads are the
//! same if their names are; pairs that change alike are one change.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{Result, Write};

use serde_json::json;

use crate::addresses::{Block, Range, atoms};
use crate::analysis::Analysis;
use crate::plan::Direction;
use crate::ports::{Conn, PortSet};
use crate::render::field;

/// What connects to what, in one set of manifests.
type Table = BTreeMap<String, BTreeMap<String, Conn>>;

/// How the second set of manifests stands to the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// The same is possible, and the same is certain.
    Equal,
    /// Something is allowed or possible that was not.
    Wider,
    /// Something is denied or in doubt that was not.
    Narrower,
    /// Both.
    Both,
}

/// A pair of ends between which something changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Who connects.
    pub src: String,
    /// To whom.
    pub dst: String,
    /// What was open.
    pub before: Conn,
    /// What is open.
    pub after: Conn,
    /// Whether an end is in one of the two sets only.
    pub is_new_end: bool,
}

/// All that changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diff {
    /// How the second stands to the first.
    pub relation: Relation,
    /// The pairs between which something changes, in the order of their names.
    pub changes: Vec<Change>,
    /// Workloads of the first set only.
    pub removed: Vec<String>,
    /// Workloads of the second set only.
    pub added: Vec<String>,
}

impl Change {
    /// What is possible now and was not, or is certain now and was not.
    #[must_use]
    pub fn appears(&self) -> PortSet {
        let possible = self.after.possible.without(&self.before.possible);
        possible.union(&self.after.certain.without(&self.before.certain))
    }

    /// What was possible and is not, or was certain and is not.
    #[must_use]
    pub fn vanishes(&self) -> PortSet {
        let possible = self.before.possible.without(&self.after.possible);
        possible.union(&self.before.certain.without(&self.after.certain))
    }
}

/// Compares two sets of manifests.
#[must_use]
pub fn diff(before: &Analysis, after: &Analysis) -> Diff {
    let names = |analysis: &Analysis| {
        (0..analysis.cluster().workloads.len()).map(|at| analysis.name(at)).collect::<BTreeSet<String>>()
    };
    let (old, new) = (names(before), names(after));
    let removed: Vec<String> = old.difference(&new).cloned().collect();
    let added: Vec<String> = new.difference(&old).cloned().collect();
    let one_sided: BTreeSet<&str> = removed.iter().chain(&added).map(String::as_str).collect();
    let cuts = [Direction::Ingress, Direction::Egress].map(|direction| joint(before, after, direction));
    let mut changes = Vec::new();
    let sources: BTreeSet<&String> = old.union(&new).collect();
    let empty = BTreeMap::new();
    let (outside_before, outside_after) = (outside(before, &cuts[0]), outside(after, &cuts[0]));
    let mut compare = |src: &str, old: &BTreeMap<String, Conn>, new: &BTreeMap<String, Conn>| {
        let ends: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
        for dst in ends {
            let [was, is] = [old, new].map(|table| table.get(dst).cloned().unwrap_or_default());
            if was != is {
                let is_one_sided = |name: &str| one_sided.contains(name);
                let is_new_end = is_one_sided(src) || is_one_sided(dst);
                changes.push(Change { src: src.to_owned(), dst: dst.clone(), before: was, after: is, is_new_end });
            }
        }
    };
    let (numbers_before, numbers_after) = (numbers(before), numbers(after));
    for src in sources {
        let one = |analysis: &Analysis, numbers: &BTreeMap<String, usize>| {
            numbers.get(src).map(|at| targets(analysis, *at, &cuts[1])).unwrap_or_default()
        };
        compare(src, &one(before, &numbers_before), &one(after, &numbers_after));
    }
    for src in outside_before.keys().chain(outside_after.keys()).collect::<BTreeSet<_>>() {
        let [old, new] = [&outside_before, &outside_after].map(|table| table.get(src).unwrap_or(&empty));
        compare(src, old, new);
    }
    changes.sort_by(|left, right| (&left.src, &left.dst).cmp(&(&right.src, &right.dst)));
    let is_wider = changes.iter().any(|change| !change.appears().is_empty());
    let is_narrower = changes.iter().any(|change| !change.vanishes().is_empty());
    let relation = match (is_wider, is_narrower) {
        (false, false) => Relation::Equal,
        (true, false) => Relation::Wider,
        (false, true) => Relation::Narrower,
        (true, true) => Relation::Both,
    };
    Diff { relation, changes, removed, added }
}

fn numbers(analysis: &Analysis) -> BTreeMap<String, usize> {
    (0..analysis.cluster().workloads.len()).map(|at| (analysis.name(at), at)).collect()
}

/// The ranges of addresses that rules of a direction in either set tell apart.
fn joint(before: &Analysis, after: &Analysis, direction: Direction) -> Vec<Range> {
    let cuts = before.cuts(direction).iter().chain(after.cuts(direction));
    let blocks: Vec<Block> = cuts.map(|range| Block { cidr: *range, except: Vec::new() }).collect();
    atoms(blocks.iter())
}

/// All to whom a workload connects.
fn targets(analysis: &Analysis, workload: usize, cuts: &[Range]) -> BTreeMap<String, Conn> {
    let class = analysis.class(workload);
    let mut found = BTreeMap::new();
    for (conn, classes) in analysis.edges(class) {
        let members = classes.iter().flat_map(|class| analysis.members(class)).map(|at| *at as usize);
        found.extend(members.filter(|at| *at != workload).map(|at| (analysis.name(at), conn.clone())));
    }
    for (range, conn) in analysis.at(Direction::Egress, class, cuts) {
        found.insert(range.to_string(), conn);
    }
    found
}

/// All that connects from outside: from ranges of addresses, ingress controllers and gateways.
fn outside(analysis: &Analysis, cuts: &[Range]) -> Table {
    let mut table = Table::new();
    for class in analysis.classes() {
        let mut ends: Vec<(String, Conn)> = analysis
            .at(Direction::Ingress, class, cuts)
            .into_iter()
            .map(|(range, conn)| (range.to_string(), conn))
            .collect();
        ends.extend(analysis.by_controllers(class).map(|(name, conn)| (name.to_owned(), conn)));
        for (name, conn) in ends {
            for member in analysis.members(class) {
                table.entry(name.clone()).or_default().insert(analysis.name(*member as usize), conn.clone());
            }
        }
    }
    table
}

/// A connection in a cell: what is certain, and after `UNKNOWN` what is not.
fn cell(conn: &Conn) -> String {
    let unsure = conn.unsure();
    match (conn.certain.is_empty(), unsure.is_empty()) {
        (_, true) => conn.certain.to_string(),
        (true, false) => format!("UNKNOWN {unsure}"),
        (false, false) => format!("{}; UNKNOWN {unsure}", conn.certain),
    }
}

impl Diff {
    /// For a terminal: the relation, then each change.
    ///
    /// # Errors
    /// If `out` fails.
    pub fn text(&self, out: &mut impl Write) -> Result<()> {
        writeln!(out, "{}", self.relation)?;
        for (sign, names) in [("-", &self.removed), ("+", &self.added)] {
            names.iter().try_for_each(|name| writeln!(out, "{sign} {name}"))?;
        }
        for change in &self.changes {
            let Change { src, dst, .. } = change;
            for (sign, ports) in [("-", change.vanishes()), ("+", change.appears())] {
                if !ports.is_empty() {
                    writeln!(out, "{sign} {src} → {dst}: {ports}")?;
                }
            }
        }
        Ok(())
    }

    /// `diff-type,source,destination,before,after`, where the type is `added`, `removed` or `changed`.
    ///
    /// # Errors
    /// If `out` fails.
    pub fn csv(&self, out: &mut impl Write) -> Result<()> {
        writeln!(out, "diff-type,source,destination,before,after")?;
        for change in &self.changes {
            let (before, after) = (cell(&change.before), cell(&change.after));
            let cells = [&change.src, &change.dst, &before, &after].map(|text| field(text));
            writeln!(out, "{},{}", change.kind(), cells.join(","))?;
        }
        Ok(())
    }

    /// An object with the relation, the workloads that come and go, and the changes.
    ///
    /// # Errors
    /// If `out` fails.
    pub fn json(&self, out: &mut impl Write) -> Result<()> {
        let changes: Vec<_> = self
            .changes
            .iter()
            .map(|change| {
                json!({
                    "type": change.kind(), "src": change.src, "dst": change.dst,
                    "before": cell(&change.before), "after": cell(&change.after),
                    "appears": change.appears().to_string(), "vanishes": change.vanishes().to_string(),
                })
            })
            .collect();
        let (added, removed) = (&self.added, &self.removed);
        let whole = json!({
            "relation": self.relation.to_string(), "added": added, "removed": removed, "changes": changes,
        });
        writeln!(out, "{whole:#}")
    }
}

impl Change {
    fn kind(&self) -> &'static str {
        if self.before.possible.is_empty() {
            "added"
        } else if self.after.possible.is_empty() {
            "removed"
        } else {
            "changed"
        }
    }
}

impl fmt::Display for Relation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Equal => "equal",
            Self::Wider => "wider",
            Self::Narrower => "narrower",
            Self::Both => "wider and narrower",
        })
    }
}
