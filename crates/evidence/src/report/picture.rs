//! The picture: two territories with their services, drawn as SVG, and what flows between them.

use std::collections::BTreeMap;

use super::escape;
use super::text::{self, Both};
use crate::picture::{Flow, Node, NodeKind, Picture};

/// As wide as the page; more domains than fit make it wider, and the page lets the reader move it.
const WIDTH: usize = 720;
/// Between a box and the border of its domain.
const MARGIN: usize = 12;
const BOX: (usize, usize) = (190, 40);
const ROW: usize = 62;
const TOP: usize = 56;
const GAP: usize = 40;
/// From one barred line to the next, with the number between them.
const BARRED: usize = 34;

/// The drawing. Forbidden attempts are drawn where they cross from one domain into another, one line a pair of domains.
pub(super) fn svg(picture: &Picture) -> String {
    let domains = picture.domains.len().max(1);
    let gaps = (domains - 1) * GAP;
    let column = (WIDTH.saturating_sub(gaps) / domains).max(BOX.0 + 2 * MARGIN);
    let width = domains * column + gaps;
    let mut at: BTreeMap<&str, (usize, usize, usize)> = BTreeMap::new();
    let mut rows = 0;
    let mut body = String::new();
    for (index, domain) in picture.domains.iter().enumerate() {
        let x = index * (column + GAP);
        let nodes: Vec<_> = picture.nodes.iter().filter(|node| node.domain == domain.name).collect();
        for (row, node) in nodes.iter().enumerate() {
            at.insert(&node.name, (index, x + (column - BOX.0) / 2, TOP + row * ROW));
        }
        rows = rows.max(nodes.len());
    }
    let mut barred: BTreeMap<(usize, usize), u64> = BTreeMap::new();
    for flow in picture.flows.iter().filter(|flow| flow.forbidden) {
        if let (Some(from), Some(to)) = (at.get(flow.from.as_str()), at.get(flow.to.as_str()))
            && from.0 != to.0
        {
            *barred.entry((from.0, to.0)).or_default() += flow.seen;
        }
    }
    let height = TOP + (rows * ROW).max(barred.len() * BARRED) + 24;
    for (index, domain) in picture.domains.iter().enumerate() {
        let x = index * (column + GAP);
        let may = if domain.may_hold.is_empty() {
            said(text::PUBLIC)
        } else {
            format!("<tspan lang=\"en\" class=\"keep\">{}</tspan>", escape(&domain.may_hold.join(", ")))
        };
        body.push_str(&format!(
            r#"<rect class="land" x="{x}" y="1" width="{column}" height="{}" rx="14"/><text class="name" x="{}" y="24">{}</text><text class="may" x="{}" y="42">{}</text>"#,
            height - 2,
            x + column / 2,
            escape(&domain.name),
            x + column / 2,
            may,
        ));
    }
    for flow in picture.flows.iter().filter(|flow| !flow.forbidden) {
        let (Some(from), Some(to)) = (at.get(flow.from.as_str()), at.get(flow.to.as_str())) else { continue };
        body.push_str(&line(*from, *to, flow));
    }
    for node in &picture.nodes {
        if let Some((_, x, y)) = at.get(node.name.as_str()) {
            body.push_str(&boxed(node, *x, *y));
        }
    }
    for (number, ((from, to), count)) in barred.into_iter().enumerate() {
        body.push_str(&bar(from, to, count, column, height - 26 - number * BARRED));
    }
    // A line is drawn half on either side of where it is: without a unit more, the border's half would be cut off.
    let width = width + 2;
    format!(r#"<svg viewBox="-1 0 {width} {height}" role="img" aria-labelledby="picture">{body}</svg>"#)
}

/// Both languages within a text of the drawing.
fn said(both: Both) -> String {
    format!("<tspan lang=\"id\">{}</tspan><tspan lang=\"en\">{}</tspan>", escape(both.id), escape(both.en))
}

/// A workload: its name, and the classes that it holds below.
fn boxed(node: &Node, x: usize, y: usize) -> String {
    let kind = if node.kind == NodeKind::Edge { "node edge" } else { "node" };
    let (width, height) = BOX;
    let middle = x + width / 2;
    let classes = if node.classes.is_empty() {
        String::new()
    } else {
        let names = escape(&node.classes.join(", "));
        format!(r#"<text class="may keep" lang="en" x="{middle}" y="{}">{names}</text>"#, y + 33)
    };
    let line = y + if node.classes.is_empty() { 25 } else { 18 };
    format!(
        r#"<g><rect class="{kind}" x="{x}" y="{y}" width="{width}" height="{height}" rx="9"/><text x="{middle}" y="{line}">{}</text>{classes}</g>"#,
        escape(&node.name),
    )
}

/// Attempts from one domain on another, barred in the gap beside the one that is further left.
fn bar(from: usize, to: usize, count: u64, column: usize, y: usize) -> String {
    let border = from.min(to) * (column + GAP) + column;
    let (left, right, middle) = (border - 18, from.max(to) * (column + GAP) + 18, border + GAP / 2);
    let (start, end, way) = if from < to { (left, right, '→') } else { (right, left, '←') };
    format!(
        r#"<g class="barred"><path d="M{start} {y}H{end}"/><path d="M{middle} {}v14"/><text x="{middle}" y="{}">{count} {way}</text></g>"#,
        y - 7,
        y - 10,
    )
}

/// A relation: a curve from the side that is nearer, thicker where classified data flows.
fn line(from: (usize, usize, usize), to: (usize, usize, usize), flow: &Flow) -> String {
    let (start, end) = match from.0.cmp(&to.0) {
        std::cmp::Ordering::Less => (from.1 + BOX.0, to.1),
        std::cmp::Ordering::Greater => (from.1, to.1 + BOX.0),
        std::cmp::Ordering::Equal => (from.1 + BOX.0, to.1 + BOX.0),
    };
    let (y1, y2) = (from.2 + BOX.1 / 2, to.2 + BOX.1 / 2);
    let bend = if from.0 == to.0 { start + 16 + y1.abs_diff(y2) / 8 } else { usize::midpoint(start, end) };
    let class = if flow.classes.is_empty() { "flow public" } else { "flow" };
    format!(
        r#"<path class="{class}" d="M{start} {y1}C{bend} {y1} {bend} {y2} {end} {y2}"><title>{} → {}: {} ({})</title></path>"#,
        escape(&flow.from),
        escape(&flow.to),
        flow.seen,
        escape(&flow.classes.join(", ")),
    )
}
