//! The targets, and how much of a call each of them sees.

use std::fmt;
use std::str::FromStr;

/// Who is to enforce.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Target {
    /// NetworkPolicy, which every cluster has.
    Kubernetes,
    /// ClusterNetworkPolicy, which nobody in a namespace can widen.
    Cnp,
    /// Istio with sidecars.
    Istio,
    /// Istio without sidecars: ztunnel on nodes, a waypoint a namespace.
    IstioAmbient,
    /// Linkerd.
    Linkerd,
    /// CiliumNetworkPolicy.
    Cilium,
    /// The authorization policy of gRPC libraries (gRFC A43).
    GrpcRbac,
    /// The RBAC filters of an Envoy in front of the listener.
    Envoy,
}

impl Target {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Kubernetes,
        Self::Cnp,
        Self::Istio,
        Self::IstioAmbient,
        Self::Linkerd,
        Self::Cilium,
        Self::GrpcRbac,
        Self::Envoy,
    ];

    /// The name by which users know it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kubernetes => "kubernetes",
            Self::Cnp => "cnp",
            Self::Istio => "istio",
            Self::IstioAmbient => "istio-ambient",
            Self::Linkerd => "linkerd",
            Self::Cilium => "cilium",
            Self::GrpcRbac => "grpc-rbac",
            Self::Envoy => "envoy",
        }
    }

    pub(crate) fn sight(self) -> Sight {
        let sees = |methods, probes, egress, datagrams| Sight {
            methods,
            probes,
            egress,
            datagrams,
            unstated_ports: !matches!(self, Self::GrpcRbac | Self::Envoy),
            stores: !matches!(self, Self::GrpcRbac),
            only_walls: matches!(self, Self::Cnp),
        };
        match self {
            Self::Kubernetes | Self::Cnp => sees(false, Probes::Addresses, true, true),
            Self::Cilium => sees(true, Probes::Addresses, true, true),
            // ztunnel knows no methods, and probes do not pass a waypoint.
            Self::IstioAmbient => sees(true, Probes::Addresses, false, false),
            Self::Istio | Self::Linkerd | Self::Envoy => sees(true, Probes::Health, false, false),
            Self::GrpcRbac => sees(true, Probes::HealthFromAnybody, false, false),
        }
    }
}

/// What a target can tell apart. The intent is compared with what it enforces under this projection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sight {
    /// It tells one method from another.
    pub(crate) methods: bool,
    pub(crate) probes: Probes,
    /// It also holds what a workload opens, not only what it accepts.
    pub(crate) egress: bool,
    /// It sees UDP and SCTP.
    pub(crate) datagrams: bool,
    /// It guards stores, where there are no methods.
    pub(crate) stores: bool,
    /// It closes ports that nobody has stated.
    pub(crate) unstated_ports: bool,
    /// It only denies, between domains and before stores, and leaves the rest to others.
    pub(crate) only_walls: bool,
}

/// What a target sees of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Probes {
    /// Where it comes from.
    Addresses,
    /// Where it comes from, and that it asks for health.
    Health,
    /// That it asks for health.
    HealthFromAnybody,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Not the name of a target; the message lists the names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownTarget(String);

impl fmt::Display for UnknownTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = Target::ALL.iter().map(|target| target.name()).collect();
        write!(f, "`{}` is no target; targets are {}", self.0, names.join(", "))
    }
}

impl std::error::Error for UnknownTarget {}

impl FromStr for Target {
    type Err = UnknownTarget;

    fn from_str(text: &str) -> Result<Self, UnknownTarget> {
        let target = Self::ALL.into_iter().find(|target| target.name() == text);
        target.ok_or_else(|| UnknownTarget(text.to_owned()))
    }
}
