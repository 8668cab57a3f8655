//! Refusals: `tonic::Status` with the `google.rpc` details of AIP-193. Every status that leaves a service carries
//! an `ErrorInfo` whose `reason` programs can match; the message is for people and never holds a classified value.

use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt as _};

/// The `ErrorInfo.domain` of every refusal.
pub const ERROR_DOMAIN: &str = "sekat";

/// A refusal with `ErrorInfo{reason, domain: "sekat"}`. `reason` is UPPER_SNAKE_CASE and never changes its meaning.
#[must_use]
pub fn refuse(code: Code, reason: &'static str, message: impl Into<String>) -> Status {
    Status::with_error_details(code, message, details(reason))
}

/// `INVALID_ARGUMENT` that names each field at fault: `(path of the field, what it must be)`. A description says
/// what is expected and never repeats the value.
#[must_use]
pub fn invalid<F, D>(reason: &'static str, violations: impl IntoIterator<Item = (F, D)>) -> Status
where
    F: Into<String>,
    D: Into<String>,
{
    let violations: Vec<FieldViolation> =
        violations.into_iter().map(|(field, description)| FieldViolation::new(field, description)).collect();
    let message = violations
        .iter()
        .map(|violation| format!("{}: {}", violation.field, violation.description))
        .collect::<Vec<_>>()
        .join("; ");
    let mut details = details(reason);
    details.set_bad_request(violations);
    Status::with_error_details(Code::InvalidArgument, message, details)
}

/// A refusal that the caller may repeat after `delay` (`RetryInfo`). Clients of this crate do so by themselves for
/// `RESOURCE_EXHAUSTED`.
#[must_use]
pub fn retry_after(code: Code, reason: &'static str, message: impl Into<String>, delay: Duration) -> Status {
    let mut details = details(reason);
    details.set_retry_info(Some(delay));
    Status::with_error_details(code, message, details)
}

/// The `ErrorInfo.reason` of a status, if it has one of this domain.
#[must_use]
pub fn reason(status: &Status) -> Option<String> {
    status.get_details_error_info().filter(|info| info.domain == ERROR_DOMAIN).map(|info| info.reason)
}

/// After which time the callee invites another attempt, if it does.
#[must_use]
pub fn retry_delay(status: &Status) -> Option<Duration> {
    status.get_details_retry_info().and_then(|info| info.retry_delay)
}

fn details(reason: &'static str) -> ErrorDetails {
    ErrorDetails::with_error_info(reason, ERROR_DOMAIN, std::collections::HashMap::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_carries_its_reason_and_only_a_retriable_one_a_delay() {
        let plain = refuse(Code::NotFound, "ORDER_NOT_FOUND", "no such order");
        assert_eq!(reason(&plain).as_deref(), Some("ORDER_NOT_FOUND"));
        assert_eq!(retry_delay(&plain), None);

        let later = retry_after(Code::Aborted, "IN_FLIGHT", "try again", Duration::from_millis(50));
        assert_eq!(reason(&later).as_deref(), Some("IN_FLIGHT"));
        assert_eq!(retry_delay(&later), Some(Duration::from_millis(50)));
    }

    #[test]
    fn an_invalid_request_names_all_its_fields() {
        let status = invalid("INVALID_ADDRESS", [("address.line", "is required"), ("address.city", "is required")]);
        let bad = status.get_details_bad_request().unwrap();
        assert_eq!(bad.field_violations.len(), 2);
        assert_eq!(status.message(), "address.line: is required; address.city: is required");
    }

    #[test]
    fn a_foreign_reason_is_not_ours() {
        let foreign = ErrorDetails::with_error_info("X", "example.com", std::collections::HashMap::new());
        assert_eq!(reason(&Status::with_error_details(Code::Internal, "", foreign)), None);
    }
}
