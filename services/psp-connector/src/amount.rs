//! Amounts as providers write them. Each provider has one form, which its adapter states; guessing it from the digits
//! is how amounts become a hundred times too large.

use sekat_money::{Currency, Money, MoneyError};
use serde_json::value::RawValue;

/// How a provider writes an amount in JSON. The example is Rp 10.000 each time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `"10000.00"`: SNAP BI, Midtrans' notifications.
    DecimalString,
    /// `"10000"`: whole rupiah in a string.
    WholeString,
    /// `"1000000"`: sen in a string; Antom.
    MinorString,
    /// `10000.00`: a number with two decimals.
    DecimalNumber,
    /// `10000`: whole rupiah as a number; Xendit, Midtrans' requests.
    WholeNumber,
    /// `1000000`: sen as a number; Stripe, Hyperswitch.
    MinorNumber,
}

/// Why an amount is refused. The text does not hold it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AmountError {
    /// It is not in the provider's form.
    #[error("the amount is not in the form {0:?}")]
    Form(Form),
    /// The form is right, the amount is not.
    #[error("the amount cannot be used")]
    Money(#[from] MoneyError),
}

/// Minor units in a unit, by ISO 4217; the same for all currencies that we account in.
const MINOR_PER_UNIT: i64 = 100;

impl Form {
    const fn is_string(self) -> bool {
        matches!(self, Self::DecimalString | Self::WholeString | Self::MinorString)
    }

    /// Reads an amount that a provider wrote. Nothing is rounded, trimmed or guessed.
    ///
    /// # Errors
    /// [`AmountError::Form`] for another form, a sign, or a leading zero; [`AmountError::Money`] if it overflows or has
    /// sen.
    pub fn read(self, json: &RawValue, currency: Currency) -> Result<Money, AmountError> {
        let text = match json.get().strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
            Some(text) if self.is_string() => text,
            None if !self.is_string() => json.get(),
            _ => return Err(AmountError::Form(self)),
        };
        let whole = |text: &str| {
            let is_padded = text.len() > 1 && text.starts_with('0');
            if text.is_empty() || is_padded || !text.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(AmountError::Form(self));
            }
            text.parse::<i64>().map_err(|_| MoneyError::Overflow.into())
        };
        match self {
            Self::DecimalString | Self::DecimalNumber => {
                let (units, decimals) = text.split_once('.').ok_or(AmountError::Form(self))?;
                let is_sen = decimals.len() == 2 && decimals.bytes().all(|byte| byte.is_ascii_digit());
                let sen: i64 = decimals.parse().ok().filter(|_| is_sen).ok_or(AmountError::Form(self))?;
                let minor = whole(units)?.checked_mul(MINOR_PER_UNIT).and_then(|minor| minor.checked_add(sen));
                Ok(Money::from_minor(currency, minor.ok_or(MoneyError::Overflow)?)?)
            }
            Self::WholeString | Self::WholeNumber => Ok(Money::from_units(currency, whole(text)?)?),
            Self::MinorString | Self::MinorNumber => Ok(Money::from_minor(currency, whole(text)?)?),
        }
    }

    /// Writes an amount as the provider wants it.
    ///
    /// # Errors
    /// [`AmountError::Form`] for a negative amount, or one that whole units cannot hold.
    pub fn write(self, money: Money) -> Result<Box<RawValue>, AmountError> {
        let minor = money.minor();
        let (units, sen) = (minor / MINOR_PER_UNIT, minor % MINOR_PER_UNIT);
        let is_whole = matches!(self, Self::WholeString | Self::WholeNumber);
        if minor < 0 || (is_whole && sen != 0) {
            return Err(AmountError::Form(self));
        }
        let text = match self {
            Self::DecimalString => format!("\"{units}.{sen:02}\""),
            Self::WholeString => format!("\"{units}\""),
            Self::MinorString => format!("\"{minor}\""),
            Self::DecimalNumber => format!("{units}.{sen:02}"),
            Self::WholeNumber => units.to_string(),
            Self::MinorNumber => minor.to_string(),
        };
        RawValue::from_string(text).map_err(|_| AmountError::Form(self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORMS: [Form; 6] = [
        Form::DecimalString,
        Form::WholeString,
        Form::MinorString,
        Form::DecimalNumber,
        Form::WholeNumber,
        Form::MinorNumber,
    ];

    fn read(form: Form, json: &str) -> Result<Money, AmountError> {
        form.read(&RawValue::from_string(json.to_owned()).unwrap(), Currency::Idr)
    }

    /// The six forms, in the order of `FORMS`, of one amount.
    #[test]
    fn each_form_is_written_and_read_back() {
        let table = [
            (0, ["\"0.00\"", "\"0\"", "\"0\"", "0.00", "0", "0"]),
            (1, ["\"1.00\"", "\"1\"", "\"100\"", "1.00", "1", "100"]),
            (10_000, ["\"10000.00\"", "\"10000\"", "\"1000000\"", "10000.00", "10000", "1000000"]),
            (25_500, ["\"25500.00\"", "\"25500\"", "\"2550000\"", "25500.00", "25500", "2550000"]),
            (
                92_233_720_368_547_758,
                [
                    "\"92233720368547758.00\"",
                    "\"92233720368547758\"",
                    "\"9223372036854775800\"",
                    "92233720368547758.00",
                    "92233720368547758",
                    "9223372036854775800",
                ],
            ),
        ];
        for (rupiah, texts) in table {
            let money = Money::from_units(Currency::Idr, rupiah).unwrap();
            for (form, text) in FORMS.into_iter().zip(texts) {
                assert_eq!(form.write(money).unwrap().get(), text, "{form:?}");
                assert_eq!(read(form, text), Ok(money), "{form:?} {text}");
            }
        }
    }

    #[test]
    fn sen_are_refused_and_so_is_what_does_not_fit() {
        let fraction = Err(AmountError::Money(MoneyError::Fraction(Currency::Idr)));
        let overflow = Err(AmountError::Money(MoneyError::Overflow));
        let rows = [
            (Form::DecimalString, "\"10000.01\"", fraction),
            (Form::DecimalString, "\"0.99\"", fraction),
            (Form::DecimalNumber, "10000.50", fraction),
            (Form::MinorString, "\"1000001\"", fraction),
            (Form::MinorNumber, "99", fraction),
            (Form::DecimalString, "\"92233720368547759.00\"", overflow),
            (Form::WholeNumber, "92233720368547759", overflow),
            (Form::MinorNumber, "9223372036854775900", overflow),
            (Form::WholeString, "\"99999999999999999999\"", overflow),
        ];
        for (form, text, expected) in rows {
            assert_eq!(read(form, text), expected, "{form:?} {text}");
        }
    }

    #[test]
    fn another_form_is_refused_and_never_scaled() {
        let rows = [
            (
                Form::DecimalString,
                &["\"10000\"", "10000.00", "\"10000.0\"", "\"10000.000\"", "\"10000.\"", "\".00\""][..],
            ),
            (Form::WholeString, &["\"10000.00\"", "10000", "\"\"", "\"1e4\"", "\"1_0\""]),
            (Form::MinorString, &["\"10000.00\"", "1000000"]),
            (Form::DecimalNumber, &["\"10000.00\"", "10000", "1e4", "10000.0"]),
            (Form::WholeNumber, &["\"10000\"", "10000.00", "1E4", "null", "{}"]),
            (Form::MinorNumber, &["\"1000000\"", "1000000.00", "true"]),
        ];
        for (form, texts) in rows {
            for text in texts {
                assert_eq!(read(form, text), Err(AmountError::Form(form)), "{form:?} {text}");
            }
        }
        for text in ["\"-1.00\"", "\"+1.00\"", "\" 1.00\"", "\"01.00\"", "\"1,00\"", "\"1.+1\"", "\"\\u0031.00\""] {
            assert_eq!(read(Form::DecimalString, text), Err(AmountError::Form(Form::DecimalString)), "{text}");
        }
        for form in FORMS {
            let owed = Money::from_units(Currency::Idr, -1).unwrap();
            assert_eq!(form.write(owed).unwrap_err(), AmountError::Form(form));
        }
    }
}
