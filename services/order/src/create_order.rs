//! CreateOrder: turns a cart into an order at the price that its buyer agreed to. The order and the work of placing it
//! are written in one transaction; a task of the service does the work, and the call only waits for it.

use std::time::{Duration, Instant};

use prost::Message as _;
use sekat_api_order::v1;
use sekat_mesh::Permit;
use sekat_mesh::context::TraceContext;
use sekat_store::{RequestKey, Tx, Value, now_ms};

use crate::cart::Cart;
use crate::changes::Watch;
use crate::config::HOLD_MARGIN;
use crate::error::Error;
use crate::order::Order;
use crate::quote::{self, Quote};
use crate::saga::State;
use crate::shop::{self, Shop};
use crate::{name, order};

/// How often a cart is priced anew because it changes meanwhile; who edits faster than that can ask again.
const ATTEMPTS: u32 = 3;

/// What is kept of the deadline for the way back.
const WAY_BACK: Duration = Duration::from_millis(100);

/// What an order is made of.
struct Draft {
    id: String,
    /// The cart as it was priced.
    cart: Cart,
    /// What it costs now; nothing if that could not be found out, or if it was ordered.
    quote: Option<Quote>,
    /// The hash of what the buyer agreed to.
    agreed: String,
    address: String,
    operator: String,
    order_ttl: Duration,
    trace: [u8; TraceContext::BYTES],
}

/// CreateOrder.
pub(crate) async fn create_order(
    shop: &Shop,
    permit: &Permit,
    request: v1::CreateOrderRequest,
) -> Result<v1::Order, Error> {
    let buyer = shop::buyer(permit)?;
    name::check_address(&request.address, buyer)?;
    let id = name::new_id();
    // From before the order is there, so that nothing of it is missed.
    let watch = shop.changes.watch(&id);
    let mut attempts = 1..=ATTEMPTS;
    let written = loop {
        let is_last = attempts.next().is_none_or(|attempt| attempt == ATTEMPTS);
        match place(shop, permit, buyer, &id, &request).await {
            // The cart changed while it was priced.
            Err(Error::EtagMismatch) if !is_last => {}
            outcome => break outcome?,
        }
    };
    let first = name::order_id(&written.name)?;
    if first == id {
        return until_placed(watch, permit.deadline()).await;
    }
    let watch = shop.changes.watch(first);
    let order = order::load(&shop.store, first).await?;
    if is_placed(&order) { order.to_proto() } else { until_placed(watch, permit.deadline()).await }
}

/// Prices the cart and writes the order; the reply is its name. A repetition gets the order of the first time
/// whatever has become of prices and stock since, and of a cart that was ordered nothing needs to be priced.
async fn place(
    shop: &Shop,
    permit: &Permit,
    buyer: &str,
    id: &str,
    request: &v1::CreateOrderRequest,
) -> Result<v1::Order, Error> {
    let store = shop.store.by(permit.deadline());
    let (cart, owner) = (name::cart_id(&request.cart)?.to_owned(), buyer.to_owned());
    let cart = store.read(move |tx| Cart::of_buyer(tx, &cart, &owner)).await?;
    let (quote, refusal) = match &cart.order {
        Some(_) => (None, None),
        None => match quote::of_cart(shop, &cart, &request.address).await {
            Ok(quote) => (Some(quote), None),
            Err(error) => (None, Some(error)),
        },
    };
    let draft = Draft {
        id: id.to_owned(),
        cart,
        quote,
        agreed: request.quote_hash.clone(),
        address: request.address.clone(),
        operator: shop.config.operator.clone(),
        order_ttl: shop.config.order_ttl,
        trace: permit.trace().to_bytes(),
    };
    let body = request.encode_to_vec();
    let key = RequestKey { access: permit.access(), request_id: &request.request_id, body: &body };
    let written = store.write_once(key, move |tx| write(tx, &draft)).await;
    written.map_err(|error| match (error, refusal) {
        (Error::NotPriced, Some(refusal)) => refusal,
        (error, _) => error,
    })
}

/// Writes the order, ties the cart to it and has the saga begin.
fn write(tx: &mut dyn Tx, draft: &Draft) -> Result<v1::Order, Error> {
    let cart = Cart::of_buyer(tx, &draft.cart.id, &draft.cart.buyer)?;
    if cart.order.is_some() {
        return Err(Error::CartOrdered);
    }
    let quote = draft.quote.as_ref().ok_or(Error::NotPriced)?;
    if cart.version != draft.cart.version {
        return Err(Error::EtagMismatch);
    }
    if quote.hash != draft.agreed {
        return Err(Error::QuoteStale { quote_hash: quote.hash.clone(), total: quote.total });
    }
    let order = new_order(draft, cart, quote);
    order.insert(tx)?;
    tx.exec("UPDATE carts SET order_id = $2 WHERE id = $1", &[Value::from(&order.cart), Value::from(&order.id)])?;
    order.wake(tx, None)?;
    Ok(v1::Order { name: format!("orders/{}", order.id), ..v1::Order::default() })
}

fn new_order(draft: &Draft, cart: Cart, quote: &Quote) -> Order {
    let millis = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
    let create_ms = now_ms();
    Order {
        id: draft.id.clone(),
        buyer: cart.buyer,
        cart: cart.id,
        showcase: cart.showcase,
        campaign: cart.campaign,
        operator: draft.operator.clone(),
        state: State::CheckBuyer,
        reason: None,
        version: 1,
        subtotal: quote.subtotal,
        shipping_fee: quote.shipping_fee,
        total: quote.total,
        address: draft.address.clone(),
        ship_to: None,
        hold: 0,
        hold_ms: millis(draft.order_ttl.saturating_add(HOLD_MARGIN)),
        payment_open: false,
        create_ms,
        expire_ms: create_ms.saturating_add(millis(draft.order_ttl)),
        paid_ms: None,
        trace: draft.trace,
        lines: quote.lines.clone(),
    }
}

/// Waits until the checkout is through, either way.
async fn until_placed(mut watch: Watch, deadline: Instant) -> Result<v1::Order, Error> {
    let give_up = deadline.checked_sub(WAY_BACK).unwrap_or(deadline);
    loop {
        let order = tokio::time::timeout_at(give_up.into(), watch.changed()).await.map_err(|_| Error::UnderWay)?;
        if is_placed(&order) {
            return order.to_proto();
        }
    }
}

fn is_placed(order: &Order) -> bool {
    order.state.public() != v1::OrderState::CheckingOut
}
