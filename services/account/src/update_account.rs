//! Changing one's own account.

use prost::Message as _;
use prost_types::FieldMask;
use sekat_api_account::v1::{Account, UpdateAccountRequest};
use sekat_mesh::Permit;
use sekat_service::Violations;
use sekat_store::{RequestKey, Tx, Value};

use crate::creator_handle;
use crate::error::Error;
use crate::read_account;
use crate::rpc::{State, own_account};
use crate::validate::{self, DEFAULT_LOCALE};

/// Changes the fields of the mask.
pub(crate) async fn update(state: &State, permit: &Permit, request: UpdateAccountRequest) -> Result<Account, Error> {
    let body = request.encode_to_vec();
    let UpdateAccountRequest { account, update_mask, etag, request_id } = request;
    let wanted = account.unwrap_or_default();
    let id = own_account(permit, &wanted.name)?;
    let mask = update_mask.unwrap_or_default();
    // It may come back beside the account or in it, as it was read (AIP-154).
    let etag = if etag.is_empty() { wanted.etag.clone() } else { etag };
    let key = RequestKey { access: permit.access(), request_id: &request_id, body: &body };
    state.store.write_once(key, move |tx| apply(tx, &id, &wanted, &mask, &etag)).await
}

fn apply(tx: &mut dyn Tx, id: &str, wanted: &Account, mask: &FieldMask, etag: &str) -> Result<Account, Error> {
    let stored = read_account::by_id(tx, id)?.ok_or(Error::NotFound("account"))?;
    if !etag.is_empty() && etag != stored.account.etag {
        return Err(Error::EtagMismatch);
    }
    let mut next = stored.account.clone();
    let mut violations = Violations::default();
    violations.check(!mask.paths.is_empty(), "update_mask", "must name the fields to change");
    for path in &mask.paths {
        match path.as_str() {
            "display_name" => next.display_name.clone_from(&wanted.display_name),
            "phone" => next.phone.clone_from(&wanted.phone),
            "locale" => next.locale.clone_from(&wanted.locale),
            "creator_handle" => next.creator_handle.clone_from(&wanted.creator_handle),
            _ => violations.check(false, "update_mask", "may name display_name, phone, locale and creator_handle"),
        }
    }
    validate::account(&mut violations, &next);
    violations.finish()?;
    if next.locale.is_empty() {
        DEFAULT_LOCALE.clone_into(&mut next.locale);
    }
    if !next.creator_handle.is_empty() {
        creator_handle::claim(tx, &next.creator_handle, id)?;
    }
    tx.exec(
        "UPDATE accounts SET display_name = $2, phone = $3, locale = $4, creator_handle = $5, version = version + 1
         WHERE id = $1",
        &[
            Value::from(id),
            Value::from(&next.display_name),
            Value::from(&next.phone),
            Value::from(&next.locale),
            Value::from(&next.creator_handle),
        ],
    )?;
    Ok(read_account::by_id(tx, id)?.ok_or(Error::NotFound("account"))?.account)
}
