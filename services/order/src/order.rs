//! An order as the store keeps it, and the one way in which it changes: by an event, through the table.

use std::sync::Arc;

use prost::Message as _;
use sekat_api_order::v1;
use sekat_mesh::context::TraceContext;
use sekat_money::{Currency, Money};
use sekat_service::timestamp;
use sekat_store::{NewItem, Row, Store, StoreError, Tx, Value, WorkQueue, now_ms};

use crate::error::Error;
use crate::name;
use crate::saga::{CHECKOUT, Event, Reason, State, Verdict};

/// An order.
#[derive(Clone)]
pub(crate) struct Order {
    pub(crate) id: String,
    /// `accounts/{account}`.
    pub(crate) buyer: String,
    /// The id of the cart that it was.
    pub(crate) cart: String,
    pub(crate) showcase: String,
    pub(crate) campaign: String,
    /// The operator of the marketplace, as it was then.
    pub(crate) operator: String,
    pub(crate) state: State,
    /// Why it came to nothing, or why it is about to.
    pub(crate) reason: Option<Reason>,
    /// Grows with each change; who writes states which one they read.
    pub(crate) version: i64,
    pub(crate) subtotal: Money,
    pub(crate) shipping_fee: Money,
    pub(crate) total: Money,
    /// `accounts/{account}/addresses/{address}`.
    pub(crate) address: String,
    /// The address as it was, once it is copied.
    pub(crate) ship_to: Option<v1::ShipTo>,
    /// The number of its current reservation, from 0.
    pub(crate) hold: i64,
    /// How long each of its reservations holds, in milliseconds.
    pub(crate) hold_ms: i64,
    /// Whether the buyer may know the payment.
    pub(crate) payment_open: bool,
    pub(crate) create_ms: i64,
    pub(crate) expire_ms: i64,
    pub(crate) paid_ms: Option<i64>,
    /// The trace of the call that created it.
    pub(crate) trace: [u8; TraceContext::BYTES],
    pub(crate) lines: Vec<Line>,
}

/// A line of an order, as it was ordered.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) sku: String,
    pub(crate) quantity: u32,
    pub(crate) title: String,
    /// The seller of record, `merchants/{merchant}`, and its public name.
    pub(crate) merchant: String,
    pub(crate) seller: String,
    /// The price of one piece.
    pub(crate) price: Money,
}

/// What an event did to an order.
pub(crate) enum Change {
    /// The order after it.
    Moved(Arc<Order>),
    /// Nothing: an echo.
    None,
    /// Nothing: it can no longer be cancelled.
    Refused,
    /// Nothing: the peer broke its promise.
    Broken,
    /// Nothing: the order has changed since it was read.
    Superseded,
}

/// The columns that [`Order::read`] takes, in its order.
macro_rules! order_columns {
    () => {
        "id, buyer, cart, showcase, campaign, operator, state, reason, version, currency, subtotal, shipping_fee, total,
         address, ship_to, hold, hold_ms, payment_open, create_ms, expire_ms, paid_ms, trace"
    };
}
pub(crate) use order_columns;

impl Order {
    /// The order with this id.
    pub(crate) fn load(tx: &mut dyn Tx, id: &str) -> Result<Option<Self>, Error> {
        const BY_ID: &str = concat!("SELECT ", order_columns!(), " FROM orders WHERE id = $1");
        let row = tx.optional(BY_ID, &[id.into()])?;
        row.map(|row| Self::read(tx, &row)).transpose()
    }

    /// The order, if it is the buyer's; anybody else's is answered like one that does not exist.
    pub(crate) fn of_buyer(tx: &mut dyn Tx, id: &str, buyer: &str) -> Result<Self, Error> {
        Self::load(tx, id)?.filter(|order| order.buyer == buyer).ok_or(Error::NotFound("order"))
    }

    /// The order of a row of [`order_columns`], with its lines.
    pub(crate) fn read(tx: &mut dyn Tx, row: &Row) -> Result<Self, Error> {
        let id = row.text(0)?.to_owned();
        let currency: Currency = row.text(9)?.parse()?;
        let ship_to = row.opt_bytes(14)?.map(v1::ShipTo::decode).transpose();
        Ok(Self {
            buyer: row.text(1)?.to_owned(),
            cart: row.text(2)?.to_owned(),
            showcase: row.text(3)?.to_owned(),
            campaign: row.text(4)?.to_owned(),
            operator: row.text(5)?.to_owned(),
            state: State::from_word(row.text(6)?).ok_or(Error::Unreadable("state"))?,
            reason: match row.opt_text(7)? {
                Some(word) => Some(Reason::from_word(word).ok_or(Error::Unreadable("reason"))?),
                None => None,
            },
            version: row.int(8)?,
            subtotal: Money::from_minor(currency, row.int(10)?)?,
            shipping_fee: Money::from_minor(currency, row.int(11)?)?,
            total: Money::from_minor(currency, row.int(12)?)?,
            address: row.text(13)?.to_owned(),
            ship_to: ship_to.map_err(|_| Error::Unreadable("address"))?,
            hold: row.int(15)?,
            hold_ms: row.int(16)?,
            payment_open: row.bool(17)?,
            create_ms: row.int(18)?,
            expire_ms: row.int(19)?,
            paid_ms: row.opt_int(20)?,
            trace: row.array(21)?,
            lines: Line::load(tx, &id, currency)?,
            id,
        })
    }

    /// Writes a new order with its lines.
    pub(crate) fn insert(&self, tx: &mut dyn Tx) -> Result<(), Error> {
        tx.exec(
            concat!(
                "INSERT INTO orders (",
                order_columns!(),
                ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20,
                   $21, $22)"
            ),
            &[
                Value::from(&self.id),
                Value::from(&self.buyer),
                Value::from(&self.cart),
                Value::from(&self.showcase),
                Value::from(&self.campaign),
                Value::from(&self.operator),
                self.state.word().into(),
                self.reason.map(Reason::word).into(),
                self.version.into(),
                self.total.currency().code().into(),
                self.subtotal.minor().into(),
                self.shipping_fee.minor().into(),
                self.total.minor().into(),
                Value::from(&self.address),
                self.ship_to.as_ref().map(prost::Message::encode_to_vec).into(),
                self.hold.into(),
                self.hold_ms.into(),
                self.payment_open.into(),
                self.create_ms.into(),
                self.expire_ms.into(),
                self.paid_ms.into(),
                self.trace.into(),
            ],
        )?;
        (0_i64..).zip(&self.lines).try_for_each(|(position, line)| line.insert(tx, &self.id, position))
    }

    /// Lets an event change the order, in the caller's transaction. INVARIANT: nothing else changes one.
    pub(crate) fn take(&self, tx: &mut dyn Tx, event: Event) -> Result<Change, Error> {
        let after = match self.state.on(event) {
            Verdict::Go(to, reason) => self.moved(to, reason, now_ms()),
            Verdict::Stay => return Ok(Change::None),
            Verdict::Refuse => return Ok(Change::Refused),
            Verdict::Broken => return Ok(Change::Broken),
        };
        let changed = tx.exec(
            "UPDATE orders SET state = $3, reason = $4, version = $5, ship_to = $6, hold = $7, payment_open = $8,
                               paid_ms = $9
             WHERE id = $1 AND version = $2",
            &[
                Value::from(&self.id),
                self.version.into(),
                after.state.word().into(),
                after.reason.map(Reason::word).into(),
                after.version.into(),
                after.ship_to.as_ref().map(prost::Message::encode_to_vec).into(),
                after.hold.into(),
                after.payment_open.into(),
                after.paid_ms.into(),
            ],
        )?;
        Ok(if changed > 0 { Change::Moved(Arc::new(after)) } else { Change::Superseded })
    }

    fn moved(&self, to: State, reason: Option<Reason>, now_ms: i64) -> Self {
        let mut after = self.clone();
        after.state = to;
        after.version = self.version.saturating_add(1);
        after.reason = reason.or(self.reason);
        // The payment is open if the checkout is through, or if news of it came first.
        after.payment_open |= matches!(to, State::AwaitPayment | State::SellStock | State::CaptureLate);
        if to.holds_anew() {
            after.hold = self.hold.saturating_add(1);
        }
        if to == State::Paid {
            after.paid_ms = Some(now_ms);
            after.reason = None;
        }
        after
    }

    /// Has the saga look at the order now, under a link to what caused it.
    pub(crate) fn wake(&self, tx: &mut dyn Tx, cause: Option<TraceContext>) -> Result<(), StoreError> {
        let cause = cause.map(TraceContext::to_bytes);
        let payload = cause.as_ref().map(<[u8; TraceContext::BYTES]>::as_slice).unwrap_or_default();
        let item = NewItem { kind: CHECKOUT, key: &self.id, payload, trace: Some(self.trace), due_ms: now_ms() };
        WorkQueue::enqueue_or_reschedule(tx, item)
    }

    /// The id of its payment.
    pub(crate) fn payment_intent_id(&self) -> String {
        name::derived(&self.id, "payment-intent", 0)
    }

    /// The id of its current reservation.
    pub(crate) fn reservation_id(&self) -> String {
        name::derived(&self.id, "reservation", self.hold)
    }

    /// The order as its buyer sees it.
    pub(crate) fn to_proto(&self) -> Result<v1::Order, Error> {
        let failed = matches!(self.state, State::Expired | State::Canceled | State::Failed);
        let payment_intent =
            if self.payment_open { format!("paymentIntents/{}", self.payment_intent_id()) } else { String::new() };
        Ok(v1::Order {
            name: format!("orders/{}", self.id),
            buyer: self.buyer.clone(),
            state: self.state.public().into(),
            lines: self.lines.iter().map(Line::to_proto).collect::<Result<_, _>>()?,
            ship_to: self.ship_to.clone(),
            subtotal: Some(self.subtotal.into()),
            shipping_fee: Some(self.shipping_fee.into()),
            total: Some(self.total.into()),
            payment_intent,
            operator_display_name: self.operator.clone(),
            showcase: self.showcase.clone(),
            campaign: self.campaign.clone(),
            failure_reason: self.reason.filter(|_| failed).map(Reason::word).unwrap_or_default().to_owned(),
            create_time: Some(timestamp(self.create_ms)),
            expire_time: Some(timestamp(self.expire_ms)),
            paid_time: self.paid_ms.map(timestamp),
            etag: self.version.to_string(),
        })
    }
}

impl Line {
    fn load(tx: &mut dyn Tx, order_id: &str, currency: Currency) -> Result<Vec<Self>, Error> {
        let rows = tx.rows(
            "SELECT sku, quantity, title, merchant, seller, price FROM order_lines WHERE order_id = $1
             ORDER BY position",
            &[order_id.into()],
        )?;
        let line = |row: &Row| {
            Ok(Self {
                sku: row.text(0)?.to_owned(),
                quantity: u32::try_from(row.int(1)?).map_err(|_| Error::Unreadable("quantity"))?,
                title: row.text(2)?.to_owned(),
                merchant: row.text(3)?.to_owned(),
                seller: row.text(4)?.to_owned(),
                price: Money::from_minor(currency, row.int(5)?)?,
            })
        };
        rows.iter().map(line).collect()
    }

    fn insert(&self, tx: &mut dyn Tx, order_id: &str, position: i64) -> Result<(), Error> {
        tx.exec(
            "INSERT INTO order_lines (order_id, position, sku, quantity, title, merchant, seller, price)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
            &[
                order_id.into(),
                position.into(),
                Value::from(&self.sku),
                self.quantity.into(),
                Value::from(&self.title),
                Value::from(&self.merchant),
                Value::from(&self.seller),
                self.price.minor().into(),
            ],
        )?;
        Ok(())
    }

    /// The line as its buyer sees it.
    pub(crate) fn to_proto(&self) -> Result<v1::OrderLine, Error> {
        Ok(v1::OrderLine {
            sku: self.sku.clone(),
            quantity: i32::try_from(self.quantity).map_err(|_| Error::Unreadable("quantity"))?,
            title: self.title.clone(),
            merchant: self.merchant.clone(),
            seller_display_name: self.seller.clone(),
            unit_price: Some(self.price.into()),
            line_total: Some(self.price.checked_mul(self.quantity)?.into()),
        })
    }
}

/// The order as it is now, for those who know that it is there.
pub(crate) async fn load(store: &Store, id: &str) -> Result<Order, Error> {
    let id = id.to_owned();
    store.read(move |tx| Order::load(tx, &id)?.ok_or(Error::NotFound("order"))).await
}
