//! An intent by names: lints look up every edge, and a mesh has thousands.

use std::collections::BTreeMap;

use sekat_policy::Intent;
use sekat_policy::intent::{Classes, Domain, Method, Workload};

use super::{classified, quoted};

/// What an intent names. Where a name is taken twice, which is a finding of its own, the first counts.
pub(super) struct Index<'a> {
    pub(super) methods: BTreeMap<&'a str, &'a Method>,
    workloads: BTreeMap<&'a str, &'a Workload>,
    domains: BTreeMap<&'a str, &'a Domain>,
}

impl<'a> Index<'a> {
    pub(super) fn of(intent: &'a Intent) -> Self {
        // The last of equal keys stays in a map, so the first has to come last.
        Self {
            methods: intent.methods.iter().rev().map(|it| (it.path.as_str(), it)).collect(),
            workloads: intent.workloads.iter().rev().map(|it| (it.name.as_str(), it)).collect(),
            domains: intent.domains.iter().rev().map(|it| (it.name.as_str(), it)).collect(),
        }
    }

    /// What `classes` have that the workload's domain may not hold, as a message says it; nothing if it may hold all,
    /// or if its domain is not known, which is another finding.
    pub(super) fn forbidden(&self, workload: &str, classes: &Classes) -> Option<String> {
        let domain = self.domains.get(self.workloads.get(workload)?.domain.as_str())?;
        let beyond = classified(classes).into_iter().filter(|class| !domain.may_hold.contains(*class));
        let beyond: Vec<_> = beyond.map(quoted).collect();
        (!beyond.is_empty()).then(|| format!("{}, which the domain `{}` may not hold", beyond.join(", "), domain.name))
    }
}
