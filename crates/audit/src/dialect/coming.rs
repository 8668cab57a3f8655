//! OpenTelemetry's RPC conventions after 1.44: the status is `rpc.status_code`, and a server writes `_OTHER` for a
//! method that it does not know, with the caller's text in `rpc.method_original`. That text is the caller's choice: who
//! probes hides there, so it is never taken for the method; the callee's audit log says the true path.

use super::legacy::is_grpc;
use super::{Found, MethodName, OTHER, Status, role_of};
use crate::span::Span;

pub(super) fn read<'a>(span: &Span<'a>) -> Option<Found<'a>> {
    let attributes = &span.attributes;
    let unknown = attributes.rpc_method == OTHER;
    let speaks = unknown || !attributes.rpc_status_code.is_empty() || !attributes.rpc_method_original.is_empty();
    if !speaks || !(is_grpc(attributes.rpc_system_name) || is_grpc(attributes.rpc_system)) {
        return None;
    }
    Some(Found {
        role: role_of(span),
        method: MethodName::of_path(attributes.rpc_method),
        unknown,
        status: Status::of_name(attributes.rpc_status_code),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::span::{Attributes, Kind};

    fn found(attributes: Attributes<'static>) -> Option<Found<'static>> {
        read(&Span { kind: Kind::Server, attributes, ..Span::default() })
    }

    #[test]
    fn the_status_has_its_new_name() {
        let attributes = Attributes {
            rpc_system_name: "grpc",
            rpc_method: "shop.Pay/Charge",
            rpc_status_code: "ABORTED",
            ..Attributes::default()
        };
        assert_eq!(found(attributes).unwrap().status.map(Status::name), Some("ABORTED"));
        assert_eq!(found(Attributes { rpc_system_name: "dubbo", ..attributes }), None);
    }

    #[test]
    fn an_unknown_method_is_not_what_its_caller_called_it() {
        let attributes = Attributes {
            rpc_system_name: "grpc",
            rpc_method: OTHER,
            rpc_method_original: "shop.Feed/List",
            ..Attributes::default()
        };
        let found = found(attributes).unwrap();
        assert_eq!((found.method, found.unknown), (None, true));
    }
}
