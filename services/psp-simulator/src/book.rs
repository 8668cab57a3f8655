//! What the bank knows: its virtual accounts and their payments. Pure values; every change is an [`Event`], so
//! that the book of a bank that was killed is the book of its journal.

use crate::amount::Amount;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use time::OffsetDateTime;

/// The terms on which a partner opened a virtual account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Terms {
    /// The partner's durable idempotency key.
    pub(crate) trx_id: String,
    /// The partner's company code, padded with spaces on the left to 8 characters.
    pub(crate) partner_service_id: String,
    pub(crate) customer_no: String,
    /// What the payer sees as the payee.
    pub(crate) name: String,
    pub(crate) amount: Amount,
    #[serde(with = "time::serde::rfc3339")]
    pub(crate) expires_at: OffsetDateTime,
    /// The digest of the request, by which a repeated one is told from a different one.
    pub(crate) digest: String,
}

impl Terms {
    /// The number as SNAP BI writes it, with the padding.
    pub(crate) fn virtual_account_no(&self) -> String {
        format!("{}{}", self.partner_service_id, self.customer_no)
    }
}

/// Money that reached a virtual account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Payment {
    /// The bank's name for the payment, the same in all its notifications.
    pub(crate) payment_request_id: String,
    pub(crate) amount: Amount,
    #[serde(with = "time::serde::rfc3339")]
    pub(crate) paid_at: OffsetDateTime,
    /// Whether the partner has confirmed a notification.
    #[serde(default)]
    pub(crate) notified: bool,
}

/// One change of the book.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum Event {
    Opened { terms: Terms },
    Paid { trx_id: String, payment: Payment },
    Cancelled { trx_id: String },
    Notified { trx_id: String },
}

/// What has happened to a charge, time apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Open,
    Paid(Payment),
    Cancelled,
}

/// A virtual account and its state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Charge {
    pub(crate) terms: Terms,
    pub(crate) state: State,
}

/// How a charge stands at a point in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum Standing {
    /// Waits for its payer.
    Unpaid,
    /// The money arrived.
    Paid,
    /// Its time passed without a payment.
    Expired,
    /// The partner deleted it.
    Cancelled,
}

impl Charge {
    pub(crate) fn standing(&self, now: OffsetDateTime) -> Standing {
        match &self.state {
            State::Paid(_) => Standing::Paid,
            State::Cancelled => Standing::Cancelled,
            State::Open if now >= self.terms.expires_at => Standing::Expired,
            State::Open => Standing::Unpaid,
        }
    }
}

/// Why the bank refuses; nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("there is no such virtual account")]
    Unknown,
    #[error("the trxId was used with another request")]
    TrxIdReused,
    #[error("the virtual account number belongs to another trxId")]
    NumberTaken,
    #[error("the expiredDate has passed or lies too far ahead")]
    BadExpiry,
    #[error("the bill is paid")]
    Paid,
    #[error("the bill has expired")]
    Expired,
    #[error("the bill is cancelled")]
    Cancelled,
    #[error("the amount is not the bill's amount")]
    WrongAmount,
}

/// Longer ones are refused: the longest that a documented provider of BCA accounts grants.
const MAX_LIFE: time::Duration = time::Duration::days(180);

/// All charges.
#[derive(Debug, Default)]
pub(crate) struct Book {
    by_trx_id: HashMap<String, Charge>,
    /// From the number without padding, as a payer types it, to the `trxId`.
    by_number: HashMap<String, String>,
}

impl Book {
    /// The book that `events` lead to.
    pub(crate) fn replay(events: impl IntoIterator<Item = Event>) -> Self {
        let mut book = Self::default();
        events.into_iter().for_each(|event| book.apply(event));
        book
    }

    pub(crate) fn charge(&self, trx_id: &str) -> Option<&Charge> {
        self.by_trx_id.get(trx_id)
    }

    /// The charge whose virtual account has this number, padded or not.
    pub(crate) fn charge_by_number(&self, number: &str) -> Result<&Charge, Refusal> {
        let trx_id = self.by_number.get(number.trim()).ok_or(Refusal::Unknown)?;
        self.charge(trx_id).ok_or(Refusal::Unknown)
    }

    pub(crate) fn charges(&self) -> impl Iterator<Item = &Charge> {
        self.by_trx_id.values()
    }

    /// Opens a virtual account. A repeated request changes nothing and succeeds, even after the expiry.
    pub(crate) fn open(&self, terms: Terms, now: OffsetDateTime) -> Result<Option<Event>, Refusal> {
        if let Some(charge) = self.charge(&terms.trx_id) {
            return if charge.terms.digest == terms.digest { Ok(None) } else { Err(Refusal::TrxIdReused) };
        }
        if self.by_number.contains_key(terms.virtual_account_no().trim()) {
            return Err(Refusal::NumberTaken);
        }
        if terms.expires_at <= now || terms.expires_at > now + MAX_LIFE {
            return Err(Refusal::BadExpiry);
        }
        Ok(Some(Event::Opened { terms }))
    }

    /// Takes a payer's money. `late` is the fault by which it arrives although the bill has expired.
    pub(crate) fn pay(&self, number: &str, payment: Payment, late: bool) -> Result<Event, Refusal> {
        let charge = self.charge_by_number(number)?;
        match charge.standing(payment.paid_at) {
            Standing::Paid => return Err(Refusal::Paid),
            Standing::Cancelled => return Err(Refusal::Cancelled),
            Standing::Expired if !late => return Err(Refusal::Expired),
            Standing::Expired | Standing::Unpaid => {}
        }
        if payment.amount != charge.terms.amount {
            return Err(Refusal::WrongAmount);
        }
        Ok(Event::Paid { trx_id: charge.terms.trx_id.clone(), payment })
    }

    /// Deletes an unpaid virtual account. A repeated request changes nothing and succeeds.
    pub(crate) fn cancel(&self, trx_id: &str, number: &str) -> Result<Option<Event>, Refusal> {
        let charge = self.charge_by_number(number)?;
        if charge.terms.trx_id != trx_id {
            return Err(Refusal::Unknown);
        }
        match charge.state {
            State::Open => Ok(Some(Event::Cancelled { trx_id: trx_id.to_owned() })),
            State::Cancelled => Ok(None),
            State::Paid(_) => Err(Refusal::Paid),
        }
    }

    /// Notes that the partner confirmed a notification.
    pub(crate) fn confirm(&self, trx_id: &str) -> Result<Option<Event>, Refusal> {
        match &self.charge(trx_id).ok_or(Refusal::Unknown)?.state {
            State::Paid(Payment { notified: false, .. }) => Ok(Some(Event::Notified { trx_id: trx_id.to_owned() })),
            State::Paid(_) => Ok(None),
            State::Open | State::Cancelled => Err(Refusal::Unknown),
        }
    }

    /// Makes a change that was decided on, or was decided on before a restart.
    pub(crate) fn apply(&mut self, event: Event) {
        match event {
            Event::Opened { terms } => {
                self.by_number.insert(terms.virtual_account_no().trim().to_owned(), terms.trx_id.clone());
                self.by_trx_id.insert(terms.trx_id.clone(), Charge { terms, state: State::Open });
            }
            Event::Paid { trx_id, payment } => self.set(&trx_id, State::Paid(payment)),
            Event::Cancelled { trx_id } => self.set(&trx_id, State::Cancelled),
            Event::Notified { trx_id } => {
                if let Some(Charge { state: State::Paid(payment), .. }) = self.by_trx_id.get_mut(&trx_id) {
                    payment.notified = true;
                }
            }
        }
    }

    fn set(&mut self, trx_id: &str, state: State) {
        if let Some(charge) = self.by_trx_id.get_mut(trx_id) {
            charge.state = state;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    /// What happens, the events before it, the command, its outcome.
    type Row<'a, C, T> = (&'a str, &'a [Event], C, Result<T, Refusal>);

    const NOW: OffsetDateTime = datetime!(2025-03-01 12:00 +7);
    const EXPIRY: OffsetDateTime = datetime!(2025-03-02 12:00 +7);
    const NUMBER: &str = "12345000000000000000001";

    fn amount(text: &str) -> Amount {
        text.parse().unwrap()
    }

    fn terms() -> Terms {
        Terms {
            trx_id: "charge-1".into(),
            partner_service_id: "   12345".into(),
            customer_no: "000000000000000001".into(),
            name: "Sekat".into(),
            amount: amount("25000.00"),
            expires_at: EXPIRY,
            digest: "d1".into(),
        }
    }

    fn payment(rupiah: &str, paid_at: OffsetDateTime) -> Payment {
        Payment { payment_request_id: "p1".into(), amount: amount(rupiah), paid_at, notified: false }
    }

    fn book(events: &[Event]) -> Book {
        Book::replay(events.iter().cloned())
    }

    fn opened() -> Event {
        Event::Opened { terms: terms() }
    }

    fn paid() -> Event {
        Event::Paid { trx_id: "charge-1".into(), payment: payment("25000.00", NOW) }
    }

    fn cancelled() -> Event {
        Event::Cancelled { trx_id: "charge-1".into() }
    }

    #[test]
    fn opening() {
        let other_body = Terms { digest: "d2".into(), amount: amount("26000.00"), ..terms() };
        let other_trx = Terms { trx_id: "charge-2".into(), ..terms() };
        let past = Terms { expires_at: NOW, ..terms() };
        let far = Terms { expires_at: NOW + MAX_LIFE + time::Duration::SECOND, ..terms() };
        let rows: [Row<'_, (Terms, OffsetDateTime), bool>; 8] = [
            ("first", &[], (terms(), NOW), Ok(true)),
            ("repeated", &[opened()], (terms(), NOW), Ok(false)),
            ("repeated after its expiry", &[opened()], (terms(), EXPIRY), Ok(false)),
            ("repeated after its payment", &[opened(), paid()], (terms(), NOW), Ok(false)),
            ("another body", &[opened()], (other_body, NOW), Err(Refusal::TrxIdReused)),
            ("another trxId", &[opened()], (other_trx, NOW), Err(Refusal::NumberTaken)),
            ("an expiry in the past", &[], (past, NOW), Err(Refusal::BadExpiry)),
            ("an expiry too far ahead", &[], (far, NOW), Err(Refusal::BadExpiry)),
        ];
        for (what, before, (terms, now), expected) in rows {
            let outcome = book(before).open(terms, now).map(|event| event.is_some());
            assert_eq!(outcome, expected, "{what}");
        }
    }

    #[test]
    fn paying() {
        let rows: [Row<'_, (&str, OffsetDateTime, bool), ()>; 10] = [
            ("in time", &[opened()], ("25000.00", NOW, false), Ok(())),
            ("too little", &[opened()], ("24999.00", NOW, false), Err(Refusal::WrongAmount)),
            ("too much", &[opened()], ("25001.00", NOW, false), Err(Refusal::WrongAmount)),
            ("at the expiry", &[opened()], ("25000.00", EXPIRY, false), Err(Refusal::Expired)),
            ("at the expiry, with the fault", &[opened()], ("25000.00", EXPIRY, true), Ok(())),
            ("too much, with the fault", &[opened()], ("25001.00", EXPIRY, true), Err(Refusal::WrongAmount)),
            ("twice", &[opened(), paid()], ("25000.00", NOW, false), Err(Refusal::Paid)),
            ("twice, with the fault", &[opened(), paid()], ("25000.00", EXPIRY, true), Err(Refusal::Paid)),
            ("a cancelled one", &[opened(), cancelled()], ("25000.00", NOW, true), Err(Refusal::Cancelled)),
            ("an unknown one", &[], ("25000.00", NOW, false), Err(Refusal::Unknown)),
        ];
        for (what, before, (rupiah, at, late), expected) in rows {
            let outcome = book(before).pay(NUMBER, payment(rupiah, at), late).map(|_| ());
            assert_eq!(outcome, expected, "{what}");
        }
    }

    #[test]
    fn cancelling() {
        let rows: [Row<'_, &str, bool>; 5] = [
            ("an unpaid one", &[opened()], "charge-1", Ok(true)),
            ("a cancelled one", &[opened(), cancelled()], "charge-1", Ok(false)),
            ("a paid one", &[opened(), paid()], "charge-1", Err(Refusal::Paid)),
            ("another trxId's", &[opened()], "charge-2", Err(Refusal::Unknown)),
            ("an unknown one", &[], "charge-1", Err(Refusal::Unknown)),
        ];
        for (what, before, trx_id, expected) in rows {
            let outcome = book(before).cancel(trx_id, NUMBER).map(|event| event.is_some());
            assert_eq!(outcome, expected, "{what}");
        }
    }

    #[test]
    fn confirming_a_notification_counts_once() {
        let unconfirmed = book(&[opened(), paid()]);
        let event = unconfirmed.confirm("charge-1").unwrap().unwrap();
        assert!(book(&[opened(), paid(), event]).confirm("charge-1").unwrap().is_none());
        assert_eq!(book(&[opened()]).confirm("charge-1").unwrap_err(), Refusal::Unknown);
    }

    #[test]
    fn standing_follows_the_clock_only_while_open() {
        let standing = |events: &[Event], now| book(events).charge("charge-1").unwrap().standing(now);
        assert_eq!(standing(&[opened()], NOW), Standing::Unpaid);
        assert_eq!(standing(&[opened()], EXPIRY), Standing::Expired);
        assert_eq!(standing(&[opened(), paid()], EXPIRY), Standing::Paid);
        assert_eq!(standing(&[opened(), cancelled()], EXPIRY), Standing::Cancelled);
    }

    #[test]
    fn a_number_is_found_with_and_without_its_padding() {
        let book = book(&[opened()]);
        assert!(book.charge_by_number(NUMBER).is_ok());
        assert!(book.charge_by_number(&format!("   {NUMBER}")).is_ok());
        assert_eq!(book.charge_by_number("123450").unwrap_err(), Refusal::Unknown);
    }
}
