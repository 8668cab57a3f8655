//! Drafting a policy from what was observed. A draft is where a person starts: each edge says how often it was seen and
//! how well its caller is known, and nothing is ever merged into a policy by itself. What was not seen may be needed all
//! the same, and what was seen need not be meant.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

use crate::report::{Edge, Report};
use crate::tally::Evidence;
use crate::time::utc;

/// A workload, as manifests show it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct FoundWorkload {
    /// Its name, as spans have it in `service.name`.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its service account.
    pub service_account: String,
    /// Labels that all of its pods have.
    pub labels: BTreeMap<String, String>,
    /// The names and numbers of its ports.
    pub ports: Vec<(String, u16)>,
}

/// Writes a policy file that allows what was observed, and nothing else. Workloads that were only seen in spans have no
/// selector, which a person has to write.
///
/// # Errors
/// If `to` cannot be written.
pub fn draft(report: &Report, found: &[FoundWorkload], to: &mut impl Write) -> io::Result<()> {
    writeln!(to, "# A draft from {} calls, {} to {}.", report.calls, utc(report.from_ns), utc(report.to_ns))?;
    writeln!(to, "# Seen is not meant: read every edge, name domains and classes, and only then use it.")?;
    writeln!(to, "apiVersion: sekat.dev/v1\nkind: Policy\nclasses: {{}}\ndomains:")?;
    writeln!(to, "  # Which workload is whose nobody can observe: all are drafted into one.")?;
    writeln!(to, "  draft: {{trustDomain: {}, may: []}}", quoted(&trust_domain(report)))?;
    let forwarded = forwarded(report);
    let is_drafted =
        |edge: &&Edge| edge.method.starts_with('/') && is_drafted(edge) && !forwarded.contains(&call(edge));
    let calls: Vec<&Edge> = report.edges.iter().filter(is_drafted).collect();
    services(&calls, found, to)?;
    methods(&calls, to)?;
    edges(&calls, to)?;
    let rest = report.edges.iter().filter(|edge| !is_drafted(edge));
    for edge in rest {
        let line = format!("{} -> {} {}", edge.caller, edge.callee, edge.method);
        let why = if forwarded.contains(&call(edge)) { "forwarded to who serves it" } else { known(edge.evidence) };
        writeln!(to, "# not drafted: {}, observed {} times; {why}", one_line(&line), edge.calls)?;
    }
    Ok(())
}

/// Who was called, and the method.
fn call(edge: &Edge) -> (&str, &str) {
    (name_of(&edge.callee), &edge.method)
}

/// Calls that their callee passes on: a proxy has the methods of others, and a policy names one server of each.
fn forwarded(report: &Report) -> BTreeSet<(&str, &str)> {
    report.edges.iter().map(|edge| (name_of(&edge.caller), edge.method.as_str())).collect()
}

/// Services that any server of gRPC may have beside its own, and that no policy gives to one of them.
const OF_EVERYBODY: [&str; 2] = ["/grpc.health.", "/grpc.reflection."];

/// Whether an edge can stand in a policy: its caller has a name, the call got in, and one server has the method.
fn is_drafted(edge: &Edge) -> bool {
    let is_of_everybody = OF_EVERYBODY.iter().any(|service| edge.method.starts_with(service));
    let is_known = !matches!(edge.evidence, Evidence::Nobody | Evidence::Public);
    edge.allowed + edge.forbidden > 0 && is_known && !is_of_everybody
}

/// That of the first caller that is known by its SPIFFE ID.
fn trust_domain(report: &Report) -> String {
    let of = |edge: &Edge| Some(edge.caller.strip_prefix("spiffe://")?.split('/').next()?.to_owned());
    report.edges.iter().find_map(of).unwrap_or_else(|| "example.org".to_owned())
}

/// A name that a policy can have: the last part of a SPIFFE ID, or the name itself.
fn name_of(party: &str) -> &str {
    if party.starts_with("spiffe://") { party.rsplit('/').next().unwrap_or(party) } else { party }
}

fn services(calls: &[&Edge], found: &[FoundWorkload], to: &mut impl Write) -> io::Result<()> {
    let mut served: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for edge in calls {
        served.entry(name_of(&edge.caller)).or_default();
        let service = edge.method.trim_start_matches('/').split('/').next().unwrap_or_default();
        served.entry(name_of(&edge.callee)).or_default().insert(service);
    }
    for workload in found {
        served.entry(&workload.name).or_default();
    }
    writeln!(to, "{}", if served.is_empty() { "services: []" } else { "services:" })?;
    for (name, services) in &served {
        let workload = found.iter().find(|workload| workload.name == *name);
        let known = if workload.is_some() { "" } else { "  # seen in spans only: write its selector and ports" };
        writeln!(to, "  - name: {}{known}", quoted(name))?;
        writeln!(to, "    domain: draft")?;
        let place = workload.map_or(("default", *name), |it| (it.namespace.as_str(), it.service_account.as_str()));
        writeln!(to, "    namespace: {}\n    serviceAccount: {}", quoted(place.0), quoted(place.1))?;
        let labels = workload.map(|workload| &workload.labels).into_iter().flatten();
        let labels: Vec<String> = labels.map(|(key, value)| format!("{}: {}", quoted(key), quoted(value))).collect();
        writeln!(to, "    selector: {{{}}}", labels.join(", "))?;
        let ports = workload.map(|workload| workload.ports.as_slice()).unwrap_or_default();
        let ports: Vec<String> = ports.iter().map(|(name, number)| format!("{}: {number}", quoted(name))).collect();
        writeln!(to, "    ports: {{{}}}", ports.join(", "))?;
        let first = workload.and_then(|workload| Some((likely(&workload.ports)?, workload.ports.len())));
        let served = |service: &&str| match first {
            Some(((port, _), 2..)) => format!("{{service: {}, port: {}}}", quoted(service), quoted(port)),
            _ => quoted(service),
        };
        if matches!(first, Some((_, 2..))) && !services.is_empty() {
            writeln!(to, "    # At which of its ports it serves them nobody can observe: a likely one is drafted.")?;
        }
        let services: Vec<String> = services.iter().map(served).collect();
        writeln!(to, "    proto: [{}]", services.join(", "))?;
    }
    Ok(())
}

/// The first port whose name does not say that it is for the platform.
fn likely(ports: &[(String, u16)]) -> Option<&(String, u16)> {
    const PLATFORM: [&str; 5] = ["health", "metric", "probe", "admin", "debug"];
    let is_for_calls = |(name, _): &&(String, u16)| !PLATFORM.iter().any(|word| name.contains(word));
    ports.iter().find(is_for_calls).or(ports.first())
}

/// The methods, for meshes without contracts.
fn methods(calls: &[&Edge], to: &mut impl Write) -> io::Result<()> {
    let methods: BTreeSet<&str> = calls.iter().map(|edge| edge.method.trim_start_matches('/')).collect();
    if methods.is_empty() {
        return Ok(());
    }
    writeln!(
        to,
        "# What methods carry nobody can observe. State it, or name the contracts under `protos` instead.\nmethods:"
    )?;
    methods.into_iter().try_for_each(|method| writeln!(to, "  {}: {{request: [], response: []}}", quoted(method)))
}

/// One line a method, so that each has its own count beside it.
fn edges(calls: &[&Edge], to: &mut impl Write) -> io::Result<()> {
    writeln!(to, "{}", if calls.is_empty() { "edges: []" } else { "edges:" })?;
    for edge in calls {
        let method = quoted(edge.method.trim_start_matches('/'));
        let (from, callee) = (quoted(name_of(&edge.caller)), quoted(name_of(&edge.callee)));
        writeln!(to, "  # observed {} times, last {}; {}", edge.calls, utc(edge.last_ns), known(edge.evidence))?;
        if edge.forbidden > 0 {
            writeln!(to, "  # {} of them were against the policy that was audited", edge.forbidden)?;
        }
        writeln!(to, "  - {{from: {from}, to: {callee}, methods: [{method}]}}")?;
    }
    Ok(())
}

const fn known(evidence: Evidence) -> &'static str {
    match evidence {
        Evidence::Certificate => "caller by certificate",
        Evidence::Record => "caller by access record",
        Evidence::Exporter => "caller by its exporter's certificate",
        Evidence::Public => "caller from outside",
        Evidence::Claimed => "caller claimed",
        Evidence::Nobody => "caller unknown",
    }
}

/// Text as YAML's double-quoted scalar: names come from spans, and a name may try to be more than one.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            letter if letter.is_control() || matches!(letter, '\u{2028}' | '\u{2029}' | '\u{feff}') => {
                quoted.push_str(&format!("\\u{:04x}", u32::from(letter)));
            }
            letter => quoted.push(letter),
        }
    }
    quoted.push('"');
    quoted
}

/// Text that cannot end a comment.
fn one_line(text: &str) -> String {
    text.chars()
        .map(|letter| if letter.is_control() || matches!(letter, '\u{2028}' | '\u{2029}') { ' ' } else { letter })
        .collect()
}
