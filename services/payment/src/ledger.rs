//! The double-entry ledger: money only ever moves from one account to another, so that per currency the debits
//! equal the credits by construction, and what was booked never changes.
//!
//! # Chart of accounts
//! | account | kind | normal side | holds |
//! |---|---|---|---|
//! | `provider-receivable-bca` | `provider_receivable` | debit | what the bank has collected and owes the shop |
//! | `order-funds` | `order_funds` | credit | what buyers paid for orders; pending until it is captured |
//! | `unapplied-funds` | `unapplied_funds` | credit | what came and belongs to no living order: late, a wrong amount, twice |
//!
//! Each holds one currency. No account can be overdrawn: a debit-normal one never owes, a credit-normal one never
//! pays out more than was posted to it.
//!
//! # What is booked when
//! | event | transfer | debit | credit |
//! |---|---|---|---|
//! | the exact amount arrives for a living payment | PENDING | receivable | order funds |
//! | the order captures it | POST of that | | |
//! | the order gives it up | VOID of that, then DIRECT | receivable | unapplied funds |
//! | money arrives late, in another amount, or twice | DIRECT | receivable | unapplied funds |
//! | a reopened order captures a late receipt | DIRECT | unapplied funds | order funds |
//!
//! The rules of a transfer follow `TigerBeetle`'s (its reference on transfers and their result codes): the id makes
//! it idempotent, the same id with any other content is an error of its own for each field, a pending transfer is
//! posted or voided once. A partial post is not a rule here yet: the amounts must be equal.

pub mod read;
pub mod sql;
pub mod verify;

#[cfg(test)]
pub(crate) mod model;

use std::fmt;

use sekat_money::{Currency, Money};

/// The kind of an account, which says what it holds and which of its sides is the normal one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AccountKind {
    /// What a provider has collected and owes the shop.
    ProviderReceivable,
    /// What buyers paid for orders.
    OrderFunds,
    /// Money that belongs to no living order.
    UnappliedFunds,
}

impl AccountKind {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::ProviderReceivable, Self::OrderFunds, Self::UnappliedFunds];

    /// The word in the contract and in the store.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::ProviderReceivable => "provider_receivable",
            Self::OrderFunds => "order_funds",
            Self::UnappliedFunds => "unapplied_funds",
        }
    }

    const fn is_debit_normal(self) -> bool {
        matches!(self, Self::ProviderReceivable)
    }
}

/// An account and the sums of its transfers, in the currency's minor unit. None is ever negative.
#[derive(Clone, PartialEq, Eq)]
pub struct Account {
    /// Its name without `ledgerAccounts/`.
    pub id: String,
    /// What it holds.
    pub kind: AccountKind,
    /// The only currency that it takes.
    pub currency: Currency,
    /// Posted debits.
    pub debits_posted: i64,
    /// Posted credits.
    pub credits_posted: i64,
    /// Debits that are set aside.
    pub debits_pending: i64,
    /// Credits that are set aside.
    pub credits_pending: i64,
}

impl Account {
    /// An account to which nothing was booked.
    #[must_use]
    pub const fn empty(id: String, kind: AccountKind, currency: Currency) -> Self {
        Self { id, kind, currency, debits_posted: 0, credits_posted: 0, debits_pending: 0, credits_pending: 0 }
    }
}

/// What it holds and no sum.
impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account").field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// What a transfer does.
#[derive(Clone, PartialEq, Eq)]
pub enum Action {
    /// Moves the amount at once.
    Direct,
    /// Sets the amount aside.
    Pending,
    /// Moves what the named pending transfer set aside.
    Post(String),
    /// Gives back what the named pending transfer set aside.
    Void(String),
}

impl Action {
    /// The word in the store.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Direct => "DIRECT",
            Self::Pending => "PENDING",
            Self::Post(_) => "POST",
            Self::Void(_) => "VOID",
        }
    }

    /// The pending transfer that is posted or voided.
    #[must_use]
    pub fn pending(&self) -> Option<&str> {
        match self {
            Self::Direct | Self::Pending => None,
            Self::Post(pending) | Self::Void(pending) => Some(pending),
        }
    }
}

/// What it does and to no name.
impl fmt::Debug for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Money moved from one account to another.
#[derive(Clone, PartialEq, Eq)]
pub struct Transfer {
    /// Its name without `ledgerTransfers/`, derived from what it is for: booking it again changes nothing.
    pub id: String,
    /// What it does.
    pub action: Action,
    /// The account that is debited.
    pub debit: String,
    /// The account that is credited.
    pub credit: String,
    /// More than zero.
    pub amount: Money,
    /// The payment that it is for, without `paymentIntents/`; empty if there is none.
    pub payment_intent: String,
}

/// What it does and nothing that is classified.
impl fmt::Debug for Transfer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transfer").field("action", &self.action).finish_non_exhaustive()
    }
}

/// How a pending transfer was settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// By a POST.
    Posted,
    /// By a VOID.
    Voided,
}

/// What the ledger holds that matters for one transfer.
#[derive(Clone, Debug, Default)]
pub struct Context {
    /// The transfer that has the same id.
    pub existing: Option<Transfer>,
    /// The account to debit.
    pub debit: Option<Account>,
    /// The account to credit.
    pub credit: Option<Account>,
    /// The transfer to post or void.
    pub pending: Option<Transfer>,
    /// How that one was settled before.
    pub settlement: Option<Settlement>,
}

/// A transfer that is not refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Booked {
    /// It was booked before with the same content.
    Exists,
    /// It is new; the accounts are as they are with it.
    New {
        /// The debited account.
        debit: Account,
        /// The credited account.
        credit: Account,
    },
}

/// Why a transfer is refused; nothing changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refusal {
    /// EXISTS_WITH_DIFFERENT_ACTION.
    #[error("a transfer of this id does something else")]
    ExistsWithDifferentAction,
    /// EXISTS_WITH_DIFFERENT_PENDING_TRANSFER.
    #[error("a transfer of this id settles another pending transfer")]
    ExistsWithDifferentPendingTransfer,
    /// EXISTS_WITH_DIFFERENT_DEBIT_ACCOUNT.
    #[error("a transfer of this id debits another account")]
    ExistsWithDifferentDebitAccount,
    /// EXISTS_WITH_DIFFERENT_CREDIT_ACCOUNT.
    #[error("a transfer of this id credits another account")]
    ExistsWithDifferentCreditAccount,
    /// EXISTS_WITH_DIFFERENT_AMOUNT.
    #[error("a transfer of this id moves another amount")]
    ExistsWithDifferentAmount,
    /// EXISTS_WITH_DIFFERENT_PAYMENT_INTENT.
    #[error("a transfer of this id is for another payment")]
    ExistsWithDifferentPaymentIntent,
    /// AMOUNT_MUST_BE_POSITIVE.
    #[error("a transfer moves more than zero")]
    AmountMustBePositive,
    /// ACCOUNTS_MUST_BE_DIFFERENT.
    #[error("a transfer's accounts must be different")]
    AccountsMustBeDifferent,
    /// DEBIT_ACCOUNT_NOT_FOUND.
    #[error("there is no such account to debit")]
    DebitAccountNotFound,
    /// CREDIT_ACCOUNT_NOT_FOUND.
    #[error("there is no such account to credit")]
    CreditAccountNotFound,
    /// CURRENCY_MISMATCH.
    #[error("the accounts of a transfer and its amount must have one currency")]
    CurrencyMismatch,
    /// PENDING_TRANSFER_NOT_FOUND.
    #[error("there is no such pending transfer")]
    PendingTransferNotFound,
    /// PENDING_TRANSFER_NOT_PENDING.
    #[error("the transfer to settle is not a pending one")]
    PendingTransferNotPending,
    /// PENDING_TRANSFER_HAS_DIFFERENT_DEBIT_ACCOUNT.
    #[error("the pending transfer debits another account")]
    PendingTransferHasDifferentDebitAccount,
    /// PENDING_TRANSFER_HAS_DIFFERENT_CREDIT_ACCOUNT.
    #[error("the pending transfer credits another account")]
    PendingTransferHasDifferentCreditAccount,
    /// PENDING_TRANSFER_HAS_DIFFERENT_PAYMENT_INTENT.
    #[error("the pending transfer is for another payment")]
    PendingTransferHasDifferentPaymentIntent,
    /// EXCEEDS_PENDING_TRANSFER_AMOUNT.
    #[error("more cannot be settled than was set aside")]
    ExceedsPendingTransferAmount,
    /// PENDING_TRANSFER_HAS_DIFFERENT_AMOUNT.
    #[error("a pending transfer is settled in full")]
    PendingTransferHasDifferentAmount,
    /// PENDING_TRANSFER_ALREADY_POSTED.
    #[error("the pending transfer was posted")]
    PendingTransferAlreadyPosted,
    /// PENDING_TRANSFER_ALREADY_VOIDED.
    #[error("the pending transfer was voided")]
    PendingTransferAlreadyVoided,
    /// EXCEEDS_CREDITS.
    #[error("the debited account does not hold that much")]
    ExceedsCredits,
    /// EXCEEDS_DEBITS.
    #[error("the credited account is not owed that much")]
    ExceedsDebits,
    /// OVERFLOWS.
    #[error("the sums of an account would overflow")]
    Overflows,
}

/// What booking `transfer` does.
///
/// # Errors
/// If the ledger refuses it, with the first reason in the order of [`Refusal`].
pub fn decide(context: &Context, transfer: &Transfer) -> Result<Booked, Refusal> {
    if let Some(existing) = &context.existing {
        return compare(existing, transfer).map(|()| Booked::Exists);
    }
    if transfer.amount.minor() <= 0 {
        return Err(Refusal::AmountMustBePositive);
    }
    if transfer.debit == transfer.credit {
        return Err(Refusal::AccountsMustBeDifferent);
    }
    let debit = context.debit.as_ref().ok_or(Refusal::DebitAccountNotFound)?;
    let credit = context.credit.as_ref().ok_or(Refusal::CreditAccountNotFound)?;
    if debit.currency != transfer.amount.currency() || credit.currency != transfer.amount.currency() {
        return Err(Refusal::CurrencyMismatch);
    }
    if transfer.action.pending().is_some() {
        settle(context, transfer)?;
    }
    let (debit, credit) = moved(debit, credit, &transfer.action, transfer.amount.minor()).ok_or(Refusal::Overflows)?;
    refuse_overdraft(&debit, &credit, &transfer.action)?;
    Ok(Booked::New { debit, credit })
}

/// The same id means the same transfer.
fn compare(existing: &Transfer, transfer: &Transfer) -> Result<(), Refusal> {
    if existing.action.word() != transfer.action.word() {
        return Err(Refusal::ExistsWithDifferentAction);
    }
    if existing.action != transfer.action {
        return Err(Refusal::ExistsWithDifferentPendingTransfer);
    }
    if existing.debit != transfer.debit {
        return Err(Refusal::ExistsWithDifferentDebitAccount);
    }
    if existing.credit != transfer.credit {
        return Err(Refusal::ExistsWithDifferentCreditAccount);
    }
    if existing.amount != transfer.amount {
        return Err(Refusal::ExistsWithDifferentAmount);
    }
    if existing.payment_intent != transfer.payment_intent {
        return Err(Refusal::ExistsWithDifferentPaymentIntent);
    }
    Ok(())
}

/// A POST or VOID must fit its pending transfer, which nothing may have settled before.
fn settle(context: &Context, transfer: &Transfer) -> Result<(), Refusal> {
    let pending = context.pending.as_ref().ok_or(Refusal::PendingTransferNotFound)?;
    if pending.action != Action::Pending {
        return Err(Refusal::PendingTransferNotPending);
    }
    if pending.debit != transfer.debit {
        return Err(Refusal::PendingTransferHasDifferentDebitAccount);
    }
    if pending.credit != transfer.credit {
        return Err(Refusal::PendingTransferHasDifferentCreditAccount);
    }
    if pending.payment_intent != transfer.payment_intent {
        return Err(Refusal::PendingTransferHasDifferentPaymentIntent);
    }
    if transfer.amount.minor() > pending.amount.minor() {
        return Err(Refusal::ExceedsPendingTransferAmount);
    }
    if transfer.amount != pending.amount {
        return Err(Refusal::PendingTransferHasDifferentAmount);
    }
    match context.settlement {
        None => Ok(()),
        Some(Settlement::Posted) => Err(Refusal::PendingTransferAlreadyPosted),
        Some(Settlement::Voided) => Err(Refusal::PendingTransferAlreadyVoided),
    }
}

/// The accounts with the transfer. Nothing if a sum, or posted and pending together, would pass `i64`.
///
/// INVARIANT: each arm adds the same to the debits of one account as to the credits of the other.
fn moved(debit: &Account, credit: &Account, action: &Action, amount: i64) -> Option<(Account, Account)> {
    let (posted, pending) = match action {
        Action::Direct => (amount, 0),
        Action::Pending => (0, amount),
        Action::Post(_) => (amount, amount.checked_neg()?),
        Action::Void(_) => (0, amount.checked_neg()?),
    };
    let (mut debit, mut credit) = (debit.clone(), credit.clone());
    debit.debits_posted = debit.debits_posted.checked_add(posted)?;
    debit.debits_pending = debit.debits_pending.checked_add(pending)?;
    credit.credits_posted = credit.credits_posted.checked_add(posted)?;
    credit.credits_pending = credit.credits_pending.checked_add(pending)?;
    debit.debits_posted.checked_add(debit.debits_pending)?;
    credit.credits_posted.checked_add(credit.credits_pending)?;
    Some((debit, credit))
}

/// What is set aside counts as gone on the side that pays and as not yet there on the side that is paid.
fn refuse_overdraft(debit: &Account, credit: &Account, action: &Action) -> Result<(), Refusal> {
    if action.pending().is_some() {
        // The pending transfer was counted when it was booked.
        return Ok(());
    }
    let debits = debit.debits_posted.checked_add(debit.debits_pending).ok_or(Refusal::Overflows)?;
    if !debit.kind.is_debit_normal() && debits > debit.credits_posted {
        return Err(Refusal::ExceedsCredits);
    }
    let credits = credit.credits_posted.checked_add(credit.credits_pending).ok_or(Refusal::Overflows)?;
    if credit.kind.is_debit_normal() && credits > credit.debits_posted {
        return Err(Refusal::ExceedsDebits);
    }
    Ok(())
}
