//! OpenTelemetry's RPC conventions up to 1.37, which most libraries still write: `rpc.system`, `rpc.service`,
//! `rpc.method` without its service, and the status as a number.

use super::{Found, MethodName, OTHER, Status, role_of};
use crate::span::Span;

pub(super) fn read<'a>(span: &Span<'a>) -> Option<Found<'a>> {
    let attributes = &span.attributes;
    if !is_grpc(attributes.rpc_system) {
        return None;
    }
    // Beside the newer spelling `rpc.method` holds both halves.
    let method = attributes.rpc_method.rsplit('/').next().unwrap_or_default();
    let named = !attributes.rpc_service.is_empty() && !method.is_empty() && attributes.rpc_method != OTHER;
    Some(Found {
        role: role_of(span),
        method: named.then_some(MethodName { service: attributes.rpc_service, method }),
        unknown: attributes.rpc_method == OTHER,
        status: attributes.rpc_grpc_status_code.and_then(Status::of_number),
    })
}

/// The systems whose methods are gRPC paths.
pub(super) fn is_grpc(system: &str) -> bool {
    matches!(system, "grpc" | "connect_rpc" | "connectrpc")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::span::{Attributes, Kind};

    #[test]
    fn service_and_method_stand_apart_and_the_status_is_a_number() {
        let attributes = Attributes {
            rpc_system: "grpc",
            rpc_service: "shop.Pay",
            rpc_method: "Charge",
            rpc_grpc_status_code: Some(14),
            ..Attributes::default()
        };
        let found = read(&Span { kind: Kind::Client, attributes, ..Span::default() }).unwrap();
        assert_eq!(found.method, Some(MethodName { service: "shop.Pay", method: "Charge" }));
        assert_eq!(found.status.map(Status::name), Some("UNAVAILABLE"));
        let attributes = Attributes { rpc_service: "", ..attributes };
        assert_eq!(read(&Span { kind: Kind::Client, attributes, ..Span::default() }).unwrap().method, None);
    }
}
