//! OpenTelemetry's RPC conventions 1.39 to 1.44: `rpc.system.name`, `rpc.method` with its service, and the status as a
//! name in `rpc.response.status_code`.

use super::legacy::is_grpc;
use super::{Found, MethodName, Status, role_of};
use crate::span::Span;

pub(super) fn read<'a>(span: &Span<'a>) -> Option<Found<'a>> {
    let attributes = &span.attributes;
    if !is_grpc(attributes.rpc_system_name) {
        return None;
    }
    Some(Found {
        role: role_of(span),
        method: MethodName::of_path(attributes.rpc_method),
        unknown: false,
        status: Status::of_name(attributes.rpc_response_status_code),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::span::{Attributes, Kind};

    #[test]
    fn the_method_has_its_service_and_the_status_is_a_name() {
        let attributes = Attributes {
            rpc_system_name: "grpc",
            rpc_method: "shop.Pay/Charge",
            rpc_response_status_code: "NOT_FOUND",
            ..Attributes::default()
        };
        let found = read(&Span { kind: Kind::Server, attributes, ..Span::default() }).unwrap();
        assert_eq!(found.method, Some(MethodName { service: "shop.Pay", method: "Charge" }));
        assert_eq!(found.status.map(Status::name), Some("NOT_FOUND"));
        let attributes = Attributes { rpc_method: "Charge", ..attributes };
        assert_eq!(read(&Span { kind: Kind::Server, attributes, ..Span::default() }).unwrap().method, None);
    }
}
