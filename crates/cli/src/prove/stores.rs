//! The layer of the stores: who could open each, and who has it open.

use std::fs;
use std::path::{Path, PathBuf};

use sekat_evidence::{Check, Layer, LayerName};
use sekat_policy::Intent;

use super::identities::{place, private};
use crate::layout::{Layout, Running};

/// Looks at every database, and at every file that a process of the mesh has open.
pub(super) fn layer(intent: &Intent, layout: &Layout, running: &Running) -> Layer {
    let mut checks = Vec::new();
    for workload in &intent.workloads {
        let store = layout.store(&workload.name);
        let mut paths = vec![store.clone()];
        match fs::read_dir(&store) {
            // What else lies there holds no classified value: counters, by peer and method.
            Ok(entries) => {
                paths.extend(entries.flatten().map(|entry| entry.path()).filter(|path| name(path).contains(".db")))
            }
            // A workload that only calls has no store.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => checks.push(Check::unknown(&workload.name, "its store can be looked at", error.to_string())),
        }
        paths.sort();
        for path in &paths {
            checks.extend(private(layout, path, &format!("the store of {}: {}", workload.name, name(path))));
        }
    }
    for (process, pid) in &running.pids {
        checks.push(opened(layout, process, *pid));
    }
    Layer::ran(LayerName::Stores, checks)
}

/// That a process has no store open but its own.
fn opened(layout: &Layout, process: &str, pid: u32) -> Check {
    const EXPECTED: &str = "has no store open but its own";
    let descriptors = match fs::read_dir(format!("/proc/{pid}/fd")) {
        Ok(descriptors) => descriptors,
        Err(error) => return Check::unknown(process, EXPECTED, format!("process {pid}: {error}")),
    };
    let (stores, own) = (layout.root().join("stores"), layout.store(process));
    let targets = descriptors.flatten().filter_map(|descriptor| fs::read_link(descriptor.path()).ok());
    let foreign: Vec<PathBuf> =
        targets.filter(|target| target.starts_with(&stores) && !target.starts_with(&own)).collect();
    match foreign.first() {
        None => Check::holds(process, EXPECTED),
        Some(file) => {
            Check::violated(process, EXPECTED, format!("it has {} open", place(layout, file))).at(place(layout, file))
        }
    }
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
