//! One call against the policy: the table of what a call means, by who called, how it ended and what the server decided.

use crate::dialect::Status;

/// What the server's policy did, if its span says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    Unsaid,
    Allow,
    Deny,
}

/// Who wrote down that the call happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// The called side.
    Server,
    /// Only the calling side.
    Client,
}

/// What a call means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// It was allowed, and let in.
    Allowed,
    /// It was allowed, and refused or lost all the same.
    AllowedInVain,
    /// It was not allowed, and did not get in.
    Attempt,
    /// It was not allowed, and got in.
    Forbidden,
    /// It was not allowed, and nothing says whether it got in.
    Unclear,
}

/// Judges one call. A status that only a handler gives says that the call got in, whatever it was.
pub(crate) fn judge(allowed: bool, decision: Decision, status: Option<Status>, told: Told) -> Meaning {
    let in_vain = match (decision, status) {
        (Decision::Deny, _) => true,
        (Decision::Allow, _) => false,
        (Decision::Unsaid, Some(status)) => {
            status.is_refusal() || (told == Told::Client && status.may_not_have_arrived())
        }
        (Decision::Unsaid, None) => false,
    };
    match (allowed, in_vain) {
        (true, false) => Meaning::Allowed,
        (true, true) => Meaning::AllowedInVain,
        // A policy that denies does not answer OK: one of the two is untrue.
        (false, true) if status == Some(Status::OK) => Meaning::Forbidden,
        (false, true) => Meaning::Attempt,
        (false, false) => match (decision, status) {
            (Decision::Allow, _) => Meaning::Forbidden,
            (_, None) => Meaning::Unclear,
            // The server's own span of a call that ended early does not say how far it came.
            (_, Some(status)) if status.may_not_have_arrived() => Meaning::Unclear,
            (_, Some(_)) => Meaning::Forbidden,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_call_has_its_meaning() {
        use Decision::{Allow, Deny, Unsaid};
        use Meaning::{Allowed, AllowedInVain, Attempt, Forbidden, Unclear};
        use Told::{Client, Server};
        for (allowed, decision, status, told, meaning) in [
            (true, Allow, "OK", Server, Allowed),
            (true, Unsaid, "OK", Server, Allowed),
            (true, Unsaid, "", Server, Allowed),
            (true, Unsaid, "NOT_FOUND", Server, Allowed),
            (true, Deny, "PERMISSION_DENIED", Server, AllowedInVain),
            (true, Unsaid, "UNAVAILABLE", Client, AllowedInVain),
            (false, Deny, "PERMISSION_DENIED", Server, Attempt),
            (false, Unsaid, "PERMISSION_DENIED", Server, Attempt),
            (false, Unsaid, "UNAUTHENTICATED", Server, Attempt),
            (false, Unsaid, "UNIMPLEMENTED", Server, Attempt),
            (false, Unsaid, "UNAVAILABLE", Client, Attempt),
            (false, Unsaid, "DEADLINE_EXCEEDED", Client, Attempt),
            (false, Unsaid, "OK", Server, Forbidden),
            (false, Unsaid, "OK", Client, Forbidden),
            (false, Allow, "PERMISSION_DENIED", Server, Forbidden),
            (false, Allow, "CANCELLED", Server, Forbidden),
            (false, Allow, "", Server, Forbidden),
            (false, Deny, "OK", Server, Forbidden),
            (false, Unsaid, "NOT_FOUND", Server, Forbidden),
            (false, Unsaid, "INTERNAL", Server, Forbidden),
            (false, Unsaid, "CANCELLED", Server, Unclear),
            (false, Unsaid, "", Server, Unclear),
            (false, Unsaid, "", Client, Unclear),
        ] {
            let got = judge(allowed, decision, Status::of_name(status), told);
            assert_eq!(got, meaning, "{allowed} {decision:?} {status} {told:?}");
        }
    }
}
