//! Which merchants may sell.

use prost::Message as _;
use sekat_api_catalog::v1::{MerchantListingState, SetMerchantListingStateRequest};
use sekat_mesh::Permit;
use sekat_service::{Violations, is_text};
use sekat_store::{RequestKey, Tx, Value};

use crate::error::Error;
use crate::feed;
use crate::names;
use crate::rpc::State;

/// Admits a merchant under its public name, or hides all of its listings.
pub(crate) async fn set(
    state: &State,
    permit: &Permit,
    request: SetMerchantListingStateRequest,
) -> Result<MerchantListingState, Error> {
    let body = request.encode_to_vec();
    let id = names::id(&request.merchant, "merchants", "merchant")?.to_owned();
    let mut violations = Violations::default();
    violations.check(is_text(&request.display_name, 1..=60), "display_name", "must have 1 to 60 characters");
    violations.check(is_text(&request.city, 0..=60), "city", "must have at most 60 characters");
    violations.finish()?;
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
        "INSERT INTO merchants (id, display_name, search, city, admitted) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (id) DO UPDATE
         SET display_name = excluded.display_name, search = excluded.search, city = excluded.city,
             admitted = excluded.admitted",
        &[
            Value::from(id),
            Value::from(&wanted.display_name),
            Value::from(wanted.display_name.to_lowercase()),
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
