//! A picture for Graphviz: namespaces are clusters, what is not certain is dashed.

use std::io::{Result, Write};

use super::graph::{graph, words};
use crate::analysis::Analysis;

/// Writes a `digraph`.
///
/// # Errors
/// If `out` fails.
pub fn dot(analysis: &Analysis, out: &mut impl Write) -> Result<()> {
    let graph = graph(analysis);
    writeln!(out, "digraph {{\n  rankdir=LR\n  node [shape=box style=rounded fontname=\"sans-serif\"]")?;
    for (at, (group, peers)) in graph.groups.iter().enumerate() {
        let (open, close) = if group.is_empty() {
            ("  {".to_owned(), "  }")
        } else {
            (format!("  subgraph cluster_{at} {{\n    label={}", quoted(group)), "  }")
        };
        writeln!(out, "{open}")?;
        for peer in peers {
            let label = peer.split_once('/').map_or(peer.as_str(), |(_, name)| name);
            writeln!(out, "    {} [label={}]", quoted(peer), quoted(label))?;
        }
        writeln!(out, "{close}")?;
    }
    for ((src, dst), conn) in &graph.arrows {
        let (text, is_certain) = words(conn);
        let style = if is_certain { "" } else { " style=dashed" };
        writeln!(out, "  {} -> {} [label={}{style}]", quoted(src), quoted(dst), quoted(&text))?;
    }
    writeln!(out, "}}")
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
