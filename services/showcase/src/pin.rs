//! Products on a page, drawn with what the feed says of them.

use std::collections::BTreeSet;

use prost::Message as _;
use sekat_api_feed::v1::{BatchGetFeedProductsRequest, FeedProduct, StockStatus as FeedStockStatus};
use sekat_api_showcase::v1::{
    CreatePinRequest, DeletePinRequest, ListPinsRequest, ListPinsResponse, Pin, ReorderPinsRequest,
    ReorderPinsResponse, StockStatus,
};
use sekat_mesh::Permit;
use sekat_service::{Invalid, Page};
use sekat_store::{FilterDigest, RequestKey, Row, Tx, Value};

use crate::error::Error;
use crate::follow_feed;
use crate::rpc::State;
use crate::showcase;

/// A page that people scroll through, not a shop.
const MAX_PINS: i64 = 100;
/// The contract's limit.
const MAX_NOTE_CHARACTERS: usize = 280;

/// What all pins of one answer have in common.
#[derive(Clone, Copy)]
pub(crate) struct Drawing {
    is_stale: bool,
}

impl Drawing {
    pub(crate) fn now(state: &State) -> Self {
        Self { is_stale: state.freshness.is_stale() }
    }
}

/// Pins a product at the end of the page.
pub(crate) async fn create(state: &State, permit: &Permit, request: CreatePinRequest) -> Result<Pin, Error> {
    let body = request.encode_to_vec();
    let handle = permit.creator().map_err(|_| Error::NotOwner)?.to_owned();
    let page = showcase::id(&request.parent)?.to_owned();
    let wanted = request.pin.unwrap_or_default();
    if wanted.note.chars().count() > MAX_NOTE_CHARACTERS {
        return Err(Invalid::field("pin.note", "must have at most 280 characters").into());
    }
    let new = NewPin { handle, page, product: product_of(&wanted.sku)?.to_owned(), sku: wanted.sku, note: wanted.note };
    let drawing = Drawing::now(state);
    let key = RequestKey { access: permit.access(), request_id: &request.request_id, body: &body };
    let first = new.clone();
    match state.store.write_once(key, move |tx| insert(tx, &first, None, &drawing)).await {
        // The stream may not have brought it yet.
        Err(Error::UnknownProduct) => {
            let fetched = fetch(state, &new.product).await?;
            state.store.write_once(key, move |tx| insert(tx, &new, Some(&fetched), &drawing)).await
        }
        outcome => outcome,
    }
}

#[derive(Clone)]
struct NewPin {
    handle: String,
    page: String,
    product: String,
    sku: String,
    note: String,
}

fn insert(tx: &mut dyn Tx, new: &NewPin, fetched: Option<&FeedProduct>, drawing: &Drawing) -> Result<Pin, Error> {
    let NewPin { handle, page, product, sku, note } = new;
    showcase::check_owner(tx, page, handle)?;
    if let Some(fetched) = fetched {
        follow_feed::keep_if_unknown(tx, fetched)?;
    }
    let known = follow_feed::product(tx, product)?;
    if known.skus.iter().all(|variant| variant.name != *sku) {
        return Err(Error::NotFound("sku"));
    }
    let row = tx.one("SELECT COUNT(*), COALESCE(MAX(rank), 0) FROM pins WHERE showcase = $1", &[Value::from(page)])?;
    let (count, last) = (row.int(0)?, row.int(1)?);
    if count >= MAX_PINS {
        return Err(Error::TooManyPins(MAX_PINS));
    }
    let id = uuid::Uuid::now_v7().simple().to_string();
    tx.exec(
        "INSERT INTO pins (id, showcase, rank, product, sku, note) VALUES ($1, $2, $3, $4, $5, $6)",
        &[
            Value::from(&id),
            Value::from(page),
            last.saturating_add(1).into(),
            Value::from(product),
            Value::from(sku),
            Value::from(note),
        ],
    )?;
    let (_, pin) = drawn(tx, page, last, 1, drawing)?.pop().ok_or(Error::NotFound("pin"))?;
    Ok(pin)
}

async fn fetch(state: &State, product: &str) -> Result<FeedProduct, Error> {
    let request = BatchGetFeedProductsRequest { names: vec![product.to_owned()] };
    let answer = state.feed.clone().batch_get_feed_products(request).await;
    let answer = answer.map_err(|status| Error::FeedUnreachable(Box::new(status)))?;
    answer.into_inner().feed_products.pop().ok_or(Error::NotFound("product"))
}

/// The pins of a page by rank.
pub(crate) async fn list(state: &State, request: ListPinsRequest) -> Result<ListPinsResponse, Error> {
    let page_id = showcase::id(&request.parent)?.to_owned();
    let filter = FilterDigest::new("ListPins", &[page_id.as_bytes()]);
    let page = Page::new(state.store.pages(), filter, &request.page_token, request.page_size, (50, 100))?;
    let after = match page.after().as_str() {
        "" => 0,
        rank => rank.parse().map_err(|_| Error::Damaged("a page token"))?,
    };
    let (drawing, operator, limit) = (Drawing::now(state), state.operator.clone(), page.limit());
    let rows = state
        .store
        .read(move |tx| {
            showcase::load(tx, &page_id, &operator)?.ok_or(Error::NotFound("showcase"))?;
            drawn(tx, &page_id, after, limit, &drawing)
        })
        .await?;
    let (pins, next_page_token) = page.cut(rows)?;
    Ok(ListPinsResponse { pins, next_page_token })
}

/// All pins of a page by rank.
pub(crate) fn all(tx: &mut dyn Tx, page: &str, drawing: &Drawing) -> Result<Vec<Pin>, Error> {
    Ok(drawn(tx, page, 0, MAX_PINS, drawing)?.into_iter().map(|(_, pin)| pin).collect())
}

/// The pins after a stored rank, each after its own. A pin whose product the feed does not have is not drawn, and the
/// ranks that are shown count what is.
fn drawn(tx: &mut dyn Tx, page: &str, after: i64, limit: i64, drawing: &Drawing) -> Result<Vec<(String, Pin)>, Error> {
    let before = tx.one(
        "SELECT COUNT(*) FROM pins JOIN feed_products ON feed_products.id = pins.product
         WHERE showcase = $1 AND rank <= $2 AND feed_product IS NOT NULL",
        &[Value::from(page), after.into()],
    )?;
    let before = i32::try_from(before.int(0)?).map_err(|_| Error::Damaged("a rank"))?;
    let rows = tx.rows(
        "SELECT pins.id, rank, sku, note, feed_product
         FROM pins JOIN feed_products ON feed_products.id = pins.product
         WHERE showcase = $1 AND rank > $2 AND feed_product IS NOT NULL ORDER BY rank LIMIT $3",
        &[Value::from(page), after.into(), limit.into()],
    )?;
    let draw_row = |(row, place): (&Row, i32)| {
        let known = follow_feed::decode(row.bytes(4)?)?;
        let pin = draw(page, row.text(0)?, before.saturating_add(place), row.text(2)?, row.text(3)?, &known, drawing);
        Ok((row.int(1)?.to_string(), pin))
    };
    rows.iter().zip(1..).map(draw_row).collect()
}

fn draw(page: &str, id: &str, rank: i32, sku: &str, note: &str, known: &FeedProduct, drawing: &Drawing) -> Pin {
    let variant = known.skus.iter().find(|variant| variant.name == sku);
    let stock_status = match variant.map(|variant| variant.stock_status()) {
        Some(FeedStockStatus::InStock) => StockStatus::InStock,
        Some(FeedStockStatus::Low) => StockStatus::Low,
        Some(FeedStockStatus::Unspecified) => StockStatus::Unspecified,
        // A variant that is no longer offered cannot be had.
        Some(FeedStockStatus::Out) | None => StockStatus::Out,
    };
    Pin {
        name: format!("showcases/{page}/pins/{id}"),
        product: known.name.clone(),
        sku: sku.to_owned(),
        rank,
        note: note.to_owned(),
        title: known.title.clone(),
        label: variant.map(|variant| variant.label.clone()).unwrap_or_default(),
        price: variant.and_then(|variant| variant.price.clone()),
        stock_status: stock_status.into(),
        seller_display_name: known.seller_display_name.clone(),
        operator_display_name: known.operator_display_name.clone(),
        stale: drawing.is_stale,
    }
}

/// Puts all pins of a page in the given order.
pub(crate) async fn reorder(
    state: &State,
    permit: &Permit,
    request: ReorderPinsRequest,
) -> Result<ReorderPinsResponse, Error> {
    let body = request.encode_to_vec();
    let handle = permit.creator().map_err(|_| Error::NotOwner)?.to_owned();
    let page = showcase::id(&request.parent)?.to_owned();
    let wanted = request.pins.iter().map(|name| parts(name)).collect::<Result<Vec<_>, _>>()?;
    if wanted.iter().any(|(owner, _)| *owner != page) {
        return Err(Error::OtherPins);
    }
    let wanted: Vec<String> = wanted.into_iter().map(|(_, id)| id.to_owned()).collect();
    let drawing = Drawing::now(state);
    let key = RequestKey { access: permit.access(), request_id: &request.request_id, body: &body };
    state
        .store
        .write_once(key, move |tx| {
            showcase::check_owner(tx, &page, &handle)?;
            let have: BTreeSet<String> = all(tx, &page, &drawing)?.into_iter().map(|pin| pin.name).collect();
            let given: BTreeSet<String> = wanted.iter().map(|id| format!("showcases/{page}/pins/{id}")).collect();
            if given != have || given.len() != wanted.len() {
                return Err(Error::OtherPins);
            }
            // Pins that are not drawn come after those that are.
            tx.exec(
                "UPDATE pins SET rank = rank + $2 WHERE showcase = $1",
                &[Value::from(&page), i64::try_from(wanted.len()).unwrap_or(i64::MAX).into()],
            )?;
            for (rank, id) in (1_i64..).zip(&wanted) {
                tx.exec("UPDATE pins SET rank = $2 WHERE id = $1", &[Value::from(id), rank.into()])?;
            }
            Ok(ReorderPinsResponse { pins: all(tx, &page, &drawing)? })
        })
        .await
}

/// Takes a pin off its page.
pub(crate) async fn delete(state: &State, permit: &Permit, request: DeletePinRequest) -> Result<(), Error> {
    let body = request.encode_to_vec();
    let handle = permit.creator().map_err(|_| Error::NotOwner)?.to_owned();
    let (page, id) = parts(&request.name)?;
    let (page, id) = (page.to_owned(), id.to_owned());
    let key = RequestKey { access: permit.access(), request_id: &request.request_id, body: &body };
    state
        .store
        .write_once::<(), Error>(key, move |tx| {
            showcase::check_owner(tx, &page, &handle)?;
            let gone =
                tx.exec("DELETE FROM pins WHERE id = $1 AND showcase = $2", &[Value::from(&id), Value::from(&page)])?;
            if gone == 0 { Err(Error::NotFound("pin")) } else { Ok(()) }
        })
        .await
}

/// The page and the id in `showcases/{showcase}/pins/{pin}`.
pub(crate) fn parts(name: &str) -> Result<(&str, &str), Error> {
    let is_id = |text: &str| !text.is_empty() && !text.contains('/');
    name.strip_prefix("showcases/")
        .and_then(|rest| rest.split_once("/pins/"))
        .filter(|(page, id)| is_id(page) && is_id(id))
        .ok_or(Error::NotFound("pin"))
}

/// The product in `products/{product}/skus/{sku}`.
fn product_of(sku: &str) -> Result<&str, Error> {
    sku.split_once("/skus/")
        .map(|(product, _)| product)
        .filter(|product| product.starts_with("products/"))
        .ok_or_else(|| Invalid::field("pin.sku", "must be products/{product}/skus/{sku}").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_exactly_their_patterns() {
        assert_eq!(parts("showcases/s/pins/p").unwrap(), ("s", "p"));
        for bad in ["", "showcases/s", "showcases//pins/p", "showcases/s/pins/", "showcases/s/pins/p/x"] {
            assert!(parts(bad).is_err(), "{bad}");
        }
        assert_eq!(product_of("products/p/skus/k").unwrap(), "products/p");
        assert!(product_of("merchants/p/skus/k").is_err());
    }
}
