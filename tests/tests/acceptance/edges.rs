//! The reviewed call graph as values: the one truth that the tests of authorization compare the mesh with.

use std::collections::BTreeSet;

use acceptance::golden;
use acceptance::shop::SessionScope;
use acceptance::wire::Outcome;
use bytes::Bytes;
use tonic::Code;

/// Methods that no contract has, and one that is served elsewhere.
pub(crate) const UNKNOWN: [&str; 4] = [
    "/sekat.order.v1.OrderService/Nothing",
    "/sekat.nothing.v1.NothingService/Do",
    "/sekat.order.v1.OrderService/createorder",
    "/grpc.health.v1.Health/Check",
];
/// A message of no contract: field 15, of a wire type that does not exist.
pub(crate) const GARBAGE: Bytes = Bytes::from_static(&[0x7f]);

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

/// Whether a call reached its handler as it should, or was refused as it should; else what should have been.
pub(crate) fn judge(
    right: Option<&Edge>,
    scope: Option<SessionScope>,
    outcome: &Outcome,
) -> Result<bool, &'static str> {
    let Some(right) = right else {
        return if outcome.is_denied_by_policy() { Ok(false) } else { Err("PERMISSION_DENIED by the policy") };
    };
    // A token holds for the edge of one domain only: even where none is needed, a foreign one is refused.
    let foreign = scope.is_some_and(|scope| (scope == SessionScope::Creator) != (right.caller == "showcase-edge"));
    if foreign {
        let refused = outcome.is(Code::Unauthenticated, "END_USER_TOKEN");
        return if refused { Ok(false) } else { Err("UNAUTHENTICATED, the token is for the other domain's edge") };
    }
    if !right.scopes.is_empty() && !right.admits(scope) {
        let refused = match scope {
            None => outcome.is(Code::Unauthenticated, "END_USER_REQUIRED"),
            Some(_) => outcome.is(Code::PermissionDenied, "END_USER_SCOPE"),
        };
        return if refused { Ok(false) } else { Err("a refusal, for want of the end user's scope") };
    }
    match outcome {
        Outcome::Cut(_) => Err("an answer"),
        Outcome::Answered { reason, .. } if ["POLICY_DENIED", "END_USER_SCOPE"].contains(&reason.as_str()) => {
            Err("to reach the handler")
        }
        // A handler that finds fault with the message says so in other words.
        Outcome::Answered { code: Code::Unimplemented | Code::Unknown | Code::Unavailable, .. } => Err("a handler"),
        Outcome::Answered { .. } => Ok(true),
    }
}
