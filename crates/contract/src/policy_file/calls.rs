//! Who may call whom, who reads whose news, and what must never be.

use std::collections::{HashMap, HashSet};

use sekat_policy::Intent;
use sekat_policy::intent::{Assertion, Edge, Method, Subject, Target, Topic};
use sekat_yaml::Node;

use super::reader::Reader;
use super::sections::class_set;
use super::{MALFORMED, MISDIRECTED, UNMATCHED, WILDCARD, values};
use crate::glob;
use crate::intent_lints::{UNKNOWN, classified, names};
use crate::suggest::{did_you_mean, nearest};

pub(super) const EDGE: [&str; 4] = ["from", "to", "methods", "purpose"];
pub(super) const TOPIC: [&str; 4] = ["topic", "publishers", "consumers", "classes"];
pub(super) const ASSERT: [&str; 1] = ["deny"];
pub(super) const DENY: [&str; 6] = ["from", "domain", "class", "to", "toDomain", "transitive"];

/// Methods of a wildcard that a finding names before it only counts.
const NAMED: usize = 3;

pub(super) fn edges(reader: &mut Reader<'_>, node: Option<&Node>, intent: &Intent) -> Vec<Edge> {
    let served = Served::of(intent);
    let servers: HashSet<&str> = names(&intent.workloads).collect();
    let (mut edges, mut known): (Vec<Edge>, HashSet<(String, String)>) = (Vec::new(), HashSet::new());
    for item in reader.items(node) {
        if !reader.is_section(item, &EDGE) {
            continue;
        }
        let callers = reader.required(item, "from").map(|node| reader.texts(Some(node), values::name));
        let to = reader.required_checked(item, "to", values::name);
        let methods = reader.required(item, "methods").map(|node| reader.texts(Some(node), values::method_pattern));
        let purpose = reader.checked(item.get("purpose"), values::any);
        let (Some(callers), Some(to), Some(methods)) = (callers, to, methods) else { continue };
        if !servers.contains(to.as_str()) {
            let span = item.get("to").unwrap_or(item).span(reader.file);
            let message = format!("there is no service `{to}`{}", did_you_mean(&to, names(&intent.workloads)));
            reader.report(UNKNOWN, span, message, "name a service of `services`");
            continue;
        }
        for (pattern, span) in methods {
            for method in granted(reader, &served, &to, &pattern, &span) {
                for (caller, _) in &callers {
                    let edge = Edge {
                        caller: caller.clone(),
                        method: method.clone(),
                        purpose: purpose.clone(),
                        span: span.clone(),
                    };
                    // The first statement of a right counts; a second one adds nothing.
                    if known.insert((edge.caller.clone(), edge.method.clone())) {
                        edges.push(edge);
                    }
                }
            }
        }
    }
    edges
}

/// The methods of an intent, by what edges look for.
struct Served<'a> {
    by_path: HashMap<&'a str, &'a Method>,
    by_server: HashMap<&'a str, Vec<&'a Method>>,
}

impl<'a> Served<'a> {
    fn of(intent: &'a Intent) -> Self {
        let by_path = intent.methods.iter().map(|method| (method.path.as_str(), method)).collect();
        let mut by_server: HashMap<&str, Vec<&Method>> = HashMap::new();
        for method in &intent.methods {
            by_server.entry(&method.workload).or_default().push(method);
        }
        Self { by_path, by_server }
    }

    fn of_server(&self, server: &str) -> &[&'a Method] {
        self.by_server.get(server).map(Vec::as_slice).unwrap_or_default()
    }
}

/// The methods of `to` that `pattern` grants: those that exist now. One that is added later is denied until the policy
/// is compiled again, and a classified one is not granted by a wildcard at all.
fn granted(
    reader: &mut Reader<'_>,
    served: &Served<'_>,
    to: &str,
    pattern: &str,
    span: &sekat_policy::Span,
) -> Vec<String> {
    let pattern = pattern.strip_prefix('/').unwrap_or(pattern);
    if !glob::is_pattern(pattern) {
        let path = format!("/{pattern}");
        let server = served.by_path.get(path.as_str()).map(|method| method.workload.as_str());
        if let Some(server) = server.filter(|server| *server != to) {
            let message = format!("`{path}` is served by `{server}`, not by `{to}`");
            reader.report(MISDIRECTED, span.clone(), message, format!("write `to: {server}`, or another method"));
            return Vec::new();
        }
        return vec![path];
    }
    let matching = |path: &str| glob::matches(pattern, path.trim_start_matches('/'), '/');
    let all = served.of_server(to).iter().copied().filter(|method| matching(&method.path));
    let (kept, refused): (Vec<&Method>, Vec<&Method>) =
        all.partition(|method| classified(&method.request).is_empty() && classified(&method.response).is_empty());
    if kept.is_empty() && refused.is_empty() {
        let near = nearest(pattern, served.of_server(to).iter().map(|method| method.path.trim_start_matches('/')));
        let help = near.map_or_else(
            || format!("name a method that `{to}` serves"),
            |near| format!("name a method that `{to}` serves, for instance {near}"),
        );
        reader.report(UNMATCHED, span.clone(), format!("no method of `{to}` matches `{pattern}`"), help);
    }
    if !refused.is_empty() {
        let shown: Vec<_> = refused.iter().take(NAMED).map(|method| method.path.as_str()).collect();
        let more = refused.len().checked_sub(NAMED).filter(|more| *more > 0);
        let more = more.map_or_else(String::new, |more| format!(" and {more} more"));
        let message = format!("`{pattern}` covers methods that carry classified data: {}{more}", shown.join(", "));
        reader.report(
            WILDCARD,
            span.clone(),
            message,
            "name each of them, so that each was decided; the rest is granted",
        );
    }
    kept.into_iter().map(|method| method.path.clone()).collect()
}

pub(super) fn topics(reader: &mut Reader<'_>, node: Option<&Node>, intent: &Intent) -> Vec<Topic> {
    let mut topics = Vec::new();
    for item in reader.items(node) {
        if !reader.is_section(item, &TOPIC) {
            continue;
        }
        let Some(name) = reader.required_checked(item, "topic", values::name) else { continue };
        reader.required(item, "classes");
        topics.push(Topic {
            name,
            publishers: reader.set(item.get("publishers"), values::name),
            consumers: reader.set(item.get("consumers"), values::name),
            classes: class_set(reader, item.get("classes"), intent),
            span: item.span(reader.file),
        });
    }
    topics
}

pub(super) fn assertions(reader: &mut Reader<'_>, node: Option<&Node>) -> Vec<Assertion> {
    let mut assertions = Vec::new();
    for item in reader.items(node) {
        if !reader.is_section(item, &ASSERT) {
            continue;
        }
        let Some(deny) = reader.required(item, "deny") else { continue };
        if !reader.is_section(deny, &DENY) {
            continue;
        }
        let (subject, target) = (subject(reader, deny), target(reader, deny));
        let transitive = reader.flag(deny.get("transitive"), true);
        if let (Some(from), Some(target)) = (subject, target) {
            assertions.push(Assertion { from, target, transitive, span: deny.span(reader.file) });
        }
    }
    assertions
}

fn subject(reader: &mut Reader<'_>, deny: &Node) -> Option<Subject> {
    match (deny.get("from"), deny.get("domain")) {
        (None, None) => Some(Subject::Anybody),
        (Some(_), Some(domain)) => {
            let message = "`from` and `domain` both say who must not".to_owned();
            reader.report(MALFORMED, domain.span(reader.file), message, "keep one of them");
            None
        }
        (Some(from), None) => reader.checked(Some(from), values::name).map(Subject::Workload),
        (None, Some(domain)) => {
            let text = reader.text(Some(domain))?;
            let (not, name) = text.strip_prefix('!').map_or((false, text.as_str()), |name| (true, name));
            if let Err(help) = values::name(name) {
                reader.report(MALFORMED, domain.span(reader.file), format!("`{text}` is no domain"), help);
                return None;
            }
            Some(if not { Subject::NotDomain(name.to_owned()) } else { Subject::Domain(name.to_owned()) })
        }
    }
}

fn target(reader: &mut Reader<'_>, deny: &Node) -> Option<Target> {
    let stated: Vec<_> = ["class", "to", "toDomain"].iter().filter_map(|key| Some((*key, deny.get(key)?))).collect();
    let [(key, node)] = stated.as_slice() else {
        let message = format!("{} targets where one is needed", stated.len());
        let help = "state one of `class: NAME`, `to: SERVICE or STORE`, `to: internet`, `toDomain: NAME`";
        reader.report(MALFORMED, deny.span(reader.file), message, help);
        return None;
    };
    let name = reader.checked(Some(node), values::name)?;
    Some(match *key {
        "class" => Target::Class(name),
        "toDomain" => Target::Domain(name),
        _ if name == "internet" => Target::Internet,
        _ => Target::Workload(name),
    })
}
