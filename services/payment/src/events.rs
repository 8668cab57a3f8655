//! News of payments: appended in the transaction of what they tell, read in the order in which they became durable.

use sekat_mesh::context::TraceContext;
use sekat_store::{Row, Tx, Value};

use crate::error::Error;
use crate::intent::Event;
use crate::intents::{Intent, Moment};

/// The next number is one more than the last: writers are serialized, so that the order of the numbers is the order
/// of the commits and a reader that has seen one has seen all before it.
const APPEND: &str = "
    INSERT INTO payment_events (seq, payment_intent, order_name, type, occur_ms, trace)
    SELECT COALESCE(MAX(seq), 0) + 1, $1, $2, $3, $4, $5 FROM payment_events";

const AFTER: &str = "
    SELECT seq, payment_intent, order_name, type, occur_ms, trace
    FROM payment_events WHERE seq > $1 ORDER BY seq LIMIT $2";

const HEAD: &str = "SELECT COALESCE(MAX(seq), 0) FROM payment_events";

/// An event as it is stored.
pub struct Stored {
    /// Its place in the order, from 1.
    pub seq: i64,
    /// The payment, without `paymentIntents/`.
    pub payment_intent: String,
    /// `orders/{order}`.
    pub order: String,
    /// What happened.
    pub event: Event,
    /// When, in milliseconds since the Unix epoch.
    pub occur_ms: i64,
    /// In which trace.
    pub trace: Option<TraceContext>,
}

/// Appends an event.
///
/// # Errors
/// If the store fails.
pub fn append(tx: &mut dyn Tx, intent: &Intent, event: Event, moment: Moment) -> Result<(), Error> {
    tx.exec(
        APPEND,
        &[
            Value::from(&intent.id),
            Value::from(&intent.order),
            word(event).into(),
            moment.now_ms.into(),
            moment.trace.to_bytes().into(),
        ],
    )?;
    Ok(())
}

/// Up to `limit` events after `seq`, oldest first.
///
/// # Errors
/// If the store fails.
pub fn after(tx: &mut dyn Tx, seq: i64, limit: i64) -> Result<Vec<Stored>, Error> {
    tx.rows(AFTER, &[seq.into(), limit.into()])?.iter().map(read).collect()
}

/// The number of the newest event; zero if there is none.
///
/// # Errors
/// If the store fails.
pub fn head(tx: &mut dyn Tx) -> Result<i64, Error> {
    Ok(tx.one(HEAD, &[])?.int(0)?)
}

fn read(row: &Row) -> Result<Stored, Error> {
    let word_of_row = row.text(3)?;
    let event = [Event::Authorized, Event::Captured, Event::Canceled, Event::Failed, Event::PaidLate]
        .into_iter()
        .find(|event| word(*event) == word_of_row);
    Ok(Stored {
        seq: row.int(0)?,
        payment_intent: row.text(1)?.to_owned(),
        order: row.text(2)?.to_owned(),
        event: event.ok_or(Error::Stored("payment event"))?,
        occur_ms: row.int(4)?,
        trace: row.opt_bytes(5)?.and_then(TraceContext::from_bytes),
    })
}

const fn word(event: Event) -> &'static str {
    match event {
        Event::Authorized => "AUTHORIZED",
        Event::Captured => "CAPTURED",
        Event::Canceled => "CANCELED",
        Event::Failed => "FAILED",
        Event::PaidLate => "PAID_LATE",
    }
}
