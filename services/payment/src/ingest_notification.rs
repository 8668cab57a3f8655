//! IngestNotification: what a provider reports, once its signature was proved. Each payment at the provider has one
//! effect however often and in whatever order it is reported; money is never lost, whatever it is for.

use sekat_money::Money;
use sekat_store::{Tx, Value};
use sha2::{Digest, Sha256};

use crate::booking::{self, Receipt};
use crate::error::Error;
use crate::intent::{Command, Funds, Outcome, decide};
use crate::intents::{Bank, Found, Intent, Moment, change, find, update};
use crate::ledger;

/// A payment at a provider, as a notification with a right signature reports it.
#[derive(Clone)]
pub struct Notification {
    /// Which bank.
    pub bank: Bank,
    /// The same in each delivery of the same payment.
    pub id: String,
    /// The charge's name without `charges/`: the payment's.
    pub charge: String,
    /// What was paid; more than zero.
    pub amount: Money,
    /// When, in milliseconds since the Unix epoch.
    pub paid_ms: i64,
    /// The provider's own name for the payment.
    pub reference: String,
}

/// What became of a notification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ingested {
    /// It was taken in before.
    Duplicate,
    /// The money was booked.
    Booked,
    /// The money is known already: the provider had been asked before it reported.
    Known,
}

/// `ON CONFLICT` and not a look before: the primary key decides between deliveries.
const INSERT: &str = "
    INSERT INTO notifications (bank, notification_id, charge, currency, amount_minor, reference, paid_ms, create_ms)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING";

/// Takes `notification` in. The notification's id, which the provider has signed, is the key and not the request's
/// id: the provider signs each delivery afresh.
///
/// # Errors
/// If the store fails, or the ledger refuses.
pub fn ingest(tx: &mut dyn Tx, notification: &Notification, moment: Moment) -> Result<Ingested, Error> {
    let Notification { bank, id, charge, amount, paid_ms, reference } = notification;
    let is_new = tx.exec(
        INSERT,
        &[
            bank.word().into(),
            Value::from(id),
            Value::from(charge),
            amount.currency().code().into(),
            amount.minor().into(),
            Value::from(reference),
            (*paid_ms).into(),
            moment.now_ms.into(),
        ],
    )? > 0;
    if !is_new {
        return Ok(Ingested::Duplicate);
    }
    let receipt = Receipt { bank: *bank, amount: *amount, digest: digest(*bank, id) };
    let Found::Intent(mut intent) = find(tx, charge)? else {
        // The bank's signature is right, so the money is there.
        tracing::error!("money came for a charge that this service does not know; it is booked as unapplied");
        ledger::sql::book(tx, &booking::stray("", &receipt), moment.now_ms)?;
        return Ok(Ingested::Booked);
    };
    if is_known(&intent, *amount) {
        intent.notification = Some(id.clone());
        update(tx, &mut intent)?;
        return Ok(Ingested::Known);
    }
    receive(tx, &mut intent, Some(id), &receipt, moment)?;
    Ok(Ingested::Booked)
}

/// The money was found by asking, and this is the first notification that reports it: a charge is paid once, so it
/// is the same money.
fn is_known(intent: &Intent, amount: Money) -> bool {
    intent.standing.funds != Funds::None && intent.notification.is_none() && intent.amount == amount
}

/// Books money that came for `intent`; `notification` is nothing if it was found by asking the provider.
///
/// # Errors
/// If the store fails, or the ledger refuses.
pub fn receive(
    tx: &mut dyn Tx,
    intent: &mut Intent,
    notification: Option<&str>,
    receipt: &Receipt,
    moment: Moment,
) -> Result<(), Error> {
    let exact = intent.amount == receipt.amount && intent.bank.is_none_or(|bank| bank == receipt.bank);
    let Outcome::Changed(changed) = decide(intent.standing, Command::Paid { exact })? else { return Ok(()) };
    if changed.to.funds == intent.standing.funds {
        tracing::error!("money came that its payment does not want; it is booked as unapplied");
    } else {
        intent.bank = Some(receipt.bank);
        intent.notification = notification.map(str::to_owned);
    }
    change(tx, intent, &changed, Some(receipt), moment)
}

/// 128 bits of a digest of bank and notification, in hexadecimal.
#[must_use]
pub fn digest(bank: Bank, notification: &str) -> String {
    let mut hash = Sha256::new();
    hash.update(bank.word());
    hash.update([0]);
    hash.update(notification);
    hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}
