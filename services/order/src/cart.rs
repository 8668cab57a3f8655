//! A cart as the store keeps it: skus and quantities, no prices.

use sekat_api_order::v1;
use sekat_service::timestamp;
use sekat_store::{Tx, Value};

use crate::error::Error;

/// The most lines of a cart: as many as catalog prices and reserves at once.
pub(crate) const MAX_LINES: usize = 50;

/// The most pieces of a line: more is trade, and goes another way.
pub(crate) const MAX_QUANTITY: u32 = 99;

/// A cart.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Cart {
    pub(crate) id: String,
    /// `accounts/{account}`.
    pub(crate) buyer: String,
    /// The showcase and the campaign of its handoff; empty without one.
    pub(crate) showcase: String,
    pub(crate) campaign: String,
    /// The id of the order that it became.
    pub(crate) order: Option<String>,
    /// Grows with each change of the lines.
    pub(crate) version: i64,
    pub(crate) create_ms: i64,
    /// In the order in which they were added.
    pub(crate) lines: Vec<Line>,
}

/// A line of a cart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// Follows from the sku, see [`crate::name::line_id`].
    pub(crate) id: String,
    pub(crate) sku: String,
    /// 1 to [`MAX_QUANTITY`].
    pub(crate) quantity: u32,
}

impl Cart {
    /// The cart, if it is the buyer's; anybody else's is answered like one that does not exist.
    pub(crate) fn of_buyer(tx: &mut dyn Tx, id: &str, buyer: &str) -> Result<Self, Error> {
        let row = tx
            .optional(
                "SELECT showcase, campaign, order_id, version, create_ms FROM carts WHERE id = $1 AND buyer = $2",
                &[id.into(), buyer.into()],
            )?
            .ok_or(Error::NotFound("cart"))?;
        let rows =
            tx.rows("SELECT id, sku, quantity FROM cart_lines WHERE cart = $1 ORDER BY position", &[id.into()])?;
        let mut lines = Vec::with_capacity(rows.len());
        for line in &rows {
            let quantity = u32::try_from(line.int(2)?).map_err(|_| Error::Unreadable("quantity"))?;
            lines.push(Line { id: line.text(0)?.to_owned(), sku: line.text(1)?.to_owned(), quantity });
        }
        Ok(Self {
            id: id.to_owned(),
            buyer: buyer.to_owned(),
            showcase: row.text(0)?.to_owned(),
            campaign: row.text(1)?.to_owned(),
            order: row.opt_text(2)?.map(str::to_owned),
            version: row.int(3)?,
            create_ms: row.int(4)?,
            lines,
        })
    }

    /// Writes a new cart with its lines.
    pub(crate) fn insert(&self, tx: &mut dyn Tx) -> Result<(), Error> {
        tx.exec(
            "INSERT INTO carts (id, buyer, showcase, campaign, version, create_ms) VALUES ($1, $2, $3, $4, $5, $6)",
            &[
                Value::from(&self.id),
                Value::from(&self.buyer),
                Value::from(&self.showcase),
                Value::from(&self.campaign),
                self.version.into(),
                self.create_ms.into(),
            ],
        )?;
        self.lines.iter().try_for_each(|line| put_line(tx, &self.id, line))
    }

    /// What lets a client say which lines it has seen.
    pub(crate) fn etag(&self) -> String {
        self.version.to_string()
    }

    /// The cart without prices.
    pub(crate) fn to_proto(&self) -> v1::Cart {
        let line = |line: &Line| v1::CartLine {
            name: format!("carts/{}/lines/{}", self.id, line.id),
            sku: line.sku.clone(),
            quantity: i32::try_from(line.quantity).unwrap_or(i32::MAX),
            ..v1::CartLine::default()
        };
        v1::Cart {
            name: format!("carts/{}", self.id),
            buyer: self.buyer.clone(),
            lines: self.lines.iter().map(line).collect(),
            total: None,
            showcase: self.showcase.clone(),
            campaign: self.campaign.clone(),
            order: self.order.as_ref().map(|order| format!("orders/{order}")).unwrap_or_default(),
            etag: self.etag(),
            create_time: Some(timestamp(self.create_ms)),
        }
    }
}

/// Adds a line at the end, or gives it another quantity where it stands.
pub(crate) fn put_line(tx: &mut dyn Tx, cart: &str, line: &Line) -> Result<(), Error> {
    tx.exec(
        "INSERT INTO cart_lines (cart, id, sku, quantity, position)
         VALUES ($1, $2, $3, $4, (SELECT COALESCE(MAX(position), 0) + 1 FROM cart_lines WHERE cart = $1))
         ON CONFLICT (cart, id) DO UPDATE SET quantity = excluded.quantity",
        &[cart.into(), Value::from(&line.id), Value::from(&line.sku), line.quantity.into()],
    )?;
    Ok(())
}
