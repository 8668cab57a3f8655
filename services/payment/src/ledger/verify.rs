//! Adds the whole ledger up again from its transfers, by other means than those that booked them.

use std::collections::BTreeMap;

use sekat_store::Tx;

use super::sql::read_account;
use super::{Account, AccountKind};
use crate::error::Error;

/// The sums of an account's transfers, by side and action.
const DEBITS: &str = "
    SELECT debit, currency, action, CAST(SUM(amount_minor) AS BIGINT)
    FROM ledger_transfers GROUP BY debit, currency, action";
const CREDITS: &str = "
    SELECT credit, currency, action, CAST(SUM(amount_minor) AS BIGINT)
    FROM ledger_transfers GROUP BY credit, currency, action";

const ACCOUNTS: &str = "
    SELECT id, kind, currency, debits_posted, credits_posted, debits_pending, credits_pending
    FROM ledger_accounts ORDER BY id";

/// Settlements that do not fit what they settle.
const MISFITS: &str = "
    SELECT COUNT(*) FROM ledger_transfers s LEFT JOIN ledger_transfers p ON p.id = s.pending
    WHERE s.pending IS NOT NULL
      AND (p.id IS NULL OR p.action <> 'PENDING' OR p.debit <> s.debit OR p.credit <> s.credit
           OR p.currency <> s.currency OR p.amount_minor <> s.amount_minor OR p.payment_intent <> s.payment_intent)";

const COUNT: &str = "SELECT COUNT(*) FROM ledger_transfers";

/// What a check went through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verified {
    /// How many transfers.
    pub transfers: i64,
    /// How many accounts.
    pub accounts: usize,
}

/// Recomputes every balance from the transfers and compares it with the account, checks that no account is
/// overdrawn, that every settlement fits its pending transfer, and that per currency debits equal credits. Reads all
/// transfers: about a second for each million.
///
/// # Errors
/// [`Error::LedgerBroken`] with the first thing that does not hold.
pub fn verify(tx: &mut dyn Tx) -> Result<Verified, Error> {
    let accounts: Vec<Account> = tx.rows(ACCOUNTS, &[])?.iter().map(read_account).collect::<Result<_, Error>>()?;
    let mut debits = sums(tx, DEBITS)?;
    let mut credits = sums(tx, CREDITS)?;
    let mut balance: BTreeMap<&str, [i64; 2]> = BTreeMap::new();
    for account in &accounts {
        let key = (account.id.clone(), account.currency.code().to_owned());
        let debit = debits.remove(&key).unwrap_or_default();
        let credit = credits.remove(&key).unwrap_or_default();
        let recomputed = [debit.posted, credit.posted, debit.pending, credit.pending];
        let kept = [account.debits_posted, account.credits_posted, account.debits_pending, account.credits_pending];
        if recomputed != kept {
            return broken(format!("account {} is not the sum of its transfers", account.id));
        }
        refuse_overdrawn(account)?;
        let [posted, pending] = balance.entry(account.currency.code()).or_default();
        *posted = add(*posted, debit.posted.checked_sub(credit.posted))?;
        *pending = add(*pending, debit.pending.checked_sub(credit.pending))?;
    }
    if let Some((account, currency)) = debits.into_keys().chain(credits.into_keys()).next() {
        return broken(format!("a transfer in {currency} names the account {account}, which does not take it"));
    }
    if let Some((currency, _)) = balance.into_iter().find(|(_, off)| *off != [0, 0]) {
        return broken(format!("debits and credits in {currency} differ"));
    }
    if tx.one(MISFITS, &[])?.int(0)? != 0 {
        return broken("a settlement does not fit its pending transfer".to_owned());
    }
    Ok(Verified { transfers: tx.one(COUNT, &[])?.int(0)?, accounts: accounts.len() })
}

/// One side of an account.
#[derive(Clone, Copy, Default)]
struct Side {
    posted: i64,
    pending: i64,
}

fn sums(tx: &mut dyn Tx, statement: &'static str) -> Result<BTreeMap<(String, String), Side>, Error> {
    let mut sides: BTreeMap<(String, String), Side> = BTreeMap::new();
    for row in tx.rows(statement, &[])? {
        let side = sides.entry((row.text(0)?.to_owned(), row.text(1)?.to_owned())).or_default();
        let sum = row.int(3)?;
        let (posted, pending) = match row.text(2)? {
            "DIRECT" => (sum, 0),
            "PENDING" => (0, sum),
            "POST" => (sum, sum.checked_neg().unwrap_or(i64::MIN)),
            "VOID" => (0, sum.checked_neg().unwrap_or(i64::MIN)),
            _ => return Err(Error::Stored("ledger transfer")),
        };
        side.posted = add(side.posted, Some(posted))?;
        side.pending = add(side.pending, Some(pending))?;
    }
    Ok(sides)
}

fn refuse_overdrawn(account: &Account) -> Result<(), Error> {
    let (holds, owes) = match account.kind {
        AccountKind::ProviderReceivable => (account.debits_posted, account.credits_posted),
        AccountKind::OrderFunds | AccountKind::UnappliedFunds => (account.credits_posted, account.debits_posted),
    };
    if owes > holds {
        return broken(format!("account {} is overdrawn", account.id));
    }
    Ok(())
}

fn add(sum: i64, more: Option<i64>) -> Result<i64, Error> {
    more.and_then(|more| sum.checked_add(more)).map_or_else(|| broken("a sum overflows".to_owned()), Ok)
}

fn broken<T>(what: String) -> Result<T, Error> {
    Err(Error::LedgerBroken(what))
}
