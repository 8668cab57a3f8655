//! What a target cannot express of an intent, and who holds it instead.

use std::fmt;

use sekat_policy::Intent;
use sekat_policy::intent::{Audience, Protocol};

use crate::target::{Probes, Target};

/// Something that is meant and that a target lets through or does not see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// What it does not hold.
    pub what: String,
    /// Who does.
    pub enforced_by: String,
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; enforced by: {}", self.what, self.enforced_by)
    }
}

/// What `target` loses of `intent`; what the intent does not use is not lost.
pub(crate) fn losses(intent: &Intent, target: Target) -> Vec<Loss> {
    let sight = target.sight();
    let mut losses = Vec::new();
    let mut lose = |applies: bool, what: &str, enforced_by: &str| {
        if applies {
            losses.push(Loss { what: what.to_owned(), enforced_by: enforced_by.to_owned() });
        }
    };
    let ports = || {
        let of_workloads = intent.workloads.iter().flat_map(|workload| &workload.ports);
        of_workloads.chain(intent.stores.iter().flat_map(|store| &store.ports))
    };
    let has = |audience| ports().any(|port| port.audience == audience);
    let authorization = "the authorization of the mesh: sekat's own server, or istio, linkerd, grpc-rbac or envoy";
    let network = "the kubernetes and cnp targets";

    lose(
        sight.only_walls,
        "it only denies, between domains and before stores; within a domain it decides nothing",
        "the kubernetes target",
    );
    lose(!sight.methods && !intent.edges.is_empty(), "it sees connections, not methods", authorization);
    lose(
        matches!(target, Target::Kubernetes | Target::Cnp | Target::Cilium),
        "it knows a workload by its labels, which whoever may make pods can set, not by a certificate",
        authorization,
    );
    lose(!sight.egress, "it holds what a workload accepts, not what it opens", network);
    lose(!sight.egress && !intent.externals.is_empty(), "connections that leave the mesh are not seen", network);
    lose(
        sight.egress && !sight.only_walls && !intent.externals.is_empty(),
        "hosts outside are known by their addresses, not by their names",
        "the client, which verifies the certificate of the one host it was told",
    );
    lose(!sight.datagrams && ports().any(|port| port.protocol != Protocol::Tcp), "UDP and SCTP are not seen", network);
    lose(
        sight.methods && target != Target::GrpcRbac && !intent.edges.is_empty(),
        "methods are seen only where its proxy ends the TLS connection; of bytes that the workloads encrypt themselves \
         it sees the connection, and refuses it",
        "leave TLS to the proxy, or use grpc-rbac or sekat's own server instead of this target",
    );
    lose(
        sight.probes == Probes::Addresses && has(Audience::Probes),
        "on the port of probes every method may be called from their addresses",
        "the workload, which serves nothing but health there",
    );
    lose(
        sight.probes == Probes::HealthFromAnybody && has(Audience::Probes),
        "it knows no addresses: whoever reaches the port of probes may ask for health",
        network,
    );
    lose(
        has(Audience::Probes)
            && intent.platform.probes.is_empty()
            && !matches!(target, Target::Kubernetes | Target::Cnp),
        "no addresses of probes are stated, so none are let in",
        "state platform.probes; without them only the platform's own exceptions let probes in",
    );
    lose(!sight.stores && !intent.stores.is_empty(), "stores have no gRPC server that could read it", network);
    lose(!sight.unstated_ports, "it guards the listeners it is put before, no others", network);
    lose(!intent.topics.is_empty(), "who publishes and who consumes is not seen", "the access control of the broker");
    losses
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::shop;

    #[test]
    fn what_is_not_used_is_not_lost() {
        for target in Target::ALL {
            // What no target can see does not depend on the intent; of everything else nothing is left.
            let empty = losses(&Intent::default(), target);
            let all = losses(&shop(), target);
            assert!(empty.len() < all.len(), "{target}: {empty:#?}");
            assert!(all.iter().all(|loss| !loss.what.is_empty() && !loss.enforced_by.is_empty()));
        }
        let methods = |target| losses(&shop(), target).iter().any(|loss| loss.what.contains("not methods"));
        for target in Target::ALL {
            assert_eq!(methods(target), matches!(target, Target::Kubernetes | Target::Cnp), "{target}");
        }
    }
}
