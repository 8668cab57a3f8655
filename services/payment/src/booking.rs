//! Which transfer each booking of a payment is. Ids follow from what is booked, so that nothing is booked twice.

use sekat_money::Money;

use crate::error::Error;
use crate::intent::Booking;
use crate::intents::{Bank, Intent};
use crate::ledger::{Action, Transfer};

/// What buyers paid for orders.
pub const ORDER_FUNDS: &str = "order-funds";

/// What came and belongs to no living order.
pub const UNAPPLIED_FUNDS: &str = "unapplied-funds";

/// What a bank has collected.
#[must_use]
pub const fn receivable(bank: Bank) -> &'static str {
    match bank {
        Bank::Bca => "provider-receivable-bca",
    }
}

/// Money that came.
#[derive(Clone, PartialEq, Eq)]
pub struct Receipt {
    /// Which bank collected it.
    pub bank: Bank,
    /// How much.
    pub amount: Money,
    /// A digest of bank and notification, 32 hexadecimal digits; names the transfer of a stray receipt.
    pub digest: String,
}

/// The transfer that books `booking` for `intent`.
///
/// # Errors
/// [`Error::Stored`] if the payment lacks its bank, or a stray booking its receipt: a fault of this service.
pub fn transfer(intent: &Intent, booking: Booking, receipt: Option<&Receipt>) -> Result<Transfer, Error> {
    let id = &intent.id;
    let from_bank = || intent.bank.map(receivable).ok_or(Error::Stored("payment's bank"));
    let hold = format!("{id}-hold");
    let (id, action, debit, credit) = match booking {
        Booking::Stray => return receipt.map(|receipt| stray(id, receipt)).ok_or(Error::Stored("receipt")),
        Booking::Hold => (hold, Action::Pending, from_bank()?, ORDER_FUNDS),
        Booking::Post => (format!("{id}-post"), Action::Post(hold), from_bank()?, ORDER_FUNDS),
        Booking::Void => (format!("{id}-void"), Action::Void(hold), from_bank()?, ORDER_FUNDS),
        Booking::Return => (format!("{id}-return"), Action::Direct, from_bank()?, UNAPPLIED_FUNDS),
        Booking::Late => (format!("{id}-late"), Action::Direct, from_bank()?, UNAPPLIED_FUNDS),
        Booking::Apply => (format!("{id}-apply"), Action::Direct, UNAPPLIED_FUNDS, ORDER_FUNDS),
    };
    Ok(Transfer {
        id,
        action,
        debit: debit.to_owned(),
        credit: credit.to_owned(),
        amount: intent.amount,
        payment_intent: intent.id.clone(),
    })
}

/// The transfer of money that no payment wants; `payment_intent` is empty if it names none that exists.
#[must_use]
pub fn stray(payment_intent: &str, receipt: &Receipt) -> Transfer {
    Transfer {
        id: format!("stray-{}", receipt.digest),
        action: Action::Direct,
        debit: receivable(receipt.bank).to_owned(),
        credit: UNAPPLIED_FUNDS.to_owned(),
        amount: receipt.amount,
        payment_intent: payment_intent.to_owned(),
    }
}
