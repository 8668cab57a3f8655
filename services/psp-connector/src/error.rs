//! Why the connector refuses, and how each refusal is answered. What matters to payment is the difference between
//! "it was not done" and "nobody knows".

use sekat_mesh::refusal::{invalid, refuse};
use tonic::{Code, Status};

use crate::snap::SigningFailed;

/// An error of a library, kept as a cause.
pub(crate) type Cause = Box<dyn std::error::Error + Send + Sync>;

/// A refusal. No text holds a classified value.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("the request has a field that is not allowed")]
    Invalid(&'static str, &'static str),
    #[error("the bank could not be reached and was asked nothing; try again")]
    Unreachable(#[source] Cause),
    #[error("the bank takes no requests now and did nothing (it answered {0}); try again, or check our credentials")]
    NotAccepting(ResponseCode),
    #[error("the bank may or may not have done it; ask with GetCharge")]
    OutcomeUnknown(#[source] Cause),
    #[error("the bank refused and did nothing (it answered {0})")]
    Refused(ResponseCode),
    #[error("the bank has no such charge")]
    NotFound,
    #[error("the charge is paid")]
    Paid,
    #[error("the bank has this charge with other terms; a charge id is used once")]
    TermsDiffer,
    #[error("the notification's signature does not fit")]
    NotGenuine,
    #[error("the notification's timestamp is too far from our clock")]
    TooOld,
    #[error(transparent)]
    Signing(#[from] SigningFailed),
}

impl Error {
    pub(crate) fn unknown(cause: impl Into<Cause>) -> Self {
        Self::OutcomeUnknown(cause.into())
    }
}

/// SNAP BI's `responseCode`: three digits of HTTP status, two of service, two of case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ResponseCode {
    pub(crate) status: u16,
    pub(crate) service: u8,
    pub(crate) case: u8,
}

impl ResponseCode {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if text.len() != 7 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let (status, rest) = text.split_at_checked(3)?;
        let (service, case) = rest.split_at_checked(2)?;
        Some(Self { status: status.parse().ok()?, service: service.parse().ok()?, case: case.parse().ok()? })
    }
}

impl std::fmt::Display for ResponseCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { status, service, case } = self;
        write!(f, "{status:03}{service:02}{case:02}")
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let text = error.to_string();
        match error {
            Error::Invalid(field, rule) => invalid("INVALID_ARGUMENT", [(field, rule)]),
            Error::Unreachable(_) => refuse(Code::Unavailable, "PROVIDER_UNREACHABLE", text),
            Error::NotAccepting(_) => refuse(Code::Unavailable, "PROVIDER_NOT_ACCEPTING", text),
            Error::OutcomeUnknown(_) => refuse(Code::Unavailable, "PROVIDER_OUTCOME_UNKNOWN", text),
            Error::Refused(_) => refuse(Code::FailedPrecondition, "PROVIDER_REFUSED", text),
            Error::NotFound => refuse(Code::NotFound, "CHARGE_NOT_FOUND", text),
            Error::Paid => refuse(Code::FailedPrecondition, "CHARGE_PAID", text),
            Error::TermsDiffer => refuse(Code::AlreadyExists, "CHARGE_TERMS_DIFFER", text),
            Error::NotGenuine => refuse(Code::Unauthenticated, "NOTIFICATION_NOT_GENUINE", text),
            Error::TooOld => refuse(Code::Unauthenticated, "NOTIFICATION_TOO_OLD", text),
            Error::Signing(_) => refuse(Code::Internal, "INTERNAL", text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_code_has_seven_digits() {
        let code = ResponseCode::parse("4042712").unwrap();
        assert_eq!(code, ResponseCode { status: 404, service: 27, case: 12 });
        assert_eq!(code.to_string(), "4042712");
        assert_eq!(ResponseCode::parse("2002600").unwrap().to_string(), "2002600");
        for text in ["", "404271", "40427120", "404271x", "+042712", "404 712"] {
            assert_eq!(ResponseCode::parse(text), None, "{text}");
        }
    }
}
