//! Products as their sellers change them.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message as _;
use sekat_api_catalog::v1::{
    CreateListingRequest, DeleteListingRequest, GetListingRequest, ListListingsRequest, ListListingsResponse, Listing,
    ListingSku, UpdateListingRequest,
};
use sekat_mesh::Permit;
use sekat_money::{Currency, Money};
use sekat_service::{Page, Violations, is_text};
use sekat_store::{FilterDigest, RequestKey, Tx, Value, now_ms};

use crate::error::Error;
use crate::feed;
use crate::names;
use crate::product::{self, Stored};
use crate::rpc::State;

/// The least price: Rp 100.
const MIN_PRICE_MINOR: i64 = 100 * 100;
/// The highest price: Rp 1.000.000.000.
const MAX_PRICE_MINOR: i64 = 1_000_000_000 * 100;
/// The most pieces in stock.
pub(crate) const MAX_ON_HAND: i64 = 10_000_000;

/// The caller's shop, if it is the one that is named.
pub(crate) fn own_shop(permit: &Permit, name: &str) -> Result<String, Error> {
    let named = names::id(name, "merchants", "merchant")?;
    let own = permit.seller().map_err(|_| Error::NotOwner)?.1;
    if own == name { Ok(named.to_owned()) } else { Err(Error::NotOwner) }
}

/// Offers a product.
pub(crate) async fn create(state: &State, permit: &Permit, request: CreateListingRequest) -> Result<Listing, Error> {
    let body = request.encode_to_vec();
    let shop = own_shop(permit, &request.parent)?;
    let listing = request.listing.unwrap_or_default();
    let key = RequestKey { access: permit.access(), request_id: &request.request_id, body: &body };
    let made = state
        .store
        .write_once(key, move |tx| {
            let checked = Checked::new(&listing)?;
            let id = uuid::Uuid::now_v7().simple().to_string();
            insert(tx, &id, &shop, &checked)?;
            reload(tx, &id)
        })
        .await?;
    state.feed.announce();
    Ok(made)
}

/// One of the seller's listings.
pub(crate) async fn get(state: &State, permit: &Permit, request: GetListingRequest) -> Result<Listing, Error> {
    let (shop, id) = own_listing(permit, &request.name)?;
    let found = state.store.read(move |tx| product::load(tx, &id)).await?;
    found
        .filter(|product| product.merchant == shop)
        .map(|product| product.for_seller())
        .ok_or(Error::NotFound("listing"))
}

/// The seller's listings by id.
pub(crate) async fn list(
    state: &State,
    permit: &Permit,
    request: ListListingsRequest,
) -> Result<ListListingsResponse, Error> {
    let shop = own_shop(permit, &request.parent)?;
    let filter = FilterDigest::new("ListListings", &[shop.as_bytes()]);
    let page = Page::new(state.store.pages(), filter, &request.page_token, request.page_size, (20, 100))?;
    let (after, limit) = (page.after(), page.limit());
    let products = state
        .store
        .read::<_, Error>(move |tx| {
            let rows = tx.rows(
                "SELECT id FROM products WHERE merchant = $1 AND id > $2 AND deleted = 0 ORDER BY id LIMIT $3",
                &[Value::from(&shop), Value::from(&after), limit.into()],
            )?;
            let mut products = Vec::new();
            for row in &rows {
                products.extend(product::load(tx, row.text(0)?)?);
            }
            Ok(products)
        })
        .await?;
    let rows = products.iter().map(|product| (product.id.clone(), product.for_seller()));
    let (listings, next_page_token) = page.cut(rows)?;
    Ok(ListListingsResponse { listings, next_page_token })
}

/// Changes the fields of the mask.
pub(crate) async fn update(state: &State, permit: &Permit, request: UpdateListingRequest) -> Result<Listing, Error> {
    let body = request.encode_to_vec();
    let wanted = request.listing.unwrap_or_default();
    let (shop, id) = own_listing(permit, &wanted.name)?;
    let paths = request.update_mask.unwrap_or_default().paths;
    // It may come back beside the listing or in it, as it was read (AIP-154).
    let etag = if request.etag.is_empty() { wanted.etag.clone() } else { request.etag };
    let key = RequestKey { access: permit.access(), request_id: &request.request_id, body: &body };
    let updated = state
        .store
        .write_once(key, move |tx| {
            let stored = for_change(tx, &shop, &id, &etag)?;
            let next = masked(&stored.for_seller(), &wanted, &paths)?;
            replace(tx, &stored, &Checked::new(&next)?, paths.iter().any(|path| path == "skus"))?;
            reload(tx, &id)
        })
        .await?;
    state.feed.announce();
    Ok(updated)
}

/// Takes a product off the market. Its rows stay, because holds and orders refer to them.
pub(crate) async fn delete(state: &State, permit: &Permit, request: DeleteListingRequest) -> Result<(), Error> {
    let body = request.encode_to_vec();
    let (shop, id) = own_listing(permit, &request.name)?;
    let etag = request.etag;
    let key = RequestKey { access: permit.access(), request_id: &request.request_id, body: &body };
    state
        .store
        .write_once::<(), Error>(key, move |tx| {
            for_change(tx, &shop, &id, &etag)?;
            tx.exec(
                "UPDATE products SET deleted = 1, version = version + 1, update_ms = $2 WHERE id = $1",
                &[Value::from(&id), now_ms().into()],
            )?;
            tx.exec("UPDATE skus SET deleted = 1 WHERE product = $1", &[Value::from(&id)])?;
            feed::changed(tx, &id)
        })
        .await?;
    state.feed.announce();
    Ok(())
}

fn own_listing(permit: &Permit, name: &str) -> Result<(String, String), Error> {
    let (shop, id) = names::in_shop(name, "listings", "listing")?;
    let shop = own_shop(permit, &format!("merchants/{shop}"))?;
    Ok((shop, id.to_owned()))
}

fn for_change(tx: &mut dyn Tx, shop: &str, id: &str, etag: &str) -> Result<Stored, Error> {
    let stored = product::load(tx, id)?.filter(|product| product.merchant == shop).ok_or(Error::NotFound("listing"))?;
    if etag.is_empty() || etag == stored.version.to_string() { Ok(stored) } else { Err(Error::EtagMismatch) }
}

fn masked(stored: &Listing, wanted: &Listing, paths: &[String]) -> Result<Listing, Error> {
    let mut next = stored.clone();
    let mut violations = Violations::default();
    violations.check(!paths.is_empty(), "update_mask", "must name the fields to change");
    for path in paths {
        match path.as_str() {
            "title" => next.title.clone_from(&wanted.title),
            "description" => next.description.clone_from(&wanted.description),
            "category" => next.category.clone_from(&wanted.category),
            "attributes" => next.attributes.clone_from(&wanted.attributes),
            "image_uri" => next.image_uri.clone_from(&wanted.image_uri),
            "skus" => next.skus.clone_from(&wanted.skus),
            "supplier_reference" => next.supplier_reference.clone_from(&wanted.supplier_reference),
            _ => violations.check(
                false,
                "update_mask",
                "may name title, description, category, attributes, image_uri, skus and supplier_reference",
            ),
        }
    }
    violations.finish()?;
    Ok(next)
}

/// A listing whose fields are as the contract demands.
pub(crate) struct Checked<'a> {
    listing: &'a Listing,
    attributes: String,
    skus: Vec<CheckedSku<'a>>,
}

struct CheckedSku<'a> {
    sku: &'a ListingSku,
    options: String,
    price: Money,
    cost: Option<Money>,
}

impl<'a> Checked<'a> {
    /// Checks all fields and names every one at fault.
    pub(crate) fn new(listing: &'a Listing) -> Result<Self, Error> {
        let mut violations = Violations::default();
        check_texts(&mut violations, listing);
        violations.check((1..=50).contains(&listing.skus.len()), "listing.skus", "must hold 1 to 50 variants");
        let codes: BTreeSet<&str> = listing.skus.iter().map(|sku| sku.sku_code.as_str()).collect();
        violations.check(codes.len() == listing.skus.len(), "listing.skus", "must have a sku_code each");
        let mut skus = Vec::new();
        for (index, sku) in listing.skus.iter().enumerate() {
            skus.push(CheckedSku::new(&mut violations, index, sku)?);
        }
        violations.finish()?;
        Ok(Self { listing, attributes: json(&listing.attributes)?, skus })
    }
}

fn check_texts(violations: &mut Violations, listing: &Listing) {
    let mut check = |holds: bool, field: &str, rule| violations.check(holds, format!("listing.{field}"), rule);
    check(is_text(&listing.title, 3..=150), "title", "must have 3 to 150 characters");
    check(listing.description.chars().count() <= 4000, "description", "must have at most 4,000 characters");
    let levels: Vec<&str> = listing.category.split('/').collect();
    let is_path = levels.len() <= 3 && levels.iter().all(|level| is_text(level, 1..=40));
    check(is_path, "category", "must be a path of one to three levels of 1 to 40 characters");
    let is_web = listing.image_uri.is_empty() || listing.image_uri.starts_with("https://");
    check(is_web && is_text(&listing.image_uri, 0..=500), "image_uri", "must be an https address");
    check(is_text(&listing.supplier_reference, 0..=120), "supplier_reference", "must have at most 120 characters");
    let rule = "must be at most 20 facts, with keys of 1 to 40 and values of 1 to 200 characters";
    check(are_facts(&listing.attributes, 20), "attributes", rule);
}

impl<'a> CheckedSku<'a> {
    fn new(violations: &mut Violations, index: usize, sku: &'a ListingSku) -> Result<Self, Error> {
        let mut check =
            |holds: bool, field: &str, rule| violations.check(holds, format!("listing.skus[{index}].{field}"), rule);
        let is_code = names::is_id(&sku.sku_code) && sku.sku_code.len() <= 40;
        check(is_code, "sku_code", "must be 1 to 40 of A-Z, a-z, 0-9, '-' and '_'");
        check(is_text(&sku.unit, 1..=20), "unit", "must have 1 to 20 characters");
        check((0..=1_000_000).contains(&sku.weight_grams), "weight_grams", "must be 0 to 1,000,000");
        check((0..=MAX_ON_HAND).contains(&sku.on_hand), "on_hand", "must be 0 to 10,000,000");
        check(are_facts(&sku.options, 2), "options", "must be at most 2");
        let price = sku.price.as_ref().and_then(rupiah);
        let in_range = price.is_some_and(|price| (MIN_PRICE_MINOR..=MAX_PRICE_MINOR).contains(&price.minor()));
        check(in_range, "price", "must be 100 to 1,000,000,000 whole rupiah");
        let cost = sku.cost.as_ref().map(rupiah);
        let is_cost = cost.is_none_or(|cost| cost.is_some_and(|cost| cost.minor() >= 0));
        check(is_cost, "cost", "must be whole rupiah");
        let price = price.unwrap_or(Money::zero(Currency::Idr));
        Ok(Self { sku, options: json(&sku.options)?, price, cost: cost.flatten() })
    }
}

fn rupiah(wire: &sekat_api_google::r#type::Money) -> Option<Money> {
    Money::try_from(wire).ok().filter(|money| money.currency() == Currency::Idr)
}

fn json(map: &BTreeMap<String, String>) -> Result<String, Error> {
    serde_json::to_string(map).map_err(|_| Error::Damaged("attributes"))
}

fn are_facts(facts: &BTreeMap<String, String>, most: usize) -> bool {
    facts.len() <= most && facts.iter().all(|(key, value)| is_text(key, 1..=40) && is_text(value, 1..=200))
}

/// Makes a product of a listing.
pub(crate) fn insert(tx: &mut dyn Tx, id: &str, shop: &str, checked: &Checked<'_>) -> Result<(), Error> {
    check_admitted(tx, shop)?;
    let listing = checked.listing;
    let now = now_ms();
    tx.exec(
        "INSERT INTO products
             (id, merchant, title, description, category, attributes, image_uri, supplier_reference, search,
              create_ms, update_ms)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $10)",
        &[
            Value::from(id),
            Value::from(shop),
            Value::from(&listing.title),
            Value::from(&listing.description),
            Value::from(&listing.category),
            Value::from(&checked.attributes),
            Value::from(&listing.image_uri),
            Value::from(&listing.supplier_reference),
            Value::from(search_text(listing)),
            now.into(),
        ],
    )?;
    for (position, sku) in (0_i64..).zip(&checked.skus) {
        insert_sku(tx, id, shop, position, sku)?;
    }
    feed::changed(tx, id)
}

fn search_text(listing: &Listing) -> String {
    format!("{} {}", listing.title, listing.category).to_lowercase()
}

/// Refuses a shop that was not admitted.
pub(crate) fn check_admitted(tx: &mut dyn Tx, shop: &str) -> Result<(), Error> {
    let admitted = "SELECT id FROM merchants WHERE id = $1 AND admitted = 1";
    tx.optional(admitted, &[Value::from(shop)])?.map(drop).ok_or(Error::NotAdmitted)
}

fn insert_sku(
    tx: &mut dyn Tx,
    product: &str,
    shop: &str,
    position: i64,
    checked: &CheckedSku<'_>,
) -> Result<(), Error> {
    let CheckedSku { sku, options, price, cost } = checked;
    if product_of_code(tx, shop, &sku.sku_code)?.is_some() {
        return Err(Error::SkuCodeTaken);
    }
    // A code that the product had before and gave up is its own again.
    tx.exec(
        "INSERT INTO skus (product, code, merchant, position, options, unit, weight, price, cost, on_hand)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
         ON CONFLICT (product, code) DO UPDATE
         SET position = excluded.position, options = excluded.options, unit = excluded.unit, weight = excluded.weight,
             price = excluded.price, cost = excluded.cost, on_hand = excluded.on_hand, deleted = 0,
             version = skus.version + 1",
        &[
            Value::from(product),
            Value::from(&sku.sku_code),
            Value::from(shop),
            position.into(),
            Value::from(options),
            Value::from(&sku.unit),
            i64::from(sku.weight_grams).into(),
            price.minor().into(),
            cost.map_or(Value::Null, |cost| cost.minor().into()),
            sku.on_hand.into(),
        ],
    )?;
    Ok(())
}

/// Gives a stored product the content of a listing. Stock of a variant that stays is set only with `with_skus`, and
/// never below what is held.
pub(crate) fn replace(tx: &mut dyn Tx, stored: &Stored, checked: &Checked<'_>, with_skus: bool) -> Result<(), Error> {
    let listing = checked.listing;
    tx.exec(
        "UPDATE products
         SET title = $2, description = $3, category = $4, attributes = $5, image_uri = $6, supplier_reference = $7,
             search = $8, version = version + 1, update_ms = $9
         WHERE id = $1",
        &[
            Value::from(&stored.id),
            Value::from(&listing.title),
            Value::from(&listing.description),
            Value::from(&listing.category),
            Value::from(&checked.attributes),
            Value::from(&listing.image_uri),
            Value::from(&listing.supplier_reference),
            Value::from(search_text(listing)),
            now_ms().into(),
        ],
    )?;
    if with_skus {
        replace_skus(tx, stored, checked)?;
    }
    feed::changed(tx, &stored.id)
}

fn replace_skus(tx: &mut dyn Tx, stored: &Stored, checked: &Checked<'_>) -> Result<(), Error> {
    for gone in stored.skus.iter().filter(|old| checked.skus.iter().all(|new| new.sku.sku_code != old.code)) {
        if gone.reserved > 0 {
            return Err(Error::StockHeld);
        }
        tx.exec(
            "UPDATE skus SET deleted = 1 WHERE product = $1 AND code = $2",
            &[Value::from(&stored.id), Value::from(&gone.code)],
        )?;
    }
    for (position, new) in (0_i64..).zip(&checked.skus) {
        let Some(old) = stored.skus.iter().find(|old| old.code == new.sku.sku_code) else {
            insert_sku(tx, &stored.id, &stored.merchant, position, new)?;
            continue;
        };
        if old.reserved > new.sku.on_hand {
            return Err(Error::StockHeld);
        }
        tx.exec(
            "UPDATE skus
             SET position = $3, options = $4, unit = $5, weight = $6, price = $7, cost = $8, on_hand = $9,
                 version = version + 1
             WHERE product = $1 AND code = $2",
            &[
                Value::from(&stored.id),
                Value::from(&new.sku.sku_code),
                position.into(),
                Value::from(&new.options),
                Value::from(&new.sku.unit),
                i64::from(new.sku.weight_grams).into(),
                new.price.minor().into(),
                new.cost.map_or(Value::Null, |cost| cost.minor().into()),
                new.sku.on_hand.into(),
            ],
        )?;
    }
    Ok(())
}

/// The product that offers a sku of this code in the shop.
pub(crate) fn product_of_code(tx: &mut dyn Tx, shop: &str, code: &str) -> Result<Option<String>, Error> {
    let row = tx.optional(
        "SELECT product FROM skus WHERE merchant = $1 AND code = $2 AND deleted = 0",
        &[Value::from(shop), Value::from(code)],
    )?;
    row.map(|row| Ok(row.text(0)?.to_owned())).transpose()
}

fn reload(tx: &mut dyn Tx, id: &str) -> Result<Listing, Error> {
    Ok(product::load(tx, id)?.ok_or(Error::NotFound("listing"))?.for_seller())
}
