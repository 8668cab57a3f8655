//! Rupiah as SNAP BI writes them: `{"value": "25000.00", "currency": "IDR"}`.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// SNAP BI's `String(16,2)`: sixteen characters, of which two follow the point.
const MAX_WHOLE_DIGITS: usize = 13;

/// An amount in sen, the hundredth part of a rupiah; never zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Amount(u64);

/// A text that is not an amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "an amount is written like 25000.00 with currency IDR: 1 to 13 digits without leading zeros, two decimals, above zero"
)]
pub(crate) struct AmountError;

/// The two fields on the wire.
#[derive(Serialize, Deserialize)]
struct Wire {
    value: String,
    currency: String,
}

impl FromStr for Amount {
    type Err = AmountError;

    fn from_str(text: &str) -> Result<Self, AmountError> {
        let (whole, decimals) = text.split_once('.').ok_or(AmountError)?;
        let is_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        let is_padded = whole.len() > 1 && whole.starts_with('0');
        if whole.is_empty() || whole.len() > MAX_WHOLE_DIGITS || is_padded || decimals.len() != 2 {
            return Err(AmountError);
        }
        if !is_digits(whole) || !is_digits(decimals) {
            return Err(AmountError);
        }
        let sen = format!("{whole}{decimals}").parse().map_err(|_| AmountError)?;
        if sen == 0 { Err(AmountError) } else { Ok(Self(sen)) }
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:02}", self.0 / 100, self.0 % 100)
    }
}

impl Serialize for Amount {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Wire { value: self.to_string(), currency: "IDR".to_owned() }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wire = Wire::deserialize(deserializer)?;
        if wire.currency != "IDR" {
            return Err(serde::de::Error::custom(AmountError));
        }
        wire.value.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_round_trip_and_everything_else_is_refused() {
        for text in ["25000.00", "0.01", "9999999999999.99", "10.10"] {
            assert_eq!(text.parse::<Amount>().unwrap().to_string(), text);
        }
        for text in [
            "25000",
            "25000.0",
            "25000.000",
            "0.00",
            "-1.00",
            "+1.00",
            "01.00",
            " 1.00",
            "1,00",
            ".00",
            "10000000000000.00",
            "",
        ] {
            assert_eq!(text.parse::<Amount>(), Err(AmountError), "{text:?}");
        }
    }

    #[test]
    fn only_rupiah_are_taken() {
        assert!(serde_json::from_str::<Amount>(r#"{"value":"1.00","currency":"IDR"}"#).is_ok());
        assert!(serde_json::from_str::<Amount>(r#"{"value":"1.00","currency":"USD"}"#).is_err());
        assert!(serde_json::from_str::<Amount>(r#"{"value":1.00,"currency":"IDR"}"#).is_err());
    }
}
