//! Closing a charge that is not paid (SNAP BI service 31).

use std::time::Instant;

use sekat_api_connector::v1 as api;
use sekat_mesh::Permit;
use serde::Deserialize;
use serde_json::Value;

use crate::bank::{Bank, Service};
use crate::charge::{Account, AccountNumber, ChargeId, require_bca};
use crate::error::Error;

/// Closes the charge; one that is closed already stays so. The bank refuses if it is paid.
pub(crate) async fn cancel(
    bank: &Bank,
    permit: &Permit,
    request: api::CancelChargeRequest,
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
    request: &api::CancelChargeRequest,
    deadline: Instant,
) -> Result<api::Charge, Error> {
    require_bca(request.bank)?;
    let id = ChargeId::from_name(&request.name)?;
    let number = AccountNumber::known_or_of(bank, &request.account_number, &id)?;
    let mut body = number.to_fields();
    if let Some(fields) = body.as_object_mut() {
        fields.insert("trxId".to_owned(), Value::from(id.as_str()));
    }
    let reply: Reply = bank.call(Service::DeleteVa, &body, deadline).await?;
    reply.virtual_account_data.into_charge(&id, &number, api::ChargeState::Closed)
}
