//! The spans of gRPC's own libraries (gRFC A72): no attributes; the name is `Sent.`, `Attempt.` or `Recv.` and the path
//! with a dot for its slash; a failure's status stands in front of its description. Libraries differ in the kinds that
//! they give these spans, so the name decides.

use super::{Found, MethodName, Role, Status};
use crate::span::Span;

pub(super) fn read<'a>(span: &Span<'a>) -> Option<Found<'a>> {
    let (side, path) = span.name.split_once('.')?;
    let role = match side {
        "Sent" | "Attempt" => Role::Client,
        "Recv" => Role::Server,
        _ => return None,
    };
    let (service, method) = path.rsplit_once('.')?;
    Some(Found {
        role: Some(role),
        method: Some(MethodName { service, method }),
        unknown: false,
        status: if span.failed { described(span.status_message) } else { Some(Status::OK) },
    })
}

/// `UNAVAILABLE: connection refused`, `PermissionDenied, no`, or the bare name.
fn described(message: &str) -> Option<Status> {
    let end = message.find(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_')).unwrap_or(message.len());
    Status::of_name(message.get(..end)?).filter(|status| *status != Status::OK)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(name: &'static str, failed: bool, status_message: &'static str) -> Option<Found<'static>> {
        read(&Span { name, failed, status_message, ..Span::default() })
    }

    #[test]
    fn the_name_says_side_and_method() {
        for (name, role) in [
            ("Sent.shop.v1.Pay.Charge", Role::Client),
            ("Attempt.shop.v1.Pay.Charge", Role::Client),
            ("Recv.shop.v1.Pay.Charge", Role::Server),
        ] {
            let found = found(name, false, "").unwrap();
            assert_eq!(found.role, Some(role));
            assert_eq!(found.method, Some(MethodName { service: "shop.v1.Pay", method: "Charge" }));
            assert_eq!(found.status, Some(Status::OK));
        }
        for name in ["Received.shop.Pay.Charge", "Recv", "Recv.Charge", "shop.Pay/Charge"] {
            assert_eq!(found(name, false, ""), None, "{name}");
        }
    }

    #[test]
    fn a_failure_without_a_status_is_not_taken_for_one() {
        let status = |message| found("Recv.shop.Pay.Charge", true, message).unwrap().status.map(Status::name);
        assert_eq!(status("UNAVAILABLE: connection refused"), Some("UNAVAILABLE"));
        assert_eq!(status("PermissionDenied, not you"), Some("PERMISSION_DENIED"));
        assert_eq!(status("OK"), None);
        assert_eq!(status("it broke"), None);
        assert_eq!(status(""), None);
    }
}
