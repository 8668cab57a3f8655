//! A picture that needs no program but a browser: namespaces as boxes in columns, in the order in which traffic flows
//! through them, and arrows in the colour of what is open. It reads well in light and in dark.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Result, Write};

use super::graph::{Graph, graph, words};
use crate::analysis::Analysis;

const NODE_HEIGHT: usize = 34;
const NODE_GAP: usize = 14;
const PAD: usize = 18;
const TITLE: usize = 30;
/// Room for arrows between columns.
const COLUMN_GAP: usize = 170;
const MARGIN: usize = 24;
/// The width of a letter at the size that is used, generously.
const LETTER: usize = 8;
const LEGEND_LINE: usize = 22;
/// Colours that can be told apart on both backgrounds; a further kind of connection begins again.
const COLOURS: [&str; 8] = ["#2f7de1", "#d9822b", "#2e9e6b", "#b3559b", "#c94c4c", "#7a6ff0", "#8a7f2a", "#3aa0a8"];

const STYLE: &str = "<style>\
svg{font:13px system-ui,sans-serif;background:#fff}\
text{fill:#1c2733}.ns{fill:#f3f6fa;stroke:#b9c4d0}.nt{font-weight:600;fill:#4a5a6a}\
.w{fill:#fff;stroke:#6c7c8c}.e{fill:none;stroke-width:1.6;opacity:.85}.q{stroke-dasharray:5 4}\
@media(prefers-color-scheme:dark){svg{background:#12181f}text{fill:#e4eaf0}.ns{fill:#1a232d;stroke:#3b4a5a}\
.nt{fill:#9fb0c0}.w{fill:#222d39;stroke:#71808f}}\
</style>";

/// Where a peer is drawn.
#[derive(Clone, Copy)]
struct Place {
    x: usize,
    y: usize,
    width: usize,
}

/// Writes a picture.
///
/// # Errors
/// If `out` fails.
pub fn svg(analysis: &Analysis, out: &mut impl Write) -> Result<()> {
    let graph = graph(analysis);
    let columns = columns(&graph);
    let mut boxes = Vec::new();
    let mut places: BTreeMap<&str, Place> = BTreeMap::new();
    let (mut x, mut height) = (MARGIN, 0);
    for column in &columns {
        let longest = column
            .iter()
            .filter_map(|group| graph.groups.get(*group))
            .flatten()
            .map(|peer| label(peer).chars().count());
        let width = longest.max().unwrap_or(0) * LETTER + 2 * PAD;
        let mut y = MARGIN;
        for group in column {
            let Some(peers) = graph.groups.get(*group) else { continue };
            let top = y;
            y += if group.is_empty() { 0 } else { TITLE };
            for peer in peers {
                places.insert(peer, Place { x: x + PAD, y, width });
                y += NODE_HEIGHT + NODE_GAP;
            }
            if !group.is_empty() {
                boxes.push((*group, x, top, width + 2 * PAD, y - top + PAD - NODE_GAP));
            }
            y += PAD + NODE_GAP;
        }
        height = height.max(y);
        x += width + 2 * PAD + COLUMN_GAP;
    }
    let kinds: BTreeSet<(String, bool)> = graph.arrows.values().map(words).collect();
    let colours: BTreeMap<&(String, bool), &str> = kinds.iter().zip(COLOURS.into_iter().cycle()).collect();
    let total = height + kinds.len() * LEGEND_LINE + MARGIN;
    let width = (x - COLUMN_GAP + MARGIN).max(420);
    writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {total}\" width=\"{width}\" height=\"{total}\" \
         role=\"img\" aria-label=\"Who can reach whom\">{STYLE}\n<rect class=\"bg\" width=\"100%\" height=\"100%\" fill=\"none\"/>"
    )?;
    for (group, x, y, width, height) in boxes {
        writeln!(
            out,
            "<rect class=\"ns\" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" rx=\"10\"/>\
             <text class=\"nt\" x=\"{}\" y=\"{}\">{}</text>",
            x + PAD,
            y + 20,
            escaped(group)
        )?;
    }
    arrows(&graph, &places, &colours, out)?;
    for (peer, place) in &places {
        node(peer, *place, out)?;
    }
    legend(&colours, height, out)?;
    writeln!(out, "</svg>")
}

fn arrows(
    graph: &Graph,
    places: &BTreeMap<&str, Place>,
    colours: &BTreeMap<&(String, bool), &str>,
    out: &mut impl Write,
) -> Result<()> {
    for ((src, dst), conn) in &graph.arrows {
        let (Some(from), Some(to)) = (places.get(src.as_str()), places.get(dst.as_str())) else { continue };
        let words = words(conn);
        let colour = colours.get(&words).copied().unwrap_or("#888888");
        let class = if words.1 { "e" } else { "e q" };
        let title = format!("{src} → {dst}: {}", words.0);
        let path = curve(*from, *to);
        writeln!(
            out,
            "<path class=\"{class}\" stroke=\"{colour}\" d=\"{path}\"><title>{}</title></path>",
            escaped(&title)
        )?;
        // The arrow's head, which a marker could not draw in the line's own colour everywhere.
        let (x, y) = arrival(*from, *to);
        let back = if from.x < to.x { x.saturating_sub(8) } else { x + 8 };
        writeln!(out, "<path fill=\"{colour}\" d=\"M{x} {y}L{back} {}L{back} {}Z\"/>", y.saturating_sub(4), y + 4)?;
    }
    Ok(())
}

/// Where an arrow ends: at the side that faces its source, or at the right one if they stand above each other. Arrows
/// from different heights end at different heights, so that they can be told apart.
const fn arrival(from: Place, to: Place) -> (usize, usize) {
    let shift = (from.y / (NODE_HEIGHT + NODE_GAP) % 5) * 5;
    let y = to.y + 7 + shift;
    if from.x < to.x { (to.x, y) } else { (to.x + to.width, y) }
}

fn curve(from: Place, to: Place) -> String {
    let (end_x, end_y) = arrival(from, to);
    let y = from.y + NODE_HEIGHT / 2;
    if from.x < to.x {
        let x = from.x + from.width;
        let bend = (end_x - x).max(40) / 2;
        format!("M{x} {y}C{} {y} {} {end_y} {end_x} {end_y}", x + bend, end_x.saturating_sub(bend))
    } else if from.x == to.x {
        let x = from.x + from.width;
        let out = 34 + from.y.abs_diff(to.y) / 6;
        format!("M{x} {y}C{} {y} {} {end_y} {end_x} {end_y}", x + out, end_x + out)
    } else {
        let x = from.x;
        let bend = (x.saturating_sub(end_x)).max(40) / 2;
        format!("M{x} {y}C{} {y} {} {end_y} {end_x} {end_y}", x.saturating_sub(bend), end_x + bend)
    }
}

fn node(peer: &str, Place { x, y, width }: Place, out: &mut impl Write) -> Result<()> {
    writeln!(
        out,
        "<g><title>{}</title><rect class=\"w\" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{NODE_HEIGHT}\" rx=\"7\"/>\
         <text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{}</text></g>",
        escaped(peer),
        x + width / 2,
        y + 22,
        escaped(label(peer))
    )
}

fn legend(colours: &BTreeMap<&(String, bool), &str>, top: usize, out: &mut impl Write) -> Result<()> {
    for ((words, colour), at) in colours.iter().zip(0_usize..) {
        let y = top + at * LEGEND_LINE;
        let class = if words.1 { "e" } else { "e q" };
        let (x, line) = (MARGIN + 44, y + 4);
        writeln!(
            out,
            "<path class=\"{class}\" stroke=\"{colour}\" d=\"M{MARGIN} {y}h34\"/><text x=\"{x}\" y=\"{line}\">{}</text>",
            escaped(&words.0)
        )?;
    }
    Ok(())
}

/// Groups in columns: who only sends stands left of whom it sends to. Where traffic goes round, names decide.
fn columns(graph: &Graph) -> Vec<Vec<&str>> {
    let group = |peer: &str| peer.split_once('/').map_or("", |(namespace, _)| namespace).to_owned();
    let mut calls: BTreeSet<(String, String)> =
        graph.arrows.keys().map(|(src, dst)| (group(src), group(dst))).filter(|(src, dst)| src != dst).collect();
    let mut left: BTreeSet<&str> = graph.groups.keys().map(String::as_str).collect();
    let mut columns = Vec::new();
    while !left.is_empty() {
        let callers = |of: &str| calls.iter().filter(|(_, dst)| dst == of).count();
        let fewest = left.iter().map(|group| callers(group)).min().unwrap_or(0);
        let column: Vec<&str> = left.iter().copied().filter(|group| callers(group) == fewest).collect();
        left.retain(|group| !column.contains(group));
        calls.retain(|(src, _)| !column.contains(&src.as_str()));
        columns.push(column);
    }
    columns
}

fn label(peer: &str) -> &str {
    peer.split_once('/').map_or(peer, |(_, name)| name)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
