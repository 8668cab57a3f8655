//! CreatePaymentIntent: opens a payment once under the name that its caller chose.

use sekat_money::{Currency, Money};
use sekat_service::Violations;
use sekat_store::Tx;

use crate::config::AmountRange;
use crate::error::Error;
use crate::intent::{Refusal, Standing, State};
use crate::intents::{Found, Intent, find, insert};

/// A payment lapses after this long at most: stock is held for it.
pub const MAX_LIFE_MS: i64 = 7 * 24 * 60 * 60 * 1_000;

/// What is to be opened.
#[derive(Clone)]
pub struct NewIntent {
    /// The name without `paymentIntents/`.
    pub id: String,
    /// `orders/{order}`.
    pub order: String,
    /// `accounts/{account}`.
    pub buyer: String,
    /// What is to be paid.
    pub amount: Money,
    /// When it lapses, in milliseconds since the Unix epoch.
    pub expire_ms: i64,
}

/// What the creation does.
#[derive(Debug, PartialEq, Eq)]
enum Creation {
    Open,
    Exists,
}

/// Opens the payment; if it is open already with the same content, returns it as it is.
///
/// # Errors
/// [`Error::Refused`] for a cancelled name, [`Error::NameTaken`] for another content, [`Error::AmountNotPayable`],
/// [`Error::Invalid`] for an expiry that has passed or is too far.
pub fn create(tx: &mut dyn Tx, new: &NewIntent, payable: AmountRange, now_ms: i64) -> Result<Intent, Error> {
    let found = find(tx, &new.id)?;
    match (decide(&found, new, payable, now_ms)?, found) {
        (Creation::Exists, Found::Intent(intent)) => Ok(*intent),
        _ => {
            let intent = open(new, now_ms);
            insert(tx, &intent)?;
            Ok(intent)
        }
    }
}

fn decide(found: &Found, new: &NewIntent, payable: AmountRange, now_ms: i64) -> Result<Creation, Error> {
    match found {
        Found::Tombstone(_) => Err(Refusal::Canceled.into()),
        Found::Intent(intent) => {
            let same = intent.order == new.order
                && intent.buyer == new.buyer
                && intent.amount == new.amount
                && intent.expire_ms == new.expire_ms;
            match intent.standing.state {
                _ if !same => Err(Error::NameTaken),
                State::Closing(_) | State::Canceled | State::Expired => Err(Refusal::Canceled.into()),
                _ => Ok(Creation::Exists),
            }
        }
        Found::Nothing => {
            refuse_malformed(new, now_ms)?;
            payable.admit(new.amount)?;
            Ok(Creation::Open)
        }
    }
}

fn refuse_malformed(new: &NewIntent, now_ms: i64) -> Result<(), Error> {
    let is_payable = new.amount.currency() == Currency::Idr && new.amount.is_positive();
    let is_in_time = new.expire_ms > now_ms && new.expire_ms <= now_ms.saturating_add(MAX_LIFE_MS);
    let mut violations = Violations::default();
    violations.check(is_payable, "amount", "must be more than zero, in IDR");
    violations.check(is_in_time, "expire_time", "must be in the future, at most 7 days from now");
    Ok(violations.finish()?)
}

fn open(new: &NewIntent, now_ms: i64) -> Intent {
    Intent {
        id: new.id.clone(),
        order: new.order.clone(),
        buyer: new.buyer.clone(),
        amount: new.amount,
        create_ms: now_ms,
        expire_ms: new.expire_ms,
        version: 1,
        standing: Standing::OPENED,
        bank: None,
        account: None,
        notification: None,
        failure_reason: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::DEFAULT_BCA;
    use crate::intent::Funds;
    use crate::intents::Tombstone;

    const NOW: i64 = 1_000;

    fn new(rupiah: i64) -> NewIntent {
        NewIntent {
            id: "order-1".into(),
            order: "orders/1".into(),
            buyer: "accounts/a".into(),
            amount: Money::from_units(Currency::Idr, rupiah).unwrap(),
            expire_ms: 2_000,
        }
    }

    fn existing(state: State, funds: Funds) -> Found {
        Found::Intent(Box::new(Intent { standing: Standing { state, funds }, ..open(&new(25_000), NOW) }))
    }

    fn buried() -> Found {
        Found::Tombstone(Tombstone { id: "order-1".into(), state: State::Canceled, create_ms: 0 })
    }

    #[test]
    fn a_name_is_opened_once_and_never_after_its_end() {
        let other = [
            NewIntent { order: "orders/2".into(), ..new(25_000) },
            NewIntent { buyer: "accounts/b".into(), ..new(25_000) },
            NewIntent { expire_ms: 2_001, ..new(25_000) },
            new(26_000),
        ];
        let decide = |found: &Found, new: &NewIntent| decide(found, new, DEFAULT_BCA, NOW).map_err(code);
        assert_eq!(decide(&Found::Nothing, &new(25_000)), Ok(Creation::Open));
        assert_eq!(decide(&buried(), &new(25_000)), Err("canceled"));
        for state in [State::RequiresPaymentMethod, State::Processing, State::RequiresAction, State::Failed] {
            assert_eq!(decide(&existing(state, Funds::None), &new(25_000)), Ok(Creation::Exists), "{state:?}");
        }
        for state in [State::Canceled, State::Expired] {
            assert_eq!(decide(&existing(state, Funds::None), &new(25_000)), Err("canceled"), "{state:?}");
        }
        for new in other {
            assert_eq!(decide(&existing(State::RequiresAction, Funds::None), &new), Err("taken"));
            assert_eq!(decide(&existing(State::Canceled, Funds::None), &new), Err("taken"));
        }
    }

    #[test]
    fn amount_and_expiry_have_bounds() {
        let at = |rupiah, expire_ms| {
            decide(&Found::Nothing, &NewIntent { expire_ms, ..new(rupiah) }, DEFAULT_BCA, NOW).map_err(code)
        };
        let rows = [
            (10_000, 2_000, Ok(Creation::Open)),
            (50_000_000, 2_000, Ok(Creation::Open)),
            (9_999, 2_000, Err("not payable")),
            (50_000_001, 2_000, Err("not payable")),
            (0, 2_000, Err("invalid")),
            (-25_000, 2_000, Err("invalid")),
            (25_000, NOW, Err("invalid")),
            (25_000, NOW + 1, Ok(Creation::Open)),
            (25_000, NOW + MAX_LIFE_MS, Ok(Creation::Open)),
            (25_000, NOW + MAX_LIFE_MS + 1, Err("invalid")),
        ];
        for (rupiah, expire_ms, expected) in rows {
            assert_eq!(at(rupiah, expire_ms), expected, "{rupiah} until {expire_ms}");
        }
        let dollars = NewIntent { amount: Money::from_units(Currency::Usd, 25_000).unwrap(), ..new(1) };
        assert_eq!(decide(&Found::Nothing, &dollars, DEFAULT_BCA, NOW).map_err(code), Err("invalid"));
    }

    fn code(error: Error) -> &'static str {
        match error {
            Error::Refused(Refusal::Canceled) => "canceled",
            Error::NameTaken => "taken",
            Error::Invalid(_) => "invalid",
            Error::AmountNotPayable(_) => "not payable",
            other => panic!("{other}"),
        }
    }
}
