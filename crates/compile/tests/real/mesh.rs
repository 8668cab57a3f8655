//! The mesh of this repository: what its contracts mean where it is deployed.

use std::path::PathBuf;

use sekat_contract::Deployment;
use sekat_contract::check::{self, Meant};
use sekat_policy::Intent;

use crate::root;

/// A folder of the deployment.
pub(crate) fn deployed(folder: &str) -> PathBuf {
    root().join("deploy/kubernetes").join(folder)
}

/// What the contracts mean, wherever it is.
pub(crate) fn intent() -> Intent {
    meant(None)
}

/// What they mean by the site file of a folder of the deployment.
pub(crate) fn intent_at(folder: &str) -> Intent {
    meant(Some(deployed(folder).join("site.yaml")))
}

fn meant(site: Option<PathBuf>) -> Intent {
    let (protos, deployment) = (root().join("proto"), Deployment::default());
    let contracts = Meant::Contracts { root: &protos, deployment: &deployment };
    let (intent, found) = check::run(&contracts, site.as_deref(), None);
    assert_eq!(found, []);
    intent
}
