//! Charges in their two languages: the contract's, and a virtual account of SNAP BI.

use prost_types::Timestamp;
use ring::digest;
use sekat_api_connector::v1 as api;
use sekat_money::{Currency, Money};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::amount::Form;
use crate::bank::Bank;
use crate::error::Error;

/// How SNAP BI writes amounts.
const FORM: Form = Form::DecimalString;
/// The digits of a virtual account number that follow our company code: as many as BCA has.
const CUSTOMER_NO_DIGITS: usize = 18;
/// `CUSTOMER_NO_DIGITS` digits count up to this.
const CUSTOMER_NUMBERS: u64 = 1_000_000_000_000_000_000;
/// SNAP BI's longest `customerNo`.
const MAX_CUSTOMER_NO_DIGITS: usize = 20;

/// The id of a charge: 4 to 63 of `a`-`z`, `0`-`9` and `-`. It is the bank's `trxId`.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct ChargeId(String);

impl ChargeId {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let is_allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        ((4..=63).contains(&text.len()) && text.bytes().all(is_allowed)).then(|| Self(text.to_owned()))
    }

    /// From `charges/{charge}`.
    pub(crate) fn from_name(name: &str) -> Result<Self, Error> {
        let id = name.strip_prefix("charges/").and_then(Self::parse);
        id.ok_or(Error::Invalid("name", "must be charges/ and 4 to 63 of a-z, 0-9, -"))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn name(&self) -> String {
        format!("charges/{}", self.0)
    }
}

/// A virtual account number in the parts that SNAP BI wants.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct AccountNumber {
    /// Padded to 8 characters.
    partner_service_id: String,
    customer_no: String,
}

impl AccountNumber {
    /// The number of a charge. It follows from the id, so that a charge whose reply was lost can be asked for without
    /// any memory of it. Two ids share a number once in about 10^9 charges; the bank then refuses the second.
    pub(crate) fn of(bank: &Bank, id: &ChargeId) -> Self {
        let digest = digest::digest(&digest::SHA256, id.as_str().as_bytes());
        let head = digest.as_ref().first_chunk::<8>().copied().unwrap_or_default();
        let number = u64::from_be_bytes(head) % CUSTOMER_NUMBERS;
        let customer_no = format!("{number:0width$}", width = CUSTOMER_NO_DIGITS);
        Self { partner_service_id: bank.partner_service_id.clone(), customer_no }
    }

    /// The number that the caller knows, or else the one that follows from the id.
    pub(crate) fn known_or_of(bank: &Bank, known: &str, id: &ChargeId) -> Result<Self, Error> {
        if known.is_empty() {
            return Ok(Self::of(bank, id));
        }
        let is_digits = |text: &&str| {
            (1..=MAX_CUSTOMER_NO_DIGITS).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
        };
        let customer_no = known.strip_prefix(bank.partner_service_id.trim_start()).filter(is_digits);
        let customer_no =
            customer_no.ok_or(Error::Invalid("account_number", "must be a number that CreateCharge returned"))?;
        Ok(Self { partner_service_id: bank.partner_service_id.clone(), customer_no: customer_no.to_owned() })
    }

    /// The fields by which SNAP BI names a virtual account.
    pub(crate) fn to_fields(&self) -> Value {
        json!({
            "partnerServiceId": self.partner_service_id,
            "customerNo": self.customer_no,
            "virtualAccountNo": self.padded(),
        })
    }

    fn padded(&self) -> String {
        format!("{}{}", self.partner_service_id, self.customer_no)
    }

    /// Digits only, as payers type it.
    pub(crate) fn digits(&self) -> String {
        self.padded().trim_start().to_owned()
    }
}

/// The bank of a request; there is one.
pub(crate) fn require_bca(bank: i32) -> Result<(), Error> {
    match api::Bank::try_from(bank) {
        Ok(api::Bank::Bca) => Ok(()),
        Ok(api::Bank::Unspecified) | Err(_) => Err(Error::Invalid("bank", "must be BANK_BCA")),
    }
}

/// An amount as SNAP BI writes it.
#[derive(Deserialize)]
pub(crate) struct WireAmount {
    value: Box<RawValue>,
    currency: String,
}

impl WireAmount {
    pub(crate) fn fields(money: Money) -> Result<Value, Error> {
        let rule = Error::Invalid("amount", "must be more than zero, in whole rupiah");
        if !money.is_positive() || money.currency() != Currency::Idr {
            return Err(rule);
        }
        let value = FORM.write(money).map_err(|_| rule)?;
        Ok(json!({ "value": value, "currency": money.currency().code() }))
    }

    /// Fails with a text that holds no amount.
    pub(crate) fn money(&self) -> Result<Money, crate::amount::AmountError> {
        FORM.read(&self.value, self.currency.parse()?)
    }
}

/// `virtualAccountData` of the bank's replies.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Account {
    virtual_account_no: String,
    pub(crate) trx_id: String,
    total_amount: WireAmount,
    expired_date: String,
    payment_request_id: Option<String>,
    trx_date_time: Option<String>,
}

impl Account {
    /// The charge in the contract's language, if the account is the one that was asked for.
    pub(crate) fn into_charge(
        self,
        id: &ChargeId,
        number: &AccountNumber,
        state: api::ChargeState,
    ) -> Result<api::Charge, Error> {
        if self.trx_id != id.as_str() || self.virtual_account_no.trim_start() != number.digits() {
            return Err(Error::unknown("the reply is about another charge"));
        }
        Ok(api::Charge {
            name: id.name(),
            state: state.into(),
            bank: api::Bank::Bca.into(),
            amount: Some(self.total_amount.money().map_err(Error::unknown)?.into()),
            account_number: number.digits(),
            provider_reference: self.payment_request_id.unwrap_or_default(),
            expire_time: Some(timestamp(&self.expired_date).map_err(Error::unknown)?),
            paid_time: self.trx_date_time.as_deref().map(timestamp).transpose().map_err(Error::unknown)?,
        })
    }
}

/// A point in time from the bank; the error does not repeat it.
pub(crate) fn timestamp(text: &str) -> Result<Timestamp, &'static str> {
    let at = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| "a date of the reply is malformed")?;
    // Fewer than 10^9 nanoseconds fit into an i32.
    Ok(Timestamp { seconds: at.unix_timestamp(), nanos: i32::try_from(at.nanosecond()).unwrap_or_default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn charge_ids_are_lower_case_words() {
        for good in ["pi-1", "0198f0a2-7c1e-7000-8000-000000000000", &"a".repeat(63)] {
            assert_eq!(
                ChargeId::from_name(&format!("charges/{good}")).map(|id| id.name()).unwrap(),
                format!("charges/{good}")
            );
        }
        for bad in ["", "abc", "Pi-1", "a_bcd", "a/bcd", "änder", &"a".repeat(64)] {
            assert!(ChargeId::parse(bad).is_none(), "{bad}");
        }
        assert!(ChargeId::from_name("pi-1").is_err());
        assert!(ChargeId::from_name("charge/pi-1").is_err());
    }
}
