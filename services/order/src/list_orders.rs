//! GetOrder and ListOrders: the buyer's own orders, newest first.

use sekat_api_order::v1;
use sekat_mesh::Permit;
use sekat_service::Page;
use sekat_store::{FilterDigest, Tx};

use crate::error::Error;
use crate::name;
use crate::order::{Order, order_columns};
use crate::shop::{self, Shop};

/// The orders of a page for a client that does not say, and the most: an order has up to 50 lines.
const PAGE_SIZES: (u32, u32) = (20, 50);

/// GetOrder.
pub(crate) async fn get_order(shop: &Shop, permit: &Permit, request: v1::GetOrderRequest) -> Result<v1::Order, Error> {
    let buyer = shop::buyer(permit)?.to_owned();
    let id = name::order_id(&request.name)?.to_owned();
    let store = shop.store.by(permit.deadline());
    store.read(move |tx| Order::of_buyer(tx, &id, &buyer)).await.and_then(|order| order.to_proto())
}

/// ListOrders.
pub(crate) async fn list_orders(
    shop: &Shop,
    permit: &Permit,
    request: v1::ListOrdersRequest,
) -> Result<v1::ListOrdersResponse, Error> {
    let buyer = shop::buyer(permit)?.to_owned();
    if request.parent != buyer {
        return Err(Error::NotFound("account"));
    }
    let filter = FilterDigest::new("ListOrders", &[buyer.as_bytes()]);
    let page = Page::new(shop.store.pages(), filter, &request.page_token, request.page_size, PAGE_SIZES)?;
    let (after, limit) = (cursor(&page.after())?, page.limit());
    let store = shop.store.by(permit.deadline());
    let orders = store.read(move |tx| read_page(tx, &buyer, after.as_ref(), limit)).await?;
    let row = |order: &Order| Ok((format!("{}/{}", order.create_ms, order.id), order.to_proto()?));
    let rows = orders.iter().map(row).collect::<Result<Vec<_>, Error>>()?;
    let (orders, next_page_token) = page.cut(rows)?;
    Ok(v1::ListOrdersResponse { orders, next_page_token })
}

/// Where a page ended: the time and the id of its last order; nothing before the first page.
fn cursor(text: &str) -> Result<Option<(i64, String)>, Error> {
    if text.is_empty() {
        return Ok(None);
    }
    let (create_ms, id) = text.split_once('/').ok_or(Error::Unreadable("page token"))?;
    Ok(Some((create_ms.parse().map_err(|_| Error::Unreadable("page token"))?, id.to_owned())))
}

fn read_page(tx: &mut dyn Tx, buyer: &str, after: Option<&(i64, String)>, limit: i64) -> Result<Vec<Order>, Error> {
    const FIRST: &str =
        concat!("SELECT ", order_columns!(), " FROM orders WHERE buyer = $1 ORDER BY create_ms DESC, id DESC LIMIT $2");
    const NEXT: &str = concat!(
        "SELECT ",
        order_columns!(),
        " FROM orders WHERE buyer = $1 AND (create_ms, id) < ($3, $4) ORDER BY create_ms DESC, id DESC LIMIT $2"
    );
    let limit = limit.into();
    let rows = match after {
        None => tx.rows(FIRST, &[buyer.into(), limit])?,
        Some((create_ms, id)) => tx.rows(NEXT, &[buyer.into(), limit, (*create_ms).into(), id.into()])?,
    };
    rows.iter().map(|row| Order::read(tx, row)).collect()
}
