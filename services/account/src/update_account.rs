//! Changing one's own account.

use prost_types::FieldMask;
use sekat_api_account::v1::{Account, UpdateAccountRequest};
use sekat_mesh::Permit;
use sekat_store::{RequestKey, Tx, Value};
use tonic::codegen::Bytes;

use crate::error::Error;
use crate::read_account;
use crate::rpc::{State, own_account};
use crate::validate::{self, Violations};

/// Changes the fields of the mask.
pub(crate) async fn update(
    state: &State,
    permit: &Permit,
    request: UpdateAccountRequest,
    body: &Bytes,
) -> Result<Account, Error> {
    let UpdateAccountRequest { account, update_mask, etag, request_id } = request;
    let wanted = account.unwrap_or_default();
    let id = own_account(permit, &wanted.name)?;
    let mask = update_mask.unwrap_or_default();
    let key = RequestKey { access: permit.access(), request_id: &request_id, body };
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
    let takes_handle = !next.creator_handle.is_empty() && next.creator_handle != stored.account.creator_handle;
    if takes_handle && read_account::handle_exists(tx, &next.creator_handle)? {
        return Err(Error::HandleTaken);
    }
    let handle = if next.creator_handle.is_empty() { Value::Null } else { Value::from(&next.creator_handle) };
    tx.exec(
        "UPDATE accounts SET display_name = $2, phone = $3, locale = $4, creator_handle = $5, version = version + 1
         WHERE id = $1 AND version = $6",
        &[
            Value::from(id),
            Value::from(&next.display_name),
            Value::from(&next.phone),
            Value::from(&next.locale),
            handle,
            stored.version.into(),
        ],
    )?;
    Ok(read_account::by_id(tx, id)?.ok_or(Error::NotFound("account"))?.account)
}
