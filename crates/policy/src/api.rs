//! The compiled form of one contract package, as generated code states it and servers and clients use it.

use std::time::Duration;

use crate::ClassSet;

/// One contract package: the workload that serves it and the rules of each of its methods.
/// Generated from the `.proto` files, one static a package; never written by hand.
#[derive(Debug)]
pub struct Api {
    /// The protobuf package, for instance `sekat.payment.v1`.
    pub package: &'static str,
    /// The workload that serves it, for instance `payment`.
    pub workload: &'static str,
    /// The domain of that workload, for instance `commerce`.
    pub domain: &'static str,
    /// The identity that a client insists on, for instance `spiffe://commerce.sekat.local/payment`.
    pub server_id: &'static str,
    /// The port on which the package is served.
    pub listener: Listener,
    /// All methods of the package's services.
    pub methods: &'static [MethodPolicy],
    /// The gRPC service config: deadlines and retries by method, as JSON.
    pub service_config: &'static str,
    /// The encoded `FileDescriptorSet` with all options, for reflection.
    pub descriptor_set: &'static [u8],
}

/// The ports of a workload that take remote procedure calls. Health has a port of its own without methods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Listener {
    /// Mutual TLS; only the own domain's identities are trusted.
    Mesh,
    /// Mutual TLS; also the other domain's identities are trusted. Catalog's product feed only.
    Feed,
}

/// Whether repeating a call is free of effects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MethodKind {
    /// Changes nothing.
    Read,
    /// Has an effect, at most once for each `request_id`.
    Write,
    /// A read whose answers stream.
    ServerStream,
}

/// What the end user's token must hold for an edge to forward a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EndUserScope {
    /// No token: browsing, signing up, signing in.
    Anonymous,
    /// Signed in as a buyer.
    Buyer,
    /// Signed in as a seller.
    Seller,
    /// Signed in to the showcase under a public handle.
    Creator,
}

/// The rules of one method.
#[derive(Debug)]
pub struct MethodPolicy {
    /// The gRPC path, for instance `/sekat.order.v1.OrderService/CreateOrder`.
    pub path: &'static str,
    /// The identities that may call it, as SPIFFE IDs. Nobody else may.
    pub callers: &'static [&'static str],
    /// What the request can hold.
    pub request: ClassSet,
    /// What the response can hold.
    pub response: ClassSet,
    /// Whether it reads or writes.
    pub kind: MethodKind,
    /// The end-user scopes of which one is needed when an edge calls it. Empty: no edge may.
    pub scopes: &'static [EndUserScope],
    /// The time that a call gets when its caller states none.
    pub deadline: Duration,
}

impl MethodPolicy {
    /// Whether `caller`, a SPIFFE ID, may call the method.
    #[must_use]
    pub fn allows(&self, caller: &str) -> bool {
        self.callers.contains(&caller)
    }

    /// What the call touches, in either direction.
    #[must_use]
    pub const fn classes(&self) -> ClassSet {
        self.request.union(self.response)
    }

    /// Whether an access record must be durable before a response leaves.
    #[must_use]
    pub const fn is_recorded(&self) -> bool {
        self.classes().intersects(ClassSet::RECORDED)
    }
}
