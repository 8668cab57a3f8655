//! A question to those who enforce: may this party do that? It holds facts about the parties, as a target could learn
//! them, and no name that only we know.

use std::collections::BTreeMap;
use std::net::IpAddr;

use sekat_policy::Span;
use sekat_policy::intent::Protocol;

/// Somebody who sends or receives.
#[derive(Clone, Debug)]
pub(crate) struct Party {
    /// What messages call it.
    pub(crate) title: String,
    /// The workload or store that it really is, if it is one.
    pub(crate) genuine: Option<String>,
    pub(crate) kind: Kind,
    pub(crate) namespace: String,
    /// The Service through which it is called.
    pub(crate) service: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) service_account: String,
    pub(crate) trust_domain: String,
    /// The trust domain of the proxies of its namespace.
    pub(crate) proxies: String,
    /// The SPIFFE ID in its certificate; empty if it has none.
    pub(crate) identity: String,
    pub(crate) address: IpAddr,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// In the cluster.
    Pod,
    /// A machine of the cluster, from which probes come.
    Node,
    /// Elsewhere.
    Outside,
}

/// Somebody tries to reach somebody.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attempt<'a> {
    pub(crate) from: &'a Party,
    pub(crate) to: &'a Party,
    pub(crate) port: u16,
    /// The name of the listener, under which a guard of its own may stand there; empty if nobody has stated it.
    pub(crate) listener: &'a str,
    pub(crate) protocol: Protocol,
    /// The path of a gRPC call; none for bytes that are not HTTP.
    pub(crate) path: Option<&'a str>,
}

/// What becomes of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict<'a> {
    /// It passes; by the rule there, if it is a rule and not its absence.
    Allowed(Option<&'a Span>),
    Denied,
}

impl Verdict<'_> {
    pub(crate) const fn is_allowed(self) -> bool {
        matches!(self, Self::Allowed(_))
    }
}
