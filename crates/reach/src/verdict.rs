//! What the policies of one direction decide, tier by tier, for one peer. This is the only place that decides: rows
//! and explanations both come here.

use crate::labels::Truth;
use crate::objects::{Action, Tier};
use crate::ports::{Conn, PortSet};

/// A policy as it looks from one pod towards one peer.
pub(crate) struct Judged {
    pub(crate) tier: Tier,
    pub(crate) priority: i64,
    /// Whether it decides for the pod; never `No`.
    pub(crate) selects: Truth,
    pub(crate) matches: Vec<Match>,
}

/// A rule as it looks from one pod towards one peer.
pub(crate) struct Match {
    pub(crate) action: Action,
    /// What it matches for certain, and what it may match.
    pub(crate) ports: Conn,
}

/// What `policies` decide, which are in the order of tier and priority.
pub(crate) fn decide(policies: &[Judged]) -> Conn {
    let (admin, namespaced, baseline) = tiers(policies);
    let last = ordered(baseline, &Conn::all());
    let middle = additive(namespaced, &last);
    ordered(admin, &middle)
}

/// The policies of each tier.
pub(crate) fn tiers(policies: &[Judged]) -> (&[Judged], &[Judged], &[Judged]) {
    let (admin, rest) = policies.split_at(policies.partition_point(|policy| policy.tier == Tier::Admin));
    let (namespaced, baseline) = rest.split_at(rest.partition_point(|policy| policy.tier == Tier::Namespaced));
    (admin, namespaced, baseline)
}

/// Namespaced policies add up: if one selects the pod, only what some policy allows is allowed.
fn additive(policies: &[Judged], next: &Conn) -> Conn {
    let (mut certain, mut possible) = (PortSet::none(), PortSet::none());
    for Match { ports, .. } in policies.iter().flat_map(|policy| &policy.matches) {
        certain = certain.union(&ports.certain);
        possible = possible.union(&ports.possible);
    }
    if policies.is_empty() {
        certain = certain.union(&next.certain);
    }
    if policies.iter().all(|policy| policy.selects != Truth::Yes) {
        possible = possible.union(&next.possible);
    }
    Conn { certain, possible }
}

/// Policies of an ordered tier: the first rule that matches decides. Among policies of one priority nobody knows
/// which comes first, so only what all of them agree on is certain.
fn ordered(policies: &[Judged], next: &Conn) -> Conn {
    let mut rest = next.clone();
    for peers in policies.chunk_by(|left, right| left.priority == right.priority).rev() {
        let outcomes: Vec<Outcome> = peers.iter().map(|policy| first_match(&policy.matches, next)).collect();
        let mut agreed = PortSet::all();
        let (mut taken, mut possible) = (PortSet::none(), PortSet::none());
        for outcome in &outcomes {
            agreed = agreed.without(&outcome.reach.possible.without(&outcome.allowed.certain));
            taken = taken.union(&outcome.reach.certain);
            possible = possible.union(&outcome.allowed.possible);
        }
        rest = Conn {
            certain: agreed.intersection(&taken.union(&rest.certain)),
            possible: possible.union(&rest.possible.without(&taken)),
        };
    }
    rest
}

/// What one policy of an ordered tier decides.
struct Outcome {
    /// The ports for which some rule matches.
    reach: Conn,
    /// Within these: `certain` is allowed if a rule matches at all, `possible` may be.
    allowed: Conn,
}

fn first_match(rules: &[Match], next: &Conn) -> Outcome {
    let mut outcome = Outcome { reach: Conn::default(), allowed: Conn::default() };
    for Match { action, ports } in rules.iter().rev() {
        let effect = match action {
            Action::Accept => Conn::all(),
            Action::Deny => Conn::default(),
            Action::Pass => next.clone(),
        };
        let (unsure, Outcome { reach, allowed }) = (ports.unsure(), &outcome);
        // Where the rule only may match, a later one may decide instead, unless no later one can.
        let either = allowed.certain.union(&unsure.without(&reach.possible));
        let certain = ports
            .certain
            .intersection(&effect.certain)
            .union(&unsure.intersection(&effect.certain).intersection(&either))
            .union(&allowed.certain.without(&ports.possible));
        let possible = ports.possible.intersection(&effect.possible).union(&allowed.possible.without(&ports.certain));
        let reach =
            Conn { certain: reach.certain.union(&ports.certain), possible: reach.possible.union(&ports.possible) };
        outcome = Outcome { reach, allowed: Conn { certain, possible } };
    }
    outcome
}
