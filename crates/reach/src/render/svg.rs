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
/// Room for arrows between columns of namespaces, and between those inside of one.
const COLUMN_GAP: usize = 150;
const INNER_GAP: usize = 90;
/// Room for arrows that leave the last column and come back.
const RIGHT: usize = 90;
const MARGIN: usize = 24;
/// The width of a letter at the size that is used, generously.
const LETTER: usize = 8;
const LEGEND_LINE: usize = 22;
/// Colours that can be told apart on both backgrounds; a further kind of connection begins again.
const COLOURS: [&str; 12] = [
    "#2f7de1", "#d9822b", "#2e9e6b", "#b3559b", "#c94c4c", "#7a6ff0", "#8a7f2a", "#3aa0a8", "#a0693a", "#6f8f2f",
    "#d06a8c", "#5c7f99",
];

const STYLE: &str = "<style>\
svg{font:13px system-ui,sans-serif}.bg{fill:#fff}\
text{fill:#1c2733}.ns{fill:#f3f6fa;stroke:#b9c4d0}.nt{font-weight:600;fill:#4a5a6a}\
.w{fill:#fff;stroke:#6c7c8c}.e{fill:none;stroke-width:1.6;opacity:.85}.q{stroke-dasharray:5 4}\
@media(prefers-color-scheme:dark){.bg{fill:#12181f}text{fill:#e4eaf0}.ns{fill:#1a232d;stroke:#3b4a5a}\
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
    let mut boxes = Vec::new();
    let mut places: BTreeMap<&str, Place> = BTreeMap::new();
    let (mut x, mut height) = (MARGIN, 0);
    for column in columns(&graph) {
        let (mut y, mut widest) = (MARGIN, 0);
        for group in column {
            let title = if group.is_empty() { 0 } else { TITLE };
            let (width, bottom) = inside(&graph, group, x, y + title, &mut places);
            if !group.is_empty() {
                boxes.push((group, x, y, width, bottom - y));
            }
            widest = widest.max(width);
            y = bottom + PAD;
        }
        height = height.max(y);
        x += widest + COLUMN_GAP;
    }
    let kinds: BTreeSet<(String, bool)> = graph.arrows.values().map(words).collect();
    let colours: BTreeMap<&(String, bool), &str> = kinds.iter().zip(COLOURS.into_iter().cycle()).collect();
    let total = height + kinds.len() * LEGEND_LINE + MARGIN;
    let width = (x - COLUMN_GAP + RIGHT).max(420);
    writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {total}\" width=\"{width}\" height=\"{total}\" \
         role=\"img\" aria-label=\"Who can reach whom\">{STYLE}\n<rect class=\"bg\" width=\"100%\" height=\"100%\"/>"
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

/// Places the peers of a group in columns of their own; gives back the width and the lower end.
fn inside<'a>(
    graph: &'a Graph,
    group: &str,
    left: usize,
    top: usize,
    places: &mut BTreeMap<&'a str, Place>,
) -> (usize, usize) {
    let Some(peers) = graph.groups.get(group) else { return (0, top) };
    let peers: BTreeSet<&str> = peers.iter().map(String::as_str).collect();
    let calls = graph.arrows.keys().map(|(src, dst)| (src.as_str(), dst.as_str()));
    let calls = calls.filter(|(src, dst)| peers.contains(src) && peers.contains(dst)).collect();
    let (mut x, mut bottom) = (left + PAD, top);
    for column in layers(peers, calls) {
        let longest = column.iter().map(|peer| label(peer).chars().count()).max().unwrap_or(0);
        let width = longest * LETTER + PAD;
        let mut y = top;
        for peer in column {
            places.insert(peer, Place { x, y, width });
            y += NODE_HEIGHT + NODE_GAP;
        }
        bottom = bottom.max(y);
        x += width + INNER_GAP;
    }
    (x - INNER_GAP + PAD - left, bottom + PAD - NODE_GAP)
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

/// The groups in columns.
fn columns(graph: &Graph) -> Vec<Vec<&str>> {
    let group = |peer: &'_ str| peer.split_once('/').map_or("", |(namespace, _)| namespace).to_owned();
    let groups: BTreeSet<&str> = graph.groups.keys().map(String::as_str).collect();
    let calls: BTreeSet<(String, String)> = graph.arrows.keys().map(|(src, dst)| (group(src), group(dst))).collect();
    layers(groups, calls.iter().map(|(src, dst)| (src.as_str(), dst.as_str())).collect())
        .into_iter()
        .map(|layer| {
            layer.into_iter().filter_map(|one| graph.groups.get_key_value(one)).map(|(name, _)| name.as_str()).collect()
        })
        .collect()
}

/// Names in layers: who only sends stands left of whom it sends to. Where traffic goes round, those that the fewest
/// others send to come first.
fn layers<'a>(mut left: BTreeSet<&'a str>, mut calls: BTreeSet<(&'a str, &'a str)>) -> Vec<Vec<&'a str>> {
    let mut layers = Vec::new();
    calls.retain(|(src, dst)| src != dst);
    while !left.is_empty() {
        let mut callers: BTreeMap<&str, usize> = BTreeMap::new();
        for (_, dst) in &calls {
            *callers.entry(dst).or_default() += 1;
        }
        let of = |name: &str| callers.get(name).copied().unwrap_or(0);
        let fewest = left.iter().map(|name| of(name)).min().unwrap_or(0);
        let layer: Vec<&str> = left.iter().copied().filter(|name| of(name) == fewest).collect();
        left.retain(|name| !layer.contains(name));
        calls.retain(|(src, _)| !layer.contains(src));
        layers.push(layer);
    }
    layers
}

fn label(peer: &str) -> &str {
    peer.split_once('/').map_or(peer, |(_, name)| name)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
