//! The ledger as `ops` reads it.

use sekat_store::{Tx, Value};

use super::sql::{account, read_transfer};
use super::{Account, Transfer};
use crate::error::Error;

const PAGE_OF_ALL: &str = "
    SELECT id, action, pending, debit, credit, currency, amount_minor, payment_intent, create_ms, seq
    FROM ledger_transfers WHERE seq > $1 ORDER BY seq LIMIT $2";

const PAGE_OF_PAYMENT: &str = "
    SELECT id, action, pending, debit, credit, currency, amount_minor, payment_intent, create_ms, seq
    FROM ledger_transfers WHERE payment_intent = $3 AND seq > $1 ORDER BY seq LIMIT $2";

/// A transfer and where it stands in the ledger.
pub struct Entry {
    /// The transfer.
    pub transfer: Transfer,
    /// When it was booked, in milliseconds since the Unix epoch.
    pub create_ms: i64,
    /// Its place in the order of booking.
    pub seq: i64,
}

/// The account of this id.
///
/// # Errors
/// [`Error::AccountNotFound`].
pub fn get_account(tx: &mut dyn Tx, id: &str) -> Result<Account, Error> {
    account(tx, id)?.ok_or(Error::AccountNotFound)
}

/// Up to `limit` transfers after `after`, oldest first; only those of `payment_intent` unless it is empty.
///
/// # Errors
/// If the store fails.
pub fn list(tx: &mut dyn Tx, payment_intent: &str, after: i64, limit: i64) -> Result<Vec<Entry>, Error> {
    let rows = if payment_intent.is_empty() {
        tx.rows(PAGE_OF_ALL, &[after.into(), limit.into()])?
    } else {
        tx.rows(PAGE_OF_PAYMENT, &[after.into(), limit.into(), Value::from(payment_intent)])?
    };
    rows.iter()
        .map(|row| Ok(Entry { transfer: read_transfer(row)?, create_ms: row.int(8)?, seq: row.int(9)? }))
        .collect()
}
