//! The table of payments: finding one, and making a change whole — row, bookings, events and work item together.

use std::fmt;

use sekat_mesh::context::TraceContext;
use sekat_money::Money;
use sekat_store::{NewItem, Row, Tx, Value, WorkQueue};

use crate::booking::{self, Receipt};
use crate::error::Error;
use crate::intent::{CancelReason, Change, Funds, Standing, State};
use crate::{charge, events, ledger};

/// A bank with virtual accounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bank {
    /// Bank Central Asia.
    Bca,
}

impl Bank {
    /// All banks.
    pub const ALL: [Self; 1] = [Self::Bca];

    /// The word in the store.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Bca => "BCA",
        }
    }
}

/// An account at a bank that exists for one payment.
#[derive(Clone, PartialEq, Eq)]
pub struct VirtualAccount {
    /// Its number, digits only.
    pub number: String,
    /// When it closes, in milliseconds since the Unix epoch.
    pub expire_ms: i64,
}

/// A payment.
#[derive(Clone, PartialEq, Eq)]
pub struct Intent {
    /// Its name without `paymentIntents/`; also the name of its charge at the provider.
    pub id: String,
    /// What it pays for, `orders/{order}`.
    pub order: String,
    /// Who may see and confirm it, `accounts/{account}`.
    pub buyer: String,
    /// What is to be paid.
    pub amount: Money,
    /// When it was opened, in milliseconds since the Unix epoch.
    pub create_ms: i64,
    /// When it lapses if it is not paid.
    pub expire_ms: i64,
    /// Grows by one with each change.
    pub version: i64,
    /// Where it and its money are.
    pub standing: Standing,
    /// The bank that was asked for a charge.
    pub bank: Option<Bank>,
    /// The account that the bank opened.
    pub account: Option<VirtualAccount>,
    /// The notification of its money; nothing if none came, or if the bank was asked before one came.
    pub notification: Option<String>,
    /// Why the provider refused, a stable word.
    pub failure_reason: Option<String>,
}

/// A payment's fields are classified; where it stands is not.
impl fmt::Debug for Intent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { version, standing, .. } = self;
        f.debug_struct("Intent").field("version", version).field("standing", standing).finish_non_exhaustive()
    }
}

/// A name that was cancelled before it was opened.
#[derive(Clone, PartialEq, Eq)]
pub struct Tombstone {
    /// The name without `paymentIntents/`.
    pub id: String,
    /// Canceled or expired.
    pub state: State,
    /// When it was cancelled, in milliseconds since the Unix epoch.
    pub create_ms: i64,
}

/// What stands under a name.
pub enum Found {
    /// A payment.
    Intent(Box<Intent>),
    /// A name that can never be opened.
    Tombstone(Tombstone),
    /// Nothing.
    Nothing,
}

/// Who asks.
#[derive(Clone, PartialEq, Eq)]
pub enum Viewer {
    /// The system that orders payments; it sees all of them.
    Order,
    /// A buyer, `accounts/{account}`, who sees their own.
    Buyer(String),
}

impl Viewer {
    /// The payment, if the viewer may see it.
    ///
    /// # Errors
    /// [`Error::NotFound`] also if it is somebody else's: nobody learns that it exists.
    pub fn admit(&self, found: Found) -> Result<Intent, Error> {
        match (self, found) {
            (Self::Order, Found::Intent(intent)) => Ok(*intent),
            (Self::Buyer(buyer), Found::Intent(intent)) if intent.buyer == *buyer => Ok(*intent),
            _ => Err(Error::NotFound),
        }
    }
}

/// When and in which trace something happens.
#[derive(Clone, Copy)]
pub struct Moment {
    /// Milliseconds since the Unix epoch.
    pub now_ms: i64,
    /// The trace of the call.
    pub trace: TraceContext,
}

const INTENT: &str = "
    SELECT id, order_name, buyer, currency, amount_minor, create_ms, expire_ms, version, state, closing_reason, funds,
           bank, account_number, account_expire_ms, notification, failure_reason
    FROM payment_intents WHERE id = $1";

const TOMBSTONE: &str = "SELECT id, state, create_ms FROM payment_intent_tombstones WHERE id = $1";

const INSERT: &str = "
    INSERT INTO payment_intents (id, order_name, buyer, currency, amount_minor, create_ms, expire_ms, version, state,
                                 closing_reason, funds, bank, account_number, account_expire_ms, notification,
                                 failure_reason)
    VALUES ($1, $2, $3, $4, $5, $6, $7, 1, $8, NULL, $9, NULL, NULL, NULL, NULL, NULL)";

const BURY: &str = "INSERT INTO payment_intent_tombstones (id, state, create_ms) VALUES ($1, $2, $3)";

const UPDATE: &str = "
    UPDATE payment_intents
    SET version = version + 1, state = $3, closing_reason = $4, funds = $5, bank = $6, account_number = $7,
        account_expire_ms = $8, notification = $9, failure_reason = $10
    WHERE id = $1 AND version = $2";

/// What stands under the name `id`.
///
/// # Errors
/// If the store fails.
pub fn find(tx: &mut dyn Tx, id: &str) -> Result<Found, Error> {
    if let Some(row) = tx.optional(INTENT, &[id.into()])? {
        return Ok(Found::Intent(Box::new(read(&row)?)));
    }
    let Some(row) = tx.optional(TOMBSTONE, &[id.into()])? else { return Ok(Found::Nothing) };
    let state = match row.text(1)? {
        "CANCELED" => State::Canceled,
        "EXPIRED" => State::Expired,
        _ => return Err(Error::Stored("tombstone")),
    };
    Ok(Found::Tombstone(Tombstone { id: row.text(0)?.to_owned(), state, create_ms: row.int(2)? }))
}

/// Opens `intent`, which must be new and as [`Standing::OPENED`].
///
/// # Errors
/// If the store fails.
pub fn insert(tx: &mut dyn Tx, intent: &Intent) -> Result<(), Error> {
    let (state, _) = state_words(Standing::OPENED.state);
    tx.exec(
        INSERT,
        &[
            Value::from(&intent.id),
            Value::from(&intent.order),
            Value::from(&intent.buyer),
            intent.amount.currency().code().into(),
            intent.amount.minor().into(),
            intent.create_ms.into(),
            intent.expire_ms.into(),
            state.into(),
            funds_word(Standing::OPENED.funds).into(),
        ],
    )?;
    Ok(())
}

/// Forbids a name that was never opened.
///
/// # Errors
/// If the store fails.
pub fn bury(tx: &mut dyn Tx, tombstone: &Tombstone) -> Result<(), Error> {
    let (state, _) = state_words(tombstone.state);
    tx.exec(BURY, &[Value::from(&tombstone.id), state.into(), tombstone.create_ms.into()])?;
    Ok(())
}

/// Makes `change` to `intent`: the row, the money, the news, and the work item if it now waits for a provider.
/// `receipt` is the money that came, for changes that book it.
///
/// # Errors
/// [`Error::Ledger`] if a booking is refused, which the table of the states and the chart of accounts exclude.
pub fn change(
    tx: &mut dyn Tx,
    intent: &mut Intent,
    change: &Change,
    receipt: Option<&Receipt>,
    moment: Moment,
) -> Result<(), Error> {
    let waited = intent.standing.state.waits_for_provider();
    intent.standing = change.to;
    update(tx, intent)?;
    for booking in change.bookings {
        ledger::sql::book(tx, &booking::transfer(intent, *booking, receipt)?, moment.now_ms)?;
    }
    for event in change.events {
        events::append(tx, intent, *event, moment)?;
    }
    if !waited && intent.standing.state.waits_for_provider() {
        let item = NewItem {
            kind: charge::WORK_KIND,
            key: &intent.id,
            payload: &[],
            trace: Some(moment.trace.to_bytes()),
            due_ms: moment.now_ms,
        };
        WorkQueue::enqueue(tx, item)?;
    }
    Ok(())
}

/// Writes the row of `intent` as it is, without a change of its standing.
///
/// # Errors
/// If the store fails.
pub fn update(tx: &mut dyn Tx, intent: &mut Intent) -> Result<(), Error> {
    let (state, closing_reason) = state_words(intent.standing.state);
    let account = intent.account.as_ref();
    let changed = tx.exec(
        UPDATE,
        &[
            Value::from(&intent.id),
            intent.version.into(),
            state.into(),
            closing_reason.into(),
            funds_word(intent.standing.funds).into(),
            intent.bank.map(Bank::word).into(),
            account.map(|account| account.number.as_str()).into(),
            account.map(|account| account.expire_ms).into(),
            intent.notification.as_deref().into(),
            intent.failure_reason.as_deref().into(),
        ],
    )?;
    // INVARIANT: the row was read in this transaction, so its version is the one that was read.
    if changed != 1 {
        return Err(Error::Stored("payment's version"));
    }
    intent.version = intent.version.saturating_add(1);
    Ok(())
}

fn read(row: &Row) -> Result<Intent, Error> {
    let state = match (row.text(8)?, row.opt_text(9)?) {
        ("REQUIRES_PAYMENT_METHOD", None) => State::RequiresPaymentMethod,
        ("PROCESSING", None) => State::Processing,
        ("REQUIRES_ACTION", None) => State::RequiresAction,
        ("CLOSING", Some("REQUESTED")) => State::Closing(CancelReason::Requested),
        ("CLOSING", Some("EXPIRED")) => State::Closing(CancelReason::Expired),
        ("CLOSING", Some("ORDER_FAILED")) => State::Closing(CancelReason::OrderFailed),
        ("REQUIRES_CAPTURE", None) => State::RequiresCapture,
        ("SUCCEEDED", None) => State::Succeeded,
        ("CANCELED", None) => State::Canceled,
        ("FAILED", None) => State::Failed,
        ("EXPIRED", None) => State::Expired,
        _ => return Err(Error::Stored("payment state")),
    };
    let funds = match row.text(10)? {
        "NONE" => Funds::None,
        "HELD" => Funds::Held,
        "CAPTURED" => Funds::Captured,
        "LATE" => Funds::Late,
        "GIVEN_UP" => Funds::GivenUp,
        _ => return Err(Error::Stored("payment's funds")),
    };
    let bank = row.opt_text(11)?.map(read_bank).transpose()?;
    let account = match (row.opt_text(12)?, row.opt_int(13)?) {
        (Some(number), Some(expire_ms)) => Some(VirtualAccount { number: number.to_owned(), expire_ms }),
        (None, None) => None,
        _ => return Err(Error::Stored("virtual account")),
    };
    Ok(Intent {
        id: row.text(0)?.to_owned(),
        order: row.text(1)?.to_owned(),
        buyer: row.text(2)?.to_owned(),
        amount: ledger::sql::money(row.text(3)?, row.int(4)?)?,
        create_ms: row.int(5)?,
        expire_ms: row.int(6)?,
        version: row.int(7)?,
        standing: Standing { state, funds },
        bank,
        account,
        notification: row.opt_text(14)?.map(str::to_owned),
        failure_reason: row.opt_text(15)?.map(str::to_owned),
    })
}

fn read_bank(word: &str) -> Result<Bank, Error> {
    Bank::ALL.into_iter().find(|bank| bank.word() == word).ok_or(Error::Stored("bank"))
}

const fn state_words(state: State) -> (&'static str, Option<&'static str>) {
    match state {
        State::RequiresPaymentMethod => ("REQUIRES_PAYMENT_METHOD", None),
        State::Processing => ("PROCESSING", None),
        State::RequiresAction => ("REQUIRES_ACTION", None),
        State::Closing(CancelReason::Requested) => ("CLOSING", Some("REQUESTED")),
        State::Closing(CancelReason::Expired) => ("CLOSING", Some("EXPIRED")),
        State::Closing(CancelReason::OrderFailed) => ("CLOSING", Some("ORDER_FAILED")),
        State::RequiresCapture => ("REQUIRES_CAPTURE", None),
        State::Succeeded => ("SUCCEEDED", None),
        State::Canceled => ("CANCELED", None),
        State::Failed => ("FAILED", None),
        State::Expired => ("EXPIRED", None),
    }
}

const fn funds_word(funds: Funds) -> &'static str {
    match funds {
        Funds::None => "NONE",
        Funds::Held => "HELD",
        Funds::Captured => "CAPTURED",
        Funds::Late => "LATE",
        Funds::GivenUp => "GIVEN_UP",
    }
}
