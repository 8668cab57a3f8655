//! Amounts of money: one type, exact, that refuses what it cannot hold. It knows the wire's form and no provider's.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use sekat_api_google::r#type::Money as WireMoney;

/// Nano units in a minor unit of a currency with two decimals.
const NANOS_PER_MINOR: i64 = 10_000_000;
/// `google.type.Money` has fewer nanos than this, in either direction.
const NANOS_PER_UNIT: i64 = 1_000_000_000;

/// A currency that the shop can account in. All of them have two decimals in ISO 4217.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Currency {
    /// Rupiah. ISO 4217 gives it sen, but nothing has been priced in sen for decades and banks refuse them, so that an
    /// amount with sen is a mistake of scale and is refused here.
    Idr,
    /// United States dollar.
    Usd,
}

impl Currency {
    /// Minor units in a unit, by ISO 4217.
    const MINOR_PER_UNIT: i64 = 100;

    /// The ISO 4217 code.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Idr => "IDR",
            Self::Usd => "USD",
        }
    }

    /// The smallest amount that is paid, in minor units.
    const fn step(self) -> i64 {
        match self {
            Self::Idr => Self::MINOR_PER_UNIT,
            Self::Usd => 1,
        }
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl FromStr for Currency {
    type Err = MoneyError;

    fn from_str(code: &str) -> Result<Self, MoneyError> {
        [Self::Idr, Self::Usd].into_iter().find(|currency| currency.code() == code).ok_or(MoneyError::UnknownCurrency)
    }
}

/// An amount of one currency, as a number of ISO 4217 minor units. It may be negative.
///
/// INVARIANT: rupiah are whole, so that `minor` is a multiple of 100.
///
/// `Debug` prints the currency and no amount: most amounts are PAYMENT data, and what is debugged ends in logs. Print
/// what is public, a price for instance, with `Display`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Money {
    currency: Currency,
    minor: i64,
}

/// Why an amount is refused. The texts hold no amounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// The currency is not one of [`Currency`].
    #[error("the currency is not supported; use IDR")]
    UnknownCurrency,
    /// Two amounts of different currencies cannot be compared or added.
    #[error("amounts of {0} and {1} do not go together")]
    CurrencyMismatch(Currency, Currency),
    /// The amount does not fit into an `i64` of minor units.
    #[error("the amount is too large")]
    Overflow,
    /// `google.type.Money` wants nanos below one unit and with the sign of the units.
    #[error("nanos must be within one unit and have the sign of units")]
    InvalidNanos,
    /// The amount is no multiple of what the currency is paid in: sen, or less than a minor unit.
    #[error("the amount has a fraction that {0} is not paid in; IDR has no sen")]
    Fraction(Currency),
}

impl Money {
    /// Nothing.
    #[must_use]
    pub const fn zero(currency: Currency) -> Self {
        Self { currency, minor: 0 }
    }

    /// An amount in ISO 4217 minor units: Rp 25.000 is 2,500,000.
    ///
    /// # Errors
    /// [`MoneyError::Fraction`] if it has sen.
    pub const fn from_minor(currency: Currency, minor: i64) -> Result<Self, MoneyError> {
        if minor % currency.step() == 0 { Ok(Self { currency, minor }) } else { Err(MoneyError::Fraction(currency)) }
    }

    /// An amount in whole units: Rp 25.000 is 25,000.
    ///
    /// # Errors
    /// [`MoneyError::Overflow`].
    pub const fn from_units(currency: Currency, units: i64) -> Result<Self, MoneyError> {
        match units.checked_mul(Currency::MINOR_PER_UNIT) {
            Some(minor) => Ok(Self { currency, minor }),
            None => Err(MoneyError::Overflow),
        }
    }

    /// The currency.
    #[must_use]
    pub const fn currency(self) -> Currency {
        self.currency
    }

    /// The amount in ISO 4217 minor units, as stores hold it.
    #[must_use]
    pub const fn minor(self) -> i64 {
        self.minor
    }

    /// Whether it is nothing.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.minor == 0
    }

    /// Whether it is more than nothing.
    #[must_use]
    pub const fn is_positive(self) -> bool {
        self.minor > 0
    }

    /// The sum.
    ///
    /// # Errors
    /// [`MoneyError::CurrencyMismatch`], [`MoneyError::Overflow`].
    pub fn checked_add(self, other: Self) -> Result<Self, MoneyError> {
        self.same_currency(other)?;
        self.with(self.minor.checked_add(other.minor))
    }

    /// The difference.
    ///
    /// # Errors
    /// [`MoneyError::CurrencyMismatch`], [`MoneyError::Overflow`].
    pub fn checked_sub(self, other: Self) -> Result<Self, MoneyError> {
        self.same_currency(other)?;
        self.with(self.minor.checked_sub(other.minor))
    }

    /// The price of `quantity` pieces.
    ///
    /// # Errors
    /// [`MoneyError::Overflow`].
    pub fn checked_mul(self, quantity: u32) -> Result<Self, MoneyError> {
        self.with(self.minor.checked_mul(i64::from(quantity)))
    }

    /// Which is more.
    ///
    /// # Errors
    /// [`MoneyError::CurrencyMismatch`].
    pub fn compare(self, other: Self) -> Result<Ordering, MoneyError> {
        self.same_currency(other)?;
        Ok(self.minor.cmp(&other.minor))
    }

    const fn same_currency(self, other: Self) -> Result<(), MoneyError> {
        match (self.currency, other.currency) {
            (Currency::Idr, Currency::Idr) | (Currency::Usd, Currency::Usd) => Ok(()),
            (left, right) => Err(MoneyError::CurrencyMismatch(left, right)),
        }
    }

    // INVARIANT: sums and products of whole rupiah are whole rupiah.
    fn with(self, minor: Option<i64>) -> Result<Self, MoneyError> {
        minor.map(|minor| Self { minor, ..self }).ok_or(MoneyError::Overflow)
    }
}

/// `Rp 25.000`, as Indonesians write it; of other currencies the code and two decimals.
impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.minor < 0 { "-" } else { "" };
        let per_unit = Currency::MINOR_PER_UNIT.unsigned_abs();
        let (units, minor) = (self.minor.unsigned_abs() / per_unit, self.minor.unsigned_abs() % per_unit);
        match self.currency {
            Currency::Idr => write!(f, "{sign}Rp {}", grouped(units, '.')),
            Currency::Usd => write!(f, "{sign}{} {}.{minor:02}", self.currency, grouped(units, ',')),
        }
    }
}

impl fmt::Debug for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Money({} …)", self.currency)
    }
}

/// The form of the wire: whole units and nano units of one sign.
impl From<Money> for WireMoney {
    #[expect(clippy::cast_possible_truncation, reason = "fewer than 10^9 nanos fit into an i32")]
    fn from(money: Money) -> Self {
        let nanos = (money.minor % Currency::MINOR_PER_UNIT) * NANOS_PER_MINOR;
        Self {
            currency_code: money.currency.code().to_owned(),
            units: money.minor / Currency::MINOR_PER_UNIT,
            nanos: nanos as i32,
        }
    }
}

impl TryFrom<&WireMoney> for Money {
    type Error = MoneyError;

    fn try_from(wire: &WireMoney) -> Result<Self, MoneyError> {
        let currency: Currency = wire.currency_code.parse()?;
        let nanos = i64::from(wire.nanos);
        if nanos.abs() >= NANOS_PER_UNIT || wire.units.signum() * nanos.signum() < 0 {
            return Err(MoneyError::InvalidNanos);
        }
        if nanos % NANOS_PER_MINOR != 0 {
            return Err(MoneyError::Fraction(currency));
        }
        // Units and nanos have one sign, so that what leaves the range with the units does not come back with the nanos.
        let minor = wire.units.checked_mul(Currency::MINOR_PER_UNIT);
        let minor = minor.and_then(|minor| minor.checked_add(nanos / NANOS_PER_MINOR));
        Self::from_minor(currency, minor.ok_or(MoneyError::Overflow)?)
    }
}

impl TryFrom<WireMoney> for Money {
    type Error = MoneyError;

    fn try_from(wire: WireMoney) -> Result<Self, MoneyError> {
        Self::try_from(&wire)
    }
}

/// A number with a separator at each thousand.
fn grouped(number: u64, separator: char) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(separator);
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn idr(units: i64) -> Money {
        Money::from_units(Currency::Idr, units).expect("in range")
    }

    fn usd(minor: i64) -> Money {
        Money::from_minor(Currency::Usd, minor).expect("USD has cents")
    }

    fn wire(currency_code: &str, units: i64, nanos: i32) -> WireMoney {
        WireMoney { currency_code: currency_code.to_owned(), units, nanos }
    }

    #[test]
    fn amounts_print_as_people_write_them() {
        let table = [
            (idr(0), "Rp 0"),
            (idr(999), "Rp 999"),
            (idr(1_000), "Rp 1.000"),
            (idr(25_000), "Rp 25.000"),
            (idr(1_234_567), "Rp 1.234.567"),
            (idr(-25_000), "-Rp 25.000"),
            (idr(i64::MAX / 100), "Rp 92.233.720.368.547.758"),
            (usd(1_250), "USD 12.50"),
            (usd(-5), "-USD 0.05"),
            (usd(i64::MIN), "-USD 92,233,720,368,547,758.08"),
        ];
        for (money, text) in table {
            assert_eq!(money.to_string(), text);
        }
    }

    #[test]
    fn debug_holds_no_amount() {
        assert_eq!(format!("{:?}", idr(25_000)), "Money(IDR …)");
    }

    #[test]
    fn what_comes_from_the_wire_is_exact_or_refused() {
        let table = [
            (wire("IDR", 25_000, 0), Ok(idr(25_000))),
            (wire("IDR", -25_000, 0), Ok(idr(-25_000))),
            (wire("IDR", 25_000, 500_000_000), Err(MoneyError::Fraction(Currency::Idr))),
            (wire("IDR", 25_000, 10_000_000), Err(MoneyError::Fraction(Currency::Idr))),
            (wire("IDR", 25_000, 1), Err(MoneyError::Fraction(Currency::Idr))),
            (wire("USD", 12, 500_000_000), Ok(usd(1_250))),
            (wire("USD", 0, -50_000_000), Ok(usd(-5))),
            (wire("USD", -1, -750_000_000), Ok(usd(-175))),
            (wire("USD", 12, 5_000_000), Err(MoneyError::Fraction(Currency::Usd))),
            (wire("USD", 1, -10_000_000), Err(MoneyError::InvalidNanos)),
            (wire("USD", -1, 10_000_000), Err(MoneyError::InvalidNanos)),
            (wire("USD", 0, 1_000_000_000), Err(MoneyError::InvalidNanos)),
            (wire("USD", 0, i32::MIN), Err(MoneyError::InvalidNanos)),
            (wire("USD", i64::MAX / 100, 70_000_000), Ok(usd(i64::MAX))),
            (wire("USD", i64::MAX / 100, 80_000_000), Err(MoneyError::Overflow)),
            (wire("IDR", i64::MAX, 0), Err(MoneyError::Overflow)),
            (wire("idr", 1, 0), Err(MoneyError::UnknownCurrency)),
            (wire("", 1, 0), Err(MoneyError::UnknownCurrency)),
        ];
        for (form, expected) in table {
            assert_eq!(Money::try_from(&form), expected, "{form:?}");
        }
    }

    #[test]
    fn rupiah_have_no_sen() {
        assert_eq!(Money::from_minor(Currency::Idr, 2_500_000), Ok(idr(25_000)));
        assert_eq!(Money::from_minor(Currency::Idr, 2_500_001), Err(MoneyError::Fraction(Currency::Idr)));
    }

    #[test]
    fn currencies_do_not_mix() {
        let mismatch = MoneyError::CurrencyMismatch(Currency::Idr, Currency::Usd);
        assert_eq!(idr(1).checked_add(usd(1)), Err(mismatch));
        assert_eq!(idr(1).checked_sub(usd(1)), Err(mismatch));
        assert_eq!(idr(1).compare(usd(1)), Err(mismatch));
        assert_eq!(idr(1).compare(idr(2)), Ok(Ordering::Less));
    }

    proptest! {
        #[test]
        fn wire_and_back_is_the_same(minor: i64) {
            prop_assert_eq!(Money::try_from(WireMoney::from(usd(minor))), Ok(usd(minor)));
            let rupiah = idr(minor / 100);
            prop_assert_eq!(Money::try_from(WireMoney::from(rupiah)), Ok(rupiah));
        }

        #[test]
        fn arithmetic_is_exact_or_an_error_and_never_wraps(left: i64, right: i64, quantity: u32) {
            let exact = |wide: i128| i64::try_from(wide).map(usd).map_err(|_| MoneyError::Overflow);
            let (wide_left, wide_right) = (i128::from(left), i128::from(right));
            prop_assert_eq!(usd(left).checked_add(usd(right)), exact(wide_left + wide_right));
            prop_assert_eq!(usd(left).checked_sub(usd(right)), exact(wide_left - wide_right));
            prop_assert_eq!(usd(left).checked_mul(quantity), exact(wide_left * i128::from(quantity)));
        }

        #[test]
        fn a_wire_form_keeps_its_value_or_is_refused(units: i64, minor in -101_i32..=101, extra in -1_i32..=1) {
            let nanos = minor * 10_000_000 + extra;
            if let Ok(money) = Money::try_from(wire("USD", units / 100, nanos)) {
                let wide = i128::from(units / 100) * 1_000_000_000 + i128::from(nanos);
                prop_assert_eq!(i128::from(money.minor()) * 10_000_000, wide);
            }
        }

        #[test]
        fn whole_rupiah_stay_whole(left in -1_000_000_000_i64..1_000_000_000, right in -1_000_000_000_i64..1_000_000_000, quantity in 0_u32..10_000) {
            for result in [idr(left).checked_add(idr(right)), idr(left).checked_sub(idr(right)), idr(left).checked_mul(quantity)] {
                prop_assert_eq!(result.map(|money| money.minor() % 100), Ok(0));
            }
        }
    }
}
