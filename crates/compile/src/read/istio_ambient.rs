//! Istio's ambient mode: a call passes if it passes the waypoint of the callee's namespace and then ztunnel, which sees
//! the waypoint as its peer; or if ztunnel lets it pass directly. The waypoint reads only policies that name its
//! Services or itself; ztunnel reads only the others, and of no call more than the connection.

use std::collections::BTreeSet;

use crate::attempt::{Attempt, Kind, Verdict};
use crate::read::Reader;
use crate::read::cursor::{Cursor, Reading, Sink};
use crate::read::istio::{Mode, Policy, Scope, View, decide, is_strict, principal, require_strict};

/// A mesh without sidecars.
#[derive(Debug)]
pub(crate) struct Ambient {
    policies: Vec<Policy>,
    modes: Vec<Mode>,
    /// Namespace and name.
    waypoints: BTreeSet<(String, String)>,
}

impl Ambient {
    pub(crate) fn read(objects: &[Cursor<'_>], sink: &mut Sink) -> Self {
        let (mut policies, mut modes, mut waypoints) = (Vec::new(), Vec::new(), BTreeSet::new());
        for object in objects {
            match object.kind() {
                "AuthorizationPolicy" => {
                    let policy = Policy::read(*object, sink);
                    let policy = sink.keep(policy);
                    if policy.as_ref().is_some_and(|it| it.reads_http() && !matches!(it.scope, Scope::Targets(_))) {
                        let message =
                            "ztunnel sees no HTTP and the waypoint no selector: nobody enforces this as it reads";
                        sink.trap(*object, message, "name the Service in targetRefs instead of a selector");
                    }
                    policies.extend(policy);
                }
                "PeerAuthentication" => {
                    let mode = Mode::read(*object);
                    modes.extend(sink.keep(mode));
                }
                "Gateway" => {
                    let waypoint = waypoint(*object);
                    waypoints.extend(sink.keep(waypoint));
                }
                _ => sink.found.push(object.unknown_kind()),
            }
        }
        require_strict(objects, &modes, sink);
        Self { policies, modes, waypoints }
    }

    /// What ztunnel does with a connection of the peer `principal`.
    fn ztunnel(&self, principal: Option<&str>, attempt: &Attempt<'_>) -> Verdict<'_> {
        if principal.is_none() && is_strict(&self.modes, attempt.to, attempt.port) {
            return Verdict::Denied;
        }
        let view = View { principal, address: attempt.from.address, port: attempt.port, path: None };
        decide(self.policies.iter().filter(|policy| policy.covers(attempt.to)), view)
    }

    /// What the waypoint of that name, and ztunnel behind it, do.
    fn through(&self, waypoint: &str, principal: &str, attempt: &Attempt<'_>) -> Verdict<'_> {
        let is_meant = |policy: &&Policy| {
            let Scope::Targets(targets) = &policy.scope else { return false };
            let names = |(kind, name): &(String, String)| match kind.as_str() {
                "Service" => *name == attempt.to.service,
                "Gateway" => name == waypoint,
                _ => false,
            };
            policy.namespace == attempt.to.namespace && targets.iter().any(names)
        };
        let (address, port) = (attempt.from.address, attempt.port);
        let view = View { principal: Some(principal), address, port, path: attempt.path };
        let verdict = decide(self.policies.iter().filter(is_meant), view);
        let proxy = format!("{}/ns/{}/sa/{waypoint}", attempt.to.proxies, attempt.to.namespace);
        if verdict.is_allowed() && self.ztunnel(Some(&proxy), attempt).is_allowed() { verdict } else { Verdict::Denied }
    }
}

impl Reader for Ambient {
    fn judge(&self, attempt: &Attempt<'_>) -> Verdict<'_> {
        let principal = principal(attempt.from);
        let direct = self.ztunnel(principal.as_deref(), attempt);
        let Some(principal) = principal.filter(|_| attempt.from.kind == Kind::Pod && !direct.is_allowed()) else {
            return direct;
        };
        let here = self.waypoints.iter().filter(|(namespace, _)| *namespace == attempt.to.namespace);
        let mut through = here.map(|(_, waypoint)| self.through(waypoint, &principal, attempt));
        through.find(|verdict| verdict.is_allowed()).unwrap_or(Verdict::Denied)
    }
}

fn waypoint(at: Cursor<'_>) -> Reading<(String, String)> {
    at.only(&["apiVersion", "kind", "metadata", "spec"])?;
    let class = at.required("spec")?.required("gatewayClassName")?;
    if class.text()? != "istio-waypoint" {
        return Err(class.not_understood("a Gateway that is no waypoint"));
    }
    Ok((at.namespace().to_owned(), at.name().to_owned()))
}
