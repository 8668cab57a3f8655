//! From files, folders and standard input to objects. If anything cannot be read there are no objects at all: an
//! answer about half of the manifests would be a wrong answer.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use sekat_policy::{Diagnostic, Severity, Span};

use crate::objects::{Cluster, Collector};
use crate::{Options, UNREADABLE};

/// A text with manifests, and the name that findings give it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The path, or `-` for standard input.
    pub name: String,
    /// YAML or JSON, in one or more documents.
    pub text: String,
}

/// Reads files, folders with all their `.yaml`, `.yml` and `.json` files, and standard input for `-`.
#[must_use]
pub fn gather(paths: &[PathBuf]) -> (Vec<Source>, Vec<Diagnostic>) {
    let (mut sources, mut findings) = (Vec::new(), Vec::new());
    for path in paths {
        if path.as_os_str() == "-" {
            let mut text = String::new();
            match std::io::stdin().lock().read_to_string(&mut text) {
                Ok(_) => sources.push(Source { name: "-".to_owned(), text }),
                Err(error) => findings.push(unreadable("-".to_owned(), &error)),
            }
            continue;
        }
        let before = sources.len();
        walk(path, true, &mut sources, &mut findings);
        if sources.len() == before && findings.is_empty() {
            let span = Span { file: path.display().to_string(), line: 0, column: 0 };
            let help = "name a folder with .yaml, .yml or .json files in it";
            findings.push(Diagnostic::error(UNREADABLE, span, "no manifests here", help));
        }
    }
    (sources, findings)
}

fn walk(path: &Path, is_named: bool, sources: &mut Vec<Source>, findings: &mut Vec<Diagnostic>) {
    let name = path.display().to_string();
    let error = if path.is_dir() {
        // A link to a folder is followed only where it was named; inside it might lead in circles.
        if path.is_symlink() && !is_named {
            return;
        }
        match fs::read_dir(path).and_then(|entries| entries.collect::<Result<Vec<_>, _>>()) {
            Ok(entries) => {
                let mut paths: Vec<PathBuf> = entries.into_iter().map(|entry| entry.path()).collect();
                paths.sort();
                paths.iter().for_each(|path| walk(path, false, sources, findings));
                return;
            }
            Err(error) => error,
        }
    } else {
        let is_manifest = path.extension().is_some_and(|end| end == "yaml" || end == "yml" || end == "json");
        if !is_manifest && !is_named {
            return;
        }
        match fs::read_to_string(path) {
            Ok(text) => return sources.push(Source { name, text }),
            Err(error) => error,
        }
    };
    findings.push(unreadable(name, &error));
}

fn unreadable(file: String, error: &std::io::Error) -> Diagnostic {
    let span = Span { file, line: 0, column: 0 };
    Diagnostic::error(UNREADABLE, span, format!("cannot be read: {error}"), "check the path and its permissions")
}

/// Reads all objects. There are none if there is an error among the findings, of which there is one for each object
/// that is wrong.
#[must_use]
pub fn read(sources: &[Source], options: &Options) -> (Option<Cluster>, Vec<Diagnostic>) {
    let parts: Vec<(Collector, Vec<Diagnostic>)> = sources.par_iter().map(|source| one(source, options)).collect();
    let (mut all, mut findings) = (Collector::new(&options.harmless_kinds), Vec::new());
    for (part, found) in parts {
        findings.extend(found);
        all.merge(part, &mut findings);
    }
    findings.sort_by(|left, right| left.span.cmp(&right.span));
    let is_sound = findings.iter().all(|finding| finding.severity != Severity::Error);
    (is_sound.then(|| all.finish()), findings)
}

fn one(source: &Source, options: &Options) -> (Collector, Vec<Diagnostic>) {
    let (mut collector, mut findings) = (Collector::new(&options.harmless_kinds), Vec::new());
    for document in sekat_yaml::documents(&source.name, &source.text) {
        match document {
            Ok(node) => collector.object(&node, &source.name, &mut findings),
            Err(finding) => findings.push(finding),
        }
    }
    (collector, findings)
}
