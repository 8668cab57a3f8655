//! Products on a page, drawn with what the feed says of them.

use sekat_api_feed::v1::{BatchGetFeedProductsRequest, FeedProduct, StockStatus as FeedStockStatus};
use sekat_api_showcase::v1::{
    CreatePinRequest, DeletePinRequest, ListPinsRequest, ListPinsResponse, Pin, ReorderPinsRequest,
    ReorderPinsResponse, StockStatus,
};
use sekat_mesh::Permit;
use sekat_store::{FilterDigest, RequestKey, Tx, Value, page_size};

use crate::error::Error;
use crate::follow_feed;
use crate::rpc::{State, encoded};
use crate::showcase;

/// A page that people scroll through, not a shop.
pub(crate) const MAX_PINS: i64 = 100;

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
    let body = encoded(&request);
    let handle = permit.creator().map_err(|_| Error::NotOwner)?.to_owned();
    let page = showcase::id(&request.parent)?.to_owned();
    let wanted = request.pin.unwrap_or_default();
    if wanted.note.chars().count() > 280 {
        return Err(Error::Invalid(vec![("pin.note".to_owned(), "must have at most 280 characters")]));
    }
    let product = product_of(&wanted.sku)?.to_owned();
    let fresh = fetch_if_unknown(state, &product).await?;
    let drawing = Drawing::now(state);
    let key = RequestKey { access: permit.access(), request_id: &request.request_id, body: &body };
    state
        .store
        .write_once(key, move |tx| {
            showcase::check_owner(tx, &page, &handle)?;
            if let Some(fresh) = &fresh {
                // A change that the stream brought in the meantime is newer.
                if follow_feed::product(tx, &fresh.name)?.is_none() {
                    follow_feed::keep(tx, fresh)?;
                }
            }
            insert(tx, &page, &product, &wanted, &drawing)
        })
        .await
}

fn insert(tx: &mut dyn Tx, page: &str, product: &str, wanted: &Pin, drawing: &Drawing) -> Result<Pin, Error> {
    let known = follow_feed::product(tx, product)?.ok_or(Error::NotFound("product"))?;
    if known.skus.iter().all(|sku| sku.name != wanted.sku) {
        return Err(Error::NotFound("sku"));
    }
    let row = tx.one("SELECT COUNT(*), COALESCE(MAX(rank), 0) FROM pins WHERE showcase = $1", &[Value::from(page)])?;
    if row.int(0)? >= MAX_PINS {
        return Err(Error::TooManyPins(MAX_PINS));
    }
    let rank = row.int(1)?.saturating_add(1);
    let id = uuid::Uuid::now_v7().simple().to_string();
    tx.exec(
        "INSERT INTO pins (id, showcase, rank, product, sku, note) VALUES ($1, $2, $3, $4, $5, $6)",
        &[
            Value::from(&id),
            Value::from(page),
            rank.into(),
            Value::from(product),
            Value::from(&wanted.sku),
            Value::from(&wanted.note),
        ],
    )?;
    let rank = i32::try_from(rank).map_err(|_| Error::Damaged("a rank"))?;
    Ok(draw(page, &id, rank, &wanted.sku, &wanted.note, &known, drawing))
}

async fn fetch_if_unknown(state: &State, product: &str) -> Result<Option<FeedProduct>, Error> {
    let name = product.to_owned();
    if state.store.read(move |tx| follow_feed::product(tx, &name)).await?.is_some() {
        return Ok(None);
    }
    let request = BatchGetFeedProductsRequest { names: vec![product.to_owned()] };
    let answer = state.feed.clone().batch_get_feed_products(request).await.map_err(|_| Error::FeedUnreachable)?;
    answer.into_inner().feed_products.pop().map(Some).ok_or(Error::NotFound("product"))
}

/// The pins of a page by rank.
pub(crate) async fn list(state: &State, request: ListPinsRequest) -> Result<ListPinsResponse, Error> {
    let page = showcase::id(&request.parent)?.to_owned();
    let filter = FilterDigest::new("ListPins", &[page.as_bytes()]);
    let pages = state.store.pages();
    let after = match request.page_token.as_str() {
        "" => 0,
        token => pages.decode(filter, token)?.parse().map_err(|_| Error::Damaged("a page token"))?,
    };
    let size = page_size(request.page_size, 50, 100)?;
    let drawing = Drawing::now(state);
    let operator = state.operator.clone();
    let mut pins = state
        .store
        .read(move |tx| {
            showcase::load(tx, &page, &operator)?.ok_or(Error::NotFound("showcase"))?;
            of_showcase(tx, &page, after, size.saturating_add(1), &drawing)
        })
        .await?;
    let limit = usize::try_from(size).unwrap_or(usize::MAX);
    let has_more = pins.len() > limit;
    pins.truncate(limit);
    let next_page_token = match pins.last().filter(|_| has_more) {
        Some(last) => pages.encode(filter, &last.rank.to_string())?,
        None => String::new(),
    };
    Ok(ListPinsResponse { pins, next_page_token })
}

/// The pins after a rank. A pin whose product the feed no longer has is not drawn.
pub(crate) fn of_showcase(
    tx: &mut dyn Tx,
    page: &str,
    after_rank: i64,
    limit: i64,
    drawing: &Drawing,
) -> Result<Vec<Pin>, Error> {
    let rows = tx.rows(
        "SELECT id, rank, product, sku, note FROM pins WHERE showcase = $1 AND rank > $2 ORDER BY rank LIMIT $3",
        &[Value::from(page), after_rank.into(), limit.into()],
    )?;
    let mut pins = Vec::with_capacity(rows.len());
    for row in &rows {
        if let Some(known) = follow_feed::product(tx, row.text(2)?)? {
            let rank = i32::try_from(row.int(1)?).map_err(|_| Error::Damaged("a rank"))?;
            pins.push(draw(page, row.text(0)?, rank, row.text(3)?, row.text(4)?, &known, drawing));
        }
    }
    Ok(pins)
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
    let body = encoded(&request);
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
            let rows = tx.rows("SELECT id FROM pins WHERE showcase = $1 ORDER BY id", &[Value::from(&page)])?;
            let mut given = wanted.clone();
            given.sort_unstable();
            let have = rows.iter().map(|row| Ok(row.text(0)?.to_owned())).collect::<Result<Vec<_>, Error>>()?;
            if given != have {
                return Err(Error::OtherPins);
            }
            for (rank, id) in (1_i64..).zip(&wanted) {
                tx.exec("UPDATE pins SET rank = $2 WHERE id = $1", &[Value::from(id), rank.into()])?;
            }
            Ok(ReorderPinsResponse { pins: of_showcase(tx, &page, 0, MAX_PINS, &drawing)? })
        })
        .await
}

/// Takes a pin off its page.
pub(crate) async fn delete(state: &State, permit: &Permit, request: DeletePinRequest) -> Result<(), Error> {
    let body = encoded(&request);
    let handle = permit.creator().map_err(|_| Error::NotOwner)?.to_owned();
    let (page, id) = parts(&request.name)?;
    let (page, id) = (page.to_owned(), id.to_owned());
    let key = RequestKey { access: permit.access(), request_id: &request.request_id, body: &body };
    state
        .store
        .write_once::<(), Error>(key, move |tx| {
            showcase::check_owner(tx, &page, &handle)?;
            let gone = tx.exec(
                "DELETE FROM pins WHERE id = $1 AND showcase = $2",
                &[Value::from(&id), Value::from(&page)],
            )?;
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
        .ok_or_else(|| Error::Invalid(vec![("pin.sku".to_owned(), "must be products/{product}/skus/{sku}")]))
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
