//! The layer of the certificates: each workload's identity, verified as a peer would, and who could take its key.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use sekat_evidence::{Check, Layer, LayerName};
use sekat_identity::Source;
use sekat_policy::Intent;

use crate::layout::Layout;

/// Permissions of anybody but the owner.
const OTHERS: u32 = 0o077;

/// Opens each identity with all the checks that its peers make.
pub(super) async fn layer(intent: &Intent, layout: &Layout) -> Layer {
    let mut checks = Vec::new();
    for workload in &intent.workloads {
        let directory = layout.identity(&workload.name);
        let expected = format!("one certificate for {}, of its own domain's authority", workload.identity);
        let check = match Source::open(&directory).await {
            Ok(source) if source.id().as_str() == workload.identity => Check::holds(&workload.name, expected),
            Ok(source) => Check::violated(&workload.name, expected, format!("it is for {}", source.id())),
            Err(error) => Check::violated(&workload.name, expected, error.to_string()),
        };
        checks.push(check.at(place(layout, &directory)));
        checks.extend(private(layout, &directory, &format!("the key of {}", workload.name)));
    }
    Layer::ran(LayerName::Identities, checks)
}

/// That nobody but its owner can look into a directory.
pub(super) fn private(layout: &Layout, path: &Path, subject: &str) -> Option<Check> {
    const EXPECTED: &str = "readable by its owner alone";
    let place = place(layout, path);
    let check = match path.metadata() {
        Ok(metadata) if metadata.mode() & OTHERS == 0 => Check::holds(subject, EXPECTED),
        Ok(metadata) => Check::violated(
            subject,
            EXPECTED,
            format!("others may use it: mode {:03o} of {place}", metadata.mode() & 0o777),
        ),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        Err(error) => Check::unknown(subject, EXPECTED, error.to_string()),
    };
    Some(check.at(place))
}

/// A path as an outsider can place it: from the data directory on.
pub(super) fn place(layout: &Layout, path: &Path) -> String {
    path.strip_prefix(layout.root()).unwrap_or(path).display().to_string()
}
