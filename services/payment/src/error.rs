//! What can go wrong in the payment service, and the one function that says it to a client.

use std::time::Duration;

use sekat_mesh::refusal::{refuse, retry_after};
use sekat_service::{Invalid, internal, store_refusal};
use sekat_store::StoreError;
use tonic::{Code, Status};

use crate::{intent, ledger};

/// After which time a caller may ask again for what waits for a provider: its answers take about a second.
const PROVIDER_RETRY: Duration = Duration::from_secs(1);

/// Everything that can go wrong. No text holds a classified value.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Fields of the request are malformed.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// There is no such payment, or it is somebody else's.
    #[error("there is no such payment")]
    NotFound,
    /// There is no such account in the ledger.
    #[error("there is no such ledger account")]
    AccountNotFound,
    /// The payment's state refuses the command.
    #[error("the payment does not allow this")]
    Refused(#[source] intent::Refusal),
    /// The name belongs to another payment.
    #[error("a payment of this name was opened with other content; choose another name")]
    NameTaken,
    /// No way to pay takes the amount.
    #[error("no way to pay takes this amount; virtual accounts take {0}")]
    AmountNotPayable(String),
    /// The provider has not proved yet that no money can come.
    #[error("the provider has not confirmed yet that the payment is closed; ask again")]
    CancelPending,
    /// The notification is not the provider's.
    #[error("the signature of the notification is wrong or too old")]
    NotificationForged(#[source] Box<Status>),
    /// The notification cannot be read.
    #[error("the notification is signed and cannot be read")]
    NotificationMalformed(#[source] Box<Status>),
    /// The connector did not answer.
    #[error("the payment connector did not answer; ask again")]
    ConnectorUnavailable(#[source] Box<Status>),
    /// The connector's answer breaks its contract.
    #[error("the payment connector's answer lacks {0}")]
    ConnectorAnswer(&'static str),
    /// The token was not made by this service's events.
    #[error("the resume token is not one of this stream; start with an empty one")]
    ResumeTokenUnknown,
    /// The ledger refused a booking of ours.
    #[error("the ledger refused a booking")]
    Ledger(#[source] ledger::Refusal),
    /// The accounts are not the sums of the transfers.
    #[error("the ledger does not add up: {0}; stop the service and restore a backup")]
    LedgerBroken(String),
    /// A row does not hold what the code wrote.
    #[error("a stored {0} cannot be read; the schema and the code disagree")]
    Stored(&'static str),
    /// The store failed.
    #[error("the payment store failed")]
    Store(#[from] StoreError),
}

impl From<intent::Refusal> for Error {
    fn from(refusal: intent::Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<ledger::Refusal> for Error {
    fn from(refusal: ledger::Refusal) -> Self {
        Self::Ledger(refusal)
    }
}

/// What a client is told. What is internal is logged and leaves as INTERNAL without a text of its own.
impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let message = error.to_string();
        match error {
            Error::Invalid(fields) => fields.into(),
            Error::NotFound => refuse(Code::NotFound, "PAYMENT_INTENT_NOT_FOUND", message),
            Error::AccountNotFound => refuse(Code::NotFound, "LEDGER_ACCOUNT_NOT_FOUND", message),
            Error::Refused(refusal) => refuse(Code::FailedPrecondition, reason(refusal), refusal.to_string()),
            Error::NameTaken => refuse(Code::AlreadyExists, "PAYMENT_INTENT_EXISTS", message),
            Error::AmountNotPayable(_) => refuse(Code::FailedPrecondition, "AMOUNT_NOT_PAYABLE", message),
            Error::CancelPending => retry_after(Code::Unavailable, "PAYMENT_CANCEL_PENDING", message, PROVIDER_RETRY),
            Error::NotificationForged(_) => refuse(Code::Unauthenticated, "NOTIFICATION_FORGED", message),
            Error::NotificationMalformed(_) => refuse(Code::InvalidArgument, "NOTIFICATION_MALFORMED", message),
            Error::ConnectorUnavailable(_) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "a notification could not be verified");
                retry_after(Code::Unavailable, "CONNECTOR_UNAVAILABLE", message, PROVIDER_RETRY)
            }
            Error::ResumeTokenUnknown => refuse(Code::InvalidArgument, "RESUME_TOKEN_UNKNOWN", message),
            Error::Store(error) => store_refusal(&error),
            Error::ConnectorAnswer(_) | Error::Ledger(_) | Error::LedgerBroken(_) | Error::Stored(_) => {
                internal(&error)
            }
        }
    }
}

/// The reason of a refusal, which programs match: order goes on to PAID at `PAYMENT_ALREADY_AUTHORIZED`.
const fn reason(refusal: intent::Refusal) -> &'static str {
    match refusal {
        intent::Refusal::NotAuthorized => "PAYMENT_NOT_AUTHORIZED",
        intent::Refusal::AlreadyAuthorized => "PAYMENT_ALREADY_AUTHORIZED",
        intent::Refusal::AlreadyCaptured => "PAYMENT_ALREADY_CAPTURED",
        intent::Refusal::Canceled => "PAYMENT_CANCELED",
        intent::Refusal::Lapsed => "PAYMENT_EXPIRED",
        intent::Refusal::Failed => "PAYMENT_FAILED",
        intent::Refusal::OtherMethod => "PAYMENT_METHOD_ALREADY_CHOSEN",
    }
}
