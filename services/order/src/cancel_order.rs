//! CancelOrder: asks for the end of an order that is not paid. Money that is there already wins: the order is then
//! confirmed instead.

use prost::Message as _;
use sekat_api_order::v1;
use sekat_mesh::Permit;
use sekat_store::{RequestKey, Tx};

use crate::error::Error;
use crate::name;
use crate::order::{self, Change, Order};
use crate::saga::Event;
use crate::shop::{self, Shop};

/// CancelOrder.
pub(crate) async fn cancel_order(
    shop: &Shop,
    permit: &Permit,
    request: v1::CancelOrderRequest,
) -> Result<v1::Order, Error> {
    let buyer = shop::buyer(permit)?.to_owned();
    let id = name::order_id(&request.name)?.to_owned();
    let body = request.encode_to_vec();
    let key = RequestKey { access: permit.access(), request_id: &request.request_id, body: &body };
    let watched = id.clone();
    let reply = shop.store.by(permit.deadline()).write_once(key, move |tx| cancel(tx, &id, &buyer)).await?;
    shop.changes.announce(&order::load(&shop.store, &watched).await?.into());
    Ok(reply)
}

fn cancel(tx: &mut dyn Tx, id: &str, buyer: &str) -> Result<v1::Order, Error> {
    let order = Order::of_buyer(tx, id, buyer)?;
    match order.take(tx, Event::Cancel)? {
        Change::Moved(after) => {
            after.wake(tx, None)?;
            after.to_proto()
        }
        Change::None => order.to_proto(),
        Change::Refused | Change::Broken | Change::Superseded => Err(Error::NotCancelable),
    }
}
