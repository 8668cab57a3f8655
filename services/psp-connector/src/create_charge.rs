//! Asking the bank for a virtual account (SNAP BI service 27).

use std::time::Instant;

use sekat_api_connector::v1 as api;
use sekat_mesh::Permit;
use sekat_money::Money;
use serde::Deserialize;
use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::bank::{Bank, Service};
use crate::charge::{Account, AccountNumber, ChargeId, WireAmount, require_bca};
use crate::error::Error;
use crate::snap::jakarta;

/// Creates the charge, or finds it as it was created before: the same request has the same body to the byte, by which
/// the bank knows a repetition, and is answered like the first. So an `OPEN` charge of a repetition may have been paid
/// or closed since; only GetCharge tells.
pub(crate) async fn create(
    bank: &Bank,
    permit: &Permit,
    request: api::CreateChargeRequest,
) -> Result<api::Charge, Error> {
    ask(bank, &request, permit.deadline()).await
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Reply {
    virtual_account_data: Account,
}

pub(crate) async fn ask(
    bank: &Bank,
    request: &api::CreateChargeRequest,
    deadline: Instant,
) -> Result<api::Charge, Error> {
    require_bca(request.bank)?;
    let id =
        ChargeId::parse(&request.charge_id).ok_or(Error::Invalid("charge_id", "must be 4 to 63 of a-z, 0-9, -"))?;
    let number = AccountNumber::of(bank, &id);
    let body = body(bank, request, &id, &number)?;
    let reply: Reply = bank.call(Service::CreateVa, &body, deadline).await?;
    let charge = reply.virtual_account_data.into_charge(&id, &number, api::ChargeState::Open)?;
    // The bank knows this id only with these terms, or it would have refused.
    if charge.amount != request.amount {
        return Err(Error::unknown("the reply has another amount"));
    }
    Ok(charge)
}

fn body(
    bank: &Bank,
    request: &api::CreateChargeRequest,
    id: &ChargeId,
    number: &AccountNumber,
) -> Result<Value, Error> {
    let amount = request.amount.as_ref().ok_or(Error::Invalid("amount", "is required"))?;
    let amount = Money::try_from(amount).map_err(|_| Error::Invalid("amount", "must be whole rupiah"))?;
    let expiry = request.expire_time.as_ref().ok_or(Error::Invalid("expire_time", "is required"))?;
    let expiry = OffsetDateTime::from_unix_timestamp(expiry.seconds)
        .map_err(|_| Error::Invalid("expire_time", "must be a point in time that has a calendar date"))?;
    let mut body = number.to_fields();
    let terms = [
        ("virtualAccountName", json!(bank.payee)),
        ("trxId", json!(id.as_str())),
        ("totalAmount", WireAmount::fields(amount)?),
        // A closed amount: the bank takes this much and nothing else.
        ("virtualAccountTrxType", json!("C")),
        ("expiredDate", json!(jakarta(expiry))),
    ];
    if let Some(fields) = body.as_object_mut() {
        fields.extend(terms.map(|(name, value)| (name.to_owned(), value)));
    }
    Ok(body)
}
