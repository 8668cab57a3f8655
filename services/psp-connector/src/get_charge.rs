//! Asking the bank what became of a charge (SNAP BI service 26).

use std::time::Instant;

use sekat_api_connector::v1 as api;
use sekat_mesh::Permit;
use serde::Deserialize;
use serde_json::Value;

use crate::bank::{Bank, Service};
use crate::charge::{Account, AccountNumber, ChargeId, require_bca};
use crate::error::Error;

/// The charge as the bank has it.
pub(crate) async fn get(bank: &Bank, permit: &Permit, request: api::GetChargeRequest) -> Result<api::Charge, Error> {
    ask(bank, &request, permit.deadline()).await
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Reply {
    virtual_account_data: Account,
    additional_info: Info,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Info {
    latest_transaction_status: String,
}

pub(crate) async fn ask(bank: &Bank, request: &api::GetChargeRequest, deadline: Instant) -> Result<api::Charge, Error> {
    require_bca(request.bank)?;
    let id = ChargeId::from_name(&request.name)?;
    let number = AccountNumber::known_or_of(bank, &request.account_number, &id)?;
    let mut body = number.to_fields();
    if let Some(fields) = body.as_object_mut() {
        fields.insert("inquiryRequestId".to_owned(), Value::from(id.as_str()));
    }
    let reply: Reply = bank.call(Service::Status, &body, deadline).await?;
    if reply.virtual_account_data.trx_id != id.as_str() {
        // The number is another charge's; this one was never created.
        return Err(Error::NotFound);
    }
    let state = state(&reply.additional_info.latest_transaction_status)
        .ok_or_else(|| Error::unknown("the reply has a status that the standard does not have here"))?;
    reply.virtual_account_data.into_charge(&id, &number, state)
}

/// SNAP BI's `latestTransactionStatus`. A status that says neither yes nor no is not turned into one.
fn state(status: &str) -> Option<api::ChargeState> {
    match status {
        "00" => Some(api::ChargeState::Paid),
        // Initiated, paying, pending.
        "01" | "02" | "03" => Some(api::ChargeState::Open),
        "05" => Some(api::ChargeState::Closed),
        "06" => Some(api::ChargeState::Expired),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_that_is_not_understood_decides_nothing() {
        assert_eq!(state("00"), Some(api::ChargeState::Paid));
        assert_eq!(state("03"), Some(api::ChargeState::Open));
        assert_eq!(state("05"), Some(api::ChargeState::Closed));
        assert_eq!(state("06"), Some(api::ChargeState::Expired));
        for unknown in ["04", "07", "0", "", "paid"] {
            assert_eq!(state(unknown), None, "{unknown}");
        }
    }
}
