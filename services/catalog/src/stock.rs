//! Setting the pieces on hand.

use prost::Message as _;
use sekat_api_catalog::v1::{StockLevel, UpdateStockLevelRequest};
use sekat_mesh::Permit;
use sekat_service::Violations;
use sekat_store::{RequestKey, Tx, Value};

use crate::error::Error;
use crate::feed;
use crate::listing::MAX_ON_HAND;
use crate::names::SkuName;
use crate::product;
use crate::rpc::State;

/// Sets the pieces on hand of one of the seller's skus, never below what is held.
pub(crate) async fn update(
    state: &State,
    permit: &Permit,
    request: UpdateStockLevelRequest,
) -> Result<StockLevel, Error> {
    let body = request.encode_to_vec();
    let level = request.stock_level.unwrap_or_default();
    let sku = SkuName::parse(&level.sku)?;
    let shop = permit.seller().map_err(|_| Error::NotOwner)?.1.to_owned();
    let mut violations = Violations::default();
    let is_on_hand = request.update_mask.unwrap_or_default().paths == ["on_hand"];
    violations.check(is_on_hand, "update_mask", "must be on_hand");
    let in_range = (0..=MAX_ON_HAND).contains(&level.on_hand);
    violations.check(in_range, "stock_level.on_hand", "must be 0 to 10,000,000");
    violations.finish()?;
    let etag = request.etag;
    let key = RequestKey { access: permit.access(), request_id: &request.request_id, body: &body };
    let level = state.store.write_once(key, move |tx| set(tx, &sku, &shop, level.on_hand, &etag)).await?;
    state.feed.announce();
    Ok(level)
}

fn set(tx: &mut dyn Tx, sku: &SkuName, shop: &str, on_hand: i64, etag: &str) -> Result<StockLevel, Error> {
    let key = [Value::from(&sku.product), Value::from(&sku.code)];
    let select =
        "SELECT merchant, reserved, version, on_hand FROM skus WHERE product = $1 AND code = $2 AND deleted = 0";
    let row = tx.optional(select, &key)?.ok_or(Error::NotFound("sku"))?;
    if format!("merchants/{}", row.text(0)?) != shop {
        return Err(Error::NotOwner);
    }
    let (reserved, version, before) = (row.int(1)?, row.int(2)?, row.int(3)?);
    if !etag.is_empty() && etag != version.to_string() {
        return Err(Error::EtagMismatch);
    }
    if reserved > on_hand {
        return Err(Error::StockHeld);
    }
    let [product, code] = key;
    tx.exec(
        "UPDATE skus SET on_hand = $3, version = version + 1 WHERE product = $1 AND code = $2",
        &[product, code, on_hand.into()],
    )?;
    product::bump_version(tx, &sku.product)?;
    feed::stock_changed(tx, &sku.product, before.saturating_sub(reserved), on_hand.saturating_sub(reserved))?;
    let etag = version.saturating_add(1).to_string();
    Ok(StockLevel { sku: sku.to_string(), on_hand, reserved, etag })
}
