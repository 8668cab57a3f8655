//! Why the catalog refuses, and how each refusal is answered.

use sekat_mesh::refusal::refuse;
use sekat_service::{Invalid, internal, store_refusal};
use sekat_store::StoreError;
use tonic::{Code, Status};

/// A refusal. No text holds a classified value.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Invalid(#[from] Invalid),
    #[error("no such {0}")]
    NotFound(&'static str),
    #[error("the shop belongs to somebody else")]
    NotOwner,
    #[error("the shop is not registered yet, or may not sell; register it with CreateMerchant")]
    NotAdmitted,
    #[error("another listing of the shop has a sku of this code; choose another code or change that listing")]
    SkuCodeTaken,
    #[error("a shop has at most {0} imports under way; wait until one is done")]
    TooManyImports(i64),
    #[error("the resume token was never given out by this catalog; start from the beginning")]
    UnknownResumeToken,
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

impl Error {
    /// The stable word that goes with the refusal.
    pub(crate) const fn reason(&self) -> &'static str {
        match self {
            Self::Invalid(_) => "INVALID_ARGUMENT",
            Self::NotFound(_) => "NOT_FOUND",
            Self::NotOwner => "NOT_OWNER",
            Self::NotAdmitted => "MERCHANT_NOT_ADMITTED",
            Self::SkuCodeTaken => "SKU_CODE_TAKEN",
            Self::TooManyImports(_) => "TOO_MANY_IMPORTS",
            Self::UnknownResumeToken => "RESUME_TOKEN_UNKNOWN",
            Self::EtagMismatch => "ETAG_MISMATCH",
            Self::OutOfStock => "OUT_OF_STOCK",
            Self::StockHeld => "STOCK_HELD",
            Self::ReservationGone => "RESERVATION_GONE",
            Self::ReservationCommitted => "RESERVATION_COMMITTED",
            Self::ReservationDiffers => "RESERVATION_DIFFERS",
            Self::Damaged(_) | Self::Store(_) => "INTERNAL",
        }
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let (reason, text) = (error.reason(), error.to_string());
        let code = match error {
            Error::Invalid(fields) => return fields.into(),
            Error::Store(error) => return store_refusal(&error),
            Error::Damaged(_) => return internal(&error),
            Error::NotFound(_) => Code::NotFound,
            Error::NotOwner => Code::PermissionDenied,
            Error::SkuCodeTaken | Error::ReservationDiffers => Code::AlreadyExists,
            Error::UnknownResumeToken => Code::InvalidArgument,
            Error::EtagMismatch => Code::Aborted,
            Error::TooManyImports(_) => Code::ResourceExhausted,
            Error::NotAdmitted
            | Error::OutOfStock
            | Error::StockHeld
            | Error::ReservationGone
            | Error::ReservationCommitted => Code::FailedPrecondition,
        };
        refuse(code, reason, text)
    }
}
