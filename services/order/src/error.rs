//! Why the order service refuses, and how each refusal is answered. No text holds a classified value.

use std::collections::HashMap;
use std::time::Duration;

use sekat_api_google::r#type::Money as WireMoney;
use sekat_identity::jws::JwsError;
use sekat_mesh::refusal::{ERROR_DOMAIN, invalid, refuse, retry_after};
use sekat_money::{Money, MoneyError};
use sekat_service::{internal, store_refusal};
use sekat_store::StoreError;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::cart::{MAX_LINES, MAX_QUANTITY};

/// A refusal.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A field, and what it must be.
    #[error("{0} {1}")]
    Invalid(&'static str, &'static str),
    #[error("no such {0}")]
    NotFound(&'static str),
    #[error("the handoff is not valid; open the showcase again")]
    HandoffInvalid(#[source] JwsError),
    #[error("the handoff has expired; open the showcase again")]
    HandoffExpired,
    #[error("the handoff was used for another cart; open the showcase again")]
    HandoffUsed,
    #[error("a cart has at most {MAX_LINES} lines; order these first")]
    CartFull,
    #[error("a line has at most {MAX_QUANTITY} pieces")]
    LineFull,
    #[error("the cart was ordered and stays as it is; open another one")]
    CartOrdered,
    #[error("the cart is empty; add something")]
    CartEmpty,
    #[error("the cart has changed since it was read; read it again and repeat the change")]
    EtagMismatch,
    #[error("a line of the cart cannot be had any more; look at the cart")]
    OutOfStock,
    #[error("the price has changed; show the new one and order again")]
    QuoteStale { quote_hash: String, total: Money },
    #[error("the order is being confirmed or has ended; it can no longer be cancelled")]
    NotCancelable,
    #[error("the order is still being placed; ask again with the same request_id")]
    UnderWay,
    /// The order was not written because there is no price for it; who asked for one knows why.
    #[error("the cart could not be priced")]
    NotPriced,
    #[error("the prices do not add up")]
    Amounts(#[from] MoneyError),
    #[error("a reply of {0} does not answer the request")]
    WrongReply(&'static str),
    #[error("a stored {0} cannot be read; it was written by a newer version or is damaged")]
    Unreadable(&'static str),
    /// Nobody is signed in, or not as a buyer; the mesh's own refusal.
    #[error("the caller may not do this")]
    Caller(#[from] Box<Status>),
    /// A peer could not do its part of a read.
    #[error("{peer} did not answer")]
    Peer {
        peer: &'static str,
        #[source]
        status: Box<Status>,
    },
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// When a caller may come again if a peer could not answer: a call that was lost takes no longer.
const PEER_PAUSE: Duration = Duration::from_millis(100);

/// When a caller may ask again for an order that is still being placed.
const UNDER_WAY_PAUSE: Duration = Duration::from_millis(500);

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let text = error.to_string();
        match error {
            Error::Invalid(field, rule) => invalid("INVALID_ARGUMENT", [(field, rule)]),
            Error::NotFound(_) => refuse(Code::NotFound, "NOT_FOUND", text),
            Error::HandoffInvalid(_) => refuse(Code::InvalidArgument, "HANDOFF_INVALID", text),
            Error::HandoffExpired => refuse(Code::InvalidArgument, "HANDOFF_EXPIRED", text),
            Error::HandoffUsed => refuse(Code::FailedPrecondition, "HANDOFF_USED", text),
            Error::CartFull => refuse(Code::FailedPrecondition, "CART_FULL", text),
            Error::LineFull => refuse(Code::FailedPrecondition, "LINE_FULL", text),
            Error::CartOrdered => refuse(Code::FailedPrecondition, "CART_ORDERED", text),
            Error::CartEmpty => refuse(Code::FailedPrecondition, "CART_EMPTY", text),
            Error::EtagMismatch => refuse(Code::Aborted, "ETAG_MISMATCH", text),
            Error::OutOfStock => refuse(Code::FailedPrecondition, "OUT_OF_STOCK", text),
            Error::QuoteStale { quote_hash, total } => quote_stale(text, quote_hash, total),
            Error::NotCancelable => refuse(Code::FailedPrecondition, "ORDER_NOT_CANCELABLE", text),
            Error::UnderWay => retry_after(Code::Aborted, "ORDER_UNDER_WAY", text, UNDER_WAY_PAUSE),
            Error::NotPriced | Error::Amounts(_) | Error::WrongReply(_) | Error::Unreadable(_) => internal(&error),
            Error::Caller(status) => *status,
            Error::Peer { ref status, .. } => peer(&error, status, text),
            Error::Store(error) => store_refusal(&error),
        }
    }
}

/// A peer's failure is ours to the caller; only whether and when to come again is passed on.
fn peer(error: &Error, status: &Status, text: String) -> Status {
    match status.code() {
        Code::DeadlineExceeded => refuse(Code::DeadlineExceeded, "DEADLINE_EXCEEDED", text),
        Code::Unavailable | Code::ResourceExhausted | Code::Aborted | Code::Cancelled => {
            retry_after(Code::Unavailable, "PEER_UNAVAILABLE", text, PEER_PAUSE)
        }
        _ => internal(error),
    }
}

/// The refusal brings the new quote along, `total` as currency and whole units, so that the app can show it and order
/// at once. All of it is PUBLIC.
fn quote_stale(text: String, quote_hash: String, total: Money) -> Status {
    let metadata = HashMap::from([
        ("quote_hash".to_owned(), quote_hash),
        ("total".to_owned(), format!("{} {}", total.currency(), WireMoney::from(total).units)),
    ]);
    let details = ErrorDetails::with_error_info("QUOTE_STALE", ERROR_DOMAIN, metadata);
    Status::with_error_details(Code::FailedPrecondition, text, details)
}

#[cfg(test)]
mod tests {
    use sekat_mesh::refusal::{reason, retry_delay};
    use sekat_money::Currency;

    use super::*;

    #[test]
    fn each_refusal_has_its_code_and_its_reason() {
        let quote_stale = Error::QuoteStale { quote_hash: "ab".to_owned(), total: Money::zero(Currency::Idr) };
        let peer = |code| Error::Peer { peer: "catalog", status: Box::new(Status::new(code, "secret")) };
        for (error, code, expected) in [
            (Error::Invalid("cart", "must be"), Code::InvalidArgument, "INVALID_ARGUMENT"),
            (Error::NotFound("cart"), Code::NotFound, "NOT_FOUND"),
            (Error::HandoffInvalid(JwsError::Signature), Code::InvalidArgument, "HANDOFF_INVALID"),
            (Error::HandoffExpired, Code::InvalidArgument, "HANDOFF_EXPIRED"),
            (Error::HandoffUsed, Code::FailedPrecondition, "HANDOFF_USED"),
            (Error::CartFull, Code::FailedPrecondition, "CART_FULL"),
            (Error::LineFull, Code::FailedPrecondition, "LINE_FULL"),
            (Error::CartOrdered, Code::FailedPrecondition, "CART_ORDERED"),
            (Error::CartEmpty, Code::FailedPrecondition, "CART_EMPTY"),
            (Error::EtagMismatch, Code::Aborted, "ETAG_MISMATCH"),
            (Error::OutOfStock, Code::FailedPrecondition, "OUT_OF_STOCK"),
            (quote_stale, Code::FailedPrecondition, "QUOTE_STALE"),
            (Error::NotCancelable, Code::FailedPrecondition, "ORDER_NOT_CANCELABLE"),
            (Error::UnderWay, Code::Aborted, "ORDER_UNDER_WAY"),
            (Error::Amounts(MoneyError::Overflow), Code::Internal, "INTERNAL"),
            (Error::WrongReply("catalog"), Code::Internal, "INTERNAL"),
            (Error::Unreadable("state"), Code::Internal, "INTERNAL"),
            (peer(Code::Unavailable), Code::Unavailable, "PEER_UNAVAILABLE"),
            (peer(Code::DeadlineExceeded), Code::DeadlineExceeded, "DEADLINE_EXCEEDED"),
            (peer(Code::PermissionDenied), Code::Internal, "INTERNAL"),
            (Error::Store(StoreError::RequestIdReused), Code::AlreadyExists, "REQUEST_ID_REUSED"),
        ] {
            let status = Status::from(error);
            assert_eq!((status.code(), reason(&status).as_deref()), (code, Some(expected)));
            assert!(!status.message().contains("secret"));
        }
    }

    #[test]
    fn a_stale_quote_brings_the_new_one_and_what_is_under_way_a_delay() {
        let total = Money::from_units(Currency::Idr, 25_000).unwrap();
        let status = Status::from(Error::QuoteStale { quote_hash: "ab".to_owned(), total });
        let metadata = status.get_details_error_info().unwrap().metadata;
        assert_eq!((metadata["quote_hash"].as_str(), metadata["total"].as_str()), ("ab", "IDR 25000"));
        assert_eq!(retry_delay(&Status::from(Error::UnderWay)), Some(UNDER_WAY_PAUSE));
    }
}
