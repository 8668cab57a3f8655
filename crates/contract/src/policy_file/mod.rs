//! The policy file: what a mesh is meant to do, in one YAML file, for meshes whose contracts do not say it themselves.
//! It becomes an [`Intent`]; whatever cannot be used is a finding and grants nothing. `docs/policy.md` is its manual.

mod calls;
mod contracts;
mod fields;
mod network;
mod reader;
mod sections;
pub(crate) mod site;
#[cfg(test)]
mod tests;
mod values;

use std::path::Path;

use sekat_policy::{Diagnostic, Intent, Span};
use sekat_yaml::Node;

use reader::Reader;

const NO_POLICY: &str = "SK0300";
const UNKNOWN_KEY: &str = "SK0301";
const MALFORMED: &str = "SK0302";
const NO_DESCRIPTORS: &str = "SK0303";
const UNMATCHED: &str = "SK0304";
const WILDCARD: &str = "SK0305";
const OPAQUE: &str = "SK0306";
const UNSERVED: &str = "SK0307";
const MISDIRECTED: &str = "SK0308";
const NOT_OUTSIDE: &str = "SK0309";

/// The codes of reading a policy file, each with its rule in one sentence.
pub static CODES: &[(&str, &str)] = &[
    (NO_POLICY, "A policy or site file can be read and is one document of its kind, version sekat.dev/v1."),
    (UNKNOWN_KEY, "Every key of a policy or site file means something."),
    (MALFORMED, "Names, labels, ports and addresses of a policy or site file are well-formed."),
    (NO_DESCRIPTORS, "The descriptor sets that a policy file names can be read."),
    (UNMATCHED, "A pattern of a policy file matches something."),
    (WILDCARD, "A wildcard grants no method that carries classified data; such methods are named one by one."),
    (OPAQUE, "Data in Any, bytes, maps, Struct or extensions has an explicit class."),
    (UNSERVED, "Every gRPC service has one workload that serves it, on one port, and methods that are known."),
    (MISDIRECTED, "The methods of an edge are served by the service that it goes to."),
    (NOT_OUTSIDE, "An external is outside: it reaches neither the cluster itself nor the metadata of its machines."),
];

const API_VERSION: &str = "sekat.dev/v1";

/// What a file states.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Policy,
    Site,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Policy => "Policy",
            Self::Site => "Site",
        }
    }
}

const KEYS: [&str; 15] = [
    "apiVersion",
    "kind",
    "classes",
    "domains",
    "services",
    "protos",
    "fields",
    "methods",
    "unserved",
    "stores",
    "edges",
    "async",
    "externals",
    "platform",
    "assert",
];

/// What was read: everything that is meant, as far as it can be understood, and everything that is wrong with it.
pub type Read = (Intent, Vec<Diagnostic>);

/// Reads the policy file at `path`, and the contracts that it names relative to its folder, and checks the whole with
/// [`crate::intent_lints`]. Findings name the file as `path` does, and are in the order of place and code.
#[must_use]
pub fn read(path: &Path) -> Read {
    linted(stated(path))
}

/// What the policy file at `path` states, not yet held against the rules of the whole.
pub(crate) fn stated(path: &Path) -> Read {
    let shown = path.display().to_string();
    match std::fs::read_to_string(path) {
        Ok(text) => stated_in(&shown, &text, path.parent().unwrap_or(Path::new(""))),
        Err(error) => {
            let span = Span { file: shown, ..Span::default() };
            let message = format!("the policy file cannot be read: {error}");
            let finding = Diagnostic::error(NO_POLICY, span, message, "name a file that exists and can be read");
            (Intent::default(), vec![finding])
        }
    }
}

/// What the policy file at `path` names as its contracts, relative to its folder. What cannot be read names none: [`read`]
/// says so.
#[must_use]
pub fn protos(path: &Path) -> Vec<String> {
    let Ok(text) = std::fs::read_to_string(path) else { return Vec::new() };
    let mut reader = Reader { file: "", findings: Vec::new() };
    let Some(root) = document(&mut reader, &text, Kind::Policy) else { return Vec::new() };
    reader.texts(root.get("protos"), values::any).into_iter().map(|(name, _)| name).collect()
}

/// The same for a `text`, which findings name `file`, and whose contracts lie below `folder`.
#[must_use]
pub fn read_text(file: &str, text: &str, folder: &Path) -> Read {
    linted(stated_in(file, text, folder))
}

fn stated_in(file: &str, text: &str, folder: &Path) -> Read {
    let mut reader = Reader { file, findings: Vec::new() };
    let root = document(&mut reader, text, Kind::Policy);
    let intent = root.map(|node| intent(&mut reader, &node, folder)).unwrap_or_default();
    (intent, reader.findings)
}

/// The same, held against the rules.
pub(crate) fn linted((intent, mut findings): Read) -> Read {
    findings.extend(crate::intent_lints::run(&intent));
    findings.sort_by(|left, right| (&left.span, left.code).cmp(&(&right.span, right.code)));
    findings.dedup();
    (intent, findings)
}

/// The only document, if it is of that kind.
fn document(reader: &mut Reader<'_>, text: &str, kind: Kind) -> Option<Node> {
    let header = format!("begin with `apiVersion: {API_VERSION}` and `kind: {}`", kind.name());
    let mut documents = Vec::new();
    for document in sekat_yaml::documents(reader.file, text) {
        documents.push(reader.take(document)?);
    }
    documents.retain(|node| !node.is_null());
    let mut documents = documents.into_iter();
    let Some(first) = documents.next() else {
        let span = Span { file: reader.file.to_owned(), ..Span::default() };
        reader.report(NO_POLICY, span, "the file holds no document".to_owned(), header);
        return None;
    };
    if let Some(second) = documents.next() {
        let message = "a second document".to_owned();
        reader.report(NO_POLICY, second.span(reader.file), message, "it is one document: whole or not at all");
        return None;
    }
    for (key, wanted) in [("apiVersion", API_VERSION), ("kind", kind.name())] {
        let node = reader.required(&first, key)?;
        let found = reader.text(Some(node))?;
        if found != wanted {
            let message = format!("{key} is `{found}`, which this version of sekat does not read");
            reader.report(NO_POLICY, node.span(reader.file), message, header);
            return None;
        }
    }
    Some(first)
}

fn intent(reader: &mut Reader<'_>, root: &Node, folder: &Path) -> Intent {
    reader.is_section(root, &KEYS);
    let mut intent = Intent { classes: sections::classes(reader, root.get("classes")), ..Intent::default() };
    intent.domains = sections::domains(reader, root.get("domains"), &intent);
    let (workloads, claims) = sections::services(reader, root.get("services"), &intent);
    intent.workloads = workloads;
    intent.methods = contracts::methods(reader, root, folder, &intent, claims);
    intent.stores = sections::stores(reader, root.get("stores"), &intent);
    intent.edges = calls::edges(reader, root.get("edges"), &intent);
    intent.topics = calls::topics(reader, root.get("async"), &intent);
    intent.externals = network::externals(reader, root.get("externals"), &intent, &[]);
    intent.platform = network::platform(reader, root.get("platform"));
    intent.assertions = calls::assertions(reader, root.get("assert"));
    intent
}
