//! SARIF 2.1.0 (OASIS standard), one run.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Write};

use sekat_policy::{Diagnostic, Span};
use serde::Serialize;

use crate::{Context, page, severity_name};

const SCHEMA: &str = "https://json.schemastore.org/sarif-2.1.0.json";

#[derive(Serialize)]
struct Log<'a> {
    #[serde(rename = "$schema")]
    schema: &'a str,
    version: &'a str,
    runs: [Run<'a>; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Run<'a> {
    tool: Tool<'a>,
    column_kind: &'a str,
    results: Vec<SarifResult<'a>>,
}

#[derive(Serialize)]
struct Tool<'a> {
    driver: Driver<'a>,
}

#[derive(Serialize)]
struct Driver<'a> {
    name: &'a str,
    version: &'a str,
    rules: Vec<Rule<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Rule<'a> {
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    short_description: Option<Text>,
    help: Text,
}

#[derive(Serialize)]
struct Text {
    text: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SarifResult<'a> {
    rule_id: &'a str,
    rule_index: usize,
    level: &'a str,
    message: Text,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    locations: Vec<Location>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Location {
    physical_location: PhysicalLocation,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PhysicalLocation {
    artifact_location: ArtifactLocation,
    #[serde(skip_serializing_if = "Option::is_none")]
    region: Option<Region>,
}

#[derive(Serialize)]
struct ArtifactLocation {
    uri: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Region {
    start_line: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    start_column: Option<u32>,
}

pub(crate) fn render(out: &mut impl Write, findings: &[Diagnostic], context: &Context<'_>) -> io::Result<()> {
    let mut rules: BTreeMap<&str, Option<&str>> = findings.iter().map(|finding| (finding.code, None)).collect();
    rules.extend(context.rules.iter().map(|(code, rule)| (*code, Some(*rule))));
    let index: BTreeMap<&str, usize> = rules.keys().enumerate().map(|(index, code)| (*code, index)).collect();
    let results = findings.iter().map(|finding| SarifResult {
        rule_id: finding.code,
        rule_index: index.get(finding.code).copied().unwrap_or(0),
        level: severity_name(finding.severity),
        message: Text { text: format!("{}. {}", finding.message, finding.help) },
        locations: location(&finding.span).into_iter().collect(),
    });
    let rules = rules.iter().map(|(code, rule)| Rule {
        id: code,
        short_description: rule.map(|text| Text { text: text.to_owned() }),
        help: Text { text: format!("See {}.", page(code)) },
    });
    let driver = Driver { name: "sekat", version: context.version, rules: rules.collect() };
    let run = Run { tool: Tool { driver }, column_kind: "unicodeCodePoints", results: results.collect() };
    serde_json::to_writer_pretty(&mut *out, &Log { schema: SCHEMA, version: "2.1.0", runs: [run] })?;
    writeln!(out)
}

fn location(span: &Span) -> Option<Location> {
    let region = (span.line > 0)
        .then_some(Region { start_line: span.line, start_column: (span.column > 0).then_some(span.column) });
    let artifact_location = ArtifactLocation { uri: uri(&span.file) };
    (!span.file.is_empty()).then_some(Location { physical_location: PhysicalLocation { artifact_location, region } })
}

/// A path as a URI reference (RFC 3986): relative paths stay relative, for code hosts to resolve.
fn uri(path: &str) -> String {
    let mut uri = if path.starts_with('/') { "file://".to_owned() } else { String::new() };
    // In front of the first slash, a colon would end a scheme.
    if path.split('/').next().is_some_and(|first| first.contains(':')) {
        uri.push_str("./");
    }
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/:@!$&'()*+,;=".contains(&byte) {
            uri.push(char::from(byte));
        } else {
            let _ = write!(uri, "%{byte:02X}");
        }
    }
    uri
}

#[cfg(test)]
mod tests {
    use super::uri;

    #[test]
    fn a_path_becomes_a_reference() {
        for (path, expected) in [
            ("proto/a.proto", "proto/a.proto"),
            ("/srv/a b.yaml", "file:///srv/a%20b.yaml"),
            ("a:b/c", "./a:b/c"),
            ("ä#?%.yaml", "%C3%A4%23%3F%25.yaml"),
        ] {
            assert_eq!(uri(path), expected);
        }
    }
}
