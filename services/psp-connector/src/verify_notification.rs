//! Judging a notification: genuine, fresh, and what it reports (SNAP BI service 25). No network is involved, and
//! nothing of a notification is read before its signature has been found to fit.

use sekat_api_connector::v1 as api;
use sekat_mesh::Permit;
use serde::Deserialize;
use time::OffsetDateTime;

use crate::bank::Bank;
use crate::charge::{ChargeId, WireAmount, timestamp};
use crate::error::Error;
use crate::snap::{Dialect, Message, is_fresh};

/// The contract's limit of a notification's body.
const MAX_BODY_BYTES: usize = 64 * 1024;
/// The name of the one provider in notification URLs.
const CHANNEL: &str = "bca";

/// What a genuine notification reports.
pub(crate) fn verify(
    bank: &Bank,
    _permit: &Permit,
    request: &api::VerifyNotificationRequest,
) -> Result<api::VerifiedNotification, Error> {
    judge(bank, request, OffsetDateTime::now_utc())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Payment {
    partner_service_id: String,
    trx_id: String,
    payment_request_id: String,
    paid_amount: WireAmount,
    trx_date_time: String,
}

pub(crate) fn judge(
    bank: &Bank,
    request: &api::VerifyNotificationRequest,
    now: OffsetDateTime,
) -> Result<api::VerifiedNotification, Error> {
    if request.channel != CHANNEL {
        return Err(Error::Invalid("channel", "must be bca"));
    }
    if request.body.len() > MAX_BODY_BYTES {
        return Err(Error::Invalid("body", "must have at most 64 KiB"));
    }
    let timestamp_header = header(request, "x-timestamp")?;
    let message =
        Message { method: &request.http_method, path: &request.path, body: &request.body, timestamp: timestamp_header };
    bank.keys.verify(Dialect::Tokenless, &message, header(request, "x-signature")?).map_err(|_| Error::NotGenuine)?;
    if !is_fresh(timestamp_header, now) {
        return Err(Error::TooOld);
    }
    read(bank, &request.body).ok_or(Error::Invalid("body", "is genuine, but no payment notification of our accounts"))
}

fn read(bank: &Bank, body: &[u8]) -> Option<api::VerifiedNotification> {
    let payment: Payment = serde_json::from_slice(body).ok()?;
    if payment.partner_service_id != bank.partner_service_id || payment.payment_request_id.is_empty() {
        return None;
    }
    let paid = payment.paid_amount.money().ok().filter(|money| money.is_positive())?;
    Some(api::VerifiedNotification {
        charge: ChargeId::parse(&payment.trx_id)?.name(),
        notification_id: payment.payment_request_id.clone(),
        paid_amount: Some(paid.into()),
        paid_time: Some(timestamp(&payment.trx_date_time).ok()?),
        provider_reference: payment.payment_request_id,
    })
}

/// The one header of a name. Two could mean that another one was signed than the one that is read.
fn header<'a>(request: &'a api::VerifyNotificationRequest, name: &str) -> Result<&'a str, Error> {
    let mut values = request.headers.iter().filter(|header| header.name.eq_ignore_ascii_case(name));
    match (values.next(), values.next()) {
        (Some(header), None) => Ok(&header.value),
        _ => Err(Error::NotGenuine),
    }
}
