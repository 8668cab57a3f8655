//! What was expected, what was seen, and where the two differ.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::Ipv4Addr;

use sekat_policy::intent::Protocol;
use sekat_policy::{Diagnostic, Severity, Span};
use serde_json::json;

/// Packets went where the policies say they must not, or did not get where they may.
pub const MISMATCH: &str = "SK0710";
/// What was seen does not say whether packets pass.
pub const INCONCLUSIVE: &str = "SK0711";

/// Addresses that policies name were too many to try.
pub const UNTRIED: &str = "SK0712";

/// One question: may this source open a connection to that port.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Cell {
    /// Who asks: `namespace/name[Kind]`, `node`, or an address outside of the cluster.
    pub source: String,
    /// Who is asked, named like the source.
    pub destination: String,
    /// The transport.
    pub protocol: Protocol,
    /// The destination's port.
    pub port: u16,
}

/// What packets did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Observed {
    /// The nonce came back from the right address and port; for SCTP, the packet arrived.
    Reached,
    /// A policy's drop was counted, and nothing arrived.
    Denied,
    /// Neither, or both.
    Inconclusive,
}

/// Packets of one cell, as nftables counted them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// That the router let pass.
    pub accepted: u64,
    /// That the source's policies stopped.
    pub not_let_out: u64,
    /// That the destination's policies stopped.
    pub not_let_in: u64,
    /// That arrived at the destination.
    pub arrived: u64,
}

/// One cell's question and answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The question.
    pub cell: Cell,
    /// Whether the policies allow it, by this crate's own reading of them.
    pub expected: bool,
    /// What packets did.
    pub observed: Observed,
    /// The evidence.
    pub tally: Tally,
    /// Where the destination is stated, or the source if that is outside of the cluster.
    pub span: Span,
}

/// All cells of a world.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// One row a cell, in the order of cells.
    pub rows: Vec<Row>,
    /// Addresses outside of the cluster that policies name and that were too many to be tried.
    pub untried: Vec<Ipv4Addr>,
}

/// A cell about which a table of somebody else and the packets disagree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The cell.
    pub cell: Cell,
    /// What the table says; `None` if it leaves the cell out.
    pub table: Option<bool>,
    /// What packets did; `None` if the cell was not tried.
    pub observed: Option<Observed>,
}

impl Row {
    /// Whether packets did what the policies say.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.observed.is(self.expected)
    }
}

impl Observed {
    const fn is(self, allowed: bool) -> bool {
        matches!((self, allowed), (Self::Reached, true) | (Self::Denied, false))
    }

    /// As tables say it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Reached => "reached",
            Self::Denied => "denied",
            Self::Inconclusive => "inconclusive",
        }
    }
}

impl Report {
    /// A finding for every row that does not hold, and a warning if something was left out.
    #[must_use]
    pub fn findings(&self) -> Vec<Diagnostic> {
        let mut found: Vec<_> = self.rows.iter().filter(|row| !row.holds()).map(Row::finding).collect();
        if let (Some(first), Some(last)) = (self.untried.first(), self.untried.last()) {
            let number = self.untried.len();
            found.push(Diagnostic {
                code: UNTRIED,
                severity: Severity::Warning,
                span: Span::default(),
                message: format!("{number} addresses from {first} to {last}, which policies name, were not tried"),
                help: "try the policies that name them in a run of their own".to_owned(),
            });
        }
        found
    }

    /// The cells in which another table differs from what packets did, those that only one of the two has among them.
    #[must_use]
    pub fn compare(&self, table: &BTreeMap<Cell, bool>) -> Vec<Difference> {
        let observed: BTreeMap<&Cell, Observed> = self.rows.iter().map(|row| (&row.cell, row.observed)).collect();
        let cells: BTreeSet<&Cell> = table.keys().chain(observed.keys().copied()).collect();
        let differs = |cell: &Cell| {
            let (table, observed) = (table.get(cell).copied(), observed.get(cell).copied());
            let agree = matches!((table, observed), (Some(allowed), Some(observed)) if observed.is(allowed));
            (!agree).then(|| Difference { cell: cell.clone(), table, observed })
        };
        cells.into_iter().filter_map(differs).collect()
    }

    /// One JSON object a line.
    ///
    /// # Errors
    /// If `out` fails.
    pub fn render_jsonl(&self, out: &mut impl io::Write) -> io::Result<()> {
        for Row { cell, expected, observed, tally, .. } in &self.rows {
            let row = json!({
                "src": cell.source,
                "dst": cell.destination,
                "protocol": cell.protocol.name(),
                "port": cell.port,
                "expected": if *expected { "reached" } else { "denied" },
                "observed": observed.name(),
                "counters": {
                    "accepted": tally.accepted,
                    "not_let_out": tally.not_let_out,
                    "not_let_in": tally.not_let_in,
                    "arrived": tally.arrived,
                },
            });
            writeln!(out, "{row}")?;
        }
        Ok(())
    }

    /// A table for people: rows that do not hold first and marked, SCTP apart because nobody answers it.
    ///
    /// # Errors
    /// If `out` fails.
    pub fn render_table(&self, out: &mut impl io::Write) -> io::Result<()> {
        let name = |select: fn(&Cell) -> &str| {
            self.rows.iter().map(|row| select(&row.cell).len()).max().unwrap_or_default().max("DESTINATION".len())
        };
        let (source, destination) = (name(|cell| &cell.source), name(|cell| &cell.destination));
        let parts = [
            ("TCP and UDP: a nonce sent and echoed", false),
            ("SCTP: hand-built INIT packets, counted where they arrive", true),
        ];
        for (title, sctp) in parts {
            let mut rows: Vec<&Row> =
                self.rows.iter().filter(|row| (row.cell.protocol == Protocol::Sctp) == sctp).collect();
            rows.sort_by_key(|row| row.holds());
            writeln!(out, "{title}")?;
            writeln!(out, "  {:source$}  {:destination$}  PORT        EXPECTED  OBSERVED", "SOURCE", "DESTINATION")?;
            for row in rows {
                let mark = if row.holds() { ' ' } else { '!' };
                let Cell { source: from, destination: to, protocol, port } = &row.cell;
                let port = format!("{protocol} {port}");
                let expected = if row.expected { "reached" } else { "denied" };
                let observed = row.observed.name();
                writeln!(out, "{mark} {from:source$}  {to:destination$}  {port:10}  {expected:8}  {observed}")?;
            }
        }
        let held = self.rows.iter().filter(|row| row.holds()).count();
        writeln!(out, "{held} of {} cells are as the policies say", self.rows.len())
    }
}

impl Row {
    fn finding(&self) -> Diagnostic {
        let Cell { source, destination, protocol, port } = &self.cell;
        let Tally { accepted, not_let_out, not_let_in, arrived } = self.tally;
        let counted = format!(
            "counted: {accepted} accepted, {not_let_out} not let out, {not_let_in} not let in, {arrived} arrived"
        );
        let cell = format!("{source} -> {destination} {protocol} {port}");
        let (code, message) = match (self.observed, self.expected) {
            (Observed::Reached, _) => (MISMATCH, format!("{cell}: packets pass, though no policy allows it")),
            (Observed::Denied, _) => (MISMATCH, format!("{cell}: packets are dropped, though policies allow it")),
            (Observed::Inconclusive, _) => (INCONCLUSIVE, format!("{cell}: neither an answer nor a drop was seen")),
        };
        Diagnostic::error(code, self.span.clone(), message, counted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(port: u16, expected: bool, observed: Observed) -> Row {
        let cell = Cell { source: "a".into(), destination: "b".into(), protocol: Protocol::Tcp, port };
        Row { cell, expected, observed, tally: Tally::default(), span: Span::default() }
    }

    #[test]
    fn only_what_was_seen_to_pass_or_to_be_dropped_holds() {
        let rows = vec![
            row(1, true, Observed::Reached),
            row(2, false, Observed::Denied),
            row(3, true, Observed::Denied),
            row(4, false, Observed::Reached),
            row(5, false, Observed::Inconclusive),
            row(6, true, Observed::Inconclusive),
        ];
        let codes: Vec<_> = Report { rows, untried: Vec::new() }.findings().into_iter().map(|it| it.code).collect();
        assert_eq!(codes, [MISMATCH, MISMATCH, INCONCLUSIVE, INCONCLUSIVE]);
    }

    #[test]
    fn what_was_left_out_is_said() {
        let mut report = Report { rows: vec![row(1, true, Observed::Reached)], ..Report::default() };
        assert!(report.findings().is_empty());
        report.untried.push(Ipv4Addr::new(198, 51, 100, 1));
        let [finding] = report.findings().try_into().unwrap();
        assert_eq!((finding.code, finding.severity), (UNTRIED, Severity::Warning));
    }

    #[test]
    fn a_cell_that_only_one_side_has_is_a_difference() {
        let report = Report {
            rows: vec![row(1, true, Observed::Reached), row(2, true, Observed::Reached)],
            ..Report::default()
        };
        let cell = |port| row(port, true, Observed::Reached).cell;
        let table = BTreeMap::from([(cell(1), true), (cell(3), false)]);
        let ports: Vec<_> = report.compare(&table).into_iter().map(|it| (it.cell.port, it.table)).collect();
        assert_eq!(ports, [(2, None), (3, Some(false))]);
        assert!(report.compare(&BTreeMap::from([(cell(1), true), (cell(2), true)])).is_empty());
    }

    #[test]
    fn rows_are_rendered_for_programs_and_for_people() {
        let report = Report {
            rows: vec![row(1, true, Observed::Reached), row(2, false, Observed::Reached)],
            ..Report::default()
        };
        let (mut lines, mut table) = (Vec::new(), Vec::new());
        report.render_jsonl(&mut lines).unwrap();
        report.render_table(&mut table).unwrap();
        let first = serde_json::from_slice::<serde_json::Value>(lines.split(|it| *it == b'\n').next().unwrap());
        assert_eq!(first.unwrap()["observed"], "reached");
        let table = String::from_utf8(table).unwrap();
        let rows: Vec<&str> = table.lines().filter(|line| line.contains("TCP ")).collect();
        assert!(rows[1].starts_with('!') && rows[1].contains("TCP 2"), "what fails comes first: {table}");
        assert!(table.ends_with("1 of 2 cells are as the policies say\n"));
    }
}
