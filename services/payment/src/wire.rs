//! Between the contract's messages and this service's values: names, times, money, states.

use prost_types::Timestamp;
use sekat_api_payment::v1;
use sekat_money::Money;
use sekat_service::{Invalid, timestamp};

use crate::error::Error;
use crate::events::Stored;
use crate::intent::{Event, Funds, State};
use crate::intents::{Bank, Intent, Tombstone};
use crate::ledger::read::Entry;
use crate::ledger::{Account, Action};

const MILLIS_PER_SECOND: i64 = 1_000;
const NANOS_PER_MILLI: i64 = 1_000_000;
const NANOS_PER_SECOND: i32 = 1_000_000_000;

/// The shortest and the longest id that callers choose.
const CHOSEN_ID_BYTES: std::ops::RangeInclusive<usize> = 4..=63;

/// The longest resource id of others (AIP-122), and of ledger transfers, which is a payment's id and a word.
const MAX_ID_BYTES: usize = 80;

/// Milliseconds since the Unix epoch, rounded down; nothing if the time is malformed or out of range.
#[must_use]
pub fn millis(time: &Timestamp) -> Option<i64> {
    if !(0..NANOS_PER_SECOND).contains(&time.nanos) {
        return None;
    }
    time.seconds.checked_mul(MILLIS_PER_SECOND)?.checked_add(i64::from(time.nanos) / NANOS_PER_MILLI)
}

/// The id in `{collection}/{id}`.
#[must_use]
pub fn id_in<'a>(name: &'a str, collection: &str) -> Option<&'a str> {
    let id = name.strip_prefix(collection)?.strip_prefix('/')?;
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (!id.is_empty() && id.len() <= MAX_ID_BYTES && id.bytes().all(allowed)).then_some(id)
}

/// An id that a caller chose: 4 to 63 of a-z, 0-9 and `-`.
#[must_use]
pub fn chosen_id(id: &str) -> Option<&str> {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (CHOSEN_ID_BYTES.contains(&id.len()) && id.bytes().all(allowed)).then_some(id)
}

/// The payment in a `name` field.
///
/// # Errors
/// [`Error::Invalid`] naming the field `name`.
pub fn intent_id(name: &str) -> Result<String, Error> {
    let id = id_in(name, "paymentIntents").and_then(chosen_id);
    id.map(str::to_owned).ok_or_else(|| Invalid::field("name", "must be paymentIntents/{payment_intent}").into())
}

/// The bank of a field; none if it is not stated or not known.
#[must_use]
pub fn bank(wire: i32) -> Option<Bank> {
    match v1::Bank::try_from(wire) {
        Ok(v1::Bank::Bca) => Some(Bank::Bca),
        Ok(v1::Bank::Unspecified) | Err(_) => None,
    }
}

/// The bank whose notifications arrive on `channel`.
#[must_use]
pub fn bank_of_channel(channel: &str) -> Option<Bank> {
    match channel {
        "bca" => Some(Bank::Bca),
        _ => None,
    }
}

/// A payment as its viewers see it.
#[must_use]
pub fn payment_intent(intent: &Intent) -> v1::PaymentIntent {
    let captured = intent.standing.funds == Funds::Captured;
    v1::PaymentIntent {
        name: format!("paymentIntents/{}", intent.id),
        order: intent.order.clone(),
        state: state(intent.standing.state).into(),
        amount: Some(intent.amount.into()),
        captured_amount: Some(if captured { intent.amount } else { Money::zero(intent.amount.currency()) }.into()),
        next_action: next_action(intent),
        failure_reason: intent.failure_reason.clone().unwrap_or_default(),
        create_time: Some(timestamp(intent.create_ms)),
        expire_time: Some(timestamp(intent.expire_ms)),
        etag: intent.version.to_string(),
    }
}

/// A cancelled name as its viewers see it: a payment that has nothing but its end.
#[must_use]
pub fn tombstone(tombstone: &Tombstone) -> v1::PaymentIntent {
    v1::PaymentIntent {
        name: format!("paymentIntents/{}", tombstone.id),
        state: state(tombstone.state).into(),
        create_time: Some(timestamp(tombstone.create_ms)),
        etag: "0".to_owned(),
        ..v1::PaymentIntent::default()
    }
}

fn next_action(intent: &Intent) -> Option<v1::NextAction> {
    let (State::RequiresAction, Some(bank), Some(account)) = (intent.standing.state, intent.bank, &intent.account)
    else {
        return None;
    };
    let transfer = v1::VirtualAccountTransfer {
        bank: match bank {
            Bank::Bca => v1::Bank::Bca,
        }
        .into(),
        account_number: account.number.clone(),
        expire_time: Some(timestamp(account.expire_ms)),
    };
    Some(v1::NextAction { action: Some(v1::next_action::Action::VirtualAccountTransfer(transfer)) })
}

const fn state(state: State) -> v1::PaymentIntentState {
    match state {
        State::RequiresPaymentMethod => v1::PaymentIntentState::RequiresPaymentMethod,
        // While a payment is given up, what is not known yet is the provider's answer.
        State::Processing | State::Closing(_) => v1::PaymentIntentState::Processing,
        State::RequiresAction => v1::PaymentIntentState::RequiresAction,
        State::RequiresCapture => v1::PaymentIntentState::RequiresCapture,
        State::Succeeded => v1::PaymentIntentState::Succeeded,
        State::Canceled => v1::PaymentIntentState::Canceled,
        State::Failed => v1::PaymentIntentState::Failed,
        State::Expired => v1::PaymentIntentState::Expired,
    }
}

/// An event as it is streamed.
#[must_use]
pub fn event(stored: &Stored) -> v1::PaymentEvent {
    v1::PaymentEvent {
        resume_token: stored.seq.to_string(),
        payment_intent: format!("paymentIntents/{}", stored.payment_intent),
        order: stored.order.clone(),
        r#type: match stored.event {
            Event::Authorized => v1::PaymentEventType::Authorized,
            Event::Captured => v1::PaymentEventType::Captured,
            Event::Canceled => v1::PaymentEventType::Canceled,
            Event::Failed => v1::PaymentEventType::Failed,
            Event::PaidLate => v1::PaymentEventType::PaidLate,
        }
        .into(),
        occur_time: Some(timestamp(stored.occur_ms)),
        traceparent: stored.trace.map(sekat_mesh::context::TraceContext::to_traceparent).unwrap_or_default(),
    }
}

/// An account as `ops` sees it.
#[must_use]
pub fn ledger_account(account: &Account) -> v1::LedgerAccount {
    let money = |minor| sekat_money::Money::from_minor(account.currency, minor).ok().map(Into::into);
    v1::LedgerAccount {
        name: format!("ledgerAccounts/{}", account.id),
        kind: account.kind.word().to_owned(),
        debits_posted: money(account.debits_posted),
        credits_posted: money(account.credits_posted),
        debits_pending: money(account.debits_pending),
        credits_pending: money(account.credits_pending),
    }
}

/// A transfer as `ops` sees it.
#[must_use]
pub fn ledger_transfer(entry: &Entry) -> v1::LedgerTransfer {
    let transfer = &entry.transfer;
    v1::LedgerTransfer {
        name: format!("ledgerTransfers/{}", transfer.id),
        debit_account: format!("ledgerAccounts/{}", transfer.debit),
        credit_account: format!("ledgerAccounts/{}", transfer.credit),
        amount: Some(transfer.amount.into()),
        kind: match transfer.action {
            Action::Direct => v1::LedgerTransferKind::Direct,
            Action::Pending => v1::LedgerTransferKind::Pending,
            Action::Post(_) => v1::LedgerTransferKind::Post,
            Action::Void(_) => v1::LedgerTransferKind::Void,
        }
        .into(),
        pending_transfer: transfer.action.pending().map(|id| format!("ledgerTransfers/{id}")).unwrap_or_default(),
        payment_intent: match transfer.payment_intent.as_str() {
            "" => String::new(),
            id => format!("paymentIntents/{id}"),
        },
        create_time: Some(timestamp(entry.create_ms)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_round_trip_to_the_millisecond_and_malformed_ones_are_nothing() {
        for ms in [0, 1, 999, 1_000, 1_700_000_000_123, -1, -1_001] {
            assert_eq!(millis(&timestamp(ms)), Some(ms));
        }
        for time in [(0, -1), (0, 1_000_000_000), (i64::MAX, 0), (i64::MIN, 0)] {
            assert_eq!(millis(&Timestamp { seconds: time.0, nanos: time.1 }), None, "{time:?}");
        }
    }

    #[test]
    fn names_are_exact() {
        for good in ["paymentIntents/abcd", "paymentIntents/order-1"] {
            assert!(intent_id(good).is_ok(), "{good}");
        }
        let long = format!("paymentIntents/{}", "a".repeat(64));
        for bad in [
            "",
            "abcd",
            "paymentIntents/",
            "paymentIntents/abc",
            "paymentIntents/ABCD",
            "paymentIntents/a/b/c",
            "paymentIntents/abcd ",
            "orders/abcd",
            "/paymentIntents/abcd",
            long.as_str(),
        ] {
            assert!(matches!(intent_id(bad), Err(Error::Invalid(_))), "{bad}");
        }
    }
}
