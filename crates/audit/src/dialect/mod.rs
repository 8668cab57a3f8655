//! What a span says about a call, whatever convention its library follows.
//!
//! Each dialect reads a span by itself. Where several find something (libraries write old and new names side by side)
//! they must agree; a span whose dialects tell different stories is reported and never resolved by preference.

mod coming;
mod legacy;
mod native;
mod released;

use std::fmt;

use crate::span::Span;

/// A gRPC status code, 0 to 16.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Status(u8);

impl Status {
    /// The call succeeded.
    pub const OK: Self = Self(0);

    const NAMES: [&'static str; 17] = [
        "OK",
        "CANCELLED",
        "UNKNOWN",
        "INVALID_ARGUMENT",
        "DEADLINE_EXCEEDED",
        "NOT_FOUND",
        "ALREADY_EXISTS",
        "PERMISSION_DENIED",
        "RESOURCE_EXHAUSTED",
        "FAILED_PRECONDITION",
        "ABORTED",
        "OUT_OF_RANGE",
        "UNIMPLEMENTED",
        "INTERNAL",
        "UNAVAILABLE",
        "DATA_LOSS",
        "UNAUTHENTICATED",
    ];

    /// The code of that number.
    #[must_use]
    pub fn of_number(number: i64) -> Option<Self> {
        u8::try_from(number).ok().filter(|code| usize::from(*code) < Self::NAMES.len()).map(Self)
    }

    /// The code of that name: `PERMISSION_DENIED`, Go's `PermissionDenied`, or a number as text.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        if name.is_empty() {
            return None;
        }
        let letters = |text: &str| {
            text.bytes().filter(|byte| *byte != b'_').map(|byte| byte.to_ascii_uppercase()).collect::<Vec<_>>()
        };
        if let Some(index) = Self::NAMES.iter().position(|known| *known == name) {
            return u8::try_from(index).ok().map(Self);
        }
        let wanted = letters(if name.eq_ignore_ascii_case("canceled") { "CANCELLED" } else { name });
        let index = Self::NAMES.iter().position(|known| letters(known) == wanted);
        index.and_then(|index| u8::try_from(index).ok()).map(Self).or_else(|| Self::of_number(name.parse().ok()?))
    }

    /// The number.
    #[must_use]
    pub const fn number(self) -> u8 {
        self.0
    }

    /// The name.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::NAMES.get(usize::from(self.0)).copied().unwrap_or("UNKNOWN")
    }

    /// Whether it is what a server answers that does not let a call in.
    #[must_use]
    pub const fn is_refusal(self) -> bool {
        // PERMISSION_DENIED, RESOURCE_EXHAUSTED, UNIMPLEMENTED, UNAUTHENTICATED
        matches!(self.0, 7 | 8 | 12 | 16)
    }

    /// Whether a caller can see it although the call never reached a handler, or its answer never came back.
    #[must_use]
    pub const fn may_not_have_arrived(self) -> bool {
        // CANCELLED, DEADLINE_EXCEEDED, UNAVAILABLE
        matches!(self.0, 1 | 4 | 14)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Which side of a call a span describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// The called side.
    Server,
    /// The calling side: one attempt, or a call of a library that tells no attempts apart.
    Client,
}

/// The method of a call, in two halves because dialects differ in where they put them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MethodName<'a> {
    pub(crate) service: &'a str,
    pub(crate) method: &'a str,
}

impl<'a> MethodName<'a> {
    /// `pkg.Service/Method`, with or without a slash in front.
    pub(crate) fn of_path(path: &'a str) -> Option<Self> {
        let (service, method) = path.strip_prefix('/').unwrap_or(path).split_once('/')?;
        (!service.is_empty() && !method.is_empty()).then_some(Self { service, method })
    }
}

/// What stands for a method that the server does not know.
pub(crate) const OTHER: &str = "_OTHER";

/// What one dialect found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Found<'a> {
    role: Option<Role>,
    method: Option<MethodName<'a>>,
    /// The server did not know the method: [`OTHER`].
    unknown: bool,
    status: Option<Status>,
}

/// A call, as a span tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Call<'a> {
    pub(crate) role: Role,
    /// `None` if the span does not say, or says that the server did not know it.
    pub(crate) method: Option<MethodName<'a>>,
    pub(crate) unknown: bool,
    /// `None` if the span does not say.
    pub(crate) status: Option<Status>,
    /// Two dialects of the span tell different stories.
    pub(crate) contradictory: bool,
}

/// Reads a span in all dialects; `None` if it is of no gRPC call.
#[inline]
pub(crate) fn read<'a>(span: &Span<'a>) -> Option<Call<'a>> {
    let found = [coming::read(span), released::read(span), legacy::read(span), native::read(span)];
    let mut merged = Found::default();
    let (mut any, mut contradictory) = (false, false);
    for found in found.into_iter().flatten() {
        any = true;
        contradictory |= merged.method.zip(found.method).is_some_and(|(one, other)| one != other)
            || merged.status.zip(found.status).is_some_and(|(one, other)| one != other)
            || merged.role.zip(found.role).is_some_and(|(one, other)| one != other)
            || (merged.unknown && found.method.is_some());
        merged = Found {
            role: merged.role.or(found.role),
            method: merged.method.or(found.method),
            unknown: merged.unknown || found.unknown,
            status: merged.status.or(found.status),
        };
    }
    let role = merged.role.filter(|_| any)?;
    Some(Call { role, method: merged.method, unknown: merged.unknown, status: merged.status, contradictory })
}

/// The side that the span's kind says; calls have no other kinds.
fn role_of(span: &Span<'_>) -> Option<Role> {
    match span.kind {
        crate::span::Kind::Server => Some(Role::Server),
        crate::span::Kind::Client => Some(Role::Client),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::span::{Attributes, Kind};

    /// A server's span of this mesh: both spellings of everything.
    fn ours() -> Span<'static> {
        let attributes = Attributes {
            rpc_system: "grpc",
            rpc_system_name: "grpc",
            rpc_service: "shop.Pay",
            rpc_method: "shop.Pay/Charge",
            rpc_grpc_status_code: Some(7),
            rpc_response_status_code: "PERMISSION_DENIED",
            ..Attributes::default()
        };
        Span { kind: Kind::Server, name: "shop.Pay/Charge", attributes, ..Span::default() }
    }

    #[test]
    fn both_spellings_side_by_side_are_one_call() {
        let call = read(&ours()).unwrap();
        assert_eq!(call.method, MethodName::of_path("/shop.Pay/Charge"));
        assert_eq!(call.status.map(Status::name), Some("PERMISSION_DENIED"));
        assert!(!call.contradictory);
    }

    #[test]
    fn two_stories_in_one_span_are_seen() {
        let mut status = ours();
        status.attributes.rpc_grpc_status_code = Some(0);
        let mut service = ours();
        service.attributes.rpc_service = "shop.Feed";
        let mut unknown = ours();
        (unknown.attributes.rpc_method, unknown.attributes.rpc_status_code) = (OTHER, "UNIMPLEMENTED");
        unknown.name = "Recv.shop.Pay.Charge";
        for (name, span) in [("status", status), ("service", service), ("unknown", unknown)] {
            assert!(read(&span).unwrap().contradictory, "{name}");
        }
    }

    #[test]
    fn what_is_no_call_of_grpc_is_none() {
        let http = Span { kind: Kind::Server, name: "GET /", ..Span::default() };
        assert_eq!(read(&http), None);
        let mut other = ours();
        other.attributes =
            Attributes { rpc_system: "dubbo", rpc_service: "x", rpc_method: "y", ..Attributes::default() };
        assert_eq!(read(&other), None);
        let mut internal = ours();
        internal.kind = Kind::Internal;
        assert_eq!(read(&internal), None);
    }

    #[test]
    fn statuses_have_numbers_and_names_in_three_spellings() {
        for number in 0..17 {
            let status = Status::of_number(number).unwrap();
            assert_eq!(Status::of_name(status.name()), Some(status));
            assert_eq!(Status::of_name(&number.to_string()), Some(status));
        }
        assert_eq!(Status::of_name("PermissionDenied"), Status::of_number(7));
        assert_eq!(Status::of_name("Canceled"), Status::of_number(1));
        for wrong in ["", "17", "-1", "FINE"] {
            assert_eq!(Status::of_name(wrong), None, "{wrong}");
        }
        assert_eq!(Status::of_number(17), None);
    }
}
