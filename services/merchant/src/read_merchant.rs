//! Reading businesses: their owners see all, everybody else the public part.

use sekat_api_merchant::v1::{GetMerchantRequest, GetPublicMerchantRequest, Merchant, PublicMerchant};
use sekat_mesh::Permit;
use sekat_service::timestamp;
use sekat_store::{Store, Tx, Value};

use crate::error::Error;

/// A business and the account that registered it.
pub(crate) struct Owned {
    pub(crate) owner: String,
    pub(crate) merchant: Merchant,
}

/// The caller's own business, or any for `ops`.
pub(crate) async fn get(store: &Store, permit: &Permit, request: GetMerchantRequest) -> Result<Merchant, Error> {
    let id = id(&request.name)?;
    let owner = match permit.caller().path() {
        "/ops" => None,
        _ => Some(permit.seller().map_err(|_| Error::NotSeller)?.0.to_owned()),
    };
    let found = store.read(move |tx| by_id(tx, &id)).await?.ok_or(Error::NotFound)?;
    if owner.is_none_or(|owner| owner == found.owner) { Ok(found.merchant) } else { Err(Error::NotFound) }
}

/// What anyone may know.
pub(crate) async fn get_public(store: &Store, request: GetPublicMerchantRequest) -> Result<PublicMerchant, Error> {
    let id = id(&request.name)?;
    let Owned { merchant, .. } = store.read(move |tx| by_id(tx, &id)).await?.ok_or(Error::NotFound)?;
    Ok(PublicMerchant { name: merchant.name, display_name: merchant.display_name, city: merchant.city })
}

fn id(name: &str) -> Result<String, Error> {
    let id = name.strip_prefix("merchants/").filter(|id| !id.is_empty() && !id.contains('/'));
    id.map(str::to_owned).ok_or(Error::NotFound)
}

pub(crate) fn by_id(tx: &mut dyn Tx, id: &str) -> Result<Option<Owned>, Error> {
    let row = tx.optional(
        "SELECT id, owner, display_name, city, legal_name, nib, npwp, state, version, create_ms
         FROM merchants WHERE id = $1",
        &[Value::from(id)],
    )?;
    let Some(row) = row else { return Ok(None) };
    let merchant = Merchant {
        name: format!("merchants/{}", row.text(0)?),
        display_name: row.text(2)?.to_owned(),
        city: row.text(3)?.to_owned(),
        legal_name: row.text(4)?.to_owned(),
        nib: row.text(5)?.to_owned(),
        npwp: row.text(6)?.to_owned(),
        state: i32::try_from(row.int(7)?).map_err(|_| Error::Damaged("a state"))?,
        etag: row.int(8)?.to_string(),
        create_time: Some(timestamp(row.int(9)?)),
    };
    Ok(Some(Owned { owner: row.text(1)?.to_owned(), merchant }))
}
