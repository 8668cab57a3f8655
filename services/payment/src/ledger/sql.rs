//! The ledger's tables: a transfer and the sums that it changes are one transaction; nothing here updates or deletes
//! a transfer, and the schema's triggers forbid it.

use sekat_money::Money;
use sekat_store::{Row, Tx, Value};

use super::{Account, AccountKind, Action, Booked, Context, Settlement, Transfer, decide};
use crate::error::Error;

const ACCOUNT: &str = "
    SELECT id, kind, currency, debits_posted, credits_posted, debits_pending, credits_pending
    FROM ledger_accounts WHERE id = $1";

const TRANSFER: &str = "
    SELECT id, action, pending, debit, credit, currency, amount_minor, payment_intent
    FROM ledger_transfers WHERE id = $1";

const SETTLEMENT: &str = "SELECT action FROM ledger_transfers WHERE pending = $1";

const INSERT: &str = "
    INSERT INTO ledger_transfers
        (id, action, pending, debit, credit, currency, amount_minor, payment_intent, create_ms)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";

const SUMS: &str = "
    UPDATE ledger_accounts
    SET debits_posted = $2, credits_posted = $3, debits_pending = $4, credits_pending = $5 WHERE id = $1";

/// Books `transfer`. False if it was booked before with the same content.
///
/// # Errors
/// [`Error::Ledger`] if the rules refuse it.
pub fn book(tx: &mut dyn Tx, transfer: &Transfer, now_ms: i64) -> Result<bool, Error> {
    let context = context(tx, transfer)?;
    let Booked::New { debit, credit } = decide(&context, transfer)? else { return Ok(false) };
    tx.exec(
        INSERT,
        &[
            Value::from(&transfer.id),
            transfer.action.word().into(),
            transfer.action.pending().into(),
            Value::from(&transfer.debit),
            Value::from(&transfer.credit),
            transfer.amount.currency().code().into(),
            transfer.amount.minor().into(),
            Value::from(&transfer.payment_intent),
            now_ms.into(),
        ],
    )?;
    for account in [&debit, &credit] {
        let sums = [account.debits_posted, account.credits_posted, account.debits_pending, account.credits_pending];
        let params: Vec<Value> =
            std::iter::once(Value::from(&account.id)).chain(sums.into_iter().map(Value::from)).collect();
        if tx.exec(SUMS, &params)? != 1 {
            return Err(Error::Stored("ledger account"));
        }
    }
    Ok(true)
}

fn context(tx: &mut dyn Tx, transfer: &Transfer) -> Result<Context, Error> {
    let existing = find(tx, &transfer.id)?;
    if existing.is_some() {
        return Ok(Context { existing, ..Context::default() });
    }
    let mut context =
        Context { debit: account(tx, &transfer.debit)?, credit: account(tx, &transfer.credit)?, ..Context::default() };
    if let Some(pending) = transfer.action.pending() {
        context.pending = find(tx, pending)?;
        context.settlement = settlement(tx, pending)?;
    }
    Ok(context)
}

/// The account of this id, if there is one.
///
/// # Errors
/// If the store fails.
pub fn account(tx: &mut dyn Tx, id: &str) -> Result<Option<Account>, Error> {
    tx.optional(ACCOUNT, &[id.into()])?.as_ref().map(read_account).transpose()
}

/// The transfer of this id, if there is one.
///
/// # Errors
/// If the store fails.
pub fn find(tx: &mut dyn Tx, id: &str) -> Result<Option<Transfer>, Error> {
    tx.optional(TRANSFER, &[id.into()])?.as_ref().map(read_transfer).transpose()
}

fn settlement(tx: &mut dyn Tx, pending: &str) -> Result<Option<Settlement>, Error> {
    let row = tx.optional(SETTLEMENT, &[pending.into()])?;
    row.map(|row| match row.text(0)? {
        "POST" => Ok(Settlement::Posted),
        "VOID" => Ok(Settlement::Voided),
        _ => Err(Error::Stored("ledger transfer")),
    })
    .transpose()
}

/// Reads the columns of an account in the order of the table.
pub(super) fn read_account(row: &Row) -> Result<Account, Error> {
    let word = row.text(1)?;
    let kind = AccountKind::ALL.into_iter().find(|kind| kind.word() == word);
    Ok(Account {
        id: row.text(0)?.to_owned(),
        kind: kind.ok_or(Error::Stored("ledger account"))?,
        currency: row.text(2)?.parse().map_err(|_| Error::Stored("currency"))?,
        debits_posted: row.int(3)?,
        credits_posted: row.int(4)?,
        debits_pending: row.int(5)?,
        credits_pending: row.int(6)?,
    })
}

/// Reads `id, action, pending, debit, credit, currency, amount_minor, payment_intent`.
pub(super) fn read_transfer(row: &Row) -> Result<Transfer, Error> {
    let pending = row.opt_text(2)?.map(str::to_owned);
    let action = match (row.text(1)?, pending) {
        ("DIRECT", None) => Action::Direct,
        ("PENDING", None) => Action::Pending,
        ("POST", Some(pending)) => Action::Post(pending),
        ("VOID", Some(pending)) => Action::Void(pending),
        _ => return Err(Error::Stored("ledger transfer")),
    };
    Ok(Transfer {
        id: row.text(0)?.to_owned(),
        action,
        debit: row.text(3)?.to_owned(),
        credit: row.text(4)?.to_owned(),
        amount: money(row.text(5)?, row.int(6)?)?,
        payment_intent: row.text(7)?.to_owned(),
    })
}

/// An amount as two columns hold it.
///
/// # Errors
/// If the currency is unknown or the amount has a fraction that it is not paid in.
pub fn money(currency: &str, minor: i64) -> Result<Money, Error> {
    let currency = currency.parse().map_err(|_| Error::Stored("currency"))?;
    Money::from_minor(currency, minor).map_err(|_| Error::Stored("amount"))
}
