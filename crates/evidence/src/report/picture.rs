//! The picture: two territories with their services, drawn as SVG, and what flows between them.

use std::collections::BTreeMap;

use super::escape;
use crate::picture::{Flow, NodeKind, Picture};

const WIDTH: usize = 720;
const BOX: (usize, usize) = (190, 40);
const ROW: usize = 62;
const TOP: usize = 56;
const GAP: usize = 40;

/// The drawing. Forbidden attempts are drawn where they cross from one domain into another, one line a pair of domains.
pub(super) fn svg(picture: &Picture) -> String {
    let column = (WIDTH - GAP) / picture.domains.len().max(1);
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
    let height = TOP + rows * ROW + 24;
    for (index, domain) in picture.domains.iter().enumerate() {
        let x = index * (column + GAP);
        let may = if domain.may_hold.is_empty() { "publik / public".to_owned() } else { domain.may_hold.join(", ") };
        body.push_str(&format!(
            r#"<rect class="land" x="{x}" y="1" width="{column}" height="{}" rx="14"/><text class="name" x="{}" y="24">{}</text><text class="may" x="{}" y="42">{}</text>"#,
            height - 2,
            x + column / 2,
            escape(&domain.name),
            x + column / 2,
            escape(&may),
        ));
    }
    let mut barred: BTreeMap<(usize, usize), u64> = BTreeMap::new();
    for flow in &picture.flows {
        let (Some(from), Some(to)) = (at.get(flow.from.as_str()), at.get(flow.to.as_str())) else { continue };
        if !flow.forbidden {
            body.push_str(&line(*from, *to, flow));
        } else if from.0 != to.0 {
            *barred.entry((from.0, to.0)).or_default() += flow.seen;
        }
    }
    for node in &picture.nodes {
        let Some((_, x, y)) = at.get(node.name.as_str()) else { continue };
        let kind = if node.kind == NodeKind::Edge { "node edge" } else { "node" };
        let classes = if node.classes.is_empty() { String::new() } else { format!(" · {}", node.classes.join(", ")) };
        body.push_str(&format!(
            r#"<g><rect class="{kind}" x="{x}" y="{y}" width="{}" height="{}" rx="9"/><text x="{}" y="{}">{}<tspan class="may">{}</tspan></text></g>"#,
            BOX.0,
            BOX.1,
            x + BOX.0 / 2,
            y + 25,
            escape(&node.name),
            escape(&classes),
        ));
    }
    for (number, ((from, to), count)) in barred.iter().enumerate() {
        let (left, right) = (column - 18, column + GAP + 18);
        let (start, end) = if from < to { (left, right) } else { (right, left) };
        let (y, middle) = (height - 26 - number * 20, column + GAP / 2);
        body.push_str(&format!(
            r#"<g class="barred"><path d="M{start} {y}H{end}"/><path d="M{} {}v14"/><text x="{middle}" y="{}">{count}</text></g>"#,
            middle,
            y - 7,
            y - 9,
        ));
        let _ = to;
    }
    format!(r#"<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-labelledby="picture">{body}</svg>"#)
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
