//! GetOrder and ListOrders: the buyer's own orders, newest first.

use sekat_api_order::v1;
use sekat_mesh::Permit;
use sekat_store::{FilterDigest, Tx, page_size};

use crate::error::Error;
use crate::name;
use crate::order::{Order, order_columns};
use crate::shop::{self, Shop};

/// The page of a client that does not say, and the largest: an order has up to 50 lines, so that a page of 50 stays
/// below the limit of a message.
const DEFAULT_PAGE: u32 = 20;
const LARGEST_PAGE: u32 = 50;

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
    let size = page_size(request.page_size, DEFAULT_PAGE, LARGEST_PAGE)?;
    let filter = FilterDigest::new("ListOrders", &[buyer.as_bytes()]);
    let after = match request.page_token.as_str() {
        "" => None,
        token => Some(cursor(&shop.store.pages().decode(filter, token)?)?),
    };
    let store = shop.store.by(permit.deadline());
    let mut orders = store.read(move |tx| page(tx, &buyer, after.as_ref(), size)).await?;
    let is_full = i64::try_from(orders.len()).is_ok_and(|found| found > size);
    if is_full {
        orders.pop();
    }
    let next_page_token = match orders.last().filter(|_| is_full) {
        Some(last) => shop.store.pages().encode(filter, &format!("{}/{}", last.create_ms, last.id))?,
        None => String::new(),
    };
    let orders = orders.iter().map(Order::to_proto).collect::<Result<_, _>>()?;
    Ok(v1::ListOrdersResponse { orders, next_page_token })
}

/// Where a page ended: the time and the id of its last order.
fn cursor(text: &str) -> Result<(i64, String), Error> {
    let (create_ms, id) = text.split_once('/').ok_or(Error::Unreadable("page token"))?;
    Ok((create_ms.parse().map_err(|_| Error::Unreadable("page token"))?, id.to_owned()))
}

/// The orders after the cursor, and one more if there is one.
fn page(tx: &mut dyn Tx, buyer: &str, after: Option<&(i64, String)>, size: i64) -> Result<Vec<Order>, Error> {
    const FIRST: &str =
        concat!("SELECT ", order_columns!(), " FROM orders WHERE buyer = $1 ORDER BY create_ms DESC, id DESC LIMIT $2");
    const NEXT: &str = concat!(
        "SELECT ",
        order_columns!(),
        " FROM orders WHERE buyer = $1 AND (create_ms, id) < ($3, $4) ORDER BY create_ms DESC, id DESC LIMIT $2"
    );
    let limit = size.saturating_add(1).into();
    let rows = match after {
        None => tx.rows(FIRST, &[buyer.into(), limit])?,
        Some((create_ms, id)) => tx.rows(NEXT, &[buyer.into(), limit, (*create_ms).into(), id.into()])?,
    };
    rows.iter().map(|row| Order::read(tx, row)).collect()
}
