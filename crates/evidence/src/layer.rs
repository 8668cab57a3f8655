//! What a layer of the proof tried and saw. A layer is no more than its checks: its verdict and its counts follow from
//! them, so that whoever has the checks needs to believe nobody about the verdict.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What is known of a claim. In this order one outweighs the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Verdict {
    /// Everything that was tried went as it must.
    Holds,
    /// Something could not be seen; it says why.
    #[default]
    Unknown,
    /// Something went as it must not; it is named.
    Violated,
}

/// The layers of the proof, from what is written to what happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LayerName {
    /// The contracts: every field has a class, and only public data crosses.
    Contracts,
    /// The code: who links whose contract.
    Code,
    /// The certificates: one identity a workload, of the trust domain of its owner.
    Identities,
    /// The network policies as they are deployed, read back.
    Network,
    /// Real packets under these policies.
    Packets,
    /// The stores: who has them open, who could.
    Stores,
    /// Forbidden calls that were tried, each as every workload.
    Probes,
    /// Planted values, searched for in everything that the showcase received, stored or logged.
    Canaries,
    /// Recorded traces, reconciled with counters that took another way.
    Traces,
    /// Records of who saw whose data.
    Records,
}

impl LayerName {
    /// All of them, in their order.
    pub const ALL: [Self; 10] = [
        Self::Contracts,
        Self::Code,
        Self::Identities,
        Self::Network,
        Self::Packets,
        Self::Stores,
        Self::Probes,
        Self::Canaries,
        Self::Traces,
        Self::Records,
    ];

    /// The name in files and on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Contracts => "contracts",
            Self::Code => "code",
            Self::Identities => "identities",
            Self::Network => "network",
            Self::Packets => "packets",
            Self::Stores => "stores",
            Self::Probes => "probes",
            Self::Canaries => "canaries",
            Self::Traces => "traces",
            Self::Records => "records",
        }
    }
}

/// One thing that was tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Check {
    /// What was tried, for instance `showcase -> /sekat.payment.v1.PaymentIntentService/GetPaymentIntent`.
    pub subject: String,
    /// What must come of it, for instance `refused`.
    pub expected: String,
    /// What came of it.
    pub observed: String,
    /// What that means.
    pub outcome: Verdict,
    /// The code of the finding, with a page in docs/diagnostics, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Where to look: a file and line, a trace, a record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
}

impl Check {
    /// Something that went as it must.
    pub fn holds(subject: impl Into<String>, expected: impl Into<String>) -> Self {
        let expected = expected.into();
        Self { observed: expected.clone(), ..Self::new(subject, expected, "", Verdict::Holds) }
    }

    /// Something that went as it must not.
    pub fn violated(subject: impl Into<String>, expected: impl Into<String>, observed: impl Into<String>) -> Self {
        Self::new(subject, expected, observed, Verdict::Violated)
    }

    /// Something that could not be seen, and why.
    pub fn unknown(subject: impl Into<String>, expected: impl Into<String>, why: impl Into<String>) -> Self {
        Self::new(subject, expected, why, Verdict::Unknown)
    }

    /// The same with a place.
    #[must_use]
    pub fn at(mut self, place: impl Into<String>) -> Self {
        self.place = Some(place.into());
        self
    }

    /// The same with the code of a finding.
    #[must_use]
    pub fn coded(mut self, code: impl Into<String>) -> Self {
        self.code = Some(code.into());
        self
    }

    fn new(
        subject: impl Into<String>,
        expected: impl Into<String>,
        observed: impl Into<String>,
        outcome: Verdict,
    ) -> Self {
        Self {
            subject: subject.into(),
            expected: expected.into(),
            observed: observed.into(),
            outcome,
            code: None,
            place: None,
        }
    }
}

/// A layer of the proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// Which.
    pub name: LayerName,
    /// What was tried, in a stable order.
    pub checks: Vec<Check>,
    /// Why the layer did not run, if it did not.
    pub not_run: Option<String>,
}

impl Layer {
    /// A layer that ran.
    #[must_use]
    pub const fn ran(name: LayerName, checks: Vec<Check>) -> Self {
        Self { name, checks, not_run: None }
    }

    /// A layer that did not run, and why.
    pub fn not_run(name: LayerName, why: impl Into<String>) -> Self {
        Self { name, checks: Vec::new(), not_run: Some(why.into()) }
    }

    /// The worst outcome. A layer that did not run, or tried nothing, shows nothing.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        let worst = self.checks.iter().map(|check| check.outcome).max().unwrap_or(Verdict::Unknown);
        if self.not_run.is_some() { worst.max(Verdict::Unknown) } else { worst }
    }

    /// How many checks had that outcome.
    #[must_use]
    pub fn count(&self, outcome: Verdict) -> usize {
        self.checks.iter().filter(|check| check.outcome == outcome).count()
    }

    /// The checks that did not hold, the worst first.
    #[must_use]
    pub fn witnesses(&self) -> Vec<&Check> {
        let mut witnesses: Vec<_> = self.checks.iter().filter(|check| check.outcome != Verdict::Holds).collect();
        witnesses.sort_by_key(|check| std::cmp::Reverse(check.outcome));
        witnesses
    }
}

impl Verdict {
    /// The worst of all layers; nothing is known of no layers.
    pub fn of<'a>(layers: impl IntoIterator<Item = &'a Layer>) -> Self {
        layers.into_iter().map(Layer::verdict).max().unwrap_or(Self::Unknown)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Holds => "HOLDS",
            Self::Unknown => "UNKNOWN",
            Self::Violated => "VIOLATED",
        })
    }
}

impl fmt::Display for LayerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_check_decides_and_silence_proves_nothing() {
        let layer = |checks: &[Check]| Layer::ran(LayerName::Probes, checks.to_vec());
        let (good, open, bad) = (
            Check::holds("a", "refused"),
            Check::unknown("b", "refused", "lost"),
            Check::violated("c", "refused", "OK"),
        );
        assert_eq!(layer(&[]).verdict(), Verdict::Unknown);
        assert_eq!(layer(std::slice::from_ref(&good)).verdict(), Verdict::Holds);
        assert_eq!(layer(&[good.clone(), open.clone()]).verdict(), Verdict::Unknown);
        assert_eq!(layer(&[open.clone(), bad.clone(), good.clone()]).verdict(), Verdict::Violated);
        assert_eq!(layer(&[good, open.clone(), bad.clone()]).witnesses(), [&bad, &open]);
        assert_eq!(Layer::not_run(LayerName::Packets, "no namespaces").verdict(), Verdict::Unknown);
        assert_eq!(Verdict::of([]), Verdict::Unknown);
    }
}
