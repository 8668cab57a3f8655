//! The reviewed call graph as values: the one truth that the tests of authorization compare the mesh with.

use std::collections::BTreeSet;

use acceptance::golden;
use acceptance::shop::SessionScope;

/// One workload's right to call one method.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Edge {
    pub(crate) caller: String,
    pub(crate) callee: String,
    /// The callee's port, by the name under which `sekat up` tells its address.
    pub(crate) listener: String,
    pub(crate) path: String,
    /// The end-user scopes of which the caller, an edge, has to forward one.
    pub(crate) scopes: Vec<String>,
    /// The classes of request and response.
    pub(crate) classes: BTreeSet<String>,
}

impl Edge {
    /// All rows of `tests/golden/edges.tsv`.
    pub(crate) fn all() -> Vec<Self> {
        let words =
            |text: &str| -> Vec<String> { text.split('|').filter(|word| *word != "-").map(str::to_owned).collect() };
        let edge = |[caller, callee, listener, path, scopes, request, response]: [String; 7]| Self {
            listener: if listener == "feed" { format!("{callee}-feed") } else { callee.clone() },
            scopes: words(&scopes),
            classes: words(&request).into_iter().chain(words(&response)).collect(),
            caller,
            callee,
            path,
        };
        golden::rows("edges.tsv").into_iter().map(edge).collect()
    }

    /// Whether an access through it must be recorded.
    pub(crate) fn is_recorded(&self) -> bool {
        ["USER", "PAYMENT"].iter().any(|class| self.classes.contains(*class))
    }

    /// Whether an end user with a session of that scope, or with none, may have it called.
    pub(crate) fn admits(&self, scope: Option<SessionScope>) -> bool {
        let name = match scope {
            Some(SessionScope::Buyer) => "BUYER",
            Some(SessionScope::Seller) => "SELLER",
            Some(SessionScope::Creator) => "CREATOR",
            Some(SessionScope::Unspecified) | None => "ANONYMOUS",
        };
        self.scopes.iter().any(|scope| scope == name || scope == "ANONYMOUS")
    }
}

/// All methods of all contracts, sorted.
pub(crate) fn paths(edges: &[Edge]) -> BTreeSet<&str> {
    edges.iter().map(|edge| edge.path.as_str()).collect()
}

/// The domain of a workload.
pub(crate) fn domain_of(workload: &str) -> &'static str {
    if workload.starts_with("showcase") { "showcase" } else { "commerce" }
}

/// The SPIFFE ID of a workload.
pub(crate) fn id_of(workload: &str) -> String {
    format!("spiffe://{}.sekat.local/{workload}", domain_of(workload))
}
