//! Which merchants may sell.

use sekat_api_catalog::v1::{MerchantListingState, SetMerchantListingStateRequest};
use sekat_mesh::Permit;
use sekat_store::{RequestKey, Tx, Value};

use crate::error::Error;
use crate::feed;
use crate::names;
use crate::rpc::{State, encoded};

/// Admits a merchant under its public name, or hides all of its listings.
pub(crate) async fn set(
    state: &State,
    permit: &Permit,
    request: SetMerchantListingStateRequest,
) -> Result<MerchantListingState, Error> {
    let body = encoded(&request);
    let id = names::id(&request.merchant, "merchants", "merchant")?.to_owned();
    if request.display_name.is_empty() {
        return Err(Error::Invalid(vec![("display_name".to_owned(), "must not be empty")]));
    }
    let wanted = MerchantListingState {
        merchant: request.merchant,
        display_name: request.display_name,
        city: request.city,
        admitted: request.admitted,
    };
    let key = RequestKey { access: permit.access(), request_id: &request.request_id, body: &body };
    let set = state.store.write_once(key, move |tx| upsert(tx, &id, &wanted)).await?;
    state.feed.announce();
    Ok(set)
}

fn upsert(tx: &mut dyn Tx, id: &str, wanted: &MerchantListingState) -> Result<MerchantListingState, Error> {
    tx.exec(
        "INSERT INTO merchants (id, display_name, city, admitted) VALUES ($1, $2, $3, $4)
         ON CONFLICT (id) DO UPDATE
         SET display_name = excluded.display_name, city = excluded.city, admitted = excluded.admitted",
        &[
            Value::from(id),
            Value::from(&wanted.display_name),
            Value::from(&wanted.city),
            i64::from(wanted.admitted).into(),
        ],
    )?;
    // A shop has at most some thousands of products, and this is rare.
    for row in tx.rows("SELECT id FROM products WHERE merchant = $1 AND deleted = 0", &[Value::from(id)])? {
        feed::changed(tx, row.text(0)?)?;
    }
    Ok(wanted.clone())
}
