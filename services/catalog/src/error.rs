//! Why the catalog refuses, and how each refusal is answered.

use std::time::Duration;

use sekat_mesh::refusal::{invalid, refuse, retry_after};
use sekat_store::{ErrorKind, StoreError};
use tonic::{Code, Status};

/// A refusal.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("the request has fields that are not allowed")]
    Invalid(Vec<(String, &'static str)>),
    #[error("no such {0}")]
    NotFound(&'static str),
    #[error("the shop belongs to somebody else")]
    NotOwner,
    #[error("the shop is not registered yet, or may not sell; register it with CreateMerchant")]
    NotAdmitted,
    #[error("another listing of the shop has a sku of this code; choose another code or change that listing")]
    SkuCodeTaken,
    #[error("it has changed since it was read; read it again and repeat the change")]
    EtagMismatch,
    #[error("there are not enough pieces in stock")]
    OutOfStock,
    #[error("pieces are held by open orders; wait until they are sold or released")]
    StockHeld,
    #[error("the reservation was released or has lapsed and cannot be held again")]
    ReservationGone,
    #[error("the reservation is committed")]
    ReservationCommitted,
    #[error("the reservation exists with other lines")]
    ReservationDiffers,
    #[error("a stored value is damaged: {0}")]
    Damaged(&'static str),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// How soon a caller may come again when the store is overloaded.
const OVERLOAD_PAUSE: Duration = Duration::from_millis(100);

impl Error {
    /// The stable word that goes with the refusal.
    pub(crate) const fn reason(&self) -> &'static str {
        match self {
            Self::Invalid(_) => "INVALID_ARGUMENT",
            Self::NotFound(_) => "NOT_FOUND",
            Self::NotOwner => "NOT_OWNER",
            Self::NotAdmitted => "MERCHANT_NOT_ADMITTED",
            Self::SkuCodeTaken => "SKU_CODE_TAKEN",
            Self::EtagMismatch => "ETAG_MISMATCH",
            Self::OutOfStock => "OUT_OF_STOCK",
            Self::StockHeld => "STOCK_HELD",
            Self::ReservationGone => "RESERVATION_GONE",
            Self::ReservationCommitted => "RESERVATION_COMMITTED",
            Self::ReservationDiffers => "RESERVATION_DIFFERS",
            Self::Damaged(_) => "INTERNAL",
            Self::Store(error) => match error.kind() {
                ErrorKind::InvalidArgument => "INVALID_ARGUMENT",
                ErrorKind::RequestIdReused => "REQUEST_ID_REUSED",
                ErrorKind::Overloaded => "OVERLOADED",
                ErrorKind::Expired => "DEADLINE_EXCEEDED",
                ErrorKind::Unavailable => "STORE_STOPPED",
                ErrorKind::Internal => "INTERNAL",
            },
        }
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let (reason, text) = (error.reason(), error.to_string());
        match error {
            Error::Invalid(violations) => invalid(reason, violations),
            Error::NotFound(_) => refuse(Code::NotFound, reason, text),
            Error::NotOwner => refuse(Code::PermissionDenied, reason, text),
            Error::SkuCodeTaken | Error::ReservationDiffers => refuse(Code::AlreadyExists, reason, text),
            Error::EtagMismatch => refuse(Code::Aborted, reason, text),
            Error::NotAdmitted
            | Error::OutOfStock
            | Error::StockHeld
            | Error::ReservationGone
            | Error::ReservationCommitted => refuse(Code::FailedPrecondition, reason, text),
            Error::Damaged(_) => internal(),
            Error::Store(error) => match error.kind() {
                ErrorKind::InvalidArgument => refuse(Code::InvalidArgument, reason, text),
                ErrorKind::RequestIdReused => refuse(Code::AlreadyExists, reason, text),
                ErrorKind::Overloaded => retry_after(Code::ResourceExhausted, reason, text, OVERLOAD_PAUSE),
                ErrorKind::Expired => refuse(Code::DeadlineExceeded, reason, text),
                ErrorKind::Unavailable => refuse(Code::Unavailable, reason, "the store has stopped"),
                ErrorKind::Internal => internal(),
            },
        }
    }
}

fn internal() -> Status {
    refuse(Code::Internal, "INTERNAL", "something went wrong here; it was logged")
}
